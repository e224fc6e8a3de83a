"""Every rule fires and is over in the final query, from ticks in Kafka to the table, Redis and the topic."""

import time
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np
import psycopg
import pytest
import redis

from conf.settings import Settings
from conf.topics import ANOMALIES
from core.anomalies import RULES, Finding, Judge, Limits
from core.indicators import bars_of
from core.intervals import INTERVALS, MINUTE_US
from core.records import Tick
from jobs.sinks import Sinks
from stores.anomalies import AnomalyStore
from stores.redis import RedisStore
from stores.schema import bars_table
from tests.batches import make_bar
from tests.factories import MONDAY_US, tick
from tests.streaming import close_all, consume, produce, run_with
from tests.unit.core.anomalies.series import quiet

pytestmark = pytest.mark.spark
DAY_US = 1440 * MINUTE_US
QUIET = quiet(90)


def trades(
    symbol: str, closes: Sequence[float | None], sizes: Sequence[int] = (), begin_us: int = MONDAY_US
) -> list[Tick]:
    """A trade a minute; none where the close is None."""
    return [
        tick(
            symbol=symbol,
            event_us=begin_us + minute * MINUTE_US + 30_000_000,
            price=f"{close:.6f}",
            size=str(sizes[minute] if sizes else 100),
            seq=minute,
            trade_id=f"{symbol}-{begin_us}-{minute}",
        )
        for minute, close in enumerate(closes)
        if close is not None
    ]


def market() -> list[Tick]:
    """A symbol for every rule, in order of time."""
    back = [*QUIET, QUIET[-1] * 1.2, *[QUIET[-1] * 1.2] * 9]
    up = [100.0 + (minute % 2) * 0.01 for minute in range(20)] + [100.1 + minute * 0.05 for minute in range(20)]
    found = trades("JUMP", back)
    found += trades("UP", [*up, 100.0, 99.0, 98.5])
    found += trades("DOWN", [*(200 - each for each in up), 100.0, 101.0, 102.0])
    found += trades("VOLUME", [100.0] * 30, [100] * 25 + [1000] + [100] * 4)
    found += trades("SILENT", [100.0] * 5 + [None] * 6 + [100.0] * 3)
    found += trades("SLOW", [100.0] * 3)
    for day in range(2):
        sizes = [1000] * 15 + [100] * 25
        sizes[20] = 1000 if day else 100
        found += trades("PROFILE", [100.0] * 40, sizes, MONDAY_US - (1 - day) * DAY_US)
    return sorted(found, key=lambda each: each.event_us)


def forming(settings: Settings) -> None:
    """What the relay would have left in Redis of the bars of SLOW: the first came late."""
    store, now_us = RedisStore(settings.redis_url.get_secret_value(), 300), time.time_ns() // 1000
    more = {"symbol": "SLOW", "rev": 0, "state": "forming", "close": Decimal(100)}
    late = make_bar(start=MONDAY_US, received_us=now_us - 5_000_000, **more)
    prompt = make_bar(start=MONDAY_US + MINUTE_US, received_us=now_us + 10_000_000, **more)
    store.write_bars(bars_table([late, prompt]))
    store.close()


def judged_at_once(settings: Settings) -> list[Finding]:
    """What one pass over the stored bars finds."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        rows = connection.execute(
            'SELECT symbol, (extract(epoch FROM "start") * 1000000)::bigint, open, high, low, close, volume, notional'
            ' FROM bars ORDER BY "start", symbol'
        ).fetchall()
    symbols, starts, *amounts = zip(*rows, strict=True)
    start = np.array(starts, np.int64)
    bars = bars_of(*(np.array(each, np.float64) for each in amounts), start)
    judge = Judge(INTERVALS["1m"], Limits())
    found = judge.take(symbols, start, bars, [1] * len(rows))
    return found + judge.silent(int(start.max()) + MINUTE_US)


def by_key(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda each: each.key)


def test_each_rule_fires_and_is_over_on_the_running_query(spark, settings: Settings) -> None:
    settings, ticks = settings.model_copy(update={"intervals": "1m"}), market()
    forming(settings)
    produce(settings, ticks)
    close_all(settings, ticks[-1].event_us + 20 * MINUTE_US)
    run_with(Sinks(settings), "final", spark, settings)

    store = AnomalyStore(settings.postgres_dsn.get_secret_value())
    symbols = {each.symbol for each in ticks}
    held = [each for symbol in symbols for each in store.of_series(symbol, "1m", 0, 1 << 62)]
    for rule in RULES:
        assert {each.state for each in held if each.rule == rule} == {"firing", "resolved"}, rule
    assert [each.severity for each in by_key(held) if each.rule == "latency"] == ["critical", "critical"]
    assert {each.symbol for each in held if each.rule == "silent_feed" and each.state == "firing"} == symbols - {"JUMP"}
    assert by_key([each for each in held if each.rule != "latency"]) == by_key(judged_at_once(settings))
    published = [msgspec.json.decode(record.value, type=Finding) for record in consume(settings, ANOMALIES)]
    assert by_key(published) == by_key(held)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        assert {key.decode().split(":")[1] for key in client.scan_iter("anomaly:*")} == {each.symbol for each in held}
