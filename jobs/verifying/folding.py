"""What the final query does, in one process and without Spark: micro-batches, watermarks, a checkpoint, a sink.

The bars are those of `core.bars.fold_bars`, the indicators those of `jobs.indicators`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from core import bars as definition
from core import corrections
from core.corrections import Placed
from core.intervals import Interval
from core.records import Bar, Tick
from jobs.indicators import BatchIndicators
from jobs.verifying.amending import Disturbed, disturbed
from jobs.verifying.comparing import Bars, bars_of_tables
from jobs.verifying.outcome import Outcome, merged
from jobs.verifying.recording import Part, ticks_of
from jobs.verifying.schedules import Arrivals, Schedule, arrange
from stores.schema import bars_table

_NEVER = -(1 << 62)
_ALWAYS = 1 << 62


@dataclass
class State:
    """What is open: the ticks of bars by interval and start, and the newest event time of each partition."""

    newest: list[int]
    watermark: int = _NEVER
    held: dict[tuple[Interval, int], list[Placed]] = field(default_factory=dict)

    def copy(self) -> "State":
        return State(list(self.newest), self.watermark, {key: list(ticks) for key, ticks in self.held.items()})


class Folding:
    """One run over one part."""

    def __init__(self, part: Part, schedule: Schedule) -> None:
        self._part, self._schedule = part, schedule
        self._settings = part.of.settings
        self._intervals = self._settings.bar_intervals
        self._indicators = BatchIndicators(self._settings, self._intervals)
        self._state = State([_ALWAYS] * schedule.partitions)
        self._written: list[Bars] = []
        self._log: list[Placed] = []
        self._late = 0

    def run(self) -> Outcome:
        """Every batch, with the crashes of the schedule; then, where it is amended, what reconciling makes of it."""
        changed = disturbed(self._part.ticks, self._schedule.seed) if self._schedule.amended else None
        ticks = self._part.ticks if changed is None else changed.timely
        arrivals = arrange(ticks, self._schedule, self._part.of.lateness_us)
        self._run(ticks_of(ticks), arrivals)
        bars, rewritten = merged(self._written)
        outcome = Outcome(bars, rewritten, self._late, restarts=len(self._schedule.crashes))
        return outcome if changed is None else self._reconciled(outcome, changed)

    def _run(self, ticks: Sequence[Tick], arrivals: Arrivals) -> None:
        crashes = dict(self._schedule.crashes)
        silent = set(range(self._schedule.partitions)) - set(np.unique(arrivals.partition).tolist())
        self._state.newest = [_ALWAYS if number in silent else _NEVER for number in range(self._schedule.partitions)]
        edges = np.searchsorted(arrivals.batch, np.arange(arrivals.batches + 1))
        placed = [
            (ticks[row], int(partition), offset)
            for offset, (row, partition) in enumerate(zip(arrivals.row, arrivals.partition, strict=True))
        ]
        self._log = placed
        for number in range(arrivals.batches):
            batch, last = placed[edges[number] : edges[number + 1]], number == arrivals.batches - 1
            if number in crashes:
                self._crash(batch, last, crashes[number])
            self._written.append(self._close(batch, last))

    def _crash(self, batch: Sequence[Placed], last: bool, when: str) -> None:
        """A batch that is not committed: what it did to the state is lost, what it wrote is not."""
        state, states, late = self._state.copy(), self._indicators.states(), self._late
        made = self._close(batch, last)
        if when == "after":
            self._written.append(made)
        self._state, self._late = state, late
        self._indicators = BatchIndicators(self._settings, self._intervals)
        self._indicators.restore(states)

    def _close(self, batch: Sequence[Placed], last: bool) -> Bars:
        """Take in a batch; the bars that end no later than the watermark after it."""
        state = self._state
        for placed in batch:
            at_us = placed[0].event_us
            self._late += at_us < state.watermark
            for interval in self._intervals:
                state.held.setdefault((interval, interval.start_of(at_us)), []).append(placed)
            state.newest[placed[1] or 0] = max(state.newest[placed[1] or 0], at_us)
        state.watermark = _ALWAYS if last else watermark(state.newest) - self._part.of.lateness_us
        closed = sorted(
            (key for key in state.held if key[1] + key[0].us <= state.watermark), key=lambda key: (key[1], key[0].us)
        )
        made = [bar for key in closed for bar in self._bars(state.held.pop(key), key[0])]
        return self._with_indicators(made)

    def _bars(self, ticks: Sequence[Placed], interval: Interval) -> list[Bar]:
        return definition.fold_bars(ticks, (interval,), self._part.of.ruleset, 1)

    def _with_indicators(self, bars: Sequence[Bar]) -> Bars:
        if not bars:
            return {}
        table: pa.Table = bars_table(list(bars))
        return bars_of_tables(table, self._indicators.rows(table))

    def _reconciled(self, outcome: Outcome, changed: Disturbed) -> Outcome:
        """The bars of the log as it is once everything was said."""
        said = [(tick, 0, len(self._log) + n) for n, tick in enumerate(ticks_of(changed.evening, changed.received_us))]
        self._indicators = BatchIndicators(self._settings, self._intervals)
        bars = self._with_indicators(amended([*self._log, *said], self._intervals, self._part.of.ruleset))
        count = sum(_values(bar) != _values(outcome.bars.get(key)) for key, bar in bars.items())
        wrong = [] if count else ["nothing was amended"]
        return Outcome(bars, outcome.rewritten, outcome.late, count, outcome.restarts, wrong)


def amended(log: Sequence[Placed], intervals: Sequence[Interval], ruleset: Any) -> list[Bar]:
    """What reconciling makes of a log: `jobs.reconciler` by the pure definitions."""
    return definition.fold_bars(corrections.corrected(log), intervals, ruleset, 1)


def watermark(newest: Sequence[int]) -> int:
    """The event time that all partitions have reached."""
    return min(newest)


def fold(part: Part, schedule: Schedule) -> Outcome:
    return Folding(part, schedule).run()


def _values(bar: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if bar is None else {name: value for name, value in bar.items() if name != "indicators"}
