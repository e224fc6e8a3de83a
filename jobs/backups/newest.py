"""What follows from the database and is kept elsewhere for speed: made again after a restore."""

import psycopg
import pyarrow as pa
from confluent_kafka import Producer

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import INDICATORS
from core import rulesets
from jobs import indicator_topic
from jobs.indicators import EXACT_BARS, BatchIndicators, save_initial
from jobs.sinks import deliver
from stores import amending, snapshots
from stores.postgres import LATEST_US, connect_args, translated
from stores.reconciling import Reconciling, dicts
from stores.redis import make_redis
from stores.redis_script import TAIL_BARS
from stores.schema import INDICATOR_SCHEMA
from stores.timescale import make_timescale

_SERIES = "SELECT DISTINCT s.symbol, n.name FROM symbols AS s, unnest(%s::text[]) AS n (name) ORDER BY 1, 2"
_INDICATORS = """
    SELECT symbol, "interval", "start", rev, specs, "values"::text AS "values", ready, stable, NULL::bytea AS state,
           processed_us
    FROM unnest(%s::text[], %s::text[]) AS asked (s, i), LATERAL (
        SELECT * FROM indicators WHERE symbol = s AND "interval" = i ORDER BY "start" DESC LIMIT %s) AS found
"""
_WITH_STATES = """
    SELECT symbol, "interval", "start", rev, s.specs, i."values"::text AS "values", i.ready, i.stable, s.state,
           i.processed_us
    FROM indicator_states AS s JOIN indicators AS i USING (symbol, "interval", "start", rev)
    ORDER BY "start", symbol, "interval"
"""


def fill_redis(settings: Settings) -> None:
    """The newest bars of each series, with their indicators."""
    store, redis = make_timescale(settings), make_redis(settings)
    try:
        with _connected(settings) as connection:
            series = _series(connection, settings)
            asked = [[symbol for symbol, _ in series], [interval for _, interval in series], TAIL_BARS]
            indicators = pa.Table.from_pylist(dicts(connection, _INDICATORS, asked), schema=INDICATOR_SCHEMA)
        if series:
            redis.write_again(store.read_bars_before(series, LATEST_US, TAIL_BARS), indicators)
    finally:
        redis.close()
        store.close()


def publish_states(settings: Settings) -> None:
    """The newest indicators of each series with the state behind them, to the topic that live values come from."""
    with _connected(settings) as connection:
        rows = pa.Table.from_pylist(dicts(connection, _WITH_STATES, []), schema=INDICATOR_SCHEMA)
    producer = Producer({**kafka_client(settings), "enable.idempotence": True, "log_level": 0})
    topic = settings.topic(INDICATORS)
    deliver(producer, [(topic, *record) for record in indicator_topic.records(rows)])


def open_since(settings: Settings) -> int:
    """The start of the oldest bar that may be open, epoch microseconds; 0 before any bar was closed.

    Bars of all intervals that end no later are closed and stored.
    """
    rules = rulesets.load(settings.ruleset)
    with Reconciling(settings.postgres_dsn.get_secret_value(), settings.bar_intervals, rules) as store:
        horizon_us = store.horizon_us()
    longest_us = max(each.us for each in settings.bar_intervals)
    return 0 if horizon_us is None else horizon_us - horizon_us % longest_us


def open_states(settings: Settings) -> None:
    """Let the final query begin with the indicators as they were before the oldest open bar.

    It will make the bars since then again; with the states of the newest bars it would take them for a new history.
    """
    before_us = open_since(settings)
    indicators = BatchIndicators(settings, settings.bar_intervals)
    with _connected(settings) as connection:
        for symbol, interval in _series(connection, settings):
            known = snapshots.before(connection, symbol, interval, before_us, indicators.specs(interval))
            after_us = 0
            if known is not None:
                after_us = known[0]
                indicators.put(symbol, interval, known[1])
            bars = amending.bars_before(connection, symbol, interval, before_us, after_us, EXACT_BARS)
            indicators.rows(bars)
        newest = connection.execute("SELECT coalesce(max(number), 0) FROM amended_series").fetchone()
    save_initial(settings.checkpoint_path / "final" / "indicators", indicators.states(), newest[0] if newest else 0)


def _series(connection: psycopg.Connection, settings: Settings) -> list[tuple[str, str]]:
    names = [each.name for each in settings.bar_intervals]
    return connection.execute(_SERIES, [names]).fetchall()


def _connected(settings: Settings) -> psycopg.Connection:
    with translated():
        return psycopg.connect(**connect_args(settings.postgres_dsn.get_secret_value()), autocommit=True)
