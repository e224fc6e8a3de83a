"""What the notebooks look at: recorded ticks and bars, or simulated ones where none are recorded."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core import rulesets
from core.bars import fold_bars
from core.frames import bars_frame
from core.intervals import INTERVALS, MINUTE_US, SECOND_US
from core.rulesets import Ruleset
from notebooks.places import data_folder
from producers.frames import simulated_frame, ticks_of
from producers.normalise import normalise
from producers.reading import find_files, read_days
from producers.simulator import SimulatorConfig

SIMULATED_US = 1_709_562_600_000_000  # 2024-03-04T14:30:00Z
SIMULATED_SECONDS = 3600.0


@dataclass(frozen=True)
class Day:
    """A day of one symbol's tape.

    `recorded` is what stands in the file, as `normalise` takes it; `ticks` what comes out of it under `ruleset`.
    `published` are somebody else's 1-minute bars of the same ticks (symbol, start, open, high, low, close, volume),
    None where there are none.
    """

    label: str
    ruleset: Ruleset
    recorded: pd.DataFrame
    ticks: pd.DataFrame
    published: pd.DataFrame | None


def recorded_day(symbol: str = "IBM", day: str = "2013-10-07") -> Day:
    """A day of the US tape with sale conditions; without recorded data 60 simulated minutes without any."""
    folder = data_folder()
    if folder is None:
        return _simulated_day(symbol)
    ruleset = rulesets.load("us-equity")
    files = find_files([folder / "us_equity_2013" / "ticks" / f"{symbol}_{day}.parquet"])
    recorded = pd.concat([rows for _, rows in read_days(files, "America/New_York")], ignore_index=True)
    bars = published_bars(folder / "us_equity_2013" / "bars_1m" / f"{symbol}.parquet")
    of_day = bars["start"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d") == day
    label = f"{symbol}, {day}, US consolidated tape"
    return Day(label, ruleset, recorded, normalise(recorded, ruleset), bars[of_day].reset_index(drop=True))


def published_bars(path: Path) -> pd.DataFrame:
    """Minute bars that others published: symbol, start (UTC), open, high, low, close, volume."""
    bars = pd.read_parquet(path).rename(columns={"bar_start": "start"})
    return bars[["symbol", "start", "open", "high", "low", "close", "volume"]]


def minute_bars(symbol: str = "IBM") -> tuple[pd.DataFrame, str]:
    """Three days of published minute bars, pre-market to post-market, and what they are; else simulated ones."""
    folder = data_folder()
    if folder is not None:
        bars = published_bars(folder / "us_equity_2013" / "bars_1m" / f"{symbol}.parquet")
        return bars, f"{symbol}, 7 to 9 October 2013, 1-minute bars"
    day = _simulated_day(symbol)
    folded = fold_bars([(tick, None, None) for tick in ticks_of(day.ticks)], [INTERVALS["1m"]], day.ruleset)
    return bars_frame(folded), f"{day.label}, 1-minute bars"


def daily_bars(symbol: str = "MSFT") -> tuple[pd.DataFrame, str]:
    """Years of daily bars, split-adjusted, `start` midnight UTC of the day, and what they are; else a random walk."""
    folder = data_folder()
    if folder is None:
        return random_walk(1500, "1D"), "a random walk, no recorded data here"
    bars = pd.read_parquet(folder / "daily" / "nasdaq9_2017_2023.parquet")
    bars = bars[bars["symbol"] == symbol].assign(start=lambda rows: pd.to_datetime(rows["date"], utc=True))
    chosen = bars[["symbol", "start", "open", "high", "low", "close", "volume"]].sort_values("start")
    return chosen.reset_index(drop=True), f"{symbol}, daily, split-adjusted, September 2017 to September 2023"


def random_walk(bars: int, step: str = "1min", seed: int = 7) -> pd.DataFrame:
    """Bars of a geometric random walk from 100 on, 1 % a bar, beginning 2020-01-01T00:00Z."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    open_ = np.concatenate([[100.0], close[:-1]])
    spread = np.abs(rng.normal(0, 0.004, (2, bars)))
    high, low = np.maximum(open_, close) * (1 + spread[0]), np.minimum(open_, close) * (1 - spread[1])
    start = pd.date_range("2020-01-01", periods=bars, freq=step, tz="UTC").as_unit("us")
    volume = rng.integers(100, 10_000, bars).astype(float)
    prices = {"open": open_, "high": high, "low": low, "close": close}
    return pd.DataFrame({"symbol": "WALK", "start": start, **prices, "volume": volume})


def arrival_us(ticks: pd.DataFrame, seed: int = 1) -> np.ndarray:
    """When each tick might have arrived: recordings of the tape carry no receive time.

    A delay from a log-normal law after the report, median 20 ms; one print in two hundred is up to 10 s late, as
    reporting rules allow. Microseconds since the epoch.
    """
    rng = np.random.default_rng(seed)
    delay = rng.lognormal(np.log(20_000), 0.8, len(ticks))
    slow = rng.random(len(ticks)) < 0.005
    delay[slow] = rng.uniform(SECOND_US, 10 * SECOND_US, int(slow.sum()))
    reported = ticks["received_us"] if "received_us" in ticks else ticks["reported_us"].fillna(ticks["event_us"])
    return reported.to_numpy(np.int64) + delay.astype(np.int64)


def may_touch(ticks: pd.DataFrame, ruleset: Ruleset, field: str) -> np.ndarray:
    """Which ticks may touch a field of their bar: `open_close`, `high_low` or `volume`."""
    pairs = zip(ticks["conditions"], ticks["event_us"].tolist(), strict=True)
    return np.array([field in ruleset.touches(text, at) for text, at in pairs], bool)


def minute_of(us: pd.Series) -> pd.Series:
    """The UTC start of the 1-minute bar that a moment in microseconds belongs to."""
    return pd.to_datetime(us // MINUTE_US * MINUTE_US, unit="us", utc=True).dt.as_unit("us")


@functools.cache
def _simulated_day(symbol: str) -> Day:
    config = SimulatorConfig((symbol,), rate=5.0, seconds=SIMULATED_SECONDS, seed=3, start_us=SIMULATED_US, late=0.0005)
    ticks = simulated_frame(config)
    recorded = pd.DataFrame(
        {
            "symbol": symbol,
            "event_time": pd.to_datetime(ticks["event_us"], unit="us", utc=True),
            "seq": ticks["seq"],
            "price": ticks["price"].astype(float),
            "size": ticks["size"].astype(float),
            "trade_id": ticks["trade_id"],
            "source": ticks["source"],
        }
    )
    label = f"{symbol}, 60 simulated minutes (no recorded data here)"
    return Day(label, rulesets.load("all"), recorded, ticks, None)
