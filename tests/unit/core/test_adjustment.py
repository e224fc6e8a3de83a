"""Adjustment on read against published adjusted series, and by hand."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from core.adjustment import Action, Adjustment, CloseOf, Factors, Reinvested, adjusted, factors, simplest_ratio
from core.errors import InputError
from jobs.action_files import read_actions
from jobs.daily_files import History, read_histories

DATA = Path(__file__).parents[4] / "shared" / "data" / "daily"
LEAN, LEAN_FACTORS = DATA / "us_equity_1998_2021.parquet", DATA / "us_equity_1998_2021_factors.parquet"
QUANTUM = Decimal("1e-8")
ROUNDING = 5e-8  # of factors published with seven decimals


def dividend(day: date, amount: str, reference: str | None = None) -> Action:
    return Action(day, "dividend", amount=Decimal(amount), reference=None if reference is None else Decimal(reference))


def split(day: date, ratio: Fraction | int) -> Action:
    return Action(day, "split", Fraction(ratio))


@pytest.fixture(scope="module")
def lean() -> dict[str, History]:
    return {each.symbol: each for each in read_histories(LEAN)}


def close_before(history: History) -> CloseOf:
    return lambda day: None if (closes := history.around(day)) is None else closes[0]


def ex_close(history: History) -> CloseOf:
    return lambda day: None if (closes := history.around(day)) is None else closes[1]


def closes_of(history: History, made: Factors) -> pd.Series:
    prices = zip(history.days, history.prices["close"], strict=True)
    return pd.Series({day: float(adjusted(close, made.at(day).price, QUANTUM)) for day, close in prices})


def test_worked_example_of_the_dividend_multiplier() -> None:
    # The example that vendors give of their adjusted closes: a 2:1 split on the 18th, 0.08 in cash on the 19th.
    closes = {13: "46.99", 14: "48.30", 18: "24.96", 19: "24.53"}
    actions = [split(date(2003, 2, 18), 2), dividend(date(2003, 2, 19), "0.08")]
    made = factors(actions, "all", lambda _: Decimal("24.96"))
    shown = {
        day: adjusted(Decimal(close), made.at(date(2003, 2, day)).price, Decimal("0.01"))
        for day, close in closes.items()
    }
    assert shown == {13: Decimal("23.42"), 14: Decimal("24.07"), 18: Decimal("24.88"), 19: Decimal("24.53")}


@pytest.mark.parametrize(("adjustment", "price", "volume"), [("raw", 1, 1), ("split", "1/7", 7), ("all", "1/14", 7)])
def test_each_adjustment_takes_its_actions(adjustment: Adjustment, price: str, volume: int) -> None:
    actions = [split(date(2014, 6, 9), 7), dividend(date(2014, 8, 7), "45", "90")]
    before = factors(actions, adjustment).at(date(2014, 6, 8))
    assert (before.price, before.volume) == (Fraction(price), volume)


def test_the_ex_date_itself_is_not_adjusted_and_the_day_before_is() -> None:
    made = factors([split(date(2020, 8, 31), 4)], "split")
    assert [made.at(date(2020, 8, day)).price for day in (28, 30, 31)] == [Fraction(1, 4), Fraction(1, 4), 1]
    assert made.at(date(2030, 1, 1)).price == 1


def test_splits_are_exact_however_many() -> None:
    days = [date(2000 + year, 1, 3) for year in range(20)]
    made = factors([split(day, Fraction(3 + place % 5, 2)) for place, day in enumerate(days)], "split")
    first = made.at(date(1999, 1, 1))
    assert first.price * first.volume == 1
    assert adjusted(Decimal(first.volume.numerator), 1 / Fraction(first.volume.numerator), QUANTUM) == 1


def test_reverse_split_raises_the_price_and_lowers_the_volume() -> None:
    before = factors([split(date(2021, 8, 2), Fraction(1, 8))], "all").at(date(2021, 7, 30))
    assert (before.price, before.volume) == (8, Fraction(1, 8))


def test_wrong_actions_are_refused() -> None:
    for wrong in (lambda: split(date(2020, 1, 2), 0), lambda: dividend(date(2020, 1, 2), "-1")):
        with pytest.raises(InputError, match="2020-01-02"):
            wrong()
    with pytest.raises(InputError, match="dividend of 10 on a close of 10"):
        factors([dividend(date(2020, 1, 2), "10")], "all", lambda _: Decimal(10))


def test_dividend_without_a_bar_before_it_changes_nothing() -> None:
    assert factors([dividend(date(2020, 1, 2), "10")], "all").at(date(2019, 1, 1)).price == 1


@pytest.mark.parametrize(
    ("published", "ratio"), [("6.9999972", "7"), ("1.9999955", "2"), ("0.1000001", "1/10"), ("1.0027003", None)]
)
def test_published_ratios_become_whole_shares_where_they_were(published: str, ratio: str | None) -> None:
    given = Fraction(published)
    assert simplest_ratio(given, Fraction(1, 10**5)) == (given if ratio is None else Fraction(ratio))


def test_factors_of_quantconnect_are_met_within_their_rounding(lean: dict[str, History]) -> None:
    """332 published factors of five shares over 23 years; GOOG has none but its stock dividend."""
    table = pd.read_parquet(LEAN_FACTORS)
    off = {}
    for symbol, actions in read_actions(LEAN_FACTORS, "factors").items():
        made = factors(actions, "all", close_before(lean[symbol]))
        splits = factors(actions, "split")
        rows = table[table.symbol == symbol].itertuples()
        found = [(float(made.at(row.date).price / splits.at(row.date).price), row) for row in rows]
        off[symbol] = max(abs(price - row.price_factor) for price, row in found)
        assert max(abs(float(splits.at(row.date).price) - row.split_factor) for _, row in found) < ROUNDING
    assert max(off.values()) < 1.01 * ROUNDING, off


def test_dividends_behind_the_factors_are_the_declared_ones(lean: dict[str, History]) -> None:
    """Of two publishers: QuantConnect's factors, and the dividends that Quandl states for the same months."""
    (wiki,) = read_histories(DATA / "wiki_AAPL_adjusted.parquet")
    stated = {each.ex_date: each.amount for each in wiki.actions if each.kind == "dividend"}
    found = {each.ex_date: each.amount for each in read_actions(LEAN_FACTORS, "factors")["AAPL"]}
    shared = [day for day in stated if date(2012, 1, 1) < day]
    assert len(shared) == 6 and all(found[day] == stated[day] for day in shared)


