"""Polling jobs piece by piece: the table, the prices in Redis, what is published, and the API's answers."""

import ast
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import psycopg
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from conf.topics import DEAD, TICKS
from core.errors import ConfigError, InputError, PublishError, StoreUnavailable
from core.records import Tick
from producers.polled import PolledPrices
from producers.polling import PollingWorker
from producers.publish import Publisher
from stores.polling import MAX_DETAIL, PollingJob, PollingJobs
from stores.prices import Price, Prices
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import make_bar
from tests.integration.polling_data import Exchange, exchange_server
from tests.serving import serving
from tests.topics import read_ticks, read_topic

JOBS = "/api/v1/prices/poll"
LATEST = "/api/v1/prices/latest"
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    store = TimescaleStore(postgres_dsn)
    store.setup()
    store.close()
    return postgres_dsn


@pytest.fixture
def stores(dsn: str, redis_url: str) -> Settings:
    return Settings(postgres_dsn=SecretStr(dsn), redis_url=SecretStr(redis_url))


@pytest.fixture
def client(stores: Settings) -> Iterator[httpx.Client]:
    with serving(stores) as client:
        yield client


@asynccontextmanager
async def opened(dsn: str, timeout: float = 2.0) -> AsyncIterator[PollingJobs]:
    jobs = PollingJobs(dsn, timeout=timeout)
    await jobs.open()
    try:
        yield jobs
    finally:
        await jobs.close()


