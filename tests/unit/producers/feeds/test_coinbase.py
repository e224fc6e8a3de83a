"""Coinbase: recorded messages to the last digit, and paging against a server of made-up trades."""

import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from core.intervals import MINUTE_US, SECOND_US
from core.records import Tick
from producers.feeds.base import HistoryBar, SchemaChanged
from producers.feeds.coinbase import Coinbase
from producers.feeds.decoding import iso_us
from tests.feeds import MESSAGES, RECEIVED_US, encoded, needs_messages, parse_file, records, settings_with_keys
from tests.provider_server import Answer, Route, ask, ask_pages, good

START_US = 1_700_000_040 * SECOND_US  # a whole minute


def made() -> Coinbase:
    return Coinbase(settings_with_keys())


def tick(symbol: str, **fields: Any) -> Tick:
    return Tick(symbol=symbol, source="coinbase", venue="coinbase", received_us=RECEIVED_US, **fields)


# Recorded messages


@needs_messages
def test_first_and_last_match_are_exact() -> None:
    ticks = [tick for parsed in parse_file(made(), "coinbase_pro/ws_match.jsonl") for tick in parsed.ticks]
    assert ticks[0] == tick(
        "SKL-BTC", event_us=1618677817089723, price="0.00001305", size="985", trade_id="280232", seq=280232
    )
    assert ticks[-1] == tick(
        "SKL-USD", event_us=1618677846669388, price="0.7902", size="18", trade_id="1568319", seq=1568319
    )


@needs_messages
@pytest.mark.parametrize(("name", "count"), [("ws_match", 97), ("ws_last_match", 10)])
def test_every_recorded_match_is_read(name: str, count: int) -> None:
    ticks = [tick for parsed in parse_file(made(), f"coinbase_pro/{name}.jsonl") for tick in parsed.ticks]
    bodies = [json.loads(record["message"]) for record in records(MESSAGES / "coinbase_pro" / f"{name}.jsonl")]
    assert [(t.symbol, Decimal(t.price or ""), Decimal(t.size or ""), t.trade_id, t.event_us) for t in ticks] == [
        (b["product_id"], Decimal(b["price"]), Decimal(b["size"]), str(b["trade_id"]), iso_us(b["time"]))
        for b in bodies
    ]
    assert len(ticks) == count
    assert iso_us("2021-04-17T16:43:37.089723Z") == 1618677817089723


@needs_messages
def test_advanced_trades_are_exact() -> None:
    assert parse_file(made(), "coinbase_advanced/ws_market_trades.jsonl")[0].ticks == [
        tick("BTC-USD", event_us=1775572202789012, price="68900.5", size="0.0015", trade_id="995098700", seq=995098700),
        tick("BTC-USD", event_us=1775572202800000, price="68900", size="0.05", trade_id="995098701", seq=995098701),
    ]


@needs_messages
def test_trades_of_a_rest_answer_are_exact() -> None:
    record = next(records(MESSAGES / "coinbase_advanced" / "rest_ticker.jsonl"))
    parsed = made().parse_rest(record["channel"], record["message"], RECEIVED_US)
    assert parsed.ignored == {}
    assert parsed.ticks == [
        tick(
            "BTC-USD", event_us=1775521738544778, price="68923.67", size="0.00064", trade_id="995098663", seq=995098663
        ),
        tick(
            "BTC-USD",
            event_us=1775521738250358,
            price="68923.67",
            size="0.00123858",
            trade_id="995098662",
            seq=995098662,
        ),
        tick(
            "BTC-USD",
            event_us=1775521737296283,
            price="68924.94",
            size="0.01450854",
            trade_id="995098661",
            seq=995098661,
        ),
    ]


def test_rest_answer_without_a_product_is_ignored_and_a_changed_one_is_told() -> None:
    trade = {"trade_id": 1, "price": "1", "size": "1", "time": "2021-04-17T16:43:37Z"}
    assert made().parse_rest("trades", encoded([trade]), 0).ignored == {"trades": 1}
    assert made().parse_rest("candles", encoded({"candles": []}), 0).ignored == {"candles": 1}
    with pytest.raises(SchemaChanged, match=r"coinbase.*product_id"):
        made().parse_rest("ticker", encoded({"trades": [trade | {"trade_id": "1"}]}), 0)


def test_refusal_is_a_complaint() -> None:
    message = {"type": "error", "message": "Failed to subscribe", "reason": "NO-SUCH is not a valid product"}
    parsed = made().parse(encoded(message), 0)
    assert (parsed.ignored, parsed.complaint) == ({"error": 1}, "Failed to subscribe NO-SUCH is not a valid product")


