"""Kraken: both socket formats to the last digit, refusals, and paging by time against a server of made-up trades."""

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from core.intervals import MINUTE_US, SECOND_US
from core.records import Tick
from producers.feeds.base import HistoryBar, Parsed
from producers.feeds.kraken import Kraken
from producers.http import ProviderError
from tests.feeds import MESSAGES, RECEIVED_US, encoded, needs_messages, parse_file, records, settings_with_keys
from tests.provider_server import Answer, Route, ask, ask_pages, good

START_NS = 1_700_000_000_000_000_000
HOUR_US = 60 * MINUTE_US


def made() -> Kraken:
    return Kraken(settings_with_keys())


def parsed(message: object) -> Parsed:
    return made().parse(message if isinstance(message, bytes) else encoded(message), RECEIVED_US)


# Socket v2


@needs_messages
def test_recorded_trades_of_v2_are_exact() -> None:
    same: dict[str, Any] = {"symbol": "BTC-USD", "source": "kraken", "venue": "kraken", "received_us": RECEIVED_US}
    assert parse_file(made(), "kraken_v2/ws_trade_update.jsonl")[0].ticks == [
        Tick(event_us=1696613755440295, price="105944.2", size="0.00027625", trade_id="10218208", seq=10218208, **same),
        Tick(event_us=1696613756123456, price="105910.5", size="0.0001246", trade_id="10218209", seq=10218209, **same),
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.1", "0.1"),
        ("12345678.12345678", "12345678.12345678"),
        ("9007199254740993.5", "9007199254740993.5"),
        ("1e-8", "0.00000001"),
        ("4.0e-06", "0.000004"),
        ("70000", "70000"),
        ("0.30000000", "0.3"),
    ],
)
def test_numbers_are_read_digit_by_digit(number: str, text: str) -> None:
    trade = f'{{"symbol":"XBT/USD","price":{number},"qty":{number},"trade_id":5,"timestamp":"2023-10-06T17:35:55Z"}}'
    ticks = parsed(f'{{"channel":"trade","type":"snapshot","data":[{trade}]}}'.encode()).ticks
    assert [(t.symbol, t.price, t.size) for t in ticks] == [("BTC-USD", text, text)]


@pytest.mark.parametrize(
    ("message", "ignored", "complaint"),
    [
        ({"channel": "heartbeat"}, "heartbeat", ""),
        ({"channel": "status", "type": "update", "data": [{"system": "online"}]}, "status", ""),
        ({"method": "subscribe", "success": True, "result": {"channel": "trade"}}, "subscribe", ""),
        (
            {"method": "subscribe", "success": False, "error": "Currency pair not supported NO/SUCH"},
            "subscribe",
            "Currency pair not supported NO/SUCH",
        ),
        (
            {"event": "subscriptionStatus", "status": "error", "errorMessage": "Event(s) not found"},
            "subscriptionStatus",
            "Event(s) not found",
        ),
        ([1, {"a": []}, {"b": []}, "book-10", "XBT/USD"], "book-10", ""),
        ([1, {"a": []}, "ticker", "XBT/USD"], "ticker", ""),
        ([1, 2], "unnamed", ""),
        ([1, {}, {}, 4], "unnamed", ""),
    ],
)
def test_what_is_no_trade_is_counted_and_a_refusal_is_a_complaint(
    message: object, ignored: str, complaint: str
) -> None:
    found = parsed(message)
    assert (found.ticks, found.ignored, found.complaint) == ([], {ignored: 1}, complaint)


def test_subscription_and_symbols() -> None:
    assert [json.loads(text) for text in made().hello(["BTC-USD", "DOGE-EUR"])] == [
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD", "DOGE/EUR"], "snapshot": True}}
    ]
    assert [made().symbol(name) for name in ("XBT/USD", "XDG/EUR", "BTC/USD")] == ["BTC-USD", "DOGE-EUR", "BTC-USD"]
    assert [made().pair(name) for name in ("BTC-USD", "ETH-BTC", "DOGE-USD")] == ["XBTUSD", "ETHXBT", "XDGUSD"]


# Socket v1


