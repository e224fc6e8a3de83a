"""The market of a run: the simulator's ticks at a multiple of market time, a second producer whose clock may be wrong,
poison, and a note of every tick that has to count."""

import heapq
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from chaos.amendments import Amendments, Key
from chaos.errors import ChaosError
from conf.settings import Settings
from core import rulesets
from core.errors import TickstreamError
from core.intervals import MINUTE_US, SECOND_US
from core.records import Bar, Tick
from producers.defects import BROKEN
from producers.expected import Ledger
from producers.heartbeat import Heartbeat
from producers.market import PRICE_SCALE, SIZE_SCALE, pick_symbols
from producers.publish import Publisher, encode
from producers.simulator import Emission, SimulatorConfig, simulate

SKEWED = ("SKEW-A", "SKEW-B")
# A broker may be away for as long without a tick being lost; the run itself is over sooner.
DELIVERY_SECONDS = 900
_NEVER_LATE_US = 1 << 61
_COUNTING = ("trade", "out_of_order", "late")
_DEFECTS = ("late", "out_of_order", "duplicates", "malformed", "future")
_tick = msgspec.json.Decoder(Tick)


@dataclass(frozen=True)
class Market:
    """What is simulated; `rate` in ticks a second of wall time, `speed` market seconds in each."""

    symbols: int = 6
    rate: float = 150.0
    speed: float = 10.0
    seconds: float = 240.0
    seed: int = 1
    late: float = 0.01
    out_of_order: float = 0.05
    duplicates: float = 0.03
    malformed: float = 0.005
    future: float = 0.002
    corrected: float = 0.001
    cancelled: float = 0.001

    def start_us(self, now_us: int) -> int:
        """So far in the past, on a quarter of an hour, that no stamp is ever ahead of the broker's clock."""
        ago_us = int((self.seconds * self.speed + 4 * 3600) * SECOND_US)
        return (now_us - ago_us) // (15 * MINUTE_US) * (15 * MINUTE_US)


