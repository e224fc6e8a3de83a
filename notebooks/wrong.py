"""Seven ways to make wrong bars that are seen in the wild, so that a notebook can show what each does to the numbers.

A way is a function of a day and the right bars: 1-minute bars with symbol, start, open, high, low, close, volume.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from core import rulesets
from core.bars import fold_bars
from core.frames import bars_frame
from core.intervals import INTERVALS
from core.rulesets import Ruleset
from notebooks.tape import Day, arrival_us, may_touch, minute_of
from producers.frames import ticks_of
from producers.normalise import normalise

MINUTE = pd.Timedelta(minutes=1)
REPEATED = 0.01


def minute_bars(ticks: pd.DataFrame, ruleset: Ruleset) -> pd.DataFrame:
    """The right 1-minute bars of these ticks."""
    return bars_frame(fold_bars([(tick, None, None) for tick in ticks_of(ticks)], [INTERVALS["1m"]], ruleset))


def every_print_counts(day: Day, _: pd.DataFrame) -> pd.DataFrame:
    """No ruleset: every print sets prices, and the official repeats of an auction count again."""
    everything = rulesets.load("all")
    return minute_bars(normalise(day.recorded, everything), everything)


def no_auctions(day: Day, _: pd.DataFrame) -> pd.DataFrame:
    """The ruleset without the auctions: prints stay where they were reported, so the open and the close are missed."""
    return minute_bars(normalise(day.recorded, rulesets.load("all")), day.ruleset)


def by_arrival(day: Day, right: pd.DataFrame) -> pd.DataFrame:
    """First and last by the order in which ticks came in, as `first` and `last` of a shuffled engine are."""
    arrived = day.ticks.iloc[np.argsort(arrival_us(day.ticks), kind="stable")]
    setting = may_touch(arrived, day.ruleset, "open_close")
    timed = arrived.assign(price=arrived["price"].astype(float), start=minute_of(arrived["event_us"]))[setting]
    ends = timed.groupby("start")["price"].agg(open="first", close="last").reset_index()
    return right.drop(columns=["open", "close"]).merge(ends, "left", "start")


def by_wall_clock(day: Day, _: pd.DataFrame) -> pd.DataFrame:
    """A trade belongs to the minute in which it came in."""
    return minute_bars(day.ticks.assign(event_us=arrival_us(day.ticks)), day.ruleset)


def labelled_by_end(_: Day, right: pd.DataFrame) -> pd.DataFrame:
    """The right bars, labelled by their end, and taken for labels of the start."""
    return right.assign(start=right["start"] + MINUTE)


def closed_on_the_right(day: Day, _: pd.DataFrame) -> pd.DataFrame:
    """`(start, end]`: a trade on the stroke of a minute counts to the minute before."""
    return minute_bars(day.ticks.assign(event_us=day.ticks["event_us"] - 1), day.ruleset)


def added_again(day: Day, right: pd.DataFrame) -> pd.DataFrame:
    """One print in a hundred is sent twice, and the second one is added to the volume."""
    twice = day.ticks.sample(frac=REPEATED, random_state=1)
    counting = may_touch(twice, day.ruleset, "volume")
    sizes = twice.assign(start=minute_of(twice["event_us"]), size=twice["size"].astype(float))[counting]
    added = sizes.groupby("start")["size"].sum()
    return right.assign(volume=right["volume"] + right["start"].map(added).fillna(0.0))


WAYS: dict[str, Callable[[Day, pd.DataFrame], pd.DataFrame]] = {
    "every print counts": every_print_counts,
    "auctions where they were reported": no_auctions,
    "open and close by arrival": by_arrival,
    "minutes of the wall clock": by_wall_clock,
    "(start, end] instead of [start, end)": closed_on_the_right,
    "labelled by the end": labelled_by_end,
    "repeats added again": added_again,
}


def mean_price(day: Day) -> pd.Series:
    """The plain mean of the prices of each minute, which is no VWAP; start -> price."""
    counting = may_touch(day.ticks, day.ruleset, "volume")
    prices = day.ticks["price"].astype(float)[counting]
    return prices.groupby(minute_of(day.ticks["event_us"][counting])).mean()
