"""Alpha Vantage: recorded answers as exact bars and rates, Eastern time on both days of the change, limits in words."""

import logging
from typing import Any

import pytest

from core.intervals import DAY_US, MINUTE_US
from core.records import Tick
from producers.feeds import HistoryBar, SchemaChanged
from producers.feeds.alphavantage import AlphaVantage
from producers.feeds.rows import local_us
from producers.http import ProviderError, QuotaExhausted
from tests.feeds import MESSAGES, RECEIVED_US, encoded, needs_messages, records, settings_with_keys
from tests.provider_server import Answer, good
from tests.rest import NOW_US, asking, bars_from

SECRET = "alphavantage_api_key-in-tests"
DAILY_LIMIT = (
    f"We have detected your API key as {SECRET} and our standard API rate limit is 25 requests per day. Please"
    " subscribe to any of the premium plans to instantly remove all daily rate limits."
)


@pytest.fixture
def feed() -> AlphaVantage:
    return AlphaVantage(settings_with_keys())


def recorded(channel: str) -> bytes:
    (record,) = records(MESSAGES / "alphavantage" / f"rest_{channel}.jsonl")
    return bytes(record["message"])


def series(times: list[str], name: str = "Time Series (1min)", zone: str = "US/Eastern") -> dict[str, Any]:
    row = {"1. open": "1.00", "2. high": "4", "3. low": "0.50", "4. close": "2.0", "5. volume": "10"}
    return {"Meta Data": {"2. Symbol": "X", "6. Time Zone": zone}, name: dict.fromkeys(times, row)}


@needs_messages
def test_recorded_series_is_exact_bars_oldest_first(feed: AlphaVantage) -> None:
    body = recorded("time_series")
    start, end = (local_us(text, "UTC") for text in ("2017-12-18 19:55:00", "2017-12-18 19:57:00"))
    bars, server = bars_from(feed, {"/query": lambda _: (200, {}, body)}, "MSFT", "1m", start, end)
    common = {"symbol": "MSFT", "interval": "1m", "source": "alphavantage"}
    assert bars == [
        HistoryBar(start=start, open="86.49", high="86.5", low="86.4801", close="86.5", volume="12682", **common),
        HistoryBar(
            start=start + MINUTE_US, open="86.49", high="86.5", low="86.475", close="86.5", volume="10494", **common
        ),
    ]
    asked = server.asked[0][1]
    assert asked | {"outputsize": "full"} == asked and asked["adjusted"] == "false"
    assert (asked["function"], asked["symbol"], asked["month"]) == ("TIME_SERIES_INTRADAY", "MSFT", "2017-12")


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2024-03-08 09:30:00", "2024-03-08 14:30:00"),  # standard time, -5
        ("2024-03-10 01:59:00", "2024-03-10 06:59:00"),
        ("2024-03-10 03:00:00", "2024-03-10 07:00:00"),  # the minute after
        ("2024-03-11 09:30:00", "2024-03-11 13:30:00"),  # summer time, -4
        ("2024-11-01 15:59:00", "2024-11-01 19:59:00"),
        ("2024-11-03 00:59:00", "2024-11-03 04:59:00"),
        ("2024-11-03 01:30:00", "2024-11-03 05:30:00"),  # the first of two
        ("2024-11-03 02:00:00", "2024-11-03 07:00:00"),
        ("2024-11-04 09:30:00", "2024-11-04 14:30:00"),
    ],
)
def test_eastern_time_around_both_changes(feed: AlphaVantage, local: str, utc: str) -> None:
    start = local_us(utc, "UTC")
    bars, _ = bars_from(feed, {"/query": lambda _: good(series([local]))}, "X", "1m", start, start + 1)
    assert [bar.start for bar in bars] == [start]


def test_zone_is_the_one_the_answer_names(feed: AlphaVantage) -> None:
    start = local_us("2024-03-08 09:30:00", "UTC")
    route = {"/query": lambda _: good(series(["2024-03-08 09:30:00"], zone="UTC"))}
    assert [bar.start for bar in bars_from(feed, route, "X", "1m", start, start + 1)[0]] == [start]


def test_months_are_of_eastern_time_and_bars_of_the_range_only(feed: AlphaVantage) -> None:
    start, end = local_us("2024-03-01 03:00", "UTC"), local_us("2024-05-01 04:00", "UTC")
    labels = ["2024-02-29 21:59:00", "2024-02-29 22:00:00", "2024-04-30 23:59:00", "2024-05-01 00:00:00"]

    def month(asked: dict[str, str]) -> Answer:
        return good(series([label for label in labels if label.startswith(asked["month"])]))

    bars, server = bars_from(feed, {"/query": month}, "X", "1m", start, end)
    assert [asked["month"] for _, asked in server.asked] == ["2024-02", "2024-03", "2024-04"]
    assert [bar.start for bar in bars] == [start, end - MINUTE_US]


