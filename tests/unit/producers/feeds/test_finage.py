"""Finage: the documented messages, and answers from a local provider; nothing recorded was at hand."""

import logging
from typing import Any

import pytest
from pydantic import SecretStr

from conf.settings import Settings
from core.errors import InputError
from core.intervals import DAY_US, MINUTE_US
from core.records import Tick
from producers.feeds import Parsed, SchemaChanged
from producers.feeds.finage import Finage
from producers.feeds.rows import local_us
from producers.http import ProviderError
from tests.feeds import RECEIVED_US, encoded, settings_with_keys
from tests.provider_server import Answer, good
from tests.rest import NOW_US, asking, bars_from

SECRET = "finage_api_key-in-tests"
STOCK = {"s": "AAPL", "p": 118.940, "c": [14, 37, 41], "v": 100, "dp": False, "t": 1605215340130, "x": "4"}
PAIR = {"s": "BTCUSD", "p": "16278.290", "q": "0.0130", "dc": "3.1", "dd": "497.6", "t": 1605215482000}


@pytest.fixture
def feed() -> Finage:
    return Finage(settings_with_keys())


def test_trade_of_a_stock_is_an_exact_tick(feed: Finage) -> None:
    (tick,) = feed.parse(encoded(STOCK), RECEIVED_US).ticks
    assert tick == Tick(
        symbol="AAPL",
        event_us=1_605_215_340_130_000,
        price="118.94",
        size="100",
        seq=tick.seq,
        source="finage",
        venue="4",
        conditions="c:14,37,41",
        received_us=RECEIVED_US,
    )


def test_trade_of_a_pair_is_an_exact_tick(feed: Finage) -> None:
    (tick,) = feed.parse(encoded(PAIR), RECEIVED_US).ticks
    assert (tick.symbol, tick.price, tick.size, tick.event_us) == ("BTC-USD", "16278.29", "0.013", 1605215482000000)
    assert (tick.venue, tick.conditions) == (None, None)


def test_trades_of_one_millisecond_are_apart(feed: Finage) -> None:
    first, second = (feed.parse(encoded(STOCK), 0).ticks[0].seq for _ in range(2))
    assert second == first + 1


@pytest.mark.parametrize("message", [STOCK, PAIR], ids=["stock", "pair"])
@pytest.mark.parametrize("field", ["t", "v", "q"])
def test_field_that_is_gone_is_named(feed: Finage, message: dict[str, Any], field: str) -> None:
    if field not in message:
        pytest.skip("not one of its fields")
    poorer = {name: value for name, value in message.items() if name != field}
    # Without its size a pair looks like a stock without one.
    with pytest.raises(SchemaChanged, match="finage.*`" + {"t": "t", "v": "v", "q": "v"}[field]):
        feed.parse(encoded(poorer), 0)


@pytest.mark.parametrize(("field", "value"), [("p", "high"), ("v", None), ("t", "now"), ("c", 7)])
def test_field_of_another_type_is_named(feed: Finage, field: str, value: object) -> None:
    with pytest.raises(SchemaChanged, match=rf"\$\.{field}"):
        feed.parse(encoded(STOCK | {field: value}), 0)


@pytest.mark.parametrize(
    ("message", "kind", "complaint"),
    [
        ({"status_code": 200, "message": "connected to the adapter", "id": "e0"}, "status", ""),
        ({"status_code": 401, "message": "invalid socket key"}, "status", "401 invalid socket key"),
        ({"s": "AAPL", "a": 118.95, "b": 118.93, "t": 1605215340130}, "quote", ""),
        ({"symbol": "AAPL", "ask": 121.34, "bid": 121.32, "timestamp": 1614869528663}, "quote", ""),
    ],
)
def test_what_is_no_trade_is_ignored_by_name(feed: Finage, message: dict[str, Any], kind: str, complaint: str) -> None:
    assert feed.parse(encoded(message), 0) == Parsed(ignored={kind: 1}, complaint=complaint)


def test_live_without_the_customer_s_address_names_the_setting(feed: Finage) -> None:
    with pytest.raises(InputError, match="TICKSTREAM_FINAGE_SOCKET"):
        feed.socket(["AAPL"])


