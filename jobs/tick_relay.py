"""Carry raw ticks from Kafka to those who listen in Redis, and to nobody else. Needs no Spark.

Reads the topic `ticks` from its end, and only while somebody has subscribed to a channel `tick:{symbol}`. A message is
the tick's JSON with `stream_seq`, which grows by one from message to message of a symbol, and `relayed_us` as its
first keys; `seq` is the venue's.
It keeps nothing: ticks that came while it was away are in the database.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence

import redis
import structlog
from confluent_kafka import Message

from conf.logs import configure_logs
from conf.settings import Settings, load_settings
from conf.topics import TICKS
from core.errors import InvalidTick, StoreUnavailable, TickstreamError
from jobs.tick_json import is_usual, read
from metrics.pulled import Row
from metrics.relays import TICK_RELAY
from metrics.serve import serve
from metrics.stages import STAGES
from producers.publish import encode
from producers.topics import ensure_topics
from stores.influx_metrics import export_metrics
from stores.kafka import follower, take
from stores.redis import TIMEOUT_SECONDS, translated
from stores.redis_seq import Sequences
from stores.retry import pause_before, retrying

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
BATCH_TICKS = 2_000
CHANNEL = "tick:"
_log = structlog.get_logger("jobs.tick_relay")


class TickRelay:
    """Publishes until told to stop. `published` counts messages, `invalid` records that are no ticks.

    `wanted` are the symbols that somebody listens to, and `reading` says whether it stands at the end of the topic, as
    it does while there are any.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic(TICKS)
        self._known = settings.known_symbols
        self._tolerance_us = settings.future_tolerance_us
        self._client = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
        self._sequences = Sequences()
        self.wanted: frozenset[bytes] = frozenset()
        self._looked_at = float("-inf")
        self._stopping = threading.Event()
        self.reading = False
        self.published = 0
        self.invalid = 0
        self._received_us: list[int] = []
        self._stage = STAGES.of("received_to_tick")

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Until `stop`. A Redis or broker that is down is waited for, and what passes meanwhile is passed over."""
        while not self._stopping.is_set():
            self._look()
            if not self.wanted:
                self._stopping.wait(LOOK_SECONDS)
            else:
                self._follow()
        self._client.close()

    def _follow(self) -> None:
        """Read from the end for as long as anybody listens."""
        consumer = follower(
            self._settings,
            self._topic,
            f"{self._topic}.tick-relay",
            PATIENCE_SECONDS,
            fetch_wait_max_ms=100,
            check_crcs=False,
        )
        self.reading = True
        try:
            while self.wanted and not self._stopping.is_set():
                self._publish(take(consumer, 0.2, BATCH_TICKS))
                self._look()
        finally:
            self.reading = False
            consumer.close()

    def _look(self) -> None:
        """Ask once a second who listens."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            with translated():
                channels = self._client.pubsub_channels(f"{CHANNEL}*")
        except StoreUnavailable as error:
            self._lost(error)
            return
        self.wanted = frozenset(channel[len(CHANNEL) :] for channel in channels)

    def _publish(self, messages: Iterable[Message]) -> None:
        """Send on what is a tick of a wanted symbol, in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for message in messages:
            key = message.key() or b""
            # Producers key by symbol: what nobody wants is not even decoded.
            if key in self.wanted and (text := self._numbered(message)) is not None:
                pipeline.publish(CHANNEL.encode() + key, text)
        if not len(pipeline):
            return
        received_us, self._received_us = self._received_us, []
        try:
            with translated():
                self.published += len(pipeline.execute())
            now_us = time.time_ns() // 1000
            self._stage.record_us([now_us - each for each in received_us])
        except StoreUnavailable as error:
            self._lost(error)

    def _numbered(self, message: Message) -> bytes | None:
        """The tick with its number; None for what is no tick, or one of another symbol than its key says."""
        value = message.value() or b""
        # As the queries do: in the future is what was so when the broker took it, whatever the clock here says.
        appended_us = message.timestamp()[1] * 1000
        try:
            tick = read(value, now_us=appended_us, future_tolerance_us=self._tolerance_us, known_symbols=self._known)
        except InvalidTick:
            self.invalid += 1
            return None
        if tick.kind == "heartbeat" or tick.symbol.encode() != message.key():
            return None
        self._received_us.append(tick.received_us)
        value = value if is_usual(tick) else encode(tick)
        now_us = time.time_ns() // 1000
        seq = self._sequences.take((tick.symbol, ""), now_us)
        return b'{"stream_seq":%d,"relayed_us":%d,%b' % (seq, now_us, value.lstrip()[1:])

    def numbers(self) -> list[Row]:
        """For the metrics."""
        counts = {"published_total": self.published, "invalid_total": self.invalid, "symbols": len(self.wanted)}
        return [((), counts)]

    def _lost(self, error: StoreUnavailable) -> None:
        _log.warning("redis is down, waiting", error=str(error))
        self.wanted = frozenset()
        self._sequences.forget()
        self._stopping.wait(pause_before(0, error.retry_after))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when stopped, 1 with one line on what went wrong."""
    _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logs(settings.log_format)
        serve("ticks", settings)
        export_metrics("ticks", settings)
        retrying("kafka", lambda: ensure_topics(settings), settings.store_retry_seconds)
        relay = TickRelay(settings)
        TICK_RELAY.watch(relay.numbers)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: relay.stop())
        _log.info("tick relay started", kafka=settings.kafka_bootstrap, topic=settings.topic(TICKS))
        relay.run()
        _log.info("tick relay stopped", published=relay.published, invalid=relay.invalid)
    except TickstreamError as error:
        sys.stderr.write(f"tick relay: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m jobs.tick_relay",
        description=__doc__,
        epilog="Stop it with Ctrl-C. It holds nothing, so it can be started again at any time.",
    )


if __name__ == "__main__":
    sys.exit(main())