def test_daily_bars_start_at_midnight_of_their_date(feed: AlphaVantage) -> None:
    start = local_us("2024-03-08", "UTC")
    answer = series(["2024-03-11", "2024-03-08", "2024-03-07"], "Time Series (Daily)")
    bars, server = bars_from(feed, {"/query": lambda _: good(answer)}, "X", "1d", start, start + 4 * DAY_US)
    assert [bar.start for bar in bars] == [start, start + 3 * DAY_US]
    assert [asked["function"] for _, asked in server.asked] == ["TIME_SERIES_DAILY"]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"Meta Data": {"6. Time Zone": "UTC"}}, "Time Series"),
        ({"Time Series (1min)": {}}, "Time Zone"),
        (series(["yesterday"]), "yesterday"),
        (series(["2024-03-08 09:30:00"], zone="Mars/Base"), "Mars/Base"),
        (
            series(["2024-03-08 09:30:00"]) | {"Time Series (1min)": {"2024-03-08 09:30:00": {"1. open": "1"}}},
            "2. high",
        ),
    ],
)
def test_series_of_another_shape_names_what_is_wrong(feed: AlphaVantage, answer: dict[str, Any], named: str) -> None:
    with pytest.raises(SchemaChanged, match=f"alphavantage.*{named}"):
        bars_from(feed, {"/query": lambda _: good(answer)}, "X", "1m", 0, MINUTE_US)


@needs_messages
def test_recorded_rate_is_an_observation_at_its_time(feed: AlphaVantage) -> None:
    assert feed.parse_rest("foreign_exchange", recorded("foreign_exchange"), RECEIVED_US).ticks == [
        Tick(
            symbol="BTC-CNY",
            event_us=local_us("2017-12-20 19:23:21", "UTC"),
            price="109631.430607",
            size="0",
            source="alphavantage",
            received_us=RECEIVED_US,
        )
    ]


@needs_messages
@pytest.mark.parametrize("channel", ["global_quote", "symbol_search", "technical_indicator", "time_series"])
def test_recorded_answer_without_a_time_of_a_trade_is_ignored(feed: AlphaVantage, channel: str) -> None:
    assert feed.parse_rest(channel, recorded(channel), 0).ignored == {channel: 1}


@pytest.mark.parametrize(
    ("answer", "again", "wait"),
    [
        ({"Note": "Our standard API call frequency is 5 calls per minute and 500 calls per day."}, True, 60.0),
        ({"Information": "Please consider spreading out your requests more sparingly (1 request per second) to lift the"
          " rate limit (25 requests per day)."}, True, 60.0),
        ({"Information": DAILY_LIMIT}, True, 3600.0),
        ({"Information": "This is a premium endpoint. You may subscribe to any of the premium plans."}, False, None),
        ({"Error Message": "Invalid API call. Please retry or visit the documentation."}, False, None),
    ],
)  # fmt: skip
def test_problem_in_words_asks_again_for_limits_only(
    feed: AlphaVantage, answer: dict[str, str], again: bool, wait: float | None
) -> None:
    problem = feed.problem(encoded(answer))
    assert problem is not None and problem.again == again
    assert not again or problem.wait == wait


@needs_messages
def test_recorded_answers_are_no_problem(feed: AlphaVantage) -> None:
    channels = ("foreign_exchange", "global_quote", "symbol_search", "technical_indicator", "time_series")
    assert [feed.problem(recorded(channel)) for channel in channels] == [None] * len(channels)


def test_key_shows_neither_in_errors_nor_in_logs(feed: AlphaVantage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(QuotaExhausted, match=r"detected your API key as \*\*\* and") as raised:
        bars_from(feed, {"/query": lambda _: good({"Information": DAILY_LIMIT})}, "X", "1d", 0, DAY_US)
    with pytest.raises(ProviderError) as refused:
        bars_from(feed, {"/query": lambda _: (403, {}, b"")}, "X", "1d", 0, DAY_US)
    assert SECRET not in caplog.text + str(raised.value) + str(refused.value) + repr(feed)


def test_latest_of_a_pair_is_its_rate(feed: AlphaVantage) -> None:
    def rate(asked: dict[str, str]) -> Answer:
        assert asked["function"] == "CURRENCY_EXCHANGE_RATE" and asked["apikey"] == SECRET
        said = {"1. From_Currency Code": asked["from_currency"], "3. To_Currency Code": asked["to_currency"]}
        said |= {"5. Exchange Rate": "1.0850", "6. Last Refreshed": "2024-03-08 14:30:00", "7. Time Zone": "UTC"}
        return good({"Realtime Currency Exchange Rate": said})

    (tick,), _ = asking(feed, {"/query": rate}, lambda http: feed.latest(http, ["EUR-USD"]))
    assert (tick.symbol, tick.price, tick.event_us) == ("EUR-USD", "1.085", local_us("2024-03-08 14:30:00", "UTC"))


def test_latest_of_a_stock_is_the_close_of_its_last_minute(feed: AlphaVantage) -> None:
    answer = series(["2024-03-08 15:59:00", "2024-03-08 15:58:00"])
    (tick,), _ = asking(feed, {"/query": lambda _: good(answer)}, lambda http: feed.latest(http, ["X"]))
    end = local_us("2024-03-08 21:00:00", "UTC")
    assert (tick.symbol, tick.price, tick.size, tick.event_us) == ("X", "2", "0", end - 1)
    assert tick.received_us == NOW_US
