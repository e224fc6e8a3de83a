"""Rules on the volume of a bar."""

import numpy as np

from core.anomalies.base import Limits, Moment, Rule, column
from core.indicators.base import Array
from core.intervals import MINUTE_US

PART_MINUTES = 15


def _by_time_of_day(moment: Moment, _: Limits) -> Array:
    """The ratio, once an earlier session had this part of the day: as many bars as a part can have, and one."""
    seen_us = moment.values["todvol_15_75_known"] * moment.interval_us
    return np.where(seen_us >= PART_MINUTES * MINUTE_US, moment.values["todvol_15_75"], np.nan)


RULES = (
    Rule(
        name="volume_spike",
        means="the volume is more than so many times the mean of the 20 bars before",
        indicators="relvol:20",
        measure=column("relvol_20"),
        limit="volume_ratio",
        needs="volume",
        worst="warning",
        text="{symbol} {interval} traded {value} times the mean volume of the 20 bars before: more than {limit} times",
        over="{symbol} {interval} traded {value} times the mean volume of the 20 bars before: no more than {limit} "
        "times",
    ),
    Rule(
        name="volume_profile",
        means="the volume is more than so many times what is usual in this quarter of an hour of the session",
        indicators=f"todvol:{PART_MINUTES},75",
        measure=_by_time_of_day,
        limit="profile_ratio",
        needs="volume",
        again=False,
        worst="warning",
        text="{symbol} {interval} traded {value} times the volume that is usual at this time of the session: "
        "more than {limit} times",
        over="{symbol} {interval} traded {value} times the volume that is usual at this time of the session: "
        "no more than {limit} times",
    ),
)