def with_jobs(dsn: str, what: Callable[[PollingJobs], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(dsn) as jobs:
            await what(jobs)

    asyncio.run(run())


def test_due_job_is_claimed_once_and_again_when_its_lease_is_over(dsn: str) -> None:
    async def check(jobs: PollingJobs) -> None:
        job = await jobs.create("p", ["A"], 60)
        assert [claimed.id for claimed in await jobs.claim(4, 0.3)] == [job.id]
        assert await jobs.claim(4, 0.3) == []
        await jobs.renew([job.id], 0.6)
        await asyncio.sleep(0.35)
        assert await jobs.claim(4, 0.3) == [], "renewed"
        await asyncio.sleep(0.35)
        assert [claimed.id for claimed in await jobs.claim(4, 60)] == [job.id]
        await jobs.renew([job.id], 0)
        assert [claimed.id for claimed in await jobs.claim(4, 60)] == [job.id], "given back"

    with_jobs(dsn, check)


def test_claims_at_once_are_disjoint_oldest_first_and_pass_over_locked_rows(dsn: str) -> None:
    async def check(jobs: PollingJobs) -> None:
        ids = [(await jobs.create("p", ["A"], 60)).id for _ in range(20)]
        async with await psycopg.AsyncConnection.connect(dsn) as other:
            await other.execute("SELECT FROM polling_jobs WHERE id = %s FOR UPDATE", [ids[0]])
            taken = await asyncio.gather(*(jobs.claim(3, 60) for _ in range(8)))
        claimed = [job.id for part in taken for job in part]
        assert sorted(claimed) == sorted(ids[1:]) and max(map(len, taken)) == 3
        assert [job.id for job in await jobs.claim(3, 60)] == ids[:1]

    with_jobs(dsn, check)


def test_jobs_made_at_once_are_judged_one_after_the_other(dsn: str) -> None:
    """Two APIs get eight jobs, none of which can be written before all of them were at least begun."""

    def room_for_two(load: list[tuple[int, float]]) -> None:
        if len(load) >= 2:
            raise InputError("full")

    async def all_waiting(database: psycopg.AsyncConnection, count: int) -> None:
        deadline = time.monotonic() + 60
        while await counted(database) < count:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def counted(database: psycopg.AsyncConnection) -> int:
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        row = await (await database.execute(f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {here}")).fetchone()
        return int(row[0]) if row else 0

    async def check() -> None:
        async with (
            opened(dsn, timeout=15) as jobs,
            opened(dsn, timeout=15) as others,
            await psycopg.AsyncConnection.connect(dsn) as database,
        ):
            await database.execute("LOCK TABLE polling_jobs IN SHARE MODE")  # reading goes on, writing waits
            asked = [asyncio.create_task(one.create("p", ["A"], 60, room_for_two)) for one in (jobs, others) * 4]
            await all_waiting(database, len(asked))
            await database.commit()
            made = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(isinstance(job, PollingJob) for job in made) == 2
            assert [str(job) for job in made if isinstance(job, Exception)] == ["full"] * 6
            assert len(await jobs.newest(99)) == 2, "a refused one leaves nothing"

    asyncio.run(check())


def test_claim_passes_over_busy_providers_and_failed_jobs(dsn: str) -> None:
    async def check(jobs: PollingJobs) -> None:
        busy, free = await jobs.create("busy", ["A"], 60), await jobs.create("free", ["A"], 60)
        failed = await jobs.create("free", ["B"], 60)
        await jobs.finish(failed.id, detail="refused", failed=True)
        assert [job.id for job in await jobs.claim(9, 60, ["busy"])] == [free.id]
        assert [job.id for job in await jobs.claim(9, 60)] == [busy.id]

    with_jobs(dsn, check)


@pytest.mark.parametrize("late_seconds", [0.0, 2.0, 9.99, 10.01, 3605.0])
@pytest.mark.parametrize("pause", [0.0, 25.0])
def test_next_poll_is_the_first_on_the_grid_however_late_this_one_is(
    dsn: str, late_seconds: float, pause: float
) -> None:
    async def check(jobs: PollingJobs) -> None:
        made = await jobs.create("p", ["A"], 10)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database:
            await database.execute(
                "UPDATE polling_jobs SET created_at = created_at - make_interval(secs => %s)", [late_seconds]
            )
        await jobs.claim(1, 15)
        now_us = time.time_ns() // 1000
        await jobs.finish(made.id, ticks=3, pause_seconds=pause)
        job = await jobs.get(made.id)
        assert job is not None
        assert (job.next_us - job.created_us) % 10_000_000 in (0, 1, 9_999_999), "no drift"
        ahead = (job.next_us - now_us) / 1e6
        assert pause - 0.5 < ahead <= pause + 10.5, "one poll, not one for each that was missed"
        assert (job.polls, job.ticks, job.last_us is not None) == (1, 3, True)

    with_jobs(dsn, check)


def test_detail_of_any_text_is_kept_within_its_limit(dsn: str) -> None:
    async def check(jobs: PollingJobs) -> None:
        job = await jobs.create("p", ["A"], 10)
        await jobs.finish(job.id, detail="a\0b\ud800" + "x" * 1000)
        held = await jobs.get(job.id)
        assert held is not None and held.detail.startswith("ab?x") and len(held.detail) == MAX_DETAIL

    with_jobs(dsn, check)


async def load(jobs: PollingJobs, provider: str) -> list[tuple[int, float]]:
    """What a new job of the provider would be judged by; none is made."""

    def tell(active: list[tuple[int, float]]) -> None:
        raise InputError(str(active))

    with pytest.raises(InputError) as told:
        await jobs.create(provider, ["A"], 1, tell)
    return list(ast.literal_eval(str(told.value)))


def test_agenda_tells_of_active_jobs_only(dsn: str) -> None:
    async def check(jobs: PollingJobs) -> None:
        empty = await jobs.agenda()
        assert (empty.active, empty.slowest, empty.wait) == (0, 0, None)
        slow, fast = await jobs.create("p", ["A", "B"], 3600), await jobs.create("p", ["A"], 10)
        assert await load(jobs, "p") == [(2, 3600), (1, 10)] and await load(jobs, "q") == []
        await jobs.finish(fast.id)
        await jobs.finish(slow.id, failed=True)
        agenda = await jobs.agenda()
        assert (agenda.active, agenda.slowest) == (1, 10)
        assert agenda.wait is not None and 5 < agenda.wait <= 10
        assert await load(jobs, "p") == [(1, 10)]

    with_jobs(dsn, check)


def test_table_missing_or_database_away_is_said(postgres_dsn: str) -> None:
    with pytest.raises(ConfigError, match="migrate"):
        with_jobs(postgres_dsn, lambda jobs: jobs.agenda())  # type: ignore[arg-type,return-value]
    with pytest.raises(StoreUnavailable):
        with_jobs("postgresql://u:hunter2@127.0.0.1:1/x", lambda jobs: jobs.agenda())  # type: ignore[arg-type,return-value]


def price(value: str, event_us: int, seq: int = 0, **changes: Any) -> Price:
    fields = {"provider": "p", "symbol": "A", "price": value, "event_us": event_us, "seq": seq}
    return Price(**fields | {"trade_id": None, "polled_us": event_us + 5} | changes)


def test_prices_never_go_back_and_end_with_their_lifetime(redis_url: str) -> None:
    async def check() -> None:
        prices = Prices(redis_url)
        try:
            newest = price("2", 1_700_000_000_000_001, 8_589_934_591)
            await prices.keep([newest, price("9", newest.event_us - 1), price("8", newest.event_us, 5)], 60)
            assert await prices.prices([("p", "A"), ("q", "A"), ("p", "B")]) == [newest]
            again = price("2", newest.event_us, newest.seq, polled_us=newest.polled_us + 7)
            await prices.keep([again], 0.2)
            assert await prices.prices([("p", "A")]) == [again], "the same price, seen later"
            await asyncio.sleep(0.3)
            assert await prices.prices([("p", "A")]) == []
            with_id = price("2", 1, trade_id="t:1", symbol="X:Y")
            await prices.keep([with_id], 60)
            assert await prices.prices([("p", "X:Y")]) == [with_id]
        finally:
            await prices.close()

    asyncio.run(check())


def tick(**changes: Any) -> Tick:
    now_us = time.time_ns() // 1000
    fields = {"symbol": "A", "event_us": now_us, "price": "1.5", "size": "0", "source": "p", "received_us": now_us}
    return Tick(**fields | changes)


def polled(settings: Settings, redis_url: str, *polls: list[Tick]) -> list[tuple[int, str]]:
    """Each poll's count of published ticks and its note."""

    async def run() -> list[tuple[int, str]]:
        prices = Prices(redis_url)
        with Publisher(settings) as publisher:
            way = PolledPrices(publisher, prices, 300)
            taken = [await way.take(ticks, 1) for ticks in polls]
        await prices.close()
        return [(each.published, each.note) for each in taken]

    return asyncio.run(run())


def test_what_is_no_tick_is_told_kept_from_readers_and_sent_to_dead_once(settings: Settings) -> None:
    good, bad = tick(), tick(symbol="B", price="-1")
    url = settings.redis_url.get_secret_value()
    note = "refused as no tick, see ticks.dead: B"
    assert polled(settings, url, [good, bad], [good, bad]) == [(1, note), (0, note)]
    assert len(read_topic(settings.kafka_bootstrap, settings.topic(DEAD))) == 1

    async def held() -> list[Price]:
        prices = Prices(url)
        try:
            return await prices.prices([("p", "A"), ("p", "B")])
        finally:
            await prices.close()

    assert [each.symbol for each in asyncio.run(held())] == ["A"]


def test_redis_away_ticks_are_published_once_and_the_note_says_so(settings: Settings) -> None:
    first = tick()
    later = msgspec.structs.replace(first, event_us=first.event_us + 1)
    outcome = polled(settings, NOBODY, [first], [first], [later])
    assert [count for count, _ in outcome] == [1, 0, 1]
    assert all("not shown" in note and "redis" in note for _, note in outcome)
    assert len(read_ticks(settings.kafka_bootstrap, settings.topic(TICKS))) == 2


class LosesTheFirst(Publisher):
    """A publisher whose first flush says that the records did not arrive."""

    lost = False

    def flush(self) -> None:
        super().flush()
        if not self.lost:
            self.lost = True
            raise PublishError("1 records not delivered")


def test_tick_that_did_not_reach_the_broker_is_news_again_and_not_shown(settings: Settings) -> None:
    async def check() -> None:
        prices, one = Prices(settings.redis_url.get_secret_value()), tick()
        with LosesTheFirst(settings) as publisher:
            way = PolledPrices(publisher, prices, 300)
            with pytest.raises(PublishError):
                await way.take([one], 1)
            assert await prices.prices([("p", "A")]) == []
            assert (await way.take([one], 1)).published == 1
            assert len(await prices.prices([("p", "A")])) == 1
        await prices.close()

    asyncio.run(check())


def test_another_workers_poll_is_known_through_redis(settings: Settings) -> None:
    one, url = tick(), settings.redis_url.get_secret_value()
    assert polled(settings, url, [one]) == [(1, "")]
    assert polled(settings, url, [one]) == [(0, "")]


def test_poll_that_outlasts_its_lease_is_renewed_and_made_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.polling.LEASE_SECONDS", 1.0)
    monkeypatch.setattr("producers.polling.RENEW_SECONDS", 0.2)
    store = TimescaleStore(settings.postgres_dsn.get_secret_value())
    store.setup()
    store.close()

    async def check(exchange: Exchange) -> None:
        stop, prices = asyncio.Event(), Prices(settings.redis_url.get_secret_value())
        async with opened(settings.postgres_dsn.get_secret_value()) as jobs:
            job = await jobs.create("coinbase", ["BTC-USD"], 3600)
            with Publisher(settings) as publisher:
                worker = PollingWorker(settings, jobs, PolledPrices(publisher, prices, 300), base_url=exchange.url)
                running = asyncio.create_task(worker.run(stop))
                deadline = time.monotonic() + 30
                while not exchange.asked:
                    await asyncio.sleep(0.01)
                while (held := await jobs.get(job.id)) and not held.polls:
                    assert await jobs.claim(1, 60) == [], "another worker would get it"
                    assert time.monotonic() < deadline
                await asyncio.sleep(0.5)  # two renewals' time
                held = await jobs.get(job.id)
                stop.set()
                await running
        await prices.close()
        assert held is not None and (held.polls, held.ticks, exchange.asked_for("BTC-USD")) == (1, 1, 1)
        assert held.next_us > held.created_us + 3_599_000_000, "no renewal came after the poll was counted"

    with exchange_server() as exchange:
        exchange.trade("BTC-USD", 1, "10")
        exchange.delay_seconds = 4.0
        asyncio.run(check(exchange))


def post(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.post(JOBS, json={"symbols": ["BTC-USD"], "interval": 60, "provider": "coinbase"} | changes)


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"provider": "coinbse"}, "provider", "known: "),
        ({"provider": "alpaca"}, "provider", "set ALPACA_API_KEY and ALPACA_SECRET_KEY"),
        ({"symbols": []}, "symbols", "at least 1"),
        ({"symbols": [f"S{number}" for number in range(101)]}, "symbols", "100"),
        ({"symbols": ["A", "B C"]}, "symbols.1", "pattern"),
        ({"interval": 0.5}, "interval", "at least 1s"),
        ({"interval": "soon"}, "interval", "5m"),
        (
            {"symbols": [f"S{number}" for number in range(100)], "interval": 5},
            "interval",
            "the least that works is 13s",
        ),
        ({"intervall": 5}, "intervall", "no such parameter"),
    ],
)
def test_job_wrong_is_422_naming_the_field(
    client: httpx.Client, changes: dict[str, Any], field: str, says: str
) -> None:
    answer = post(client, **changes)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert [error["parameter"] for error in body["errors"]] == [field]
    assert field in body["detail"] and says in body["detail"]
    assert client.get(JOBS).json()["jobs"] == [], "nothing was made"


LONE_SURROGATE = "\\ud800"  # half a character, as JSON can write it


@pytest.mark.parametrize(
    "body",
    [
        *("", "{", "[]", "null"),
        '{"symbols":["A"],"provider":"coinbase","interval":NaN}',
        f'{{"symbols":["A"],"provider":"{LONE_SURROGATE}","interval":1}}',
        f'{{"symbols":["{LONE_SURROGATE}"],"provider":"coinbase","interval":1}}',
        f'{{"symbols":["A"],"provider":"coinbase","interval":"{LONE_SURROGATE}"}}',
        f'{{"symbols":["A"],"provider":"coinbase","interval":1,"{LONE_SURROGATE}":1}}',
    ],
)
def test_body_that_is_no_job_is_422(client: httpx.Client, body: str) -> None:
    answer = client.post(JOBS, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert not any(error["parameter"].isdigit() for error in answer.json()["errors"])


def test_body_that_is_no_text_is_400(client: httpx.Client) -> None:
    answer = client.post(JOBS, content=b"\xff", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_jobs_share_their_providers_quota(client: httpx.Client) -> None:
    half = [f"S{number}" for number in range(24)]  # of the 48 symbols that 8 requests a second allow in 6 s
    first = post(client, symbols=half, interval=6)
    assert (first.status_code, post(client, symbols=half, interval=6).status_code) == (202, 202)
    third = post(client)
    assert third.status_code == 422 and "no interval works" in third.json()["detail"]
    assert post(client, provider="kraken").status_code == 202, "another provider's quota is its own"
    assert client.delete(first.headers["location"]).status_code == 204
    assert post(client).status_code == 202


def test_jobs_are_listed_newest_first_within_the_limit(client: httpx.Client) -> None:
    ids = [post(client, interval="1h").json()["job_id"] for _ in range(3)]
    assert [job["job_id"] for job in client.get(JOBS).json()["jobs"]] == ids[::-1]
    part = client.get(JOBS, params={"limit": 2}).json()
    assert ([job["job_id"] for job in part["jobs"]], part["truncated"]) == (ids[:0:-1], True)
    assert client.get(JOBS, params={"limit": 3}).json()["truncated"] is False
    assert client.get(JOBS, params={"limit": 0}).status_code == 422


def test_job_unknown_is_404_and_no_id_is_422(client: httpx.Client) -> None:
    for call in (client.get, client.delete):
        answer = call(f"{JOBS}/{uuid4()}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert "GET /api/v1/prices/poll" in answer.json()["detail"]
        assert call(f"{JOBS}/7").status_code == 422


def test_latest_of_nothing_says_what_to_do(client: httpx.Client) -> None:
    asked = client.get(LATEST, params={"symbol": "BTC-USD", "provider": "coinbase"})
    assert (asked.status_code, asked.json()["type"]) == (404, "urn:tickstream:problem:no-price")
    assert "POST /api/v1/prices/poll" in asked.json()["detail"]
    anyone = client.get(LATEST, params={"symbol": "BTC-USD"})
    assert anyone.status_code == 404 and "POST /api/v1/prices/poll" in anyone.json()["detail"]
    for params, field in (
        ({}, "symbol"),
        ({"symbol": "A", "provider": "x"}, "provider"),
        ({"symbol": "A B"}, "symbol"),
    ):
        answer = client.get(LATEST, params=params)
        assert answer.status_code == 422
        assert [error["parameter"] for error in answer.json()["errors"]] == [field]


def test_latest_without_provider_is_the_pipelines_then_polled_then_stored(
    client: httpx.Client, dsn: str, redis_url: str
) -> None:
    def latest(**params: str) -> tuple[str, str, str | None]:
        body = client.get(LATEST, params={"symbol": "A"} | params).json()
        return body["source"], body["price"], body["provider"]

    database = TimescaleStore(dsn)
    database.write_bars(bars_table([make_bar(0)]))
    database.close()
    assert latest() == ("database", "10.5", None)

    async def keep() -> None:
        prices = Prices(redis_url)
        await prices.keep([price("2", 7, provider="kraken"), price("3", 8, provider="coinbase")], 60)
        await prices.close()

    asyncio.run(keep())
    assert latest() == ("poll", "3", "coinbase")
    assert latest(provider="kraken") == ("poll", "2", "kraken")
    live = RedisStore(redis_url, 300)
    live.write_bars(bars_table([make_bar(1, rev=0, state="forming")]))
    live.close()
    assert latest() == ("live", "10.5", None)
    assert latest(provider="coinbase_exchange") == ("poll", "3", "coinbase")


def test_stores_away_are_503(redis_url: str) -> None:
    dsn = SecretStr("postgresql://u@127.0.0.1:1/x")
    with serving(Settings(postgres_dsn=dsn, redis_url=SecretStr(NOBODY), api_store_seconds=2)) as client:
        for answer in (
            post(client),
            client.get(JOBS),
            client.get(f"{JOBS}/{uuid4()}"),
            client.get(LATEST, params={"symbol": "A", "provider": "kraken"}),
        ):
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1


def test_contract_has_examples_and_every_answer(client: httpx.Client) -> None:
    contract = client.get("/openapi.json").json()
    paths, schemas = contract["paths"], contract["components"]["schemas"]
    made = paths[JOBS]["post"]["responses"]
    assert {"202", "422", "503"} <= made.keys() and "Location" in made["202"]["headers"]
    assert schemas["PollRequest"]["examples"][0]["provider"] == "coinbase"
    assert "coinbase" in schemas["PollRequest"]["properties"]["provider"]["enum"]
    assert {"204", "404"} <= paths[f"{JOBS}/{{job_id}}"]["delete"]["responses"].keys()
    assert schemas["PollLinks"]["properties"].keys() == {"self", "latest"}
