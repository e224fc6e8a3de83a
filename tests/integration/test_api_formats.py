"""What an answer is written as, how it is compressed, and what a client may keep of it; on real stores."""

import csv
import gzip
import io
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.ipc
import pytest
import zstandard
from pydantic import SecretStr

from api.caching import cache_stats
from conf.settings import Settings
from core.clock import ManualClock
from local.postgres import Postgres
from local.redis import Redis
from stores.redis import RedisStore
from stores.schema import TIME, bars_table
from stores.timescale import TimescaleStore
from tests.databases import fresh_database
from tests.integration.api_data import BASE, MINUTE, make_bar, ticks_table
from tests.serving import serving

COUNT = 60
NOW = BASE + 90 * MINUTE
ARROW = "application/vnd.apache.arrow.stream"
AMOUNTS = {"open": Decimal("9999999999.99999999"), "low": Decimal("0.00000001"), "close": Decimal("167.4")}
EXACT = AMOUNTS | {"notional": Decimal("1234567890123456789012.1234567890123456")}
CLOSED = {"start": BASE // 1000, "end": (BASE + COUNT * MINUTE) // 1000}
PATHS = {"bars": "bars", "ticks": "ticks", "indicators": "rows"}


names = (f"S{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def settings(postgres_server: Postgres, redis_server: Redis) -> Iterator[Settings]:
    """Of stores that all tests here share: those that write do so under a symbol of their own."""
    with fresh_database(postgres_server) as dsn:
        yield Settings(postgres_dsn=SecretStr(dsn), redis_url=SecretStr(redis_server.url), indicators="sma:2")


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[TimescaleStore]:
    store = TimescaleStore(settings.postgres_dsn.get_secret_value())
    store.setup()
    bars = [make_bar(minute) for minute in range(COUNT - 1)]
    odd = make_bar(COUNT - 1, **EXACT, first_trade_id='a,"b"\nä', vwap=None)
    store.write_bars(bars_table([*bars, odd]))
    prices = ("0.00000001", "9999999999.99999999")
    store.write_ticks(ticks_table("A", [(BASE + n * MINUTE, n, *prices) for n in range(40)]))
    yield store
    store.close()


@pytest.fixture(scope="module")
def server(settings: Settings, database: TimescaleStore) -> Iterator[httpx.Client]:
    live = RedisStore(settings.redis_url.get_secret_value(), 300)
    live.write_bars(bars_table([make_bar(COUNT, rev=0, state="forming")]))
    live.close()
    with serving(settings, ManualClock(NOW)) as client:
        client.headers = httpx.Headers({"Accept-Encoding": "identity"})
        yield client


@pytest.fixture
def client(server: httpx.Client) -> httpx.Client:
    return server


def ask(
    client: httpx.Client,
    resource: str = "bars",
    headers: dict[str, str] | None = None,
    symbol: str = "A",
    **params: Any,
) -> httpx.Response:
    answer = client.get(f"/api/v1/{resource}/{symbol}", params=params, headers=headers)
    assert answer.status_code in (200, 304), answer.text
    return answer


def csv_rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.mark.parametrize("resource", ["bars", "ticks"])
@pytest.mark.parametrize("more", [{}, {"limit": 7, "order": "desc"}, {"start": CLOSED["start"], "limit": 3}])
def test_csv_has_the_very_rows_of_json(client: httpx.Client, resource: str, more: dict[str, Any]) -> None:
    expected = ask(client, resource, **more).json()
    rows = csv_rows(ask(client, resource, {"Accept": "text/csv"}, **more))
    texts = {None: "", True: "true", False: "false"}
    shown = [{name: texts.get(value, str(value)) if isinstance(value, bool | None) else str(value)
              for name, value in row.items()} for row in expected[resource]]  # fmt: skip
    assert rows == shown
    assert rows and list(rows[0]) == list(expected[resource][0])
    overridden = client.get(f"/api/v1/{resource}/A", params=more | {"format": "csv"}, headers={"Accept": "image/png"})
    assert csv_rows(overridden) == rows


def test_csv_numeric_float_is_a_number_that_a_double_can_hold(client: httpx.Client) -> None:
    last = csv_rows(ask(client, headers={"Accept": "text/csv"}, numeric="float", end=CLOSED["end"]))[-1]
    assert (float(last["open"]), float(last["low"]), last["vwap"]) == (1e10, 1e-8, "")
    assert last["first_trade_id"] == 'a,"b"\nä'


@pytest.mark.parametrize("resource", ["bars", "ticks"])
def test_arrow_has_exact_decimals_and_utc_microseconds(client: httpx.Client, resource: str) -> None:
    answer = ask(client, resource, {"Accept": ARROW})
    assert answer.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(answer.content).read_all()
    said = {"symbol": "A", "interval": "1m"} if resource == "bars" else {"symbol": "A"}
    assert table.schema.metadata == {key.encode(): value.encode() for key, value in said.items()}
    expected = ask(client, resource).json()[resource]
    assert table.column_names == list(expected[0])
    for name in table.column_names:
        kind, values = table.schema.field(name).type, table[name].to_pylist()
        if name.endswith("_at") or name in ("start", "end"):
            assert kind == TIME
            shown = [value and value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for value in values]
        elif pa.types.is_decimal(kind):
            shown = [None if value is None else f"{value:f}".rstrip("0").rstrip(".") for value in values]
        else:
            shown = values
        assert shown == [row[name] for row in expected], name
    amounts = {"bars": ("open", "volume", "notional"), "ticks": ("price", "size")}[resource]
    assert all(pa.types.is_decimal128(table.schema.field(name).type) for name in amounts)


def test_indicators_are_tables_too(client: httpx.Client) -> None:
    expected = ask(client, "indicators", type="sma:2;obv").json()["rows"]
    table = pa.ipc.open_stream(ask(client, "indicators", {"Accept": ARROW}, type="sma:2;obv").content).read_all()
    assert table["sma_2"].to_pylist() == [row["values"]["sma_2"] for row in expected]
    assert table.schema.field("obv").type == pa.float64() and table.schema.field("start").type == TIME
    rows = csv_rows(ask(client, "indicators", {"Accept": "text/csv"}, type="sma:2;obv"))
    assert rows[0]["sma_2"] == "" and float(rows[-1]["sma_2"]) == expected[-1]["values"]["sma_2"]
    assert [row["start"] for row in rows] == [row["start"] for row in expected]


def test_empty_range_is_a_table_without_rows(client: httpx.Client) -> None:
    far = {"start": "2030-01-01T00:00:00Z"}
    for resource in PATHS:
        assert csv_rows(ask(client, resource, {"Accept": "text/csv"}, **far)) == []
        assert pa.ipc.open_stream(ask(client, resource, {"Accept": ARROW}, **far).content).read_all().num_rows == 0


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv, application/json;q=0.9", "text/csv; charset=utf-8"),
        ("text/csv;q=0.5, application/json;q=0.9", "application/json"),
        (f"text/csv;q=0.5, {ARROW}", ARROW),
        ("text/html, */*;q=0.1", "application/json"),
        ("*/*;q=0.1, application/json;q=0", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("TEXT/CSV", "text/csv; charset=utf-8"),
        ("", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_accept_weights_decide(client: httpx.Client, accept: str, expected: str) -> None:
    answer = ask(client, headers={"Accept": accept})
    assert answer.headers["content-type"] == expected
    assert {"Accept", "Accept-Encoding"} <= {name.strip() for name in answer.headers["vary"].split(",")}


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "text/csv;q=nonsense", "application/xml, x"])
def test_accept_of_nothing_that_can_be_had_is_406_listing_what_can(client: httpx.Client, accept: str) -> None:
    answer = client.get("/api/v1/bars/A", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (406, "application/problem+json")
    (error,) = answer.json()["errors"]
    assert error["parameter"] == "Accept" and ARROW in error["limits"]["expected"]


def raw(client: httpx.Client, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """The answer and its body as it went over the wire."""
    with client.stream(
        "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    ) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize("query", ["", "?start={start}&end={end}"])
def test_bodies_are_compressed_as_asked_and_tiny_ones_are_not(client: httpx.Client, query: str) -> None:
    path = "/api/v1/bars/A" + query.format(**CLOSED)
    plain, body = raw(client, path)
    assert "content-encoding" not in plain.headers
    for asked, coding in (("gzip", "gzip"), ("zstd, gzip", "zstd"), ("gzip;q=1, zstd;q=0", "gzip")):
        answer, packed = raw(client, path, Accept_Encoding=asked)
        assert answer.headers["content-encoding"] == coding and len(packed) < len(body) / 3
        assert int(answer.headers["content-length"]) == len(packed)
        opened = gzip.decompress(packed) if coding == "gzip" else zstandard.ZstdDecompressor().decompress(packed)
        assert opened == body
    tiny, _ = raw(client, f"/api/v1/bars/A?start={CLOSED['start']}&end={CLOSED['start']}", Accept_Encoding="gzip")
    assert "content-encoding" not in tiny.headers


@pytest.mark.parametrize("resource", list(PATHS))
@pytest.mark.parametrize("form", ["json", "csv", "arrow"])
def test_closed_range_is_not_sent_twice(client: httpx.Client, resource: str, form: str) -> None:
    first = ask(client, resource, format=form, **CLOSED)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache" and not etag.startswith("W/")
    for held in (etag, f'"other", W/{etag}', "*"):
        again = ask(client, resource, {"If-None-Match": held}, format=form, **CLOSED)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    for held in ('"other"', etag.strip('"')):
        assert ask(client, resource, {"If-None-Match": held}, format=form, **CLOSED).status_code == 200


def test_each_representation_has_a_validator_of_its_own(client: httpx.Client) -> None:
    asked: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, {}),
        ({}, {"Accept-Encoding": "gzip"}),
        ({}, {"Accept-Encoding": "zstd"}),
        ({"format": "csv"}, {}),
        ({"numeric": "float"}, {}),
        ({"limit": 5}, {}),
        ({"order": "desc"}, {}),
        ({"fill": "prev"}, {}),
    ]
    etags = [ask(client, headers=headers, **CLOSED | params).headers["etag"] for params, headers in asked]
    assert len(set(etags)) == len(etags)
    packed = ask(client, headers={"Accept-Encoding": "gzip", "If-None-Match": etags[1]}, **CLOSED)
    assert packed.status_code == 304


@pytest.mark.parametrize(
    "change",
    [
        {"rev": 2, "state": "amended", "reason": "late", "close": Decimal(77)},
        {"rev": 2, "state": "amended", "reason": "late"},  # even where only the revision says so
    ],
)
@pytest.mark.parametrize("params", [{}, {"limit": 20}, {"fill": "prev"}, {"session": "rth"}, {"format": "csv"}])
def test_amended_bar_is_another_validator_and_another_body(
    client: httpx.Client, database: TimescaleStore, change: dict[str, Any], params: dict[str, Any]
) -> None:
    symbol = next(names)
    database.write_bars(bars_table([make_bar(minute, symbol=symbol) for minute in range(COUNT)]))
    before = ask(client, symbol=symbol, **CLOSED | params)
    same = ask(client, symbol=symbol, **CLOSED | params)
    assert (same.content, same.headers["etag"]) == (before.content, before.headers["etag"])
    database.write_bars(bars_table([make_bar(3, symbol=symbol, **change)]))
    after = ask(client, headers={"If-None-Match": before.headers["etag"]}, symbol=symbol, **CLOSED | params)
    assert after.status_code == 200 and after.headers["etag"] != before.headers["etag"]
    assert b"amended" in after.content and b"amended" not in before.content


def test_bar_added_to_a_hole_or_taken_over_from_a_provider_is_another_validator(
    client: httpx.Client, database: TimescaleStore
) -> None:
    symbol, seen = next(names), set()
    added = [[make_bar(n, symbol=symbol) for n in (0, 2, COUNT)]]
    added += [[make_bar(1, symbol=symbol, reason="provider")], [make_bar(1, symbol=symbol)]]
    for bars in added:
        database.write_bars(bars_table(bars))
        seen.add(ask(client, symbol=symbol, **CLOSED).headers.get("etag"))
    assert len(seen) == 3


@pytest.mark.parametrize("resource", list(PATHS))
def test_open_range_is_not_to_be_kept(client: httpx.Client, resource: str) -> None:
    beyond = {"start": CLOSED["start"], "end": CLOSED["end"] + 1}  # a millisecond of a bar that is forming
    for params in ({}, {"start": CLOSED["start"]}, beyond):
        answer = ask(client, resource, {"If-None-Match": "*"}, **params)
        assert answer.status_code == 200, params
        assert answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers


def test_pages_of_an_open_range_that_lie_in_the_past_are_closed(client: httpx.Client) -> None:
    newest = ask(client, limit=10)
    assert "etag" not in newest.headers
    older = ask(client, limit=10, cursor=newest.json()["previous"])
    again = ask(client, headers={"If-None-Match": older.headers["etag"]}, limit=10, cursor=newest.json()["previous"])
    assert again.status_code == 304


def test_second_request_of_a_closed_range_is_a_hit(client: httpx.Client) -> None:
    asked = CLOSED | {"limit": COUNT + 1}  # of which no other test asks

    def moved(**headers: str) -> dict[str, int]:
        before = cache_stats()
        ask(client, headers={name.replace("_", "-"): value for name, value in headers.items()}, **asked)
        return {name: value - before[name] for name, value in cache_stats().items()}

    first = moved()
    assert (first["hits"], first["misses"], first["bodies"]) == (0, 1, 1) and first["bytes"] > 10_000
    assert moved() == {"hits": 1, "misses": 0, "not_modified": 0, "evicted": 0, "bytes": 0, "bodies": 0}
    packed = moved(Accept_Encoding="gzip")
    assert packed["hits"] == 1 and 0 < packed["bytes"] < first["bytes"] / 3
    assert moved(Accept_Encoding="gzip")["bytes"] == 0
    etag = ask(client, **asked).headers["etag"]
    assert moved(If_None_Match=etag) == {name: int(name == "not_modified") for name in first}
