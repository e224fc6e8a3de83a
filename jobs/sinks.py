"""Where batches go: every configured store at once, each retried for itself, none skipped.

One store being down does not keep the others from being written; the batch then fails as a whole and is
repeated from the checkpoint, which changes nothing in the stores that already have it.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import structlog
from confluent_kafka import KafkaError, Message, Producer

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import BARS, DEAD, INDICATORS, TICKS
from core.errors import PublishError, StoreUnavailable
from jobs import indicator_topic
from jobs.archive import DeadLetter, Header, accepted_ticks, dead_letters, dead_record, slice_name
from metrics import stages
from metrics.quality import DEAD as DEAD_LETTERS
from metrics.stores import ROWS
from producers.topics import partition_count
from stores.base import BarSink
from stores.influx import make_influx
from stores.lake import LakeStore, make_lake
from stores.redis import RedisStore, live_rows, make_redis
from stores.retry import retrying
from stores.schema import BAR_SCHEMA
from stores.timescale import make_timescale

_log = structlog.get_logger("jobs.sinks")


class Sinks:
    """The stores of `settings`, opened once per process and shared by the queries of a driver.

    `states_published` False keeps the states of old bars out of the topic `indicators`, whose readers go on from the
    newest one.
    """

    def __init__(
        self, settings: Settings, bar_sinks: Sequence[BarSink] | None = None, *, states_published: bool = True
    ) -> None:
        self._settings = settings
        self._states_published = states_published
        self._producer = Producer(
            {
                **kafka_client(settings),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self._timescale = make_timescale(settings)
        self._lake = make_lake(settings)
        self._bar_sinks = list(bar_sinks) if bar_sinks is not None else self._configured()
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sink")
        self._ends: list[Callable[[], object]] = []
        self.turn = threading.Lock()
        """Who holds it changes bars: the final query or reconciling, of one driver, never both."""

    @property
    def partitions(self) -> int:
        """How many partitions `ticks` has."""
        return partition_count(self._settings, self._settings.topic(TICKS))

    def setup(self) -> None:
        """Make every store ready. Raises StoreUnavailable when one does not answer in time."""
        self._all([(sink.name, sink.setup) for sink in self._every()])

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        """Final bars and their indicators to every bar sink."""
        if not bars.num_rows:
            return
        table = bars.select(BAR_SCHEMA.names).cast(BAR_SCHEMA)
        self._all([(sink.name, lambda sink=sink: sink.write_bars(table, indicators)) for sink in self._bar_sinks])
        for sink in self._bar_sinks:
            ROWS.labels(sink.name, "bars").inc(table.num_rows)

    def write_amended(self, amended: pa.Table, newest: pa.Table, indicators: pa.Table) -> None:
        """What the database has been given of amended series, to the other sinks.

        `newest` are the last bars of these series and `indicators` all, both from the first amended bar on.
        """
        shown = pa.concat_tables([newest, amended]).cast(BAR_SCHEMA)
        others = [sink for sink in self._bar_sinks if sink is not self._timescale]
        self._all(
            [
                (sink.name, lambda sink=sink: sink.write_again(shown, indicators))
                if isinstance(sink, RedisStore)
                else (sink.name, lambda sink=sink: sink.write_bars(amended, indicators))
                for sink in others
            ]
        )

    def amended_since(self, number: int) -> list[tuple[str, str, int]]:
        """`(symbol, interval, number)` of the series that were amended after that number. Does not retry."""
        return self._timescale.amended_since(number)

    def doubt(self, keys: Sequence[tuple[str, str]]) -> None:
        """Indicators of these (symbol, interval) may have been made of older bars: let reconciling look again."""
        self._timescale.doubt(keys)

    def read_states(self) -> pa.Table:
        """The states of indicators that the database has, as STATE_SCHEMA."""
        return retrying(self._timescale.name, self._timescale.read_states, self._settings.store_retry_seconds)

    def bars_before(self, bars: pa.Table, count: int) -> pa.Table:
        """Of each symbol and interval in `bars`, the last `count` that the database has before the first of these."""
        read = self._timescale.read_bars_before
        found = [read(keys, first_us, count) for first_us, keys in by_first_start(bars).items()]
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *found])

    def state_before(self, symbol: str, interval: str, before_us: int) -> tuple[str, bytes] | None:
        """Specs and state of a series after its last bar before a moment, where the database has just that state."""
        return self._timescale.state_before(symbol, interval, before_us)

    def bars_of(self, symbol: str, interval: str, before_us: int, count: int) -> pa.Table:
        """The last `count` bars of a series before a moment, in microseconds, as the database has them."""
        return self._timescale.read_bars_before([(symbol, interval)], before_us, count)

    def indicators_at(self, bars: pa.Table, interval: str, specs: str) -> pa.Table:
        """The stored indicators of these bars, without states, of the series whose state is of this set."""
        return self._timescale.read_indicators_at(bars, interval, specs)

    def missed(self, series: Sequence[tuple[str, str, int]]) -> None:
        """Indicators of (symbol, interval) are lacking from a start on: let reconciling make them."""
        self._timescale.miss(series)

    def write_log(self, rows: pa.Table) -> None:
        """Archive rows: dead letters first, then the table `ticks`; of a retried batch only dead letters repeat."""
        self.write_dead(dead_letters(rows))
        ticks = accepted_ticks(rows)
        if ticks.num_rows:
            self._all([(self._timescale.name, lambda: self._timescale.write_ticks(ticks))])
            ROWS.labels(self._timescale.name, "ticks").inc(ticks.num_rows)
            stages.logged(ticks["received_us"].to_numpy())

    def write_lake(self, rows: pa.Table) -> None:
        """The ticks among archive rows to the lake."""
        ticks = accepted_ticks(rows)
        if ticks.num_rows:
            self._all([(self._lake.name, lambda: self._lake.write_ticks(ticks, batch_id=slice_name(rows)))])
            ROWS.labels(self._lake.name, "ticks").inc(ticks.num_rows)

    def write_dead(self, letters: Sequence[DeadLetter]) -> None:
        """Refused records to `ticks.dead`, see `dead_record`. Raises PublishError when the broker refuses one."""
        if not letters:
            return
        topic = self._settings.topic(DEAD)
        source = self._settings.topic(TICKS)
        deliver(self._producer, [(topic, *dead_record(letter, source)) for letter in letters])
        for letter in letters:
            DEAD_LETTERS.labels("archive", letter.reason).inc()
        reasons = sorted({letter.reason for letter in letters})
        _log.warning("refused records", count=len(letters), reasons=reasons, topic=topic)

    def also_close(self, call: Callable[[], object]) -> None:
        """Something that ends with the stores."""
        self._ends.append(call)

    def close(self) -> None:
        self._pool.shutdown()
        for end in (*self._ends, *(sink.close for sink in self._every())):
            end()

    def _every(self) -> list[BarSink | LakeStore]:
        held = [*self._bar_sinks, self._lake]
        return held if self._timescale in held else [*held, self._timescale]

    def _configured(self) -> list[BarSink]:
        influx = make_influx(self._settings)
        topics = BarTopics(
            self._producer, self._settings.topic(BARS), self._settings.topic(INDICATORS), self._states_published
        )
        sinks: list[BarSink] = [self._timescale, make_redis(self._settings), topics]
        return sinks if influx is None else [*sinks, influx]

    def _all(self, calls: Sequence[tuple[str, Callable[[], object]]]) -> None:
        """Run every call, each with its own retries; then raise the first failure, if any."""
        seconds = self._settings.store_retry_seconds
        futures = [self._pool.submit(retrying, name, call, seconds) for name, call in calls]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors[1:]:
            _log.error("store failed beside another", error=str(error))
        if errors:
            raise errors[0]


def by_first_start(bars: pa.Table) -> dict[int, list[tuple[str, str]]]:
    """The (symbol, interval) in a batch by the start of their own first bar, epoch microseconds."""
    series = bars.select(["symbol", "interval"]).append_column("start", bars["start"].cast(pa.int64()))
    found: dict[int, list[tuple[str, str]]] = {}
    for row in series.group_by(["symbol", "interval"]).aggregate([("start", "min")]).to_pylist():
        found.setdefault(row["start_min"], []).append((row["symbol"], row["interval"]))
    return found


class BarTopics:
    """The topics `bars` and `indicators`.

    `bars`: the JSON of each final bar, key `symbol|interval|start`. `indicators`: see `jobs.indicator_topic`. A repeat
    has the same key and rev.
    """

    name = "kafka"

    def __init__(self, producer: Producer, bars: str, indicators: str, states_published: bool) -> None:
        self._producer = producer
        self._bars = bars
        self._indicators = indicators
        self._states_published = states_published

    def setup(self) -> None:
        """Topics are created by whoever starts the stack."""

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        rows = live_rows(bars)
        records: list[Record] = [
            (self._bars, f"{row.symbol}|{row.interval}|{row.start}".encode(), row.payload, None) for row in rows
        ]
        if indicators is not None:
            found = indicator_topic.records(indicators, self._states_published)
            records += [(self._indicators, *record) for record in found]
        deliver(self._producer, records)

    def close(self) -> None:
        self._producer.flush(10)


Record = tuple[str, bytes | None, bytes | None, list[Header] | None]


def deliver(producer: Producer, records: Sequence[Record], seconds: float = 30) -> None:
    """Produce and wait until the broker has all of `records`.

    Raises StoreUnavailable when it did not take them in `seconds`, PublishError when it refused one.
    """
    failures: list[KafkaError] = []
    delivered = 0

    def done(error: KafkaError | None, _: Message) -> None:
        nonlocal delivered
        delivered += error is None
        if error is not None:
            failures.append(error)

    for topic, key, value, headers in records:
        _produce(producer, topic, key, value, headers, done)
    producer.flush(seconds)
    if failures and not failures[0].retriable() and failures[0].code() != KafkaError._MSG_TIMED_OUT:
        raise PublishError(f"{len(failures)} of {len(records)} records refused: {failures[0].str()}")
    if delivered < len(records):
        raise StoreUnavailable("kafka", f"{len(records) - delivered} of {len(records)} records not acknowledged")


def _produce(
    producer: Producer, topic: str, key: bytes | None, value: bytes | None, headers: list[Header] | None, done: Callable
) -> None:
    while True:
        try:
            producer.produce(topic, key=key, value=value, headers=headers, on_delivery=done)
            return
        except BufferError:
            producer.poll(0.1)
