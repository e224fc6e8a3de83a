"""The pages: one file each, and the one table of them.

A page's module has `layout(query) -> Component`, called on every visit with the query of the URL (the first value of
each name), and `register(app, client)`, called once, which adds the page's callbacks. Ids begin with the page's name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dash import Dash
from dash.development.base_component import Component

from dashboard.client import ApiClient
from dashboard.pages import alerts, chart, market, pipeline, predictions, quality

Query = Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """A page of the navigation bar."""

    name: str
    path: str
    title: str
    layout: Callable[[dict[str, str]], Component]
    register: Callable[[Dash, ApiClient], None]


PAGES: dict[str, Page] = {
    page.name: page
    for page in (
        Page("chart", "/", "Chart", chart.layout, chart.register),
        Page("market", "/market", "Market", market.layout, market.register),
        Page("pipeline", "/pipeline", "Pipeline", pipeline.layout, pipeline.register),
        Page("quality", "/quality", "Data quality", quality.layout, quality.register),
        Page("predictions", "/predictions", "Predictions", predictions.layout, predictions.register),
        Page("alerts", "/alerts", "Alerts", alerts.layout, alerts.register),
    )
}


def page_keys(names: Iterable[str]) -> dict[str, str]:
    """What is pressed after `g` for each page, in the order of the bar: the first letter that no page before it has.

    >>> page_keys(["chart", "pipeline", "predictions"])
    {'chart': 'c', 'pipeline': 'p', 'predictions': 'r'}
    """
    found: dict[str, str] = {}
    for name in names:
        found[name] = next(letter for letter in name if letter not in found.values())
    return found