def test_address_with_its_key_is_used_and_never_shown() -> None:
    address = "wss://abc.example:7002/?token=socket-secret"
    settings = settings_with_keys(finage_socket=SecretStr(address))
    feed = Finage(settings)
    assert feed.socket(["AAPL"]) == address
    assert feed.masked(f"no {address} for {SECRET}") == "no wss://abc.example:7002/?token=*** for ***"
    assert "socket-secret" not in repr(settings)
    assert feed.hello(["AAPL", "BTC-USD"]) == ['{"action": "subscribe", "symbols": "AAPL,BTCUSD"}']


def test_documented_aggregates_are_exact_bars(feed: Finage) -> None:
    rows = [
        {"o": 80.880, "h": 81.19, "l": 79.7375, "c": 80.3625, "v": 118746872, "t": 1580878800000},
        {"o": 80.6425, "h": 81.305, "l": 80.0662, "c": 81.3025, "v": 105392140, "t": 1580965200000},
    ]
    start = local_us("2020-02-05", "UTC")
    path = "/agg/stock/AAPL/1/day/2020-02-04/2020-02-05"
    route = {path: lambda _: good({"symbol": "AAPL", "totalResults": 2, "results": rows})}
    (bar,), server = bars_from(feed, route, "AAPL", "1d", start, start + DAY_US)
    assert (bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume) == (
        *(start, "80.88", "81.19", "79.7375", "80.3625", "118746872"),
    )
    assert server.asked == [(path, {"apikey": SECRET, "limit": "50000", "sort": "asc"})]


def test_minutes_of_a_long_range_come_once_each(feed: Finage) -> None:
    start = local_us("2024-03-01 00:00", "UTC")
    every = [start + number * 6 * 60 * MINUTE_US for number in range(40 * 4)]

    def answer(first: str, last: str) -> Answer:
        bounds = local_us(first, "UTC"), local_us(last, "UTC") + DAY_US
        row = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1}
        return good({"results": [row | {"t": us // 1000} for us in every if bounds[0] <= us < bounds[1]]})

    windows = [("2024-02-29", "2024-03-30"), ("2024-03-30", "2024-04-09")]
    route = {
        f"/agg/crypto/BTCUSD/1/minute/{first}/{last}": lambda _, first=first, last=last: answer(first, last)
        for first, last in windows
    }
    bars, server = bars_from(feed, route, "BTC-USD", "1m", start, start + 40 * DAY_US)
    assert [bar.start for bar in bars] == every and len(server.asked) == 2


def test_latest_is_the_last_trade(feed: Finage) -> None:
    route = {
        "/last/trade/stock/AAPL": lambda _: good(
            {"symbol": "AAPL", "price": 150.10, "size": 5, "timestamp": 1700000000123}
        ),
        "/last/trade/crypto/OPUSD": lambda _: good({"symbol": "OPUSD", "price": "1.50", "timestamp": 1700000000123}),
    }
    ticks, _ = asking(feed, route, lambda http: feed.latest(http, ["AAPL", "OP-USD"]))
    assert [(tick.symbol, tick.price, tick.size, tick.event_us, tick.received_us) for tick in ticks] == [
        ("AAPL", "150.1", "5", 1_700_000_000_123_000, NOW_US),
        ("OP-USD", "1.5", "0", 1_700_000_000_123_000, NOW_US),
    ]


def test_key_of_the_address_shows_nowhere(feed: Finage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ProviderError, match="/last/trade/stock/AAPL was refused with HTTP 403") as raised:
        route = {"/last/trade/stock/AAPL": lambda _: (403, {}, f"bad key {SECRET}".encode())}
        asking(feed, route, lambda http: feed.latest(http, ["AAPL"]))
    assert SECRET not in caplog.text + str(raised.value)


def test_rest_without_a_key_names_its_variable() -> None:
    with pytest.raises(InputError, match="FINAGE_API_KEY"):
        bars_from(Finage(Settings()), {}, "AAPL", "1d", 0, DAY_US)
