"""A small session full of what bar rules get wrong: edges, ties, auctions, odd conditions, trades of size zero.

Laid out as a recorded day of the US tape; made up, and the same for the same seed.
"""

import numpy as np
import pandas as pd

MINUTE_US = 60_000_000
OPEN_US = 1_381_152_600_000_000  # 2013-10-07 09:30 in New York
CLOSE_US = OPEN_US + 390 * MINUTE_US
_CONDITIONS = ("1", "1", "1", "20000001", "20", "20000020", "100000", "20100000", "1000000", "40", "80", "2000")


def sample_day(count: int = 1_500, seed: int = 0) -> pd.DataFrame:
    """So many trades of two symbols around the open and the close, with `source`, as `read_days` gives them."""
    rng = np.random.default_rng(seed)
    frames = [_symbol(name, count // 2, rng) for name in ("IBM", "SPY")]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(event_time=pd.to_datetime(frame["event_us"], unit="us", utc=True)).drop(columns="event_us")


def _symbol(name: str, count: int, rng: np.random.Generator) -> pd.DataFrame:
    first = rng.integers(OPEN_US - 3 * MINUTE_US, OPEN_US + 18 * MINUTE_US, count // 2)
    last = rng.integers(CLOSE_US - 17 * MINUTE_US, CLOSE_US + 4 * MINUTE_US, count - count // 2)
    event_us = np.concatenate([first, last]) // 1_000 * 1_000
    tied = rng.random(count) < 0.3
    event_us[tied] -= event_us[tied] % 20_000_000  # many at one moment, some at the edge of a minute
    event_us.sort()
    walk = 180 + np.cumsum(rng.integers(-9, 10, count)) / 100
    frame = pd.DataFrame(
        {
            "symbol": name,
            "event_us": event_us,
            "seq": np.arange(count),
            "price": np.round(walk + rng.choice([0, 0, 0.0037, 0.5], count), 4),
            "size": rng.choice([0.0, 1.0, 100.0, 300.0, 12_345.678], count),
            "exchange": rng.choice(["N", "P", "D"], count),
            "conditions": rng.choice(_CONDITIONS, count),
            "suspicious": rng.random(count) < 0.02,
            "source": f"replay:{name}",
        }
    )
    return _with_auctions(frame, "P" if name == "SPY" else "N")


def _with_auctions(frame: pd.DataFrame, primary: str) -> pd.DataFrame:
    """The official open and close: the close is reported minutes after the bell."""
    after_open = int(np.searchsorted(frame["event_us"], OPEN_US + 5_000_000))
    after_close = int(np.searchsorted(frame["event_us"], CLOSE_US + 90_000_000))
    for row, mask, price in ((after_open, "40", 171.25), (after_close, "80", 191.75)):
        at = frame.index[row]
        frame.loc[at, ["exchange", "conditions", "price", "size", "suspicious"]] = primary, mask, price, 5_000.0, False
    before = (frame["event_us"] < frame.loc[frame.index[after_open], "event_us"]) & frame["conditions"].eq("40")
    early = (frame["event_us"] < frame.loc[frame.index[after_close], "event_us"]) & frame["conditions"].eq("80")
    frame.loc[before | early, "conditions"] = "1"
    return frame
