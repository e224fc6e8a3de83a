"""A store in memory that keeps the promises of the others: for tests, and for trying things without a server."""

import threading
from typing import Any

import pyarrow as pa

from core.errors import StoreUnavailable
from core.records import BAR_KEY
from stores.schema import BAR_SCHEMA, INDICATOR_SCHEMA, STATE_SCHEMA, TICK_SCHEMA, TIME

TICK_KEY = ("symbol", "event_time", "identity")
STATE_KEY = ("symbol", "interval")

Row = dict[str, Any]
Key = tuple[Any, ...]


class MemoryStore:
    """A BarSink and a TickSink. `fail_next` makes it be down for a while; nothing of a failed batch is kept."""

    name = "memory"

    def __init__(self) -> None:
        self._bars: dict[Key, Row] = {}
        self._ticks: dict[Key, Row] = {}
        self._indicators: dict[Key, Row] = {}
        self._states: dict[Key, Row] = {}
        self._failures = 0
        self._lock = threading.Lock()

    def fail_next(self, calls: int) -> None:
        """Let the next `calls` writes raise StoreUnavailable."""
        self._failures = calls

    def setup(self) -> None:
        """Nothing to prepare."""

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        found = [] if indicators is None else indicators.to_pylist()
        with self._lock:
            self._answer()
            for row in bars.to_pylist():
                held = self._bars.get(_key(row, BAR_KEY))
                if held is None or held["rev"] < row["rev"]:
                    self._bars[_key(row, BAR_KEY)] = row
            for row in found:
                at = _key(row, BAR_KEY)
                if at not in self._indicators or _supersedes(row, self._indicators[at]):
                    self._indicators[at] = row
                place = _key(row, STATE_KEY)
                if row["state"] is not None and (place not in self._states or _age(self._states[place]) <= _age(row)):
                    self._states[place] = row

    def write_ticks(self, ticks: pa.Table) -> None:
        with self._lock:
            self._answer()
            for row in sorted(ticks.to_pylist(), key=_offset):
                self._ticks.setdefault(_key(row, TICK_KEY), row)

    def close(self) -> None:
        """What was written stays readable."""

    @property
    def bars(self) -> pa.Table:
        """The bars held, by symbol, interval and start."""
        return _table(self._bars, BAR_SCHEMA)

    @property
    def indicators(self) -> pa.Table:
        """The indicators held, by symbol, interval and start; `state` as it was written with each."""
        return _table(self._indicators, INDICATOR_SCHEMA)

    def read_states(self) -> pa.Table:
        """The newest state of each symbol and interval, as STATE_SCHEMA."""
        rows = [{name: row[name] for name in STATE_SCHEMA.names} for row in self._states.values()]
        timed = STATE_SCHEMA.set(STATE_SCHEMA.get_field_index("start"), pa.field("start", TIME, nullable=False))
        return pa.Table.from_pylist(rows, schema=timed).cast(STATE_SCHEMA)

    @property
    def ticks(self) -> pa.Table:
        """The ticks held, by symbol, event time and identity."""
        return _table(self._ticks, TICK_SCHEMA)

    def _answer(self) -> None:
        if self._failures > 0:
            self._failures -= 1
            raise StoreUnavailable(self.name, "told to fail", retry_after=0.0)


def _key(row: Row, columns: tuple[str, ...]) -> Key:
    return tuple(row[name] for name in columns)


def _supersedes(row: Row, held: Row) -> bool:
    return bool(row["rev"] > held["rev"] or (row["rev"] == held["rev"] and row["specs"] != held["specs"]))


def _age(row: Row) -> Key:
    return row["start"], row["rev"]


def _offset(row: Row) -> tuple[bool, int]:
    """Lowest Kafka offset first, rows from elsewhere last, as PostgreSQL's NULLS LAST does."""
    return row["kafka_offset"] is None, row["kafka_offset"] or 0


def _table(rows: dict[Key, Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=schema)
