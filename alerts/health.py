"""How the system fares, looked at from outside: stores that answer, ticks and bars that come, records refused."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import redis
import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from alerts.conditions import HealthCondition
from alerts.rules import EVERY, Rule
from alerts.symptoms import Symptom
from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import DEAD
from core.errors import StoreUnavailable, TickstreamError
from core.intervals import SECOND_US
from stores.alerts import AlertStore
from stores.redis import TIMEOUT_SECONDS, translated

LOOK_SECONDS = 5.0
ASK_SECONDS = 3.0
_log = structlog.get_logger("alerts.health")


class Watch:
    """Looks every few seconds, in a thread of its own: a store that hangs holds up nobody. `latest` is what it saw."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seconds = LOOK_SECONDS
        self._probes = Probes(settings)
        self._wanted: tuple[HealthCondition, ...] = ()
        self._found: list[Symptom] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()

    def want(self, rules: Iterable[Rule]) -> None:
        """Look at what these rules ask for, and at nothing else."""
        self._wanted = tuple(rule.condition for rule in rules if isinstance(rule.condition, HealthCondition))

    def latest(self) -> list[Symptom]:
        """What was seen since this was last asked; empty where there is nothing new."""
        with self._lock:
            found, self._found = self._found, None
        return found or []

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(2 * ASK_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds if self._wanted else 0.2):
            wanted = self._wanted
            if wanted:
                seen = self._probes.look(wanted, time.time_ns() // 1000)
                with self._lock:
                    self._found = seen
        self._probes.close()


class Probes:
    """The questions, with what has to be remembered between them: since when a store does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = AlertStore(settings.postgres_dsn.get_secret_value())
        self._redis: Any = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
        self._kafka: Consumer | None = None
        self._down_since: dict[str, float] = {}
        self._pings: dict[str, Callable[[], object]] = {
            "timescale": self._signs,
            "redis": self._ping_redis,
            "kafka": lambda: self._broker().list_topics(timeout=ASK_SECONDS),
            "influx": self._ping_influx,
        }

    def look(self, wanted: Iterable[HealthCondition], now_us: int) -> list[Symptom]:
        """What can be seen now of what is wanted; what cannot be seen is left out."""
        found: list[Symptom] = []
        wanted = list(wanted)
        for store in sorted({each.store for each in wanted if each.store is not None}):
            found.append(Symptom("store_down", self._silence(store), store=store))
        if any(each.check in ("feed_silent", "bars_late") for each in wanted):
            found += self._freshness(now_us)
        for seconds in sorted({each.seconds for each in wanted if each.check == "dead_letters"}):
            found += self._dead_letters(seconds, now_us)
        return found

    def close(self) -> None:
        self._store.close()
        self._redis.close()
        if self._kafka is not None:
            self._kafka.close()

    def _silence(self, store: str) -> float:
        """For how many seconds a store has not answered, 0 while it does."""
        try:
            self._pings[store]()
        except (TickstreamError, KafkaException, httpx.HTTPError, httpx.InvalidURL):
            if store == "kafka":
                self._drop_broker()
            return time.monotonic() - self._down_since.setdefault(store, time.monotonic()) + 1e-3
        self._down_since.pop(store, None)
        return 0.0

    def _freshness(self, now_us: int) -> list[Symptom]:
        try:
            rows = self._signs()
        except TickstreamError:
            return []
        ticks = {row["symbol"]: row["received_us"] for row in rows if row["received_us"] is not None}
        ends = [row["bar_end_us"] for row in rows if row["bar_end_us"] is not None]
        ages = {symbol: max(0, now_us - us) / SECOND_US for symbol, us in ticks.items()}
        found = [Symptom("feed_silent", age, symbol) for symbol, age in ages.items()]
        if ages:
            found.append(Symptom("feed_silent", min(ages.values())))
        if ends:
            found.append(Symptom("bars_late", max(0, now_us - max(ends)) / SECOND_US))
        return found

    def _dead_letters(self, seconds: float, now_us: int) -> list[Symptom]:
        topic = self._settings.topic(DEAD)
        try:
            known = self._broker().list_topics(topic, timeout=ASK_SECONDS).topics[topic]
            if known.error is not None:
                return []
            count = sum(self._since(topic, number, now_us - int(seconds * SECOND_US)) for number in known.partitions)
        except KafkaException:
            self._drop_broker()
            return []
        return [Symptom("dead_letters", count, seconds=seconds, symbol=EVERY)]

    def _since(self, topic: str, partition: int, from_us: int) -> int:
        broker = self._broker()
        end = broker.get_watermark_offsets(TopicPartition(topic, partition), timeout=ASK_SECONDS)[1]
        asked = TopicPartition(topic, partition, from_us // 1000)
        (first,) = broker.offsets_for_times([asked], timeout=ASK_SECONDS)
        return end - first.offset if first.offset >= 0 else 0

    def _signs(self) -> list[dict[str, Any]]:
        try:
            return self._store.signs_of_life()
        except StoreUnavailable:
            self._store.close()  # so that the next question connects anew
            raise

    def _ping_redis(self) -> None:
        with translated():
            self._redis.ping()

    def _ping_influx(self) -> None:
        if self._settings.influx_url:
            with httpx.Client(timeout=ASK_SECONDS, trust_env=False) as client:
                client.get(f"{self._settings.influx_url}/ping").raise_for_status()

    def _broker(self) -> Consumer:
        if self._kafka is None:
            self._kafka = Consumer(
                {
                    **kafka_client(self._settings),
                    "group.id": f"{self._settings.topic(DEAD)}.alerts",
                    "enable.auto.commit": False,
                    "log_level": 0,
                }
            )
        return self._kafka

    def _drop_broker(self) -> None:
        broker, self._kafka = self._kafka, None
        if broker is not None:
            broker.close()
