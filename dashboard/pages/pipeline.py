"""The page `pipeline`: is it well, and where is it not. Filled by pushes, in `assets/pipeline.js`."""

import asyncio
from typing import Any

import dash_bootstrap_components as dbc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiDown, ApiRefused
from dashboard.pages import pipeline_texts as texts
from dashboard.theme import theme_of

GRAPHS = ("stages", "latency", "throughput", "watermark", "readers")
CANDIDATES = 5


def layout(query: dict[str, str]) -> Component:
    """The page's skeleton; `symbol` of the query is whose updates are timed, the busiest without it."""
    return html.Div(
        [
            _strip(),
            html.Section([_flow(), _probe()], className="pl-card", **_aria("Latency by stage")),
            html.Div([_tile(name) for name in texts.TILES], className="pl-tiles"),
            html.Div([_figure("stages"), _figure("latency")], className="pl-pair"),
            html.Div([_figure(name) for name in GRAPHS[2:]], className="pl-triple"),
            html.Div([_list("queries"), html.Div([_list("stores"), _list("topics")])], className="pl-uneven"),
            _list("letters"),
            dcc.Store(id="pipeline-asked", data=query.get("symbol", "")),
            dcc.Store(id="pipeline-symbol"),
            dcc.Store(id="pipeline-drawn"),
        ],
        id="pipeline-page",
        className="pl",
    )


def register(app: Dash, client: ApiClient) -> None:
    """The figures by theme, the symbol that is timed; everything else is in the browser."""

    @app.callback([Output(f"pipeline-{name}", "figure") for name in GRAPHS], Input("theme", "data"))
    def draw(theme: Any) -> list[Any]:
        return empty_figures(theme)

    @app.callback(
        Output("pipeline-symbol", "data"),
        Input("pipeline-asked", "data"),
        Input("api-state", "data"),
        State("pipeline-symbol", "data"),
    )
    async def choose(asked: str, _state: Any, chosen: str | None) -> Any:
        return no_update if chosen else asked or await patiently(client) or no_update

    app.clientside_callback(
        ClientsideFunction("pipeline", "watch"), Output("pipeline-symbol", "id"), Input("pipeline-symbol", "data")
    )
    app.clientside_callback(
        ClientsideFunction("pipeline", "refill"),
        Output("pipeline-drawn", "data"),
        Input("pipeline-stages", "figure"),
        prevent_initial_call=True,
    )


def empty_figures(theme: Any) -> list[Any]:
    """The figures in the order of GRAPHS, without a point: the page has those."""
    from dashboard.figures.lag import readers_figure, watermark_figure
    from dashboard.figures.stages import latency_figure, stages_figure
    from dashboard.figures.throughput import throughput_figure
    from dashboard.pages.pipeline_view import SLOW_MS

    name = theme_of(theme)
    return [
        stages_figure({}, name),
        latency_figure({}, name, SLOW_MS),
        throughput_figure({}, name),
        watermark_figure({}, name),
        readers_figure({}, name),
    ]


async def patiently(client: ApiClient, tries: int = 5, pause: float = 2.0) -> str | None:
    """The busiest symbol, asked for again where the API is too busy to say, or nobody has traded yet."""
    for _ in range(tries):
        found = await busiest(client)
        if found is not None:
            return found
        await asyncio.sleep(pause)
    return None


async def busiest(client: ApiClient) -> str | None:
    """The symbol with most trades among those with most volume; None where the API cannot say."""
    try:
        rows = (await client.overview(sort="volume", limit=CANDIDATES, points=1))["symbols"]
    except (ApiDown, ApiRefused):
        return None
    fresh = [row for row in rows if not row["stale"]] or rows
    return max(fresh, key=lambda row: row["trade_count"])["symbol"] if fresh else None


def _strip() -> Component:
    return html.Section(
        [
            html.Div(
                [
                    html.H1("Pipeline", className="pl-heading"),
                    html.Span("waiting", id="pipeline-word", className="pl-badge"),
                    html.Span(
                        "Waiting for the first figures", id="pipeline-title", className="pl-title", role="status"
                    ),
                    html.Span(
                        [
                            html.Span(id="pipeline-as-of", className="muted number"),
                            *_info("strip", "How this is judged", texts.STRIP),
                        ],
                        className="pl-as-of",
                    ),
                ],
                className="pl-line",
            ),
            html.Div(id="pipeline-parts", className="pl-parts"),
        ],
        id="pipeline-strip",
        className="pl-card pl-strip",
        **(_aria("State of the pipeline") | {"data-state": "unknown"}),
    )


def _flow() -> Component:
    return html.Ol([_stage(name) for name in texts.STAGES], className="pl-flow")


def _stage(name: str) -> Component:
    title, how = texts.STAGES[name]
    return html.Li(
        [
            html.Div([html.Span(title), *_info(f"stage-{name}", title, how)], className="pl-stage-name"),
            html.Div("–", id=f"pipeline-p50-{name}", className="pl-value number"),
            html.Div("p50", className="pl-unit muted"),
            html.Div("p95 –\np99 –", id=f"pipeline-tail-{name}", className="pl-tail number"),
            html.Div(id=f"pipeline-spark-{name}", className="pl-spark", title="p95 of the last 15 minutes"),
            html.Div(id=f"pipeline-count-{name}", className="muted pl-note"),
        ],
        id=f"pipeline-stage-{name}",
        className="pl-stage" + (" pl-total" if name == "total" else ""),
    )


def _probe() -> Component:
    return html.Div(
        [
            html.Span("Timed in this browser: "),
            html.Span("no update yet", id="pipeline-probe", className="number"),
            html.Span(id="pipeline-skew", className="pl-skew"),
        ],
        className="muted pl-note pl-probe",
    )


def _tile(name: str) -> Component:
    title, how = texts.TILES[name]
    return html.Div(
        [
            html.Div([html.Span(title), *_info(f"tile-{name}", title, how)], className="pl-stage-name"),
            html.Div("–", id=f"pipeline-value-{name}", className="pl-value number"),
            html.Div(id=f"pipeline-note-{name}", className="muted pl-note number"),
        ],
        id=f"pipeline-tile-{name}",
        className="pl-card pl-tile",
    )


def _figure(name: str) -> Component:
    title, how = texts.FIGURES[name]
    graph = dcc.Graph(
        id=f"pipeline-{name}", responsive=True, style={"height": "100%"}, config={"displayModeBar": False}
    )
    return html.Section([_heading(name, title, how), html.Div(graph, className="pl-graph")], className="pl-card")


def _list(name: str) -> Component:
    title, how = texts.LISTS[name]
    body = html.Div("waiting for the first figures", id=f"pipeline-list-{name}", className="pl-list muted")
    return html.Section([_heading(f"list-{name}", title, how), body], className="pl-card")


def _heading(name: str, title: str, how: str) -> Component:
    return html.Div([html.H2(title, className="pl-heading"), *_info(name, title, how)], className="pl-line")


def _info(name: str, title: str, how: str) -> list[Component]:
    """A button that tells how something is measured, by mouse, touch and keyboard."""
    target = f"pipeline-info-{name}"
    return [
        html.Button("i", id=target, type="button", className="pl-info", **_aria(f"{title}: how it is measured")),
        dbc.Popover(how, target=target, trigger="legacy", body=True, placement="auto", className="pl-popover"),
    ]


def _aria(label: str) -> dict[str, Any]:
    """What a screen reader calls an element."""
    return {"aria-label": label}
