"""Samples: the features of a closed bar beside what the price did in the bars after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import InputError
from core.indicators.base import Array
from core.indicators.batch import start_us
from core.intervals import DAY_US, SECOND_US
from core.sessions import ALWAYS_OPEN, session_ids
from ml.features import NAMES, Ints, features, ready, volatility

HORIZONS = (1, 5, 15)
"""Bars ahead."""
COLUMNS = ("open", "high", "low", "close", "volume")
_KEYS = ("symbol", "kind", "source")


@dataclass(frozen=True)
class Samples:
    """Of one horizon, in the order of time. All arrays have one row per sample.

    A sample is made at `known_us`, the end of its bar; its outcome is known at `outcome_us`, the end of the bar
    `horizon` bars later. Nothing that is tested between the two may have been trained on it.
    """

    horizon: int
    key: NDArray[np.object_]
    start_us: Ints
    known_us: Ints
    outcome_us: Ints
    features: Array
    """(samples, len(NAMES)); NaN where a feature has no value."""
    close: Array
    volatility: Array
    """The standard deviation of a bar's log return that was known at `known_us`."""
    target: Array
    """log(close at outcome_us / close at known_us)."""
    before: Array
    """The log return over the `horizon` bars up to `known_us`: what persistence predicts."""

    def __len__(self) -> int:
        return len(self.target)

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Samples":
        """The samples of some rows."""
        columns = {name: getattr(self, name)[rows] for name in self.__dataclass_fields__ if name != "horizon"}
        return Samples(horizon=self.horizon, **columns)


def read_bars(path: Path, interval: str | None = None) -> pd.DataFrame:
    """Bars of a Parquet file or a folder: symbol, start, open, high, low, close, volume; kind and source if there.

    `start` may be called bar_start or date. Of files with several intervals one must be named. Bars without prices are
    left out. Raises InputError with what is wrong.
    """
    if not path.exists():
        raise InputError(f"no such file: {path}")
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no Parquet file")
    frame = pd.concat([_read(file) for file in files], ignore_index=True)
    if "interval" in frame.columns:
        frame = _of_interval(frame, interval, path)
    bars = frame.dropna(subset=["open", "high", "low", "close"])
    positive = (bars[["open", "high", "low", "close"]] > 0).all(axis=1)
    return bars[positive].sort_values([*_present(bars), "start"], kind="stable").reset_index(drop=True)


def _read(file: Path) -> pd.DataFrame:
    # Not the dataset reader: it would take folders such as date=… for columns.
    frame = pq.ParquetFile(file).read().to_pandas()
    for other in ("bar_start", "date"):
        if "start" not in frame.columns and other in frame.columns:
            frame = frame.rename(columns={other: "start"})
    missing = [name for name in ("symbol", "start", *COLUMNS) if name not in frame.columns]
    if missing:
        raise InputError(f"{file} lacks {', '.join(missing)}: bars are what is asked for")
    if not pd.api.types.is_integer_dtype(frame["start"].dtype):
        frame["start"] = pd.to_datetime(frame["start"], utc=True).astype("datetime64[us, UTC]")
    for name in COLUMNS:
        frame[name] = frame[name].astype(np.float64)
    if "notional" in frame.columns:
        frame["notional"] = frame["notional"].astype(np.float64)
    more = ("notional", "interval", "kind", "source")
    return frame[["symbol", "start", *COLUMNS, *(name for name in more if name in frame.columns)]]


def whole_sessions(bars: pd.DataFrame, count: int, calendar: str) -> pd.DataFrame:
    """The last `count` bars of each symbol without the session that they begin in, of which there are more.

    What counts from a session's open would be another figure there than it was at the time. A symbol with fewer bars
    has all of its own, and one that would keep less than half of them stays as it is.
    """
    session = session_ids(start_us(bars), calendar)
    of_symbol = bars.groupby("symbol", sort=False)["start"]
    cut = (of_symbol.transform("size") >= count).to_numpy()
    begun = pd.Series(session).groupby(bars["symbol"].to_numpy()).transform("min").to_numpy()
    kept = ~cut | (session != begun)
    share = pd.Series(kept).groupby(bars["symbol"].to_numpy()).transform("mean").to_numpy()
    return bars[kept | (share < 0.5)].reset_index(drop=True)


def _of_interval(frame: pd.DataFrame, interval: str | None, path: Path) -> pd.DataFrame:
    known = sorted(frame["interval"].dropna().unique())
    if interval is None and len(known) > 1:
        raise InputError(f"{path} has bars of {', '.join(known)}: choose one with --interval")
    chosen = interval or (known[0] if known else None)
    if chosen is not None and chosen not in known:
        raise InputError(f"{path} has no bars of {chosen}; it has {', '.join(known) or 'none'}")
    return frame[frame["interval"] == chosen].drop(columns="interval")


