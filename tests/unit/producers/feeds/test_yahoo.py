"""Yahoo: the recorded frame in all its wrappers, an hour of its stream, and charts from a local provider."""

import base64
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.intervals import DAY_US, MINUTE_US, SECOND_US
from core.records import Tick
from producers.feeds import Parsed, SchemaChanged
from producers.feeds.rows import local_us
from producers.feeds.yahoo import Yahoo
from producers.feeds.yahoo_wire import FIELDS, PricingData, shortest
from producers.http import ProviderError
from tests.feeds import MESSAGES, RECEIVED_US, encoded, needs_messages, records, settings_with_keys
from tests.provider_server import Answer, good
from tests.rest import NOW_US, asking, bars_from

STREAM = MESSAGES.parent / "stream_2023" / "ticks" / "yahoo_NASDAQ_2023-09-05_16h.parquet"
TIME_MS = 1_700_000_000_123


@pytest.fixture
def feed() -> Yahoo:
    return Yahoo(settings_with_keys())


def frame(**changes: Any) -> bytes:
    """A frame of the socket around one quote of a stock."""
    fields = {"id": "AAPL", "price": 189.97, "time": TIME_MS, "exchange": "NMS", "quote_type": 8} | changes
    return encoded({"type": "pricing", "message": base64.b64encode(PricingData(**fields).SerializeToString()).decode()})


def sizes(feed: Yahoo, *volumes: int) -> list[str | None]:
    return [feed.parse(frame(day_volume=volume), 0).ticks[0].size for volume in volumes]


@needs_messages
def test_recorded_frame_is_an_exact_tick_in_every_wrapper() -> None:
    (record,) = records(MESSAGES / "yahoo" / "ws_pricing.jsonl")
    text = decoded(record["message"])["encoded_base64_protobuf"]
    wrapped = [record["message"], encoded({"type": "pricing", "message": text}), encoded(text), text.encode()]
    for message in wrapped:
        (tick,) = Yahoo(settings_with_keys()).parse(message, RECEIVED_US).ticks
        assert tick == Tick(
            symbol="BTC-USD",
            event_us=1_736_509_140_000_000,
            price="94745.08",
            size="0",  # of crypto the volume is money of 24 hours
            seq=tick.seq,
            source="yahoo",
            venue="CCC",
            received_us=RECEIVED_US,
        )


def decoded(message: bytes) -> Any:
    import json

    return json.loads(message)


@needs_messages
def test_fields_that_are_used_are_what_the_capture_decoded_them_to() -> None:
    (record,) = records(MESSAGES / "yahoo" / "ws_pricing.jsonl")
    both = decoded(record["message"])
    data = PricingData.FromString(base64.b64decode(both["encoded_base64_protobuf"]))
    for name in FIELDS:
        said = getattr(data, name)
        assert str(np.float32(said) if name == "price" else said) == str(both["decoded"][name])


