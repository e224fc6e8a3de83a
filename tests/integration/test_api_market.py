"""The market overview on a real PostgreSQL and a real Redis: sessions, changes, both stores, order and limits."""

from decimal import Decimal
from typing import Any

import httpx
from pydantic import SecretStr

from api.models_market import OverviewAnswer
from conf.settings import Settings
from core.clock import ManualClock
from core.records import Bar
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving, without_database

DAY = 24 * 60 * MINUTE
NOW = BASE + 5 * MINUTE + 2_000_000
PATH = "/api/v1/market/overview"


def overview(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    answer = client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    OverviewAnswer.model_validate(answer.json(), strict=True)
    rows: list[dict[str, Any]] = answer.json()["symbols"]
    return rows


def yesterday(symbol: str, close: str, minute: int = -1000) -> Bar:
    """A bar of the UTC day before BASE's."""
    return make_bar(minute, symbol=symbol, close=Decimal(close), high=Decimal(99), volume=Decimal(1000))


def bar(minute: int, **changes: Any) -> Bar:
    amounts = {name: Decimal(value) for name, value in changes.items() if name in ("open", "high", "low", "close")}
    amounts |= {name: Decimal(changes[name]) for name in ("volume", "notional") if name in changes}
    return make_bar(minute, **changes | amounts)


def test_overview_adds_stored_and_live_bars_of_the_session_once(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    final = [
        yesterday("A", "8"),
        bar(0, open="10", high="12", low="9", close="11", volume="3", notional="31"),
        bar(1, open="11", high="11", low="7", close="10", volume="1", notional="9.5"),
    ]
    database.write_bars(bars_table(final))
    forming = bar(2, open="10", high="10", low="10", close="10", volume="2", notional="20", rev=0, state="forming")
    live.write_bars(bars_table([final[2], forming]))  # a final bar that both stores have counts once
    (row,) = overview(client)
    session = {name: row[name] for name in ("open", "high", "low", "price", "volume", "notional", "trade_count")}
    assert session == {
        "open": "10",
        "high": "12",
        "low": "7",
        "price": "10",
        "volume": "6",
        "notional": "60.5",
        "trade_count": 6,
    }
    assert row["vwap"] == "10.08333333"
    assert (row["prior_close"], row["change"], row["change_percent"]) == ("8", "2", "25")
    assert (row["source"], row["session"]) == ("live", "2013-06-03")
    assert row["closes"] == ["8", "11", "10", "10"]


def test_overview_without_redis_is_of_the_database_and_says_so(
    store_settings: Settings, database: TimescaleStore
) -> None:
    database.write_bars(bars_table([yesterday("A", "8"), bar(0, close="10")]))
    down = store_settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with serving(down, ManualClock(NOW)) as client:
        answer = client.get(PATH).json()
    assert answer["live"] == "unavailable"
    assert [(row["source"], row["price"], row["change"]) for row in answer["symbols"]] == [("database", "10", "2")]


def test_overview_without_the_database_is_503_with_retry_after(store_settings: Settings, live: RedisStore) -> None:
    with serving(without_database(store_settings), ManualClock(NOW)) as client:
        answer = client.get(PATH)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    assert answer.json()["store"] == "timescale"


def test_overview_stale_and_age_follow_the_last_trade(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([bar(0, symbol="OLD"), bar(4, symbol="NEW", close_us=NOW - 1_500_000)]))
    rows = {row["symbol"]: row for row in overview(client)}
    assert (rows["NEW"]["age_seconds"], rows["NEW"]["stale"]) == (1.5, False)
    assert rows["OLD"]["stale"] is True
    assert [row["stale"] for row in overview(client, stale_after=1)] == [True, True]


def test_overview_a_symbol_live_only_and_one_with_ticks_only_are_there(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    live.write_bars(bars_table([bar(4, symbol="L", rev=0, state="forming")]))
    database.write_bars(bars_table([bar(0, symbol="A")]))
    rows = overview(client)
    assert [(row["symbol"], row["source"]) for row in rows] == [("A", "database"), ("L", "live")]
    assert rows[1]["prior_close"] is None and rows[1]["change_percent"] is None and rows[1]["price"] == "10.5"


def test_overview_sort_limit_and_choice(client: httpx.Client, database: TimescaleStore) -> None:
    rows = [("A", "11", "5"), ("B", "9", "50"), ("C", "12", "1")]
    for symbol, close, volume in rows:
        bars = [yesterday(symbol, "10"), bar(0, symbol=symbol, close=close, volume=volume)]
        database.write_bars(bars_table(bars))
    database.write_bars(bars_table([bar(0, symbol="Z", volume="7")]))  # no close before: no change

    def names(**params: Any) -> list[str]:
        return [row["symbol"] for row in overview(client, **params)]

    assert names() == ["A", "B", "C", "Z"]
    assert names(sort="change") == ["C", "A", "B", "Z"]
    assert names(sort="volume") == ["B", "Z", "A", "C"]
    assert names(sort="volume", limit=2) == ["B", "Z"]
    assert client.get(PATH, params={"limit": 2}).json()["truncated"] is True
    assert client.get(PATH, params={"limit": 4}).json()["truncated"] is False
    assert names(symbols="C,NOPE,A") == ["A", "C"]


def test_overview_closes_are_the_newest_of_the_interval_up_to_the_forming_bar(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    minutes = [bar(minute, close=str(100 + minute)) for minute in range(6)]
    fives = [bar(-10, interval="5m", close="94"), bar(-5, interval="5m", close="99")]
    database.write_bars(bars_table([*minutes, *fives]))
    live.write_bars(bars_table([*minutes, bar(6, close="106", rev=0, state="forming")]))

    def closes(interval: str, points: int) -> list[str]:
        (row,) = overview(client, interval=interval, points=points)
        found: list[str] = row["closes"]
        return found

    assert closes("1m", 3) == ["104", "105", "106"]
    # No 5-minute bar of minutes 0 to 6 is stored yet: the minutes say how they close so far.
    assert closes("5m", 3) == ["99", "104", "106"]
    assert closes("5m", 1) == ["106"]
    assert closes("1m", 0) == []


def test_overview_session_of_an_exchange_begins_after_the_day_before(
    store_settings: Settings, database: TimescaleStore
) -> None:
    """BASE is Monday 09:30 in New York: Friday's evening belongs to Friday, Monday's early morning to Monday."""
    friday_evening = bar(-int((2 * DAY + 14 * 60 * MINUTE) / MINUTE), close="20", volume="5")  # Fri 19:30
    monday_early = bar(-90, close="21", volume="7", notional="140", low="9")  # Mon 08:00
    database.write_bars(bars_table([friday_evening, monday_early, bar(0, close="25", volume="3", notional="75")]))
    with serving(store_settings.model_copy(update={"calendar": "XNYS"}), ManualClock(NOW)) as client:
        (row,) = overview(client)
    assert (row["session"], row["volume"], row["prior_close"], row["change_percent"]) == (
        "2013-06-03",
        "10",
        "20",
        "25",
    )


REFUSED: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    ({"limit": 0}, {"ge": 1}),
    ({"limit": 1001}, {"le": 1000}),
    ({"points": 121}, {"le": 120}),
    ({"sort": "price"}, {"expected": "'symbol', 'change' or 'volume'"}),
    ({"interval": "15m"}, {"expected": "'1m' or '5m'"}),
    ({"colour": "red"}, None),
    ({"symbols": "A,"}, None),
    ({"symbols": ",".join(["A"] * 101)}, None),
]


def test_overview_refuses_naming_parameter_and_limit(client: httpx.Client) -> None:
    for params, limits in REFUSED:
        answer = client.get(PATH, params=params)
        assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
        (wrong,) = answer.json()["errors"]
        assert wrong["parameter"] == next(iter(params))
        assert limits is None or wrong["limits"] == limits
