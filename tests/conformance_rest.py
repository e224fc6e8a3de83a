"""What docs/api.md promises of REST, a check each: `tests.conformance` runs them against any server.

A check raises AssertionError where a promise is broken, and Skip where the server has no data for it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx


class Skip(Exception):
    """The server has no data for this check."""


@dataclass
class Server:
    """The server under test, the symbol it is asked for, and its newest stored bars."""

    client: httpx.Client
    symbol: str
    bars: list[dict[str, Any]] = field(default_factory=list)

    def get(self, path: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        return self.client.get(path, params=params, headers=headers)

    def json(self, path: str, **params: Any) -> Any:
        answer = self.get(path, **params)
        assert answer.status_code == 200, f"{answer.request.url}: {answer.status_code} {answer.text[:200]}"
        return answer.json()

    def bars_of(self, **params: Any) -> dict[str, Any]:
        body: dict[str, Any] = self.json(f"/api/v1/bars/{self.symbol}", **params)
        return body

    @property
    def span(self) -> tuple[str, str]:
        """Start of the oldest and end of the newest of the known final bars."""
        final = [bar for bar in self.bars if bar["is_final"]]
        if len(final) < 3:
            raise Skip("fewer than three final bars")
        return final[0]["start"], final[-1]["end"]


Check = Callable[[Server], None]


def range_is_half_open(server: Server) -> None:
    """`[start, end)`: the bar that starts at `end` is not in, the one that starts at `start` is."""
    start, end = server.span
    starts = [bar["start"] for bar in server.bars_of(start=start, end=end)["bars"]]
    assert starts[0] == start and all(start <= each < end for each in starts)
    middle = starts[len(starts) // 2]
    first, second = server.bars_of(start=start, end=middle), server.bars_of(start=middle, end=end)
    assert [bar["start"] for bar in first["bars"] + second["bars"]] == starts, "the halves are not the whole"
    assert server.bars_of(start=middle, end=middle)["bars"] == []


def times_in_both_forms_say_the_same(server: Server) -> None:
    """RFC 3339 and epoch milliseconds."""
    start, end = server.span
    texts = server.bars_of(start=start, end=end)["bars"]
    millis = server.bars_of(start=_millis(start), end=_millis(end))["bars"]
    assert texts == millis


def cursors_give_each_row_once(server: Server) -> None:
    """In any page size, in both orders, forwards and backwards."""
    start, end = server.span
    for order in ("asc", "desc"):
        whole = [bar["start"] for bar in server.bars_of(start=start, end=end, order=order)["bars"]]
        for limit in (1, 2, 5):
            query = {"start": start, "end": end, "order": order, "limit": limit}
            assert list(_paged(server, query)) == whole, f"pages of {limit}, {order}"
        first = server.bars_of(start=start, end=end, order=order, limit=2)
        second = server.bars_of(start=start, end=end, order=order, limit=2, cursor=first["next"])
        back = server.bars_of(start=start, end=end, order=order, limit=2, cursor=second["previous"])
        assert back["bars"] == first["bars"], "previous does not lead back"


def cursor_of_another_query_is_refused(server: Server) -> None:
    """And one that was made up: 422 naming `cursor`."""
    start, end = server.span
    cursor = server.bars_of(start=start, end=end, limit=1)["next"]
    for params in ({"start": start, "end": end, "order": "desc", "cursor": cursor}, {"cursor": "AAAA"}):
        _refused(server.get(f"/api/v1/bars/{server.symbol}", **params), "cursor")


def bars_say_final_and_revision(server: Server) -> None:
    """`is_final` and `rev` on every bar, forming ones with 0, times with both edges."""
    for bar in server.bars:
        assert isinstance(bar["is_final"], bool) and isinstance(bar["rev"], int)
        assert bar["is_final"] == (bar["state"] in ("final", "amended")), bar["state"]
        assert not bar["is_final"] or bar["rev"] >= 1
        assert bar["start"] < bar["end"]


def amounts_are_exact_text_or_numbers(server: Server) -> None:
    """Decimal text by default, JSON numbers with `numeric=float`."""
    start, end = server.span
    texts, floats = (server.bars_of(start=start, end=end, numeric=each)["bars"] for each in ("text", "float"))
    for text, number in zip(texts, floats, strict=True):
        assert isinstance(text["volume"], str) and isinstance(number["volume"], int | float)
        assert float(text["volume"]) == number["volume"]


def filled_rows_are_marked(server: Server) -> None:
    """`fill` leaves no slot out and marks what it made up."""
    _, end = server.span
    start = [bar["start"] for bar in server.bars if bar["is_final"]][-6:][0]
    rows = server.bars_of(start=start, end=end, fill="prev", limit=10_000)["bars"]
    if len(rows) == 10_000:
        raise Skip("the newest bars are far apart")
    traded = [bar for bar in rows if not bar["synthetic"]]
    assert [bar["start"] for bar in traded] == [
        bar["start"] for bar in server.bars_of(start=start, end=end, limit=10_000)["bars"]
    ]
    assert all(bar["volume"] == "0" and not bar["is_final"] for bar in rows if bar["synthetic"])


def refusals_name_field_and_limit(server: Server) -> None:
    """422 as problem+json."""
    path = f"/api/v1/bars/{server.symbol}"
    for params, name, limit in (
        ({"limit": 0}, "limit", {"ge": 1}),
        ({"limit": 10_000_000}, "limit", None),
        ({"interval": "7m"}, "interval", None),
        ({"start": "yesterday"}, "start", None),
        ({"colour": "red"}, "colour", None),
        ({"start": "2024-01-02T00:00:00Z", "end": "2024-01-01T00:00:00Z"}, "end", None),
    ):
        wrong = _refused(server.get(path, **params), name)
        assert limit is None or wrong["limits"] == limit
        assert name != "limit" or wrong["limits"], "the limit is not named"


def unknown_symbol_is_a_problem(server: Server) -> None:
    """404 as problem+json, with its type."""
    for path in ("bars", "latest", "ticks", "indicators", "analytics/daily"):
        answer = server.get(f"/api/v1/{path}/NO-SUCH-SYMBOL")
        assert answer.status_code == 404, f"{path}: {answer.status_code}"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:tickstream:problem:unknown-symbol"


def closed_range_has_an_etag(server: Server) -> None:
    """And answers 304 to a client that has it; an open range is not to be kept."""
    start, end = server.span
    path = f"/api/v1/bars/{server.symbol}"
    answer = server.get(path, start=start, end=end)
    tag = answer.headers.get("etag")
    assert tag, "no ETag"
    again = server.get(path, {"If-None-Match": tag}, start=start, end=end)
    assert (again.status_code, again.content) == (304, b""), again.status_code
    assert server.get(path, {"If-None-Match": '"other"'}, start=start, end=end).status_code == 200
    assert "etag" not in server.get(path).headers and server.get(path).headers["cache-control"] == "no-store"


def content_is_negotiated(server: Server) -> None:
    """JSON, CSV and Arrow by `Accept` and by `format`; 406 for what there is not."""
    path = f"/api/v1/bars/{server.symbol}"
    types = {"json": "application/json", "csv": "text/csv", "arrow": "application/vnd.apache.arrow.stream"}
    start, end = server.span
    for name, media_type in types.items():
        by_accept = server.get(path, {"Accept": media_type}, start=start, end=end)
        by_format = server.get(path, start=start, end=end, format=name)
        assert by_accept.headers["content-type"].split(";")[0] == media_type
        assert by_accept.content == by_format.content and by_accept.status_code == 200
    weighed = server.get(path, {"Accept": "application/json;q=0.5, text/csv"}, start=start, end=end)
    assert weighed.headers["content-type"].startswith("text/csv")
    assert server.get(path, {"Accept": "image/png"}).status_code == 406
    assert "accept" in server.get(path).headers["vary"].lower()


def csv_has_the_rows_of_json(server: Server) -> None:
    """A header row, then one line per bar."""
    start, end = server.span
    lines = server.get(f"/api/v1/bars/{server.symbol}", start=start, end=end, format="csv").text.splitlines()
    bars = server.bars_of(start=start, end=end)["bars"]
    assert [line.split(",")[0] for line in lines] == ["start", *(bar["start"] for bar in bars)]


def indicators_line_up_with_bars(server: Server) -> None:
    """One row per bar, of its revision."""
    start, end = server.span
    rows = server.json(f"/api/v1/indicators/{server.symbol}", start=start, end=end, type="sma:2")["rows"]
    bars = server.bars_of(start=start, end=end)["bars"]
    assert [(row["start"], row["rev"]) for row in rows] == [(bar["start"], bar["rev"]) for bar in bars]


def latest_is_the_newest_price(server: Server) -> None:
    """Not older than the newest stored bar."""
    latest = server.json(f"/api/v1/latest/{server.symbol}")
    assert latest["start"] >= server.bars[-1]["start"] and latest["source"] in ("live", "database")


def overview_has_the_symbol(server: Server) -> None:
    """With the arithmetic of its change."""
    (row,) = server.json("/api/v1/market/overview", symbols=server.symbol, numeric="float")["symbols"]
    assert row["symbol"] == server.symbol
    if row["prior_close"] is not None:
        assert abs(row["price"] - row["prior_close"] - row["change"]) < 1e-6


def daily_is_the_roll_up_of_intraday(server: Server) -> None:
    """The newest session that is over has the same figures in both."""
    days = server.json(f"/api/v1/analytics/daily/{server.symbol}", interval="1m", order="desc", limit=2)["days"]
    over = next((day for day in days if day["is_final"]), None)
    if over is None:
        raise Skip("no session is over yet")
    session = server.json(f"/api/v1/analytics/intraday/{server.symbol}", day=over["day"])
    for name in ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "start", "end"):
        assert session[name] == over[name], f"{name}: {session[name]} and {over[name]}"


def aliases_are_the_resources(server: Server) -> None:
    """The same bytes under the other names."""
    start, end = server.span
    own = server.get(f"/api/v1/bars/{server.symbol}", start=start, end=end).content
    for path in ("/api/ohlc/{}", "/api/v1/aggregated/{}", "/api/v1/stocks/{}/history"):
        assert server.get(path.format(server.symbol), start=start, end=end).content == own, path
    assert server.get("/candles", symbol=server.symbol, start=start, end=end).content == own


def udf_feeds_a_chart(server: Server) -> None:
    """What a TradingView chart asks on its way to the first picture."""
    config, info = server.json("/udf/config"), server.json("/udf/symbols", symbol=server.symbol)
    assert "1" in config["supported_resolutions"] and config["supports_search"]
    assert info["ticker"] == server.symbol and info["pricescale"] >= 1 and info["session"] and info["timezone"]
    assert any(each["ticker"] == server.symbol for each in server.json("/udf/search", query=server.symbol, limit=100))
    now = int(server.get("/udf/time").text)
    asked = {"symbol": server.symbol, "resolution": "1", "from": 0, "to": now + 3600, "countback": 5}
    history = server.json("/udf/history", **asked)
    assert history["s"] == "ok" and len({len(history[name]) for name in "tohlcv"}) == 1
    assert history["t"] == sorted(set(history["t"])) and len(history["t"]) <= 5
    none = server.json("/udf/history", **{**asked, "from": 1, "to": 2, "countback": 1})
    assert none["s"] == "no_data"
    wrong = server.get("/udf/history", **{**asked, "symbol": "NO-SUCH-SYMBOL"})
    assert wrong.json()["s"] == "error" and wrong.json()["errmsg"]


def contract_is_published(server: Server) -> None:
    """OpenAPI that names the paths of these checks."""
    answer = server.get("/openapi.json")
    if answer.status_code in (401, 403, 404):
        raise Skip("the server keeps its contract to itself")
    assert {"/api/v1/bars/{symbol}", "/udf/history", "/api/v1/market/overview"} <= answer.json()["paths"].keys()


CHECKS: tuple[Check, ...] = (
    range_is_half_open,
    times_in_both_forms_say_the_same,
    cursors_give_each_row_once,
    cursor_of_another_query_is_refused,
    bars_say_final_and_revision,
    amounts_are_exact_text_or_numbers,
    filled_rows_are_marked,
    refusals_name_field_and_limit,
    unknown_symbol_is_a_problem,
    closed_range_has_an_etag,
    content_is_negotiated,
    csv_has_the_rows_of_json,
    indicators_line_up_with_bars,
    latest_is_the_newest_price,
    overview_has_the_symbol,
    daily_is_the_roll_up_of_intraday,
    aliases_are_the_resources,
    udf_feeds_a_chart,
    contract_is_published,
)


def _paged(server: Server, query: dict[str, Any]) -> Iterator[str]:
    cursor: dict[str, str] = {}
    while True:
        page = server.bars_of(**query, **cursor)
        yield from (bar["start"] for bar in page["bars"])
        if page["next"] is None:
            return
        cursor = {"cursor": page["next"]}


def _refused(answer: httpx.Response, name: str) -> dict[str, Any]:
    assert answer.status_code == 422, f"{answer.request.url}: {answer.status_code}"
    assert answer.headers["content-type"] == "application/problem+json"
    wrong: dict[str, Any] = answer.json()["errors"][0]
    assert wrong["parameter"] == name, wrong
    return wrong


def _millis(time: str) -> int:
    return int(datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() * 1000)
