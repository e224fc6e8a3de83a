"""What is said after each final bar: features stepped on, the champion asked, the answer stored before its outcome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import structlog

from core.indicators import Bars, bars_of
from core.intervals import DAY_US, INTERVALS, MINUTE_US
from core.sessions import ALWAYS_OPEN, session_ids
from ml.dataset import HORIZONS
from ml.features import Ints
from ml.latest import rows
from ml.live import LiveFeatures
from ml.shelf import Bundle, ModelError, Shelf
from stores.predictions import Prediction
from stores.redis_predictions import Said

STABLE_BARS = 500
"""More than any indicator of the features remembers, but for those that begin with the session."""
LONGEST_US = 30 * DAY_US
"""No session is longer, with what counts to it of the days before."""
SYMBOLS_AT_ONCE = 50
"""Of those that need more than `warm_up_bars`, which are many bars."""
_STEP_US = 15 * MINUTE_US
_AMOUNTS = ("open", "high", "low", "close", "volume", "notional")
_log = structlog.get_logger("ml.serving")


def warm_up_bars(interval: str) -> int:
    """How many bars of each symbol a restart or an amended bar has read: those of a day too, which most sessions last.

    Where a session lasts longer, `read_back` reads more.
    """
    return max(STABLE_BARS, DAY_US // INTERVALS[interval].us + 1)


@lru_cache(maxsize=64)
def _open_us(start_us: int, calendar: str) -> int:
    """A moment up to a quarter of an hour before the first bar that counts to the same session as this start."""
    if calendar == ALWAYS_OPEN:
        return start_us - start_us % DAY_US
    earlier = start_us - np.arange(0, LONGEST_US, _STEP_US, dtype=np.int64)
    session = session_ids(earlier, calendar)
    return int(earlier[session == session[0]][-1]) - _STEP_US


@dataclass(frozen=True)
class Answer:
    """What came of a batch of bars: predictions for the stores, and messages."""

    predictions: list[Prediction]
    said: list[Said]


class ClosedBar(msgspec.Struct, frozen=True):
    """What is needed of a bar of the topic `bars`; amounts as decimal text, a price is None in a bar without one."""

    symbol: str
    interval: str
    start: int
    rev: int
    volume: str
    notional: str
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None


class Predictor:
    """The champion of one interval over the bars of all symbols. No I/O but the shelf."""

    def __init__(self, interval: str, shelf: Shelf, calendar: str = ALWAYS_OPEN) -> None:
        self.interval = interval
        self._length_us = INTERVALS[interval].us
        self._shelf = shelf
        self.calendar = calendar
        self._features = LiveFeatures()
        self.bundle: Bundle | None = None

    def reload(self) -> bool:
        """Take the champion of the shelf; whether it is another one than before.

        One that cannot be loaded is told in the log, and who served goes on.
        """
        try:
            version = self._shelf.champion()
            if version is None or (self.bundle is not None and self.bundle.version == version):
                return False
            self.bundle = self._shelf.load(version)
        except (ModelError, OSError, ValueError) as error:
            _log.error("champion not loaded", interval=self.interval, error=str(error))
            return False
        return True

    def warm_up(self, bars: Sequence[dict[str, Any]]) -> None:
        """Take in stored bars, ascending by symbol and start, in place of what is known of their symbols.

        Of a symbol that is known no newer bar is taken than the last one: that one is still to be answered.
        """
        last = {symbol: self._features.last_us(symbol) for symbol in {bar["symbol"] for bar in bars}}
        bars = [bar for bar in bars if bar["start"] <= (last[bar["symbol"]] or bar["start"])]
        for symbol in last:
            self._features.forget(symbol)
        runs = [list(run) for _, run in groupby(bars, key=itemgetter("symbol"))]
        older = [bar for run in runs for bar in run[:-STABLE_BARS]]
        newer = [bar for run in runs for bar in run[-STABLE_BARS:]]
        if older:
            self._features.begin(*self._columns(older))
        if newer:
            self._features.take(*self._columns(newer))

    def amended(self, bars: Sequence[ClosedBar]) -> set[str]:
        """The symbols of which a bar that is known already comes again: their history must be read again first."""
        again = [bar for bar in bars if bar.interval == self.interval and bar.rev > 1]
        return {bar.symbol for bar in again if bar.start <= self._features.last_us(bar.symbol)}

    def answer(self, bars: Sequence[ClosedBar], now_us: int) -> Answer:
        """What is to be said after these bars, as far as the outcome is not known yet."""
        of_here = [bar for bar in bars if bar.interval == self.interval and bar.close is not None]
        # One that is amended while it waits counts as it is last.
        last = {(bar.symbol, bar.start): bar for bar in of_here if bar.start > self._features.last_us(bar.symbol)}
        new = list(last.values())
        if not new:
            return Answer([], [])
        symbols, held, starts = self._columns([_row(bar) for bar in new])
        found = self._features.take(symbols, held, starts)
        if self.bundle is None:
            return Answer([], [])
        every = [self._prediction(row) for row in rows(self.bundle, symbols, starts, found)]
        made = [each for each in every if each.outcome_us > now_us]
        closes = {(bar.symbol, bar.start): close for bar, close in zip(new, held.close.tolist(), strict=True)}
        return Answer(made, _said(made, closes))

    def _columns(self, bars: Sequence[dict[str, Any]]) -> tuple[list[str], Bars, Ints]:
        """Symbols, bars and starts in epoch microseconds, as `LiveFeatures` takes them."""
        start = np.array([bar["start"] for bar in bars], np.int64)
        amounts = {name: [bar[name] for bar in bars] for name in _AMOUNTS}
        return [bar["symbol"] for bar in bars], bars_of(**amounts, start=start, calendar=self.calendar), start

    def _prediction(self, row: dict[str, Any]) -> Prediction:
        end = row["start"] + self._length_us
        abstains = tuple(row.pop("abstains"))
        outcome_us = end + row["horizon"] * self._length_us
        return Prediction(interval=self.interval, end=end, outcome_us=outcome_us, abstains=abstains, **row)


def read_back(
    predictor: Predictor,
    read: Callable[[int, Sequence[str] | None], list[dict[str, Any]]],
    symbols: Sequence[str] | None,
    now_us: int,
) -> None:
    """Warm up with the bars of some symbols, None for all; `read` gives the last so many of each, as stored.

    They reach back to the open of every session of which a bar is still to be answered. Under an exchange's calendar
    such a session may be one of days: what is traded on a weekend or a holiday counts to the next one.
    Raises InputError for an unknown calendar and for times that it does not cover.
    """
    count = warm_up_bars(predictor.interval)
    bars = read(count, symbols)
    predictor.warm_up(bars)
    length_us = INTERVALS[predictor.interval].us
    oldest_us = now_us - (max(HORIZONS) + 1) * length_us
    open_us = _open_us(oldest_us - oldest_us % _STEP_US, predictor.calendar)
    whole = (now_us - open_us) // length_us + 1
    longer = _cut_short(bars, count, open_us) if whole > count else []
    for place in range(0, len(longer), SYMBOLS_AT_ONCE):
        predictor.warm_up(read(whole, longer[place : place + SYMBOLS_AT_ONCE]))


def _cut_short(bars: Sequence[dict[str, Any]], count: int, open_us: int) -> list[str]:
    """The symbols of which there may be more bars since then than these, the last `count` by symbol and start."""
    runs = {symbol: list(run) for symbol, run in groupby(bars, key=itemgetter("symbol"))}
    return [symbol for symbol, run in runs.items() if len(run) == count and run[0]["start"] > open_us]


def _row(bar: ClosedBar) -> dict[str, Any]:
    """As the store has it."""
    return {"symbol": bar.symbol, "start": bar.start} | {name: float(getattr(bar, name)) for name in _AMOUNTS}


def _said(predictions: Sequence[Prediction], closes: dict[tuple[str, int], float]) -> list[Said]:
    """One message per bar."""
    by_bar: dict[tuple[str, int], list[Prediction]] = {}
    for each in predictions:
        by_bar.setdefault((each.symbol, each.start), []).append(each)
    return [
        Said(
            symbol=symbol,
            interval=group[0].interval,
            start=start,
            end=group[0].end,
            event_us=group[0].end,
            close=closes[symbol, start],
            model=group[0].model,
            horizons=[
                {name: getattr(each, name) for name in
                 ("horizon", "outcome_us", "expected_return", "rise_probability", "volatility", "abstains")}
                for each in group
            ],
        )
        for (symbol, start), group in by_bar.items()
    ]  # fmt: skip
