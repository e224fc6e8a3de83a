"""What a user's file calls a symbol is what every feed asks for, and its ticks come back under the canonical name."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conf.settings import Settings
from core.intervals import MINUTE_US
from producers.feeds import FEEDS
from producers.feeds.yahoo_wire import PricingData
from producers.http import Http
from tests.feeds import RECEIVED_US, encoded, said_to, settings_with_keys
from tests.provider_server import Answer, Route, good
from tests.rest import NOW_US, asking

SECONDS, MS = NOW_US // 1_000_000 - 60, NOW_US // 1000 - 60_000
ISO = "2025-10-09T08:52:20Z"
BAR = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": MS // 60_000 * 60_000}


@dataclass(frozen=True)
class Case:
    """One symbol of one feed. Aliases hold ZZ, which no name of the symbol by a rule does."""

    symbol: str
    alias: str
    routes: Mapping[str, Route]
    said: str = ""
    """What the subscription must hold."""
    message: Any = None
    asked: frozenset[str] = field(default_factory=frozenset)
    """The alias as REST writes it, where that is another way."""


def always(value: object) -> Route:
    return lambda _: good(value)


def numbered(trade: Mapping[str, object]) -> Route:
    """The only trade there is, of id 1."""
    return lambda asked: good([trade] if int(asked.get("fromId", 0)) <= 1 else [])


def alpha_vantage(asked: dict[str, str]) -> Answer:
    if asked["function"] == "CURRENCY_EXCHANGE_RATE":
        pair = {"1. From_Currency Code": asked["from_currency"], "3. To_Currency Code": asked["to_currency"]}
        rate = {"5. Exchange Rate": "1.5", "6. Last Refreshed": "2025-10-09 08:52:00", "7. Time Zone": "UTC"}
        return good({"Realtime Currency Exchange Rate": pair | rate})
    row = {"1. open": "1", "2. high": "1", "3. low": "1", "4. close": "1", "5. volume": "1"}
    return good({"Meta Data": {"6. Time Zone": "UTC"}, "Time Series (1min)": {"2025-10-09 08:52:00": row}})


def pricing(native: str) -> object:
    data = PricingData(id=native, price=1.5, time=MS, quote_type=8)
    return {"type": "pricing", "message": base64.b64encode(data.SerializeToString()).decode()}


ALPACA = {"i": 1, "x": "V", "p": 1.5, "s": 9, "t": ISO}
BINANCE = {"p": "1.5", "q": "2", "T": MS}
BINANCE_AGG = BINANCE | {"a": 1, "f": 1, "l": 1}
BINANCE_REST = {"id": 1, "price": "1.5", "qty": "2", "time": MS}
COINBASE = {"trade_id": 1, "price": "1.5", "size": "2", "time": ISO}
POLYGON = {"p": 1.5, "s": 9, "t": MS, "x": 4, "i": "1", "q": 3}
POLYGON_PAST = {"price": 1.5, "size": 9, "exchange": 4, "id": "1", "sip_timestamp": MS * 1_000_000}
TWELVE = {"datetime": "2025-10-09 08:52:00", "open": "1", "high": "1", "low": "1", "close": "1"}
CHART = {
    "meta": {
        "symbol": "ZZ.DE",
        "exchangeTimezoneName": "UTC",
        "regularMarketPrice": 1.5,
        "regularMarketTime": SECONDS,
    },
    "timestamp": [SECONDS // 60 * 60],
    "indicators": {"quote": [{name: [1] for name in ("open", "high", "low", "close", "volume")}]},
}

CASES: dict[str, list[Case]] = {
    "alpaca": [
        Case(
            *("ACME", "ZZ.OLD"),
            {
                "/v2/stocks/trades/latest": always({"trades": {"ZZ.OLD": ALPACA}}),
                "/v2/stocks/ZZ.OLD/trades": always({"trades": [ALPACA], "symbol": "ZZ.OLD"}),
            },
            '"ZZ.OLD"',
            [ALPACA | {"T": "t", "S": "ZZ.OLD"}],
        ),
        Case(
            *("ACME-USD", "ZZ/USD"),
            {
                "/v1beta3/crypto/us/latest/trades": always({"trades": {"ZZ/USD": ALPACA}}),
                "/v1beta3/crypto/us/trades": always({"trades": {"ZZ/USD": [ALPACA]}}),
            },
            '"ZZ/USD"',
            [ALPACA | {"T": "t", "S": "ZZ/USD"}],
        ),
    ],
    "alphavantage": [
        Case("ACME", "ZZ.LON", {"/query": alpha_vantage}),
        Case("ACME-USD", "ZZ-USD", {"/query": alpha_vantage}, asked=frozenset({"ZZ", "ZZ-USD"})),
    ],
    "binance": [
        Case(
            *("ACME-USDT", "ZZUSDT"),
            {
                "/api/v3/trades": always([BINANCE_REST]),
                "/api/v3/historicalTrades": numbered(BINANCE_REST),
                "/api/v3/aggTrades": numbered(BINANCE_AGG),
            },
            '"zzusdt@trade"',
            {"e": "trade", "s": "ZZUSDT", "t": 1} | BINANCE,
        )
    ],
    "binance_futures": [
        Case(
            *("ACME-USDT-PERP", "ZZUSDT", {"/fapi/v1/aggTrades": numbered(BINANCE_AGG)}, '"zzusdt@aggTrade"'),
            {"e": "aggTrade", "s": "ZZUSDT"} | BINANCE_AGG,
        )
    ],
    "binance_us": [
        Case(
            *("ACME-USD", "ZZUSD", {"/api/v3/aggTrades": numbered(BINANCE_AGG)}, '"zzusd@aggTrade"'),
            {"e": "aggTrade", "s": "ZZUSD"} | BINANCE_AGG,
        )
    ],
    "coinbase": [
        Case(
            *("ACME-USD", "ZZ-USD", {"/products/ZZ-USD/trades": always([COINBASE])}, '"ZZ-USD"'),
            COINBASE | {"type": "match", "product_id": "ZZ-USD"},
        )
    ],
    "finage": [
        Case(
            *("ACME", "ZZ"),
            {
                "/last/trade/stock/ZZ": always({"symbol": "ZZ", "price": 1.5, "size": 1, "timestamp": MS}),
                "/agg/stock/ZZ/1/minute/2025-10-08/2025-10-09": always({"results": [BAR]}),
            },
            '"ZZ"',
            {"s": "ZZ", "p": 1.5, "v": 2, "t": MS},
        )
    ],
    "finnhub": [
        Case(
            *("ACME-USD", "KRAKEN:ZZUSD", {"/quote": always({"c": 1.5, "t": SECONDS})}, '"KRAKEN:ZZUSD"'),
            {"type": "trade", "data": [{"s": "KRAKEN:ZZUSD", "p": 1.5, "t": MS, "v": 1}]},
        )
    ],
    "fmp": [
        Case(
            *("ACME", "ZZ.L"),
            {
                "/stable/quote": always([{"symbol": "ZZ.L", "price": 1.5, "timestamp": SECONDS}]),
                "/stable/historical-chart/1min": always([]),
            },
        )
    ],
    "kraken": [
        Case(
            *("ACME-USD", "ZZ/USD"),
            {
                "/0/public/Trades": always(
                    {"error": [], "result": {"ZZUSD": [["1.5", "2", SECONDS, "b", "m", "", 1]], "last": f"{MS}000000"}}
                )
            },
            '"ZZ/USD"',
            {
                "channel": "trade",
                "data": [{"symbol": "ZZ/USD", "price": 1.5, "qty": 2, "trade_id": 1, "timestamp": ISO}],
            },
            frozenset({"ZZUSD"}),
        )
    ],
    "polygon": [
        Case(
            *("ACME", "ZZ.OLD"),
            {
                "/v2/last/trade/ZZ.OLD": always({"results": POLYGON | {"t": MS * 1_000_000, "T": "ZZ.OLD"}}),
                "/v3/trades/ZZ.OLD": always({"results": [POLYGON_PAST]}),
            },
            '"T.ZZ.OLD"',
            [POLYGON | {"ev": "T", "sym": "ZZ.OLD"}],
        ),
        Case(
            *("ACME-USD", "X:ZZ-USD", {"/v3/trades/X:ZZ-USD": always({"results": [POLYGON_PAST]})}, '"XT.ZZ-USD"'),
            [POLYGON | {"ev": "XT", "pair": "ZZ-USD"}],
        ),
    ],
    "twelvedata": [
        Case(
            *("ACME-USD", "ZZ/USD"),
            {
                "/quote": always({"symbol": "ZZ/USD", "close": "1.5", "timestamp": SECONDS}),
                "/time_series": always({"values": [TWELVE]}),
            },
            '"ZZ/USD"',
            {"event": "price", "symbol": "ZZ/USD", "price": 1.5, "timestamp": SECONDS},
        )
    ],
    "yahoo": [
        Case(
            *("ACME", "ZZ.DE"),
            {"/v8/finance/chart/ZZ.DE": always({"chart": {"result": [CHART]}})},
            *('"ZZ.DE"', pricing("ZZ.DE")),
        )
    ],
}

every_case = pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name} {case.symbol}") for name, cases in CASES.items() for case in cases],
)


def aliased(name: str, case: Case, folder: Path) -> Settings:
    """Settings whose symbol file names the case, and another symbol by what this one would have been called."""
    by_rule = FEEDS[name](settings_with_keys()).native(case.symbol)
    entries = [("OTHER", by_rule), (case.symbol, case.alias)]
    symbols = [
        {"symbol": symbol, "asset_class": "unknown", "calendar": "24/7", "aliases": {name: alias}}
        for symbol, alias in entries
    ]
    path = folder / "symbols.json"
    path.write_text(json.dumps({"version": 1, "symbols": symbols}))
    return settings_with_keys(symbol_file=path)


def test_there_is_a_case_for_every_feed() -> None:
    assert CASES.keys() == FEEDS.keys()


@every_case
def test_alias_is_subscribed_to_and_comes_back_as_the_symbol(name: str, case: Case, tmp_path: Path) -> None:
    feed = FEEDS[name](aliased(name, case, tmp_path))
    assert (feed.native(case.symbol), feed.symbol(case.alias)) == (case.alias, case.symbol)
    if not feed.can.live:
        return
    hello = "".join(said_to(feed, [case.symbol]))
    assert case.said in hello.replace("\\", "") and "acme" not in hello.lower()
    assert [tick.symbol for tick in feed.parse(encoded(case.message), RECEIVED_US).ticks] == [case.symbol]
    # A stream hears more than what it asked for, and may hear before it asks.
    unasked = FEEDS[name](aliased(name, case, tmp_path))
    assert [tick.symbol for tick in unasked.parse(encoded(case.message), RECEIVED_US).ticks] == [case.symbol]


@every_case
def test_alias_is_what_requests_name(name: str, case: Case, tmp_path: Path) -> None:
    feed = FEEDS[name](aliased(name, case, tmp_path))

    async def job(http: Http) -> list[str]:
        found = [tick.symbol for tick in await feed.latest(http, [case.symbol])]
        start_us, end_us = NOW_US - 10 * MINUTE_US, NOW_US
        if "trades" in feed.can.history:
            found += [one.symbol async for page in feed.trades(http, case.symbol, start_us, end_us) for one in page]
        elif feed.can.history:
            bars = feed.bars(http, case.symbol, "1m", start_us, end_us)
            found += [one.symbol async for page in bars for one in page]
        return found

    symbols, server = asking(feed, case.routes, job)
    assert symbols and set(symbols) == {case.symbol}
    for path, params in server.asked:
        words = {word for text in (*path.split("/"), *params.values()) for word in text.split(",")}
        assert words & (case.asked or {case.alias}), (path, params)
        assert not [word for word in words if "ACME" in word]