@needs_messages
def test_every_recorded_trade_of_v1_is_read() -> None:
    path = MESSAGES / "kraken_v1" / "ws_trade.jsonl"
    ticks = [tick for message in parse_file(made(), "kraken_v1/ws_trade.jsonl") for tick in message.ticks]
    expected = [
        (pair.replace("/", "-"), Decimal(price), Decimal(size), int(Decimal(seconds) * SECOND_US))
        for _, trades, _, pair in (json.loads(record["message"]) for record in records(path))
        for price, size, seconds, *_ in trades
    ]
    assert [(t.symbol, Decimal(t.price or ""), Decimal(t.size or ""), t.event_us) for t in ticks] == expected
    assert len(ticks) == 10
    assert ticks[0] == Tick(
        symbol="XMR-USD",
        event_us=1618678142557535,
        price="354.11",
        size="0.89594024",
        seq=ticks[0].seq,
        source="kraken",
        venue="kraken",
        received_us=RECEIVED_US,
    )
    last = ticks[-1]
    assert (last.symbol, last.event_us, last.price, last.size) == ("SC-EUR", 1618678158135041, "0.04304", "20000")


def test_trades_of_v1_of_one_microsecond_differ_and_repeat_alike() -> None:
    row = ["1.0", "2.0", "1618678142.557535", "s", "l", ""]
    message = [993, [row, row], "trade", "XBT/USD"]
    ticks, again = parsed(message).ticks, parsed(message).ticks
    assert [(t.symbol, t.trade_id) for t in ticks] == [("BTC-USD", None)] * 2
    assert ticks[0].seq != ticks[1].seq
    assert ticks == again


# Paging


