"""Findings in PostgreSQL: what the final query writes and goes on from, and what the API reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row

from core.anomalies.finding import Finding
from stores.pooled import Pooled
from stores.postgres import EPOCH_US, connect_args, to_time, translated
from stores.staging import quoted

_COLUMNS = ("symbol", "interval", "start", "end", "rule", "rev", "severity", "state", "value", "threshold", "score",
            "since", "text")  # fmt: skip
_TIMES = frozenset({"start", "end", "since"})
AMOUNTS = ("open", "high", "low", "close", "volume", "notional")
_KEY_COLUMNS = ("symbol", "interval", "start", "rule")


def _read(name: str) -> str:
    column = f'found."{name}"'
    return f'{EPOCH_US.format(column)} AS "{name}"' if name in _TIMES else column


_READ = ", ".join(_read(name) for name in _COLUMNS)
# Of one bar and rule the newest revision counts; the same again changes nothing.
_UPSERT = f"""
    INSERT INTO anomalies AS held ({quoted(_COLUMNS)}) VALUES ({", ".join(["%s"] * len(_COLUMNS))})
    ON CONFLICT (symbol, "interval", "start", rule) DO UPDATE SET
        {", ".join(f'"{name}" = excluded."{name}"' for name in _COLUMNS if name not in _KEY_COLUMNS)},
        written_at = clock_timestamp()
    WHERE held.rev <= excluded.rev AND (held.rev, held.severity, held.state, held.value, held.threshold, held.text)
        IS DISTINCT FROM (excluded.rev, excluded.severity, excluded.state, excluded.value, excluded.threshold,
                          excluded.text)
"""
_LAST_OF_EACH = f"""
    SELECT DISTINCT ON (symbol, "interval", rule) {_READ} FROM anomalies AS found
    WHERE "start" < %(before)s AND "start" >= %(since)s
      AND (%(symbol)s::text IS NULL OR (symbol = %(symbol)s AND "interval" = %(interval)s))
    ORDER BY symbol, "interval", rule, found."start" DESC
"""
_OF_SERIES = f"""
    SELECT {_READ} FROM anomalies AS found
    WHERE symbol = %s AND "interval" = %s AND "start" >= %s AND "start" < %s ORDER BY found."start", rule
"""
_BARS = f"""
    SELECT newest.* FROM symbols CROSS JOIN LATERAL (
        SELECT symbol, {EPOCH_US.format('"start"')} AS "start", rev, {", ".join(f"{name}::float8" for name in AMOUNTS)}
        FROM bars
        WHERE bars.symbol = symbols.symbol AND "interval" = %(interval)s AND bars."start" < %(before)s
        ORDER BY bars."start" DESC LIMIT %(count)s
    ) AS newest
    WHERE %(symbol)s::text IS NULL OR symbols.symbol = %(symbol)s
    ORDER BY newest.symbol, newest."start"
"""
_AMENDED = f"""
    SELECT symbol, "interval", max(number) AS number, {EPOCH_US.format("min(from_start)")} AS from_us FROM amendments
    WHERE number > %s GROUP BY symbol, "interval" ORDER BY 3
"""
_COUNT_SINCE = """
    SELECT count(*) AS bars FROM bars WHERE symbol = %s AND "interval" = %s AND "start" >= %s AND "start" < %s
