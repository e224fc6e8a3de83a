"""Polygon: its history, over a local server that answers as it does."""

import asyncio
from typing import Any

import msgspec
import pytest

from core.bars import identity
from core.corrections import corrected
from core.records import Tick
from producers.feeds import HistoryBar, SchemaChanged
from producers.feeds.polygon import Polygon
from producers.http import Http, ProviderError
from tests.feeds import encoded, files_of, needs_messages, records
from tests.provider_server import Answer, ProviderServer, good
from tests.unit.producers.feeds.test_polygon import KEY, one, polygon, stock, tick

START_US, END_US = 1651181822_000_000, 1651181823_000_000
PATH = "/v3/trades/AAPL"


def past(trade_id: str, nanoseconds: int, **changes: Any) -> dict[str, Any]:
    return {
        "conditions": [12, 37],
        "exchange": 4,
        "id": trade_id,
        "participant_timestamp": nanoseconds - 300_000,
        "price": 156.43,
        "sequence_number": 7179341,
        "sip_timestamp": nanoseconds,
        "size": 10,
        "tape": 3,
    } | changes


async def asked(server: ProviderServer, symbol: str = "AAPL") -> list[list[Tick]]:
    feed = polygon()
    async with server, Http(feed, base_url=server.url) as http:
        return [page async for page in feed.trades(http, symbol, START_US, END_US)]


def answered(results: list[dict[str, Any]], symbol: str = "AAPL", path: str = PATH) -> list[list[Tick]]:
    return asyncio.run(asked(ProviderServer({path: lambda _: good({"results": results})}), symbol))


