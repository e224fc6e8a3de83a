"""What notebooks lean on: comparing, amending, rolling up, studying returns, finding their data."""

from decimal import Decimal
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from conf.settings import load_settings
from core import rulesets
from core.intervals import INTERVALS
from notebooks import compare, places, research, results, revisions, style, warmup, wrong
from notebooks.tape import Day, random_walk
from producers.normalise import normalise
from tests.factories import MONDAY_US, bar

MINUTE_US = 60_000_000
FIELDS = list(compare.FIELDS)


def frame(*rows: tuple[int, float, float]) -> pd.DataFrame:
    """Bars of (minute, close, volume)."""
    start = [pd.Timestamp("2024-03-04T14:30Z") + pd.Timedelta(minutes=minute) for minute, *_ in rows]
    close = [row[1] for row in rows]
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    ends = [at + pd.Timedelta(minutes=1) for at in start]
    return pd.DataFrame({"symbol": "A", "start": start, "end": ends, **prices, "volume": [row[2] for row in rows]})


def day(*prints: tuple[int, float, float, str]) -> Day:
    """A day of the tape at 19:59 UTC, 15:59 in New York, on: (microseconds, price, size, conditions)."""
    first = pd.Timestamp("2013-10-07T19:59:00Z")
    recorded = pd.DataFrame(
        {
            "symbol": "IBM",
            "event_time": [first + pd.Timedelta(microseconds=at) for at, *_ in prints],
            "seq": range(len(prints)),
            "price": [price for _, price, *_ in prints],
            "size": [size for *_, size, _ in prints],
            "exchange": "N",
            "conditions": [conditions for *_, conditions in prints],
            "source": "replay:test",
        }
    )
    ruleset = rulesets.load("us-equity")
    return Day("test", ruleset, recorded, normalise(recorded, ruleset), None)


def test_compare_counts_differences_missing_bars_and_equal_nothings() -> None:
    mine = frame((0, 10.0, 5.0), (1, np.nan, 2.0), (2, 12.0, 1.0), (3, 9.0, 1.0))
    theirs = frame((0, 10.0, 5.0), (1, np.nan, 2.0), (2, 12.0, 2.0), (4, 9.0, 1.0))
    found = compare.bars(mine, theirs)
    assert found.counts() == {"bars": 5, "equal in all five": 2, "only mine": 1, "only theirs": 1}
    assert found.wrong_by_field() == {"open": 2, "high": 2, "low": 2, "close": 2, "volume": 3}
    assert found.differing["start"].dt.minute.tolist() == [32, 33, 34]
    assert found.largest_error()["volume"] == 1.0


def test_late_closing_print_amends_its_bar_with_a_reason() -> None:
    story = revisions.of_late_ticks(
        day((0, 182.0, 100.0, "1"), (30_000_000, 182.5, 200.0, "1"), (124_000_000, 182.25, 5000.0, "80")), 10_000_000
    )
    assert story.late["price"].tolist() == ["182.25"] and story.late["late_us"].tolist() == [64_000_001]
    rows = story.rows.set_index("rev")
    assert rows["state"].to_dict() == {1: "final", 2: "amended"} and rows["reason"].to_dict() == {1: None, 2: "late"}
    assert rows["close"].to_dict() == {1: 182.5, 2: 182.25} and rows["volume"].to_dict() == {1: 300.0, 2: 5300.0}


def test_a_print_within_the_lateness_amends_nothing() -> None:
    story = revisions.of_late_ticks(day((0, 182.0, 100.0, "1"), (65_000_000, 182.25, 5000.0, "80")), 10_000_000)
    assert story.late.empty and story.rows.empty


def test_roll_up_is_exact_skips_minutes_without_a_price_and_sees_a_wrong_digit() -> None:
    void = dict.fromkeys(("open", "high", "low", "close", "vwap"))
    bars = [
        bar(start=MONDAY_US + MINUTE_US, close=Decimal("191"), high=Decimal("192"), notional=Decimal("1e-16")),
        bar(start=MONDAY_US, notional=Decimal("1")),
        bar(start=MONDAY_US + 4 * MINUTE_US, **void),
        bar(start=MONDAY_US + 5 * MINUTE_US),
    ]
    first, second = revisions.rolled_up(bars, INTERVALS["5m"])
    assert (first["start"], second["start"]) == (MONDAY_US, MONDAY_US + 5 * MINUTE_US)
    assert (first["open"], first["close"], first["high"]) == (Decimal("190.25"), Decimal("191"), Decimal("192"))
    assert first["notional"] == Decimal("19026.0000000000000001") and first["trade_count"] == 3
    longer = bar(interval="5m", start=MONDAY_US, **{name: first[name] for name in (*FIELDS, "notional", "trade_count")})
    assert revisions.equal(longer, first)
    assert not revisions.equal(longer, first | {"notional": first["notional"] + Decimal("1e-16")})


