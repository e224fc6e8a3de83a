"""Binance: recorded streams to the last digit, what is no trade, and paging against a server of made-up trades."""

import json
import random
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.intervals import MINUTE_US, SECOND_US
from core.records import Tick
from producers.feeds.base import HistoryBar
from producers.feeds.binance import Binance
from producers.feeds.binance_futures import BinanceFutures
from producers.feeds.binance_us import BinanceUs
from producers.http import ProviderError
from tests.feeds import MESSAGES, RECEIVED_US, encoded, needs_messages, parse_file, records, settings_with_keys
from tests.provider_server import Answer, Route, ask, ask_pages, good

CAPTURE = MESSAGES.parent / "crypto_binance_ws_2024" / "ticks"
HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000 // 60_000 * 60_000
KINDS = pytest.mark.parametrize("kind", [Binance, BinanceUs, BinanceFutures])
SYMBOLS = {Binance: "BTC-USDT", BinanceUs: "BTC-USDT", BinanceFutures: "BTC-USDT-PERP"}


def made(kind: type[Binance] = Binance) -> Binance:
    return kind(settings_with_keys())


def tick(**fields: Any) -> Tick:
    return Tick(received_us=RECEIVED_US, **fields)


# Recorded streams


@needs_messages
def test_first_and_last_trade_of_a_recorded_stream_are_exact() -> None:
    ticks = [
        tick for parsed in parse_file(made(), "binance/ws_stream_btcusdt_20240808.jsonl.gz") for tick in parsed.ticks
    ]
    same = {"symbol": "BTC-USDT", "source": "binance", "venue": "binance"}
    assert ticks[0] == tick(
        event_us=1723161255342000, price="61837.63", size="0.02", trade_id="3735683259", seq=3735683259, **same
    )
    assert ticks[-1] == tick(
        event_us=1723161601271000, price="61685.99", size="0.0014", trade_id="3735693015", seq=3735693015, **same
    )


@needs_messages
@pytest.mark.parametrize(
    ("name", "trades", "ignored"),
    [("btcusdt", 9757, {"bookTicker": 28040}), ("ethusdt", 6106, {})],
)
def test_every_trade_of_a_recorded_stream_is_read_and_nothing_else(
    name: str, trades: int, ignored: dict[str, int]
) -> None:
    path = MESSAGES / "binance" / f"ws_stream_{name}_20240808.jsonl.gz"
    feed, skipped = made(), dict[str, int]()
    found: list[tuple[Any, ...]] = []
    for record in records(path):
        parsed = feed.parse(record["message"], RECEIVED_US)
        found += [
            (t.symbol, t.event_us, Decimal(t.price or ""), Decimal(t.size or ""), t.trade_id) for t in parsed.ticks
        ]
        for kind, count in parsed.ignored.items():
            skipped[kind] = skipped.get(kind, 0) + count
    bodies = [json.loads(record["message"])["data"] for record in records(path)]
    expected = [
        (f"{name[:3].upper()}-USDT", body["T"] * 1000, Decimal(body["p"]), Decimal(body["q"]), str(body["t"]))
        for body in bodies
        if body.get("e") == "trade"
    ]
    assert found == expected
    assert (len(found), skipped) == (trades, ignored)
    ids = [int(row[4]) for row in found]
    assert ids == list(range(ids[0], ids[0] + trades))


@needs_messages
@pytest.mark.skipif(not CAPTURE.exists(), reason="the table of the same capture is not beside this checkout")
@pytest.mark.parametrize("name", ["BTCUSDT", "ETHUSDT"])
def test_recorded_stream_equals_the_table_made_from_it_row_by_row(name: str) -> None:
    table = pq.read_table(CAPTURE / f"binance_spot_{name}_2024-08-08.parquet").to_pylist()
    parsed = parse_file(made(), f"binance/ws_stream_{name.lower()}_20240808.jsonl.gz")
    ticks = [tick for message in parsed for tick in message.ticks]
    assert [(float(t.price or ""), float(t.size or ""), t.event_us, t.trade_id) for t in ticks] == [
        (row["price"], row["size"], round(row["event_time"].timestamp() * SECOND_US), row["trade_id"]) for row in table
    ]


