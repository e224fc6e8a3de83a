"""Every route on a real PostgreSQL and a real Redis, through a real uvicorn."""

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from api.models import BarsAnswer, Health, LatestAnswer, SymbolsAnswer, TicksAnswer
from conf.settings import Settings
from core.records import Bar
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar, ticks_table
from tests.serving import serving

RFC = "2013-06-03T13:{:02d}:00.000000Z"  # BASE is 13:30
NOW = BASE + 20 * MINUTE + 7


def get(client: httpx.Client, url: str, **params: Any) -> dict[str, Any]:
    answer = client.get(url, params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def bars_of(client: httpx.Client, symbol: str = "A", **params: Any) -> list[dict[str, Any]]:
    body = get(client, f"/api/v1/bars/{symbol}", **params)
    BarsAnswer.model_validate(body, strict=True)
    rows: list[dict[str, Any]] = body["bars"]
    return rows


def minutes(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["start"][14:16]) - 30 for row in rows]


def test_bars_extreme_decimals_come_back_to_the_last_digit(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    amounts = {
        "open": Decimal("9999999999.99999999"),
        "high": Decimal("9999999999.99999999"),
        "low": Decimal("0.00000001"),
        "close": Decimal("167.41000000"),
        "volume": Decimal("12345678901234567890.12345678"),
        "notional": Decimal("1234567890123456789012.1234567890123456"),
        "vwap": Decimal("100.00000000"),
    }
    database.write_bars(bars_table([make_bar(0, **amounts)]))
    live.write_bars(bars_table([make_bar(1, rev=0, state="forming", **amounts)]))
    expected = {name: f"{value:f}" for name, value in amounts.items()} | {"close": "167.41", "vwap": "100"}
    rows = bars_of(client)
    assert minutes(rows) == [0, 1]
    for row in rows:
        assert {name: row[name] for name in amounts} == expected
    assert all(row["low"] == 1e-8 and row["close"] == 167.41 for row in bars_of(client, numeric="float"))


def test_bars_every_column_survives(client: httpx.Client, database: TimescaleStore) -> None:
    bar = make_bar(2, rev=3, state="amended", reason="late", open_us=BASE + 2 * MINUTE + 1, kafka_partition=1)
    database.write_bars(bars_table([bar]))
    row = bars_of(client)[0]
    assert (row["start"], row["end"]) == (RFC.format(32), RFC.format(33))
    assert row["open_at"] == "2013-06-03T13:32:00.000001Z" and row["close_at"] == "2013-06-03T13:32:59.999999Z"
    assert (row["rev"], row["state"], row["reason"], row["is_final"]) == (3, "amended", "late", True)
    untouched = ("trade_count", "first_trade_id", "last_trade_id", "kafka_partition", "first_offset", "last_offset")
    assert {name: row[name] for name in untouched} == {name: getattr(bar, name) for name in untouched}
    assert row["received_at"] == "2013-06-03T13:33:00.000002Z" and row["ruleset"] == "all@1"


@pytest.mark.parametrize("write", ["rfc", "millis", "offset"])
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1, 3, [1, 2]),  # the bar that starts at the end is not in, the one at the start is
        (1, 1, []),
        (0, 5, [0, 1, 2, 3, 4]),
        (3, None, [3, 4]),
        (None, 2, [0, 1]),
    ],
)
def test_bars_range_is_half_open_in_every_time_format(
    client: httpx.Client,
    database: TimescaleStore,
    live: RedisStore,
    write: str,
    start: int | None,
    end: int | None,
    expected: list[int],
) -> None:
    database.write_bars(bars_table([make_bar(minute) for minute in range(3)]))
    live.write_bars(bars_table([make_bar(minute, rev=0, state="forming") for minute in (3, 4)]))
    forms = {
        "rfc": lambda minute: RFC.format(30 + minute),
        "millis": lambda minute: str((BASE + minute * MINUTE) // 1000),
        "offset": lambda minute: f"2013-06-03T09:{30 + minute}:00-04:00",
    }
    edges = {"start": start, "end": end}
    params = {name: forms[write](minute) for name, minute in edges.items() if minute is not None}
    assert minutes(bars_of(client, **params)) == expected


def test_bars_edge_within_the_bar_excludes_it_by_one_microsecond(
    client: httpx.Client, database: TimescaleStore
) -> None:
    database.write_bars(bars_table([make_bar(0), make_bar(1)]))
    assert minutes(bars_of(client, start="2013-06-03T13:30:00.000001Z")) == [1]
    assert minutes(bars_of(client, end="2013-06-03T13:31:00.000001Z")) == [0, 1]
    assert minutes(bars_of(client, end="2013-06-03T13:31:00.000000Z")) == [0]


def test_bars_one_start_in_both_stores_higher_revision_wins(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    final = [make_bar(0), make_bar(1), make_bar(2, rev=3, state="amended", close=Decimal(30))]
    database.write_bars(bars_table(final))
    tail = [
        make_bar(0, rev=0, state="forming", close=Decimal(99)),  # closed live, final in the database
        make_bar(1, rev=2, state="amended", close=Decimal(22)),  # amended, the database lags
        make_bar(2, rev=2, state="amended", close=Decimal(99)),  # the database is ahead
        make_bar(3, rev=0, state="forming", close=Decimal(33)),
    ]
    live.write_bars(bars_table(tail))
    got = [(row["rev"], row["state"], row["close"], row["is_final"]) for row in bars_of(client)]
    assert got == [
        (1, "final", "10.5", True),
        (2, "amended", "22", True),
        (3, "amended", "30", True),
        (0, "forming", "33", False),
    ]


def test_bars_limit_keeps_the_newest_without_start_and_says_truncated(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    database.write_bars(bars_table([make_bar(minute) for minute in range(6)]))
    live.write_bars(bars_table([make_bar(minute, rev=0, state="forming") for minute in (5, 6, 7)]))
    assert minutes(bars_of(client, limit=3)) == [5, 6, 7]
    assert minutes(bars_of(client, limit=3, order="desc")) == [7, 6, 5]
    assert minutes(bars_of(client, limit=3, end=RFC.format(34))) == [1, 2, 3]
    assert minutes(bars_of(client, limit=3, start=RFC.format(31))) == [1, 2, 3]
    assert minutes(bars_of(client, limit=3, start=RFC.format(31), order="desc")) == [7, 6, 5]
    assert get(client, "/api/v1/bars/A", limit=7)["truncated"] is True
    assert get(client, "/api/v1/bars/A", limit=8)["truncated"] is False


def test_bars_default_limit_is_500_and_the_newest_ascending(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(minute) for minute in range(503)]))
    rows = bars_of(client)
    assert len(rows) == 500 and len(bars_of(client, limit=10_000)) == 503
    starts = [row["start"] for row in rows]
    assert starts == sorted(starts) and starts[0] == RFC.format(33)


def test_bars_intervals_do_not_mix(client: httpx.Client, database: TimescaleStore) -> None:
    five = make_bar(0, interval="5m", end=BASE + 5 * MINUTE, close=Decimal(55))
    database.write_bars(bars_table([make_bar(0), five]))
    assert [row["close"] for row in bars_of(client, interval="5m")] == ["55"]
    assert [row["close"] for row in bars_of(client)] == ["10.5"]
    assert bars_of(client, interval="15m") == []


def test_bars_fill_gaps_are_synthetic_rows_bounded_by_limit(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    database.write_bars(bars_table([make_bar(0), make_bar(3, close=Decimal("11.25"))]))
    live.write_bars(bars_table([make_bar(5, rev=0, state="forming")]))
    assert minutes(bars_of(client, fill="none")) == [0, 3, 5]
    rows = bars_of(client, fill="prev")
    assert [(m, row["close"], row["synthetic"]) for m, row in zip(minutes(rows), rows, strict=True)] == [
        (0, "10.5", False),
        (1, "10.5", True),
        (2, "10.5", True),
        (3, "11.25", False),
        (4, "11.25", True),
        (5, "10.5", False),
    ]
    made = rows[1]
    assert [made[name] for name in ("open", "high", "low", "volume", "trade_count", "rev")] == ["10.5"] * 3 + [
        "0",
        0,
        0,
    ]
    assert (made["is_final"], made["state"], made["vwap"]) == (False, "synthetic", None)
    assert [row["close"] for row in bars_of(client, fill="null")] == ["10.5", None, None, "11.25", None, "10.5"]
    assert minutes(bars_of(client, fill="prev", limit=2)) == [4, 5]
    assert minutes(bars_of(client, fill="prev", limit=2, start=RFC.format(31))) == [1, 2]


def test_bars_fill_with_edges_reaches_back_for_the_close_and_never_past_now(
    client: httpx.Client, database: TimescaleStore
) -> None:
    database.write_bars(bars_table([make_bar(0), make_bar(15, close=Decimal(12))]))
    inside = bars_of(client, fill="prev", start=RFC.format(35), end=RFC.format(37))
    assert [(row["start"], row["close"]) for row in inside] == [(RFC.format(35), "10.5"), (RFC.format(36), "10.5")]
    to_now = bars_of(client, fill="prev", start=RFC.format(44), end="2013-06-04T00:00:00Z")
    assert minutes(to_now) == [14, 15, 16, 17, 18, 19, 20]  # NOW is seven microseconds into minute 20
    assert minutes(bars_of(client, fill="prev", start=RFC.format(44))) == [14, 15]
    before_first = bars_of(client, fill="null", start="2013-06-03T13:28:00Z", end=RFC.format(32))
    assert [row["synthetic"] for row in before_first] == [False, True]


@pytest.mark.parametrize("symbol", ["XRP/ETH", "BRK.B", "^GSPC", "ES=F", "A%B", "A?B#C", "a;b", "1/2/3", "A+B"])
def test_symbol_of_odd_characters_works_on_every_route(
    client: httpx.Client, database: TimescaleStore, live: RedisStore, symbol: str
) -> None:
    database.write_bars(bars_table([make_bar(0, symbol=symbol)]))
    live.write_bars(bars_table([make_bar(1, symbol=symbol, rev=0, state="forming")]))
    database.write_ticks(ticks_table(symbol, [(BASE, 1, "1.5", "2")]))
    for name in {quote(symbol, safe=""), quote(symbol, safe="/")}:
        assert get(client, f"/api/v1/bars/{name}")["symbol"] == symbol
        assert minutes(get(client, f"/api/v1/bars/{name}")["bars"]) == [0, 1]
        assert len(get(client, f"/api/v1/ticks/{name}")["ticks"]) == 1
        assert get(client, f"/api/v1/latest/{name}")["symbol"] == symbol
    assert [row["symbol"] for row in get(client, "/api/v1/symbols")["symbols"]] == [symbol]


HOSTILE = [
    "'; DROP TABLE bars; --",
    "' OR '1'='1",
    "A' UNION SELECT * FROM symbols--",
    'A"',
    "%s",
    "%(x)s",
    "A\x00B",
    "A\nB",
    "A B",
    "ÄÖ",
    "😀",
    "A" * 33,
    "A" * 3000,
    "..%2f..%2fetc",
    "{symbol}",
    "$1",
    "\\",
    "*",
]


@pytest.mark.parametrize("resource", ["bars", "ticks", "latest"])
def test_symbol_hostile_is_refused_or_unknown_never_an_error(
    client: httpx.Client, database: TimescaleStore, resource: str
) -> None:
    database.write_bars(bars_table([make_bar(0)]))
    for symbol in HOSTILE:
        answer = client.get(f"/api/v1/{resource}/{quote(symbol, safe='')}")
        assert answer.status_code in (400, 404, 422), (symbol, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    for raw in ("%ff%fe", "%00", ""):
        assert client.get(f"/api/v1/{resource}/{raw}").status_code in (400, 404, 422), raw
    assert minutes(bars_of(client)) == [0]  # and the table is still there


@pytest.mark.parametrize("resource", ["bars", "ticks", "latest"])
def test_symbol_unknown_404_says_how_to_list(client: httpx.Client, resource: str) -> None:
    answer = client.get(f"/api/v1/{resource}/NOPE")
    body = answer.json()
    assert (answer.status_code, body["type"]) == (404, "urn:tickstream:problem:unknown-symbol")
    assert "NOPE" in body["detail"] and "/api/v1/symbols" in body["detail"]


def test_symbol_known_without_rows_in_range_answers_empty(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(0)]))
    assert bars_of(client, start="2020-01-01T00:00:00Z") == []
    assert get(client, "/api/v1/ticks/A")["ticks"] == []


@pytest.mark.parametrize(
    ("params", "parameter", "says"),
    [
        ({"limit": "10001"}, "limit", "10000"),
        ({"limit": "0"}, "limit", "1"),
        ({"limit": "many"}, "limit", "integer"),
        ({"limit": ""}, "limit", "integer"),
        ({"start": "yesterday"}, "start", "RFC 3339"),
        ({"start": "2013-06-03T13:30:00"}, "start", "time zone"),
        ({"end": "1370266200"}, "end", "milliseconds"),
        ({"start": "2013-06-04T00:00:00Z", "end": "2013-06-03T00:00:00Z"}, "end", "before start"),
        ({"order": "up"}, "order", "asc"),
        ({"numeric": "double"}, "numeric", "float"),
        ({"limti": "5"}, "limti", "no such parameter"),
    ],
)
@pytest.mark.parametrize("resource", ["bars", "ticks"])
def test_parameter_wrong_is_422_naming_it_and_the_limit(
    client: httpx.Client, resource: str, params: dict[str, str], parameter: str, says: str
) -> None:
    answer = client.get(f"/api/v1/{resource}/A", params=params)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert [error["parameter"] for error in body["errors"]] == [parameter]
    assert parameter in body["detail"] and says in body["detail"]


@pytest.mark.parametrize(
    ("params", "parameter", "says"), [({"interval": "2m"}, "interval", "15m"), ({"fill": "zero"}, "fill", "prev")]
)
def test_bars_parameter_wrong_is_422_listing_the_known_values(
    client: httpx.Client, params: dict[str, str], parameter: str, says: str
) -> None:
    answer = client.get("/api/v1/bars/A", params=params)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == parameter and says in answer.json()["detail"]


TAKES_NONE = ("symbols", "anomalies/rules", *(f"metrics/{name}" for name in (
    "throughput", "cache", "kafka", "queries", "stores", "sockets")))  # fmt: skip


@pytest.mark.parametrize("resource", TAKES_NONE)
def test_parameter_of_what_takes_none_is_422_too(client: httpx.Client, resource: str) -> None:
    answer = client.get(f"/api/v1/{resource}", params={"minutes": "60"})
    assert answer.status_code == 422 and "minutes: no such parameter" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/api/v1/bars/A?limit=1&limit=2", "/trades?symbol=A&symbol=B", "/symbols?x=1&x=1"])
def test_parameter_given_twice_is_422_and_never_one_of_the_two(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422 and "given more than once" in answer.text


def test_parameters_several_wrong_are_all_named_with_their_limits(client: httpx.Client) -> None:
    body = client.get("/api/v1/bars/A", params={"limit": 99_999, "order": "up"}).json()
    by_name = {error["parameter"]: error for error in body["errors"]}
    assert set(by_name) == {"limit", "order"}
    assert by_name["limit"]["limits"] == {"le": 10_000} and by_name["limit"]["given"] == "99999"


@pytest.mark.parametrize(
    ("params", "parameter", "limits"),
    [
        ({"limit": 0}, "limit", {"ge": 1}),
        ({"limit": 10_001}, "limit", {"le": 10_000}),
        ({"start": BASE // 1000, "end": BASE // 1000 - 1}, "end", {"ge": RFC.format(30)}),
        ({"interval": "2m"}, "interval", {"expected": "1m, 5m, 15m"}),
        ({"order": "up"}, "order", {"expected": "'asc' or 'desc'"}),
        ({"cursor": "A" * 1025}, "cursor", {"max_length": 1024}),
    ],
)
def test_limits_of_every_kind_are_fields_of_their_own(
    client: httpx.Client, params: dict[str, Any], parameter: str, limits: dict[str, Any]
) -> None:
    for resource in ("bars", "indicators"):
        (error,) = client.get(f"/api/v1/{resource}/A", params=params).json()["errors"]
        assert (error["parameter"], error["limits"]) == (parameter, limits)


def test_ticks_range_order_and_exactness(client: httpx.Client, database: TimescaleStore) -> None:
    rows = [
        (BASE, 2, "0.00000001", "9999999999.99999999"),
        (BASE, 1, "9999999999.99999999", "0"),
        (BASE + 1, 0, "167.41000000", "100"),
        (BASE + 1_000, 0, "3", "1"),
    ]
    database.write_ticks(ticks_table("A", rows))
    body = get(client, "/api/v1/ticks/A")
    TicksAnswer.model_validate(body, strict=True)
    got = [(tick["event_at"], tick["seq"], tick["price"], tick["size"]) for tick in body["ticks"]]
    assert got == [
        ("2013-06-03T13:30:00.000000Z", 1, "9999999999.99999999", "0"),
        ("2013-06-03T13:30:00.000000Z", 2, "0.00000001", "9999999999.99999999"),
        ("2013-06-03T13:30:00.000001Z", 0, "167.41", "100"),
        ("2013-06-03T13:30:00.001000Z", 0, "3", "1"),
    ]

    def prices(**params: Any) -> list[str]:
        return [tick["price"] for tick in get(client, "/api/v1/ticks/A", **params)["ticks"]]

    everything = [price for _, _, price, _ in got]
    millis = BASE // 1000
    assert prices(start=millis, end=millis + 1) == everything[:3]
    assert prices(start=millis + 1) == everything[3:]
    assert prices(start="2013-06-03T13:30:00.000001Z", end="2013-06-03T13:30:00.001Z") == everything[2:3]
    assert prices(order="desc") == everything[::-1]
    assert prices(limit=3) == everything[1:]
    assert prices(limit=3, start=millis) == everything[:3]
    assert prices(limit=3, start=millis, order="desc") == everything[:0:-1]
    assert get(client, "/api/v1/ticks/A", limit=3)["truncated"] is True
    assert get(client, "/api/v1/ticks/A", limit=4)["truncated"] is False


def test_latest_live_symbol_comes_from_redis(client: httpx.Client, database: TimescaleStore, live: RedisStore) -> None:
    database.write_bars(bars_table([make_bar(0)]))
    live.write_bars(bars_table([make_bar(1, rev=0, state="forming", close=Decimal("10.00000001"))]))
    body = get(client, "/api/v1/latest/A")
    LatestAnswer.model_validate(body, strict=True)
    assert (body["source"], body["price"], body["start"]) == ("live", "10.00000001", RFC.format(31))
    assert body["event_at"] == "2013-06-03T13:31:59.999999Z" and body["is_final"] is False
    assert get(client, "/api/v1/latest/A", numeric="float")["price"] == 10.00000001


def test_latest_quiet_symbol_comes_from_the_newest_priced_bar(client: httpx.Client, database: TimescaleStore) -> None:
    unpriced = dict.fromkeys(("open", "high", "low", "close", "vwap", "open_us", "close_us"))
    database.write_bars(bars_table([make_bar(0), make_bar(1, close=Decimal(11)), make_bar(2, **unpriced)]))
    body = get(client, "/api/v1/latest/A")
    LatestAnswer.model_validate(body, strict=True)
    assert (body["source"], body["price"], body["start"]) == ("database", "11", RFC.format(31))
    assert body["is_final"] is True


def test_latest_known_symbol_without_price_404_says_so(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_ticks(ticks_table("A", [(BASE, 1, "1.5", "2")]))
    answer = client.get("/api/v1/latest/A")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:tickstream:problem:no-price")


def test_symbols_stored_and_live_are_joined(client: httpx.Client, database: TimescaleStore, live: RedisStore) -> None:
    database.write_bars(bars_table([make_bar(0, symbol="B"), make_bar(3, symbol="B"), make_bar(0, symbol="A")]))
    live.write_bars(bars_table([make_bar(4, symbol=name, rev=0, state="forming") for name in ("B", "C")]))
    body = get(client, "/api/v1/symbols")
    SymbolsAnswer.model_validate(body, strict=True)
    assert [row["symbol"] for row in body["symbols"]] == ["A", "B", "C"]
    assert body["symbols"][1]["last_seen"] == "2013-06-03T13:33:59.999999Z"
    assert body["symbols"][2] == {"symbol": "C", "first_seen": None, "last_seen": None}


def test_health_with_all_stores_is_ok_and_fresh(client: httpx.Client, database: TimescaleStore) -> None:
    assert get(client, "/health/live") == {"status": "ok"}
    assert get(client, "/health/ready") == {"status": "ok"}
    empty = get(client, "/health")
    Health.model_validate(empty, strict=True)
    assert empty["freshness"]["last_ingestion"] is None
    database.write_ticks(ticks_table("A", [(BASE, 1, "1.5", "2")], received_us=NOW - 1_500_000))
    database.write_bars(bars_table([make_bar(0)]))
    body = get(client, "/health")
    Health.model_validate(body, strict=True)
    assert (body["status"], body["live"], body["ready"]) == ("ok", True, True)
    assert {name: store["state"] for name, store in body["stores"].items()} == {"timescale": "ok", "redis": "ok"}
    assert all(0 < store["latency_ms"] < 2_500 for store in body["stores"].values())
    assert body["freshness"]["last_ingestion_age_seconds"] == 1.5
    assert body["freshness"]["last_event"] == RFC.format(30)
    assert body["freshness"]["last_bar_end"] == RFC.format(31)
    assert set(body["freshness"]["counts"]) == {"ticks", "bars"}


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_monitors_may_ask_for_health_with_head(client: httpx.Client, database: TimescaleStore, path: str) -> None:
    answer, whole = client.head(path), client.get(path)
    assert (answer.status_code, answer.content) == (whole.status_code, b"") == (200, b"")
    assert answer.headers["content-type"] == whole.headers["content-type"]
    assert client.post(path).headers["allow"] == "GET"


def test_docs_and_contract_are_served(client: httpx.Client) -> None:
    assert "swagger" in client.get("/docs").text
    contract = get(client, "/openapi.json")
    assert set(contract["paths"]) >= {
        "/health",
        "/health/live",
        "/health/ready",
        "/api/v1/symbols",
        "/api/v1/latest/{symbol}",
        "/api/v1/ticks/{symbol}",
        "/api/v1/bars/{symbol}",
        "/api/v1/indicators/{symbol}",
        "/api/v1/indicators/{symbol}/latest",
        "/api/v1/prices/latest",
        "/api/v1/prices/poll",
        "/api/v1/prices/poll/{job_id}",
    }
    bars = contract["paths"]["/api/v1/bars/{symbol}"]["get"]
    named = {parameter["name"]: parameter["schema"] for parameter in bars["parameters"]}
    described = {
        "start",
        "end",
        "limit",
        "order",
        "cursor",
        "interval",
        "adjustment",
        "session",
        "fill",
        "as_of",
        "numeric",
        "format",
    }
    assert set(named) == described | {"symbol"}
    assert (named["limit"]["maximum"], named["limit"]["default"]) == (10_000, 500)
    assert named["interval"]["enum"] == ["1m", "5m", "15m", "1d"]
    assert "application/problem+json" in bars["responses"]["422"]["content"]
    assert "application/problem+json" in bars["responses"]["406"]["content"]
    tables = {"application/json", "text/csv", "application/vnd.apache.arrow.stream"}
    for resource in ("bars", "ticks", "indicators"):
        assert set(contract["paths"][f"/api/v1/{resource}/{{symbol}}"]["get"]["responses"]["200"]["content"]) == tables


def test_route_unknown_or_method_wrong_is_a_problem(client: httpx.Client) -> None:
    for answer, status in ((client.get("/api/v2/bars"), 404), (client.post("/api/v1/symbols"), 405)):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"


def test_database_not_migrated_is_503_that_says_what_to_run(store_settings: Settings) -> None:
    with serving(store_settings) as client:
        answer = client.get("/api/v1/bars/A")
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
        assert "migrate" in answer.json()["detail"]


def test_bar_factory_covers_every_column() -> None:
    assert set(msgspec.structs.asdict(make_bar(0))) == set(Bar.__struct_fields__)