"""


@dataclass(frozen=True, slots=True)
class Amended:
    """A series of which bars from `from_us` on were amended, and the number of the last such amendment."""

    symbol: str
    interval: str
    number: int
    from_us: int


@dataclass(frozen=True, slots=True)
class StoredBars:
    """Bars as columns of one length; amounts as doubles, NaN for what a bar lacks."""

    symbol: NDArray[np.object_]
    start: NDArray[np.int64]
    rev: NDArray[np.int64]
    amounts: dict[str, NDArray[np.float64]]

    def at(self, rows: NDArray[np.bool_]) -> "StoredBars":
        """Some of them."""
        amounts = {name: values[rows] for name, values in self.amounts.items()}
        return StoredBars(self.symbol[rows], self.start[rows], self.rev[rows], amounts)


class AnomalyStore:
    """The final query's side. Connects for each call: there are few.

    Every call raises StoreUnavailable when the database does not answer, ConfigError where it is not migrated.
    """

    name = "timescale"

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._args.get('host', '')}:{self._args.get('port', '')})"

    def write(self, findings: Sequence[Finding]) -> None:
        """Keep findings in one transaction."""
        rows = [[_value(each, name) for name in _COLUMNS] for each in sorted(findings, key=lambda each: each.key)]
        with translated(), psycopg.connect(**self._args) as connection, connection.cursor() as cursor:
            cursor.executemany(_UPSERT.encode(), rows)

    def last_of_each(
        self, since_us: int, before_us: int, symbol: str | None = None, interval: str | None = None
    ) -> list[Finding]:
        """Of every symbol, interval and rule the newest finding of a bar that starts in `[since, before)`."""
        asked = {"since": to_time(since_us), "before": to_time(before_us), "symbol": symbol, "interval": interval}
        return [_finding(row) for row in self._rows(_LAST_OF_EACH, asked)]

    def of_series(self, symbol: str, interval: str, start_us: int, end_us: int) -> list[Finding]:
        """The findings of bars that start in `[start, end)`, oldest first."""
        asked = [symbol, interval, to_time(start_us), to_time(end_us)]
        return [_finding(row) for row in self._rows(_OF_SERIES, asked)]

    def bars_before(self, interval: str, before_us: int, count: int, symbol: str | None = None) -> StoredBars:
        """The last `count` bars that start before a moment, of one symbol or of each: by symbol and start."""
        asked = {"interval": interval, "before": to_time(before_us), "count": count, "symbol": symbol}
        with translated(), psycopg.connect(**self._args) as connection:
            rows = connection.execute(_BARS.encode(), asked).fetchall()
        symbols, starts, revs, *amounts = zip(*rows, strict=True) if rows else [()] * (3 + len(AMOUNTS))
        columns = {name: np.array(values, np.float64) for name, values in zip(AMOUNTS, amounts, strict=True)}
        return StoredBars(np.array(symbols, object), np.array(starts, np.int64), np.array(revs, np.int64), columns)

    def bars_in(self, symbol: str, interval: str, start_us: int, end_us: int) -> int:
        """How many bars start in `[start, end)`."""
        asked = [symbol, interval, to_time(start_us), to_time(end_us)]
        return int(self._rows(_COUNT_SINCE, asked)[0]["bars"])

    def amended_since(self, number: int) -> list[Amended]:
        """The series of which bars were amended after that number, each from the first of these bars on, by number."""
        return [Amended(**row) for row in self._rows(_AMENDED, [number])]

    def _rows(self, sql: str, values: Any) -> list[dict[str, Any]]:
        with translated(), psycopg.connect(**self._args, row_factory=dict_row) as connection:
            return connection.execute(sql.encode(), values).fetchall()


def _value(finding: Finding, name: str) -> object:
    value = getattr(finding, name)
    return to_time(value) if name in _TIMES else value


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(**row, event_us=row["end"])


@dataclass(frozen=True, slots=True)
class Asked:
    """Which findings; None for all. `[start, end)` in epoch microseconds, by the start of the bar."""

    symbol: str | None = None
    interval: str | None = None
    rule: str | None = None
    severity: str | None = None
    state: str | None = None
    start_us: int = 0
    end_us: int = 1 << 62


Place = tuple[int, str]
"""Start of a bar, and the rest of the key as `symbol|interval|rule`."""

_WANTED = "\n".join(
    f'      AND (%({name})s::text IS NULL OR found."{name}" = %({name})s)'
    for name in ("symbol", "interval", "rule", "severity", "state")
)
_KEY = "found.symbol || '|' || found.\"interval\" || '|' || found.rule"
_NEWEST = f"""
    SELECT {_READ} FROM anomalies AS found
    WHERE found."start" >= %(start)s AND found."start" < %(end)s
      AND (%(place)s::timestamptz IS NULL OR found."start" < %(place)s
           OR (found."start" = %(place)s AND {_KEY} COLLATE "C" > %(key)s))
{_WANTED}
    ORDER BY found."start" DESC, {_KEY} COLLATE "C" LIMIT %(limit)s
"""


class AnomalyReader(Pooled):
    """The API's side. Its calls raise what those of Pooled do."""

    def __init__(self, dsn: str, *, timeout: float = 2.0, pool_size: int = 2) -> None:
        super().__init__(
            dsn, "anomalies", timeout=timeout, pool_size=pool_size, options=" -c default_transaction_read_only=on"
        )

    async def newest(self, asked: Asked, limit: int, beyond: Place | None = None) -> list[dict[str, Any]]:
        """Findings newest first, those of one bar by symbol, interval and rule; after a place where one is given.

        Keys: the fields of Finding without `event_us`; times in epoch microseconds.
        """
        values = {name: getattr(asked, name) for name in ("symbol", "interval", "rule", "severity", "state")}
        place, key = (None, None) if beyond is None else (to_time(beyond[0]), beyond[1])
        values |= {"start": to_time(asked.start_us), "end": to_time(asked.end_us), "place": place, "key": key}
        return await self._rows(_NEWEST, values | {"limit": limit})
