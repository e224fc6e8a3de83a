"""The grid of the market page: its columns and options. Cells are drawn by `assets/market_view.js`."""

import dash_ag_grid as dag

from dashboard.grids import Column, grid, number

STALE_SECONDS = 60  # what the page asks of the API as `stale_after`
AGE_HELP = (
    f"Time since the last trade. ok: up to {STALE_SECONDS // 4} s; slow: longer; stale: no trade for more than"
    f" {STALE_SECONDS} s, as the API's overview says it"
)


_CHANGE_HELP = (
    "Against the last close before the session; in italics, where no such close is known, against the session's open"
)


def columns() -> list[Column]:
    """Every column, left to right; `assets/market.js` hides the less important ones where the screen is narrow."""
    return [
        {
            "field": "symbol",
            "headerName": "Symbol",
            "headerTooltip": "Opens the chart",
            "cellRenderer": "MarketSymbol",
            "minWidth": 60,
            "flex": 1,
            "sort": "asc",
        },
        {
            "field": "closes",
            "cellDataType": False,
            "headerName": "Trend",
            "headerTooltip": "Closes of the last 30 one-minute bars, the last one forming",
            "cellRenderer": "MarketSparkline",
            "sortable": False,
            "minWidth": 40,
            "width": 110,
            "getQuickFilterText": {"function": "''"},
        },
        _number("price", "Last", "marketPrice(params)", "Price of the last trade", width=104)
        | {"enableCellChangeFlash": True, "cellClassRules": {"rose": _went(1), "fell": _went(-1)}},
        _number("change", "Change", "marketChange(params)", _CHANGE_HELP, width=96) | _SIGNED,
        _number("change_percent", "Change %", "marketPercent(params)", _CHANGE_HELP, width=98) | _SIGNED,
        {
            "colId": "range",
            "headerName": "Day range",
            "headerTooltip": "Low and high of the session; the mark is the last price, the line the open",
            "cellRenderer": "MarketRange",
            "valueGetter": {"function": "marketRange(params)"},
            "tooltipValueGetter": {"function": "marketRangeText(params)"},
            "minWidth": 170,
            "flex": 2,
            "getQuickFilterText": {"function": "''"},
        },
        _number("volume", "Volume", "marketShort(params)", "Traded in the session", width=92),
        _number("notional", "Notional", "marketShort(params)", "Price times size, summed over the session", width=98),
        _number(
            "vwap_distance",
            "vs VWAP",
            "marketPercent(params)",
            "Last price against the session's volume-weighted average price, in percent",
            width=96,
        )
        | _SIGNED
        | {"tooltipValueGetter": {"function": "marketVwapText(params)"}},
        _number("trade_count", "Trades", "marketCount(params)", "Trades in the session", width=92),
        {
            "colId": "age",
            "headerName": "Age",
            "headerTooltip": AGE_HELP,
            "valueGetter": {"function": "marketAge(params)"},
            "valueFormatter": {"function": "marketAgeText(params)"},
            "tooltipValueGetter": {"function": "marketAgeTip(params)"},
            "cellClassRules": {
                name: f"marketFreshness(params) === '{name}'" for name in ("age-ok", "age-slow", "age-stale")
            },
            "cellClass": "age",
            "width": 96,
            "minWidth": 50,
            "getQuickFilterText": {"function": "''"},
        },
    ]


def market_grid() -> dag.AgGrid:
    """The empty grid; rows come from `assets/market.js` as transactions."""
    return grid(
        "market",
        columns(),
        "symbol",
        asyncTransactionWaitMillis=30,
        cellFlashDuration=150,
        cellFadeDuration=450,
        deltaSort=True,
        animateRows=True,
    )


def _number(field: str, title: str, formatter: str, help_text: str, width: int) -> Column:
    made = number(field, title, help_text, formatter, "marketExact(params)", width)
    return made | {"getQuickFilterText": {"function": "''"}}


def _went(way: int) -> str:
    return f"params.data && params.data.moved === {way}"


_SIGNED: Column = {
    "cellClassRules": {
        "rising": "params.value > 0",
        "falling": "params.value < 0",
        "since-open": "params.data && params.data.since === 'open' && params.column.getColId() !== 'vwap_distance'",
    }
}
