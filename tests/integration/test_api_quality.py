"""What was checked, amended and missing, of all symbols at once; and the overview's rows for who adds live bars."""

from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from api.models_quality import AmendmentsAnswer, GapsAnswer, QualityDaysAnswer
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar

NOW = BASE + 10 * MINUTE


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def got(client: httpx.Client, path: str, **params: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/quality/{path}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_days_of_all_symbols_newest_first_with_totals(client: httpx.Client, postgres_dsn: str) -> None:
    execute(
        postgres_dsn,
        "INSERT INTO reconciled (symbol, day, checked, matched, amended) VALUES ('A', '2013-06-03', 400, 399, 1),"
        " ('B', '2013-06-03', 100, 100, 0), ('A', '2013-06-02', 50, 50, 0), ('A', '2013-05-01', 9, 9, 0)",
    )
    found = got(client, "days")
    QualityDaysAnswer.model_validate(found, strict=True)
    assert (found["first"], found["last"], found["truncated"]) == ("2013-05-21", "2013-06-03", False)
    assert [(row["day"], row["symbol"], row["match_ratio"]) for row in found["days"]] == [
        ("2013-06-03", "A", 0.9975),
        ("2013-06-03", "B", 1.0),
        ("2013-06-02", "A", 1.0),
    ]
    totals = [{name: row[name] for name in ("day", "symbols", "checked", "amended")} for row in found["totals"]]
    assert totals == [
        {"day": "2013-06-02", "symbols": 1, "checked": 50, "amended": 0},
        {"day": "2013-06-03", "symbols": 2, "checked": 500, "amended": 1},
    ]
    assert found["totals"][1]["match_ratio"] == 0.998
    only = got(client, "days", limit=0)
    assert (only["days"], only["truncated"], only["totals"]) == ([], True, found["totals"])
    few = got(client, "days", limit=2, last="2013-06-03", days=1)
    assert [row["symbol"] for row in few["days"]] == ["A", "B"] and few["truncated"] is False
    assert got(client, "days", last="1970-01-02")["first"] == "1970-01-01"


def test_amendments_say_what_was_and_what_is(client: httpx.Client, database: TimescaleStore, postgres_dsn: str) -> None:
    database.write_bars(bars_table([make_bar(0), make_bar(1), make_bar(0, symbol="B")]))
    late = make_bar(0, rev=2, state="amended", reason="late", close=Decimal("10.7"), volume=Decimal(4), trade_count=3)
    again = make_bar(0, rev=3, state="amended", reason="cancel", close=Decimal("10.6"), volume=Decimal(3))
    missing = make_bar(2, symbol="B", state="amended", reason="gap-fill")
    for bars in ([late], [again], [missing]):
        database.write_bars(bars_table(bars))
    found = got(client, "amendments")
    AmendmentsAnswer.model_validate(found, strict=True)
    assert found["reasons"] == {"cancel": 1, "gap-fill": 1} and found["truncated"] is False
    assert [(row["symbol"], row["interval"], row["start"][11:16], row["rev"]) for row in found["amendments"]] == [
        ("B", "1m", "13:32", 1),
        ("A", "1m", "13:30", 3),
    ]
    inserted, twice = found["amendments"]
    assert inserted["was"] is None and inserted["now"]["close"] == "10.5"
    assert [twice[when]["close"] for when in ("was", "now")] == ["10.7", "10.6"]
    assert [twice[when]["trade_count"] for when in ("was", "now")] == [3, 2]
    assert [row["symbol"] for row in got(client, "amendments", symbol="A")["amendments"]] == ["A"]
    assert got(client, "amendments", symbol="A")["reasons"] == {"cancel": 1}
    few = got(client, "amendments", limit=1, numeric="float")
    assert few["truncated"] is True and few["amendments"][0]["now"]["close"] == 10.5
    assert few["reasons"] == found["reasons"]
    assert got(client, "amendments", since=twice["known_at"].replace("20", "90", 1))["amendments"] == []


def test_gaps_by_state_symbol_and_time(client: httpx.Client, postgres_dsn: str) -> None:
    execute(
        postgres_dsn,
        "INSERT INTO gaps (source, symbol, cause, first_id, last_id, start_us, end_us, state, filled, settled_at)"
        f" VALUES ('coinbase', 'A', 'ids', 5, 9, {BASE}, {BASE + 2_500_000}, 'filled', 5, now()),"
        f" ('coinbase', 'B', 'silence', NULL, NULL, {BASE + MINUTE}, {BASE + 2 * MINUTE}, 'open', 0, NULL)",
    )
    found = got(client, "gaps")
    GapsAnswer.model_validate(found, strict=True)
    rows = [(row["symbol"], row["state"], row["seconds"], row["missing"], row["filled"]) for row in found["gaps"]]
    assert rows == [("B", "open", 60.0, None, 0), ("A", "filled", 2.5, 5, 5)]
    assert found["states"] == {"open": 1, "filled": 1}
    assert [row["symbol"] for row in got(client, "gaps", state="filled")["gaps"]] == ["A"]
    assert [row["symbol"] for row in got(client, "gaps", symbol="B")["gaps"]] == ["B"]
    assert [row["symbol"] for row in got(client, "gaps", since=(BASE + MINUTE) // 1000)["gaps"]] == ["B"]
    assert got(client, "gaps", limit=1)["truncated"] is True


@pytest.mark.parametrize(
    ("path", "params"),
    [("gaps", {"state": "odd"}), ("amendments", {"limit": 0}), ("days", {"days": 0}), ("days", {"symbol": "A"})],
)
def test_what_makes_no_sense_is_refused(client: httpx.Client, path: str, params: dict[str, Any]) -> None:
    answer = client.get(f"/api/v1/quality/{path}", params=params)
    assert answer.status_code == 422 and answer.json()["errors"][0]["parameter"] == next(iter(params))


def overview(client: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/market/overview", params=params)
    assert answer.status_code == 200, answer.text
    return {row["symbol"]: row for row in answer.json()["symbols"]}


def test_overview_leaves_the_newest_bars_apart_and_says_from_where(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    stored = [make_bar(minute, high=Decimal(11 + minute)) for minute in range(4)]
    yesterday = make_bar(-1000, close=Decimal(8))
    database.write_bars(bars_table([yesterday, *stored, make_bar(0, symbol="QUIET")]))
    forming = make_bar(4, rev=0, state="forming", high=Decimal(15), volume=Decimal(2), notional=Decimal(21))
    live.write_bars(bars_table([*stored[1:], forming]))
    whole, left = overview(client)["A"], overview(client, apart=2)["A"]
    assert (whole["until"], whole["volume"], whole["high"]) == (None, "14", "15")
    assert (left["until"], left["volume"], left["high"]) == ("2013-06-03T13:33:00.000000Z", "9", "13")
    assert (left["prior_close"], left["closes"]) == ("8", ["8", "10.5", "10.5", "10.5"])
    assert (left["session_start"], left["session_end"]) == (
        "2013-06-03T00:00:00.000000Z",
        "2013-06-04T00:00:00.000000Z",
    )
    assert Decimal(left["volume"]) + stored[3].volume + forming.volume == Decimal(whole["volume"])
    quiet = overview(client, apart=2)["QUIET"]  # Redis has nothing of it: all that there is, up to its last bar
    assert (quiet["until"], quiet["volume"]) == ("2013-06-03T13:31:00.000000Z", "3")


def test_overview_apart_goes_no_further_back_than_the_session(
    client: httpx.Client, database: TimescaleStore, live: RedisStore
) -> None:
    midnight = -810  # minutes from BASE, 13:30 UTC
    before = [make_bar(midnight - 1, close=Decimal(7)), make_bar(midnight - 2)]
    database.write_bars(bars_table(before))
    live.write_bars(bars_table([*before, make_bar(midnight, rev=0, state="forming")]))
    row = overview(client, apart=3)["A"]
    assert (row["session"], row["until"], row["volume"]) == ("2013-06-03", "2013-06-03T00:00:00.000000Z", "0")
    assert (row["price"], row["prior_close"], row["closes"]) == (None, "7", ["10.5", "7"])
