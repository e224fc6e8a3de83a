"""Live indicators: what the final row will say, whatever is closed and not yet final in between."""

import random
from collections.abc import Mapping

import msgspec
import numpy as np
import pytest

from core.indicators import parse_all
from core.indicators.sets import IndicatorSet, bars_of, values_json
from jobs.indicator_topic import Memory
from jobs.live_indicators import PENDING_BARS, LiveIndicators
from stores.redis import LiveRow

SPECS = "sma:2 ema:3 rsi:2 macd:2,3,2 atr:2 obv vwap stoch:2,1,1 sma:1 bbands:3,2 rvol:2 mom:1 rvwap:2"
SET = IndicatorSet(parse_all(SPECS))
MINUTE_US = 60_000_000
FIELDS = ("open", "high", "low", "close", "volume", "notional")


class Market:
    """Bars of one key by start, and what stepping through all of them says."""

    def __init__(self, symbol: str, interval: str = "1m") -> None:
        self.symbol, self.interval = symbol, interval
        self.bars: dict[int, dict[str, str | None]] = {}

    def row(self, minute: int, **changes: str | None) -> LiveRow:
        """The bar of a minute with these amounts, as the live query sends it."""
        start = minute * MINUTE_US
        blank = dict.fromkeys(FIELDS, "1.00000000")
        self.bars[start] = {**self.bars.get(start, blank), **changes}
        return self.row_of(start)

    def row_of(self, start: int, rev: int = 0) -> LiveRow:
        payload = {"symbol": self.symbol, "interval": self.interval, "start": start, "rev": rev} | self.bars[start]
        return LiveRow(self.symbol, self.interval, start, rev, 1, msgspec.json.encode(payload))

    def state(self, minute: int) -> np.ndarray:
        """After all bars up to this one."""
        starts = sorted(start for start in self.bars if start <= minute * MINUTE_US)
        columns = [[_number(self.bars[start][name]) for start in starts] for name in FIELDS]
        key = np.zeros(len(starts), np.int64)
        return SET.fold(SET.initial(1), key, np.array(starts, np.int64), bars_of(*columns, starts)).state

    def values(self, minute: int) -> bytes:
        return values_json(SET.columns, SET.values(self.state(minute)))[0]

    def final(self, minute: int) -> Memory:
        return Memory(self.symbol, self.interval, minute * MINUTE_US, SET.specs, SET.to_bytes(self.state(minute)[0]))


def _number(text: str | None) -> float:
    return np.nan if text is None else float(text)


def live(intervals: Mapping[str, IndicatorSet] | None = None) -> LiveIndicators:
    return LiveIndicators(intervals or {"1m": SET}, "24/7")


def shown(indicators: LiveIndicators, *rows: LiveRow) -> list[bytes]:
    return [row.indicators for row in indicators.with_values(rows)]


def amounts(rng: random.Random) -> dict[str, str | None]:
    low, high = sorted((rng.uniform(1, 9), rng.uniform(1, 9)))
    texts = {name: f"{rng.uniform(low, high):.8f}" for name in ("open", "close")}
    texts |= {"low": f"{low:.8f}", "high": f"{high:.8f}"}
    texts |= {name: f"{rng.uniform(0, 1e6):.8f}" for name in ("volume", "notional")}
    return dict.fromkeys(texts) | {"volume": "5", "notional": "7"} if rng.random() < 0.1 else texts


