"""The grid of the predictions page: its columns and options. Cells are written by `assets/predictions.js`."""

from typing import Any

import dash_ag_grid as dag

from dashboard.grids import Column, grid, number

_ABSTAINS = "params.data && params.data.abstains.includes('{}')"
_OF_RETURN, _OF_RISE = _ABSTAINS.format("return"), _ABSTAINS.format("rise")


def columns() -> list[Column]:
    """Every column, left to right; `assets/predictions.js` hides some where the screen is narrow."""
    return [
        _text("symbol", "Symbol", "Opens the chart", cellRenderer="PredictionsSymbol", minWidth=80, sort="asc",
              comparator={"function": "predictionsOrder(valueA, valueB, nodeA, nodeB, isDescending)"}),
        _number("horizon", "Bars ahead", "Horizon in bars", "predictionsWhole(params)", 104),
        _number("expected_return", "Expected, bp", "Log return to expect over the horizon, in basis points (0.01 %)",
                "predictionsPoints(params)", 118) | _greyed(_OF_RETURN),
        _number("rise_probability", "Rise", "Calibrated probability of a rise", "predictionsPercent(params)", 84)
        | _greyed(_OF_RISE),
        _number("volatility", "Usual, ± bp", "Standard deviation of that log return as known then, in basis points",
                "predictionsPoints(params)", 108),
        _text("reason", "Trust", "Whether the model beat its baselines out of sample", minWidth=200, flex=3,
              cellClassRules={"predictions-abstains": "params.data && params.data.abstains.length > 0"}),
        _number("end_us", "Said after (UTC)", "End of the bar after which it was said", "predictionsTime(params)", 130),
        _number("outcome_us", "Known at (UTC)", "The outcome is known then at the earliest",
                "predictionsTime(params)", 126),
    ]  # fmt: skip


def predictions_grid() -> dag.AgGrid:
    """The empty grid; rows come from `assets/predictions.js` as transactions."""
    return grid("predictions", columns(), "id")


def _text(field: str, title: str, help_text: str, **more: Any) -> Column:
    return {"field": field, "headerName": title, "headerTooltip": help_text, "flex": 1} | more


def _number(field: str, title: str, help_text: str, formatter: str, width: int) -> Column:
    return number(field, title, help_text, formatter, "predictionsExact(params)", width)


def _greyed(rule: str) -> Column:
    return {"cellClassRules": {"predictions-abstains": rule}}
