"""The colours of both themes, and a Plotly template for each."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import plotly.graph_objects as go

Theme = Literal["light", "dark"]
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Palette:
    """CSS colours of one theme; `up` and `down` differ in lightness too, for eyes that do not tell them apart."""

    background: str
    surface: str  # cards, plots
    text: str
    muted: str  # axis labels, captions
    grid: str
    border: str
    accent: str
    up: str
    down: str
    ok: str
    warning: str
    danger: str
    series: tuple[str, ...]  # lines that are told apart, in this order
    diverging: tuple[str, str, str]  # falling, unchanged, rising


PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        background="#f5f6f8",
        surface="#ffffff",
        text="#1b2330",
        muted="#5b6676",
        grid="#e8ebef",
        border="#d6dbe2",
        accent="#1f5fd0",
        up="#0b7a64",
        down="#c9352b",
        ok="#157347",
        warning="#8a5a00",
        danger="#b3261e",
        series=("#1f5fd0", "#c05a00", "#7b3fb5", "#0a7d8c", "#b0287a", "#5f6b00", "#6b4a2f", "#4a5568"),
        diverging=("#b5532a", "#eef0f3", "#1f6fb5"),
    ),
    "dark": Palette(
        background="#0f141b",
        surface="#171e28",
        text="#e4e9f0",
        muted="#9aa7b8",
        grid="#232c39",
        border="#2d3847",
        accent="#6ea8fe",
        up="#2fbf9f",
        down="#f2655a",
        ok="#4cc38a",
        warning="#e5b454",
        danger="#ff7b72",
        series=("#6ea8fe", "#f0a35e", "#c39bf0", "#4fc3d0", "#ee85bf", "#c0cc5a", "#cfa98a", "#aab6c6"),
        diverging=("#e08a55", "#2a3442", "#5aa9e6"),
    ),
}


def theme_of(value: object) -> Theme:
    """The theme that a store or a query names; light for anything else.

    >>> theme_of("dark"), theme_of(None)
    ('dark', 'light')
    """
    return "dark" if value == "dark" else "light"


def palette(theme: Theme) -> Palette:
    """The colours of a theme."""
    return PALETTES[theme]


@lru_cache(maxsize=2)
def template(theme: Theme) -> "go.layout.Template":
    """What every Plotly figure of a theme has: `figure.update_layout(template=template(theme))`."""
    import plotly.graph_objects as go  # only pages with figures need it

    colours = PALETTES[theme]
    axis = {
        "gridcolor": colours.grid,
        "linecolor": colours.border,
        "zerolinecolor": colours.border,
        "tickfont": {"color": colours.muted, "size": 11},
        "title": {"font": {"color": colours.muted, "size": 12}},
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "color": colours.text, "size": 12},
            "title": {"font": {"size": 14, "color": colours.text}, "x": 0, "xanchor": "left"},
            "colorway": list(colours.series),
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"bgcolor": "rgba(0,0,0,0)", "font": {"color": colours.text, "size": 11}},
            "hoverlabel": {
                "bgcolor": colours.surface,
                "bordercolor": colours.border,
                "font": {"family": FONT, "color": colours.text},
            },
            "margin": {"l": 48, "r": 12, "t": 36, "b": 36},
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)",
                "color": colours.muted,
                "activecolor": colours.accent,
            },
        }
    )
