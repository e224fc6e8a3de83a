"""Rules and alerts over REST: made, changed without losing a change, tried on the past, acknowledged, seen."""

import itertools
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from alerts.rules import parse_rule
from api.cursor import Place, write_cursor
from api.times import format_time
from conf.settings import Settings
from core.clock import ManualClock
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests import factories
from tests.api_process import bearer
from tests.integration.alert_data import store_alert
from tests.serving import serving

MINUTE_US = 60_000_000
NOW = factories.MONDAY_US + 200 * MINUTE_US
RULES = "/api/v1/alerts/rules"
RULE: dict[str, Any] = {"name": "high", "condition": {"kind": "price", "when": "above", "level": 100}}


def make(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post(RULES, json=RULE | changes)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def store_flapping(database: TimescaleStore, symbol: str, minutes: int) -> None:
    bars = []
    for place in range(minutes):
        price = Decimal("101" if place % 2 else "99")
        prices = dict.fromkeys(("open", "high", "low", "close"), price)
        bars.append(factories.bar(symbol=symbol, start=factories.MONDAY_US + place * MINUTE_US, **prices))
    database.write_bars(bars_table(bars))


def test_rule_is_made_read_changed_and_deleted(client: httpx.Client) -> None:
    made = client.post(RULES, json=RULE)
    assert made.status_code == 201 and made.headers["etag"] == '"1"'
    place = made.headers["location"]
    assert made.json()["rule"]["cooldown_seconds"] == 300  # as it was understood, with every default
    assert parse_rule(made.json()["rule"]) == parse_rule(RULE)
    read = client.get(place)
    assert read.json() == {key: value for key, value in made.json().items() if key != "trial"}
    changed = client.put(place, json=RULE | {"severity": "critical"}, headers={"If-Match": read.headers["etag"]})
    assert changed.status_code == 200 and changed.headers["etag"] == '"2"'
    assert client.get(place).json()["rule"]["severity"] == "critical"
    assert [each["id"] for each in client.get(RULES).json()["rules"]] == [made.json()["id"]]
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == client.delete(place).status_code == 404
    assert client.get(RULES).json() == {"truncated": False, "next": None, "rules": []}


OLDER = '{"for_bars": 3, "resolve_bars": 3}'
"""What rules of older versions may have that are not of bars."""


@pytest.mark.parametrize(
    ("condition", "counts"),
    [({"kind": "anomaly"}, 1), ({"kind": "health", "check": "bars_late"}, 1), (RULE["condition"], 3)],
)
def test_rule_of_an_older_version_shows_what_counts_and_can_be_kept_as_it_is_shown(
    client: httpx.Client, postgres_dsn: str, condition: dict[str, Any], counts: int
) -> None:
    place = f"{RULES}/{make(client, condition=condition)['id']}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"UPDATE alert_rules SET rule = rule || '{OLDER}'")
    shown = client.get(place)
    rule = shown.json()["rule"]
    assert (rule["for_bars"], rule["resolve_bars"]) == (counts, counts)
    assert client.get(RULES).json()["rules"] == [shown.json()]
    kept = client.put(place, json=rule, headers={"If-Match": shown.headers["etag"]})
    assert kept.status_code == 200 and kept.json()["rule"] == rule


def test_no_change_is_lost(client: httpx.Client) -> None:
    place = f"{RULES}/{make(client)['id']}"
    assert client.put(place, json=RULE).status_code == 428
    assert client.put(place, json=RULE, headers={"If-Match": '"7"'}).status_code == 412
    assert client.delete(place, headers={"If-Match": '"7"'}).status_code == 412
    answers: list[int] = []

    def change(level: int) -> None:
        body = RULE | {"condition": {"kind": "price", "when": "above", "level": level}}
        answers.append(client.put(place, json=body, headers={"If-Match": '"1"'}).status_code)

    threads = [threading.Thread(target=change, args=(level,)) for level in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 412, 412, 412, 412]
    assert client.put(place, json=RULE, headers={"If-Match": "*"}).json()["version"] == 3
    assert client.put(f"{RULES}/{uuid4()}", json=RULE, headers={"If-Match": "*"}).status_code == 404


def test_names_are_taken_once(client: httpx.Client) -> None:
    make(client)
    other = make(client, name="other")
    again = client.post(RULES, json=RULE)
    assert again.status_code == 409 and again.json()["type"] == "urn:tickstream:problem:name-taken"
    renamed = client.put(f"{RULES}/{other['id']}", json=RULE, headers={"If-Match": '"1"'})
    assert renamed.status_code == 409


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"condition": {"kind": "indicator", "expression": "rsl:14 > 70"}}, "condition.indicator.expression"),
        ({"condition": {"kind": "price", "when": "over", "level": 1}}, "condition.price.when"),
        ({"condition": {"kind": "weather"}}, "condition"),
        ({"quiet": {"start": "22:00", "end": "07:00", "zone": "Mars"}}, "quiet.zone"),
        ({"cooldown": 3}, "cooldown"),
        ({"severity": "loud"}, "severity"),
    ],
)
def test_wrong_rule_is_refused_with_what_is_wrong(
    client: httpx.Client, changes: dict[str, Any], parameter: str
) -> None:
    for path, body in ((RULES, RULE | changes), (f"{RULES}/test", {"rule": RULE | changes})):
        answer = client.post(path, json=body)
        assert answer.status_code == 422
        assert [each["parameter"].removeprefix("rule.") for each in answer.json()["errors"]] == [parameter]
    assert client.get(RULES).json()["rules"] == []


