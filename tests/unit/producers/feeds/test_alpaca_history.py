"""Alpaca: its history, over a local server that answers as it does."""

import asyncio
from typing import Any

import pytest

from core.bars import identity
from core.records import Tick
from core.validate import check
from producers.feeds import HistoryBar, SchemaChanged
from producers.http import Http, ProviderError
from tests.feeds import encoded
from tests.provider_server import Answer, ProviderServer, good
from tests.unit.producers.feeds.test_alpaca import KEY, SECRET, TRADE, alpaca, one

START_US, END_US = 1634112000_000_000, 1634112001_000_000
PATH = "/v2/stocks/AAPL/trades"


def past(trade_id: int, time: str, **changes: Any) -> dict[str, Any]:
    return {"t": time, "x": "P", "p": 140.2, "s": 595, "c": ["@", "T"], "i": trade_id, "z": "C"} | changes


def server_of(trades: object) -> ProviderServer:
    return ProviderServer({PATH: lambda _: good({"trades": trades})})


async def asked(server: ProviderServer, symbol: str = "AAPL") -> list[list[Tick]]:
    feed = alpaca()
    async with server, Http(feed, base_url=server.url) as http:
        return [page async for page in feed.trades(http, symbol, START_US, END_US)]


def test_history_follows_pages_and_keeps_the_keys_out_of_addresses() -> None:
    def pages(params: dict[str, str]) -> Answer:
        if "page_token" not in params:
            rows = [past(1, "2021-10-13T08:00:00Z"), past(2, "2021-10-13T08:00:00.08960768Z")]
            return good({"trades": rows, "symbol": "AAPL", "next_page_token": "a=="})
        if params["page_token"] == "a==":
            return good({"trades": None, "symbol": "AAPL", "next_page_token": "b+/"})
        rows = [past(3, "2021-10-13T08:00:00.999999999Z")] if params["page_token"] == "b+/" else []
        return good({"trades": rows, "symbol": "AAPL", "next_page_token": None})

    server = ProviderServer({PATH: pages})
    first, second = asyncio.run(asked(server))
    question = {
        **{"start": "2021-10-13T08:00:00.000000000Z", "end": "2021-10-13T08:00:00.999999999Z"},
        **{"limit": "10000", "sort": "asc", "feed": "iex"},
    }
    assert server.asked == [
        (PATH, question),
        (PATH, question | {"page_token": "a=="}),
        (PATH, question | {"page_token": "b+/"}),
    ]
    assert [(headers["apca-api-key-id"], headers["apca-api-secret-key"]) for headers in server.headers] == [
        (KEY, SECRET)
    ] * 3
    assert [(made.event_us - START_US, made.trade_id) for made in first + second] == [
        (0, "20211013-1"),
        (89_607, "20211013-2"),
        (999_999, "20211013-3"),
    ]


def test_history_has_the_identity_of_the_socket() -> None:
    live = one(TRADE | {"t": "2021-10-13T08:00:00.5Z", "i": 2, "x": "P"})
    rows = [past(2, "2021-10-13T08:00:00.5Z")]
    for trades in (rows, {"AAPL": rows}):
        ((made,),) = asyncio.run(asked(server_of(trades)))
        assert identity(made) == identity(live)


@pytest.mark.parametrize(
    ("update", "kind", "price"),
    [
        (None, "trade", "140.2"),
        ("corrected", "trade", "140.2"),
        ("canceled", "cancel", None),
        ("incorrect", "cancel", None),
    ],
)
def test_update_of_a_past_trade_makes_the_kind(update: str | None, kind: str, price: str | None) -> None:
    rows = [past(2, "2021-10-13T08:00:00.5Z", u=update)]
    ((made,),) = asyncio.run(asked(server_of(rows)))
    assert (made.kind, made.price, made.trade_id) == (kind, price, "20211013-2")
    check(made)


def test_unknown_update_is_told() -> None:
    rows = [past(2, "2021-10-13T08:00:00.5Z", u="novelty")]
    with pytest.raises(SchemaChanged, match="`u` is 'novelty'"):
        asyncio.run(asked(server_of(rows)))


def test_pages_in_a_circle_end() -> None:
    circle = {"trades": [past(2, "2021-10-13T08:00:00.5Z")], "next_page_token": "a"}
    with pytest.raises(SchemaChanged, match="next_page_token"):
        asyncio.run(asked(ProviderServer({PATH: lambda _: good(circle)})))


