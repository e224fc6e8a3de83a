"""Rows of the stores as JSON: exact decimal text (or floats on request), times as RFC 3339, orjson.

The answers are described by `api.models` and rendered here without building a model per row: ten thousand bars are
one pass over dicts.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import orjson
from starlette.responses import Response

from api.times import format_time

Numeric = Literal["text", "float"]
SAID_ONCE = frozenset({"symbol", "interval"})  # around the rows, not in each
TIMES = {"start": "start", "end": "end"} | {
    f"{moment}_us": f"{moment}_at" for moment in ("open", "close", "event", "reported", "received", "processed")
}
ROWS_PER_TURN = 500
FINAL_STATES = frozenset({"final", "amended"})


class Json(Response):
    """A JSON answer; `content` holds what orjson knows."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def decimal_text(value: Decimal) -> str:
    """Exact plain decimal text: no exponent, no trailing zeros.

    >>> decimal_text(Decimal("167.41000000")), decimal_text(Decimal("1E+3")), decimal_text(Decimal("0E-8"))
    ('167.41', '1000', '0')
    """
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def bar_json(row: Mapping[str, Any], numeric: Numeric) -> dict[str, Any]:
    """A bar as an API object, by the columns of `core.records.Bar`."""
    state = row["state"]
    flags = {"is_final": state in FINAL_STATES, "synthetic": state == "synthetic"}
    return row_json(row, numeric) | flags


def row_json(row: Mapping[str, Any], numeric: Numeric) -> dict[str, Any]:
    """Any row: decimals by `numeric`, `start` and `end` as RFC 3339, and `x_us` as `x_at` likewise."""
    number = _NUMBERS[numeric]
    answer: dict[str, Any] = {}
    for name, value in row.items():
        if name in SAID_ONCE:
            continue
        if name in TIMES:
            answer[TIMES[name]] = None if value is None else format_time(value)
        elif type(value) is Decimal:
            answer[name] = number(value)
        else:
            answer[name] = value
    return answer


async def rows_json(
    render: Callable[[Mapping[str, Any], Numeric], dict[str, Any]], rows: Sequence[Mapping[str, Any]], numeric: Numeric
) -> list[dict[str, Any]]:
    """Every row by `render`, in turns: ten thousand at once would hold up all other requests for 0.2 s."""
    answer: list[dict[str, Any]] = []
    for at in range(0, len(rows), ROWS_PER_TURN):
        answer += [render(row, numeric) for row in rows[at : at + ROWS_PER_TURN]]
        await asyncio.sleep(0)
    return answer


def time_text(us: int | None) -> str | None:
    """Epoch microseconds as RFC 3339; None stays None."""
    return None if us is None else format_time(us)


_NUMBERS: dict[Numeric, Callable[[Decimal], str | float]] = {"text": decimal_text, "float": float}