class Feed:
    """Sends from a thread of its own until `stop`."""

    def __init__(self, settings: Settings, market: Market, now_us: int) -> None:
        self._settings = settings
        self._market = market
        self._start_us = market.start_us(now_us)
        self._main = self._config(pick_symbols(str(market.symbols)), market.rate * 0.9, "m", market.seed)
        clean = dict.fromkeys(_DEFECTS, 0.0)
        self._second = replace(self._config(SKEWED, market.rate * 0.1, "s", market.seed + 1), **clean)
        self._publisher = Publisher(settings, delivery_timeout_seconds=DELIVERY_SECONDS)
        self._heartbeat = Heartbeat(self._publisher, "chaos")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._lock = threading.Lock()
        self._failure = ""
        self.skew_us = 0
        """How far the second producer's clock is ahead, in market time."""
        self.counts: Counter[str] = Counter()
        self.refused = 0
        """Records sent that are no ticks."""
        self.ticks: dict[str, list[Tick]] = {"m": [], "s": []}
        self.amendments = Amendments(market.seed + 2, market.corrected, market.cancelled)
        self.last_us = self._start_us

    def start(self) -> None:
        self._thread.start()

    def check(self) -> None:
        """Raises ChaosError when a tick was lost on this side of the broker."""
        if self._failure:
            raise ChaosError(f"the feed failed: {self._failure}")

    def stop(self) -> None:
        """Send no more; wait until the broker has everything."""
        self._stopping.set()
        self._thread.join(30)
        self._publisher.flush()
        self.check()

    def close_bars(self) -> None:
        """Bring event time past the end of every bar."""
        end_us = self.last_us + 16 * MINUTE_US + int(self._settings.lateness_seconds * SECOND_US)
        with self._lock:
            self._heartbeat.beat(end_us, end_us)
        self._publisher.flush()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(10)

    def poison(self, rng: random.Random) -> str:
        """A handful of records that no reader may stumble over; what was sent, in words."""
        chosen = rng.sample(list(poisons()), 6)
        with self._lock:
            for _, key, value in chosen:
                self._publisher.send_raw(key, value)
            self.refused += len(chosen)
        return ", ".join(name for name, _, _ in chosen)

    def bars(self) -> list[Bar]:
        """Every bar that must come out, by the simulator's own rule: late ticks, corrections, cancels and all."""
        found: list[Bar] = []
        rules = rulesets.load(self._settings.ruleset).id
        for run, config in (("m", self._main), ("s", self._second)):
            ledger = Ledger(config.symbols, config.run, _NEVER_LATE_US)
            if self.ticks[run]:
                ledger.add(*_columns(self.amendments.applied(self.ticks[run]), config.symbols))
            found += ledger.bars(self._settings.bar_intervals, rules)
        return found

    def amended(self) -> dict[str, set[Key]]:
        """The bars of trades that something was said of, by reason; see `Amendments.bars`."""
        return self.amendments.bars([*self.ticks["m"], *self.ticks["s"]], self._settings.bar_intervals)

    @property
    def sent(self) -> int:
        """Trades that have to be in the log, each once."""
        return sum(map(len, self.ticks.values()))

    def _config(self, symbols: tuple[str, ...], rate: float, run: str, seed: int) -> SimulatorConfig:
        market = self._market
        defects = {
            name: getattr(market, name) for name in ("late", "out_of_order", "duplicates", "malformed", "future")
        }
        return SimulatorConfig(symbols=symbols, rate=rate / market.speed, seed=seed, start_us=self._start_us, run=run,
                               lateness_us=int(self._settings.lateness_seconds * SECOND_US), **defects)  # fmt: skip

    def _run(self) -> None:
        began = time.monotonic()
        try:
            for run, emission in self._emissions():
                while (ahead := (emission.due_us - self._start_us) / SECOND_US / self._market.speed
                       - (time.monotonic() - began)) > 0:  # fmt: skip
                    if self._stopping.wait(min(ahead, 0.1)):
                        return
                    self._publisher.poll()
                if self._stopping.is_set():
                    return
                with self._lock:
                    self._send(run, emission)
        except TickstreamError as error:
            self._failure = str(error)

    def _emissions(self) -> Iterator[tuple[str, Emission]]:
        main = ((e.due_us, 0, "m", e) for e in simulate(self._main))
        second = ((e.due_us, 1, "s", e) for e in simulate(self._second))
        for _, _, run, emission in heapq.merge(main, second, key=lambda item: item[:2]):
            yield run, emission

    def _send(self, run: str, emission: Emission) -> None:
        self._heartbeat.beat_if_due(emission.due_us, emission.due_us)
        for record in self.amendments.due(emission.due_us):
            self._publisher.send_raw(record.symbol.encode(), encode(record))
        value = emission.body
        if emission.kind in _COUNTING:
            tick = _tick.decode(emission.body)
            if run == "s" and self.skew_us:
                tick = msgspec.structs.replace(tick, event_us=tick.event_us + self.skew_us)
                value = msgspec.json.encode(tick)
                self.counts["skewed"] += 1
            self.ticks[run].append(tick)
            self.last_us = max(self.last_us, tick.event_us)
            self.amendments.sent(tick, emission.due_us)
        self.refused += emission.kind in ("malformed", "future")
        self.counts[emission.kind] += 1
        self._publisher.send_raw(emission.key, value)
        self._publisher.poll()


def poisons() -> Iterator[tuple[str, bytes, bytes]]:
    """Name, key and value of records that are no ticks."""
    good = Tick(symbol="AAPL", event_us=1_700_000_000_000_000, price="1", size="1", source="poison", received_us=1)
    text = msgspec.json.encode(good)
    yield from ((f"broken {number}", b"AAPL", each.make(good.event_us)) for number, each in enumerate(BROKEN))
    yield "nothing", b"AAPL", b""
    yield "no key", b"", b"no json"
    yield "0.9 MB", b"AAPL", b'{"symbol":"' + b"x" * 900_000 + b'"}'
    yield "nested 20,000 deep", b"AAPL", b'{"symbol":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    yield "a number of 5,000 digits", b"AAPL", text.replace(b'"price":"1"', b'"price":' + b"9" * 5000)
    yield "no UTF-8", b"\xff\xfe", b'{"symbol":"\xff\xfe\x00"}'
    yield "half a surrogate", b"AAPL", text.replace(b'"source":"poison"', b'"source":"\\ud800"')
    yield "NUL in a text", b"AAPL", text.replace(b'"source":"poison"', b'"source":"a\\u0000b"')
    yield "a stamp of 1970", b"AAPL", text.replace(b"1700000000000000", b"1700000000")


def _columns(ticks: list[Tick], symbols: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """What `Ledger.add` takes."""
    places = {name: place for place, name in enumerate(symbols)}
    columns = (
        [places[tick.symbol] for tick in ticks],
        [tick.seq for tick in ticks],
        [tick.event_us for tick in ticks],
        [tick.received_us for tick in ticks],
        [round(float(tick.price or 0) * PRICE_SCALE) for tick in ticks],
        [round(float(tick.size or 0) * SIZE_SCALE) for tick in ticks],
    )
    return tuple(np.array(column, np.int64) for column in columns)
