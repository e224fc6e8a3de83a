"""Anomalies of final bars: `core.anomalies` in the final query's sink, after the bars are stored.

The states of the rules lie beside Spark's own, a version for each micro-batch that changed them, so that a batch that
is repeated finds the same again. A finding goes to the table first, then to Redis and to the topic `anomalies`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from confluent_kafka import Producer

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import ANOMALIES
from core.anomalies import RULES, SEVERITIES, Finding, Judge, Limits
from core.anomalies.judge import Latch, Latches, judges
from core.errors import StoreUnavailable, TickstreamError
from core.indicators import bars_of
from core.indicators.base import Array
from core.intervals import DAY_US
from jobs.sinks import deliver
from jobs.versions import Versions
from metrics.findings import ANOMALIES as COUNTED
from stores.anomalies import AMOUNTS, Amended, AnomalyStore, StoredBars
from stores.redis_anomalies import AnomalyBoard
from stores.retry import retrying

WARM_UP_BARS = 500
"""What is read of a series where nothing is known of it: every indicator but the time-of-day profile is stable then."""
LOOK_BACK_US = 7 * DAY_US
"""How far back a rule that still fires is looked for in the table."""
FAR_US = 1 << 62
TAKEN_BACK = "taken back, since a bar was amended"
AGAIN = tuple(rule for rule in RULES.values() if rule.again)
T = TypeVar("T")
_log = structlog.get_logger("jobs.anomalies")


class _Kept(msgspec.Struct):
    """What is kept of one interval: the rows of its symbols in one piece."""

    symbols: list[str]
    specs: str
    rows: bytes
    latches: list[tuple[str, str, int, int]]


class _State(msgspec.Struct):
    amended: int
    intervals: dict[str, _Kept]


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_State).decode


class FinalAnomalies:
    """The findings of the final query. Every call raises StoreUnavailable when a store of findings stays down.

    What is wrong in a rule is told in the log, and bars go on.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._intervals = settings.anomaly_bar_intervals
        self._limits = Limits.of(settings, "anomaly_")
        self._judges = self._new_judges()
        self._store = AnomalyStore(settings.postgres_dsn.get_secret_value())
        self._board = AnomalyBoard(settings.redis_url.get_secret_value(), settings.redis_ttl_seconds)
        self._versions = Versions(settings.checkpoint_path / "final" / "anomalies")
        self._done: int | None = None
        self._amended = 0
        """The number of the last amendment that the states know of."""

    @contextmanager
    def over(self, final: pa.Table, batch_id: int, clock_us: int | None) -> Iterator[None]:
        """Around the writing of a batch of BAR_SCHEMA: judge its bars once the stores have them.

        `clock_us` is the event time before which no more bars will come.
        """
        latencies = self._latencies(final)
        yield
        if not self._judges:
            return
        try:
            found = self._found(final, batch_id, clock_us, latencies)
        except TickstreamError:
            self._done = None
            raise
        except Exception:  # a rule is no reason to stop bars
            _log.exception("anomalies failed, beginning anew")
            self._versions.clear()
            self._done, self._judges = None, self._new_judges()
            return
        self._publish(found)

    def close(self) -> None:
        """Let go of the stores of findings."""
        self._board.close()

    def _found(
        self, final: pa.Table, batch_id: int, clock_us: int | None, latencies: Mapping[tuple[str, int], float]
    ) -> list[Finding]:
        if self._done is None or self._done >= batch_id:
            self._restore(batch_id, final)
        found = self._followed(final) if final.num_rows else []
        for name, judge in self._judges.items():
            bars = final.filter(pc.equal(final["interval"], name))
            if bars.num_rows:
                found += self._taken(judge, bars, latencies)
            if clock_us is not None:
                found += judge.silent(clock_us)
        if found or final.num_rows:
            self._versions.save(batch_id, self._state())
            self._done = batch_id
        return found

    def _taken(self, judge: Judge, bars: pa.Table, latencies: Mapping[tuple[str, int], float]) -> list[Finding]:
        symbols, start = bars["symbol"].to_pylist(), bars["start"].cast(pa.int64()).to_numpy()
        told = [latencies.get(key, np.nan) for key in zip(symbols, start.tolist(), strict=True)]
        values = bars_of(*(_floats(bars[name]) for name in AMOUNTS), start, self._settings.calendar)
        return judge.take(symbols, start, values, bars["rev"].to_pylist(), np.array(told, np.float64))

    def _publish(self, found: Sequence[Finding]) -> None:
        if not found:
            return
        seconds, topic = self._settings.store_retry_seconds, self._settings.topic(ANOMALIES)
        records = [
            (topic, f"{each.symbol}|{each.interval}".encode(), msgspec.json.encode(each), None) for each in found
        ]
        retrying(self._store.name, lambda: self._store.write(found), seconds)
        for each in found:
            COUNTED.labels(each.rule, each.severity, each.state).inc()
        retrying(self._board.name, lambda: self._board.write(found), seconds)
        retrying("kafka", lambda: deliver(self._producer, records), seconds)

    @cached_property
    def _producer(self) -> Producer:
        return Producer({**kafka_client(self._settings), "enable.idempotence": True, "linger.ms": 5, "log_level": 0})

    def _latencies(self, final: pa.Table) -> dict[tuple[str, int], float]:
        """By symbol and start, how long the last tick of a bar took to Redis, in milliseconds.

        Asked before the final bar takes the place of the forming one there; a batch that is repeated finds nothing.
        """
        shortest = min(self._intervals, key=lambda each: each.us, default=None)
        if shortest is None or not final.num_rows:
            return {}
        bars = final.filter(pc.equal(final["interval"], shortest.name))
        keys = list(zip(bars["symbol"].to_pylist(), bars["start"].cast(pa.int64()).to_pylist(), strict=True))
        try:
            found = self._board.latencies_ms(shortest.name, keys)
        except (StoreUnavailable, msgspec.DecodeError):
            return {}
        return {key: latency for key, latency in zip(keys, found, strict=True) if latency is not None}

    def _new_judges(self) -> dict[str, Judge]:
        return judges(self._intervals, self._limits, self._settings.calendar)

    def _restore(self, batch_id: int, final: pa.Table) -> None:
        self._judges = self._new_judges()
        held = self._versions.before(batch_id)
        if held is None:
            self._warm_up(final)
            return
        state = _decode(held)
        self._amended, self._done = state.amended, batch_id - 1
        for name, kept in state.intervals.items():
            if name in self._judges:
                latches = {(symbol, rule): Latch(since, level) for symbol, rule, since, level in kept.latches}
                self._judges[name].restore(kept.symbols, kept.specs, kept.rows, latches)

    def _state(self) -> bytes:
        kept = {name: _kept(judge) for name, judge in self._judges.items()}
        return _encode(_State(self._amended, kept))

    def _warm_up(self, final: pa.Table) -> None:
        """Without a version: what the database has from before this batch."""
        if not final.num_rows:
            return
        self._amended = max((each.number for each in self._asked(lambda: self._store.amended_since(0))), default=0)
        for name, judge in self._judges.items():
            before_us = _first_start(final, name)
            call = partial(self._store.bars_before, name, before_us, WARM_UP_BARS)
            self._recalled(judge, self._asked(call))
            judge.latches.clear()
        before_us = min(_first_start(final, name) for name in self._judges)
        if before_us < FAR_US:
            last = self._asked(lambda: self._store.last_of_each(before_us - LOOK_BACK_US, before_us))
            for each in last:
                if each.interval in self._judges:
                    self._judges[each.interval].latches |= _latches([each])

    def _recalled(self, judge: Judge, stored: StoredBars) -> list[Finding]:
        """Take in stored bars; what is found."""
        values = bars_of(**stored.amounts, start=stored.start, calendar=self._settings.calendar)
        return judge.take(stored.symbol.tolist(), stored.start, values, stored.rev)

    def _followed(self, final: pa.Table) -> list[Finding]:
        """What is found anew of series of which a bar was amended, up to the bars of this batch."""
        found: list[Finding] = []
        for each in self._asked(lambda: self._store.amended_since(self._amended)):
            if each.interval in self._judges:
                found += self._again(each, _first_start(final, each.interval, each.symbol))
            self._amended = each.number
        return found

    def _again(self, amended: Amended, before_us: int) -> list[Finding]:
        """The findings of a series from its first amended bar on that differ from those in the table."""
        symbol, interval, from_us = amended.symbol, amended.interval, amended.from_us
        judge = self._judges[interval]
        fresh = Judge(judge.interval, self._limits, calendar=self._settings.calendar, rules=AGAIN)
        store = self._store
        count = self._asked(lambda: store.bars_in(symbol, interval, from_us, before_us)) + WARM_UP_BARS
        stored = self._asked(lambda: store.bars_before(interval, before_us, count, symbol))
        again = stored.start >= from_us
        self._recalled(fresh, stored.at(~again))
        last = self._asked(lambda: store.last_of_each(from_us - LOOK_BACK_US, from_us, symbol, interval))
        fresh.latches = _latches(each for each in last if each.rule in RULES and RULES[each.rule].again)
        found = self._recalled(fresh, stored.at(again))
        judge.learn(fresh, symbol)
        held = self._asked(lambda: store.of_series(symbol, interval, from_us, before_us))
        return changed(found, held, dict(zip(stored.start.tolist(), stored.rev.tolist(), strict=True)))

    def _asked(self, call: Callable[[], T]) -> T:
        return retrying(self._store.name, call, self._settings.store_retry_seconds)


