"""Ticks: a paced load, a backlog in the topic, the same backlog as Parquet, and the tick log read back."""

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from benchmarks.errors import BenchmarkError
from benchmarks.measure import TickLog
from benchmarks.processes import Program, python
from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import BARS_LIVE, TICKS
from producers.market import PRICE_SCALE, SIZE_SCALE, pick_symbols
from producers.publish import HEARTBEAT_SYMBOL
from producers.simulate import run_name
from producers.simulator import SimulatorConfig, blocks
from producers.topics import partition_count

READ_SECONDS = 120.0
QUIET_SECONDS = 5.0  # longer than any micro-batch should take


@dataclass(frozen=True)
class Load:
    """What the generator sends: ticks a second over so many symbols."""

    rate: int
    symbols: int
    linger_ms: float = 2.0


def start_load(load: Load, settings: Settings, folder: Path, expect: Path | None = None) -> Program:
    """The simulator at a pace, stamping each tick as it is sent, until it is stopped.

    With `expect` it then writes the bars that must have come out.
    """
    options = ("--rate", str(load.rate), "--symbols", str(load.symbols), "--linger-ms", f"{load.linger_ms:g}")
    more = ("--expect", str(expect)) if expect else ()
    return python("load", "producers", "simulate", *options, *more, settings=settings, folder=folder)


@dataclass(frozen=True)
class Backlog:
    """A history of `ticks` ticks at `rate` a second of event time, from `start_us` on."""

    ticks: int
    symbols: int
    rate: int
    start_us: int
    seed: int = 1

    @property
    def seconds(self) -> float:
        return self.ticks / self.rate

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `python -m producers simulate` that send it."""
        start = datetime.fromtimestamp(self.start_us // 1_000_000, UTC).isoformat()
        size = ("--seconds", repr(self.seconds), "--rate", str(self.rate), "--symbols", str(self.symbols))
        return ("--start", start, "--seed", str(self.seed), *size)

    def write_parquet(self, path: Path) -> None:
        """The same ticks as a recorded file, in the layout that `jobs/backfill.py` and `replay` read."""
        symbols = pick_symbols(str(self.symbols))
        config = SimulatorConfig(
            symbols=symbols, rate=self.rate, seconds=self.seconds, seed=self.seed, start_us=self.start_us
        )
        names = np.array(symbols)
        run = run_name(self.seed, self.start_us)
        with pq.ParquetWriter(path, _RECORDED) as writer:
            for table in _tables(config, names, run):
                writer.write_table(table)


_RECORDED = pa.schema(
    [
        ("symbol", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("seq", pa.int64()),
        ("price", pa.float64()),
        ("size", pa.float64()),
        ("trade_id", pa.string()),
    ]
)


def _tables(config: SimulatorConfig, names: np.ndarray, run: str) -> Iterator[pa.Table]:
    """The simulator's blocks as tables, several joined: a Parquet row group should not be tiny."""
    waiting: list[pa.Table] = []
    for block in blocks(config):
        seq = block.first_seq + np.arange(len(block.due_us))
        columns = {
            "symbol": names[block.trades.symbol],
            "event_time": pa.array(block.due_us + config.start_us).cast(_RECORDED.field("event_time").type),
            "seq": seq,
            "price": block.trades.price / PRICE_SCALE,
            "size": block.trades.size / SIZE_SCALE,
            "trade_id": [f"{run}-{number}" for number in seq.tolist()],
        }
        waiting.append(pa.table(columns, schema=_RECORDED))
        if sum(table.num_rows for table in waiting) >= 200_000:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


class _Stamp(msgspec.Struct):
    event_us: int


_stamp = msgspec.json.Decoder(_Stamp)


def read_ticks(settings: Settings, since_us: int) -> TickLog:
    """The ticks that the broker took since that moment: symbol, offset and stamp, heartbeats left out."""
    codes: dict[bytes, int] = {}
    columns = array("q"), array("q"), array("q")
    consumer, ends = _at_time(settings, since_us)
    deadline = time.monotonic() + READ_SECONDS
    try:
        left = {number for number, (first, end) in ends.items() if first < end}
        while left:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the ticks could not be read back within {READ_SECONDS:.0f} s")
            for message in consumer.consume(10_000, 0.2):
                key, number = message.key() or b"", message.partition()
                if message.offset() + 1 >= ends[number][1]:
                    left.discard(number)
                if key != HEARTBEAT_SYMBOL.encode() and message.offset() < ends[number][1]:
                    columns[0].append(codes.setdefault(key, len(codes)))
                    columns[1].append(message.offset())
                    columns[2].append(_stamp.decode(message.value()).event_us)
    finally:
        consumer.close()
    return TickLog([code.decode() for code in codes], *(np.array(column, np.int64) for column in columns))


def _at_time(settings: Settings, since_us: int) -> tuple[Consumer, dict[int, tuple[int, int]]]:
    """A consumer of `ticks` from that time on, and each partition's first and end offset."""
    topic = settings.topic(TICKS)
    consumer = _consumer(settings)
    numbers = range(partition_count(settings, topic))
    asked = [TopicPartition(topic, number, since_us // 1000) for number in numbers]
    found = consumer.offsets_for_times(asked, timeout=30)
    ends = {number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[1] for number in numbers}
    firsts = {place.partition: place.offset if place.offset >= 0 else ends[place.partition] for place in found}
    consumer.assign([TopicPartition(topic, number, first) for number, first in firsts.items()])
    return consumer, {number: (firsts[number], ends[number]) for number in numbers}


def rows_written(settings: Settings) -> int:
    """How many records `bars.live` has ever had."""
    consumer = _consumer(settings)
    topic = settings.topic(BARS_LIVE)
    try:
        numbers = range(partition_count(settings, topic))
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[1] for number in numbers)
    finally:
        consumer.close()


def wait_until_quiet(settings: Settings, seconds: float) -> bool:
    """Wait until no more rows come to `bars.live`; False when they still did after `seconds`."""
    deadline = time.monotonic() + seconds
    before = -1
    while (now := rows_written(settings)) != before:
        if time.monotonic() > deadline:
            return False
        before = now
        time.sleep(QUIET_SECONDS)
    return True


def _consumer(settings: Settings) -> Consumer:
    return Consumer(
        {
            **kafka_client(settings),
            "group.id": "benchmarks",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
