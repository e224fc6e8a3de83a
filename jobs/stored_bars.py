"""A batch of final bars beside what the database has of them: amended ones, and those that come a second time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.intervals import INTERVALS

NEVER = 1 << 62
"""Later than any bar, epoch microseconds."""


class History(Protocol):
    """What the database knows of amended series; every call raises StoreUnavailable."""

    def amended_since(self, number: int) -> Sequence[tuple[str, str, int]]:
        """`(symbol, interval, number)` of the series of which a bar was amended after that number, by number."""
        ...

    def doubt(self, keys: Sequence[tuple[str, str]]) -> None:
        """The indicators of these (symbol, interval) may not follow an amendment: reconciling is to look again."""
        ...

    def state_before(self, symbol: str, interval: str, before_us: int) -> tuple[str, bytes] | None:
        """Specs and state after the last bar before a moment, where the state of just that bar is held."""
        ...

    def bars_of(self, symbol: str, interval: str, before_us: int, count: int) -> pa.Table:
        """The last `count` bars before a moment, as BAR_SCHEMA."""
        ...

    def indicators_at(self, bars: pa.Table, interval: str, specs: str) -> pa.Table:
        """The stored rows of these bars of an interval, as INDICATOR_SCHEMA without states, of the series whose state
        is of this set."""
        ...

    def missed(self, series: Sequence[tuple[str, str, int]]) -> None:
        """Indicators of these (symbol, interval) are lacking from this start on: reconciling is to make them."""
        ...


class Stepped(Protocol):
    """The states that bars are taken into."""

    def taken_in(self, final: pa.Table) -> NDArray[np.bool_]: ...

    def specs(self, interval: str) -> str: ...


def new_of(final: pa.Table, states: Stepped, history: History) -> tuple[pa.Table, pa.Table | None]:
    """The bars that `states` are to take in, and the stored indicators of those that they took in before.

    Old bars of a series of which nothing is stored are to be taken in, as a new history. Raises StoreUnavailable.
    """
    before = states.taken_in(final)
    if not before.any():
        return final, None
    old = final.filter(pa.array(before))
    parts = []
    for interval in pc.unique(old["interval"]).to_pylist():
        own = old.filter(pc.equal(old["interval"], interval))
        parts.append(history.indicators_at(own, interval, states.specs(interval)))
    stored = pa.concat_tables(parts)
    known, kept = set(_keys(stored)), set(_bars(stored))
    lacking = [bar for bar in _bars(old) if bar[:2] in known and bar not in kept]
    if lacking:
        history.missed(sorted(lacking))
    new = [not (at and key in known) for at, key in zip(before.tolist(), _keys(final), strict=True)]
    return final.filter(pa.array(new, pa.bool_())), stored


def as_stored(history: History, final: pa.Table, symbol: str, interval: str) -> pa.Table:
    """A batch in which the stored bars of a series, where they are newer or more, take the place of its own."""
    mine = pc.and_(pc.equal(final["symbol"], symbol), pc.equal(final["interval"], interval))
    revs = dict(zip(final.filter(mine)["start"].to_pylist(), final.filter(mine)["rev"].to_pylist(), strict=True))
    if not revs:
        return final
    first, last = min(revs), max(revs)
    count = (last - first) // timedelta(microseconds=INTERVALS[interval].us) + 1
    stored = history.bars_of(symbol, interval, _micros(last) + 1, count)
    newer = pa.array(
        [start >= first and rev > revs.get(start, -1) for start, rev in zip(*_columns(stored), strict=True)], pa.bool_()
    )
    taken = stored.filter(newer)
    if not taken.num_rows:
        return final
    given_up = pc.and_(mine, pc.is_in(final["start"], taken["start"].cast(final["start"].type).combine_chunks()))
    return pa.concat_tables([final.filter(pc.invert(given_up)), taken.select(final.column_names).cast(final.schema)])


def _keys(rows: pa.Table) -> list[tuple[str, str]]:
    return list(zip(rows["symbol"].to_pylist(), rows["interval"].to_pylist(), strict=True))


def _bars(rows: pa.Table) -> list[tuple[str, str, int]]:
    starts = rows["start"].cast(pa.int64()).to_pylist()
    return [(*key, start) for key, start in zip(_keys(rows), starts, strict=True)]


def _columns(bars: pa.Table) -> tuple[list[datetime], list[int]]:
    return bars["start"].to_pylist(), bars["rev"].to_pylist()


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def edges(final: pa.Table, symbol: str, interval: str) -> tuple[int, int]:
    """The starts of a series' first and last bar in a batch, epoch microseconds; NEVER for both without one."""
    own = final.filter(pc.and_(pc.equal(final["symbol"], symbol), pc.equal(final["interval"], interval)))
    if not own.num_rows:
        return NEVER, NEVER
    found = pc.min_max(own["start"].cast(pa.int64())).as_py()
    return found["min"], found["max"]