@needs_messages
@pytest.mark.parametrize(
    ("kind", "name", "count", "first", "last"),
    [
        (
            BinanceUs,
            "binance_us/ws_agg_trade.jsonl",
            11,
            ("OMG-BUSD", 1633998288467000, "13.8048", "2.1", "425085"),
            ("OMG-BUSD", 1633998301807000, "13.7604", "10", "425095"),
        ),
        (
            BinanceFutures,
            "binance_futures/ws_agg_trade.jsonl",
            91,
            ("CTK-USDT-PERP", 1626992741421000, "1.011", "10", "16599292"),
            ("CTK-USDT-PERP", 1626992770366000, "1.012", "10", "16599329"),
        ),
        (
            Binance,
            "binance/ws_agg_trade.jsonl",
            2,
            ("NKN-USDT", 1633998523963000, "0.3528", "58", "15683430"),
            ("LRC-BTC", 1633998534486000, "0.00000638", "177", "9213679"),
        ),
    ],
    ids=["us", "futures", "spot"],
)
def test_recorded_aggregates_are_exact(
    kind: type[Binance], name: str, count: int, first: tuple[Any, ...], last: tuple[Any, ...]
) -> None:
    ticks = [tick for parsed in parse_file(made(kind), name) for tick in parsed.ticks]
    rows: list[tuple[Any, ...]] = [(t.symbol, t.event_us, t.price, t.size, t.trade_id) for t in ticks]
    assert (len(rows), rows[0], rows[-1]) == (count, first, last)
    assert {(t.source, t.venue) for t in ticks} == {(kind.name, f"{kind.name}.agg")}
    assert [t.seq for t in ticks] == [int(t.trade_id or 0) for t in ticks]


# Single messages


def trade_message(**changes: object) -> dict[str, object]:
    return {"e": "trade", "s": "BTCUSDT", "t": 7, "p": "10.50", "q": "2.0", "T": 1723161255342, "m": True} | changes


def test_envelope_makes_no_difference() -> None:
    bare = made().parse(encoded(trade_message()), RECEIVED_US)
    wrapped = made().parse(encoded({"stream": "btcusdt@trade", "data": trade_message()}), RECEIVED_US)
    assert bare == wrapped
    assert [(t.trade_id, t.price, t.size) for t in bare.ticks] == [("7", "10.5", "2")]


def test_aggregate_never_has_the_identity_of_a_trade_with_its_number() -> None:
    single = made().parse(encoded(trade_message()), RECEIVED_US).ticks[0]
    whole = made().parse(encoded(trade_message(e="aggTrade", a=7, f=1, l=2)), RECEIVED_US).ticks[0]
    assert single.trade_id == whole.trade_id == "7"
    assert single.venue != whole.venue


def test_microseconds_are_told_from_milliseconds() -> None:
    times = [1723161255342, 1723161255342999]
    ticks = [made().parse(encoded(trade_message(T=time)), RECEIVED_US).ticks[0] for time in times]
    assert [tick.event_us for tick in ticks] == [1723161255342000, 1723161255342999]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"X": "NA", "p": "0", "q": "0"}, "trade NA"),
        ({"X": "NA"}, "trade NA"),
        ({"p": "0.000"}, "trade of nothing"),
        ({"q": "0", "X": "MARKET"}, "trade MARKET"),
    ],
)
def test_trade_without_a_market_or_price_is_ignored_by_its_kind(changes: dict[str, object], kind: str) -> None:
    parsed = made(BinanceFutures).parse(encoded(trade_message(**changes)), RECEIVED_US)
    assert (parsed.ticks, parsed.ignored) == ([], {kind: 1})


@pytest.mark.parametrize(
    ("kind", "conditions"), [("MARKET", None), ("ADL", "ADL"), ("INSURANCE_FUND", "INSURANCE_FUND")]
)
def test_futures_trade_outside_the_market_says_so(kind: str, conditions: str | None) -> None:
    parsed = made(BinanceFutures).parse(encoded(trade_message(X=kind)), RECEIVED_US)
    assert [(t.symbol, t.conditions) for t in parsed.ticks] == [("BTC-USDT-PERP", conditions)]


