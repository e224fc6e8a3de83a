"""`python -m benchmarks.plain`: the baseline, the same bars from one Python process with a dict.

A consumer, a dict, and a producer with the linger of the live query. No durability, no exactly-once, no recovery:
what is in the dict dies with it.
"""

import signal
import sys
import threading
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from conf.kafka import kafka_client
from conf.settings import Settings, load_settings
from conf.topics import BARS_LIVE, TICKS
from core.intervals import Interval
from core.records import BAR_COLUMNS, SCALE, from_scaled, vwap_scaled
from producers.topics import partition_count

READY = "started"
_UNIT = Decimal(SCALE)


class _Tick(msgspec.Struct):
    symbol: str
    event_us: int
    seq: int
    kind: str
    received_us: int
    price: Decimal | None = None
    size: Decimal | None = None
    trade_id: str | None = None


class _Forming:
    """A bar so far: its JSON fields, and its exact sums."""

    __slots__ = ("closing", "fields", "notional", "opening", "volume")

    def __init__(self, tick: _Tick, interval: Interval) -> None:
        start = interval.start_of(tick.event_us)
        self.fields: dict[str, Any] = dict.fromkeys(BAR_COLUMNS) | {
            "symbol": tick.symbol,
            "interval": interval.name,
            "start": start,
            "end": start + interval.us,
            "high": tick.price,
            "low": tick.price,
            "trade_count": 0,
            "rev": 0,
            "state": "forming",
            "ruleset": "plain",
            "received_us": 0,
        }
        self.opening = self.closing = (tick.event_us, tick.seq)
        self.volume = self.notional = Decimal(0)

    def add(self, tick: _Tick, partition: int, offset: int) -> None:
        key, fields = (tick.event_us, tick.seq), self.fields
        if key <= self.opening or not fields["trade_count"]:
            self.opening = key
            fields |= {"open": tick.price, "open_us": tick.event_us, "first_trade_id": tick.trade_id}
            fields |= {"first_offset": offset, "kafka_partition": partition}
        if key >= self.closing:
            self.closing = key
            fields |= {"close": tick.price, "close_us": tick.event_us, "last_trade_id": tick.trade_id}
        self.volume += tick.size
        self.notional += tick.price * tick.size
        vwap = vwap_scaled(int(self.notional * _UNIT * _UNIT), int(self.volume * _UNIT))
        fields["high"], fields["low"] = max(fields["high"], tick.price), min(fields["low"], tick.price)
        fields["volume"], fields["notional"], fields["last_offset"] = self.volume, self.notional, offset
        fields["vwap"] = None if vwap is None else from_scaled(vwap)
        fields["trade_count"] += 1
        fields["received_us"] = max(fields["received_us"], tick.received_us)


class Plain:
    """The bars of every symbol and interval, the newest of each alone."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._intervals = tuple(intervals)
        self._bars: dict[tuple[str, str], _Forming] = {}
        self._decode = msgspec.json.Decoder(_Tick).decode
        self._encode = msgspec.json.Encoder().encode

    def rows(self, value: bytes, partition: int, offset: int) -> list[tuple[bytes, bytes]]:
        """Key and JSON of each bar that the tick changed; none for a heartbeat."""
        tick = self._decode(value)
        if tick.kind != "trade":
            return []
        return [self._row(tick, interval, partition, offset) for interval in self._intervals]

    def _row(self, tick: _Tick, interval: Interval, partition: int, offset: int) -> tuple[bytes, bytes]:
        key = tick.symbol, interval.name
        bar = self._bars.get(key)
        if bar is None or tick.event_us >= bar.fields["end"]:
            bar = self._bars[key] = _Forming(tick, interval)
        bar.add(tick, partition, offset)
        return "|".join(key).encode(), self._encode(bar.fields)


def run(settings: Settings, stopping: threading.Event) -> None:
    """Consume, aggregate and produce until told to stop."""
    plain = Plain(settings.bar_intervals)
    consumer = _consumer(settings)
    producer = Producer({**kafka_client(settings), "linger.ms": settings.live_linger_ms})
    topic = settings.topic(BARS_LIVE)
    print(READY, flush=True)
    while not stopping.is_set():
        first = consumer.poll(0.1)
        for message in [first, *consumer.consume(1000, 0)] if first is not None else ():
            _publish(producer, topic, plain, message)
        producer.poll(0)
    producer.flush(5)
    consumer.close()


def _publish(producer: Producer, topic: str, plain: Plain, message: Message) -> None:
    for key, value in plain.rows(message.value(), message.partition(), message.offset()):
        try:
            producer.produce(topic, value, key)
        except BufferError:
            producer.poll(1)
            producer.produce(topic, value, key)


def _consumer(settings: Settings) -> Consumer:
    topic = settings.topic(TICKS)
    consumer = Consumer(
        {
            **kafka_client(settings),
            "group.id": "benchmarks-plain",
            "enable.auto.commit": False,
            "check.crcs": False,
            "fetch.wait.max.ms": 100,
        }
    )
    count = partition_count(settings, topic)
    consumer.assign([TopicPartition(topic, number, 0) for number in range(count)])
    return consumer


def main() -> int:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    run(load_settings(), stopping)
    return 0


if __name__ == "__main__":
    sys.exit(main())