class Venue:
    """Trades behind the paging by time. `inclusive`: whether `since` counts itself in, which nothing may depend on."""

    def __init__(self, count: int = 4200, inclusive: bool = False) -> None:
        chance, at = random.Random(3), START_NS
        self.rows: list[tuple[str, str, int, int]] = []
        for number in range(1, count + 1):
            # One taker's trades share a nanosecond; some straddle what would be the edge of a page.
            together = number % 1000 >= 990 or number % 1000 <= 8
            at += 0 if together and number > 1 else chance.randrange(1, 2_000_000_000)
            at += 26 * 3600 * 10**9 if number == 2500 else 0
            at -= at % 1000 if number == 1500 else 0  # a whole microsecond, where a range starts
            self.rows.append(
                (f"{chance.randrange(100, 200)}.50000", f"0.{chance.randrange(1, 999):03d}00000", at, number)
            )
        self.inclusive = inclusive
        self.routes: dict[str, Route] = {"/0/public/Trades": self._trades}

    def _trades(self, asked: dict[str, str]) -> Answer:
        assert asked["pair"] == "XBTUSD"
        rows, count = self.rows, int(asked.get("count", "1000"))
        if "since" in asked:
            since = int(asked["since"])
            rows = [row for row in rows if row[2] > since or (self.inclusive and row[2] == since)][:count]
        else:
            since, rows = 0, rows[-count:]
        text = ",".join(f'["{p}","{q}",{ns // 10**9}.{ns % 10**9:09d},"b","m","",{n}]' for p, q, ns, n in rows)
        last = rows[-1][2] if rows else since
        return 200, {}, f'{{"error":[],"result":{{"XXBTZUSD":[{text}],"last":"{last}"}}}}'.encode()

    def expected(self, wanted: Callable[[int, int], bool]) -> list[tuple[str, str, str, int]]:
        """What history must give of the rows wanted by (event microseconds, id)."""
        return [
            (str(n), f"{Decimal(p).normalize():f}", f"{Decimal(q).normalize():f}", ns // 1000)
            for p, q, ns, n in self.rows
            if wanted(ns // 1000, n)
        ]

    def now_us(self) -> int:
        return self.rows[-1][2] // 1000 + 30 * SECOND_US


def shown(pages: list[list[Tick]]) -> list[tuple[Any, ...]]:
    return [(t.trade_id, t.price, t.size, t.event_us) for page in pages for t in page]


since_or_after = pytest.mark.parametrize("inclusive", [False, True])


@since_or_after
@pytest.mark.parametrize("after_us", [0, 1])
@pytest.mark.parametrize(("first", "last"), [(1, 4200), (1, 995), (995, 1004), (1500, 2600), (4200, 4200)])
def test_trades_of_a_time_are_complete_and_no_more(inclusive: bool, first: int, last: int, after_us: int) -> None:
    venue, feed = Venue(inclusive=inclusive), made()
    start_us, end_us = venue.rows[first - 1][2] // 1000, venue.rows[last - 1][2] // 1000 + after_us
    pages, asked = ask_pages(
        feed, venue.routes, lambda http: feed.trades(http, "BTC-USD", start_us, end_us), venue.now_us()
    )
    assert shown(pages) == venue.expected(lambda us, _: start_us <= us < end_us)
    assert len(asked) <= 8


@since_or_after
@pytest.mark.parametrize(
    ("first", "last"), [(4100, 4200), (3000, 3000), (995, 1005), (1, 2001), (2499, 2501), (4195, 5000)]
)
def test_trades_by_id_have_both_ends(inclusive: bool, first: int, last: int) -> None:
    venue, feed = Venue(inclusive=inclusive), made()
    pages, asked = ask_pages(
        feed, venue.routes, lambda http: feed.trades_by_id(http, "BTC-USD", first, last), venue.now_us()
    )
    assert shown(pages) == venue.expected(lambda _, number: first <= number <= last)
    assert len(asked) <= 20


def test_ids_that_do_not_exist_yet_are_not_searched_for_long() -> None:
    venue, feed = Venue(), made()
    pages, asked = ask_pages(
        feed, venue.routes, lambda http: feed.trades_by_id(http, "BTC-USD", 9000, 9001), venue.now_us()
    )
    assert pages == []
    assert len(asked) <= 25


@pytest.mark.parametrize(("start_us", "end_us"), [(0, START_NS // 1000), (1 << 59, 1 << 60), (START_NS // 1000, 0)])
def test_history_without_trades_is_empty(start_us: int, end_us: int) -> None:
    venue, feed = Venue(10), made()
    pages, _ = ask_pages(
        feed, venue.routes, lambda http: feed.trades(http, "BTC-USD", start_us, end_us), venue.now_us()
    )
    assert pages == []


def test_latest_is_the_newest_trade_with_its_id() -> None:
    venue, feed = Venue(70), made()
    ticks, asked = ask(feed, venue.routes, lambda http: feed.latest(http, ["BTC-USD"]), venue.now_us())
    assert shown([ticks]) == venue.expected(lambda _, number: number == 70)
    assert (ticks[0].received_us, len(asked)) == (venue.now_us(), 1)


def test_error_in_a_good_answer_is_an_error() -> None:
    feed = made()
    routes: dict[str, Route] = {"/0/public/Trades": lambda _: good({"error": ["EQuery:Unknown asset pair"]})}
    with pytest.raises(ProviderError, match=r"kraken: /0/public/Trades was refused with .*Unknown asset pair"):
        ask(feed, routes, lambda http: feed.latest(http, ["NO-SUCH"]), 0)


@pytest.mark.parametrize("error", ["EAPI:Rate limit exceeded", "EService:Busy", "EGeneral:Temporary lockout"])
def test_busy_provider_is_asked_again(error: str) -> None:
    venue, feed = Venue(3), made()
    answers = [good({"error": [error]}), venue.routes["/0/public/Trades"]({"pair": "XBTUSD", "count": "1"})]
    ticks, asked = ask(
        feed, {"/0/public/Trades": lambda _: answers.pop(0)}, lambda http: feed.latest(http, ["BTC-USD"]), 0
    )
    assert (len(asked), [tick.trade_id for tick in ticks]) == (2, ["3"])


def test_warning_in_a_good_answer_is_no_error() -> None:
    assert made().problem(encoded({"error": ["WGeneral:Deprecated"], "result": {}})) is None


def test_bars_are_of_finished_intervals_with_trades() -> None:
    feed, start = made(), START_NS // 10**9 // 300 * 300
    rows: list[list[object]] = [
        [start + 300 * number, "1.50", "4.0", "0.50", "2.00", "1.75", "8.00", 0 if number == 2 else 3]
        for number in range(6)
    ]
    body = good({"error": [], "result": {"XXBTZUSD": rows, "last": start + 1200}})
    pages, asked = ask_pages(
        feed,
        {"/0/public/OHLC": lambda _: body},
        lambda http: feed.bars(http, "BTC-USD", "5m", (start + 300) * SECOND_US, (start + 9999) * SECOND_US),
        (start + 1501) * SECOND_US,
    )
    assert asked == [("/0/public/OHLC", {"pair": "XBTUSD", "interval": "5"})]
    assert [bar.start for page in pages for bar in page] == [(start + 300 * n) * SECOND_US for n in (1, 3, 4)]
    assert pages[0][0] == HistoryBar(
        symbol="BTC-USD",
        interval="5m",
        start=(start + 300) * SECOND_US,
        open="1.5",
        high="4",
        low="0.5",
        close="2",
        volume="8",
        vwap="1.75",
        trade_count=3,
        source="kraken",
    )
