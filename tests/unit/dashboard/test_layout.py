"""The shell: paths to pages, the table of pages, keys, colours."""

import re
from pathlib import Path
from typing import Any

import pytest
from dash.development.base_component import Component

from dashboard import layout
from dashboard.pages import PAGES, page_keys
from dashboard.theme import PALETTES, Palette, Theme, template

ASSETS = Path(layout.__file__).parent / "assets"
MODULES = {path.stem for path in (ASSETS.parent / "pages").glob("*.py")} - {"__init__"}


def ids(component: Any) -> list[str]:
    """The id of every component, however deep."""
    found = [component.id] if isinstance(getattr(component, "id", None), str) else []
    children = getattr(component, "children", None)
    for child in children if isinstance(children, list | tuple) else [children]:
        if isinstance(child, Component):
            found += ids(child)
    return found


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("search", "query"),
    [
        (None, {}),
        ("", {}),
        ("?symbol=AAPL&interval=5m", {"symbol": "AAPL", "interval": "5m"}),
        ("?symbol=BTC%2FUSD", {"symbol": "BTC/USD"}),
        ("?symbol=A&symbol=B&empty=", {"symbol": "A", "empty": ""}),
        ("symbol=%zz", {"symbol": "%zz"}),
    ],
)
def test_query_of_a_url(search: str | None, query: dict[str, str]) -> None:
    assert layout.query_of(search) == query


@pytest.mark.parametrize(
    ("path", "name"),
    [("/", "chart"), ("", "chart"), ("/market", "market"), ("/market/", "market"), ("/Market", None), ("/x", None)],
)
def test_page_of_a_path(path: str, name: str | None) -> None:
    page = layout.page_of(path)
    assert (page and page.name) == name


def test_page_gets_the_query_as_its_own() -> None:
    query = {"symbol": "AAPL"}
    for page in PAGES.values():
        assert isinstance(layout.page_at(page.path, query), Component)
    assert query == {"symbol": "AAPL"}


def test_unknown_path_says_so_with_links_to_every_page() -> None:
    shown = layout.page_at("/nowhere", {})
    assert shown.id == "unknown-page"
    text = str(shown.to_plotly_json())
    assert "/nowhere" in text
    assert all(page.path in text for page in PAGES.values())


def test_pages_are_the_folder_and_each_has_a_key() -> None:
    pages = {name for name in MODULES if "_" not in name}
    assert {page.layout.__module__.rpartition(".")[2] for page in PAGES.values()} == pages == set(PAGES)
    assert len(set(page_keys(PAGES).values())) == len(PAGES), "g and the letter leads to a page"
    assert len({page.path for page in PAGES.values()}) == len(PAGES)


def test_ids_of_the_shell_are_those_that_pages_rely_on() -> None:
    found = ids(layout.shell())
    assert len(found) == len(set(found))
    assert {"location", "theme", "api-state", "page", "theme-switch", "quality-badge", "connection"} <= set(found)
    assert {f"nav-{name}" for name in PAGES} <= set(found)
    assert 'id="banner" role="alert" hidden' in layout.index_string()


def test_style_sheet_has_the_colours_of_the_palettes() -> None:
    text = (ASSETS / "style.css").read_text()
    names = ("background", "surface", "text", "muted", "grid", "border", "accent", "up", "down", "ok", "warning",
             "danger")  # fmt: skip
    for theme, palette in PALETTES.items():
        block = re.search(rf'\[data-bs-theme="{theme}"\] {{(.*?)}}', text, re.S)
        assert block is not None
        assert dict(re.findall(r"--ts-(\w+): (#\w{6})", block[1])) == {name: getattr(palette, name) for name in names}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme: Theme) -> None:
    palette: Palette = PALETTES[theme]
    for name in ("text", "muted", "accent", "up", "down", "ok", "warning", "danger"):
        for ground in (palette.background, palette.surface):
            assert contrast(getattr(palette, name), ground) >= 4.5, name
    assert all(contrast(line, palette.surface) >= 3 for line in palette.series)
    assert len(set(palette.series)) == len(palette.series) >= 8


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_template_is_of_its_theme_and_made_once(theme: Theme) -> None:
    made = template(theme)
    assert made is template(theme)
    assert made.layout.font.color == PALETTES[theme].text
    assert made.layout.xaxis.gridcolor == PALETTES[theme].grid