def test_subscription_has_trades_and_heartbeats() -> None:
    assert [json.loads(text) for text in made().hello(["BTC-USD", "ETH-EUR"])] == [
        {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-EUR"], "channels": ["matches", "heartbeat"]}
    ]


# Paging


class Venue:
    """Trades behind the documented paging: newest first, `after` is an id that is left out."""

    def __init__(self, count: int = 4200) -> None:
        chance, at = random.Random(5), START_US
        self.times: list[int] = []
        for number in range(1, count + 1):
            at += chance.choice((0, 0, 17, 900_000)) + (3600 * SECOND_US if number == 2000 else 0)
            self.times.append(at)
        self.routes: dict[str, Route] = {"/products/BTC-USD/trades": self._trades}

    def _trades(self, asked: dict[str, str]) -> Answer:
        limit = int(asked.get("limit", "1000"))
        if limit > 1000:
            return 400, {}, b'{"message":"limit is too large"}'
        newest = min(len(self.times), int(asked.get("after", "999999999")) - 1)
        return good([self._row(number) for number in range(newest, max(0, newest - limit), -1)])

    def _row(self, number: int) -> dict[str, object]:
        us = self.times[number - 1]
        time = datetime.fromtimestamp(us // SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        row = {"trade_id": number, "side": "buy", "size": "0.500", "price": f"{number}.10"}
        return row | {"time": f"{time}.{us % SECOND_US:06d}Z"}

    def now_us(self) -> int:
        return self.times[-1] + SECOND_US


def shown(pages: list[list[Tick]]) -> list[tuple[Any, ...]]:
    return [(t.trade_id, t.price, t.size, t.event_us) for page in pages for t in page]


def expected(venue: Venue, numbers: list[int]) -> list[tuple[str, str, str, int]]:
    return [(str(number), f"{number}.1", "0.5", venue.times[number - 1]) for number in numbers]


@pytest.mark.parametrize("after_us", [0, 1])
@pytest.mark.parametrize(("first", "last"), [(1, 4200), (999, 1001), (1500, 2500), (1999, 2000), (4200, 4200)])
def test_trades_of_a_time_are_complete_and_no_more(first: int, last: int, after_us: int) -> None:
    venue, feed = Venue(), made()
    start_us, end_us = venue.times[first - 1], venue.times[last - 1] + after_us
    pages, asked = ask_pages(
        feed, venue.routes, lambda http: feed.trades(http, "BTC-USD", start_us, end_us), venue.now_us()
    )
    numbers = [number for number, us in enumerate(venue.times, 1) if start_us <= us < end_us]
    assert shown(pages) == expected(venue, numbers)
    assert len(asked) <= 1 + 13 + 1 + len(numbers) // 1000 + 1
    assert all(len(page) <= 1000 for page in pages)


def test_history_starts_in_an_idle_time_and_ends_with_the_newest_trade() -> None:
    venue, feed = Venue(), made()
    pages, _ = ask_pages(
        feed,
        venue.routes,
        lambda http: feed.trades(http, "BTC-USD", venue.times[1998] + 1, 1 << 60),
        venue.now_us(),
    )
    assert shown(pages) == expected(venue, list(range(2000, 4201)))


@pytest.mark.parametrize(("start_us", "end_us"), [(0, START_US), (1 << 59, 1 << 60), (START_US, 0)])
def test_history_without_trades_is_empty(start_us: int, end_us: int) -> None:
    venue, feed = Venue(10), made()
    pages, _ = ask_pages(
        feed, venue.routes, lambda http: feed.trades(http, "BTC-USD", start_us, end_us), venue.now_us()
    )
    assert pages == []


@pytest.mark.parametrize(("first", "last"), [(1, 1), (5, 1004), (7, 2306), (4195, 5000)])
def test_trades_by_id_have_both_ends(first: int, last: int) -> None:
    venue, feed = Venue(), made()
    pages, asked = ask_pages(
        feed, venue.routes, lambda http: feed.trades_by_id(http, "BTC-USD", first, last), venue.now_us()
    )
    assert shown(pages) == expected(venue, list(range(first, min(last, 4200) + 1)))
    assert len(asked) == -(-(last - first + 1) // 1000)


def test_latest_is_the_newest_trade() -> None:
    venue, feed = Venue(70), made()
    ticks, asked = ask(feed, venue.routes, lambda http: feed.latest(http, ["BTC-USD"]), venue.now_us())
    assert shown([ticks]) == expected(venue, [70])
    assert asked == [("/products/BTC-USD/trades", {"limit": "1"})]


def test_bars_are_of_finished_intervals_each_once() -> None:
    feed = made()

    def candles(asked: dict[str, str]) -> Answer:
        start, end, step = int(asked["start"]), int(asked["end"]), int(asked["granularity"])
        rows = [[at, 0.5, 4.25, 1.5, 2, 8.125] for at in range(START_US // SECOND_US, 1 << 31, step)[:700]]
        wanted = [row for row in rows if start <= row[0] <= end and row[0] != START_US // SECOND_US + 60 * 301]
        return (400, {}, b"{}") if len(wanted) > 300 else good(wanted[::-1])

    pages, asked = ask_pages(
        feed,
        {"/products/BTC-USD/candles": candles},
        lambda http: feed.bars(http, "BTC-USD", "1m", START_US + MINUTE_US, START_US + 5000 * MINUTE_US),
        START_US + 650 * MINUTE_US + SECOND_US,
    )
    minutes = [minute for minute in range(1, 650) if minute != 301]
    assert [bar.start for page in pages for bar in page] == [START_US + minute * MINUTE_US for minute in minutes]
    assert len(asked) == 3
    assert pages[0][0] == HistoryBar(
        symbol="BTC-USD",
        interval="1m",
        start=START_US + MINUTE_US,
        open="1.5",
        high="4.25",
        low="0.5",
        close="2",
        volume="8.125",
        source="coinbase",
    )
