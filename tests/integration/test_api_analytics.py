"""Sessions of a symbol: rolled up exactly, cut by the calendar, with what is not final yet."""

import math
from decimal import Decimal
from typing import Any

import httpx
import pytest

from api.models_market import DailyAnswer, IntradayAnswer
from conf.settings import Settings
from core.clock import ManualClock
from core.records import Bar
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving, without_database

HOUR = 60
DAY = 24 * HOUR
NOW = BASE + 60 * MINUTE
INTRADAY, DAILY = "/api/v1/analytics/intraday", "/api/v1/analytics/daily"


def bar(minute: int, price: str, volume: str = "1", **changes: Any) -> Bar:
    amount, size = Decimal(price), Decimal(volume)
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), amount)
    return make_bar(minute, **{**prices, "volume": size, "notional": amount * size, **changes})


def intraday(client: httpx.Client, symbol: str = "A", **params: Any) -> dict[str, Any]:
    answer = client.get(f"{INTRADAY}/{symbol}", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    IntradayAnswer.model_validate(body, strict=True)
    return body


def daily(client: httpx.Client, symbol: str = "A", **params: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{DAILY}/{symbol}", params=params)
    assert answer.status_code == 200, answer.text
    DailyAnswer.model_validate(answer.json(), strict=True)
    days: list[dict[str, Any]] = answer.json()["days"]
    return days


def five(day: int, close: str, volume: str = "1", **changes: Any) -> Bar:
    """A 5-minute bar of 13:30 so many days from BASE's."""
    return bar(day * DAY, close, volume, interval="5m", **changes)


def test_intraday_takes_the_session_apart(client: httpx.Client, database: TimescaleStore, redis_url: str) -> None:
    bars = [
        bar(-DAY, "50"),
        bar(0, "100", "10"),
        bar(1, "110", "30", rev=3, state="amended", reason="late"),
        bar(31, "104", "20"),
    ]
    database.write_bars(bars_table(bars))
    live = RedisStore(redis_url, 300)
    live.write_bars(bars_table([bar(33, "102", "5", rev=0, state="forming")]))
    live.close()
    body = intraday(client, buckets=5, largest=2)
    assert (body["day"], body["tail"], body["is_final"]) == ("2013-06-03", "ok", False)
    figures = {name: body[name] for name in ("open", "high", "low", "close", "volume", "trade_count", "bars", "rev")}
    assert figures == {
        "open": "100",
        "high": "110",
        "low": "100",
        "close": "102",
        "volume": "65",
        "trade_count": 8,
        "bars": 4,
        "rev": 3,
    }
    assert body["vwap"] == "106"  # 6890 / 65
    assert (body["range"], body["range_percent"]) == ("10", "10")
    assert (body["prior_close"], body["change"], body["change_percent"]) == ("50", "52", "104")
    assert (body["revisions"], body["forming"]) == (1, 1)
    returns = [math.log(b / a) for a, b in [(100, 110), (110, 104), (104, 102)]]
    assert body["realised_volatility"] == pytest.approx(math.sqrt(sum(each * each for each in returns)), rel=1e-12)
    assert [(each["low"], each["high"], each["volume"]) for each in body["volume_profile"]] == [
        ("100", "102", "10"),
        ("102", "104", "5"),
        ("104", "106", "20"),
        ("106", "108", "0"),
        ("108", "110", "30"),
    ]
    assert [(each["start"][11:16], each["volume"]) for each in body["volume_by_time"]] == [
        ("13:30", "40"),
        ("14:00", "25"),
    ]
    assert [(each["volume"], each["is_final"], each["rev"]) for each in body["largest_bars"]] == [
        ("30", True, 3),
        ("20", True, 1),
    ]


def test_intraday_day_is_half_open_and_a_day_without_bars_is_empty(
    client: httpx.Client, database: TimescaleStore
) -> None:
    midnight = 10 * HOUR + 30  # from BASE to the end of its UTC day
    database.write_bars(bars_table([bar(midnight - 1, "10"), bar(midnight, "20")]))
    assert [intraday(client, day=day)["open"] for day in ("2013-06-03", "2013-06-04")] == ["10", "20"]
    empty = intraday(client, day="2013-06-10")
    assert (empty["bars"], empty["close"], empty["volume"], empty["prior_close"]) == (0, None, "0", "20")
    assert empty["volume_profile"] == [] and empty["realised_volatility"] is None
    assert intraday(client)["day"] == "2013-06-04"


def test_intraday_of_one_price_is_one_bucket(client: httpx.Client, database: TimescaleStore) -> None:
    odd = {name: None for name in ("open", "high", "low", "close")}
    database.write_bars(
        bars_table([bar(0, "10", "4"), bar(1, "10", "6"), make_bar(2, volume=Decimal(0), vwap=None, **odd)])
    )
    (bucket,) = intraday(client)["volume_profile"]
    assert (bucket["low"], bucket["high"], bucket["volume"]) == ("10", "10", "10")


def test_daily_rolls_up_exactly_and_chains_changes(client: httpx.Client, database: TimescaleStore) -> None:
    big = Decimal("12345678901234567890.12345678")
    rows = [
        five(-3, "100"),
        bar(-DAY, "100", interval="5m", volume=big, notional=Decimal("1E-16"), vwap=Decimal(0)),
        bar(-DAY + 5, "121", interval="5m", volume=big, notional=Decimal("2E-16"), vwap=Decimal(0)),
        five(0, "110", rev=2, state="amended", reason="late"),
    ]
    database.write_bars(bars_table(rows))
    days = daily(client)
    assert [day["day"] for day in days] == ["2013-05-31", "2013-06-02", "2013-06-03"]  # none where nothing traded
    assert days[1]["volume"] == "24691357802469135780.24691356" and days[1]["notional"] == "0.0000000000000003"
    assert [day["change_percent"] for day in days] == [None, "21", "-9.0909"]
    assert [day["prior_close"] for day in days] == [None, "100", "121"]
    assert days[1]["realised_volatility"] == pytest.approx(math.log(1.21)) and days[0]["realised_volatility"] is None
    assert [(day["revisions"], day["rev"], day["is_final"]) for day in days] == [
        (0, 1, True),
        (0, 1, True),
        (1, 2, False),
    ]
    assert all(day["range"] == ("21" if day["day"] == "2013-06-02" else "0") for day in days)


def test_daily_equals_intraday_and_every_interval_agrees(client: httpx.Client, database: TimescaleStore) -> None:
    minutes = [bar(minute, str(100 + minute % 7), str(1 + minute % 3)) for minute in range(30)]
    rolled = [
        make_bar(
            slot,
            interval="5m",
            open=part[0].open,
            close=part[-1].close,
            high=max(each.high for each in part if each.high is not None),
            low=min(each.low for each in part if each.low is not None),
            volume=sum((each.volume for each in part), Decimal(0)),
            notional=sum((each.notional for each in part), Decimal(0)),
            trade_count=sum(each.trade_count for each in part),
        )
        for slot in range(0, 30, 5)
        if (part := minutes[slot : slot + 5])
    ]
    database.write_bars(bars_table([*minutes, *rolled]))
    (fives,), (ones,), one = daily(client), daily(client, interval="1m"), intraday(client)
    same = ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "range", "day", "start", "end")
    assert (
        {name: fives[name] for name in same}
        == {name: ones[name] for name in same}
        == {name: one[name] for name in same}
    )
    assert ones["realised_volatility"] == pytest.approx(one["realised_volatility"], rel=1e-12)


def test_daily_range_order_and_limit(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([five(day, str(100 + day)) for day in range(-4, 1)]))

    def days(**params: Any) -> list[int]:
        return [int(day["day"][-2:]) for day in daily(client, **params)]

    everything = [30, 31, 1, 2, 3]
    assert days() == everything and days(order="desc") == everything[::-1]
    assert days(limit=2) == [2, 3] and days(limit=2, order="desc") == [3, 2]
    assert days(start="2013-05-31", limit=2) == [31, 1]
    assert days(start="2013-05-31", end="2013-06-02") == [31, 1]
    assert days(end="2013-05-31") == [30]
    assert days(start="2013-05-31", end="2013-05-31") == []
    # Moments: the sessions that the range cuts.
    assert days(start="2013-05-31T23:59:59Z", end="2013-06-02T00:00:00Z") == [31, 1]
    assert days(start="2013-05-31T23:59:59Z", end="2013-06-02T00:00:00.000001Z") == [31, 1, 2]
    assert client.get(f"{DAILY}/A", params={"limit": 4}).json()["truncated"] is True
    assert client.get(f"{DAILY}/A", params={"limit": 5}).json()["truncated"] is False


def test_daily_sessions_of_an_exchange_span_the_weekend(store_settings: Settings, database: TimescaleStore) -> None:
    """New York: Friday evening counts to Friday, Saturday to Monday, the day of July 4th to the 5th."""
    rows = [
        bar(-3 * DAY, "10", interval="5m"),  # Fri 31 May 09:30
        bar(-3 * DAY + 10 * HOUR, "11", interval="5m"),  # Fri 19:30
        bar(-2 * DAY, "12", interval="5m"),  # Sat
        bar(0, "13", interval="5m"),  # Mon
    ]
    database.write_bars(bars_table([*rows, bar(31 * DAY, "20", interval="5m")]))
    with serving(store_settings.model_copy(update={"calendar": "XNYS"}), ManualClock(NOW)) as client:
        days = daily(client)
        assert [(day["day"], day["open"], day["close"]) for day in days] == [
            ("2013-05-31", "10", "11"),
            ("2013-06-03", "12", "13"),
            ("2013-07-05", "20", "20"),
        ]
        assert days[1]["prior_close"] == "11" and days[1]["start"] == "2013-06-01T04:00:00.000000Z"
        holiday = client.get(f"{INTRADAY}/A", params={"day": "2013-07-04"})
    assert holiday.status_code == 422 and "2013-07-04 is not a trading day of XNYS" in holiday.json()["detail"]


def test_analytics_refuse_and_fail_as_problems(
    client: httpx.Client, store_settings: Settings, database: TimescaleStore
) -> None:
    database.write_bars(bars_table([bar(0, "10")]))
    for path in (INTRADAY, DAILY):
        unknown = client.get(f"{path}/NOPE")
        assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:tickstream:problem:unknown-symbol")
    refused: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
        (INTRADAY, {"buckets": 201}, {"le": 200}),
        (INTRADAY, {"bucket_minutes": 7}, {"expected": "5, 15, 30 or 60"}),
        (INTRADAY, {"day": "3.6.2013"}, None),
        (INTRADAY, {"day": "1969-12-31"}, {"ge": "1970-01-01", "le": "9999-12-30"}),
        (INTRADAY, {"interval": "1h"}, None),
        (DAILY, {"limit": 1001}, {"le": 1000}),
        (DAILY, {"start": "2013-06-04", "end": "2013-06-03"}, None),
        (DAILY, {"start": "yesterday"}, None),
        (DAILY, {"fill": "prev"}, None),
    ]
    for path, params, limits in refused:
        answer = client.get(f"{path}/A", params=params)
        assert answer.status_code == 422, (path, params, answer.text)
        assert answer.json()["errors"][0]["parameter"] == list(params)[-1]
        if limits:
            assert answer.json()["errors"][0]["limits"] == limits
    with serving(without_database(store_settings)) as broken:
        answer = broken.get(f"{INTRADAY}/A")
    assert answer.status_code == 503 and "retry-after" in answer.headers
