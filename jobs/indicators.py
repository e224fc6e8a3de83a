"""Indicators of final bars, in the final query and in a backfill: `core.indicators` over Arrow batches.

docs/decisions/0005 says why this is not `transformWithState`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from numpy.typing import NDArray

from conf.settings import Settings
from core.errors import StoreUnavailable
from core.indicators.base import Array
from core.indicators.keyed import KeyedStates
from core.indicators.sets import IndicatorSet, bars_of, values_json
from core.intervals import Interval
from jobs.stored_bars import NEVER, History, as_stored, edges, new_of
from stores.files import write_atomically
from stores.schema import INDICATOR_SCHEMA

_INPUTS = ("open", "high", "low", "close", "volume", "notional")
_SAVED = pa.schema([(name, pa.string()) for name in ("interval", "symbol", "specs")] + [("state", pa.binary())])
_INITIAL = -1
_AMENDED = b"amended"
# A series of at most so many bars is made again from its first; of a longer one this many are more than stable.
EXACT_BARS = 100_000
_KEPT_VERSIONS = 5
_log = structlog.get_logger("jobs.indicators")


class BatchIndicators:
    """The indicators of final bars that come in order of time, and their states by interval and symbol."""

    def __init__(self, settings: Settings, intervals: Sequence[Interval]) -> None:
        self._calendar = settings.calendar
        self._sets = {each.name: IndicatorSet(settings.indicators_of(each.name)) for each in intervals}
        self.restore(_SAVED.empty_table())

    @property
    def warm_up(self) -> int:
        """How many bars before the first one make every indicator stable."""
        indicators = [each for found in self._sets.values() for each in found.indicators]
        return max((each.stable_after for each in indicators), default=0)

    def rows(self, final: pa.Table) -> pa.Table:
        """A batch of INDICATOR_SCHEMA for bars of BAR_SCHEMA, all newer than those of the calls before."""
        return pa.concat_tables([self._of_interval(final, interval) for interval in self._states])

    def taken_in(self, final: pa.Table) -> NDArray[np.bool_]:
        """Of each bar, whether the state of its series is one after that bar, or after a newer one."""
        names, intervals = final["symbol"].to_numpy(), final["interval"].to_numpy()
        start, found = final["start"].cast(pa.int64()).to_numpy(), np.zeros(len(final), np.bool_)
        for interval, held in self._states.items():
            own = intervals == interval
            found[own] = start[own] <= held.indicators.started(held.of(names[own].tolist()))
        return found

    def states(self) -> pa.Table:
        """What `restore` takes: a row per interval and symbol."""
        found = [
            (interval, name, held.indicators.specs, held.indicators.to_bytes(row))
            for interval, held in self._states.items()
            for name, row in zip(held.names, held.rows, strict=True)
        ]
        return pa.table([list(column) for column in zip(*found, strict=True)] or [[]] * len(_SAVED), schema=_SAVED)

    def restore(self, states: pa.Table) -> None:
        """Go on from these states alone; an indicator that is new in the settings begins empty."""
        self._states = {interval: KeyedStates(indicators) for interval, indicators in self._sets.items()}
        for row in states.select(_SAVED.names).to_pylist():
            held = self._states.get(row["interval"])
            if held is None:
                continue
            try:
                held.put(row["symbol"], held.indicators.adopt(row["specs"], row["state"]))
            except ValueError as error:
                _log.warning("indicators begin anew", symbol=row["symbol"], interval=row["interval"], error=str(error))

    def specs(self, interval: str) -> str:
        """The set of an interval, as STATE_SCHEMA names it; empty for one that is not configured."""
        return self._sets[interval].specs if interval in self._sets else ""

    def put(self, symbol: str, interval: str, state: bytes | None) -> None:
        """Go on from a state of the very same set; None begins anew."""
        held = self._states.get(interval)
        if held is not None:
            own = held.indicators
            held.put(symbol, own.initial(1)[0] if state is None else own.adopt(own.specs, state))

    def started(self, symbol: str, interval: str) -> int:
        """The start of the last bar that the state of a series has taken in, epoch microseconds; 0 before the first."""
        held = self._states.get(interval)
        return 0 if held is None else int(held.indicators.started(held.of([symbol]))[0])

    def _of_interval(self, final: pa.Table, interval: str) -> pa.Table:
        bars = final.filter(pc.equal(final["interval"], interval))
        held, symbols = self._states[interval], bars["symbol"].to_pylist()
        start = bars["start"].cast(pa.int64()).to_numpy()
        folded = held.fold(symbols, start, bars_of(*(_floats(bars[name]) for name in _INPUTS), start, self._calendar))
        after = zip(held.of(symbols), folded.last, strict=True)
        made = {
            "specs": pa.array([held.indicators.specs] * len(bars), pa.string()),
            "values": [text.decode() for text in values_json(held.indicators.columns, folded.values)],
            "ready": folded.ready,
            "stable": folded.stable,
            "state": pa.array([held.indicators.to_bytes(row) if last else None for row, last in after], pa.binary()),
        }
        columns = {
            name: made.get(name, bars[name] if name in bars.column_names else None) for name in INDICATOR_SCHEMA.names
        }
        return pa.table(columns).cast(INDICATOR_SCHEMA)


class FinalIndicators:
    """The indicators of the final query. Their states lie beside Spark's own, a version per micro-batch with bars.

    Spark repeats a micro-batch that it did not commit with the same bars; it then goes on from the version before it.
    A query without any version begins with what `initial` gives: the states saved with the newest bars. It makes the
    bars of all that the topic has once more; these have their indicators, which stay as they are, and the first bar
    that is newer goes on from the states. Bars that no store knows, of a replay of older data, are a new history.
    """

    def __init__(
        self,
        indicators: BatchIndicators,
        folder: Path,
        initial: Callable[[], pa.Table],
        history: History | None = None,
    ) -> None:
        self._indicators = indicators
        self._folder = folder
        self._initial = initial
        self._history = history
        self._done: int | None = None
        self._amended = 0
        """The number of the last amendment that the states know of."""
        self._doubted: set[tuple[str, str]] = set()

    def rows(self, final: pa.Table, batch_id: int) -> pa.Table:
        """A batch of INDICATOR_SCHEMA. Raises StoreUnavailable when the states cannot be read or kept."""
        if not final.num_rows:
            return INDICATOR_SCHEMA.empty_table()
        try:
            if self._done is None or self._done >= batch_id:
                self._restore(batch_id)
            made_of = final if self._history is None else self._follow(self._history, final)
            new, stored = (made_of, None) if self._history is None else new_of(made_of, self._indicators, self._history)
            rows = self._indicators.rows(new)
            self._save(batch_id)
        except OSError as error:
            raise StoreUnavailable(
                "checkpoint", f"{error.strerror or error}: {error.filename or self._folder}"
            ) from None
        self._done = batch_id
        return rows if stored is None else pa.concat_tables([stored, rows])

    def _restore(self, batch_id: int) -> None:
        before = [version for version in self._versions() if version < batch_id]
        self._amended = 0
        if before:
            saved = pa.ipc.open_file(self._path(max(before)).read_bytes()).read_all()
            self._indicators.restore(saved)
            self._amended = int((saved.schema.metadata or {}).get(_AMENDED, 0))
        else:
            # First: what is amended after it is followed, as ever.
            self._amended = self._newest_amendment()
            self._indicators.restore(self._initial())
            # Should this batch be repeated, the stores have its own states by then.
            self._save(_INITIAL)

    def _newest_amendment(self) -> int:
        """The number of the last amendment, which the states of the database have."""
        try:
            amended = [] if self._history is None else self._history.amended_since(0)
            if self._history is not None and amended:
                # Whoever was here before may have died with doubts.
                self._history.doubt(sorted({(symbol, interval) for symbol, interval, _ in amended}))
        except StoreUnavailable:
            return 0  # then each is followed, from the stored bars
        return max((number for _, _, number in amended), default=0)

    def _follow(self, history: History, final: pa.Table) -> pa.Table:
        """Make the states of amended series again, from the stored bars before those of this batch.

        Returns the bars to go on with: of a batch that is repeated, some may have been amended since the first time.
        A version knows which amendments it has, so a batch that is repeated from an older one does the same again.
        """
        keys = set(zip(final["symbol"].to_pylist(), final["interval"].to_pylist(), strict=True))
        try:
            amended = history.amended_since(self._amended)
            if self._doubted:
                history.doubt(sorted(self._doubted))
                self._doubted = set()
        except StoreUnavailable as error:
            # The other sinks are to have their bars all the same; the database will, and reconciling looks again.
            _log.warning("cannot ask for amendments", error=str(error))
            self._doubted |= keys
            return final
        if self._done is None and amended:
            # Whoever was here before may have died with doubts.
            history.doubt(sorted({(symbol, interval) for symbol, interval, _ in amended}))
        for symbol, interval, number in amended:
            self._remake(history, symbol, interval, *edges(final, symbol, interval))
            final = as_stored(history, final, symbol, interval)
            self._amended = number
        return final

    def _remake(self, history: History, symbol: str, interval: str, first_us: int, last_us: int) -> None:
        """The state of a series after its last stored bar before the first of this batch.

        Where bars come once more, and newer ones than all of these are stored, the newest state: they are not stepped.
        """
        if self._put(history, symbol, interval, NEVER) and self._indicators.started(symbol, interval) > last_us:
            return
        if not self._put(history, symbol, interval, first_us):
            self._indicators.rows(history.bars_of(symbol, interval, first_us, EXACT_BARS))

    def _put(self, history: History, symbol: str, interval: str, before_us: int) -> bool:
        """Go on from the stored state after the last bar before a moment, if there is one of this set; else anew."""
        specs, state = history.state_before(symbol, interval, before_us) or ("", None)
        known = state if specs == self._indicators.specs(interval) else None
        self._indicators.put(symbol, interval, known)
        return known is not None

    def _save(self, batch_id: int) -> None:
        write_atomically(self._path(batch_id), _version(self._indicators.states(), self._amended))
        for version in sorted(self._versions())[:-_KEPT_VERSIONS]:
            self._path(version).unlink(missing_ok=True)

    def _versions(self) -> list[int]:
        return [int(path.stem) for path in self._folder.glob("*.arrow")]

    def _path(self, version: int) -> Path:
        return self._folder / f"{version}.arrow"


def save_initial(folder: Path, states: pa.Table, amended: int) -> None:
    """Let a final query that has no version in this folder go on from these states.

    `amended` is the number of the last amendment that they know of. Raises OSError.
    """
    write_atomically(folder / f"{_INITIAL}.arrow", _version(states, amended))


def _version(states: pa.Table, amended: int) -> bytes:
    sink, held = pa.BufferOutputStream(), states.replace_schema_metadata({_AMENDED: str(amended)})
    with pa.ipc.new_file(sink, held.schema) as writer:
        writer.write_table(held)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _floats(amounts: pa.ChunkedArray) -> Array:
    # Through Decimal, because float() of one is correctly rounded.
    return np.array([np.nan if amount is None else float(amount) for amount in amounts.to_pylist()], np.float64)
