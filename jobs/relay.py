"""Carry forming bars and their indicators to Redis: the newest of each bar, in milliseconds. Needs no Spark.

Bars come from the topic `bars.live`; the states that their indicators go on from, from the topic `indicators`.
"""

import argparse
import gc
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence

import msgspec
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from conf.kafka import kafka_client
from conf.logs import configure_logs
from conf.settings import Settings, load_settings
from conf.topics import BARS_LIVE
from core.errors import InputError, StoreUnavailable, TickstreamError
from jobs.indicator_topic import FinalStates
from jobs.live_indicators import live_indicators
from jobs.relay_pace import Pace
from metrics import stages
from metrics.kafka import Client
from metrics.pulled import Row
from metrics.relays import RELAY
from metrics.serve import serve
from metrics.stores import UNAVAILABLE
from producers.topics import ensure_topics, partition_count
from stores.influx_metrics import export_metrics
from stores.redis import LiveRow, RedisStore, Shown, make_redis
from stores.retry import pause_before, retrying

# Rows taken at once: what piles up while a write is under way is conflated, so load shortens the queue.
BATCH_ROWS = 2_000
COMMIT_SECONDS = 1.0
# A Redis that was killed may have lost its last second; the minute before is read again, which changes nothing it kept.
REWIND_SECONDS = 60.0
COORDINATOR_SECONDS = 60.0
# Enough of a step to tell its latencies by; all of them would cost a percent of a core.
STAMPED_ROWS = 20
_AFTER_KEY = b',"end":'
_UNSTAMPED = b'"processed_us":null}'
_statistics = Client("relay")
_log = structlog.get_logger("jobs.relay")


class _Bar(Shown, kw_only=True, gc=False):
    """A bar's JSON, read once for all who need something of it."""

    symbol: str
    interval: str
    start: int
    rev: int
    last_offset: int | None = None


_bar = msgspec.json.Decoder(_Bar)
Stamps = list[tuple[int, int]]


def newest_rows(messages: Sequence[Message], stamps: Stamps | None = None) -> list[LiveRow]:
    """The last row of each bar, in order of first arrival; what cannot be read is logged and passed over.

    To `stamps` is added, of forming bars, when the newest tick was received and when live sent the row, microseconds:
    of all where they are few, else of about STAMPED_ROWS, evenly chosen.
    """
    # What stands before "end" names the bar: under load, most rows are conflated away without being decoded.
    newest = {(message.value() or b"").partition(_AFTER_KEY)[0]: message for message in messages}
    rows: dict[tuple[str, str, int], LiveRow] = {}
    every = 1 + len(newest) // STAMPED_ROWS
    for number, message in enumerate(newest.values()):
        try:
            row = _row(message, None if number % every else stamps)
        except msgspec.DecodeError as error:
            _log.error("not a bar", partition=message.partition(), offset=message.offset(), error=str(error))
            continue
        rows[row.symbol, row.interval, row.start] = row
    return list(rows.values())


def _row(message: Message, stamps: Stamps | None) -> LiveRow:
    payload = message.value() or b""
    bar = _bar.decode(payload)
    sent_ms = message.timestamp()[1]
    if stamps is not None and bar.rev == 0 and bar.received_us is not None:
        stamps.append((bar.received_us, sent_ms * 1000))
    offset = -1 if bar.last_offset is None else bar.last_offset
    return LiveRow(bar.symbol, bar.interval, bar.start, bar.rev, offset, _stamped(payload, sent_ms), b"", bar)


def _stamped(payload: bytes, sent_ms: int) -> bytes:
    """The bar with the time at which Spark sent it: inside real-time mode there is no clock per row."""
    if not payload.endswith(_UNSTAMPED):
        return payload
    return payload[: -len("null}")] + b"%d}" % (sent_ms * 1000)


