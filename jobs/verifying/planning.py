"""Which schedule replays which part of a session, and how each run is told in a line and in JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from jobs.verifying.comparing import Bars, Key, hash_of, with_indicators
from jobs.verifying.outcome import Outcome
from jobs.verifying.recording import Part, Recording, with_ids
from jobs.verifying.reference import Row, reference_bars
from jobs.verifying.schedules import Engine, Schedule

# So many ticks a run that 20 of them end within minutes on two cores; the backfill takes the whole session.
BUDGETS: dict[Engine, int] = {"fold": 30_000, "stream": 400_000, "killed": 60_000, "batch": 1 << 62}
Runner = Callable[[Schedule, Part], Outcome]


@dataclass(frozen=True, slots=True)
class Run:
    """One schedule over one part; `problem` is None where the bars were those of the reference."""

    schedule: Schedule
    part: Part
    bars: int
    hash: str
    seconds: float
    outcome: Outcome
    problem: str | None

    @property
    def line(self) -> str:
        """For people."""
        verdict = "DIFFERS" if self.problem else f"equal {self.hash[:12]}"
        return (
            f"{self.schedule.name:28} {self.schedule.engine:7} {self.part.label:32} {len(self.part.ticks):>9,} ticks"
            f" {self.bars:>6,} bars {self.seconds:6.1f} s  {verdict}"
        )

    def told(self) -> dict[str, Any]:
        """For programs."""
        first, last = (pd.Timestamp(us, unit="us").isoformat() + "Z" for us in self.part.span)
        return {
            "schedule": self.schedule.name,
            "engine": self.schedule.engine,
            "what": self.schedule.told,
            "seed": self.schedule.seed,
            "symbols": sorted(self.part.symbols),
            "first": first,
            "last": last,
            "ticks": len(self.part.ticks),
            "bars": self.bars,
            "restarts": self.outcome.restarts,
            "amended": self.outcome.amended,
            "late": self.outcome.late,
            "seconds": round(self.seconds, 2),
            "hash": self.hash,
            "problem": self.problem,
        }


@dataclass
class Plan:
    """A session, its reference, and its parts by engine, taken in turn."""

    recording: Recording
    ids: Recording = field(init=False)
    _references: dict[bool, dict[Key, Row]] = field(default_factory=dict)
    _expected: dict[tuple[str, bool], Bars] = field(default_factory=dict)
    _turns: dict[tuple[Engine, bool], int] = field(default_factory=dict)
    _parts: dict[tuple[Engine, bool], Sequence[Part]] = field(default_factory=dict)

    def part(self, schedule: Schedule, budget: int | None = None) -> Part:
        """What this schedule replays: the next part of its engine."""
        key = (schedule.engine, schedule.amended)
        if key not in self._parts:
            of = self._named() if schedule.amended else self.recording
            self._parts[key] = of.parts(budget or BUDGETS[schedule.engine])
        turn = self._turns[key] = self._turns.get(key, -1) + 1
        return self._parts[key][turn % len(self._parts[key])]

    def expected(self, part: Part, named: bool = False) -> Bars:
        """The bars and indicators of a part, by the reference; `named` where its trades were given ids."""
        key = (part.label, named)
        if key not in self._expected:
            bars = self._reference(named)
            own = {key: bar for key, bar in bars.items() if part.holds(key[0], key[2])}
            self._expected[key] = with_indicators(own, part.of.settings)
        return self._expected[key]

    def hash(self) -> str:
        """The hash of the whole session."""
        return hash_of(self.expected(self.recording.whole()))

    def _named(self) -> Recording:
        if "ids" not in self.__dict__:
            self.ids = with_ids(self.recording)
        return self.ids

    def _reference(self, named: bool) -> dict[Key, Row]:
        if named not in self._references:
            of = self._named() if named else self.recording
            lengths = {each.name: each.us for each in of.settings.bar_intervals}
            self._references[named] = reference_bars(of.raw, of.settings.ruleset, lengths)
        return self._references[named]
