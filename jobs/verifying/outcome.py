"""What a run of a schedule came to, and what is wrong with it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.verifying.comparing import Bars, Difference, difference


@dataclass(slots=True)
class Outcome:
    """The bars of a run, and what happened on the way."""

    bars: Bars
    rewritten: Difference | None = None
    """A bar that was written twice, and differently."""
    late: int = 0
    amended: int = 0
    restarts: int = 0
    wrong: list[str] = field(default_factory=list)
    """What is wrong besides."""

    def problem(self, expected: Bars, may_be_late: bool) -> str | None:
        """In words, None where everything is as it should be."""
        if self.rewritten is not None:
            return f"written twice, differently: {self.rewritten}"
        found = difference(expected, self.bars)
        if found is not None:
            return str(found)
        if self.late and not may_be_late:
            return f"{self.late} ticks were taken for late"
        return self.wrong[0] if self.wrong else None


def merged(written: Iterable[Bars]) -> tuple[Bars, Difference | None]:
    """The bars of writes in their order, and the first that a later write changed."""
    bars: Bars = {}
    changed: Difference | None = None
    for batch in written:
        repeated = {key: bar for key, bar in batch.items() if key in bars}
        # A write that was cut off may have left a bar without its indicators.
        held = {key: bars[key] for key in repeated if "indicators" in bars[key]}
        changed = changed or difference(held, {key: repeated[key] for key in held})
        bars |= batch
    return bars, changed
