"""What pages share: the callback that fills one, whatever the API says."""

import asyncio
import doctest
from typing import Any

import pytest
from dash import Dash, no_update

from core.errors import TickstreamError
from dashboard import parts
from dashboard.client import ApiDown, ApiRefused
from dashboard.pages import alerts, quality
from dashboard.parts import EVERY, newest_only, register_fill

PARTS = (("sentence", "children"), ("figure", "figure"), ("table", "children"))


def filled_with(outcome: TickstreamError | None, chosen: str | None) -> tuple[list[Any], tuple[Any, ...]]:
    """What the page was asked for, and what its callback returns."""
    asked: list[Any] = []

    async def filled(symbol: str | None, theme: str | None) -> tuple[Any, ...]:
        asked.append((symbol, theme))
        if outcome is not None:
            raise outcome
        return "a", "b", "c"

    app = Dash(__name__)
    register_fill(app, "some", PARTS, filled)
    made = app.callback_map["..some-sentence.children...some-figure.figure...some-table.children.."]
    inputs = [f"{each['id']}.{each['property']}" for each in made["inputs"]]
    assert inputs == ["some-symbol.value", "some-news.data", "api-state.data", "theme.data"]
    return asked, asyncio.run(made["callback"].__wrapped__(chosen, None, None, "dark"))


@pytest.mark.parametrize(("chosen", "symbol"), [("AAPL", "AAPL"), (EVERY, None), (None, None)])
def test_page_is_filled_with_its_symbol_or_with_all(chosen: str | None, symbol: str | None) -> None:
    assert filled_with(None, chosen) == ([(symbol, "dark")], ("a", "b", "c"))


def test_page_stays_as_it_is_while_the_api_is_down_and_says_what_it_refuses() -> None:
    assert filled_with(ApiDown("no", 1.0), "A")[1] == (no_update, no_update, no_update)
    refused = ApiRefused({"status": 403, "title": "Forbidden", "detail": "the key lacks a scope"})
    assert filled_with(refused, "A")[1] == ("The API says: the key lacks a scope", no_update, no_update)


@pytest.mark.parametrize("page", [alerts, quality])
def test_every_part_that_is_filled_is_on_its_page(page: Any) -> None:
    name = page.__name__.rpartition(".")[2]
    found = str(page.layout({}))
    assert all(f"id='{name}-{part}'" in found for part, _ in page.PARTS)


def test_examples_in_the_documentation() -> None:
    assert doctest.testmod(parts).failed == 0


def test_left_out_rows_are_said() -> None:
    assert newest_only(False, 5) is None
    assert newest_only(True, 5).children == "Only the newest 5 are shown."  # type: ignore[union-attr]
