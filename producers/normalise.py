"""Recorded ticks to tick records: exact decimal text, condition marks, and each print at its effective time.

Pure: a frame in, a frame out. What a ruleset moves (an auction print that belongs to another minute) is moved
here and nowhere else, so that a bar needs no special case.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from core.auctions import AuctionSelector, Override
from core.rulesets import Ruleset, parse_mask
from producers.bulk import decimal_text

# Recorded column -> tick column; the first five must be there, the rest may be missing.
REQUIRED = ("symbol", "event_time", "seq", "price", "size")
OPTIONAL = ("trade_id", "exchange", "conditions", "suspicious")


def normalise(frame: pd.DataFrame, ruleset: Ruleset) -> pd.DataFrame:
    """Tick columns of recorded trades, sorted by effective (event_us, seq).

    `frame` has the columns of `REQUIRED`, `source` (what the ticks will be known by) and any of `OPTIONAL`;
    `event_time` is a UTC timestamp. It must hold whole trading days, since an auction is the first print of its day.
    The result has `reported_us` (nullable Int64) where the ruleset moved a print.
    """
    ticks = pd.DataFrame(
        {
            "symbol": frame["symbol"].to_numpy(object),
            "event_us": event_us(frame["event_time"]),
            "price": decimal_text(frame["price"]).to_numpy(),
            "size": decimal_text(frame["size"]).to_numpy(),
            "trade_id": text_of(frame, "trade_id"),
            "seq": frame["seq"].to_numpy(np.int64, copy=True),
            "source": frame["source"].to_numpy(object),
            "venue": text_of(frame, "exchange"),
            "conditions": text_of(frame, "conditions"),
            "kind": np.full(len(frame), "trade", dtype=object),
            "reported_us": pd.array([pd.NA] * len(frame), dtype="Int64"),
        }
    )
    masks = _masks(ticks["conditions"])
    marks = np.zeros(len(ticks), np.int64)
    if ruleset.suspicious and "suspicious" in frame:
        marks[frame["suspicious"].eq(True).fillna(False).to_numpy(bool)] |= ruleset.suspicious
    for row, override in _overrides(ticks, masks, ruleset).items():
        _move(ticks, row, override)
        marks[row] |= override.mark
    changed = np.flatnonzero(marks)
    ticks.loc[changed, "conditions"] = [f"{mask:x}" for mask in (masks | marks)[changed]]
    order = np.lexsort((ticks["source"], ticks["symbol"], ticks["seq"], ticks["event_us"]))
    return ticks.iloc[order].reset_index(drop=True)


def event_us(times: pd.Series) -> np.ndarray:
    """UTC timestamps as integer microseconds since the epoch."""
    return pd.to_datetime(times, utc=True, format="ISO8601").dt.as_unit("us").astype("int64").to_numpy(copy=True)


def text_of(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column as text with None for whatever is missing or empty; a whole float, 17.0, is "17"."""
    if column not in frame:
        return np.full(len(frame), None, dtype=object)
    values = frame[column].astype(object)
    present = values.notna() & (values != "")
    if pd.api.types.infer_dtype(values) not in ("string", "empty"):
        values = values.map(_text)
    return values.where(present, None).to_numpy(object)


def _text(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _masks(conditions: pd.Series) -> np.ndarray:
    codes, unique = pd.factorize(conditions)
    return np.array([*(parse_mask(text) for text in unique), 0], dtype=np.int64)[codes]


def _overrides(ticks: pd.DataFrame, masks: np.ndarray, ruleset: Ruleset) -> dict[int, Override]:
    """The auction prints by row, found by walking the candidates in reported order."""
    selector = AuctionSelector(ruleset)
    rows = np.flatnonzero(_per_distinct_mask(masks, selector.is_candidate))
    columns = ticks.iloc[rows]
    order = rows[np.lexsort((columns["seq"], columns["event_us"], columns["symbol"]))]
    found: dict[int, Override] = {}
    for row in order.tolist():
        tick = ticks.iloc[row]
        override = selector.select(
            tick["symbol"], tick["venue"], int(masks[row]), int(tick["event_us"]), int(tick["seq"])
        )
        if override is not None:
            found[row] = override
    return found


def _per_distinct_mask(masks: np.ndarray, rule: Callable[[int], bool]) -> np.ndarray:
    unique, inverse = np.unique(masks, return_inverse=True)
    return np.array([rule(int(mask)) for mask in unique], dtype=bool)[inverse]


def _move(ticks: pd.DataFrame, row: int, override: Override) -> None:
    ticks.loc[row, "reported_us"] = ticks.loc[row, "event_us"]
    ticks.loc[row, "event_us"] = override.event_us
    ticks.loc[row, "seq"] = override.seq
