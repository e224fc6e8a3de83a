"""The record of gaps: what did not come, and what became of it."""

from dataclasses import dataclass
from typing import Literal, Protocol

from stores.gaps import Gap

__all__ = ["Gap", "GapLog", "MemoryGaps", "Settled", "Settlement"]

Settlement = Literal["filled", "lost"]


class GapLog(Protocol):
    """Keeps gaps. Neither call blocks or raises for a store that is down: a stream must go on."""

    def open(self, gap: Gap) -> int:
        """Note a gap; a number to settle it by."""
        ...

    def settle(self, number: int, state: Settlement, filled: int, detail: str = "") -> None:
        """Say that `filled` of its ticks came later, and whether that is all (filled) or not (lost: `detail`)."""
        ...


@dataclass(frozen=True, slots=True)
class Settled:
    state: Settlement
    filled: int
    detail: str


class MemoryGaps:
    """A GapLog for tests, and for running without a database. Numbers count from 0."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.settled: dict[int, Settled] = {}

    @property
    def unsettled(self) -> list[Gap]:
        return [gap for number, gap in enumerate(self.gaps) if number not in self.settled]

    def open(self, gap: Gap) -> int:
        self.gaps.append(gap)
        return len(self.gaps) - 1

    def settle(self, number: int, state: Settlement, filled: int, detail: str = "") -> None:
        self.settled[number] = Settled(state, filled, detail)