def changed(found: Sequence[Finding], held: Sequence[Finding], revs: Mapping[int, int]) -> list[Finding]:
    """Of findings that were made again: those that are new or other than the held ones, and the held ones taken back.

    `revs` has the revision of each bar by its start.
    """
    known = {each.key: each for each in held if each.rule in RULES and RULES[each.rule].again}
    made = {each.key for each in found}
    taken_back = [
        msgspec.structs.replace(
            each,
            state="resolved",
            rev=revs.get(each.start, each.rev),
            text=f"{each.symbol} {each.interval}: {TAKEN_BACK}, {each.rule} no longer holds",
        )
        for key, each in known.items()
        if key not in made and TAKEN_BACK not in each.text
    ]
    return [each for each in found if known.get(each.key) != each] + taken_back


def _latches(last: Iterable[Finding]) -> Latches:
    """What fires, by the newest findings of each rule."""
    return {
        (each.symbol, each.rule): Latch(each.since, SEVERITIES.index(each.severity))
        for each in last
        if each.state == "firing"
    }


def _kept(judge: Judge) -> _Kept:
    latches = [(*key, latch.since, latch.level) for key, latch in judge.latches.items()]
    return _Kept(judge.symbols, judge.indicators.specs, judge.rows.astype("<f8").tobytes(), latches)


def _first_start(final: pa.Table, interval: str, symbol: str | None = None) -> int:
    """The start of the first bar of an interval, or of one series, in a batch; without one, later than any."""
    wanted = pc.equal(final["interval"], interval)
    if symbol is not None:
        wanted = pc.and_(wanted, pc.equal(final["symbol"], symbol))
    found = pc.min(final.filter(wanted)["start"].cast(pa.int64())).as_py()
    return FAR_US if found is None else int(found)


def _floats(amounts: pa.ChunkedArray) -> Array:
    return np.asarray(amounts.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
