"""What the simulator sends, as pure data: blocks of ticks with the defects that were asked for. No I/O, no clock.

The same configuration gives the same blocks. Time is microseconds since the start of the run; whoever sends a
block decides what wall time the start is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import InputError
from core.intervals import DAY_US, SECOND_US
from core.records import TICK_VERSION
from core.validate import REASONS, SYMBOL_PATTERN
from producers.bulk import stamp_both
from producers.defects import BROKEN
from producers.market import PRICE_SCALE, SIZE_SCALE, Market, Trades

SOURCE, VENUE = "simulator", "XSIM"
FUTURE_US = 4_102_444_800_000_000  # 2100-01-01: ahead of any broker's clock, whatever the run's own start
GAP_SECONDS = 5
BURST_FACTOR = 5
MAX_RATE = 100_000  # simulated ticks a second where the rate is "max"

Kind = Literal["trade", "out_of_order", "late", "duplicate", "malformed", "future"]


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """What to simulate. Defects are fractions of the clean ticks (gaps and bursts: of the seconds).

    `seconds` None never ends. `run` makes trade ids of different runs differ.
    """

    symbols: tuple[str, ...]
    rate: float = 100.0
    seconds: float | None = None
    seed: int = 0
    start_us: int = 0
    lateness_us: int = 10 * SECOND_US
    run: str = "0"
    late: float = 0.0
    out_of_order: float = 0.0
    duplicates: float = 0.0
    malformed: float = 0.0
    future: float = 0.0
    gaps: float = 0.0
    bursts: float = 0.0

    def __post_init__(self) -> None:
        wrong = [name for name in self.symbols if not re.fullmatch(SYMBOL_PATTERN, name)]
        if wrong:
            raise InputError(f"--symbols: {wrong[0]!r} is no symbol: {REASONS['symbol']}")
        if not 0 < self.rate <= 1_000_000:
            raise InputError(f"--rate: {self.rate:g} is not above 0 and at most 1000000")
        if self.seconds is not None and self.seconds <= 0:
            raise InputError(f"--seconds: {self.seconds:g} is not above 0")
        for name in ("late", "out_of_order", "duplicates", "malformed", "future", "gaps", "bursts"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"--{name.replace('_', '-')}: {getattr(self, name):g} is not a fraction from 0 to 1")
        if self.late + self.out_of_order > 1:
            raise InputError("--late and --out-of-order together are over 1")

    @property
    def is_clean(self) -> bool:
        """Whether every record is a good tick sent at its own time."""
        return not (self.late or self.out_of_order or self.duplicates or self.malformed or self.future)

    @property
    def block_us(self) -> int:
        """Simulated time of a block: short enough to be made without a pause, long enough to be worth an array."""
        wanted = 1000 / self.rate * SECOND_US
        return next((us for us in (100_000, 200_000, 500_000) if us >= wanted), SECOND_US)


class Emission(NamedTuple):
    """One record of a block. `event_us` and `due_us` count from the start; `of` is the row a duplicate repeats."""

    due_us: int
    event_us: int
    key: bytes
    body: bytes
    kind: Kind
    row: int


@dataclass(slots=True)
class Block:
    """Clean ticks as columns with their bodies, and the defects among and beside them.

    Row i of the columns is tick number `first_seq + i`. `lag_us` is how far its event time lies behind the time
    it is due. `extra` are records besides the ticks, by due time.
    """

    due_us: np.ndarray
    lag_us: np.ndarray
    trades: Trades
    first_seq: int
    keys: list[bytes]
    bodies: list[bytes]
    kinds: np.ndarray
    extra: list[Emission] = field(default_factory=list)


KINDS: tuple[Kind, ...] = ("trade", "out_of_order", "late")


def blocks(config: SimulatorConfig) -> Iterator[Block]:
    """The run, block by block, in the order of due times; extras may be due after their block's end."""
    rng = np.random.default_rng(config.seed)
    defects = np.random.default_rng((config.seed, 1))  # of its own, so that prices do not depend on the defects
    activity = np.random.default_rng((config.seed, 2))
    market, texts = Market(config.symbols, rng), _Texts(config)
    end_us = None if config.seconds is None else int(config.seconds * SECOND_US)
    start_us, seq, factor, quiet_until = 0, 0, 1.0, 0
    while end_us is None or start_us < end_us:
        if start_us % SECOND_US == 0:
            factor, quiet_until = _activity(config, activity, start_us, quiet_until)
        stop_us = start_us + config.block_us if end_us is None else min(start_us + config.block_us, end_us)
        count = round(stop_us * config.rate / SECOND_US) - round(start_us * config.rate / SECOND_US)
        count = 0 if start_us < quiet_until else int(count * factor)
        due_us = np.sort(rng.integers(start_us, stop_us, count))
        moment = (config.start_us + start_us) % DAY_US / DAY_US
        trades = market.trades(count, (stop_us - start_us) / SECOND_US, moment)
        block = Block(
            due_us=due_us,
            lag_us=np.zeros(count, np.int64),
            trades=trades,
            first_seq=seq,
            keys=texts.keys(trades),
            bodies=texts.bodies(trades, seq),
            kinds=np.zeros(count, np.int8),
        )
        if not config.is_clean:
            _spoil(block, config, defects)
        yield block
        start_us, seq = stop_us, seq + count


