"""Bars as a pandas frame, for people who look at them."""

from collections.abc import Iterable

import pandas as pd  # type: ignore[import-untyped]

from core.records import BAR_COLUMNS, Bar

TIMES = ("start", "end", "open_us", "close_us", "received_us", "processed_us")
AMOUNTS = ("open", "high", "low", "close", "volume", "notional", "vwap")


def bars_frame(bars: Iterable[Bar], *, exact: bool = False) -> pd.DataFrame:
    """One row per bar in the order given, the columns of a bar.

    Times are UTC timestamps: `open_us` becomes `open_at`, and so on. Amounts are doubles, NaN for none; `exact` leaves
    them decimals.
    """
    rows = [[getattr(bar, name) for name in BAR_COLUMNS] for bar in bars]
    frame = pd.DataFrame(rows, columns=list(BAR_COLUMNS))
    for name in TIMES:
        frame[name] = pd.to_datetime(frame[name].astype("Int64"), unit="us", utc=True).dt.as_unit("us")
    if not exact:
        frame[list(AMOUNTS)] = frame[list(AMOUNTS)].astype("float64")
    return frame.rename(columns={name: f"{name.removesuffix('_us')}_at" for name in TIMES if name.endswith("_us")})
