"""Recorded ticks to tick records; on the real files, the bars that others published."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import rulesets
from core.clock import SystemClock
from core.intervals import MINUTE_US
from core.records import SEQ_LIMIT
from producers.bulk import refused
from producers.normalise import normalise
from producers.reading import find_files, read_days

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded ticks of ../shared/data are not here")
US, ALL = rulesets.load("us-equity"), rulesets.load("all")
PRICES = ["open", "high", "low", "close"]


def recorded(**columns: list[object]) -> pd.DataFrame:
    """Rows of the recorded layout; every column has a default."""
    rows = max((len(values) for values in columns.values()), default=1)
    default = {
        "symbol": ["IBM"] * rows,
        "event_time": ["2013-10-08T15:00:00Z"] * rows,
        "seq": list(range(rows)),
        "price": [100.25] * rows,
        "size": [100.0] * rows,
        "trade_id": [None] * rows,
        "exchange": ["N"] * rows,
        "conditions": ["1"] * rows,
        "suspicious": [False] * rows,
        "source": ["replay:test"] * rows,
    }
    frame = pd.DataFrame(default | columns)
    return frame.assign(event_time=pd.to_datetime(frame["event_time"], utc=True, format="ISO8601"))


def test_normalise_row_becomes_a_tick_exactly() -> None:
    (row,) = normalise(recorded(price=[167.41], trade_id=["7"]), US).to_dict("records")
    assert {name: row[name] for name in ("symbol", "price", "size", "trade_id", "venue", "conditions", "kind")} == {
        "symbol": "IBM", "price": "167.41", "size": "100", "trade_id": "7", "venue": "N", "conditions": "1",
        "kind": "trade",
    }  # fmt: skip
    assert row["event_us"] == 1_381_244_400_000_000
    assert pd.isna(row["reported_us"])


def test_normalise_missing_optional_columns_are_none() -> None:
    frame = recorded().drop(columns=["trade_id", "exchange", "conditions", "suspicious"])
    (row,) = normalise(frame, US).to_dict("records")
    assert (row["trade_id"], row["venue"], row["conditions"]) == (None, None, None)


def test_normalise_empty_text_is_none() -> None:
    (row,) = normalise(recorded(trade_id=[""], exchange=[""], conditions=[""]), US).to_dict("records")
    assert (row["trade_id"], row["venue"], row["conditions"]) == (None, None, None)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([17, 20], dtype="int64"),
        pd.Series([17, 20, None], dtype="float64"),
        pd.Series([17, 20, None], dtype="Int64"),
        pd.Series([17, 20, None], dtype="category"),
        pd.Series([17, "20", "", None], dtype=object),
    ],
)
def test_normalise_ids_and_codes_that_are_numbers_become_text(values: pd.Series) -> None:
    codes = dict.fromkeys(("trade_id", "exchange", "conditions"), values)
    ticks = normalise(recorded(seq=list(range(len(values))), **codes), US)
    for name in ("trade_id", "venue", "conditions"):
        assert ticks[name].tolist() == ["17", "20", None, None][: len(values)]
    assert not refused(ticks, None, SystemClock(), 0)


def test_normalise_broken_float_keeps_its_fraction() -> None:
    assert normalise(recorded(trade_id=[17.5]), US)["trade_id"].tolist() == ["17.5"]


def test_normalise_suspicious_adds_its_bit_under_a_ruleset_that_has_one() -> None:
    frame = recorded(suspicious=[True, False, None], conditions=["20", "20", None])
    assert normalise(frame, US)["conditions"].tolist() == ["100000020", "20", None]
    assert normalise(frame, ALL)["conditions"].tolist() == ["20", "20", None]


def test_normalise_closing_print_after_the_bell_moves_into_the_last_minute() -> None:
    frame = recorded(
        event_time=["2013-10-08T19:59:59.999Z", "2013-10-08T20:00:00Z", "2013-10-08T20:03:10Z"],
        conditions=["1", "2000", "80"],
        price=[1.0, 2.0, 3.0],
    )
    ticks = normalise(frame, US)
    assert ticks["price"].tolist() == ["1", "3", "2"]
    assert ticks["event_us"][1] == 1_381_262_400_000_000 - 1
    assert ticks["reported_us"].tolist() == [pd.NA, 1_381_262_590_000_000, pd.NA]
    assert ticks["conditions"].tolist() == ["1", "400000080", "2000"]


def test_normalise_opening_print_comes_first_in_its_minute() -> None:
    frame = recorded(
        event_time=["2013-10-08T13:30:00Z", "2013-10-08T13:30:02Z", "2013-10-08T13:30:02Z"],
        conditions=["1", "1", "40"],
        price=[1.0, 2.0, 3.0],
    )
    ticks = normalise(frame, US)
    assert ticks["price"].tolist() == ["3", "1", "2"]
    assert -SEQ_LIMIT < ticks["seq"][0] < 0
    assert ticks["event_us"][0] == ticks["event_us"][1]


def test_normalise_auction_is_found_in_reported_order_whatever_the_order_of_rows() -> None:
    frame = recorded(event_time=["2013-10-08T20:05:00Z", "2013-10-08T20:01:00Z"], conditions=["80", "80"], seq=[9, 4])
    moved = normalise(frame, US).dropna(subset=["reported_us"])
    assert moved["seq"].tolist() == [4]


def test_normalise_leaves_its_input_alone() -> None:
    frame = recorded(conditions=["80"], event_time=["2013-10-08T20:05:00Z"])
    before = frame.copy(deep=True)
    normalise(frame, US)
    pd.testing.assert_frame_equal(frame, before)


def published(folder: str, length: str = "1m") -> pd.DataFrame:
    frames = [pd.read_parquet(path) for path in sorted((DATA / folder / f"bars_{length}").glob("*.parquet"))]
    bars = pd.concat(frames)
    bars["start"] = bars["bar_start"].dt.as_unit("us").astype("int64")
    return bars.set_index(["symbol", "start"])[[*PRICES, "volume"]]


def aggregated(ticks: pd.DataFrame, ruleset: rulesets.Ruleset, minutes: int) -> pd.DataFrame:
    """Bars by pandas in doubles, which print back to the source's decimals."""
    length = minutes * MINUTE_US
    ticks = ticks.assign(
        start=ticks["event_us"] // length * length,
        minute=ticks["event_us"] // MINUTE_US,
        price=ticks["price"].astype(float),
        size=ticks["size"].astype(float),
        conditions=ticks["conditions"].fillna(""),
    )
    codes, keys = pd.factorize(pd.MultiIndex.from_frame(ticks[["conditions", "minute"]]))
    verdicts = [ruleset.touches(conditions, int(minute) * MINUTE_US) for conditions, minute in keys]
    may = {name: np.array([name in verdict for verdict in verdicts])[codes] for name in rulesets.FIELDS}
    by = ["symbol", "start"]
    return pd.concat(
        [
            ticks[may["open_close"]].groupby(by)["price"].agg(open="first", close="last"),
            ticks[may["high_low"]].groupby(by)["price"].agg(high="max", low="min"),
            ticks[may["volume"]].groupby(by)["size"].sum().rename("volume"),
        ],
        axis=1,
    )


