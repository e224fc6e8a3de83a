"""What TimescaleDB adds to the tables: chunks of a day, compression and retention by its own jobs.

Every statement may be run again. On a PostgreSQL without the extension there is nothing to do here, and
`stores/retention.py` deletes what is too old.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
import structlog

from stores.postgres import first_line

_log = structlog.get_logger(__name__)

# Who reads a chunk holds up its end, and whoever comes after that waits behind it.
LOCK_MILLISECONDS = 500


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
    """Whether the extension is there, or could be created now. A database without it gets plain tables."""
    if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone():
        return True
    if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone():
        return False
    # Over a connection of its own, which a server that has not preloaded the extension ends.
    with psycopg.connect(connection.info.dsn, password=connection.info.password, autocommit=True) as own:
        try:
            own.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except psycopg.Error as error:
            _log.warning("timescaledb could not be created here: plain tables are used", error=first_line(error))
            return False
    return True


def installed(connection: psycopg.Connection) -> bool:
    """Whether retention is the extension's business here."""
    sql = "SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE extname = 'timescaledb'"
    row = connection.execute(sql).fetchone()
    return row is not None and row != ("apache",)


def drop_emptied(connection: psycopg.Connection, retention: Retention, now: datetime) -> None:
    """Drop the chunks that lie before what is kept, over an autocommit connection; nothing without the extension.

    For the Apache-licensed build, which has no policies: `stores/retention.py` has deleted their rows. A chunk that
    somebody reads stays until the next time.
    """
    sql = "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()"
    if connection.execute("SELECT to_regclass('timescaledb_information.hypertables')").fetchone() == (None,):
        return
    made = {name for (name,) in connection.execute(sql).fetchall()}
    days = {TICKS.table: retention.ticks_days} | {each.table: retention.bars_days for each in LIKE_BARS}
    connection.execute(f"SET lock_timeout = {LOCK_MILLISECONDS}")
    try:
        for table, keep in days.items():
            if table in made:
                _drop_chunks(connection, table, now - timedelta(days=keep))
    finally:
        if not connection.closed:
            connection.execute("RESET lock_timeout")


def _drop_chunks(connection: psycopg.Connection, table: str, before: datetime) -> None:
    """One at a time: together they would wait, and let wait, for the reader of any."""
    sql = (
        "SELECT range_end FROM timescaledb_information.chunks WHERE hypertable_schema = current_schema()"
        " AND hypertable_name = %s AND range_end <= %s ORDER BY range_end"
    )
    for (end,) in connection.execute(sql, [table, before]).fetchall():
        try:
            connection.execute("SELECT drop_chunks(%s::regclass, %s::timestamptz)", [table, end])
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            _log.info(
                "an emptied chunk is being read and stays until the next time", table=table, until=end.isoformat()
            )
            return


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
    # A policy that is there keeps its old interval under if_not_exists: take it away first. One that is right stays,
    # since a new one begins to delete at once, beside whoever has just written old rows.
    right = (
        f"SELECT FROM timescaledb_information.jobs WHERE hypertable_name = '{table.table}' "
        f"AND proc_name = 'policy_retention' AND (config ->> 'drop_after')::interval = INTERVAL '{keep_days} days'"
    )
    keep = f"drop_after => INTERVAL '{keep_days} days'"
    return [
        f"SELECT remove_retention_policy('{table.table}', if_exists => true) WHERE NOT EXISTS ({right})",
        f"SELECT add_retention_policy('{table.table}', {keep}, if_not_exists => true)",
    ]