@pytest.mark.parametrize(
    ("method", "close_of", "least", "most"),
    [("ex_close", ex_close, 0, 1e-8), ("close_before", close_before, 1.6e-4, 1.8e-4)],
)
def test_adjusted_closes_of_quandl(
    method: Reinvested, close_of: Callable[[History], CloseOf], least: float, most: float
) -> None:
    """8,336 days: equal to the last digit that we keep with its own formula, and up to 0.017 % off with the other one.

    What it knows of after 2013 is in all of its closes alike, and taken out.
    """
    path = DATA / "wiki_AAPL_adjusted.parquet"
    (history,) = read_histories(path)
    published = pd.read_parquet(path).set_index("date").adj_close
    ours = closes_of(history, factors(history.actions, "all", close_of(history), method))
    anchor = published.iloc[-1] / ours.iloc[-1]
    off = (published / (ours * anchor) - 1).abs().max()
    assert len(ours) == 8336 and least <= off < most, off


def test_adjusted_closes_of_yahoo(lean: dict[str, History]) -> None:
    """QuantConnect's raw AAPL with its actions against Yahoo's own closes, split by split and with dividends."""
    table = pd.read_parquet(DATA / "nasdaq9_2017_2023.parquet")
    yahoo = table[table.symbol == "AAPL"].set_index("date")
    actions = read_actions(LEAN_FACTORS, "factors")["AAPL"]
    splits = closes_of(lean["AAPL"], factors(actions, "split"))
    all_of = closes_of(lean["AAPL"], factors(actions, "all"))
    days = yahoo.index.intersection(splits.index)
    apart = (splits[days] - yahoo.close[days]).abs()
    anchor = yahoo.adj_close[days[-1]] / all_of[days[-1]]  # Yahoo's knows the dividends since
    total = (all_of[days] * anchor / yahoo.adj_close[days] - 1).abs()
    assert len(days) == 899
    # Half a cent: one day the two publishers differ, by seven cents.
    assert (apart < 0.0051).sum() == len(days) - 1 and apart.median() < 2e-6, apart.describe()
    assert total.quantile(0.99) < 1e-6 and total[apart < 0.0051].max() < 1e-4, total.describe()