@pytest.mark.parametrize("seed", range(8))
def test_live_value_is_that_of_the_final_row_however_late_final_comes(seed: int) -> None:
    rng = random.Random(seed)
    markets = [Market(name) for name in ("AAA", "BBB", "CCC")]
    indicators = live()
    finals: list[Memory] = []
    for minute in range(1, 20):
        for market in markets:
            if rng.random() < 0.2:
                continue  # no trade, no bar
            rows = [market.row(minute, **amounts(rng)) for _ in range(rng.randint(1, 3))]
            late = rng.choice(sorted(market.bars)) // MINUTE_US
            pending = max((each.start for each in finals if each.symbol == market.symbol), default=0)
            if late * MINUTE_US > pending and rng.random() < 0.5:
                market.row(late, close=f"{rng.uniform(1, 9):.8f}")
                rows = [market.row_of(minute * MINUTE_US), market.row_of(late * MINUTE_US)]
                assert shown(indicators, *rows) == [market.values(minute), market.values(late)]
            else:
                assert shown(indicators, *rows)[-1] == market.values(minute)
        for market in markets:
            held = sorted(start // MINUTE_US for start in market.bars)
            if held and rng.random() < 0.3:
                final = market.final(rng.choice(held))
                finals.append(final)
                indicators.take_final(final)


def test_rows_of_many_keys_in_one_batch_do_not_touch_each_other() -> None:
    rng = random.Random(1)
    markets = [Market(f"S{number}") for number in range(40)]
    indicators = live()
    for minute in range(1, 6):
        rows = [market.row(minute, **amounts(rng)) for market in markets]
        rng.shuffle(rows)
        by_symbol = {row.symbol: row.indicators for row in indicators.with_values(rows)}
        assert by_symbol == {market.symbol: market.values(minute) for market in markets}


def test_a_new_relay_goes_on_from_the_final_state_and_the_closed_bars() -> None:
    market = Market("AAA")
    for minute in range(1, 8):
        market.row(minute, close=f"{minute}.5")
    indicators = live()
    indicators.take_final(market.final(5))
    assert indicators.keys == [("AAA", "1m")]
    indicators.take_forming([market.row_of(minute * MINUTE_US) for minute in (5, 6, 7)])
    assert shown(indicators, market.row(8, close="3")) == [market.values(8)]


def test_final_state_replaces_what_live_rows_said() -> None:
    truth, seen = Market("AAA"), Market("AAA")
    for minute in (1, 2):
        truth.row(minute, close="2")
        seen.row(minute, close="7")
    indicators = live()
    shown(indicators, *(seen.row_of(minute * MINUTE_US) for minute in (1, 2)))
    indicators.take_final(truth.final(2))
    assert shown(indicators, truth.row(3, close="4")) == [truth.values(3)]


def test_an_older_final_state_is_passed_over() -> None:
    market = Market("AAA")
    for minute in range(1, 5):
        market.row(minute, close=str(minute))
    indicators = live()
    for minute in (3, 1):
        indicators.take_final(market.final(minute))
    assert shown(indicators, market.row_of(4 * MINUTE_US)) == [market.values(4)]


def test_without_a_final_query_old_bars_settle_and_memory_stays_bounded() -> None:
    market, indicators = Market("AAA"), live()
    for minute in range(1, 3 * PENDING_BARS):
        found = shown(indicators, market.row(minute, close=f"{minute % 7}.25"))
    assert found == [market.values(3 * PENDING_BARS - 1)]
    (key,) = indicators._keys.values()
    assert len(key.pending) <= PENDING_BARS


def test_a_batch_of_more_bars_than_are_held_gives_each_its_values() -> None:
    market, indicators = Market("AAA"), live()
    count = 3 * PENDING_BARS
    rows = [market.row(minute, close=f"{minute % 7}.25") for minute in range(1, count)]
    random.Random(1).shuffle(rows)
    found = {row.start // MINUTE_US: row.indicators for row in indicators.with_values(rows)}
    assert all(found[minute] == market.values(minute) for minute in (1, 2, PENDING_BARS, PENDING_BARS + 1, count - 1))
    assert shown(indicators, market.row(count)) == [market.values(count)]
    late = count - 3
    assert shown(indicators, market.row(late, close="9")) == [market.values(late)]
    assert shown(indicators, market.row_of(count * MINUTE_US)) == [market.values(count)]


def test_a_bar_that_appears_before_all_that_are_held_is_not_lost() -> None:
    market, indicators = Market("AAA"), live()
    shown(indicators, *(market.row(minute, close=f"{minute % 7}.25") for minute in range(2, PENDING_BARS + 2)))
    assert shown(indicators, market.row(1, close="8")) == [market.values(1)]
    assert shown(indicators, market.row(PENDING_BARS + 2)) == [market.values(PENDING_BARS + 2)]


def test_final_rows_unknown_intervals_and_broken_rows_carry_none() -> None:
    market, indicators = Market("AAA"), live()
    market.row(1)
    broken = LiveRow("AAA", "1m", 2 * MINUTE_US, 0, 1, b'{"close":"x"}')
    other = LiveRow("AAA", "5m", 2 * MINUTE_US, 0, 1, b"{}")
    assert shown(indicators, market.row_of(MINUTE_US, rev=1), broken, other) == [b"", b"", b""]
    indicators.take_final(market.final(1))
    assert shown(indicators, market.row_of(MINUTE_US)) == [b""]


def test_a_state_of_other_indicators_keeps_what_both_have() -> None:
    market = Market("AAA")
    for minute in range(1, 6):
        market.row(minute, close=f"{minute}.125")
    fewer = IndicatorSet(parse_all("obv mom:7"))
    indicators = live({"1m": fewer})
    indicators.take_final(market.final(5))
    (text,) = shown(indicators, market.row(6, close="9"))
    assert msgspec.json.decode(text) == {"obv": msgspec.json.decode(market.values(6))["obv"], "mom_7": None}


def test_a_state_that_does_not_fit_is_logged_and_left() -> None:
    indicators = live()
    indicators.take_final(Memory("AAA", "1m", MINUTE_US, SPECS, b"short"))
    market = Market("AAA")
    assert shown(indicators, market.row(2)) == [market.values(2)]
