"""What the chart page holds, read from the chart component itself, and how it is moved."""

import itertools
import json
from typing import Any

from core.records import Bar
from tests.browser import Screen, until

LOADED = (
    "Boolean(window.tickstreamChart?.shown?.()?.model.rows.length) && document.querySelector('#chart canvas') !== null"
)
AMENDED = 2  # the state of a row, as dashboard/figures/candles.py counts them
SEARCH = ".dash-dropdown-search"
_numbers = itertools.count(1)
Candle = dict[str, float]


def loaded(shown: Screen, symbol: str, interval: str = "1m") -> None:
    """Wait until the chart shows bars of just this."""
    names = json.dumps({"symbol": symbol, "interval": interval})
    shown.until(f"{LOADED} && JSON.stringify(tickstreamChart.shown().names) === JSON.stringify({names})", names)
    until(lambda: rows(shown) and candle(shown, rows(shown)[-1]["time"]) is not None, "the newest candle")


def rows(shown: Screen) -> list[dict[str, Any]]:
    """Time, in epoch seconds, state and close of every slot."""
    script = "(tickstreamChart.shown()?.model.rows ?? []).map(({time, state, close}) => ({time, state, close}))"
    found: list[dict[str, Any]] = shown.page.evaluate(script)
    return found


def candle(shown: Screen, start: int) -> Candle | None:
    """The candle that starts then, in epoch seconds, as one of the two series of the component has it, else None."""
    place = shown.page.evaluate(f"tickstreamChart.shown()?.model.places.get({start}) ?? null")
    found = [] if place is None else [_point(shown, series, place) for series in ("price:live", "price")]
    return next((point for point in found if point and point["time"] == start and "close" in point), None)


def _point(shown: Screen, series: str, place: int) -> Candle | None:
    asked = {"action": "dataByIndex", "seriesId": series, "logicalIndex": place, "nonce": next(_numbers)}
    shown.page.evaluate("(asked) => dash_clientside.set_props('chart', {dataResult: null, dataAction: asked})", asked)
    answer = until(lambda: shown.prop("chart", "dataResult"), "the component answers")
    point: Candle | None = answer.get("data")
    return point


def shows(shown: Screen, bar: Bar, what: str = "") -> None:
    """Wait until the component has this bar as its candle."""
    wanted = {name: float(getattr(bar, name)) for name in ("open", "high", "low", "close")}

    def held() -> bool:
        found = candle(shown, bar.start // 1_000_000)
        return found is not None and {name: found[name] for name in wanted} == wanted

    until(held, what or f"the candle is {wanted}")


def visible(shown: Screen) -> tuple[float, float]:
    """What the component says is visible, in bars from the first one that is loaded."""
    found = until(lambda: shown.prop("chart", "visibleLogicalRange"), "a visible range")
    return found["from"], found["to"]


def span(shown: Screen) -> tuple[float, float]:
    """The same in epoch seconds, fractions of bars included: what stays put when older bars come in front."""
    script = "tickstreamChart.shown().model.rows[0].time"
    first, (start, end) = shown.page.evaluate(script), visible(shown)
    return first + start * 60, first + end * 60


def pick(shown: Screen, symbol: str) -> None:
    """Choose a symbol by its first letters in the open list."""
    shown.page.fill(SEARCH, symbol[:3])
    shown.page.locator(f".dash-dropdown-option:has-text('{symbol}')").wait_for(state="visible")
    shown.page.keyboard.press("Enter")


def middle(shown: Screen) -> tuple[float, float]:
    """A point on the price pane."""
    box = shown.page.locator("#chart").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 4


def wheel(shown: Screen, down: float, times: int = 1) -> None:
    """Turn the wheel over the price pane: negative zooms in."""
    shown.page.mouse.move(*middle(shown))
    for _ in range(times):
        shown.page.mouse.wheel(0, down)


def drag(shown: Screen, right: float) -> None:
    """Drag the price pane by so many pixels."""
    x, y = middle(shown)
    shown.page.mouse.move(x, y)
    shown.page.mouse.down()
    shown.page.mouse.move(x + right, y, steps=8)
    shown.page.mouse.up()
