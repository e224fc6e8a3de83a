"""A session with late, wrong and bogus trades, and what the feed said of them afterwards.

Once all of it is known the session is the clean one again.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

LATE, CORRECTED, BOGUS = 0.002, 0.002, 0.002
_APART = 1 << 31  # added to a bogus trade's seq, so that it is nobody else's


@dataclass(frozen=True)
class Disturbed:
    """Ticks as they came in time, and what came behind the watermark: late trades, corrections and cancels.

    `received_us` belongs to `evening`. `counts` says how many trades are late, corrected, cancelled.
    """

    timely: pd.DataFrame
    evening: pd.DataFrame
    received_us: np.ndarray
    counts: dict[str, int]


def disturbed(ticks: pd.DataFrame, seed: int) -> Disturbed:
    """Of a frame of ticks that all have ids; some trades of each kind where there are any."""
    rng = np.random.default_rng(seed)
    chance = rng.random(len(ticks))
    # A small session has some of each all the same.
    some = rng.permutation(len(ticks))[:9]
    chance[some] = np.resize([LATE / 2, LATE + CORRECTED / 2, LATE + CORRECTED + BOGUS / 2], len(some))
    late = chance < LATE
    wrong = (chance >= LATE) & (chance < LATE + CORRECTED)
    beside = (chance >= LATE + CORRECTED) & (chance < LATE + CORRECTED + BOGUS)
    timely = ticks.copy()
    timely.loc[timely.index[wrong], ["price", "size"]] = "1", "77777"
    bogus = ticks[beside].copy()
    bogus["trade_id"] = "bogus-" + bogus["trade_id"].astype(str)
    bogus[["price", "conditions"]] = "9999", None  # as plain a trade as any
    bogus["seq"] += _APART
    corrections = ticks[wrong].assign(kind="correct")
    cancels = bogus.assign(kind="cancel", price=None, size=None)
    evening = pd.concat([ticks[late], corrections, cancels], ignore_index=True)
    evening = evening.iloc[rng.permutation(len(evening))].reset_index(drop=True)
    last_us = int(ticks["event_us"].max())
    received_us = last_us + 1 + np.arange(len(evening))
    evening.loc[evening["kind"] != "trade", "event_us"] = last_us
    timely = pd.concat([timely[~late], bogus]).sort_values(["event_us", "seq"], ignore_index=True)
    counts = {"late": int(late.sum()), "corrected": int(wrong.sum()), "cancelled": int(beside.sum())}
    return Disturbed(timely, evening, received_us, counts)
