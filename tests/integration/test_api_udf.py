"""TradingView's datafeed protocol on real stores: what a chart asks, in the order it asks."""

from decimal import Decimal
from typing import Any

import httpx

from conf.settings import Settings
from core.clock import ManualClock
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving, without_database

SECOND = 1_000_000
AT = BASE // SECOND
NOW = BASE + 10 * MINUTE + 400_000


def history(client: httpx.Client, **params: Any) -> dict[str, Any]:
    asked = {"symbol": "A", "resolution": "1", "from": 0, "to": AT + 3600} | params
    answer = client.get("/udf/history", params=asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def minutes(body: dict[str, Any]) -> list[int]:
    return [(at - AT) // 60 for at in body["t"]]


def test_config_and_time(client: httpx.Client) -> None:
    config = client.get("/udf/config").json()
    assert config["supported_resolutions"] == ["1", "5", "15"]
    assert config["supports_search"] is True and config["supports_group_request"] is False
    time = client.get("/udf/time")
    assert time.text == str(AT + 600) and time.headers["content-type"].startswith("text/plain")


def test_symbol_has_what_a_chart_needs(client: httpx.Client, database: TimescaleStore) -> None:
    fine = make_bar(1, symbol="DOGE-USD", close=Decimal("0.12345"))
    database.write_bars(bars_table([make_bar(0, symbol="BTC/USD", close=Decimal("10.50000000")), fine]))
    info = client.get("/udf/symbols", params={"symbol": "BTC/USD"}).json()
    expected = {
        "ticker": "BTC/USD",
        "name": "BTC/USD",
        "session": "24x7",
        "timezone": "Etc/UTC",
        "minmov": 1,
        "pricescale": 100,
        "has_intraday": True,
        "supported_resolutions": ["1", "5", "15"],
        "type": "crypto",
    }
    assert {name: info[name] for name in expected} == expected
    assert client.get("/udf/symbols", params={"symbol": "DOGE-USD"}).json()["pricescale"] == 100_000
    assert client.get("/udf/symbols", params={"symbol": "KRAKEN:DOGE-USD"}).json()["ticker"] == "DOGE-USD"


def test_search_by_part_of_a_name_in_any_case(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(0, symbol=name) for name in ("BTC-USD", "ETH-USD", "ETH-BTC")]))

    def found(**params: Any) -> list[str]:
        return [each["ticker"] for each in client.get("/udf/search", params=params).json()]

    assert found(query="btc") == ["BTC-USD", "ETH-BTC"]
    assert found(query="", limit=2) == ["BTC-USD", "ETH-BTC"]
    assert found(query="eth", type="crypto", exchange="24/7") == ["ETH-BTC", "ETH-USD"]
    assert found(query="eth", type="stock") == [] == found(query="eth", exchange="XNYS")


def test_history_is_half_open_by_column_with_the_forming_bar(
    client: httpx.Client, database: TimescaleStore, redis_url: str
) -> None:
    database.write_bars(bars_table([make_bar(minute, close=Decimal(100 + minute)) for minute in range(5)]))
    live = RedisStore(redis_url, 300)
    live.write_bars(bars_table([make_bar(5, rev=0, state="forming", close=Decimal("105.5"))]))
    live.close()
    body = history(client)
    assert body["s"] == "ok" and minutes(body) == [0, 1, 2, 3, 4, 5]
    assert {len(body[name]) for name in "tohlcv"} == {6}
    assert (body["o"][5], body["h"][5], body["l"][5], body["c"][5], body["v"][5]) == (10.0, 11.0, 9.5, 105.5, 3.0)
    assert minutes(history(client, **{"from": AT + 60, "to": AT + 180})) == [1, 2]
    assert minutes(history(client, **{"from": AT + 61, "to": AT + 181})) == [2, 3]


def test_history_countback_counts_before_to_whatever_from_is(client: httpx.Client, database: TimescaleStore) -> None:
    gap = [make_bar(minute) for minute in (0, 1, 2, 30, 31)]
    unpriced = make_bar(3, **dict.fromkeys(("open", "high", "low", "close", "vwap")))
    database.write_bars(bars_table([*gap, unpriced]))
    assert minutes(history(client, countback=3, **{"from": AT + 29 * 60})) == [2, 30, 31]
    assert minutes(history(client, countback=2, to=AT + 30 * 60)) == [1, 2]
    assert minutes(history(client, countback=300)) == [0, 1, 2, 30, 31]
    assert minutes(history(client, countback=1, to=AT + 60, **{"from": AT + 5000})) == [0]


def test_history_without_bars_says_where_the_next_ones_are(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(0), make_bar(1)]))
    assert history(client, **{"from": AT + 120, "to": AT + 240}) == {"s": "no_data", "nextTime": AT + 60}
    assert history(client, **{"from": AT - 600, "to": AT}) == {"s": "no_data"}
    assert history(client, resolution="5") == {"s": "no_data"}
    assert history(client, countback=5, to=AT) == {"s": "no_data"}


def test_history_of_an_exchange_has_the_hours_that_symbols_told(
    store_settings: Settings, database: TimescaleStore
) -> None:
    """BASE is 09:30 in New York; charts draw nothing outside the session."""
    database.write_bars(bars_table([make_bar(minute) for minute in (-1, 0, 389, 390)]))
    with serving(store_settings.model_copy(update={"calendar": "XNYS"}), ManualClock(NOW)) as client:
        info = client.get("/udf/symbols", params={"symbol": "A"}).json()
        assert (info["session"], info["timezone"], info["type"]) == ("0930-1600", "America/New_York", "stock")
        assert minutes(history(client, to=AT + 86_400)) == [0, 389]
        assert minutes(history(client, to=AT + 86_400, countback=1)) == [389]


def test_errors_have_the_datafeeds_own_shape(
    client: httpx.Client, store_settings: Settings, database: TimescaleStore
) -> None:
    database.write_bars(bars_table([make_bar(0)]))
    asked = {"symbol": "A", "resolution": "1", "from": 0, "to": AT}
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        ("symbols", {"symbol": "NOPE"}, 404, "unknown_symbol"),
        ("symbols", {}, 422, "symbol"),
        ("history", asked | {"symbol": "NOPE"}, 404, "unknown_symbol"),
        ("history", asked | {"resolution": "D"}, 422, "resolution"),
        ("history", asked | {"from": "x"}, 422, "from"),
        ("history", asked | {"from": AT + 1}, 422, "to"),
        ("history", asked | {"countback": 0}, 422, "countback"),
        ("search", {"query": "", "limit": 101}, 422, "limit"),
    ]
    for name, params, status, said in cases:
        answer = client.get(f"/udf/{name}", params=params)
        assert (answer.status_code, answer.json()["s"]) == (status, "error"), (name, params, answer.text)
        assert answer.json().keys() == {"s", "errmsg"} and said in answer.json()["errmsg"]
    # What a chart of another version adds is left alone.
    assert client.get("/udf/symbols", params={"symbol": "A", "currencyCode": "USD"}).status_code == 200
    with serving(without_database(store_settings)) as broken:
        answer = broken.get("/udf/history", params=asked)
    assert (answer.status_code, answer.json()["s"]) == (503, "error") and "retry-after" in answer.headers