@pytest.mark.parametrize(
    ("message", "ignored", "complaint"),
    [
        ({"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "1", "a": "2"}}, "bookTicker", ""),
        ({"stream": "btcusdt@depth20@100ms", "data": {"lastUpdateId": 1, "bids": [], "asks": []}}, "depth20", ""),
        ({"stream": "btcusdt@kline_1m", "data": {"e": "kline", "k": {}}}, "kline", ""),
        ({"result": None, "id": 1}, "result", ""),
        ({"result": ["btcusdt@trade"], "id": 0}, "result", ""),
        ({"error": {"code": 2, "msg": "Invalid request"}, "id": 3}, "error", "Invalid request"),
        ({"code": 0, "msg": "Unknown property"}, "error", "Unknown property"),
    ],
)
def test_what_is_no_trade_is_counted_by_its_name(message: object, ignored: str, complaint: str) -> None:
    parsed = made().parse(encoded(message), RECEIVED_US)
    assert (parsed.ticks, parsed.ignored, parsed.complaint) == ([], {ignored: 1}, complaint)


# Symbols and subscriptions


@pytest.mark.parametrize(
    ("kind", "native", "symbol"),
    [
        (Binance, "BTCUSDT", "BTC-USDT"),
        (Binance, "BTCTUSD", "BTC-TUSD"),
        (Binance, "BNBBUSD", "BNB-BUSD"),
        (BinanceUs, "DOTUSD", "DOT-USD"),
        (BinanceUs, "BNBUSD", "BNB-USD"),
        (BinanceUs, "OMGBUSD", "OMG-BUSD"),
        (BinanceUs, "USDTUSD", "USDT-USD"),
        (BinanceFutures, "BTCUSDT", "BTC-USDT-PERP"),
        (BinanceFutures, "ETHUSDT_241227", "ETH-USDT-241227"),
    ],
)
def test_symbols_go_both_ways(kind: type[Binance], native: str, symbol: str) -> None:
    assert made(kind).symbol(native) == symbol
    assert made(kind).native(symbol) == native


def test_symbol_that_was_asked_for_comes_back_under_its_name() -> None:
    feed = made(BinanceUs)
    assert made(BinanceUs).symbol("LAXBUSD") == "LAX-BUSD"
    feed.hello(["LAXB-USD"])
    assert feed.symbol("LAXBUSD") == "LAXB-USD"


def test_spot_symbol_is_no_contract() -> None:
    with pytest.raises(InputError, match="'BTC-USDT' is no contract"):
        made(BinanceFutures).native("BTC-USDT")


def test_subscription_names_every_stream_once_in_few_requests() -> None:
    symbols = [f"C{number}-USDT" for number in range(1024)]
    requests = [msgspec.json.decode(text) for text in made().hello(symbols)]
    assert [request["method"] for request in requests] == ["SUBSCRIBE"] * 6
    assert [name for request in requests for name in request["params"]] == [f"c{n}usdt@trade" for n in range(1024)]
    assert len({request["id"] for request in requests}) == 6
    assert made(BinanceFutures).hello(["BTC-USDT-PERP"])[0].count("btcusdt@aggTrade") == 1
    with pytest.raises(InputError, match="1024"):
        made().hello([*symbols, "ONE-MORE"])


# Paging


class Venue:
    """Trades and aggregates behind the documented paging, with an idle three hours among them."""

    def __init__(self, kind: type[Binance], count: int = 5200) -> None:
        chance, time = random.Random(7), START_MS
        self.trades: list[dict[str, Any]] = []
        for number in range(count):
            time += 3 * HOUR_MS if number == 2600 else chance.choice((0, 0, 0, 3, 250))
            price, qty = f"{chance.randrange(100, 103)}.00", f"0.{chance.randrange(1, 999):03d}00"
            self.trades.append({"id": number, "price": price, "qty": qty, "time": time})
        self.wholes: list[dict[str, Any]] = []
        for trade in self.trades:
            last = self.wholes[-1] if self.wholes else {}
            if (last.get("T"), last.get("p")) == (trade["time"], trade["price"]):
                last["q"], last["l"] = f"{Decimal(last['q']) + Decimal(trade['qty'])}", trade["id"]
            else:
                whole = {"a": len(self.wholes), "p": trade["price"], "q": trade["qty"], "T": trade["time"]}
                self.wholes.append(whole | {"f": trade["id"], "l": trade["id"]})
        self.kind = kind
        self.routes: dict[str, Route] = {
            f"{kind.api}/aggTrades": lambda asked: paged(self.wholes, "a", "T", asked),
            f"{kind.api}/historicalTrades": lambda asked: paged(self.trades, "id", "time", asked),
            f"{kind.api}/trades": lambda asked: paged(self.trades, "id", "time", asked),
        }

    def expected(self, start_us: int, end_us: int) -> list[tuple[str, str, str, int]]:
        """What history must give: (id, price, size, time)."""
        rows = (
            [(row["a"], row["p"], row["q"], row["T"]) for row in self.wholes]
            if self.kind.can.aggregated
            else [(row["id"], row["price"], row["qty"], row["time"]) for row in self.trades]
        )
        return [
            (str(number), f"{Decimal(price).normalize():f}", f"{Decimal(qty).normalize():f}", time * 1000)
            for number, price, qty, time in rows
            if start_us <= time * 1000 < end_us
        ]

    def now_us(self) -> int:
        return int(self.trades[-1]["time"]) * 1000 + 60 * SECOND_US


def paged(rows: list[dict[str, Any]], number: str, time: str, asked: dict[str, str]) -> Answer:
    limit = int(asked.get("limit", "500"))
    if asked["symbol"] != "BTCUSDT" or limit > 1000:
        return 400, {}, b'{"code":-1121,"msg":"Invalid symbol."}'
    if "startTime" in asked:
        start, end = int(asked["startTime"]), int(asked["endTime"])
        if end - start >= HOUR_MS or end < start:
            return 400, {}, b'{"code":-1127,"msg":"More than 1 hours between startTime and endTime."}'
        return good([row for row in rows if start <= row[time] <= end][:limit])
    if "fromId" in asked:
        return good([row for row in rows if row[number] >= int(asked["fromId"])][:limit])
    return good(rows[-limit:])


def shown(pages: list[list[Tick]]) -> list[tuple[Any, ...]]:
    return [(t.trade_id, t.price, t.size, t.event_us) for page in pages for t in page]


@KINDS
@pytest.mark.parametrize("after_us", [0, 1])
@pytest.mark.parametrize(
    ("first", "last"),
    [(0, 5199), (999, 1001), (1, 2000), (2599, 2600), (2600, 5199), (3000, 3000), (5100, 5120)],
    ids=["all", "page edge", "two pages", "across the pause", "after the pause", "one", "late"],
)
def test_trades_of_a_time_are_complete_and_no_more(kind: type[Binance], first: int, last: int, after_us: int) -> None:
    venue, feed = Venue(kind), made(kind)
    start_us, end_us = venue.trades[first]["time"] * 1000, venue.trades[last]["time"] * 1000 + after_us
    pages, asked = ask_pages(
        feed,
        venue.routes,
        lambda http: feed.trades(http, SYMBOLS[kind], start_us, end_us),
        venue.now_us(),
    )
    rows = venue.expected(start_us, end_us)
    assert shown(pages) == rows
    assert all(0 < len(page) <= 1000 for page in pages)
    assert {(t.source, t.venue) for page in pages for t in page} <= {
        (kind.name, f"{kind.name}.agg" if kind.can.aggregated else kind.name)
    }
    assert len(asked) <= 1 + -(-len(rows) // 1000) + 1


@KINDS
@pytest.mark.parametrize(
    "idle_us", [10_799_999_999, *(3_600_000_000 + extra for extra in (-2001, -2000, -1000, -1, 0, 1))]
)
def test_history_that_starts_in_an_idle_time_finds_the_next_trade(kind: type[Binance], idle_us: int) -> None:
    venue, feed = Venue(kind), made(kind)
    start_us = venue.trades[2600]["time"] * 1000 - idle_us
    pages, asked = ask_pages(
        feed, venue.routes, lambda http: feed.trades(http, SYMBOLS[kind], start_us, 1 << 60), venue.now_us()
    )
    assert shown(pages) == venue.expected(start_us, 1 << 60)
    assert len(asked) <= 1 + 1 + 14 + 4, "an hour asked for in vain, then halving"


@KINDS
@pytest.mark.parametrize(
    ("before_us", "length_us"), [(5 * 3600 * SECOND_US, 3600 * SECOND_US), (-(1 << 50), 3600 * SECOND_US), (0, 0)]
)
def test_history_without_trades_is_empty(kind: type[Binance], before_us: int, length_us: int) -> None:
    venue, feed = Venue(kind, 100), made(kind)
    start_us = START_MS * 1000 - before_us
    pages, _ = ask_pages(
        feed,
        venue.routes,
        lambda http: feed.trades(http, SYMBOLS[kind], start_us, start_us + length_us),
        venue.now_us(),
    )
    assert pages == []


@KINDS
@pytest.mark.parametrize(("first", "last"), [(0, 0), (5, 1004), (7, 2306), (5190, 6000)])
def test_trades_by_id_have_both_ends(kind: type[Binance], first: int, last: int) -> None:
    venue, feed = Venue(kind), made(kind)
    pages, asked = ask_pages(
        feed, venue.routes, lambda http: feed.trades_by_id(http, SYMBOLS[kind], first, last), venue.now_us()
    )
    newest = len(venue.wholes if kind.can.aggregated else venue.trades) - 1
    assert [int(row[0]) for row in shown(pages)] == list(range(first, min(last, newest) + 1))
    assert len(asked) <= 1 + -(-(last - first + 1) // 1000)


@KINDS
def test_latest_is_the_newest_trade_with_its_id(kind: type[Binance]) -> None:
    venue, feed = Venue(kind, 50), made(kind)
    ticks, _ = ask(feed, venue.routes, lambda http: feed.latest(http, [SYMBOLS[kind]]), venue.now_us())
    assert shown([ticks]) == venue.expected(0, 1 << 60)[-1:]
    assert ticks[0].received_us == venue.now_us()


def test_unknown_symbol_is_refused_by_name_of_the_provider() -> None:
    venue, feed = Venue(Binance, 5), made()
    with pytest.raises(ProviderError, match="binance: /api/v3/trades was refused"):
        ask(feed, venue.routes, lambda http: feed.latest(http, ["NO-SUCH"]), venue.now_us())


def kline(minute: int, count: int) -> list[object]:
    opened = START_MS + minute * 60_000
    return [opened, "1.00", "4.00", "0.50", "2.00", "8.00", opened + 59_999, "10.00", count, "1", "1", "0"]


@KINDS
def test_bars_are_of_finished_intervals_with_trades_each_once(kind: type[Binance]) -> None:
    feed = made(kind)
    rows = [kline(minute, 0 if minute == 1500 else 3) for minute in range(2600)]

    def klines(asked: dict[str, str]) -> Answer:
        assert (asked["symbol"], asked["interval"]) == ("BTCUSDT", "1m")
        start, end = int(asked["startTime"]), int(asked["endTime"])
        return good([row for row in rows if start <= int(str(row[0])) <= end][: int(asked["limit"])])

    start_us, now_us = START_MS * 1000, START_MS * 1000 + 2599 * MINUTE_US + 30 * SECOND_US
    pages, asked = ask_pages(
        feed,
        {f"{kind.api}/klines": klines},
        lambda http: feed.bars(http, SYMBOLS[kind], "1m", start_us + MINUTE_US, start_us + 5000 * MINUTE_US),
        now_us,
    )
    bars = [bar for page in pages for bar in page]
    expected = [start_us + minute * MINUTE_US for minute in range(1, 2599) if minute != 1500]
    assert [bar.start for bar in bars] == expected
    assert len(asked) == 3
    assert bars[0] == HistoryBar(
        symbol=SYMBOLS[kind],
        interval="1m",
        start=start_us + MINUTE_US,
        open="1",
        high="4",
        low="0.5",
        close="2",
        volume="8",
        vwap="1.25",
        trade_count=3,
        source=kind.name,
    )


@needs_messages
def test_recorded_klines_are_read_as_documented() -> None:
    """The published example: a week of 1499040000000 with 308 trades."""
    body = next(records(MESSAGES / "binance" / "rest_klines.jsonl"))["message"]
    feed = made()
    pages, _ = ask_pages(
        feed,
        {"/api/v3/klines": lambda _: (200, {}, body)},
        lambda http: feed.bars(http, "BTC-USDT", "1d", 1499040000000000, 1499040000000001),
        1800000000000000,
    )
    bar = pages[0][0]
    assert (bar.open, bar.high, bar.low, bar.close) == ("0.0163479", "0.8", "0.015758", "0.015771")
    assert (bar.volume, bar.vwap, bar.trade_count) == ("148976.11427815", "0.01633947", 308)
