"""Draw the README's picture: an hour of 1-minute bars as the running API gives them, the published closes on top.

make up FEED=replay DATA=../shared/data/us_equity_2013 SPEED=max      # in another terminal
.venv/bin/python -m benchmarks.picture http://127.0.0.1:8000 ../shared/data/us_equity_2013
"""

import json
import sys
import urllib.request
from pathlib import Path

import matplotlib as mpl
import pandas as pd

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt

SYMBOL, START, END = "SPY", "2013-10-07T13:30:00Z", "2013-10-07T15:00:00Z"
MINUTE = 1 / 1440
TARGET = Path(__file__).parents[1] / "docs/images/replay.png"


def main(api: str, data: str) -> None:
    bars = _ours(api)
    published = _published(Path(data))
    price, volume = _panes()
    up = bars["close"] >= bars["open"]
    for rising, colour in ((True, "#2a9d8f"), (False, "#e76f51")):
        part = bars[up == rising]
        price.vlines(part["at"], part["low"], part["high"], color=colour, linewidth=0.9)
        low, high = part[["open", "close"]].min(axis=1), part[["open", "close"]].max(axis=1)
        price.bar(part["at"], (high - low).clip(lower=0.004), MINUTE * 0.65, bottom=low, color=colour)
        volume.bar(part["at"], part["volume"] / 1000, MINUTE * 0.65, color=colour)
    price.plot(bars["at"], bars["vwap"], color="#264653", linewidth=1, label="VWAP of the bar")
    price.plot(published["at"], published["close"], "k.", markersize=3.5, label="published close")
    equal = bars.set_index("at")["close"].eq(published.set_index("at")["close"]).sum()
    price.set_title(
        f"{SYMBOL}, 1-minute bars from replayed ticks: {equal} of {len(published)} closes equal the published"
    )
    price.legend(frameon=False)
    plt.savefig(TARGET, dpi=110, bbox_inches="tight")


def _ours(api: str) -> pd.DataFrame:
    query = f"{api}/api/v1/bars/{SYMBOL}?interval=1m&start={START}&end={END}&limit=1000&numeric=float"
    with urllib.request.urlopen(query) as answer:
        bars = pd.DataFrame(json.load(answer)["bars"])
    return bars.assign(at=mdates.date2num(pd.to_datetime(bars["start"])))


def _published(data: Path) -> pd.DataFrame:
    bars = pd.read_parquet(data / "bars_1m" / f"{SYMBOL}.parquet")
    within = bars[(bars["bar_start"] >= START) & (bars["bar_start"] < END)]
    return within.assign(at=mdates.date2num(within["bar_start"]))


def _panes() -> tuple[plt.Axes, plt.Axes]:
    _, (price, volume) = plt.subplots(
        2, 1, figsize=(11, 6), sharex=True, gridspec_kw={"height_ratios": [3, 1], "hspace": 0.06}
    )
    price.set_ylabel("price, USD")
    volume.set_ylabel("volume, thousand shares")
    volume.set_xlabel("7 October 2013, UTC")
    volume.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    for pane in (price, volume):
        pane.grid(alpha=0.25)
        pane.spines[["top", "right"]].set_visible(False)
    return price, volume


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
