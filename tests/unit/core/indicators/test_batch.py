import inspect
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from core.errors import InputError
from core.indicators import INDICATORS, Bars, batch, columns_of, compute, parse
from core.indicators.base import Outputs, period
from core.indicators.window import Window, Windowed
from tests.unit.core.indicators.histories import frame, pick, same_bits, stream, walk

PAGE = Path(__file__).parents[4] / "docs" / "indicators.md"
ALL = list(INDICATORS)
LENGTHS = [90, 3, 40, 1, 88]


def streamed(spec: str, bars: Bars, lengths: list[int]) -> Outputs:
    """Every key stepped through alone, one after the other, under the names of the columns."""
    indicator = parse(spec)
    alone = [stream(indicator, pick(bars, slice(length), key)) for key, length in enumerate(lengths)]
    joined = {output: np.concatenate([found[output][:, 0] for found in alone]) for output in indicator.outputs}
    return dict(zip(columns_of(indicator), joined.values(), strict=True))


@pytest.mark.parametrize("spec", ALL)
@pytest.mark.parametrize("cells", [200, batch.CELLS])
def test_compute_equals_steps_bit_for_bit(spec: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CELLS", cells)
    bars = walk(bars=90, keys=5, missing=0.1)
    bars.session[:] = (np.arange(90) // 4)[:, None]
    found = compute(frame(bars, LENGTHS), [spec])
    assert same_bits({name: found[name].to_numpy() for name in found}, streamed(spec, bars, LENGTHS))


def test_compute_keeps_index_and_order_of_rows() -> None:
    bars = frame(walk(bars=60, keys=4))
    shuffled = bars.sample(frac=1, random_state=1)
    expected = compute(bars, ALL).loc[shuffled.index]
    pd.testing.assert_frame_equal(compute(shuffled, ALL), expected, check_exact=True)
    assert list(expected) == [name for spec in ALL for name in columns_of(parse(spec))]


def test_compute_takes_bars_as_the_records_have_them() -> None:
    bars = frame(walk(bars=40, keys=2))
    exact = bars.assign(close=[Decimal(repr(value)) for value in bars["close"]])
    exact.loc[3, "close"] = None
    bars.loc[3, "close"] = np.nan
    pd.testing.assert_frame_equal(compute(exact, ALL), compute(bars, ALL), check_exact=True)


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_compute_reads_every_kind_of_start(zone: str | None, unit: str) -> None:
    bars = frame(walk(bars=40, keys=2))
    start = pd.to_datetime(bars["start"], unit="us", utc=True).dt.as_unit(unit).dt.tz_convert(zone)
    pd.testing.assert_frame_equal(compute(bars.assign(start=start), ALL), compute(bars, ALL), check_exact=True)


def test_compute_keeps_intervals_apart() -> None:
    bars = frame(walk(bars=50, keys=2))
    both = pd.concat([bars.assign(interval="1m"), bars[bars.index % 2 == 0].assign(interval="2m")], ignore_index=True)
    found = compute(both, ["rsi:3"])
    expected = compute(bars, ["rsi:3"])
    pd.testing.assert_frame_equal(found[: len(bars)], expected, check_exact=True)


def test_compute_without_symbol_is_one_key() -> None:
    bars = frame(walk(bars=30, keys=1))
    pd.testing.assert_frame_equal(compute(bars.drop(columns="symbol"), "sma:5 vwap"), compute(bars, "sma:5 vwap"))


def test_compute_without_notional_takes_the_typical_price() -> None:
    bars = frame(walk(bars=30, keys=1)).drop(columns="notional")
    typical = (bars["high"] + bars["low"] + bars["close"]) / 3 * bars["volume"]
    pd.testing.assert_frame_equal(compute(bars, ["vwap"]), compute(bars.assign(notional=typical), ["vwap"]))


def test_compute_session_calendar_decides_where_vwap_starts() -> None:
    bars = frame(walk(bars=3, keys=1))
    bars["start"] = pd.to_datetime(["2024-07-05 19:59", "2024-07-06 12:00", "2024-07-08 13:30"])
    found = compute(bars, ["vwap"], calendar="XNYS")["vwap"]
    last = bars[1:]
    assert found[2] == last["notional"].sum() / last["volume"].sum()


@pytest.mark.parametrize("rows", [0, 1])
def test_compute_few_rows(rows: int) -> None:
    found = compute(frame(walk(bars=5, keys=1))[:rows], ALL)
    assert len(found) == rows and found.dtypes.eq(np.float64).all()


def test_compute_modifies_no_input() -> None:
    bars = frame(walk(bars=30, keys=2, missing=0.2))
    before = bars.copy(deep=True)
    compute(bars, ALL)
    pd.testing.assert_frame_equal(bars, before, check_exact=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"close": "x"}, "the column close holds what is not a number"),
        ({"start": "2024-01-01"}, "start must be datetime64 or integer microseconds, not "),
        ({"start": 0}, "two rows with one symbol, interval and start"),
        ({"start": pd.NaT}, "rows without a start"),
        ({"symbol": None}, "rows without a symbol"),
    ],
)
def test_compute_wrong_column_raises(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compute(frame(walk(bars=5, keys=2)).assign(**change), ["rsi"])


def test_compute_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="the bars lack start, volume"):
        compute(frame(walk(bars=5)).drop(columns=["volume", "start"]), ["rsi"])


def test_compute_unknown_calendar_raises() -> None:
    with pytest.raises(InputError, match="unknown calendar 'NOPE'"):
        compute(frame(walk(bars=5)), ["rsi"], calendar="NOPE")


@dataclass(frozen=True)
class Span(Windowed):
    """The highest high - the lowest low of the last N bars."""

    name: ClassVar[str] = "span"
    inputs: ClassVar[tuple[str, ...]] = ("high", "low")
    outputs: ClassVar[tuple[str, ...]] = ("span",)
    length: int = period(20)

    @property
    def ready_after(self) -> int:
        return self.length

    def formula(self, *windows: Window) -> Outputs:
        highs, lows = windows
        return {"span": np.maximum.reduce(highs) - np.minimum.reduce(lows)}


def test_new_indicator_has_a_batch_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INDICATORS, "span", Span)
    bars = frame(walk(bars=40, keys=2))
    found = compute(bars, ["span:5"])["span_5"]
    by_symbol = bars.groupby("symbol")
    highest = by_symbol["high"].transform(lambda values: values.rolling(5).max())
    lowest = by_symbol["low"].transform(lambda values: values.rolling(5).min())
    pd.testing.assert_series_equal(found, highest - lowest, check_names=False, check_exact=True)


def test_page_shows_this_indicator_and_lists_every_other() -> None:
    page = PAGE.read_text()
    assert inspect.getsource(Span) in page
    for name in INDICATORS:
        indicator = parse(name)
        row = next(line for line in page.splitlines() if line.startswith(f"| `{indicator.spec}` |"))
        assert columns_of(indicator)[0] in row
        if indicator.stable_after != indicator.ready_after:
            assert row.endswith(f" {indicator.stable_after} |")
