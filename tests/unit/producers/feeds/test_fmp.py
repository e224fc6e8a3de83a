"""Financial Modeling Prep: documented answers from a local provider; nothing recorded was at hand."""

from datetime import date, timedelta
from typing import Any

import pytest

from core.intervals import DAY_US, MINUTE_US
from core.records import Tick
from producers.feeds import SchemaChanged
from producers.feeds.fmp import FMP
from producers.feeds.rows import local_us
from producers.http import ProviderError, QuotaExhausted
from tests.feeds import encoded, settings_with_keys
from tests.provider_server import Answer, good
from tests.rest import NOW_US, asking, bars_from

SECRET = "fmp_api_key-in-tests"
MINUTES = "/stable/historical-chart/1min"
DAYS = "/stable/historical-price-eod/full"


@pytest.fixture
def feed() -> FMP:
    return FMP(settings_with_keys())


def row(label: str, close: float = 145.79) -> dict[str, Any]:
    return {"date": label, "open": 145.92, "low": 145.720, "high": 146, "close": close, "volume": 1492644}


def test_documented_minutes_are_exact_bars_oldest_first(feed: FMP) -> None:
    start = local_us("2023-03-02 21:00:00", "UTC")
    answer = [row("2023-03-02 16:01:00", 150.0), row("2023-03-02 16:00:00"), row("2023-03-02 15:59:00")]
    bars, server = bars_from(feed, {MINUTES: lambda _: good(answer)}, "AAPL", "1m", start, start + 2 * MINUTE_US)
    assert [(bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars] == [
        (start, "145.92", "146", "145.72", "145.79", "1492644"),
        (start + MINUTE_US, "145.92", "146", "145.72", "150", "1492644"),
    ]
    assert server.asked == [
        (MINUTES, {"symbol": "AAPL", "from": "2023-03-02", "to": "2023-03-02", "apikey": SECRET}),
    ]


@pytest.mark.parametrize(("day", "opens"), [("2024-03-08", "14:30"), ("2024-03-11", "13:30"), ("2024-11-04", "14:30")])
def test_times_are_eastern(feed: FMP, day: str, opens: str) -> None:
    start = local_us(f"{day} {opens}", "UTC")
    route = {MINUTES: lambda _: good([row(f"{day} 09:30:00")])}
    assert [bar.start for bar in bars_from(feed, route, "AAPL", "1m", start, start + 1)[0]] == [start]


def test_long_history_asks_for_every_eastern_day_and_gives_no_bar_twice(feed: FMP) -> None:
    def answer(asked: dict[str, str]) -> Answer:
        at, last = date.fromisoformat(asked["from"]), date.fromisoformat(asked["to"])
        days = [at + timedelta(days=number) for number in range((last - at).days + 1)]
        return good([row(f"{day} {time}") for day in reversed(days) for time in ("23:59:00", "00:00:00")])

    start = local_us("2024-03-01 05:00", "UTC")
    bars, server = bars_from(feed, {MINUTES: answer}, "BTC-USD", "1m", start, start + 9 * DAY_US)
    assert [bar.start for bar in bars] == [
        start + number * DAY_US + late for number in range(9) for late in (0, DAY_US - MINUTE_US)
    ]
    assert {asked["symbol"] for _, asked in server.asked} == {"BTCUSD"}


def test_daily_bars_start_at_midnight_of_their_date(feed: FMP) -> None:
    start = local_us("2024-03-08", "UTC")
    answer = [row("2024-03-11"), row("2024-03-08"), row("2024-03-07")]
    bars, server = bars_from(feed, {DAYS: lambda _: good(answer)}, "AAPL", "1d", start, start + 4 * DAY_US)
    assert [bar.start for bar in bars] == [start, start + 3 * DAY_US]
    assert [(asked["from"], asked["to"]) for _, asked in server.asked] == [("2024-03-08", "2024-03-11")]


def test_latest_is_the_quote_at_its_time(feed: FMP) -> None:
    def quote(asked: dict[str, str]) -> Answer:
        return good([{"symbol": asked["symbol"], "price": 232.80, "timestamp": 1_738_702_801, "volume": 44489128}])

    ticks, _ = asking(feed, {"/stable/quote": quote}, lambda http: feed.latest(http, ["AAPL", "OP-USD"]))
    common = {"event_us": 1_738_702_801_000_000, "price": "232.8", "size": "0", "source": "fmp"}
    assert ticks == [Tick(symbol=symbol, received_us=NOW_US, **common) for symbol in ("AAPL", "OP-USD")]


def test_unknown_symbol_has_no_latest_price(feed: FMP) -> None:
    assert asking(feed, {"/stable/quote": lambda _: good([])}, lambda http: feed.latest(http, ["NONE"]))[0] == []


@pytest.mark.parametrize(
    ("symbol", "native"), [("BTC-USD", "BTCUSD"), ("AAPL", "AAPL"), ("GBTC", "GBTC"), ("BRK.B", "BRK-B")]
)
def test_symbols_there_and_back(feed: FMP, symbol: str, native: str) -> None:
    assert feed.native(symbol) == native and feed.symbol(native) == symbol


def test_refusal_ends_the_request_without_the_key(feed: FMP) -> None:
    refusal = {"Error Message": f"Invalid API KEY {SECRET}."}
    with pytest.raises(ProviderError, match=r"Invalid API KEY \*\*\*") as raised:
        asking(feed, {"/stable/quote": lambda _: good(refusal)}, lambda http: feed.latest(http, ["AAPL"]))
    assert SECRET not in str(raised.value)


def test_limit_of_the_day_is_told_at_once(feed: FMP) -> None:
    limit = {"Error Message": "Limit Reach . Please upgrade your plan."}
    with pytest.raises(QuotaExhausted, match="Limit Reach"):
        asking(feed, {"/stable/quote": lambda _: good(limit)}, lambda http: feed.latest(http, ["AAPL"]))


@pytest.mark.parametrize("field", ["symbol", "price", "timestamp"])
def test_field_that_is_gone_is_named(feed: FMP, field: str) -> None:
    quote = {"symbol": "AAPL", "price": 1.5, "timestamp": 1_738_702_801}
    assert len(feed.parse_rest("quote", encoded([quote]), 0).ticks) == 1
    del quote[field]
    with pytest.raises(SchemaChanged, match=f"fmp.*`{field}`"):
        feed.parse_rest("quote", encoded([quote]), 0)