def simulate(config: SimulatorConfig) -> Iterator[Emission]:
    """Every record of the run in sending order, complete, with event times of `config.start_us` onwards.

    `received_us` is the simulated time of sending: what a history needs, and what makes runs repeatable.
    """
    waiting: list[Emission] = []
    for block in blocks(config):
        horizon = int(block.due_us[-1]) if len(block.due_us) else 0
        records = sorted([*emissions(block), *block.extra, *waiting], key=lambda record: record.due_us)
        waiting = [record for record in records if record.due_us > horizon]
        yield from (complete(record, config.start_us) for record in records if record.due_us <= horizon)
    yield from (complete(record, config.start_us) for record in waiting)


def complete(record: Emission, start_us: int) -> Emission:
    """The record with its value finished and its times absolute."""
    due_us, event_us = record.due_us + start_us, absolute_event_us(record, start_us)
    if record.kind == "malformed":
        return record._replace(due_us=due_us, event_us=event_us)
    # A repeat is the same bytes again: it carries the time at which the first one was sent.
    sent_us = event_us if record.kind == "duplicate" else due_us
    return record._replace(due_us=due_us, event_us=event_us, body=record.body + stamp_both(event_us, sent_us))


def absolute_event_us(record: Emission, start_us: int) -> int:
    """Event time since the epoch; a future stamp does not depend on the start."""
    return record.event_us if record.kind == "future" else record.event_us + start_us


def emissions(block: Block) -> Iterator[Emission]:
    columns = zip(
        block.due_us.tolist(), block.lag_us.tolist(), block.keys, block.bodies, block.kinds.tolist(), strict=True
    )
    for row, (due_us, lag_us, key, body, kind) in enumerate(columns):
        yield Emission(due_us, due_us - lag_us, key, body, KINDS[kind], block.first_seq + row)


def _activity(config: SimulatorConfig, rng: np.random.Generator, start_us: int, quiet_until: int) -> tuple[float, int]:
    """The coming second's rate factor, and until when nobody trades."""
    gap, burst = rng.random(2)
    # A gap lasts several seconds, so fewer of them make up the fraction.
    if start_us >= quiet_until and gap < config.gaps / (config.gaps + (1 - config.gaps) * GAP_SECONDS):
        quiet_until = start_us + GAP_SECONDS * SECOND_US
    return (BURST_FACTOR if burst < config.bursts else 1.0), quiet_until


def _spoil(block: Block, config: SimulatorConfig, rng: np.random.Generator) -> None:
    count = len(block.due_us)
    draw = rng.random(count)
    block.kinds[draw < config.late + config.out_of_order] = KINDS.index("out_of_order")
    block.kinds[draw < config.late] = KINDS.index("late")
    # Out of order but in time: well inside the watermark. Late: its minute closed seconds before it arrives.
    soon = rng.integers(1, int(config.lateness_us * 0.8), count)
    late = rng.integers(config.lateness_us + 65 * SECOND_US, config.lateness_us + 180 * SECOND_US, count)
    block.lag_us = np.choose(block.kinds, (np.zeros(count, np.int64), soon, late))
    repeats = np.flatnonzero((rng.random(count) < config.duplicates) & (block.kinds == 0))
    delays = rng.integers(1, config.lateness_us // 4, count)
    for row in repeats.tolist():
        due_us = int(block.due_us[row])
        block.extra.append(Emission(
            due_us + int(delays[row]), due_us, block.keys[row], block.bodies[row], "duplicate", block.first_seq + row
        ))  # fmt: skip
    for row in np.flatnonzero(rng.random(count) < config.malformed).tolist():
        due_us, which = int(block.due_us[row]), int(rng.integers(len(BROKEN)))
        value = BROKEN[which].make(config.start_us + due_us)
        block.extra.append(Emission(due_us, due_us, block.keys[row], value, "malformed", which))
    for row in np.flatnonzero(rng.random(count) < config.future).tolist():
        due_us = int(block.due_us[row])
        block.extra.append(Emission(due_us, FUTURE_US + due_us, block.keys[row], block.bodies[row], "future", row))


class _Texts:
    """The JSON of trades, with everything that does not change written once."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._keys = np.array([name.encode() for name in config.symbols], dtype=object)
        self._heads = pa.array([self._head(name) for name in config.symbols])
        self._cents = pa.array([f".{cents:02d}" for cents in range(PRICE_SCALE)])
        fractions = (f".{part:04d}".rstrip("0") for part in range(1, SIZE_SCALE))
        self._fractions = pa.array(["", *fractions])
        self._middle = f'","trade_id":"{config.run}-'

    @staticmethod
    def _head(symbol: str) -> str:
        name = msgspec.json.encode(symbol).decode()
        return f'{{"v":{TICK_VERSION},"symbol":{name},"source":"{SOURCE}","venue":"{VENUE}","kind":"trade","price":"'

    def keys(self, trades: Trades) -> list[bytes]:
        return self._keys[trades.symbol].tolist()

    def bodies(self, trades: Trades, first_seq: int) -> list[bytes]:
        """Bodies without event time: see `producers.bulk`."""
        numbers = pc.cast(pa.array(np.arange(first_seq, first_seq + len(trades.price))), pa.string())
        pieces = (
            self._heads.take(pa.array(trades.symbol)),
            pc.cast(pa.array(trades.price // PRICE_SCALE), pa.string()),
            self._cents.take(pa.array(trades.price % PRICE_SCALE)),
            '","size":"',
            pc.cast(pa.array(trades.size // SIZE_SCALE), pa.string()),
            self._fractions.take(pa.array(trades.size % SIZE_SCALE)),
            self._middle,
            numbers,
            '","seq":',
            numbers,
            "",
        )
        return pc.cast(pc.binary_join_element_wise(*pieces), pa.binary()).to_pylist()
