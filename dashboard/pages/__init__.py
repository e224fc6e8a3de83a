"""The pages: one file each, and the one table of them.

A page's module has `layout(query) -> Component`, called on every visit with the query of the URL (the first value of
each name), and `register(app, client)`, called once, which adds the page's callbacks. Ids begin with the page's name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dash import Dash
from dash.development.base_component import Component

from dashboard.client import ApiClient
from dashboard.pages import chart, market, pipeline, quality

Query = Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """A page of the navigation bar. After `g`, the key `name[0]` leads to it."""

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
    )
}
