"""One bar taken apart over REST: equal, differing, amended, and where the log does not hold it any more."""

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import pytest

from core import rulesets
from core.bars import fold_bars
from core.corrections import corrected
from core.intervals import INTERVALS
from core.records import Bar, Tick
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.batches import make_ticks
from tests.factories import MONDAY_US, bar, tick
from tests.reconciling import tick_row

MINUTE_US = 60_000_000
NOW = MONDAY_US + 600 * MINUTE_US
EQUITY_US = 1_381_152_600_000_000  # 2013-10-07 09:30 in New York
FOLD = ("1m", "5m", "15m")


def trade(number: int, at: int, **changes: Any) -> Tick:
    return tick(event_us=MONDAY_US + at, seq=number, trade_id=f"t{number}", venue="X", **changes)


def about(of: Tick, kind: str, **changes: Any) -> Tick:
    bare = {"price": None, "size": None} if kind == "cancel" else {}
    late = {"event_us": of.event_us + 30 * MINUTE_US, "received_us": of.received_us + 30 * MINUTE_US}
    return msgspec.structs.replace(of, kind=kind, **bare | late | changes)


def archive(database: TimescaleStore, ticks: Sequence[Tick], first: int = 0) -> None:
    database.write_ticks(make_ticks(*(tick_row(each, first + n) for n, each in enumerate(ticks))))


def folded(ticks: Sequence[Tick], ruleset: str = "all") -> list[Bar]:
    placed = [(each, 0, n) for n, each in enumerate(ticks)]
    return fold_bars(corrected(placed), [INTERVALS[name] for name in FOLD], rulesets.load(ruleset), 1)


def final(database: TimescaleStore, ticks: Sequence[Tick], ruleset: str = "all") -> None:
    database.write_bars(bars_table(folded(ticks, ruleset)))


def ask(client: httpx.Client, interval: str = "1m", start_us: int = MONDAY_US, **query: object) -> dict[str, Any]:
    found = client.get(f"/api/v1/bars/AAPL/{interval}/{start_us // 1000}/explain", params=query)
    assert found.status_code == 200, found.text
    return found.json()


TRADES = [trade(n, n * 7_000_000, price=f"{100 + n % 5}.25", size=str(n)) for n in range(1, 30)]


@pytest.mark.parametrize("interval", FOLD)
def test_an_equal_bar_of_each_length(client: httpx.Client, database: TimescaleStore, interval: str) -> None:
    archive(database, TRADES)
    final(database, TRADES)
    found = ask(client, interval)
    assert (found["equal"], found["difference"], found["log"], found["log_note"]) == (True, {}, "complete", None)
    assert found["log_complete"] and found["hashes"]["stored"] == found["hashes"]["recomputed"]
    inside = [each for each in TRADES if each.event_us < MONDAY_US + INTERVALS[interval].us]
    assert found["outcomes"] == {"counted": len(inside)} == {"counted": found["stored"]["trade_count"]}
    assert found["offsets"] == [
        {"kafka_partition": 0, "first_offset": 0, "last_offset": len(inside) - 1, "records": len(inside)}
    ]
    assert found["recomputed"]["close"] == found["stored"]["close"] and found["ruleset"] == "all@1"
    assert len(found["code"]["definition"]) == 12
    made = {field: each for each in found["ticks"] for field in each["made"] if field != "volume"}
    assert {field: made[field]["counted_price"] for field in made} == {
        field: found["stored"][field] for field in ("open", "high", "low", "close")
    }
    assert made["open"]["kafka_offset"] == 0


def test_pages_of_records(client: httpx.Client, database: TimescaleStore) -> None:
    archive(database, TRADES)
    final(database, TRADES)
    whole = ask(client, "5m")["ticks"]
    first, second = ask(client, "5m", limit=20), ask(client, "5m", limit=20, skip=20)
    assert first["ticks"] + second["ticks"] == whole and len(whole) == 29
    assert (first["truncated"], second["truncated"]) == (True, False)
    assert ask(client, "5m", limit=0)["ticks"] == [] and ask(client, "5m", limit=0)["truncated"]
    assert ask(client, "5m", numeric="float", limit=1)["ticks"][0]["price"] == 101.25


def test_a_bar_that_differs_says_where(client: httpx.Client, database: TimescaleStore) -> None:
    archive(database, TRADES)
    bars = folded(TRADES)
    wrong = msgspec.structs.replace(bars[0], close=bars[0].close and bars[0].close + 1, last_trade_id="other")
    database.write_bars(bars_table([wrong]))
    found = ask(client)
    assert found["equal"] is False and found["difference"] == {
        "close": {"stored": "104.25", "recomputed": "103.25"},
        "last_trade_id": {"stored": "other", "recomputed": "t8"},
    }
    assert found["hashes"]["stored"] != found["hashes"]["recomputed"]


