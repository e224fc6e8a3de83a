"""Bars as a frame: what people see is what the bar says."""

from decimal import Decimal

import pandas as pd

from core.frames import bars_frame
from tests.factories import MONDAY_US, bar


def test_bars_frame_has_times_in_utc_amounts_as_doubles_and_the_order_given() -> None:
    later = bar(start=MONDAY_US + 60_000_000, close=Decimal("190.5"))
    frame = bars_frame([later, bar()])
    assert frame["start"].tolist() == [pd.Timestamp("2024-03-04T11:31Z"), pd.Timestamp("2024-03-04T11:30Z")]
    assert (frame["end"] - frame["start"]).eq(pd.Timedelta(minutes=1)).all()
    assert frame["close"].tolist() == [190.5, 190.25] and frame["close"].dtype == float
    assert frame.loc[1, "open_at"] == pd.Timestamp("2024-03-04T11:30Z") and "open_us" not in frame


def test_bars_frame_has_no_price_where_the_bar_has_none() -> None:
    nothing = dict.fromkeys(("open", "high", "low", "close", "vwap", "open_us", "close_us", "processed_us"))
    frame = bars_frame([bar(**nothing)])
    assert frame[["open", "high", "low", "close", "vwap"]].isna().all(axis=None)
    assert frame[["open_at", "close_at", "processed_at"]].isna().all(axis=None)
    assert frame["volume"].tolist() == [100.0]


def test_bars_frame_exact_keeps_every_digit() -> None:
    exact = Decimal("19025.0000000000000001")
    assert bars_frame([bar(notional=exact)], exact=True)["notional"].tolist() == [exact]


def test_bars_frame_of_no_bars_has_the_columns() -> None:
    frame = bars_frame([])
    assert len(frame) == 0 and {"symbol", "start", "close", "received_at"} <= set(frame.columns)