def equal_minutes(
    folder: str, ruleset: rulesets.Ruleset, length: str = "1m", drop_empty: bool = False
) -> tuple[int, int]:
    """How many bars equal the published ones in all five fields, of how many in either."""
    zone = ruleset.session.time_zone if ruleset.session else "UTC"
    made = []
    for _, frame in read_days(find_files([DATA / folder]), zone):
        ticks = normalise(frame[frame["size"] > 0] if drop_empty else frame, ruleset)
        made.append(aggregated(ticks, ruleset, int(length.removesuffix("m"))))
    both = published(folder, length).join(pd.concat(made), how="outer", rsuffix="_ours")
    equal = [np.isclose(both[name], both[f"{name}_ours"], rtol=1e-12, atol=0) for name in (*PRICES, "volume")]
    return int(np.logical_and.reduce(equal).sum()), len(both)


@needs_data
def test_us_equity_minutes_equal_the_published_ones() -> None:
    assert equal_minutes("us_equity_2013", US) == (6766, 6768)


@needs_data
def test_gold_minutes_equal_the_published_ones() -> None:
    assert equal_minutes("gold_futures_2013", ALL) == (3024, 3037)


@needs_data
def test_gold_ticks_of_size_zero_count_for_prices() -> None:
    assert equal_minutes("gold_futures_2013", ALL, drop_empty=True)[0] == 2964


@needs_data
@pytest.mark.parametrize(("length", "bars"), [("1m", 2469), ("5m", 706)])
def test_xrpeth_bars_equal_the_published_ones(length: str, bars: int) -> None:
    assert equal_minutes("crypto_binance_xrpeth_2019", ALL, length) == (bars, bars)
