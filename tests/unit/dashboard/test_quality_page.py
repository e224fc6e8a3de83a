"""The data quality page over an API that answers from a table: what it asks, and what it makes of the answers."""

import asyncio
import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiDown
from dashboard.pages.quality import Found, layout, read, shown
from dashboard.pages.quality_tables import amendments_table, gaps_table, revisions_table
from dashboard.pages.quality_view import cards
from dashboard.parts import EVERY

NOW = datetime(2024, 5, 2, 12, 30, tzinfo=UTC)
VALUES = dict.fromkeys(("open", "high", "low", "close", "volume", "notional", "vwap"), "10.5") | {"trade_count": 2}
DAY = {"day": "2024-05-02", "checked": 10, "matched": 9, "amended": 1, "at": "2024-05-02T12:00:00.000000Z"}
AMENDMENT = {
    "symbol": "BTC/USD",
    "interval": "5m",
    "start": "2024-05-02T12:00:00.000000Z",
    "rev": 2,
    "reason": "late",
    "known_at": "2024-05-02T12:07:01.000000Z",
    "was": VALUES,
    "now": VALUES | {"close": "10.7"},
}
GAP = {
    "symbol": "A",
    "source": "coinbase",
    "cause": "ids",
    "start": "2024-05-02T12:00:00.000000Z",
    "end": "2024-05-02T12:00:02.500000Z",
    "seconds": 2.5,
    "missing": 41,
    "state": "open",
    "filled": 0,
    "detail": "",
    "noticed_at": "2024-05-02T12:00:03.000000Z",
    "settled_at": None,
}
RUN = {"at": "2024-05-02T12:01:00.000000Z", "ticks": 3, "p50_us": 1, "p90_us": 2, "p99_us": 3, "max_us": 15_000_000}
ANSWERS: dict[str, Any] = {
    "/api/v1/quality/days": {"totals": [DAY | {"symbols": 1}], "days": [DAY | {"symbol": "A"}], "truncated": False},
    "/api/v1/quality/A": {"symbol": "A", "days": [DAY]},
    "/api/v1/quality/amendments": {"reasons": {"late": 1}, "truncated": False, "amendments": [AMENDMENT]},
    "/api/v1/quality/gaps": {"states": {"open": 1}, "truncated": True, "gaps": [GAP]},
    "/api/v1/metrics/late-ticks": {"runs": [RUN]},
}


class Answers(BaseHTTPRequestHandler):
    """Answers from the table, and notes what was asked."""

    urls: ClassVar[list[httpx.URL]] = []

    def do_GET(self) -> None:
        url = httpx.URL(self.path)
        self.urls.append(url)
        body = json.dumps(ANSWERS[url.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def asked(symbol: str | None) -> tuple[Found, list[httpx.URL]]:
    """What the page reads, and the requests that it made."""
    Answers.urls.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()

        async def run() -> Found:
            client = ApiClient(f"http://127.0.0.1:{server.server_port}")
            try:
                return await read(client, symbol, NOW)
            finally:
                await client.close()

        found = asyncio.run(run())
        server.shutdown()
    return found, list(Answers.urls)


def text_of(component: Any) -> str:
    """All text of a component."""
    if isinstance(component, Component):
        return text_of(getattr(component, "children", None))
    if isinstance(component, list | tuple):
        return " ".join(filter(None, map(text_of, component)))
    return "" if component is None else str(component)


def test_all_symbols_are_one_request_per_table_over_thirty_days() -> None:
    found, urls = asked(None)
    queries = {(url.path, url.params.get("since")): dict(url.params) for url in urls}
    assert queries["/api/v1/quality/days", None] == {"days": "30", "last": "2024-05-02", "limit": "40000"}
    assert queries["/api/v1/quality/amendments", "2024-05-02T00:00:00Z"]["limit"] == "1"
    assert queries["/api/v1/quality/amendments", "2024-04-25T12:30:00Z"]["limit"] == "25"
    assert len(urls) == 5 and not any("symbol" in url.params for url in urls)
    assert (found.first, found.today, found.reasons) == ("2024-04-03", "2024-05-02", {"late": 1})


def test_one_symbol_is_asked_for_by_itself_everywhere() -> None:
    found, urls = asked("A")
    of_all = [url.path for url in urls if url.params.get("symbol") != "A" and not url.path.endswith("/A")]
    assert of_all == ["/api/v1/metrics/late-ticks"]
    assert found.totals == found.days == [DAY | {"symbol": "A"}]


def test_outputs_hold_what_the_api_said() -> None:
    found, _ = asked(None)
    said, top, calendar, late, lateness, amendments, gaps = shown(found, None, "dark")
    assert said.startswith("All 10 checked bars of today") and said.endswith("1 bar was amended: 1 late.")
    words = text_of(top)
    assert "90.00 %" in words and "1 late" in words and "05-02 12:01, up to 15 s" in words
    assert len(calendar.data[0].x) == 30 and len(lateness.data[0].x) == 1
    assert late == "3 ticks in the last run that found any, up to 15 s late."
    assert "Only the newest" not in text_of(amendments) and "Only the newest 25" in text_of(gaps)


def test_an_api_that_is_down_is_said_to_be_so() -> None:
    async def run() -> None:
        client = ApiClient("http://127.0.0.1:1")
        try:
            await read(client, None, NOW)
        finally:
            await client.close()

    with pytest.raises(ApiDown):
        asyncio.run(run())


def test_amendment_shows_only_what_changed_and_leads_to_its_chart() -> None:
    table = amendments_table([AMENDMENT])
    words = text_of(table)
    assert "close 10.5 → 10.7" in words and "high" not in words
    (link,) = [each for each in table._traverse() if getattr(each, "href", None)]
    assert link.href == "/?symbol=BTC%2FUSD&interval=5m"
    (button,) = [each for each in table._traverse() if getattr(each, "className", "") == "part-button"]
    assert button.value == "5m 2024-05-02T12:00:00.000000Z BTC/USD"


def test_revisions_mark_what_changed_from_one_to_the_next() -> None:
    first = VALUES | {"rev": 1, "reason": None, "known_at": "2024-05-02T12:05:16.000000Z"}
    second = VALUES | {"rev": 2, "reason": "cancel", "known_at": "2024-05-02T12:07:00.000000Z", "close": "10.7"}
    table = revisions_table([first, second])
    assert "as first made" in text_of(table) and "cancel" in text_of(table)
    marked = [each for each in table._traverse() if getattr(each, "className", "") == "quality-changed"]
    assert [text_of(each) for each in marked] == ["10.7"]


def test_nothing_has_a_defined_look() -> None:
    assert text_of(amendments_table([])) == "No bar was amended in the last seven days."
    assert text_of(gaps_table([])) == "No feed has noticed a gap."
    assert "not" not in text_of(gaps_table([GAP])) and "2.5 s" in text_of(gaps_table([GAP]))
    words = text_of(cards("2024-05-02", [], {}, [], {}))
    assert words.count("–") == 1 and words.count(" 0 ") >= 3


def test_the_symbol_of_the_url_is_chosen() -> None:
    def choice(query: dict[str, str]) -> Any:
        return next(each for each in layout(query)._traverse() if getattr(each, "id", None) == "quality-symbol")

    assert choice({"symbol": "BTC/USD"}).value == "BTC/USD" and len(choice({"symbol": "BTC/USD"}).options) == 2
    assert choice({}).value == EVERY and choice({"symbol": ""}).value == EVERY
