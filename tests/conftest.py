"""Fixtures: real servers, started when a test first asks, and settings of which every test has its own.

`settings` gives a fresh topic prefix, PostgreSQL database and Redis database, so tests never see each other's data.
"""

import gc
import itertools
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
from psycopg import sql
from pydantic import SecretStr

from conf.settings import Settings
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from producers.topics import ensure_topics
from tests.brokers import RunningKafka, java_options, lent
from tests.databases import execute, fresh_database

# A shell that starts us in the background lets us ignore Ctrl-C, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault(*java_options())

# Tests run side by side, and the ports of metrics are one each for a machine: who tests them asks for some.
os.environ.setdefault("TICKSTREAM_METRICS_PORT", "0")

# Where a test is about answers, a busy machine's 503 is none: who tests outages or patience says how long.
os.environ.setdefault("TICKSTREAM_API_STORE_SECONDS", "20")

# How long one example takes says more about the machine than about what is tested.
hypothesis.settings.register_profile("tickstream", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("tickstream")

REDIS_DATABASES = 256
_redis_numbers = itertools.cycle(range(1, REDIS_DATABASES - 1))  # the last one is for modules that share one


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests, and all that they import, are no garbage: collections during the run pass them by."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where the servers of this run keep their data; not under tmp_path, which other accounts cannot enter."""
    folder = Path(tempfile.mkdtemp(prefix="tickstream-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class _Given(Postgres):
    """A server that runs already, and goes on."""

    def __init__(self, dsn: str) -> None:
        super().__init__(Path())
        self._dsn = dsn

    @property
    def url(self) -> str:
        return self._dsn


@pytest.fixture(scope="session")
def kafka_server(servers_folder: Path) -> Iterator[Kafka]:
    """Whoever kills a broker has one of its own: with TEST_KAFKA, its folder, this one is of all parts of the suite."""
    if folder := os.environ.get("TEST_KAFKA"):
        yield RunningKafka(Path(folder))
        return
    with lent(Kafka(servers_folder / "kafka", heap="512m")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(servers_folder: Path) -> Iterator[Postgres]:
    """It does not wait for the disk: whoever kills a PostgreSQL has one of its own.

    With TEST_POSTGRES_DSN, a superuser's DSN of the database `postgres`, it is that server instead: a TimescaleDB, say.
    """
    if dsn := os.environ.get("TEST_POSTGRES_DSN"):
        yield _Given(dsn)
        return
    with Postgres(servers_folder / "postgres") as server:
        execute(server.url, sql.SQL("ALTER SYSTEM SET fsync = off"), sql.SQL("SELECT pg_reload_conf()"))
        yield server


@pytest.fixture(scope="session")
def redis_server(servers_folder: Path) -> Iterator[Redis]:
    with Redis(servers_folder / "redis", databases=REDIS_DATABASES) as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres_server: Postgres) -> Iterator[str]:
    """The DSN of an empty database that is dropped at the end."""
    with fresh_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def redis_url(redis_server: Redis) -> Iterator[str]:
    """The URL of an empty database, emptied again at the end."""
    url = redis_server.url.removesuffix("0") + str(next(_redis_numbers))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def settings(kafka_server: Kafka, postgres_dsn: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a system of its own, topics created, stores empty and not yet migrated."""
    own = Settings(
        kafka_bootstrap=kafka_server.url,
        postgres_dsn=SecretStr(postgres_dsn),
        redis_url=SecretStr(redis_url),
        topic_prefix=f"t{uuid.uuid4().hex[:12]}.",
        data_path=tmp_path,
        store_retry_seconds=5,
    )
    ensure_topics(own)
    return own


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """The one Spark session of this run."""
    from tests.streaming import make_session

    session = make_session()
    yield session
    session.stop()
