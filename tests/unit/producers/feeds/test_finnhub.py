"""Finnhub: what its recorded messages say, field by field, and its quotes over a local server."""

import asyncio
import json
from typing import Any

import pytest

from conf.settings import Settings
from core.bars import identity
from core.errors import InputError
from core.records import Tick
from core.validate import check
from producers.feeds import SchemaChanged
from producers.feeds.finnhub import Finnhub
from producers.http import Http, ProviderError
from tests.feeds import RECEIVED_US, encoded, needs_messages, parse_file, settings_with_keys
from tests.provider_server import Answer, ProviderServer, good

KEY = "finnhub_api_key-in-tests"


def finnhub() -> Finnhub:
    return Finnhub(settings_with_keys())


def trade(**changes: Any) -> dict[str, Any]:
    return {"s": "TSLA", "p": 122.1, "t": 1672348887195, "v": 1} | changes


def message(*trades: object) -> bytes:
    return encoded({"type": "trade", "data": list(trades)})


@needs_messages
def test_recorded_trades() -> None:
    stocks, crypto = parse_file(finnhub(), "finnhub/ws_trade.jsonl")
    tesla, apple = "c:1,8,24,12", "c:1,24,12"
    assert [
        (made.symbol, made.event_us - 1672348887_000_000, made.price, made.size, made.conditions)
        for made in stocks.ticks
    ] == [
        ("TSLA", 195_000, "122.1", "1", tesla),
        ("TSLA", 196_000, "122.09", "4", tesla),
        ("TSLA", 196_000, "122.09", "10", tesla),
        ("TSLA", 196_000, "122.1", "1", tesla),
        ("TSLA", 196_000, "122.1", "2", tesla),
        ("TSLA", 196_000, "122.1", "10", tesla),
        ("TSLA", 198_000, "122.1", "79", tesla),
        ("AAPL", 666_000, "129.58", "1", apple),
        ("AAPL", 785_000, "129.575", "1", apple),
    ]
    assert {(made.source, made.venue, made.trade_id, made.received_us) for made in stocks.ticks} == {
        ("finnhub", None, None, RECEIVED_US)
    }
    places = [made.seq for made in stocks.ticks if made.event_us == 1672348887_196_000]
    assert places == list(range(places[0], places[0] + 5))
    (bitcoin,) = crypto.ticks
    assert bitcoin == Tick(
        symbol="BTC-USDT",
        event_us=1575526691_134_000,
        price="7296.89",
        size="0.011467",
        seq=bitcoin.seq,
        source="finnhub",
        venue="BINANCE",
        received_us=RECEIVED_US,
    )


@needs_messages
def test_recorded_error_and_ping() -> None:
    (error,), (ping,) = [parse_file(finnhub(), f"finnhub/ws_{name}.jsonl") for name in ("error", "ping")]
    assert (error.complaint, error.ignored) == ("Subscribing to too many symbols", {"error": 1})
    assert (ping.complaint, ping.ignored) == ("", {"ping": 1})


def test_complaint_does_not_show_the_key() -> None:
    made = finnhub().parse(encoded({"type": "error", "msg": f"Invalid API key {KEY}"}), RECEIVED_US)
    assert made.complaint == "Invalid API key ***"


def test_trades_of_one_millisecond_are_several_in_one_message_and_in_two() -> None:
    feed = finnhub()
    made = [*feed.parse(message(trade(), trade()), 0).ticks, *feed.parse(message(trade(), trade(s="AAPL")), 0).ticks]
    assert len({identity(each) for each in made}) == 4
    again = finnhub().parse(message(trade(), trade(), trade(), trade(s="AAPL")), 0).ticks
    assert [identity(each) for each in again] == [identity(each) for each in made]


def test_price_without_a_volume_is_no_trade() -> None:
    made = finnhub().parse(message(trade(v=0), trade(v=0.0), trade(v=0.5)), 0)
    assert [each.size for each in made.ticks] == ["0.5"]
    assert made.ignored == {"price without a trade": 2}


def test_numbers_never_pass_through_a_float() -> None:
    text = message(trade()).replace(b"122.1", b"0.12345678901234567890")
    assert finnhub().parse(text, 0).ticks[0].price == "0.1234567890123456789"