def test_corrections_and_cancels_and_the_revisions_that_they_made(
    client: httpx.Client, database: TimescaleStore
) -> None:
    corrected_one, cancelled_one = TRADES[2], TRADES[4]
    said = [about(corrected_one, "correct", price="250", size="9"), about(cancelled_one, "cancel")]
    archive(database, [*TRADES, *said])
    final(database, TRADES)
    before = ask(client)
    assert before["equal"] is False and "high" in before["difference"]
    amended = msgspec.structs.replace(folded([*TRADES, *said])[0], rev=2, state="amended", reason="cancel")
    database.write_bars(bars_table([amended]))
    found = ask(client)
    assert found["equal"] and [(bar["rev"], bar["reason"]) for bar in found["revisions"]] == [(1, None), (2, "cancel")]
    assert found["stored"] == found["revisions"][-1]
    by_id = {(each["trade_id"], each["kind"]): each for each in found["ticks"]}
    held = by_id["t3", "trade"]
    assert (held["price"], held["counted_price"], held["counted_size"], "high" in held["made"]) == (
        "103.25", "250", "9", True,
    )  # fmt: skip
    assert held["corrected_by"]["kafka_offset"] == len(TRADES)
    gone = by_id["t5", "trade"]
    assert (gone["outcome"], gone["because"], gone["counted_price"], gone["made"]) == (
        "cancelled",
        "cancelled",
        None,
        [],
    )
    assert gone["by"]["kafka_offset"] == len(TRADES) + 1
    assert by_id["t3", "correct"]["outcome"] == "correction" and by_id["t5", "cancel"]["outcome"] == "cancel"
    assert found["outcomes"] == {"counted": 7, "cancelled": 1, "correction": 1, "cancel": 1}


def test_conditions_of_the_rules_that_the_bar_names(client: httpx.Client, database: TimescaleStore) -> None:
    prints = [("1", "100"), ("20", "500"), ("1000000", "700"), (None, "101")]
    ticks = [
        tick(event_us=EQUITY_US + n, seq=n, trade_id=f"p{n}", conditions=mask, price=price)
        for n, (mask, price) in enumerate(prints)
    ]
    archive(database, ticks)
    final(database, ticks, "us-equity")
    found = ask(client, start_us=EQUITY_US)
    assert found["equal"] and found["ruleset"] == "us-equity@2"
    assert [each["outcome"] for each in found["ticks"]] == ["counted", "counted", "excluded", "counted"]
    assert found["ticks"][1]["may_touch"] == ["volume"] and found["ticks"][1]["made"] == ["volume"]
    assert found["ticks"][2]["because"] == "official prints repeat an auction"


def test_a_log_that_is_short_is_no_difference(client: httpx.Client, database: TimescaleStore) -> None:
    final(database, TRADES)
    gone = ask(client)
    assert (gone["log"], gone["log_complete"], gone["equal"], gone["difference"]) == ("gone", False, None, None)
    assert "30 days" in gone["log_note"] and gone["recomputed"] is None and gone["ticks"] == []
    archive(database, TRADES[3:], first=3)
    partial = ask(client)
    assert (partial["log"], partial["equal"], len(partial["ticks"])) == ("partial", None, 5)
    archive(database, [trade(99, -MINUTE_US)], first=99)
    assert ask(client, start_us=MONDAY_US + MINUTE_US)["equal"] is True


def test_a_log_that_is_behind_is_no_difference(client: httpx.Client, database: TimescaleStore) -> None:
    final(database, TRADES)
    archive(database, [trade(99, -MINUTE_US), *TRADES[:4]])
    found = ask(client)
    assert (found["log"], found["equal"]) == ("behind", None) and "yet" in found["log_note"]


def test_a_day_of_its_own_edges(client: httpx.Client, database: TimescaleStore) -> None:
    archive(database, TRADES)
    start, length = MONDAY_US - 90 * MINUTE_US, 390 * MINUTE_US
    made = folded(TRADES)[-1]
    names = ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "open_us", "close_us")
    day = bar(start=start, **{name: getattr(made, name) for name in (*names, "first_trade_id", "last_trade_id")})
    day = msgspec.structs.replace(day, interval="1d", end=start + length, first_offset=0, last_offset=28)
    database.write_bars(bars_table([day]))
    found = ask(client, "1d", start)
    assert found["equal"] and found["interval"] == "1d" and found["outcomes"] == {"counted": 29}


def test_what_is_not_there(client: httpx.Client, database: TimescaleStore) -> None:
    archive(database, TRADES)
    final(database, TRADES)
    path = "/api/v1/bars/{}/{}/{}/explain"
    unknown = client.get(path.format("AAPL", "1m", (MONDAY_US + 9 * 60 * MINUTE_US) // 1000))
    assert unknown.status_code == 404 and unknown.json()["type"].endswith("unknown-bar")
    assert "still forming" in unknown.json()["detail"]
    assert client.get(path.format("NOPE", "1m", MONDAY_US // 1000)).json()["type"].endswith("unknown-symbol")
    assert client.get(path.format("AAPL", "7m", MONDAY_US // 1000)).status_code == 422
    assert client.get(path.format("AAPL", "1m", "yesterday")).status_code == 422
    assert client.get(path.format("AAPL", "1m", MONDAY_US // 1000), params={"depth": 1}).status_code == 422


def test_too_many_records_are_refused(
    client: httpx.Client, database: TimescaleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.explain.MAX_RECORDS", 10)
    archive(database, TRADES)
    final(database, TRADES)
    found = client.get(f"/api/v1/bars/AAPL/15m/{MONDAY_US // 1000}/explain")
    assert found.status_code == 422 and "more than 10 records" in found.json()["detail"]