def _present(bars: pd.DataFrame) -> list[str]:
    return [name for name in _KEYS if name in bars.columns]


def keys_of(bars: pd.DataFrame) -> pd.Series:
    """What a history of its own is called: the symbol, with kind and source where the bars have them."""
    key = bars["symbol"].astype(str)
    for name in _present(bars)[1:]:
        if bars[name].nunique() > 1:
            key = key + " " + bars[name].astype(str)
    return key


def histories(bars: pd.DataFrame) -> pd.DataFrame:
    """What features are made of, each history under a `symbol` of its own; rows numbered from 0."""
    more = ["notional"] if "notional" in bars.columns else []
    return bars.assign(symbol=keys_of(bars))[["symbol", "start", *COLUMNS, *more]].reset_index(drop=True)


def step_us(bars: pd.DataFrame) -> int:
    """The usual distance of two bars of a key, in microseconds: how long a bar is.

    Raises InputError for too few bars.
    """
    keys, start = keys_of(bars).to_numpy(), start_us(bars)
    order = np.lexsort((start, keys.astype(str)))
    distances = np.diff(start[order])[keys[order][1:] == keys[order][:-1]]
    distances = distances[distances > 0]
    if not len(distances):
        raise InputError("too few bars: a history needs two at least")
    values, counts = np.unique(distances, return_counts=True)
    return int(values[counts.argmax()])


def check_interval(bars: pd.DataFrame, interval: str) -> None:
    """Raise InputError where bars are not as long as an interval such as `5m` or `1d` says, or too few to tell."""
    try:
        length_us = pd.Timedelta(interval) // pd.Timedelta(microseconds=1)
    except ValueError:
        raise InputError(f"--interval: a length such as 1m or 1d, not {interval}") from None
    found_us = step_us(bars)
    if found_us != length_us:
        raise InputError(f"the bars are of {found_us / SECOND_US:g} seconds, not of {interval}: give their --interval")


def samples(bars: pd.DataFrame, horizon: int, calendar: str = ALWAYS_OPEN) -> Samples:
    """The samples of one horizon, in the order of `known_us`."""
    return every_horizon(bars, calendar, (horizon,))[horizon]


def every_horizon(
    bars: pd.DataFrame, calendar: str = ALWAYS_OPEN, horizons: Sequence[int] = HORIZONS
) -> dict[int, Samples]:
    """The samples of each horizon, of features that are computed once.

    A bar is left out until its features are ready, where the outcome is not known yet, and, of bars shorter than a
    day, where the outcome lies in another session: nobody can trade at 15:59 on what opens tomorrow as if it were the
    next minute.
    """
    bar_us, bars = step_us(bars), histories(bars)
    found = features(bars, calendar)[list(NAMES)].to_numpy()
    return {horizon: _samples(bars, found, horizon, calendar, bar_us) for horizon in horizons}


def _samples(bars: pd.DataFrame, found: Array, horizon: int, calendar: str, bar_us: int) -> Samples:
    key, start, close = bars["symbol"].to_numpy(), start_us(bars), bars["close"].to_numpy()
    ahead, behind = _shifted(key, start, horizon), _shifted(key, start, -horizon)
    good = ready(found) & (ahead >= 0) & (behind >= 0)
    if bar_us < DAY_US:
        session = session_ids(start, calendar)
        good &= session == session[ahead]
    rows = np.flatnonzero(good)
    rows = rows[np.lexsort((key[rows].astype(str), start[rows]))]
    return Samples(
        horizon=horizon,
        key=key[rows],
        start_us=start[rows],
        known_us=start[rows] + bar_us,
        outcome_us=start[ahead[rows]] + bar_us,
        features=found[rows],
        close=close[rows],
        volatility=volatility(found[rows]),
        target=np.log(close[ahead[rows]] / close[rows]),
        before=np.log(close[rows] / close[behind[rows]]),
    )


def _shifted(key: NDArray[np.object_], start: Ints, by: int) -> Ints:
    """Of each bar the row of the bar of its key that many bars later, -1 where there is none."""
    order = np.lexsort((start, key.astype(str)))
    found = np.full(len(start), -1, np.int64)
    step = abs(by)
    earlier, later = order[:-step], order[step:]
    same = key[earlier] == key[later]
    source, other = (earlier, later) if by > 0 else (later, earlier)
    found[source[same]] = other[same]
    return found
