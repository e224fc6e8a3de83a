"""Frames of ticks, in the columns of `producers.normalise.normalise`, for looking at them one by one."""

import numpy as np
import pandas as pd

from core.records import Tick
from producers.bulk import decimal_text
from producers.market import PRICE_SCALE, SIZE_SCALE
from producers.simulator import SOURCE, VENUE, SimulatorConfig, blocks

_NUMBERS = ("event_us", "seq", "reported_us", "received_us")


def ticks_of(frame: pd.DataFrame) -> list[Tick]:
    """The ticks of a frame, in its order.

    Received when the column `received_us` says, else when they were reported: what a recording without receive
    times knows.
    """
    reported = frame["reported_us"].astype("Int64").fillna(frame["event_us"])
    filled = frame if "received_us" in frame else frame.assign(received_us=reported)
    rows = filled.astype(object).where(filled.notna(), None).to_dict("records")
    return [Tick(**{name: _plain(name, value) for name, value in row.items()}) for row in rows]


def simulated_frame(config: SimulatorConfig) -> pd.DataFrame:
    """The trades of a simulated run by (event_us, seq), each once, with `received_us`: when each was sent."""
    columns = [
        (block.due_us, block.lag_us, block.trades.symbol, block.trades.price, block.trades.size)
        for block in blocks(config)
    ]
    due_us, lag_us, symbol, price, size = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    numbers = np.arange(len(due_us))
    frame = pd.DataFrame(
        {
            "symbol": np.array(config.symbols, object)[symbol],
            "event_us": config.start_us + due_us - lag_us,
            "price": decimal_text(pd.Series(price / PRICE_SCALE)),
            "size": decimal_text(pd.Series(size / SIZE_SCALE)),
            "trade_id": [f"{config.run}-{number}" for number in numbers],
            "seq": numbers,
            "source": SOURCE,
            "venue": VENUE,
            "conditions": None,
            "kind": "trade",
            "reported_us": pd.array([pd.NA] * len(numbers), dtype="Int64"),
            "received_us": config.start_us + due_us,
        }
    )
    return frame.sort_values(["event_us", "seq"], ignore_index=True)


def _plain(name: str, value: object) -> object:
    return int(value) if name in _NUMBERS and value is not None else value