def test_history_of_a_pair() -> None:
    row = {"t": "2021-10-13T08:00:00.080264Z", "p": 41516.08, "s": 0.00315427, "tks": "B", "i": 293648598}
    server = ProviderServer({"/v1beta3/crypto/us/trades": lambda _: good({"trades": {"BTC/USD": [row]}})})
    ((made,),) = asyncio.run(asked(server, "BTC-USD"))
    assert (made.symbol, made.trade_id, made.size) == ("BTC-USD", "293648598", "0.00315427")
    assert server.asked[0][1]["symbols"] == "BTC/USD" and "feed" not in server.asked[0][1]


def test_refused_question_does_not_show_the_keys() -> None:
    server = ProviderServer({PATH: lambda _: (403, {}, encoded({"message": f"forbidden {KEY} {SECRET}"}))})
    with pytest.raises(ProviderError) as refused:
        asyncio.run(asked(server))
    assert "alpaca" in str(refused.value) and KEY not in str(refused.value) and SECRET not in str(refused.value)


async def bars_of(server: ProviderServer, symbol: str, interval: str, start_us: int, end_us: int) -> list[HistoryBar]:
    feed = alpaca()
    async with server, Http(feed, base_url=server.url) as http:
        return [bar async for page in feed.bars(http, symbol, interval, start_us, end_us) for bar in page]


def bar_row(time: str) -> dict[str, Any]:
    return {"t": time, "o": 174, "h": 174.84, "l": 172.31, "c": 174.61, "v": 85998033, "n": 732412, "vw": 173.703516}


def test_bars_are_half_open_and_exact() -> None:
    start_us = 1643725800_000_000  # 2022-02-01 14:30 UTC
    rows = [bar_row(f"2022-02-01T14:{minute}:00Z") for minute in (25, 30, 35, 40)]
    server = ProviderServer({"/v2/stocks/AAPL/bars": lambda _: good({"bars": rows, "symbol": "AAPL"})})
    made = asyncio.run(bars_of(server, "AAPL", "5m", start_us, start_us + 600_000_000))
    (_, question) = server.asked[0]
    assert (question["timeframe"], question["adjustment"], question["feed"]) == ("5Min", "raw", "iex")
    assert (question["start"], question["end"]) == ("2022-02-01T14:30:00.000000000Z", "2022-02-01T14:39:59.999999999Z")
    assert made[0] == HistoryBar(
        symbol="AAPL",
        interval="5m",
        start=start_us,
        open="174",
        high="174.84",
        low="172.31",
        close="174.61",
        volume="85998033",
        vwap="173.703516",
        trade_count=732412,
        source="alpaca",
    )
    assert [bar.start - start_us for bar in made] == [0, 300_000_000]


def test_daily_bars_of_both_halves_of_the_year_start_at_midnight_utc() -> None:
    day_us, start_us = 86_400_000_000, 1646956800_000_000  # 2022-03-11; the clocks go forward on the 13th
    rows = [bar_row("2022-03-11T05:00:00Z"), bar_row("2022-03-14T04:00:00Z")]
    server = ProviderServer({"/v2/stocks/AAPL/bars": lambda _: good({"bars": rows})})
    made = asyncio.run(bars_of(server, "AAPL", "1d", start_us, start_us + 4 * day_us))
    assert [(bar.start - start_us) / day_us for bar in made] == [0, 3]


def test_latest_trades_of_stocks_and_crypto() -> None:
    stocks = {"trades": {"AAPL": past(22730, "2022-03-18T14:02:09.722539521Z")}}
    crypto = {"trades": {"BTC/USD": {"t": "2022-03-18T14:03:31.960672Z", "p": 40650, "s": 0.1517, "tks": "B", "i": 2}}}
    routes = {
        "/v2/stocks/trades/latest": lambda params: good(stocks if params["symbols"] == "AAPL,NONE" else {}),
        "/v1beta3/crypto/us/latest/trades": lambda params: good(crypto if params["symbols"] == "BTC/USD" else {}),
    }

    async def latest() -> list[Tick]:
        feed = alpaca()
        async with ProviderServer(routes) as server, Http(feed, base_url=server.url) as http:
            return await feed.latest(http, ["AAPL", "BTC-USD", "NONE"])

    assert [(made.symbol, made.trade_id, made.event_us) for made in asyncio.run(latest())] == [
        ("AAPL", "20220318-22730", 1647612129_722_539),
        ("BTC-USD", "2", 1647612211_960_672),
    ]
