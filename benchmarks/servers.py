"""Servers of the benchmark's own, and a fresh system on them for each measurement."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis
from confluent_kafka.admin import AdminClient
from psycopg import sql
from pydantic import ValidationError

from benchmarks.processes import python
from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import TOPIC_CONFIG
from core.errors import ConfigError
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from producers.topics import ensure_topics

SETUP_SECONDS = 60.0


@dataclass(frozen=True)
class Bench:
    """The servers, the folder of everything, and the settings that the options change."""

    folder: Path
    kafka: Kafka
    postgres: Postgres
    redis: Redis
    overrides: Mapping[str, str]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def sessions(self) -> dict[str, int]:
        """The servers' process sessions, by name."""
        servers = (self.kafka, self.postgres, self.redis)
        return {server.name: server.pid for server in servers if server.pid is not None}

    @contextlib.contextmanager
    def system(self, **overrides: object) -> Iterator[Settings]:
        """The settings of an empty system: topics, database and data folder of its own, removed afterwards."""
        number = next(self._numbers)
        name = f"b{number}"
        settings = make_settings(
            {
                "kafka_bootstrap": self.kafka.url,
                "postgres_dsn": self.postgres.url.removesuffix("postgres") + name,
                "redis_url": f"{self.redis.url.removesuffix('0')}{number % 16}",
                "topic_prefix": f"{name}.",
                "data_path": self.folder / name,
                **self.overrides,
                **overrides,
            }
        )
        settings.data_path.mkdir(parents=True)
        self._sql("CREATE DATABASE {}", name)
        try:
            ensure_topics(settings)
            with python("migrate", "stores", "migrate", settings=settings, folder=settings.data_path) as migration:
                migration.wait(SETUP_SECONDS)
            yield settings
        finally:
            self._remove(settings, name)

    def _remove(self, settings: Settings, name: str) -> None:
        admin = AdminClient({**kafka_client(settings), "log_level": 0})
        for future in admin.delete_topics([settings.topic(topic) for topic in TOPIC_CONFIG]).values():
            with contextlib.suppress(Exception):
                future.result(30)
        self._sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
            client.flushdb()

    def _sql(self, statement: str, name: str) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


@contextlib.contextmanager
def bench(overrides: Mapping[str, str], keep: bool = False) -> Iterator[Bench]:
    """Start the servers in a temporary folder; stop them and remove it at the end, unless `keep`."""
    make_settings(overrides)
    folder = Path(tempfile.mkdtemp(prefix="tickstream-bench-"))
    folder.chmod(0o711)  # PostgreSQL may run under an account of its own
    try:
        with contextlib.ExitStack() as running:
            kafka = running.enter_context(Kafka(folder / "kafka"))
            postgres = running.enter_context(Postgres(folder / "postgres"))
            redis_server = running.enter_context(Redis(folder / "redis"))
            yield Bench(folder, kafka, postgres, redis_server, overrides)
    finally:
        if keep:
            print(f"kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def make_settings(fields: Mapping[str, object]) -> Settings:
    """Settings from these fields alone. Raises ConfigError naming the one that is wrong."""
    try:
        return Settings.model_validate(dict(fields))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        raise ConfigError(f"setting {problem['loc'][0]}: {problem['msg']}") from None