def test_every_wrong_way_is_wrong_and_only_where_it_says() -> None:
    prints = [(n * 100_000, 182 + n % 7 / 100, 100.0 + n, "1" if n % 3 else "20") for n in range(2000)]
    tape = day(*prints, (60_000_000, 183.5, 100.0, "1"), (250_000_000, 182.0, 9000.0, "80"))
    right = wrong.minute_bars(tape.ticks, tape.ruleset)
    spoilt = {name: compare.bars(make(tape, right), right).wrong_by_field() for name, make in wrong.WAYS.items()}
    assert all(any(fields.values()) for fields in spoilt.values()), spoilt
    assert spoilt["open and close by arrival"] | {"open": 0, "close": 0} == dict.fromkeys(FIELDS, 0)
    assert spoilt["repeats added again"] | {"volume": 0} == dict.fromkeys(FIELDS, 0)
    assert compare.bars(wrong.minute_bars(tape.ticks, tape.ruleset), right).counts()["equal in all five"] == len(right)


def test_following_a_bar_pays_only_who_trades_before_it_is_known() -> None:
    returns = research.with_returns(frame((0, 100, 1), (1, 110, 1), (2, 99, 1), (3, 118.8, 1)))
    up, down, again = np.log(1.1), np.log(0.9), np.log(1.2)
    assert returns["log_return"].tolist()[1:] == pytest.approx([up, down, again])
    careless, honest = (research.follow_the_bar(returns, wait)["percent"].iloc[-1] for wait in (0, 1))
    assert careless == pytest.approx(100 * (up - down + again)) and honest == pytest.approx(100 * (down - again))


def test_returns_do_not_cross_the_night_nor_symbols() -> None:
    tomorrow = frame((0, 200, 1)).assign(start=pd.Timestamp("2024-03-05T14:30Z"))
    other = frame((2, 5, 1)).assign(symbol="B")
    returns = research.with_returns(pd.concat([frame((0, 100, 1), (1, np.nan, 1), (2, 110, 1)), tomorrow, other]))
    assert returns["log_return"].dropna().tolist() == pytest.approx([np.log(1.1)])


def test_volume_profile_is_a_mean_over_days_and_adds_up_to_all_of_it() -> None:
    first = frame((0, 10, 30), (1, 10, 10), (20, 10, 60))
    second = first.assign(start=first["start"] + pd.Timedelta(days=1), volume=[0.0, 50.0, 50.0])
    profile = research.volume_profile(pd.concat([first, second]), 15)["A"]
    assert profile.tolist() == [45.0, 55.0] and profile.index.strftime("%H:%M").tolist() == ["14:30", "14:45"]


def test_tails_and_volatility_by_hand() -> None:
    returns = research.with_returns(frame(*((n, 100 * 1.01 ** (n % 2), 1) for n in range(60))))
    assert research.realised_volatility(returns, 60)["A"].iloc[0] == pytest.approx(1e4 * np.log(1.01))
    share = research.tails(returns, np.array([0.5, 1.5]))["A"]
    assert share.iloc[0] == 1.0 and np.isnan(share.iloc[1])
    assert research.normal_tail(np.array([0, 1.959964])) == pytest.approx([1, 0.05], abs=1e-6)


def test_rsi_of_other_starting_bars_fades_like_wilders_mean() -> None:
    spread = warmup.by_starting_bar(random_walk(700), "rsi:14", starts=20, bars_after=150)
    assert 1 < spread.iloc[0] < 50 and spread.iloc[150] < 1e-3 * spread.iloc[0]
    assert warmup.by_starting_bar(random_walk(700), "sma:20", starts=5, bars_after=10).max() == 0


def test_live_value_of_the_last_print_is_the_final_value() -> None:
    prints = [(n * 900_000, 182 + (n * 13 % 17) / 50, 100.0, "2000") for n in range(2000)]
    live = warmup.live_rsi(day(*prints), minutes=3, after=20)
    assert len(live.finals) == 3
    for final in live.finals.itertuples():
        before = live.ticks[live.ticks["at"] < final.end].iloc[-1]
        assert (before["price"], before["rsi"]) == (final.close, final.rsi)


def test_figures_without_a_title_or_a_label_are_refused() -> None:
    _, axes = plt.subplots()
    axes.plot([1, 2])
    for missing in ("title", "label"):
        with pytest.raises(ValueError, match=missing):
            style.finish()
        style.label(axes, "what it is")
    style.label(axes, x="minutes")
    with pytest.raises(ValueError, match="label"):
        style.finish()
    plt.close("all")


def test_data_and_lake_are_found_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.settings().data_path.is_absolute()
    assert places.settings().data_path == places.ROOT / load_settings(env_file=places.ROOT / ".env").data_path
    monkeypatch.setenv(places.DATA, str(tmp_path))
    assert places.data_folder() is None
    (tmp_path / "us_equity_2013").mkdir()
    assert places.data_folder() == tmp_path


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TICKSTREAM_DATA_PATH", str(tmp_path))
    with pytest.raises(places.NotRunning, match="make up") as caught:
        places.lake()
    assert caught.value._render_traceback_() == [str(caught.value)]


def test_committed_results_of_latency_are_right_and_comparable() -> None:
    runs = results.runs(results.latency_files())
    assert (runs["wrong"] == 0).all() and runs["commit"].str.len().ge(7).all()
    rows = results.table(results.read("latency.json"), "latency in ms")
    curve = results.percentiles(rows[rows["path"] == "kafka"], dict.fromkeys(rows.index, "a"))["a"]
    assert curve.is_monotonic_increasing and curve.index.tolist() == [0.5, 0.95, 0.99, 0.999]