@pytest.mark.skipif(not STREAM.exists(), reason="the recorded stream is not beside this checkout")
def test_an_hour_of_the_stream_gives_its_prices_and_the_rise_of_its_volumes(feed: Yahoo) -> None:
    rows = pq.read_table(STREAM).to_pandas()
    given: dict[str, int] = {}
    for symbol, at, price, volume in zip(rows.symbol, rows.event_time, rows.price, rows.day_volume, strict=True):
        message = frame(id=symbol, price=price, time=at.value // 1_000_000, day_volume=int(volume))
        (tick,) = feed.parse(message, 0).ticks
        assert np.float32(tick.price) == np.float32(price) and len(tick.price or "") <= 9
        assert (tick.symbol, tick.event_us) == (symbol, at.value // 1000)
        given[symbol] = given.get(symbol, 0) + int(tick.size or 0)
    said = rows[rows.day_volume > 0].groupby("symbol").day_volume  # one message of META says 0 in mid-session
    assert given == (said.last() - said.first()).astype(int).to_dict()


def test_size_is_the_rise_beyond_the_highest_volume(feed: Yahoo) -> None:
    assert sizes(feed, 1000, 1010, 1005, 1012, 0, 1020) == ["0", "10", "0", "2", "0", "8"]


def test_volume_that_starts_again_is_another_day(feed: Yahoo) -> None:
    assert sizes(feed, 1000, 1010, 40, 55) == ["0", "10", "0", "15"]


def test_volumes_of_symbols_are_apart(feed: Yahoo) -> None:
    sizes(feed, 1000)
    assert feed.parse(frame(id="MSFT", day_volume=5000), 0).ticks[0].size == "0"
    assert sizes(feed, 1001) == ["1"]


@pytest.mark.parametrize("field", ["id", "price", "time"])
def test_field_that_is_gone_from_the_protobuf_is_named(feed: Yahoo, field: str) -> None:
    with pytest.raises(SchemaChanged, match=f"yahoo.*`{field}`"):
        feed.parse(frame(**{field: None}), 0)


def test_price_of_another_wire_type_is_named(feed: Yahoo) -> None:
    as_double = bytes([2 << 3 | 1]) + np.float64(189.97).tobytes()
    raw = PricingData(id="AAPL", time=TIME_MS).SerializeToString() + as_double
    with pytest.raises(SchemaChanged, match="`price`"):
        feed.parse(base64.b64encode(raw), 0)


@pytest.mark.parametrize("text", ["CgdCVEM", "not base64!", base64.b64encode(b"\x0a\xff").decode()])
def test_text_that_holds_no_message_is_a_schema_change(feed: Yahoo, text: str) -> None:
    for message in (encoded({"type": "pricing", "message": text}), text.encode()):
        with pytest.raises(SchemaChanged, match="not base64 of a protobuf message"):
            feed.parse(message, 0)


def test_heartbeat_is_ignored_though_it_has_no_price(feed: Yahoo) -> None:
    assert feed.parse(frame(quote_type=7, price=None), 0) == Parsed(ignored={"heartbeat": 1})


def test_currencies_have_names_of_their_own(feed: Yahoo) -> None:
    pairs = {"EUR-USD": "EURUSD=X", "BTC-USD": "BTC-USD", "AAPL": "AAPL", "BRK.B": "BRK-B", "GC": "GC=F"}
    assert {symbol: feed.native(symbol) for symbol in pairs} == pairs
    assert {feed.symbol(native): native for native in pairs.values()} == pairs


def test_subscription_is_repeated_as_keep_alive(feed: Yahoo) -> None:
    assert feed.keep_alive() is None
    assert feed.hello(["AAPL", "EUR-USD"]) == ['{"subscribe": ["AAPL", "EURUSD=X"]}'] == [feed.keep_alive()]


@pytest.mark.parametrize(
    ("number", "text"),
    [(94745.078125, "94745.08"), (252.78500366210938, "252.785"), (1e-05, "0.00001"), (16777216.0, "16777216"),
     (1234567.89, "1234567.89"), (float(np.float32(1.5e-07)), "0.00000015")],
)  # fmt: skip
def test_shortest_text_of_a_float(number: float, text: str) -> None:
    assert shortest(number) == text


# Charts


def chart(times: list[int], *, zone: str = "America/New_York", gap: int | None = None, **meta: Any) -> Answer:
    """A chart whose closes are 1, 2, 3 …; at place `gap` there was no trade."""
    closes = [None if place == gap else place + 1.0 for place in range(len(times))]
    columns = {name: closes for name in ("open", "high", "low", "close")} | {"volume": closes}
    said = {"symbol": "AAPL", "exchangeTimezoneName": zone} | meta
    result = {"meta": said, "indicators": {"quote": [columns if times else {}]}} | (
        {"timestamp": times} if times else {}
    )
    return good({"chart": {"result": [result], "error": None}})


def test_minutes_come_without_gaps_and_without_the_present_price(feed: Yahoo) -> None:
    start = local_us("2024-03-08 09:30", "America/New_York")
    first = start // SECOND_US
    times = [first, first + 60, first + 120, first + 155]
    bars, server = bars_from(
        feed, {"/v8/finance/chart/AAPL": lambda _: chart(times, gap=1)}, "AAPL", "1m", start, start + 10 * MINUTE_US
    )
    assert [(bar.start, bar.close, bar.volume) for bar in bars] == [
        (start, "1", "1"),
        (start + 2 * MINUTE_US, "3", "3"),
    ]
    assert server.asked[0][1]["interval"] == "1m"
    assert server.headers[0]["user-agent"] == "Mozilla/5.0"


def test_prices_of_a_chart_are_the_shortest_text_of_their_floats(feed: Yahoo) -> None:
    start = 1_700_000_040
    columns = {name: [189.97000122070312] for name in ("open", "high", "low", "close")} | {"volume": [123456789]}
    result = {"meta": {"symbol": "AAPL"}, "timestamp": [start], "indicators": {"quote": [columns]}}
    route = {"/v8/finance/chart/AAPL": lambda _: good({"chart": {"result": [result], "error": None}})}
    (bar,), _ = bars_from(feed, route, "AAPL", "1m", start * SECOND_US, start * SECOND_US + MINUTE_US)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (*["189.97"] * 4, "123456789")


def test_long_history_is_asked_for_in_windows_that_meet(feed: Yahoo) -> None:
    start = local_us("2024-03-01", "UTC")
    route = {"/v8/finance/chart/BTC-USD": lambda asked: chart([int(asked["period1"])], zone="UTC")}
    bars, server = bars_from(feed, route, "BTC-USD", "1m", start, start + 20 * DAY_US)
    windows = [(int(asked["period1"]), int(asked["period2"])) for _, asked in server.asked]
    assert [end for _, end in windows[:-1]] == [at for at, _ in windows[1:]]
    assert windows[0][0] == start // SECOND_US and windows[-1][1] == (start + 20 * DAY_US) // SECOND_US
    assert max(end - at for at, end in windows) <= 8 * 86_400
    assert len(bars) == 3


@pytest.mark.parametrize(("day", "opens"), [("2024-01-15", "2024-01-15 00:00"), ("2024-07-15", "2024-07-14 23:00")])
def test_daily_bar_starts_at_midnight_of_its_local_date(feed: Yahoo, day: str, opens: str) -> None:
    times = [local_us(opens, "UTC") // SECOND_US]
    start = local_us(day, "UTC")
    route = {"/v8/finance/chart/EURUSD%3DX": lambda _: chart(times, zone="Europe/London")}
    bars, server = bars_from(feed, route, "EUR-USD", "1d", start, start + DAY_US)
    assert [bar.start for bar in bars] == [start]
    assert int(server.asked[0][1]["period1"]) <= times[0] < int(server.asked[0][1]["period2"])


def test_of_two_rows_of_one_day_the_later_counts(feed: Yahoo) -> None:
    opens, now = local_us("2024-03-08 14:30", "UTC"), local_us("2024-03-08 18:01:07", "UTC")
    start = local_us("2024-03-08", "UTC")
    route = {"/v8/finance/chart/AAPL": lambda _: chart([opens // SECOND_US, now // SECOND_US])}
    bars, _ = bars_from(feed, route, "AAPL", "1d", start, start + DAY_US)
    assert [(bar.start, bar.close) for bar in bars] == [(start, "2")]


def test_chart_without_rows_is_no_bars(feed: Yahoo) -> None:
    start = local_us("2024-03-09", "UTC")
    route = {"/v8/finance/chart/AAPL": lambda _: good(EMPTY)}
    assert bars_from(feed, route, "AAPL", "5m", start, start + DAY_US)[0] == []


EMPTY = {"chart": {"result": [{"meta": {"symbol": "AAPL"}, "indicators": {"quote": [{}]}}], "error": None}}


def test_error_in_a_good_answer_ends_the_request(feed: Yahoo) -> None:
    refusal = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found"}}}
    with pytest.raises(ProviderError, match="'No data found'"):
        bars_from(feed, {"/v8/finance/chart/NONE": lambda _: good(refusal)}, "NONE", "1d", 0, DAY_US)


def test_latest_is_the_regular_market_price(feed: Yahoo) -> None:
    answer = chart([], regularMarketPrice=232.8, regularMarketTime=1_738_702_801)
    ticks, _ = asking(feed, {"/v8/finance/chart/AAPL": lambda _: answer}, lambda http: feed.latest(http, ["AAPL"]))
    assert [(tick.symbol, tick.price, tick.size, tick.event_us, tick.received_us) for tick in ticks] == [
        ("AAPL", "232.8", "0", 1_738_702_801_000_000, NOW_US)
    ]


def test_latest_of_a_chart_without_a_price_is_nothing(feed: Yahoo) -> None:
    answer = chart([], regularMarketTime=1_738_702_801)
    ticks, _ = asking(feed, {"/v8/finance/chart/AAPL": lambda _: answer}, lambda http: feed.latest(http, ["AAPL"]))
    assert ticks == []