def test_history_follows_pages_and_keeps_the_key_out_of_addresses() -> None:
    def pages(params: dict[str, str]) -> Answer:
        if params.get("cursor") == "c2":
            return good({"status": "OK", "results": [past("3", 1651181822_999_999_999)]})
        following = f"https://api.polygon.io{PATH}?cursor=c2&apiKey={KEY}"
        first = [past("1", 1651181822_000_000_999), past("2", 1651181822_461_979_400, trf_id=202)]
        return good({"results": first, "next_url": following})

    server = ProviderServer({PATH: pages})
    first, second = asyncio.run(asked(server))
    assert server.asked == [
        (
            PATH,
            {
                "timestamp.gte": "1651181822000000000",
                "timestamp.lt": "1651181823000000000",
                "limit": "50000",
                "order": "asc",
                "sort": "timestamp",
            },
        ),
        (PATH, {"cursor": "c2"}),
    ]
    assert [headers["authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 2
    assert [(each.event_us, each.trade_id, each.venue) for each in first + second] == [
        (1651181822_000_000, "20220428-1", "4"),
        (1651181822_461_000, "20220428-2", "4:202"),
        (1651181822_999_000, "20220428-3", "4"),
    ]
    assert first[0] == tick(
        symbol="AAPL",
        event_us=1651181822_000_000,
        price="156.43",
        size="10",
        trade_id="20220428-1",
        seq=7179341,
        venue="4",
        conditions="c:12,37",
        received_us=first[0].received_us,
    )


def test_history_has_the_identity_of_the_socket() -> None:
    live = one(stock(sym="AAPL", trfi=202, t=1651181822461))
    ((made,),) = answered([past("12345", 1651181822_461_979_400, trf_id=202)])
    assert identity(made) == identity(live)


@needs_messages
def test_recorded_page_of_history() -> None:
    (page,) = records(files_of(Polygon, "rest_v3_trades")[0])
    ((first, again, second, _),) = asyncio.run(asked(ProviderServer({PATH: lambda _: (200, {}, page["message"])})))
    assert first == tick(
        symbol="AAPL",
        event_us=1651181822461000,
        price="156.43",
        size="10",
        trade_id="20220428-183276",
        seq=7179341,
        venue="11:3",
        conditions="c:12,37",
        received_us=first.received_us,
    )
    assert again == msgspec.structs.replace(first, kind="correct"), "both have a `correction` of 1"
    assert (second.price, second.venue) == ("157.43", "12:3")


@pytest.mark.parametrize(
    ("correction", "kind", "price"),
    [
        (0, "trade", "156.43"),
        (7, "cancel", None),
        (8, "cancel", None),
        (10, "cancel", None),
        (11, "cancel", None),
    ],
)
def test_correction_makes_the_kind(correction: int, kind: str, price: str | None) -> None:
    ((made,),) = answered([past("7", 1651181822_461_979_400, correction=correction)])
    assert (made.kind, made.price, made.trade_id) == (kind, price, "20220428-7")
    assert (made.size is None) == (price is None)


def test_corrected_trade_is_right_whether_or_not_it_came_live_before() -> None:
    """Live it came as it was then; history has its corrected numbers, under the id that is known already."""
    (history,) = answered([past("7", 1651181822_461_979_400, correction=1)])
    assert [(tick.kind, tick.price, tick.trade_id) for tick in history] == [
        ("trade", "156.43", "20220428-7"),
        ("correct", "156.43", "20220428-7"),
    ]
    live = msgspec.structs.replace(history[0], price="165.43")
    for seen in ([live], []):
        counted = corrected((tick, 0, place) for place, tick in enumerate([*seen, *history]))
        assert [tick.price for tick, _, _ in counted] == ["156.43"]


def test_what_a_correction_replaced_is_no_tick() -> None:
    replaced = [past("7", 1651181822_461_979_400, correction=12), past("8", 1651181822_461_979_400, correction=99)]
    assert answered(replaced) == []


def test_history_of_a_pair_has_no_sip_time() -> None:
    trade = {"exchange": 1, "id": "191450340", "participant_timestamp": 1651181822_461_979_400, "price": 1, "size": 2}
    path = "/v3/trades/X:BTC-USD"
    ((made,),) = answered([trade], "BTC-USD", path)
    assert (made.symbol, made.trade_id, made.event_us) == ("BTC-USD", "191450340", 1651181822_461_000)


def test_same_question_again_gives_the_same_ticks() -> None:
    bare = {"exchange": 65, "participant_timestamp": 0, "sip_timestamp": 1651181822_461_979_400, "price": 1, "size": 2}
    path = "/v3/trades/O:AMC210827C00037000"
    server = ProviderServer({path: lambda _: good({"results": [bare, bare]})})

    async def twice() -> list[list[tuple[object, ...]]]:
        feed = polygon()
        async with server, Http(feed, base_url=server.url) as http:
            return [
                [identity(made) async for page in feed.trades(http, path[11:], START_US, END_US) for made in page]
                for _ in range(2)
            ]

    once, again = asyncio.run(twice())
    assert once == again and len(set(once)) == 2


def test_pages_in_a_circle_end() -> None:
    circle = {"results": [past("1", 1651181822_461_979_400)], "next_url": f"https://api.polygon.io{PATH}?cursor=c1"}
    with pytest.raises(SchemaChanged, match="next_url"):
        asyncio.run(asked(ProviderServer({PATH: lambda _: good(circle)})))


@pytest.mark.parametrize(
    ("gone", "named"), [(("price",), "price"), (("sip_timestamp", "participant_timestamp"), "sip_timestamp")]
)
def test_missing_field_of_history_is_named(gone: tuple[str, ...], named: str) -> None:
    trade = {name: value for name, value in past("1", 1651181822_461_979_400).items() if name not in gone}
    with pytest.raises(SchemaChanged, match=f"polygon: .*`{named}`"):
        answered([trade])


@pytest.mark.parametrize(
    "answer",
    [
        (403, {}, encoded({"status": "NOT_AUTHORIZED", "message": f"key {KEY}"})),
        good({"status": "ERROR", "error": f"Unknown API Key {KEY}"}),
    ],
    ids=["status 403", "good status"],
)
def test_refused_question_does_not_show_the_key(answer: Answer) -> None:
    with pytest.raises(ProviderError) as refused:
        asyncio.run(asked(ProviderServer({PATH: lambda _: answer})))
    assert "polygon" in str(refused.value) and KEY not in str(refused.value)


async def bars_of(
    server: ProviderServer, interval: str, start_us: int, end_us: int, symbol: str = "AAPL"
) -> list[HistoryBar]:
    feed = polygon()
    async with server, Http(feed, base_url=server.url) as http:
        pages = feed.bars(http, symbol, interval, start_us, end_us)
        return [bar async for page in pages for bar in page]


def test_bars_are_half_open_and_exact() -> None:
    start_ms = 1651152600_000
    path = f"/v2/aggs/ticker/AAPL/range/5/minute/{start_ms}/{start_ms + 599_999}"
    bar = {"v": 642646396.0, "vw": 1.469, "o": 1.5032, "c": 1.4604, "h": 1.5064, "l": 1.4489, "n": 82132}
    rows = [bar | {"t": start_ms + step * 300_000} for step in (-1, 0, 1, 2)]
    server = ProviderServer({path: lambda _: good({"results": rows, "adjusted": False})})
    made = asyncio.run(bars_of(server, "5m", start_ms * 1000, start_ms * 1000 + 600_000_000))
    assert server.asked == [(path, {"adjusted": "false", "sort": "asc", "limit": "50000"})]
    assert made[0] == HistoryBar(
        symbol="AAPL",
        interval="5m",
        start=start_ms * 1000,
        open="1.5032",
        high="1.5064",
        low="1.4489",
        close="1.4604",
        volume="642646396",
        vwap="1.469",
        trade_count=82132,
        source="polygon",
    )
    assert [each.start - start_ms * 1000 for each in made] == [0, 300_000_000]


def test_next_page_of_bars_is_where_it_is_said_to_be() -> None:
    """The address of a next page of bars differs in its path, not only in its cursor."""
    day_us = 86_400_000_000
    start_us = 1112313600_000_000  # 2005-04-01 00:00 UTC; the day begins at 05:00 there, and at 04:00 from 04-03 on
    first, later = "/v2/aggs/ticker/AAPL/range/1/day/1112313600000/1112659199999", "/v2/aggs/ticker/AAPL/later"
    bar = {"v": 1, "o": 1, "c": 1, "h": 1, "l": 1}
    routes = {
        first: lambda _: good(
            {"results": [bar | {"t": 1112331600000}], "next_url": f"https://api.massive.com{later}?cursor=x"}
        ),
        later: lambda params: good({"results": [bar | {"t": 1112587200000}] if params == {"cursor": "x"} else []}),
    }
    made = asyncio.run(bars_of(ProviderServer(routes), "1d", start_us, start_us + 4 * day_us))
    assert [(each.start - start_us) / day_us for each in made] == [0, 3]
    assert (made[0].vwap, made[0].trade_count) == (None, None)


def test_bars_of_a_pair_are_asked_for_without_its_dash() -> None:
    """Unlike its trades: X:BTC-USD there, X:BTCUSD here."""
    path = "/v2/aggs/ticker/X:BTCUSD/range/1/minute/1651152600000/1651152659999"
    row = {"v": 1.5, "o": 1, "c": 1, "h": 1, "l": 1, "t": 1651152600000}
    server = ProviderServer({path: lambda _: good({"results": [row]})})
    (made,) = asyncio.run(bars_of(server, "1m", 1651152600_000_000, 1651152660_000_000, "BTC-USD"))
    assert (made.symbol, made.volume) == ("BTC-USD", "1.5")


def test_latest_trades() -> None:
    last = {"i": "237688", "p": 166.25, "s": 2, "x": 4, "r": 202, "T": "AAPL", "t": 1651179319310617300, "q": 7084210}
    crypto = {"exchange": 1, "id": "19", "participant_timestamp": 1651181822_461_979_400, "price": 1, "size": 2}
    routes = {
        "/v2/last/trade/AAPL": lambda _: good({"status": "OK", "results": last}),
        "/v3/trades/X:BTC-USD": lambda params: good({"results": [crypto] if params["order"] == "desc" else []}),
    }
    server = ProviderServer(routes)

    async def latest() -> list[Tick]:
        feed = polygon()
        async with server, Http(feed, base_url=server.url) as http:
            return await feed.latest(http, ["AAPL", "BTC-USD"])

    apple, bitcoin = asyncio.run(latest())
    assert (apple.event_us, apple.trade_id, apple.venue) == (1651179319310617, "20220428-237688", "4:202")
    assert (bitcoin.symbol, bitcoin.trade_id) == ("BTC-USD", "19")
