"""A small market in the stores: the bars and indicators of its trades, as the relay and the final query write them.

Its clock is its own, so that a minute may end whenever the test likes.
"""

import random
import time
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from conf.settings import Settings
from core import rulesets
from core.bars import fold_bars
from core.intervals import MINUTE_US
from core.records import Bar, Tick
from jobs.indicator_topic import Memory
from jobs.indicators import BatchIndicators
from jobs.live_indicators import live_indicators
from stores.redis import live_rows, make_redis
from stores.schema import bars_table
from stores.timescale import make_timescale

LONGEST_MINUTES = 15
TICK = Decimal("0.01")
Key = tuple[str, str, int]


class Tape:
    """Trades of some symbols that become bars in PostgreSQL and Redis; `now_us` is the tape's own time.

    `close` in the end.
    """

    def __init__(self, settings: Settings, symbols: Sequence[str], start_us: int, seed: int = 1) -> None:
        self.settings, self.symbols = settings, tuple(symbols)
        self.start_us = self.now_us = start_us
        self.bars: dict[Key, Bar] = {}
        """The newest revision of each bar that was written, forming ones too."""
        self._database, self._redis = make_timescale(settings), make_redis(settings)
        self._database.setup()
        self._ruleset = rulesets.load(settings.ruleset)
        self._indicators = BatchIndicators(settings, settings.bar_intervals)
        self._live = live_indicators(settings)
        self._random = random.Random(seed)
        self._price = {name: Decimal(100 + 25 * n) for n, name in enumerate(self.symbols)}
        self._ticks: dict[str, list[Tick]] = {name: [] for name in self.symbols}
        self._offset = self._into_us = 0

    def history(self, minutes: int, without: Sequence[int] = ()) -> None:
        """Final bars of so many minutes, two trades of each symbol in each; no trade in the minutes `without`."""
        for minute in range(minutes):
            if minute not in without:
                for symbol in self.symbols * 2:
                    self._trade(symbol)
            self._next_minute()
        self._write_final(self._fold(self.symbols, until_us=self.now_us))
        self._forget()

    def trade(self, symbol: str, price: Decimal | None = None) -> Bar:
        """One more trade, shown at once; the forming 1-minute bar that it is in."""
        tick = self._trade(symbol, price)
        forming = [bar for bar in self._fold([symbol]) if bar.end > self.now_us]
        shown = [msgspec.structs.replace(bar, rev=0, state="forming") for bar in forming]
        self._keep(shown)
        self._redis.write_live(self._live.with_values(live_rows(bars_table(shown))))
        return self.bars[symbol, "1m", tick.event_us - tick.event_us % MINUTE_US]

    def close_minute(self) -> list[Bar]:
        """The minute ends: its bars are final; those that are."""
        began = self.now_us
        self._next_minute()
        final = [bar for bar in self._fold(self.symbols, until_us=self.now_us) if bar.end > began]
        self._write_final(final)
        self._forget()
        return final

    def amend(self, symbol: str, start_us: int, **changes: object) -> Bar:
        """A late trade changed a final 1-minute bar: its next revision, in both stores."""
        held = self.bars[symbol, "1m", start_us]
        bar = msgspec.structs.replace(held, rev=held.rev + 1, state="amended", reason="late", **changes)
        self._keep([bar])
        self._database.write_bars(bars_table([bar]))
        self._redis.write_bars(bars_table([bar]))
        return bar

    def newest(self, symbol: str, interval: str = "1m") -> Bar:
        return max((bar for (s, i, _), bar in self.bars.items() if (s, i) == (symbol, interval)), key=lambda b: b.start)

    def close(self) -> None:
        self._database.close()
        self._redis.close()

    def _trade(self, symbol: str, price: Decimal | None = None) -> Tick:
        moved = self._price[symbol] + TICK * self._random.randint(-20, 20)
        self._price[symbol] = price or max(moved, Decimal(1))
        self._offset += 1
        self._into_us += 1000
        tick = Tick(
            symbol=symbol,
            event_us=self.now_us + self._into_us,
            price=str(self._price[symbol]),
            size=str(self._random.randint(1, 500)),
            seq=self._offset,
            source="tape",
            received_us=time.time_ns() // 1000,
        )
        self._ticks[symbol].append(tick)
        return tick

    def _next_minute(self) -> None:
        self.now_us += MINUTE_US
        self._into_us = 0

    def _fold(self, symbols: Sequence[str], until_us: int = 1 << 62) -> list[Bar]:
        placed = [(tick, 0, tick.seq) for symbol in symbols for tick in self._ticks[symbol]]
        made = fold_bars(placed, self.settings.bar_intervals, self._ruleset, time.time_ns() // 1000)
        return [bar for bar in made if bar.end <= until_us]

    def _write_final(self, bars: list[Bar]) -> None:
        self._keep(bars)
        table = bars_table(bars)
        rows = self._indicators.rows(table)
        self._database.write_bars(table, rows)
        self._redis.write_bars(table, rows)
        starts = rows["start"].cast("int64").to_pylist()
        columns = (rows[name].to_pylist() for name in ("symbol", "interval", "specs", "state"))
        for start, symbol, interval, specs, state in zip(starts, *columns, strict=True):
            if state is not None:
                self._live.take_final(Memory(symbol, interval, start, specs, state))

    def _keep(self, bars: Sequence[Bar]) -> None:
        self.bars |= {(bar.symbol, bar.interval, bar.start): bar for bar in bars}

    def _forget(self) -> None:
        """Trades of bars that are all closed are needed no more."""
        open_us = self.now_us - self.now_us % (LONGEST_MINUTES * MINUTE_US)
        self._ticks = {
            symbol: [tick for tick in ticks if tick.event_us >= open_us] for symbol, ticks in self._ticks.items()
        }
