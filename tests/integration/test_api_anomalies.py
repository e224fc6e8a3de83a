"""Findings over HTTP: newest first, filtered, page by page; and the rules with their thresholds."""

from typing import Any

import httpx
import pytest

from api.models_anomalies import AnomaliesAnswer, AnomalyRulesAnswer
from conf.settings import Settings
from core.anomalies import RULES, Finding
from stores.anomalies import AnomalyStore
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE
from tests.serving import serving, without_database

NOW = BASE + 100 * MINUTE


def finding(minute: int, **changes: Any) -> Finding:
    start = BASE + minute * MINUTE
    fields: dict[str, Any] = {
        "symbol": "A",
        "interval": "1m",
        "start": start,
        "end": start + MINUTE,
        "rev": 1,
        "event_us": start + MINUTE,
        "rule": "price_move",
        "severity": "info",
        "state": "firing",
        "value": -5.4,
        "threshold": 5.0,
        "score": 1.08,
        "text": "A 1m closed at 187.30, 5.4 % below the bar before: more than 5 %",
        "since": start,
    }
    return Finding(**fields | changes)


@pytest.fixture
def held(database: TimescaleStore, postgres_dsn: str) -> list[Finding]:
    """Newest first, as the API has them."""
    found = [
        finding(0),
        finding(1, state="resolved", since=BASE),
        finding(1, symbol="B/C", rule="silent_feed", rev=0, severity="critical"),
        finding(1, interval="5m", end=BASE + 6 * MINUTE, event_us=BASE + 6 * MINUTE),
        finding(2, symbol="B/C", rule="volume_spike", severity="warning"),
    ]
    AnomalyStore(postgres_dsn).write(found)
    return sorted(found, key=lambda each: (-each.start, each.symbol, each.interval, each.rule))


def got(client: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/anomalies", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def keys(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(row["symbol"], row["interval"], row["start"][11:16], row["rule"]) for row in found["anomalies"]]


def shown(held: list[Finding]) -> list[tuple[str, str, str, str]]:
    return [(each.symbol, each.interval, f"13:{30 + (each.start - BASE) // MINUTE}", each.rule) for each in held]


def test_newest_first_with_every_field(client: httpx.Client, held: list[Finding]) -> None:
    found = got(client)
    AnomaliesAnswer.model_validate(found, strict=True)
    assert keys(found) == shown(held) and (found["truncated"], found["next"]) == (False, None)
    first = next(row for row in found["anomalies"] if row["state"] == "resolved")
    assert first == {
        "symbol": "A", "interval": "1m", "start": "2013-06-03T13:31:00.000000Z", "end": "2013-06-03T13:32:00.000000Z",
        "rule": "price_move", "rev": 1, "severity": "info", "state": "resolved", "value": -5.4, "threshold": 5.0,
        "score": 1.08, "since": "2013-06-03T13:30:00.000000Z",
        "text": "A 1m closed at 187.30, 5.4 % below the bar before: more than 5 %",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"symbol": "B/C"}, lambda each: each.symbol == "B/C"),
        ({"interval": "5m"}, lambda each: each.interval == "5m"),
        ({"rule": "silent_feed"}, lambda each: each.rule == "silent_feed"),
        ({"severity": "warning"}, lambda each: each.severity == "warning"),
        ({"state": "resolved"}, lambda each: each.state == "resolved"),
        ({"start": (BASE + MINUTE) // 1000}, lambda each: each.start >= BASE + MINUTE),
        ({"end": (BASE + MINUTE) // 1000}, lambda each: each.start < BASE + MINUTE),
        (
            {"symbol": "A", "rule": "price_move", "interval": "1m"},
            lambda each: (each.symbol, each.interval) == ("A", "1m"),
        ),
        ({"symbol": "NOPE"}, lambda each: each.symbol == "NOPE"),
    ],
)
def test_filters(client: httpx.Client, held: list[Finding], params: dict[str, Any], wanted: Any) -> None:
    assert keys(got(client, **params)) == shown([each for each in held if wanted(each)])


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_show_each_finding_once(client: httpx.Client, held: list[Finding], limit: int, postgres_dsn: str) -> None:
    page = got(client, limit=limit)
    found = keys(page)
    AnomalyStore(postgres_dsn).write([finding(50)])  # newer ones that come meanwhile move nothing
    while page["truncated"]:
        page = got(client, limit=limit, cursor=page["next"])
        found += keys(page)
    assert found == shown(held) and page["next"] is None


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"rule": "price_mvoe"}, "rule"),
        ({"severity": "bad"}, "severity"),
        ({"state": "open"}, "state"),
        ({"interval": "2m"}, "interval"),
        ({"limit": 0}, "limit"),
        ({"symbols": "A"}, "symbols"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"start": 1_700_000_000_000, "end": 1_600_000_000_000}, "end"),
    ],
)
def test_what_makes_no_sense_is_refused(client: httpx.Client, params: dict[str, Any], parameter: str) -> None:
    answer = client.get("/api/v1/anomalies", params=params)
    assert answer.status_code == 422 and answer.json()["errors"][0]["parameter"] == parameter


def test_cursor_of_another_query_is_refused(client: httpx.Client, held: list[Finding]) -> None:
    cursor = got(client, limit=1)["next"]
    answer = client.get("/api/v1/anomalies", params={"cursor": cursor, "symbol": "A"})
    assert answer.status_code == 422 and "another query" in answer.json()["detail"]


def test_amended_finding_replaces_and_an_older_one_does_not(database: TimescaleStore, postgres_dsn: str) -> None:
    store = AnomalyStore(postgres_dsn)
    for each in (finding(0), finding(0, rev=2, state="resolved"), finding(0, rev=1, value=9.0)):
        store.write([each])
    assert store.of_series("A", "1m", 0, 1 << 62) == [finding(0, rev=2, state="resolved")]


def test_rules_say_their_thresholds_as_they_are_set(store_settings: Settings, database: TimescaleStore) -> None:
    changed = store_settings.model_copy(update={"anomaly_move_percent": 8, "anomaly_intervals": "5m,1m"})
    with serving(changed) as client:
        found = client.get("/api/v1/anomalies/rules").json()
    AnomalyRulesAnswer.model_validate(found, strict=True)
    rules = {row["rule"]: row for row in found["rules"]}
    assert list(rules) == list(RULES)
    moved, rsi = rules["price_move"], rules["rsi_oversold"]
    assert (moved["threshold"], moved["release"], moved["warning"], moved["critical"]) == (8.0, 7.2, 12.0, 16.0)
    assert (rsi["threshold"], rsi["release"], rsi["warning"], rsi["critical"]) == (30.0, 32.0, 20.0, None)
    assert moved["setting"] == "TICKSTREAM_ANOMALY_MOVE_PERCENT" and moved["intervals"] == ["1m", "5m"]
    assert rules["latency"]["intervals"] == ["1m"]


def test_database_that_is_down_is_503(store_settings: Settings) -> None:
    with serving(without_database(store_settings)) as client:
        answer = client.get("/api/v1/anomalies")
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
