"""Twelve Data: recorded messages as exact ticks, and its REST half against a local provider."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from core.errors import InputError
from core.intervals import MINUTE_US
from core.records import Tick
from producers.feeds import Parsed, SchemaChanged
from producers.feeds.base import Problem
from producers.feeds.rows import local_us, text_in
from producers.feeds.twelvedata import TwelveData
from producers.http import ProviderError, QuotaExhausted
from tests.feeds import MESSAGES, RECEIVED_US, encoded, needs_messages, parse_file, records, settings_with_keys
from tests.provider_server import Answer, good
from tests.rest import NOW_US, asking, bars_from

SECRET = "twelvedata_api_key-in-tests"
AT = 1_643_972_766 * 1_000_000


@pytest.fixture
def feed() -> TwelveData:
    return TwelveData(settings_with_keys())


def recorded(name: str, number: int) -> bytes:
    return bytes(list(records(MESSAGES / "twelvedata" / name))[number]["message"])


@needs_messages
def test_price_recorded_is_an_exact_tick_without_volume(feed: TwelveData) -> None:
    tick = feed.parse(recorded("ws_price.jsonl", 7), RECEIVED_US).ticks[0]
    assert tick == Tick(
        symbol="EUR-USD",
        event_us=AT,
        price="1.1245",
        size="0",
        seq=tick.seq,
        source="twelvedata",
        venue="FOREX",
        received_us=RECEIVED_US,
    )


@needs_messages
def test_prices_recorded_are_all_read_but_the_one_without_a_time(feed: TwelveData) -> None:
    prices, errors = [], []
    for record in records(MESSAGES / "twelvedata" / "ws_price.jsonl"):
        try:
            prices += [(tick.symbol, tick.price) for tick in feed.parse(record["message"], 0).ticks]
        except SchemaChanged as error:
            errors.append(str(error))
    assert prices == [
        *(("AAPL", "150.25"), ("EUR-USD", "1.1245"), ("LOSS", "75"), ("RAPID", "25"), ("CONCURRENT", "10")),
        *(("AAPL", "150.25"), ("EUR-USD", "1.1245"), ("TEST", "100"), ("RACE", "99.99"), ("BLOCK", "50")),
        *(("OVERFLOW", "100"), ("AAPL", "172.87")),
    ]
    assert len(errors) == 1 and "twelvedata" in errors[0] and "`timestamp`" in errors[0]


@pytest.mark.parametrize(("field", "value"), [("price", "high"), ("timestamp", "now"), ("symbol", 7)])
def test_field_of_another_type_is_named(feed: TwelveData, field: str, value: object) -> None:
    message = {"event": "price", "symbol": "AAPL", "price": 1.5, "timestamp": 1643972766} | {field: value}
    with pytest.raises(SchemaChanged, match=field):
        feed.parse(encoded(message), 0)


def test_second_price_of_one_second_is_another_tick_and_known_again_after_a_reconnect(feed: TwelveData) -> None:
    messages = [
        encoded({"event": "price", "symbol": "A", "price": p, "timestamp": AT // 1_000_000}) for p in (1.1, 1.2)
    ]
    first, second = (feed.parse(message, 0).ticks[0].seq for message in messages)
    again = TwelveData(settings_with_keys())
    assert second == first + 1
    assert [again.parse(message, 0).ticks[0].seq for message in messages] == [first, second]


@needs_messages
def test_refused_symbols_are_a_complaint_and_accepted_ones_are_not() -> None:
    statuses = parse_file(TwelveData(settings_with_keys()), "twelvedata/ws_subscribe_status.jsonl")
    assert [status.complaint for status in statuses] == ["", "", "INVALID: Symbol not found", "", ""]
    assert all(status.ignored == {"subscribe-status": 1} for status in statuses)


@needs_messages
def test_errors_recorded_are_complaints_in_the_provider_s_words() -> None:
    errors = parse_file(TwelveData(settings_with_keys()), "twelvedata/ws_error.jsonl")
    words = ["Invalid symbol", "test error", "Something went wrong", "Connection will be terminated"]
    assert [error.complaint for error in errors] == words


def test_heartbeat_is_ignored_by_name(feed: TwelveData) -> None:
    assert feed.parse(b'{"event":"heartbeat","status":"ok"}', 0) == Parsed(ignored={"heartbeat": 1})


def test_key_goes_into_the_address_and_the_header_and_into_no_message(feed: TwelveData) -> None:
    assert feed.socket(["AAPL"]) == f"wss://ws.twelvedata.com/v1/quotes/price?apikey={SECRET}"
    assert feed.headers() == {"Authorization": f"apikey {SECRET}"}
    sent = [*feed.hello(["AAPL", "BTC-USD"]), feed.keep_alive()]
    assert [msgspec.json.decode(text or "") for text in sent] == [
        {"action": "subscribe", "params": {"symbols": "AAPL,BTC/USD"}},
        {"action": "heartbeat"},
    ]


@needs_messages
def test_recorded_quote_with_a_time_is_an_observation_and_others_are_not(feed: TwelveData) -> None:
    quotes = [
        feed.parse_rest(record["channel"], record["message"], 7)
        for record in records(MESSAGES / "twelvedata" / "rest_price_or_quote.jsonl")
    ]
    (tick,) = quotes[0].ticks
    assert (tick.symbol, tick.price, tick.size, tick.event_us) == ("AAPL", "148.85001", "0", 1_631_772_000_000_000)
    assert [quote.ticks for quote in quotes[1:]] == [[], []]


@needs_messages
def test_recorded_errors_ask_again_for_limits_only(feed: TwelveData) -> None:
    problems = [feed.problem(record["message"]) for record in records(MESSAGES / "twelvedata" / "rest_error.jsonl")]
    assert all(problems)
    assert [problem.text for problem in problems if problem and problem.again] == ["Rate limit exceeded"]


def test_limit_of_a_day_waits_longer_than_one_of_a_minute(feed: TwelveData) -> None:
    def limited(period: str) -> Problem | None:
        return feed.problem(
            encoded({"code": 429, "message": f"You have run out of API credits for {period}.", "status": "error"})
        )

    minute, day = limited("the current minute"), limited("the day")
    assert minute and day and minute.again and day.again
    assert (minute.wait, day.wait) == (60.0, 3600.0)


@needs_messages
def test_recorded_series_is_exact_bars(feed: TwelveData) -> None:
    body = recorded("rest_time_series.jsonl", 0)
    start = local_us("2021-09-16 15:00:00", "UTC")
    bars, server = bars_from(
        feed, {"/time_series": lambda _: (200, {}, body)}, "AAPL", "1m", start, start + 60 * MINUTE_US
    )
    assert [msgspec.structs.asdict(bar) for bar in bars] == [
        {
            **{
                "symbol": "AAPL",
                "interval": "1m",
                "start": start + 59 * MINUTE_US,
                "open": "148.735",
                "high": "148.86",
            },
            **{"low": "148.73", "close": "148.85001", "volume": "624277", "vwap": None, "trade_count": None},
            "source": "twelvedata",
        }
    ]
    path, asked = server.asked[0]
    assert (path, asked["symbol"], asked["interval"], asked["timezone"]) == ("/time_series", "AAPL", "1min", "UTC")
    assert (asked["start_date"], asked["end_date"]) == ("2021-09-16 15:00:00", "2021-09-16 15:59:59")
    assert "apikey" not in asked and server.headers[0]["authorization"] == f"apikey {SECRET}"


def minutes(keep: Callable[[datetime], bool], cut: slice) -> Callable[[dict[str, str]], Answer]:
    """A provider with a bar for each minute that is kept, which cuts long answers off at one of their ends."""

    def answer(asked: dict[str, str]) -> Answer:
        at, end = (datetime.fromisoformat(asked[name]).replace(tzinfo=UTC) for name in ("start_date", "end_date"))
        rows = []
        while at <= end:
            if keep(at):
                rows.append({"datetime": f"{at:%Y-%m-%d %H:%M:%S}", **dict.fromkeys(("open", "high", "low"), "1")})
                rows[-1] |= {"close": str(at.minute + 1), "volume": "5"}
            at += timedelta(minutes=1)
        if not rows:
            return good({"code": 400, "message": "No data is available on the specified dates.", "status": "error"})
        return good({"meta": {}, "values": rows[cut], "status": "ok"})

    return answer


@pytest.mark.parametrize("cut", [slice(None, 5000), slice(-5000, None)], ids=["newest cut off", "oldest cut off"])
@pytest.mark.parametrize(
    ("symbol", "keep"),
    [("BTC-USD", lambda at: at.year > 0), ("AAPL", lambda at: at.weekday() < 5), ("TSLA", lambda at: at.day > 20)],
    ids=["pair", "a stock traded day and night", "nothing at first"],
)
def test_history_longer_than_a_page_is_complete_and_free_of_repeats(
    feed: TwelveData, symbol: str, keep: Callable[[datetime], bool], cut: slice
) -> None:
    start = local_us("2024-03-01 00:00", "UTC")
    bars, server = bars_from(
        feed, {"/time_series": minutes(keep, cut)}, symbol, "1m", start, start + 30 * 1440 * MINUTE_US
    )
    every = range(start, start + 30 * 1440 * MINUTE_US, MINUTE_US)
    assert [bar.start for bar in bars] == [us for us in every if keep(datetime.fromtimestamp(us / 1e6, UTC))]
    assert len(server.asked) < 20


def test_daily_bar_starts_at_midnight_of_its_date(feed: TwelveData) -> None:
    row = dict.fromkeys(("open", "high", "low", "close"), "1.50") | {"datetime": "2024-03-08"}
    start = local_us("2024-03-08", "UTC")
    route = {"/time_series": lambda _: good({"values": [row], "status": "ok"})}
    bars, _ = bars_from(feed, route, "EUR-USD", "1d", start, start + 1)
    assert [(bar.start, bar.close, bar.volume) for bar in bars] == [(start, "1.5", "0")]


def test_series_without_values_is_a_schema_change(feed: TwelveData) -> None:
    with pytest.raises(SchemaChanged, match="`values`"):
        bars_from(feed, {"/time_series": lambda _: good({"status": "ok"})}, "AAPL", "1m", 0, MINUTE_US)


def test_latest_is_the_quote_at_its_own_time(feed: TwelveData) -> None:
    def quote(asked: dict[str, str]) -> Answer:
        seen = {"timestamp": 1_700_000_000, "last_quote_at": 1_700_000_060}
        return good({"symbol": asked["symbol"], "close": "1.10", "exchange": "Forex"} | seen)

    ticks, _ = asking(feed, {"/quote": quote}, lambda http: feed.latest(http, ["EUR-USD", "AAPL"]))
    assert [(tick.symbol, tick.price, tick.event_us) for tick in ticks] == [
        ("EUR-USD", "1.1", 1_700_000_060_000_000),
        ("AAPL", "1.1", 1_700_000_060_000_000),
    ]
    assert {tick.received_us for tick in ticks} == {NOW_US}


def test_error_in_a_good_answer_ends_the_request_without_the_key(feed: TwelveData) -> None:
    refusal = {"code": 401, "message": f"**apikey** {SECRET} is incorrect", "status": "error"}
    with pytest.raises(ProviderError, match=r"/quote was refused with '\*\*apikey\*\* \*\*\* is incorrect'") as raised:
        asking(feed, {"/quote": lambda _: good(refusal)}, lambda http: feed.latest(http, ["AAPL"]))
    assert SECRET not in str(raised.value)


def test_limit_in_a_good_answer_is_waited_for_and_asked_again() -> None:
    class Hasty(TwelveData):
        def problem(self, body: bytes) -> Problem | None:
            found = super().problem(body)
            return found and replace(found, wait=0.01)

    answers = [{"code": 429, "message": "for the current minute", "status": "error"}] * 2
    answers.append({"symbol": "AAPL", "close": "2", "timestamp": 1_700_000_000})
    feed = Hasty(settings_with_keys())
    ticks, server = asking(feed, {"/quote": lambda _: good(answers.pop(0))}, lambda http: feed.latest(http, ["AAPL"]))
    assert [tick.price for tick in ticks] == ["2"] and len(server.asked) == 3


def test_limit_of_the_day_is_told_at_once(feed: TwelveData) -> None:
    used_up = {"code": 429, "message": "You have run out of API credits for the day.", "status": "error"}
    with pytest.raises(QuotaExhausted, match="for the day") as raised:
        asking(feed, {"/quote": lambda _: good(used_up)}, lambda http: feed.latest(http, ["AAPL"]))
    assert raised.value.retry_after == 3600.0


def test_no_key_is_told_by_the_variable_to_set() -> None:
    from conf.settings import Settings

    with pytest.raises(InputError, match="TWELVEDATA_API_KEY"):
        TwelveData(Settings()).socket(["AAPL"])


def test_text_in_is_the_inverse_of_local_us() -> None:
    us = local_us("2024-07-04 09:30:00", "America/New_York")
    assert text_in(us, "UTC") == "2024-07-04 13:30:00"
