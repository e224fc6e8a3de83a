"""Every other name of a resource answers byte for byte what the resource does."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from api.routes.aliases import ALIASES
from conf.settings import Settings
from core.clock import ManualClock
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar, ticks_table
from tests.serving import serving

NOW = BASE + 20 * MINUTE
# Asked of each resource; a symbol with a slash is what paths break on.
ASKED: dict[str, list[dict[str, Any]]] = {
    "/api/v1/bars/{symbol:path}": [
        {},
        {"limit": 2, "order": "desc", "numeric": "float"},
        {"start": BASE // 1000, "end": (BASE + 3 * MINUTE) // 1000, "fill": "null", "format": "csv"},
        {"limit": 0},
        {"interval": "7m"},
        {"colour": "red"},
    ],
    "/api/v1/ticks/{symbol:path}": [{}, {"limit": 1}, {"limit": 99_999}, {"end": "2013-06-03T13:30:01Z"}],
    "/api/v1/latest/{symbol:path}": [{}, {"numeric": "float"}, {"numeric": "roman"}],
    "/api/v1/indicators/{symbol:path}": [{"type": "sma:2"}, {"type": "sma", "period": 3, "limit": 2}, {"type": "x"}],
    "/api/v1/analytics/intraday/{symbol:path}": [{}, {"day": "2013-06-03", "buckets": 3}, {"buckets": 0}],
    "/api/v1/analytics/daily/{symbol:path}": [{"interval": "1m"}, {"limit": 0}],
    "/api/v1/symbols": [{}],
    "/api/v1/prices/latest": [{}, {"symbol": "A/B"}, {"symbol": "NOPE"}],
}


@pytest.fixture
def client(store_settings: Settings, database: TimescaleStore, live: RedisStore) -> Iterator[httpx.Client]:
    for symbol in ("A/B", "C"):
        database.write_bars(bars_table([make_bar(minute, symbol=symbol) for minute in range(4)]))
        database.write_ticks(ticks_table(symbol, [(BASE + second * 1_000_000, 0, "10", "1") for second in range(3)]))
        live.write_bars(bars_table([make_bar(4, symbol=symbol, rev=0, state="forming")]))
    with serving(store_settings, ManualClock(NOW)) as client:
        yield client


def url(path: str, symbol: str, params: dict[str, Any]) -> str:
    """The path with its symbol, or the symbol in the query where the path has no place for it."""
    if "{symbol:path}" in path:
        return f"{path.replace('{symbol:path}', quote(symbol))}?{urlencode(params)}"
    return f"{path}?{urlencode({'symbol': symbol} | params)}"


def comparable(answer: httpx.Response) -> tuple[Any, ...]:
    """Status, body and the headers that say what the body is; a problem names the path that was asked."""
    if answer.headers["content-type"] == "application/problem+json":
        body: Any = {name: value for name, value in answer.json().items() if name != "instance"}
    else:
        body = answer.content
    told = ("content-type", "cache-control", "etag", "vary", "content-encoding")
    return answer.status_code, body, *(answer.headers.get(name) for name in told)


def test_aliases_answer_byte_for_byte_what_the_resource_does(client: httpx.Client) -> None:
    assert set(ALIASES.values()) == ASKED.keys()
    statuses = set()
    for path, resource in ALIASES.items():
        takes_symbol = "{symbol:path}" in resource
        for symbol in ("A/B", "NOPE") if takes_symbol else ("",):
            for params in ASKED[resource]:
                links = (
                    (url(path, symbol, params), url(resource, symbol, params))
                    if takes_symbol
                    else (f"{path}?{urlencode(params)}", f"{resource}?{urlencode(params)}")
                )
                other, own = (client.get(link) for link in links)
                assert comparable(other) == comparable(own), links
                statuses.add(own.status_code)
    assert statuses == {200, 404, 422}  # the comparison saw all kinds


def test_cursors_of_a_name_with_the_symbol_in_the_query_go_on(client: httpx.Client) -> None:
    pages, link = [], "/candles?symbol=A/B&limit=2&order=desc"
    for _ in range(5):
        body = client.get(link).json()
        pages.append([bar["start"][14:16] for bar in body["bars"]])
        if not body["next"]:
            break
        link = f"/candles?symbol=A/B&limit=2&order=desc&cursor={body['next']}"
    assert pages == [["34", "33"], ["32", "31"], ["30"]]


def test_a_name_without_its_symbol_is_refused_by_name(client: httpx.Client) -> None:
    for path in ("/trades", "/candles"):
        (wrong,) = client.get(path).json()["errors"]
        assert wrong["parameter"] == "symbol"
        assert client.get(f"{path}?symbol=%20").status_code == 422