class Relay:
    """Reads `bars.live` from where it left off and writes to Redis until told to stop."""

    def __init__(self, settings: Settings, store: RedisStore) -> None:
        self._settings = settings
        self._store = store
        self._topic = settings.topic(BARS_LIVE)
        self._stopping = threading.Event()
        self._indicators = live_indicators(settings)
        self._committed_at = time.monotonic()
        self._fresh_since_us = 0
        # Partition -> next offset, as it was in each second of the last REWIND_SECONDS of work.
        self._stood: deque[dict[int, int]] = deque(maxlen=int(REWIND_SECONDS / COMMIT_SECONDS))
        self.read = 0
        self.conflated = 0
        self.written = 0
        self.published = 0
        self.lag = 0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Until `stop`. A Redis or broker that is down is waited for; nothing is skipped."""
        consumer, states = self._open(), FinalStates(self._settings)
        try:
            self._recall(states)
            pace = Pace(time.monotonic())
            while not self._stopping.is_set():
                messages = self._poll(consumer)
                for memory in states.news():
                    self._indicators.take_final(memory)
                if messages:
                    began = time.monotonic()
                    self._carry(consumer, messages)
                    if rest := pace.rest(len(messages), began, time.monotonic()):
                        time.sleep(rest)
                self._commit(consumer)
        finally:
            self._commit(consumer, now=True)
            consumer.close()
            states.close()

    def _carry(self, consumer: Consumer, messages: Sequence[Message]) -> None:
        stamps: Stamps = []
        fresh_since_us = self._fresh_since_us
        rows = newest_rows(messages, stamps)
        self._write(consumer, self._indicators.with_values(rows))
        self.read += len(messages)
        self.conflated += len(messages) - len(rows)
        # What is read again after an outage is not late: it was there before.
        stages.to_redis([each for each in stamps if each[1] >= fresh_since_us], time.time_ns() // 1000)

    def numbers(self) -> list[Row]:
        """For the metrics."""
        counts = {
            "read_total": self.read,
            "conflated_total": self.conflated,
            "written_total": self.written,
            "published_total": self.published,
            "lag_records": self.lag,
        }
        return [((), counts)]

    def _recall(self, states: FinalStates) -> None:
        """The final states, and the bars since then that closed before this start, as Redis still has them."""
        for memory in states.read_all():
            self._indicators.take_final(memory)
        keys = self._indicators.keys
        if keys:
            try:
                self._indicators.take_forming(self._store.tails(keys))
            except StoreUnavailable as error:
                _log.warning("cannot recall closed bars: indicators lack them until they are final", error=str(error))

    def _open(self) -> Consumer:
        consumer = Consumer(
            {
                **kafka_client(self._settings),
                "group.id": f"{self._topic}.relay",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "fetch.min.bytes": 1,
                "fetch.wait.max.ms": 100,
                "check.crcs": False,
                "log_level": 0,
                **_statistics.settings,
            }
        )
        count = partition_count(self._settings, self._topic)
        asked = [TopicPartition(self._topic, number) for number in range(count)]
        places = retrying("kafka", lambda: _committed(consumer, asked), COORDINATOR_SECONDS)
        consumer.assign(places)
        self._stood.append({each.partition: each.offset if each.offset >= 0 else OFFSET_BEGINNING for each in places})
        return consumer

    def _poll(self, consumer: Consumer) -> list[Message]:
        """Whatever is there, as soon as anything is."""
        first = consumer.poll(0.2)
        if first is None:
            return []
        found = [first, *consumer.consume(BATCH_ROWS, 0)]
        good = [message for message in found if message.error() is None]
        if len(good) < len(found):
            error = next(message.error() for message in found if message.error() is not None)
            _log.warning("broker", error=error.str())
        return good

    def _write(self, consumer: Consumer, rows: list[LiveRow]) -> None:
        attempt, connections = 0, self._store.connections
        while not self._stopping.is_set():
            try:
                self._write_rows(rows)
                break
            except StoreUnavailable as error:
                UNAVAILABLE.labels("redis").inc()
                pause = pause_before(attempt, error.retry_after)
                _log.warning("redis is down, waiting", error=str(error), retry_in=round(pause, 2))
                attempt += 1
                self._stopping.wait(pause)
        if attempt or (connections and self._store.connections > connections):
            self._rewind(consumer)

    def _write_rows(self, rows: list[LiveRow]) -> None:
        try:
            self.published += self._store.write_live(rows)
            self.written += len(rows)
        except InputError as error:
            if len(rows) > 1:
                for row in rows:
                    self._write_rows([row])
            else:
                _log.error("not a bar", symbol=rows[0].symbol, start=rows[0].start, error=str(error))

    def _rewind(self, consumer: Consumer) -> None:
        self._fresh_since_us = time.time_ns() // 1000
        there = self._stood[0]
        self._stood.clear()
        self._stood.append(there)
        for partition, offset in there.items():
            consumer.seek(TopicPartition(self._topic, partition, offset))
        _log.info("redis is back, reading again", seconds=REWIND_SECONDS)

    def _commit(self, consumer: Consumer, now: bool = False) -> None:
        if not now and time.monotonic() - self._committed_at < COMMIT_SECONDS:
            return
        self._committed_at = time.monotonic()
        places = [place for place in consumer.position(consumer.assignment()) if place.offset >= 0]
        self.lag = sum(_behind(consumer, place) for place in places)
        self._stood.append(self._stood[-1] | {place.partition: place.offset for place in places})
        if places:
            try:
                consumer.commit(offsets=places, asynchronous=not now)
            except KafkaException as error:
                _log.warning("cannot commit, will read again", error=error.args[0].str())


def _behind(consumer: Consumer, place: TopicPartition) -> int:
    """Records of a partition that are not read yet, as far as the client knows without asking the broker."""
    try:
        _, end = consumer.get_watermark_offsets(place, cached=True)
    except KafkaException:  # nothing has come of this partition yet
        return 0
    return max(0, end - place.offset)


def _committed(consumer: Consumer, asked: list[TopicPartition]) -> list[TopicPartition]:
    try:
        return consumer.committed(asked, timeout=10)
    except KafkaException as error:
        # A broker that has just started has no coordinator for the group yet.
        raise StoreUnavailable("kafka", error.args[0].str(), retry_after=0.2) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when stopped, 1 with one line on what went wrong."""
    _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logs(settings.log_format)
        serve("relay", settings)
        export_metrics("relay", settings)
        retrying("kafka", lambda: ensure_topics(settings), settings.store_retry_seconds)
        relay = Relay(settings, make_redis(settings))
        RELAY.watch(relay.numbers)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: relay.stop())
        # What is loaded by now stays for good: to look through it for garbage would hold a batch up for 10 ms and more.
        gc.collect()
        gc.freeze()
        _log.info("relay started", kafka=settings.kafka_bootstrap, topic=settings.topic(BARS_LIVE))
        relay.run()
        _log.info("relay stopped", read=relay.read, written=relay.written, published=relay.published)
    except TickstreamError as error:
        sys.stderr.write(f"relay: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m jobs.relay",
        description=__doc__,
        epilog="Stop it with Ctrl-C; started again, it goes on where it was. It holds no truth: Redis can be emptied.",
    )


if __name__ == "__main__":
    sys.exit(main())
