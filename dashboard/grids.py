"""What the grids of pages have in common: look and options, columns of numbers."""

from collections.abc import Sequence
from typing import Any

import dash_ag_grid as dag

Column = dict[str, Any]

_THEME = (
    "themeQuartz.withParams({backgroundColor: 'var(--ts-surface)', foregroundColor: 'var(--ts-text)',"
    " headerBackgroundColor: 'var(--ts-surface)', headerTextColor: 'var(--ts-muted)', borderColor: 'var(--ts-border)',"
    " accentColor: 'var(--ts-accent)', browserColorScheme: 'inherit', fontFamily: 'inherit', fontSize: 13,"
    " rowHeight: 34, headerHeight: 36, wrapperBorderRadius: 8, cellHorizontalPadding: 10})"
)


def grid(page: str, columns: Sequence[Column], row_id: str, **options: Any) -> dag.AgGrid:
    """The empty grid of a page, `{page}-grid`; rows come from its script as transactions.

    `row_id` is the field by which a row is known; `options` are AG Grid's own, beside those of all grids.
    """
    return dag.AgGrid(
        id=f"{page}-grid",
        columnDefs=list(columns),
        rowData=[],
        getRowId=f"params.data.{row_id}",
        defaultColDef={"sortable": True, "resizable": True, "suppressMovable": True, "filter": False},
        dashGridOptions={
            "theme": {"function": _THEME},
            "tooltipShowDelay": 300,
            "suppressColumnVirtualisation": True,
            "suppressNoRowsOverlay": True,
            **options,
        },
        dangerously_allow_code=False,
        style={"height": None, "width": "100%"},
        className=f"{page}-grid",
    )


def number(field: str, title: str, help_text: str, formatter: str, exact: str, width: int) -> Column:
    """A column of numbers; `formatter` and `exact`, of the tooltip, are functions of the page's script."""
    return {
        "field": field,
        "headerName": title,
        "headerTooltip": help_text,
        "type": "rightAligned",
        "valueFormatter": {"function": formatter},
        "tooltipValueGetter": {"function": exact},
        "cellClass": "ag-right-aligned-cell",
        "width": width,
        "minWidth": 60,
    }
