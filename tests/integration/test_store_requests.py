"""A provider's quota, shared by all processes on one database."""

import asyncio
import time
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from producers.feeds import Quota
from producers.http import QuotaExhausted
from producers.turns import shared_turns
from stores.requests import MARGIN_SECONDS
from stores.timescale import make_timescale


@pytest.fixture
def settings(postgres_dsn: str) -> Settings:
    own = Settings(postgres_dsn=SecretStr(postgres_dsn), store_retry_seconds=5)
    make_timescale(own).setup()
    return own


def execute(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a statement, if it has any."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def test_turns_of_several_processes_keep_one_quota(settings: Settings) -> None:
    """Each has its own connection and knows of the others by the database alone."""
    quota, times = Quota(5, 0.4), []

    async def client() -> None:
        async with shared_turns(settings) as turns:
            for _ in range(7):
                await turns.take("some", quota)
                times.append(time.monotonic())

    async def all_of() -> None:
        async with shared_turns(settings) as turns:
            await asyncio.gather(client(), client(), client(), turns.take("other", quota))

    asyncio.run(all_of())
    assert len(times) == 21
    # Turns of one window are taken at least so far apart; a margin for the delay of waking up.
    assert all(late - early >= quota.seconds for early, late in zip(times, times[5:], strict=False))
    left = execute(settings, "SELECT provider, count(*) FROM provider_requests GROUP BY 1 ORDER BY 1")
    assert left[0] == ("other", 1) and left[1][0] == "some" and left[1][1] < 21, "old rows are not deleted"
    assert times[-1] - times[0] < 3 * 4 * (quota.seconds + MARGIN_SECONDS), "turns are wasted"


def test_turns_left_by_a_killed_process_count(settings: Settings) -> None:
    execute(
        settings, "INSERT INTO provider_requests SELECT 'some', now() - interval '10 ms' FROM generate_series(1, 3)"
    )

    async def waited() -> float:
        async with shared_turns(settings) as turns:
            begun = time.monotonic()
            await turns.take("some", Quota(3, 1.0))
            return time.monotonic() - begun

    assert asyncio.run(waited()) > 0.8


def test_daily_turns_count_the_utc_day_and_last_the_day(settings: Settings) -> None:
    execute(
        settings,
        "INSERT INTO provider_requests VALUES ('some', date_trunc('day', now()) - interval '1 second'),"
        " ('some', date_trunc('day', now())), ('some', date_trunc('day', now()))",
    )

    async def spent() -> QuotaExhausted:
        async with shared_turns(settings) as turns:
            await turns.take("some", Quota(100, 0.01, daily=3))
            with pytest.raises(QuotaExhausted, match="the day's 3 requests are used up") as raised:
                await turns.take("some", Quota(100, 0.01, daily=3))
            return raised.value

    error = asyncio.run(spent())
    left = 86_400 - time.time() % 86_400
    assert abs(error.retry_after - left) < 30
