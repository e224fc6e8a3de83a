"""Fixtures of the tests on real stores: settings of the stores alone, both stores open, an API over them, a system."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from core.clock import ManualClock
from local.postgres import Postgres
from local.redis import Redis
from stores.redis import RedisStore
from stores.timescale import TimescaleStore
from tests.api_process import ApiProcess, api_process
from tests.databases import fresh_database
from tests.integration.access_data import all_keys, closed_settings
from tests.serving import serving


@pytest.fixture(scope="session")
def migrated_template(postgres_server: Postgres) -> Iterator[str]:
    """The name of a migrated database to be copied, which takes a third of what migrating does."""
    with fresh_database(postgres_server) as dsn:
        store = TimescaleStore(dsn)
        store.setup()
        store.close()
        yield dsn.rpartition("/")[2]


@pytest.fixture
def postgres_dsn(postgres_server: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a database that is dropped at the end: an empty one, or migrated where a test asks for `database`."""
    migrated = "database" in request.fixturenames
    template = request.getfixturevalue("migrated_template") if migrated else "template1"
    with fresh_database(postgres_server, template) as dsn:
        yield dsn


@pytest.fixture
def store_settings(postgres_dsn: str, redis_url: str) -> Settings:
    """Settings of an empty database and an empty Redis, without Kafka; a module may have others under this name."""
    return Settings(postgres_dsn=SecretStr(postgres_dsn), redis_url=SecretStr(redis_url))


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[TimescaleStore]:
    """The migrated database."""
    store = TimescaleStore(postgres_dsn)
    store.setup()
    yield store
    store.close()


@pytest.fixture
def live(redis_url: str) -> Iterator[RedisStore]:
    """What writes to Redis."""
    store = RedisStore(redis_url, 300)
    yield store
    store.close()


@pytest.fixture
def client(
    store_settings: Settings, database: TimescaleStore, request: pytest.FixtureRequest
) -> Iterator[httpx.Client]:
    """A client of an API over both stores, where it is `NOW` of the test's module, in microseconds."""
    with serving(store_settings, ManualClock(request.module.NOW)) as client:
        yield client


@pytest.fixture
def socket_settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings of an open API over an empty Redis, with nobody where the database should be."""
    nobody = SecretStr("postgresql://postgres@127.0.0.1:1/postgres")
    return Settings(redis_url=SecretStr(redis_url), postgres_dsn=nobody, data_path=tmp_path, api_auth="off")


@pytest.fixture(scope="module")
def guarded(postgres_server: Postgres, redis_server: Redis) -> Iterator[Settings]:
    """Settings of an API that asks for keys."""
    with closed_settings(postgres_server, redis_server) as settings:
        yield settings


@pytest.fixture(scope="module")
def guarded_api(guarded: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """It as a process, with the log of its requests."""
    with api_process(guarded, tmp_path_factory.mktemp("api") / "api.log", "--access-log") as process:
        yield process


@pytest.fixture(scope="module")
def guarded_client(guarded_api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded_api.url, timeout=15) as client:
        yield client


@pytest.fixture(scope="module")
def keys(guarded: Settings) -> dict[str, str]:
    """Its keys by kind."""
    return all_keys(guarded)


@pytest.fixture
def system(spark: Any, settings: Settings) -> Iterator[Any]:
    """A `tests.reconciling.System`, its indicators so short that 40 minutes make them ready."""
    from tests.reconciling import System

    short = "sma:3 ema:4 rsi:3 macd:2,4,3 vwap obv atr:3 stoch:3,2,2 5m=rvol:3 5m=ema:2"
    made = System(spark, settings.model_copy(update={"indicators": short}))
    yield made
    made.close()
