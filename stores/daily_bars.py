"""The historical tier's writes: published daily bars and corporate actions, each with all its revisions.

A row that is there already stays; one that its own source says differently becomes a new revision; one of another
source is left alone unless told to replace it, so that two publishers do not alternate in one series.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import psycopg
import pyarrow as pa

from core.adjustment import Action, Kind
from core.intervals import SECOND_US
from stores.copying import csv_bytes
from stores.postgres import connect_args, translated
from stores.staging import copy_csv, quoted

_PRICE = pa.decimal128(28, 8)
DAILY_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        *(pa.field(name, _PRICE, nullable=False) for name in ("open", "high", "low", "close")),
        pa.field("volume", pa.decimal128(38, 8)),
        pa.field("source", pa.string(), nullable=False),
    ]
)
_ACTION_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("ex_date", pa.date32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("new_shares", "old_shares", "amount", "reference")),
        pa.field("source", pa.string(), nullable=False),
    ]
)
LOCK = 7_203_146_553  # one load at a time: revisions are numbered by what is held
_YEAR_DAYS = 365.25


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the rows of a load: `kept` ones differ and are of another source."""

    new: int = 0
    amended: int = 0
    unchanged: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(name for name in self.schema.names if name not in (*self.key, "source"))

    def load(self, connection: psycopg.Connection, rows: pa.Table, replace: bool) -> Loaded:
        staging = f"{self.name}_loading"
        connection.execute(f"CREATE TEMP TABLE {staging} (LIKE {self.name}) ON COMMIT DROP".encode())
        connection.execute(f"ALTER TABLE {staging} ALTER rev DROP NOT NULL, ALTER known_at DROP NOT NULL".encode())
        # One chunk: pyarrow 26 writes noise in the place of the first row behind an empty one.
        data = csv_bytes(rows.select(self.schema.names))
        copy_csv(connection, staging, self.schema.names, data)
        connection.execute(f"ANALYZE {staging}".encode())
        judged = connection.execute(self._judged("verdict, count(*)", "GROUP BY verdict", replace)).fetchall()
        columns = quoted(self.schema.names)
        # Known from now on, not from when the transaction began: it may have waited for another load.
        given = f"{columns}, coalesce(held_rev, 0) + 1, statement_timestamp()"
        chosen = self._judged(given, "WHERE verdict IN ('new', 'amended')", replace)
        connection.execute(f"INSERT INTO {self.name} ({columns}, rev, known_at) ".encode() + chosen)
        connection.execute(f"DROP TABLE {staging}".encode())  # the same load may go on with another file
        return Loaded(**dict(judged))

    def _judged(self, columns: str, rest: str, replace: bool) -> bytes:
        """The rows being loaded, each with what is to become of it."""
        on = " AND ".join(f'held."{name}" = given."{name}"' for name in self.key)
        given, held = (", ".join(f'{of}."{name}"' for name in self.values) for of in ("given", "held"))
        other = "false" if replace else "held.source <> given.source"
        source = " AND held.source = given.source" if replace else ""
        return f"""
            SELECT {columns} FROM (
                SELECT given.*, held.rev AS held_rev, CASE
                    WHEN held.rev IS NULL THEN 'new'
                    WHEN ({given}) IS NOT DISTINCT FROM ({held}){source} THEN 'unchanged'
                    WHEN {other} THEN 'kept' ELSE 'amended' END AS verdict
                FROM {self.name}_loading AS given LEFT JOIN LATERAL (
                    SELECT * FROM {self.name} AS held WHERE {on} ORDER BY rev DESC LIMIT 1) AS held ON true
            ) AS judged {rest}
        """.encode()


_BARS = _Table("daily_bars", DAILY_SCHEMA, ("symbol", "day"))
_ACTIONS = _Table("corporate_actions", _ACTION_SCHEMA, ("symbol", "ex_date", "kind"))


class Loading:
    """A load that goes on: all of it is kept at its end, or nothing."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def write(
        self, bars: pa.Table, actions: Sequence[tuple[str, str, Action]], *, replace: bool = False
    ) -> tuple[Loaded, Loaded]:
        """Keep a batch of DAILY_SCHEMA and actions of (symbol, source); what became of both."""
        bars_done = _BARS.load(self._connection, bars, replace)
        return bars_done, _ACTIONS.load(self._connection, _action_rows(actions), replace)


class DailyStore:
    """Loads on a PostgreSQL DSN, one transaction each. Raises StoreUnavailable, and ConfigError without the tables."""

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)

    def __repr__(self) -> str:
        return f"DailyStore({self._args.get('host', '')}:{self._args.get('port', '')})"

    @contextmanager
    def loading(self) -> Iterator[Loading]:
        """A load; an error takes all of it back."""
        with translated(), psycopg.connect(**self._args) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            yield Loading(connection)

    def actions_of(self, symbols: Sequence[str]) -> dict[str, list[Action]]:
        """The newest revision of every action known of these symbols."""
        with translated(), psycopg.connect(**self._args) as connection:
            rows = connection.execute(ACTIONS_OF, {"symbols": list(symbols), "as_of": None}).fetchall()
        found: dict[str, list[Action]] = {symbol: [] for symbol in symbols}
        for symbol, *values in rows:
            found[symbol].append(as_action(*values))
        return found


ACTIONS_OF = """
    SELECT DISTINCT ON (symbol, ex_date, kind)
           symbol, ex_date, kind, new_shares, old_shares, amount, reference
    FROM corporate_actions
    WHERE symbol = ANY(%(symbols)s) AND (%(as_of)s::timestamptz IS NULL OR known_at <= %(as_of)s)
    ORDER BY symbol, ex_date, kind, rev DESC
"""


def as_action(ex_date: date, kind: Kind, new: Decimal | None, old: Decimal | None, *cash: Decimal | None) -> Action:
    """A row of ACTIONS_OF, after its symbol."""
    ratio = None if new is None or old is None else Fraction(new) / Fraction(old)
    return Action(ex_date, kind, ratio, *cash)


def forget_days(connection: psycopg.Connection, years: int, now_us: int) -> int:
    """Delete daily bars older than so many years, over an autocommit connection; how many. Actions stay."""
    now = datetime.fromtimestamp(now_us / SECOND_US, UTC)
    before = (now - timedelta(days=years * _YEAR_DAYS)).date()
    return connection.execute("DELETE FROM daily_bars WHERE day < %s", [before]).rowcount


def _action_rows(actions: Sequence[tuple[str, str, Action]]) -> pa.Table:
    rows = [
        {
            "symbol": symbol,
            "ex_date": each.ex_date,
            "kind": each.kind,
            "new_shares": None if each.ratio is None else str(each.ratio.numerator),
            "old_shares": None if each.ratio is None else str(each.ratio.denominator),
            "amount": _text(each.amount),
            "reference": _text(each.reference),
            "source": source,
        }
        for symbol, source, each in actions
    ]
    return pa.Table.from_pylist(rows, schema=_ACTION_SCHEMA)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")
