"""Figures of the pipeline page: what is drawn is what was given, in both themes."""

import pytest

from dashboard.figures.lag import readers_figure, watermark_figure
from dashboard.figures.lines import utc
from dashboard.figures.stages import LABELS, QUANTILES, latency_figure, stages_figure
from dashboard.figures.throughput import throughput_figure
from dashboard.theme import Theme, palette

NOW = 1_767_623_400_000_000  # 2026-01-05T14:30:00Z
SECOND = 1_000_000


def test_stages_are_in_the_order_of_the_way_and_keep_their_exact_values() -> None:
    found = {"received": {"p50": -3.0, "p95": 0.0, "p99": 5.5}, "total": {"p50": 31.0, "p95": 58.25, "p99": None}}
    figure = stages_figure(found, "light")
    assert [trace.meta for trace in figure.data] == list(QUANTILES)
    assert [trace.name for trace in figure.data] == list(QUANTILES)
    first, last = list(LABELS).index("received"), list(LABELS).index("total")
    assert [trace.customdata[first] for trace in figure.data] == [-3.0, 0.0, 5.5]
    assert [trace.x[first] for trace in figure.data] == [0.1, 0.1, 5.5]  # a logarithmic axis has no zero
    assert [trace.x[last] for trace in figure.data] == [31.0, 58.25, None]
    assert figure.data[0].x[1] is None  # not measured is not zero
    assert list(figure.data[0].y) == list(LABELS.values()) and figure.layout.yaxis.autorange == "reversed"
    assert list(figure.layout.xaxis.range) == [-1.05, 3.1]
    wide = stages_figure({"painted": {"p50": 1.0, "p95": 900.0, "p99": 20_000.0}}, "light").layout.xaxis.range
    assert wide[1] > 4.3  # nothing beyond the edge
    assert figure.layout.xaxis.type == "log" and "milliseconds" in figure.layout.xaxis.title.text


def test_lines_show_their_series_in_utc_with_holes() -> None:
    history = {"lag.final": [(NOW, 100.0), (NOW + SECOND, None), (NOW + 2 * SECOND, 300.0)], "lag.relay": [(NOW, 1)]}
    figure = readers_figure(history, "dark")
    traces = {trace.meta: trace for trace in figure.data}
    assert list(traces) == ["lag.relay", "lag.final", "lag.archive", "lag.lake"]
    assert list(traces["lag.final"].x) == [f"2026-01-05T14:30:0{second}.000" for second in range(3)]
    assert list(traces["lag.final"].y) == [100.0, None, 300.0] and traces["lag.final"].connectgaps is False
    assert list(traces["lag.archive"].y) == []
    assert len({trace.line.dash for trace in figure.data}) == 4  # not by colour alone


def test_time_has_no_zone_and_whole_milliseconds() -> None:
    assert utc(NOW + 1_999) == "2026-01-05T14:30:00.001"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_says_its_unit_keeps_its_zoom_and_follows_the_theme(theme: Theme) -> None:
    figures = {
        "milliseconds": latency_figure({}, theme, 60.0),
        "per second": throughput_figure({}, theme),
        "seconds": watermark_figure({}, theme),
        "records": readers_figure({}, theme),
    }
    for unit, figure in figures.items():
        assert (
            figure.layout.yaxis.title.text == unit and figure.layout.uirevision and figure.layout.xaxis.type == "date"
        )
        assert figure.layout.template.layout.font.color == palette(theme).text
        assert figure.data[0].line.color == palette(theme).series[0]
    assert figures["milliseconds"].layout.shapes[0].y0 == 60.0
    assert stages_figure({}, theme).layout.uirevision
