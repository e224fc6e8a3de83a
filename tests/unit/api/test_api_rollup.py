"""Roll-ups, changes and profiles: exact, whatever is missing."""

import math
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.analytics import volume_by_price, volume_by_time
from api.rollup import Rollup, change, percent, realised_volatility, rollup_of, vwap
from api.stages import live_stages, percentile, stages_json
from core.intervals import MINUTE_US
from core.records import MAX_UNITS, from_scaled, vwap_scaled
from stores.redis_board import TailBar

AMOUNTS = st.integers(1, MAX_UNITS * 10**8 - 1).map(lambda units: from_scaled(units))


def bar(price: str | None, volume: str = "1", start: int = 0, **changes: Any) -> dict[str, Any]:
    known = None if price is None else Decimal(price)
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), known)
    size = Decimal(volume)
    row = {"start": start, "volume": size, "notional": (known or Decimal(0)) * size, "trade_count": 1, "rev": 1}
    return prices | row | {"close_us": start} | changes


def of(*bars: dict[str, Any]) -> Rollup:
    rolled = Rollup()
    for each in bars:
        rolled = rolled.then(rollup_of(each))
    return rolled


@given(st.lists(AMOUNTS, min_size=1, max_size=8), st.data())
def test_rollup_in_any_parts_is_the_same(prices: list[Decimal], data: st.DataObject) -> None:
    bars = [bar(str(price), "2", start=place) for place, price in enumerate(prices)]
    cut = data.draw(st.integers(0, len(bars)))
    whole = of(*bars)
    assert of(*bars[:cut]).then(of(*bars[cut:])) == whole
    assert (whole.open, whole.close, whole.high, whole.low) == (prices[0], prices[-1], max(prices), min(prices))
    assert whole.notional == sum((2 * price for price in prices), Decimal(0))


def test_rollup_takes_first_and_last_price_that_is_known() -> None:
    rolled = of(bar(None, "5"), bar("10"), bar(None, "5", rev=4), bar("8"), bar(None, "0", close_us=None))
    assert (rolled.open, rolled.close, rolled.high, rolled.low) == (Decimal(10), Decimal(8), Decimal(10), Decimal(8))
    assert (rolled.volume, rolled.trade_count, rolled.rev) == (Decimal(12), 5, 4)
    assert of(bar(None)).open is None and Rollup().vwap is None


def test_rollup_does_not_round_sums_that_decimals_would() -> None:
    big, small = "12345678901234567890.12345678", "0.00000001"
    rolled = of(bar(None, big), bar(None, small))
    assert rolled.volume == Decimal("12345678901234567890.12345679")


@given(st.integers(1, 10**30), st.integers(1, 10**20))
def test_vwap_is_rounded_as_bars_are(notional: int, volume: int) -> None:
    expected = vwap_scaled(notional, volume)
    assert expected is not None
    assert vwap(from_scaled(notional, 16), from_scaled(volume)) == from_scaled(expected)


@pytest.mark.parametrize(
    ("last", "before", "expected"),
    [
        ("110", "100", ("10", "10")),
        ("2", "3", ("-1", "-33.3333")),
        ("3", "3", ("0", "0")),
        (None, "3", (None, None)),
        ("3", None, (None, None)),
    ],
)
def test_change_in_price_and_percent(last: str | None, before: str | None, expected: tuple[str | None, ...]) -> None:
    wanted = tuple(None if value is None else Decimal(value) for value in expected)
    assert change(*(None if value is None else Decimal(value) for value in (last, before))) == wanted
    assert percent(Decimal(1), Decimal(0)) is None


def test_realised_volatility_needs_two_closes() -> None:
    assert realised_volatility([Decimal(5)]) is None
    assert realised_volatility([Decimal(1), Decimal(2), Decimal(1)]) == pytest.approx(math.sqrt(2) * math.log(2))


@given(st.lists(AMOUNTS, min_size=1, max_size=20), st.integers(1, 30))
def test_profile_loses_no_volume_and_covers_the_prices(prices: list[Decimal], buckets: int) -> None:
    bars = [bar(str(price), str(place + 1)) for place, price in enumerate(prices)]
    profile = volume_by_price(bars, buckets)
    assert sum(each.volume for each in profile) == sum(row["volume"] for row in bars)
    assert sum(each.trade_count for each in profile) == len(bars)
    assert profile[-1].high == max(prices) and len(profile) == (buckets if len(set(prices)) > 1 else 1)
    assert all(one.high == other.low for one, other in pairwise(profile))


def test_profile_boundary_price_counts_to_the_upper_bucket_and_the_high_to_the_last() -> None:
    bars = [bar("10", "1"), bar("15", "2"), bar("20", "4"), bar(None, "8")]
    assert [each.volume for each in volume_by_price(bars, 2)] == [Decimal(1), Decimal(6)]
    assert volume_by_price([bar(None)], 3) == []


def test_volume_by_time_is_half_open() -> None:
    bars = [bar("1", "1", start=29 * MINUTE_US), bar("1", "2", start=30 * MINUTE_US)]
    found = volume_by_time(bars, 30 * MINUTE_US)
    assert [(each.low // MINUTE_US, each.high // MINUTE_US, each.volume) for each in found] == [
        (0, 30, Decimal(1)),
        (30, 60, Decimal(2)),
    ]


def test_percentile_interpolates_as_the_database_does() -> None:
    found = [percentile([1.0, 2.0, 3.0, 4.0], quantile) for quantile in (0.0, 0.5, 0.95, 1.0)]
    assert found == [1.0, 2.5, pytest.approx(3.85), 4.0]
    assert percentile([7.0], 0.99) == 7.0


def test_live_stages_take_forming_bars_of_late_receipt_with_both_stamps() -> None:
    def row(received: int | None, processed: int | None, relayed: int | None, rev: int = 0) -> TailBar:
        return TailBar(0, 1, rev, "forming", received_us=received, processed_us=processed, relayed_us=relayed)

    tail = [row(1000, 4000, 5000), row(1000, 6000, None), row(10, 20, 30), row(1000, 2000, 3000, rev=1)]
    found = live_stages([tail], since_us=500)
    assert {name: count for name, (count, _) in found.items()} == {
        "received_to_live": 2,
        "live_to_redis": 1,
        "received_to_redis": 1,
    }
    shown = {each["stage"]: each for each in stages_json(found)}
    assert shown["received_to_live"]["p50_ms"] == 4.0 and shown["received_to_redis"]["max_ms"] == 4.0
    assert shown["close_to_final"]["count"] == 0 and shown["close_to_final"]["p99_ms"] is None
