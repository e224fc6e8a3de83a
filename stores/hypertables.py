"""What TimescaleDB adds to the tables: chunks of a day, compression and retention by its own jobs.

Every statement may be run again. On a PostgreSQL without the extension there is nothing to do here, and
`stores/retention.py` deletes what is too old.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
import structlog

from core.errors import ConfigError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows are kept, in days of event time; whatever belongs to bars as long as they."""

    ticks_days: int = 30
    bars_days: int = 365


@dataclass(frozen=True, slots=True)
class Hypertable:
    """One table: its time column, how its chunks are compressed and when."""

    table: str
    time: str
    segment_by: str
    order_by: str
    compress_after_days: int


# Compression sorts by every column of the unique constraint, so that a late row finds its place.
TICKS = Hypertable("ticks", "event_time", "symbol", "event_time DESC, identity", 2)
BARS = Hypertable("bars", "start", 'symbol, "interval"', '"start" DESC', 7)
INDICATORS = Hypertable("indicators", "start", 'symbol, "interval"', '"start" DESC', 7)
REVISIONS = Hypertable("bar_revisions", "start", 'symbol, "interval"', '"start" DESC, known_at', 7)
PREDICTIONS = Hypertable("predictions", "start", 'symbol, "interval"', '"start" DESC, horizon, model', 7)
ANOMALIES = Hypertable("anomalies", "start", 'symbol, "interval"', '"start" DESC, rule', 7)
LIKE_BARS = (BARS, INDICATORS, REVISIONS, PREDICTIONS, ANOMALIES)


def apply(connection: psycopg.Connection, retention: Retention) -> bool:
    """Make hypertables and policies where the extension is to be had; whether it was."""
    if not available(connection):
        return False
    with connection.transaction():
        _create_extension(connection)
        licence = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
        for table, sql in statements(retention, community=licence != ("apache",)):
            if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
                connection.execute(sql.encode())
    return True


def statements(retention: Retention, *, community: bool = True) -> list[tuple[str, str]]:
    """Tables and the SQL for them, in order. Compression and policies are not in the Apache-licensed build."""
    days = ((TICKS, retention.ticks_days), *((table, retention.bars_days) for table in LIKE_BARS))
    made = [(each.table, _make(each)) for each, _ in days]
    if not community:
        return made
    kept = ((each, (*_compress(each, keep), *_retain(each, keep))) for each, keep in days)
    return made + [(each.table, sql) for each, sqls in kept for sql in sqls]


def available(connection: psycopg.Connection) -> bool:
    """Whether the extension is there, or can be created: installed and, as far as one may see, preloaded."""
    if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone():
        return True
    if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone():
        return False
    preloaded = connection.execute("SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'").fetchone()
    if preloaded is not None and "timescaledb" not in preloaded[0]:
        # CREATE EXTENSION would end the connection.
        _log.warning("timescaledb is installed but not in shared_preload_libraries: plain tables are used")
        return False
    return True


def installed(connection: psycopg.Connection) -> bool:
    """Whether retention is the extension's business here."""
    sql = "SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE extname = 'timescaledb'"
    row = connection.execute(sql).fetchone()
    return row is not None and row != ("apache",)


def drop_emptied(connection: psycopg.Connection, retention: Retention, now: datetime) -> None:
    """Drop the chunks that lie before what is kept, over an autocommit connection; nothing without the extension.

    For the Apache-licensed build, which has no policies: `stores/retention.py` has deleted their rows.
    """
    sql = "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()"
    if connection.execute("SELECT to_regclass('timescaledb_information.hypertables')").fetchone() == (None,):
        return
    made = {name for (name,) in connection.execute(sql).fetchall()}
    days = {TICKS.table: retention.ticks_days} | {each.table: retention.bars_days for each in LIKE_BARS}
    for table, keep in days.items():
        if table in made:
            connection.execute("SELECT drop_chunks(%s::regclass, %s::timestamptz)", [table, now - timedelta(days=keep)])


def _create_extension(connection: psycopg.Connection) -> None:
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigError("this database user may not run CREATE EXTENSION timescaledb: let an owner do it") from None


def _make(table: Hypertable) -> str:
    # migrate_data: the extension may come to a database that already holds rows.
    # No default index: the unique constraint serves the reads, and a second index costs every write.
    return (
        f"SELECT create_hypertable('{table.table}', by_range('{table.time}', INTERVAL '1 day'), "
        "create_default_indexes => false, migrate_data => true, if_not_exists => true)"
    )


def _compress(table: Hypertable, keep_days: int) -> list[str]:
    after = min(table.compress_after_days, keep_days)
    return [
        f"ALTER TABLE {table.table} SET (timescaledb.compress, timescaledb.compress_segmentby = '{table.segment_by}', "
        f"timescaledb.compress_orderby = '{table.order_by}')",
        f"SELECT add_compression_policy('{table.table}', compress_after => INTERVAL '{after} days', "
        "if_not_exists => true)",
    ]


def _retain(table: Hypertable, keep_days: int) -> list[str]:
    # A policy that is there keeps its old interval under if_not_exists: take it away first.
    return [
        f"SELECT remove_retention_policy('{table.table}', if_exists => true)",
        f"SELECT add_retention_policy('{table.table}', drop_after => INTERVAL '{keep_days} days')",
    ]
