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
    quota, times = Quota(5, 0.4, daily=1_000), []  # of a day that is counted every turn stays written down
    execute(settings, "INSERT INTO provider_requests VALUES ('other', now() - interval '1 hour')")

    async def client() -> None:
        async with shared_turns(settings) as turns:
            for _ in range(7):
                await turns.take("some", quota)
                times.append(time.time())

    async def all_of() -> None:
        async with shared_turns(settings) as turns:
            await asyncio.gather(client(), client(), client(), turns.take("other", Quota(5, 0.4)))

    asyncio.run(all_of())
    told = "SELECT extract(epoch FROM made_at)::float8 FROM provider_requests WHERE provider = 'some' ORDER BY 1"
    turns = [at for (at,) in execute(settings, told)]
    assert len(times) == len(turns) == 21
    apart = quota.seconds + MARGIN_SECONDS
    assert all(late - early >= apart - 1e-5 for early, late in zip(turns, turns[5:], strict=False))
    # However late a busy machine wakes somebody: nobody goes before his turn.
    assert all(went >= turn - 0.01 for went, turn in zip(sorted(times), turns, strict=True))
    left = execute(settings, "SELECT count(*) FROM provider_requests WHERE provider = 'other'")
    assert left == [(1,)], "old rows are not deleted"
    assert times[-1] - times[0] < 3 * 4 * apart, "turns are wasted"


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
