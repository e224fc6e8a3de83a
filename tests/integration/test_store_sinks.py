"""The stores on real servers keep the promises of a store."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from core.intervals import INTERVALS
from stores.redis import RedisReader, RedisStore
from stores.schema import TICK_SCHEMA
from stores.timescale import TimescaleReader, TimescaleStore
from tests import checks
from tests.checks import BarCheck, IndicatorCheck, OpenedBars, OpenedIndicators, OpenedTicks, TickCheck

Rows = list[dict[str, Any]]


@pytest.fixture
def redis_store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url)
    store.setup()
    yield store
    store.close()


@pytest.mark.parametrize("check", list(checks.bar_sink_checks()))
def test_timescale_bars(database: TimescaleStore, postgres_dsn: str, check: BarCheck) -> None:
    check(OpenedBars(database, lambda: asyncio.run(_stored(postgres_dsn, _every_bar))))


@pytest.mark.parametrize("check", list(checks.indicator_checks()))
def test_timescale_indicators(database: TimescaleStore, postgres_dsn: str, check: IndicatorCheck) -> None:
    check(
        OpenedIndicators(database, lambda: asyncio.run(_stored(postgres_dsn, _every_indicator)), database.read_states)
    )


@pytest.mark.parametrize("check", list(checks.bar_sink_checks()))
def test_redis_bars(redis_store: RedisStore, redis_url: str, check: BarCheck) -> None:
    check(OpenedBars(redis_store, lambda: asyncio.run(_live_bars(redis_url))))


@pytest.mark.parametrize("check", list(checks.tick_sink_checks()))
@pytest.mark.parametrize("way", ["straight", "staged"])
def test_timescale_ticks(database: TimescaleStore, postgres_dsn: str, check: TickCheck, way: str) -> None:
    if way == "staged":  # as after a batch that held a known tick
        database._staged_left = 1_000
    check(OpenedTicks(database, lambda: stored_ticks(postgres_dsn)))


def stored_ticks(dsn: str) -> Rows:
    columns = ", ".join(name for name in TICK_SCHEMA.names if name != "event_time")
    event = "(extract(epoch FROM event_time) * 1000000)::bigint AS event_time"
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT {event}, {columns} FROM ticks").fetchall()


async def _stored(dsn: str, ask: Callable[[TimescaleReader, str, str], Awaitable[Rows]]) -> Rows:
    """What `ask` finds for every symbol and interval."""
    reader = TimescaleReader(dsn, timeout=20)
    await reader.open()
    try:
        return [
            found
            for row in await reader.symbols()
            for interval in INTERVALS
            for found in await ask(reader, row["symbol"], interval)
        ]
    finally:
        await reader.close()


async def _every_bar(reader: TimescaleReader, symbol: str, interval: str) -> Rows:
    return await reader.bars(symbol, interval, -(2**63), 2**63, 100_000)


async def _every_indicator(reader: TimescaleReader, symbol: str, interval: str) -> Rows:
    rows = await reader.indicators(symbol, interval, -(2**63), 2**63, 100_000)
    return [{"symbol": symbol, "interval": interval} | row for row in rows]


async def _live_bars(url: str) -> Rows:
    reader = RedisReader(url)
    try:
        symbols = await reader.symbols()
        return [bar for symbol in symbols for interval in INTERVALS for bar in await reader.tail(symbol, interval)]
    finally:
        await reader.close()