def test_rule_is_tried_on_the_past_before_it_is_kept(client: httpx.Client, database: TimescaleStore) -> None:
    store_flapping(database, "AAA", 100)
    store_flapping(database, "BBB", 60)
    trial = make(client)["trial"]
    assert (trial["tried"], trial["bars"], trial["symbols"], trial["fired"]) == (True, 160, 2, 80)
    assert 2 <= trial["messages"] <= 10 and len(trial["alerts"]) == 2
    assert {(past["symbol"], past["crossings"]) for past in trial["alerts"]} == {("AAA", 50), ("BBB", 30)}
    half = {"start": factories.MONDAY_US // 1000, "end": (factories.MONDAY_US + 10 * MINUTE_US) // 1000}
    body = {"rule": RULE | {"symbols": ["BBB"], "name": "x"}} | {name: str(ms) for name, ms in half.items()}
    answer = client.post(f"{RULES}/test", json=body).json()
    assert (answer["bars"], answer["fired"], answer["symbols"]) == (10, 5, 1)
    assert len(client.get(RULES).json()["rules"]) == 1
    indicator = {"kind": "indicator", "expression": "sma:20 > 99"}
    warm = client.post(f"{RULES}/test", json=body | {"rule": RULE | {"condition": indicator}}).json()
    assert warm["fired"] == 0  # 20 bars are not there yet
    late = {"start": str((factories.MONDAY_US + 50 * MINUTE_US) // 1000)}
    warm = client.post(
        f"{RULES}/test", json={"rule": RULE | {"condition": indicator, "symbols": ["AAA"]}} | late
    ).json()
    assert warm["fired"] == 1 and warm["alerts"][0]["since"] == warm["start"]  # from the first bar on


def test_trial_takes_numbers_as_milliseconds_too_and_ends_now_at_the_latest(
    client: httpx.Client, database: TimescaleStore
) -> None:
    store_flapping(database, "AAA", 100)

    def asked(**range_: object) -> httpx.Response:
        return client.post(f"{RULES}/test", json={"rule": RULE} | range_)

    start, end = factories.MONDAY_US // 1000, (factories.MONDAY_US + 10 * MINUTE_US) // 1000
    texts, numbers = asked(start=str(start), end=str(end)), asked(start=start, end=end)
    assert numbers.status_code == 200 and numbers.json() == texts.json() and numbers.json()["bars"] == 10
    late, now = asked(end="9999-12-31T00:00:00Z").json(), asked().json()
    assert (late, late["end"]) == (now, format_time(NOW))
    for wrong in (9e18, 9 * 10**18, factories.MONDAY_US, 1.5, True, -1, [1]):
        refused = asked(end=wrong)
        assert refused.status_code == 422, wrong
        assert [each["parameter"] for each in refused.json()["errors"]] == ["end"]
    backwards = asked(start=end, end=start)
    assert backwards.status_code == 422 and "before start" in backwards.json()["detail"]


def test_trial_of_a_rule_that_fires_for_ever_ends(client: httpx.Client, postgres_dsn: str) -> None:
    store_findings(postgres_dsn, (10, "firing"))
    body = {"rule": RULE | {"condition": {"kind": "anomaly"}}, "start": 0, "end": "9999-12-31T00:00:00Z"}
    answer = client.post(f"{RULES}/test", json=body).json()
    assert (answer["fired"], answer["truncated"], answer["end"]) == (1, False, format_time(NOW))


def test_rule_on_an_indicator_is_kept_before_there_are_bars(client: httpx.Client) -> None:
    trial = make(client, condition={"kind": "indicator", "expression": "rsi:14 > 70"})["trial"]
    assert (trial["tried"], trial["bars"], trial["fired"]) == (True, 0, 0)


def test_rule_on_health_cannot_be_tried_and_is_kept_all_the_same(client: httpx.Client) -> None:
    trial = make(client, condition={"kind": "health", "check": "bars_late", "seconds": 180})["trial"]
    assert not trial["tried"] and trial["why"] and trial["messages"] == 0


def store_findings(postgres_dsn: str, *found: tuple[int, str]) -> None:
    """By minute and state."""
    with psycopg.connect(postgres_dsn) as connection:
        for minute, state in found:
            connection.execute(
                'INSERT INTO anomalies (symbol, "interval", "start", "end", rule, rev, severity, state, value,'
                " threshold, score, since, \"text\") SELECT %s, %s, at, at + interval '1 minute', %s, 1, %s, %s, 6, 5,"
                " 1.2, at, 'moved' FROM (SELECT to_timestamp(%s) AS at) AS moment",
                ["AAA", "1m", "price_move", "warning", state, factories.MONDAY_US / 1e6 + 60 * minute],
            )


def test_rule_on_anomalies_is_tried_on_the_findings(client: httpx.Client, postgres_dsn: str) -> None:
    store_findings(postgres_dsn, (10, "firing"), (12, "resolved"), (100, "firing"))
    trial = make(client, condition={"kind": "anomaly"})["trial"]
    assert trial["fired"] == 2 and [past["until"] is None for past in trial["alerts"]] == [False, True]


def alert(settings: Settings, **changes: Any) -> str:
    """The id of a new alert, of a rule that is gone."""
    name = str(uuid4())
    store_alert(settings.postgres_dsn.get_secret_value(), name, **changes)
    return name


def test_alerts_are_listed_with_the_receipts_of_their_messages(client: httpx.Client, store_settings: Settings) -> None:
    first = alert(store_settings)
    second = alert(store_settings, symbol="BBB", state="resolved", until=NOW)
    answer = client.get("/api/v1/alerts").json()
    assert [each["id"] for each in answer["alerts"]] == [second, first] and not answer["truncated"]
    shown = answer["alerts"][1]
    assert (shown["rule"], shown["crossings"], shown["lowest"], shown["highest"]) == ("gone", 3, 100.5, 109.0)
    assert [(each["target"], each["state"], each["attempts"]) for each in shown["deliveries"]] == [
        ("ops", "pending", 0), ("desk", "pending", 0),
    ]  # fmt: skip
    for query, expected in (
        ({"state": "firing"}, [first]), ({"symbol": "BBB"}, [second]), ({"rule": shown["rule_id"]}, [first]),
        ({"rule": str(uuid4())}, []), ({"limit": 1}, [second]),
    ):  # fmt: skip
        found = client.get("/api/v1/alerts", params=query).json()  # type: ignore[arg-type]
        assert [each["id"] for each in found["alerts"]] == expected, query
        assert found["truncated"] is ("limit" in query)
    assert client.get("/api/v1/alerts", params={"state": "asleep"}).status_code == 422


def walked(client: httpx.Client, path: str, name: str, sizes: list[int], add: Callable[[], Any], **asked: Any) -> Any:
    """The rows of all pages, of sizes in turn; something is added before each page but the first."""
    found, cursor = [], {}
    for size in itertools.islice(itertools.cycle(sizes), 100):
        answer = client.get(path, params=asked | cursor | {"limit": size})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page[name]
        assert len(page[name]) == size if page["truncated"] else page["next"] is None
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}
        add()
    raise AssertionError("the pages do not end")


def test_pages_have_each_alert_once_and_in_order_while_others_begin_and_end(
    client: httpx.Client, store_settings: Settings
) -> None:
    dsn = store_settings.postgres_dsn.get_secret_value()

    @given(st.lists(st.sampled_from(["AAA", "BBB"]), max_size=12), st.lists(st.integers(1, 4), min_size=1, max_size=3))
    @examples(max_examples=12)
    def check(symbols: list[str], sizes: list[int]) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute("TRUNCATE alerts, alert_deliveries")
        held = [alert(store_settings, symbol=symbol) for symbol in symbols]
        with psycopg.connect(dsn) as connection:  # begun in one moment, by twos
            connection.execute(
                "UPDATE alerts SET created_at = to_timestamp(1000 + place / 2) FROM (SELECT id,"
                " row_number() OVER (ORDER BY created_at) AS place FROM alerts) AS placed WHERE placed.id = alerts.id"
            )
            wanted = connection.execute("SELECT id::text, symbol FROM alerts ORDER BY created_at DESC, id").fetchall()

        def change() -> None:
            alert(store_settings)
            with psycopg.connect(dsn) as connection:
                connection.execute("UPDATE alerts SET state = 'resolved', updated_at = clock_timestamp()")

        found = [row["id"] for row in walked(client, "/api/v1/alerts", "alerts", sizes, change)]
        assert found == [name for name, _ in wanted] and len(set(found)) == len(held)
        found = [row["id"] for row in walked(client, "/api/v1/alerts", "alerts", sizes, lambda: None, symbol="BBB")]
        assert found == [name for name, symbol in wanted if symbol == "BBB"]

    check()


def test_pages_have_each_rule_once_and_a_cursor_is_of_its_own_query(
    client: httpx.Client, store_settings: Settings
) -> None:
    names = ["a", "B", "Zürich 5", "höher", "10", "9 %"]
    for name in names:
        make(client, name=name)
    more = (make(client, name=f"!{number}") for number in range(9))  # before the place
    found = walked(client, RULES, "rules", [2, 1], lambda: next(more))
    assert [row["rule"]["name"] for row in found] == sorted(names, key=str.encode)
    for _ in range(2):
        alert(store_settings)
    cursor = client.get("/api/v1/alerts", params={"limit": 1}).json()["next"]
    made_up = write_cursor(Place("older", 1, identity="nobody"), ("alerts", None, None, None))
    for path, asked in (("/api/v1/alerts", {"cursor": cursor, "symbol": "AAA"}), (RULES, {"cursor": cursor}),
                        ("/api/v1/alerts", {"cursor": made_up}), ("/api/v1/alerts", {"cursor": "AAAA"})):  # fmt: skip
        answer = client.get(path, params=asked)
        assert answer.status_code == 422 and answer.json()["errors"][0]["parameter"] == "cursor", (path, asked)


def test_alert_is_acknowledged_by_whoever_is_first(client: httpx.Client, store_settings: Settings) -> None:
    name = alert(store_settings)
    once = client.post(f"/api/v1/alerts/{name}/acknowledge").json()
    assert once["acknowledged_by"] == "anonymous" and once["acknowledged_at"]
    assert client.post(f"/api/v1/alerts/{name}/acknowledge").json() == once
    assert client.post(f"/api/v1/alerts/{uuid4()}/acknowledge").status_code == 404


def test_reading_and_changing_ask_for_their_scopes(guarded_client: httpx.Client, keys: dict[str, str]) -> None:
    read, write = bearer(keys["read"]), bearer(keys["write"])
    assert guarded_client.get(RULES).status_code == 401
    assert guarded_client.get(RULES, headers=read).status_code == 200
    assert guarded_client.post(RULES, json=RULE, headers=read).status_code == 403
    made = guarded_client.post(RULES, json=RULE, headers=write)
    assert made.status_code == 201
    place = made.headers["location"]
    assert guarded_client.delete(place, headers=read).status_code == 403
    assert guarded_client.post(f"/api/v1/alerts/{uuid4()}/acknowledge", headers=read).status_code == 403
    assert guarded_client.delete(place, headers=write).status_code == 204


def test_without_the_database_it_says_so(socket_settings: Settings) -> None:
    with serving(socket_settings, ManualClock(NOW)) as client:
        answer = client.post(RULES, json=RULE)
        assert answer.status_code == 503 and answer.json()["store"] == "timescale"