@pytest.mark.parametrize("gone", ["s", "p", "t", "v"])
def test_missing_field_is_named(gone: str) -> None:
    with pytest.raises(SchemaChanged, match=f"finnhub: .*'trade'.*`{gone}`"):
        finnhub().parse(message({name: value for name, value in trade().items() if name != gone}), 0)


def test_symbols_both_ways() -> None:
    feed = finnhub()
    assert {native: feed.symbol(native) for native in ("AAPL", "BRK.B", "BINANCE:ETHBTC", "OANDA:EUR_USD")} == {
        "AAPL": "AAPL",
        "BRK.B": "BRK.B",
        "BINANCE:ETHBTC": "ETH-BTC",
        "OANDA:EUR_USD": "EUR-USD",
    }
    assert feed.symbol("COINBASE:BTC-USD") == "BTC-USD"
    assert [feed.native(symbol) for symbol in ("AAPL", "BTC-USDT")] == ["AAPL", "BINANCE:BTCUSDT"]


def test_socket_carries_the_key_and_the_subscription_does_not() -> None:
    feed = finnhub()
    assert feed.socket(["AAPL"]) == f"wss://ws.finnhub.io?token={KEY}"
    assert [json.loads(text) for text in feed.hello(["AAPL", "BTC-USDT"])] == [
        {"type": "subscribe", "symbol": "AAPL"},
        {"type": "subscribe", "symbol": "BINANCE:BTCUSDT"},
    ]
    with pytest.raises(InputError, match="FINNHUB_API_KEY"):
        Finnhub(Settings()).socket(["AAPL"])


# Quotes


async def latest(server: ProviderServer, *symbols: str) -> list[Tick]:
    feed = finnhub()
    async with server, Http(feed, base_url=server.url) as http:
        return await feed.latest(http, symbols)


def test_latest_prices_have_no_size_and_an_unknown_symbol_has_none() -> None:
    quotes = {
        "AAPL": {
            "c": 261.74,
            "d": 1.5,
            "dp": 0.57,
            "h": 263.31,
            "l": 260.68,
            "o": 261.07,
            "pc": 259.45,
            "t": 1582641000,
        },
        "NONE": {"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0},
        "BINANCE:BTCUSDT": {"c": 7296.8900000000001, "t": 1582641000},
    }
    server = ProviderServer({"/quote": lambda params: good(quotes[params["symbol"]])})
    apple, bitcoin = asyncio.run(latest(server, "AAPL", "NONE", "BTC-USDT"))
    assert (apple.symbol, apple.event_us, apple.price, apple.size) == ("AAPL", 1582641000_000_000, "261.74", "0")
    assert (bitcoin.symbol, bitcoin.venue) == ("BTC-USDT", "BINANCE")
    check(apple)
    assert server.asked[0] == ("/quote", {"symbol": "AAPL"})
    assert {headers["x-finnhub-token"] for headers in server.headers} == {KEY}


def test_quote_asked_twice_is_one_and_no_trade_of_its_time() -> None:
    server = ProviderServer({"/quote": lambda _: good({"c": 261.74, "t": 1582641000})})
    first, again = asyncio.run(latest(server, "AAPL", "AAPL"))
    assert identity(first) == identity(again)
    trades = finnhub().parse(message(*[trade(s="AAPL", t=1582641000_000)] * 1000), 0).ticks
    assert identity(first) not in {identity(each) for each in trades}


@pytest.mark.parametrize(
    "answer",
    [(401, {}, encoded({"error": f"Invalid API key {KEY}"})), good({"error": f"no access for {KEY}"})],
    ids=["status 401", "good status"],
)
def test_refused_question_does_not_show_the_key(answer: Answer) -> None:
    with pytest.raises(ProviderError) as refused:
        asyncio.run(latest(ProviderServer({"/quote": lambda _: answer}), "AAPL"))
    assert "finnhub" in str(refused.value) and KEY not in str(refused.value)


def test_quote_of_another_shape_is_told() -> None:
    with pytest.raises(SchemaChanged, match=r"finnhub: .*`c`"):
        asyncio.run(latest(ProviderServer({"/quote": lambda _: good({"t": 1582641000})}), "AAPL"))
