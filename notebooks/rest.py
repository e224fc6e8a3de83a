"""History over the REST API: page after page, as Arrow."""

from collections.abc import Iterator
from datetime import datetime

import httpx
import pandas as pd
import pyarrow as pa

PAGE_ROWS = 10_000
AMOUNTS = ("open", "high", "low", "close", "volume", "notional", "vwap", "price", "size")

PRICES = ("open", "high", "low", "close", "volume", "vwap")
REVISION = (
    "start",
    "rev",
    "state",
    "reason",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "vwap",
    "trade_count",
    "ruleset",
)


def pages(client: httpx.Client, path: str, **query: object) -> Iterator[pa.Table]:
    """The pages of a range in ascending order, each as the Arrow table that the API sends.

    Follows the cursors until there is no next page. Raises httpx.HTTPStatusError for a refusal.
    """
    asked: str | None = path
    query = {"format": "arrow", "limit": PAGE_ROWS, **query}
    while asked is not None:
        answer = client.get(asked, params={name: _text(value) for name, value in query.items()} if query else None)
        answer.raise_for_status()
        yield pa.ipc.open_stream(answer.content).read_all()
        asked, query = answer.links.get("next", {}).get("url"), {}  # the cursor's address has the whole query


def bars(client: httpx.Client, symbol: str, **query: object) -> pd.DataFrame:
    """All bars of a range, ascending, with symbol and interval as columns; times UTC, amounts doubles.

    Without `start` from the first bar on.
    """
    tables = list(pages(client, f"/api/v1/bars/{symbol}", **{"start": 0, **query}))
    frame = pa.concat_tables(tables).to_pandas()
    amounts = [name for name in AMOUNTS if name in frame.columns]
    frame[amounts] = frame[amounts].astype("float64")
    frame.insert(0, "symbol", symbol)
    return frame.assign(interval=query.get("interval", "1m"))


def symbols(client: httpx.Client) -> pd.DataFrame:
    """Every symbol that the API has seen: symbol, first_seen, last_seen (UTC)."""
    frame = pd.DataFrame(client.get("/api/v1/symbols").raise_for_status().json()["symbols"])
    return frame.assign(**{name: pd.to_datetime(frame[name], format="ISO8601") for name in ("first_seen", "last_seen")})


def revisions_of(client: httpx.Client, bars: pd.DataFrame, interval: str = "1m") -> pd.DataFrame:
    """Everything that was ever final of these bars (symbol, start), oldest first, with `known_at`.

    Times UTC, amounts doubles. No rows for no bars.
    """
    rows = [row for bar in bars.itertuples() for row in _revisions(client, bar.symbol, interval, bar.start)]
    frame = pd.DataFrame(rows, columns=["symbol", "known_at", *REVISION])
    frame[list(PRICES)] = frame[list(PRICES)].astype("float64")
    return frame.assign(
        **{name: pd.to_datetime(frame[name], format="ISO8601", utc=True) for name in ("known_at", "start")}
    )


def _revisions(client: httpx.Client, symbol: str, interval: str, start: datetime) -> list[dict[str, object]]:
    answer = client.get(f"/api/v1/bars/{symbol}/{interval}/{_text(start)}/revisions").raise_for_status()
    return [{"symbol": symbol, **row} for row in answer.json()["revisions"]]


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)
