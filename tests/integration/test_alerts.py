"""The alerter on real servers: decisions that a crash neither loses nor repeats, targets that fail, backlogs."""

import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from confluent_kafka import Producer
from psycopg import sql
from pydantic import SecretStr

from alerts.server import Server
from conf.settings import Settings
from conf.topics import ANOMALIES, BARS, DEAD
from core.records import Bar
from local.postgres import Postgres
from stores.alerts import AlertStore
from stores.redis import bar_to_json
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests import factories
from tests.alerting import keep, process, rows, running, said, told
from tests.databases import execute
from tests.integration.alert_data import store_alert
from tests.receivers import Hook, Mailbox, free_port, until

MINUTE_US = 60_000_000


@pytest.fixture
def alerting(database: TimescaleStore, settings: Settings) -> Settings:
    """Settings of a system whose database is migrated."""
    return settings.model_copy(update={"alert_timeout_seconds": 2.0, "lateness_seconds": 1.0})


def above(level: float = 100.0, **changes: Any) -> dict[str, Any]:
    rule = {"name": "high", "condition": {"kind": "price", "when": "above", "level": level}}
    return rule | changes


def bar(symbol: str, start: int, close: float, **changes: Any) -> Bar:
    price = Decimal(f"{close:.8f}")
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return factories.bar(symbol=symbol, start=start, **prices, **changes)


def publish(settings: Settings, *bars: Bar) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for each in bars:
        key = f"{each.symbol}|{each.interval}|{each.start}"  # as the final query has it: any partition
        producer.produce(settings.topic(BARS), bar_to_json(msgspec.structs.asdict(each)), key=key)
    assert producer.flush(10) == 0


def minute() -> int:
    """Start of the bar that ends last."""
    return (time.time_ns() // 1000 // MINUTE_US - 1) * MINUTE_US


SLOW_CLAIM = """
    CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
    CREATE TRIGGER slowly BEFORE UPDATE ON alert_deliveries FOR EACH ROW EXECUTE FUNCTION slowly()
"""
OLDER = '{"for_bars": 3, "resolve_bars": 3}'
"""What rules on anomalies of older versions may have."""
CLAIMING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


def test_killed_between_decision_and_delivery_it_delivers_once_after_its_restart(
    alerting: Settings, tmp_path: Path
) -> None:
    with Mailbox() as mailbox, Hook() as hook:
        settings = told(alerting, mail=mailbox.url, hook=hook.url)
        keep(settings, above())
        rows(settings, SLOW_CLAIM)
        start = minute()
        with process(settings, tmp_path / "first.log") as first:
            publish(settings, bar("AAA", start, 101))
            until(lambda: len(rows(settings, CLAIMING)) == 2, "decided, and about to be sent")
            first.kill()
            first.wait()
        rows(settings, f"SELECT pg_terminate_backend(pid) FROM ({CLAIMING}) AS each")
        rows(settings, "DROP TRIGGER slowly ON alert_deliveries")
        assert (mailbox.mails, hook.messages) == ([], [])
        with process(settings, tmp_path / "second.log") as second:
            until(lambda: mailbox.mails and hook.messages, "delivered")
            publish(settings, bar("AAA", start + MINUTE_US, 99), bar("AAA", start + 2 * MINUTE_US, 102))
            place = "SELECT sum(next)::int AS next FROM alert_offsets"
            until(lambda: rows(settings, place)[0]["next"] == 3, "read")
            second.terminate()
            assert second.wait(20) == 0
        assert (len(mailbox.mails), len(hook.messages)) == (1, 1)
        (mail,), (message,) = mailbox.mails, hook.messages
        assert mail["subject"] == message["title"] == "[warning] AAA: high fires"
        assert "close > 100" in message["message"] and "101" in message["message"]
        assert message["message"].splitlines()[0] in mail.get_content()
        found = rows(settings, "SELECT target, state, attempts, kind FROM alert_deliveries ORDER BY target")
        assert [tuple(row.values()) for row in found] == [("hook", "sent", 1, "firing"), ("mail", "sent", 1, "firing")]
        logs = (tmp_path / "first.log").read_text() + (tmp_path / "second.log").read_text()
        assert not [each for each in (hook.secret, "passw0rd", "desk@tick.test") if each in logs]


def test_crash_in_the_middle_of_sending_repeats_nothing_within_the_cooldown(alerting: Settings) -> None:
    with Hook() as hook:
        settings = told(alerting, hook=hook.url)
        keep(settings, above())
        with running(settings):
            publish(settings, bar("AAA", minute(), 101))
            until(lambda: hook.messages, "delivered")
            until(lambda: rows(settings, "SELECT 1 FROM alert_deliveries WHERE state = 'sent'"), "receipt")
        crashed = "UPDATE alert_deliveries SET state = 'sending', sent_at = NULL"  # it died before the receipt
        rows(settings, crashed)
        with running(settings):
            publish(settings, bar("BBB", minute(), 101))
            until(lambda: len(hook.messages) == 2, "the next message")
            assert "BBB" in hook.messages[1]["title"] and "AAA" not in str(hook.messages[1])
            rows(settings, "UPDATE alert_deliveries SET started_at = started_at - interval '5 minutes'")
            until(lambda: len(hook.messages) == 3, "once more, after the cooldown")
            assert "AAA" in hook.messages[2]["title"]


def test_after_an_outage_one_message_says_how_it_stands(alerting: Settings) -> None:
    with Hook() as hook:
        settings = told(alerting, hook=hook.url)
        keep(settings, above())
        start = minute() - 300 * MINUTE_US
        with running(settings):
            pass
        levels = [101 if place % 2 else 99 for place in range(300)]
        publish(settings, *(bar(name, start + place * MINUTE_US, level)
                            for place, level in enumerate(levels) for name in ("AAA", "BBB", "CCC")))  # fmt: skip
        with running(settings):
            until(lambda: hook.messages, "digest")
            until(lambda: rows(settings, "SELECT 1 FROM alert_deliveries WHERE state = 'sent'"), "receipt")
        (message,) = hook.messages
        assert message["title"] == "[warning] 3 alerts: AAA, BBB, CCC"
        assert all(f"{name}: high fires" in message["message"] for name in ("AAA", "BBB", "CCC"))
        assert message["message"].count("began 150 times") == 3
        found = rows(settings, "SELECT crossings, digest_id FROM alert_deliveries")
        assert [row["crossings"] for row in found] == [150] * 3 and len({row["digest_id"] for row in found}) == 1


def test_target_that_hangs_or_refuses_holds_up_no_other_and_is_tried_again(
    alerting: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.delivery.FIRST_PAUSE_SECONDS", 0.3)
    nobody = f"json://somebody:token-of-nobody@127.0.0.1:{free_port()}/T0KEN"
    with Hook() as good, Hook() as hanging, Hook() as refusing:
        hanging.answer, refusing.answer = None, 503
        settings = told(alerting, good=good.url, hanging=hanging.url, refusing=refusing.url, nobody=nobody)
        keep(settings, above(cooldown_seconds=0))
        with running(settings) as server:
            publish(settings, bar("AAA", minute(), 101))
            until(lambda: good.messages and hanging.asked and refusing.asked > 1, "the good one is told")
            refusing.answer = 200
            until(lambda: refusing.messages, "the other one after a while")
            until(lambda: _receipt(settings, "hanging")["attempts"] and _receipt(settings, "hanging")["detail"], "late")
            until(lambda: _receipt(settings, "nobody")["detail"], "refused")
            assert len(good.messages) == len(refusing.messages) == 1
        assert _receipt(settings, "refusing")["attempts"] > 1
        numbers = {name: found for (name,), found in server.waiting()}
        assert {name: found["waiting_messages"] for name, found in numbers.items()} == {
            "good": 0, "refusing": 0, "hanging": 1, "nobody": 1
        }  # fmt: skip
        assert numbers["good"]["oldest_waiting_seconds"] == 0 < numbers["nobody"]["oldest_waiting_seconds"] < 60
        assert _receipt(settings, "hanging")["wait"] >= 50  # it may have arrived: not again at once
        stored = rows(settings, "SELECT * FROM alert_deliveries")
        everything = str(capfd.readouterr()) + str(stored) + repr(settings) + repr(server.targets)
        assert "error=503" in everything and "Connection error" in everything
        for secret in (good.secret, "passw0rd", "T0KEN", "token-of-nobody", "somebody"):
            assert secret not in everything


def _receipt(settings: Settings, target: str) -> dict[str, Any]:
    statement = "SELECT *, extract(epoch FROM next_at - now()) AS wait FROM alert_deliveries WHERE target = '{}'"
    return rows(settings, statement.format(target))[0]


def test_every_crossing_is_counted_once_however_often_the_database_goes_away(alerting: Settings) -> None:
    settings = told(alerting, nobody=f"json://127.0.0.1:{free_port()}/x")
    keep(settings, above(cooldown_seconds=0, escalation_seconds=[1]))
    bars = [bar("AAA", minute() + place * MINUTE_US, 101 if place % 2 == 0 else 99) for place in range(200)]
    gone = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with running(settings) as server:
        for place in range(0, 200, 50):
            publish(settings, *bars[place : place + 50])
            rows(settings, gone)
            until(server.following.is_set, "follows again")
        until(lambda: rows(settings, "SELECT sum(next)::int AS next FROM alert_offsets")[0]["next"] == 200, "read")
    (found,) = rows(settings, "SELECT sum(crossings)::int AS n FROM alerts")
    (counted,) = rows(settings, "SELECT sum(crossings)::int AS n FROM alert_deliveries")
    (left,) = rows(settings, "SELECT coalesce(sum((state ->> 'untold')::int), 0)::int AS n FROM alert_states")
    assert found["n"] == counted["n"] + left["n"] == 100


def test_dry_run_tells_nobody_and_keeps_receipts(alerting: Settings) -> None:
    with Hook() as hook:
        settings = told(alerting, hook=hook.url).model_copy(update={"alert_dry_run": True})
        keep(settings, above())
        with running(settings):
            publish(settings, bar("AAA", minute(), 101))
            until(lambda: rows(settings, "SELECT 1 FROM alert_deliveries WHERE state = 'dry_run'"), "receipt")
        assert hook.asked == 0 and "would have been sent" in _receipt(settings, "hook")["detail"]


def test_anomalies_and_the_system_s_health_fire_and_resolve(
    alerting: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.health.LOOK_SECONDS", 0.2)
    anomaly = {"name": "odd", "cooldown_seconds": 0, "condition": {"kind": "anomaly", "rules": ["volume_spike"]}}
    dead = {"name": "refused", "cooldown_seconds": 0, "escalation_seconds": [],
            "condition": {"kind": "health", "check": "dead_letters", "seconds": 3}}  # fmt: skip
    down = {"name": "redis", "severity": "critical",
            "condition": {"kind": "health", "check": "store_down", "store": "redis", "seconds": 1}}  # fmt: skip
    with Hook() as hook:
        settings = told(alerting, hook=hook.url)
        settings = settings.model_copy(update={"redis_url": SecretStr("redis://:hidden@127.0.0.1:1/0")})
        keep(settings, anomaly, dead, down)
        rows(settings, f"UPDATE alert_rules SET rule = rule || '{OLDER}' WHERE name = 'odd'")
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
        with running(settings):
            since = minute()
            found = {"symbol": "AAA", "interval": "1m", "rev": 1, "start": since, "end": since + MINUTE_US}
            found |= {"event_us": since + MINUTE_US, "since": since, "rule": "volume_spike", "severity": "critical"}
            found |= {"value": 9.0, "threshold": 3.0, "score": 3.0, "text": "AAA traded nine times its usual"}
            for state in ("firing", "resolved"):
                producer.produce(settings.topic(ANOMALIES), msgspec.json.encode(found | {"state": state}))
                producer.flush(10)
                until(
                    lambda state=state: said(hook, "AAA: odd " + ("fires" if state == "firing" else "is resolved")),
                    state,
                )
            producer.produce(settings.topic(DEAD), b"?")
            producer.flush(10)
            until(lambda: said(hook, "system: refused fires"), "dead letter")
            until(lambda: said(hook, "[critical] system: redis fires"), "redis")
            until(lambda: said(hook, "system: refused is resolved"), "no dead letter any more")
        assert said(hook, "[critical] AAA: odd fires") and said(hook, "AAA traded nine times its usual")
        assert "hidden" not in str(hook.messages)


def test_database_that_is_away_is_told_directly(
    alerting: Settings, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.health.LOOK_SECONDS", 0.2)
    name = alerting.postgres_dsn.get_secret_value().rsplit("/", 1)[1]
    condition = {"kind": "health", "check": "store_down", "store": "timescale", "seconds": 1}
    with Hook() as hook:
        settings = told(alerting, hook=hook.url)
        keep(settings, above(), {"name": "database", "cooldown_seconds": 0, "condition": condition})
        with running(settings):
            allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format
            execute(postgres_server.url, allow(sql.Identifier(name), sql.Literal(False)))
            gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
            execute(postgres_server.url, sql.SQL(gone).format(sql.Literal(name)))
            until(lambda: said(hook, "system: database fires"), "told directly")
            publish(settings, bar("AAA", minute(), 101))
            execute(postgres_server.url, allow(sql.Identifier(name), sql.Literal(True)))
            until(lambda: said(hook, "system: database is resolved"), "and taken back")
            until(lambda: said(hook, "AAA: high fires"), "what came meanwhile")


def test_second_alerter_stands_by_and_takes_over(alerting: Settings) -> None:
    with Hook() as hook:
        settings = told(alerting, hook=hook.url)
        keep(settings, above())
        second = Server(settings)
        thread = threading.Thread(target=second.run)
        with running(settings):
            thread.start()
            publish(settings, bar("AAA", minute(), 101))
            until(lambda: hook.messages, "told")
            assert not second.following.is_set()
        assert second.following.wait(20)
        publish(settings, bar("BBB", minute(), 101))
        until(lambda: len(hook.messages) == 2, "told by the other")
        second.stop()
        thread.join(20)
        assert ["AAA" in each["title"] for each in hook.messages] == [True, False]


def test_old_alerts_are_tidied_away_with_their_messages(alerting: Settings) -> None:
    dsn = alerting.postgres_dsn.get_secret_value()
    for symbol, state in (("AAA", "resolved"), ("BBB", "resolved"), ("CCC", "firing")):
        store_alert(dsn, str(uuid4()), symbol=symbol, state=state)
    rows(alerting, "UPDATE alerts SET updated_at = now() - interval '400 days' WHERE symbol <> 'BBB'")
    rows(alerting, "UPDATE alert_deliveries SET state = 'sent'")
    store = AlertStore(dsn)
    store.tidy(365)
    store.close()
    assert [row["symbol"] for row in rows(alerting, "SELECT symbol FROM alerts ORDER BY symbol")] == ["BBB", "CCC"]
    assert len(rows(alerting, "SELECT 1 FROM alert_deliveries")) == 4


def test_broker_that_is_away_stops_neither_health_nor_reminders(
    alerting: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("health.LOOK", 0.2), ("health.ASK", 0.3), ("feeding.ASK", 0.3)):
        monkeypatch.setattr(f"alerts.{name}_SECONDS", seconds)
    condition = {"kind": "health", "check": "store_down", "store": "kafka", "seconds": 1}
    with Hook() as hook:
        settings = told(alerting, hook=hook.url)
        settings = settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{free_port()}"})
        keep(settings, {"name": "broker", "cooldown_seconds": 0, "escalation_seconds": [1], "condition": condition})
        with running(settings, following=False):
            until(lambda: said(hook, "system: broker still fires"), "told", 30)


def _count(hook: Hook, text: str) -> int:
    return sum(text in each["title"] + each["message"] for each in list(hook.messages))


def test_changed_rule_is_withdrawn_and_acknowledged_one_reminds_nobody(alerting: Settings) -> None:
    with Hook() as hook:
        settings = told(alerting, hook=hook.url)
        keep(settings, above(cooldown_seconds=0, escalation_seconds=[1]))
        with running(settings):
            publish(settings, bar("AAA", minute(), 101))
            until(lambda: said(hook, "AAA: high still fires"), "reminder")
            rows(settings, "UPDATE alerts SET acknowledged_at = now(), acknowledged_by = 'ann'")
            count = _count(hook, "AAA: high still fires")
            publish(settings, bar("BBB", minute(), 101))
            until(lambda: _count(hook, "BBB: high still fires") > 2, "another one goes on")
            assert _count(hook, "AAA: high still fires") <= count + 1  # one may have been under way
            keep(settings, above(200.0))
            until(lambda: said(hook, "AAA: high is no longer watched"), "withdrawn")
            publish(settings, bar("AAA", minute() + MINUTE_US, 201))
            until(lambda: rows(settings, "SELECT 1 FROM alerts WHERE state = 'firing' AND threshold = 200"), "anew")
        states = rows(settings, "SELECT state FROM alerts ORDER BY created_at")
        assert [row["state"] for row in states] == ["resolved", "resolved", "firing"]


def test_indicators_go_on_from_the_stored_bars_wherever_it_is_started(alerting: Settings) -> None:
    settings = told(alerting)
    start = minute() - 50 * MINUTE_US
    closes = [100 + (place * 7919 % 13) for place in range(60)]
    before = [bar("AAA", start + place * MINUTE_US, close) for place, close in enumerate(closes)]
    database = TimescaleStore(settings.postgres_dsn.get_secret_value())
    database.write_bars(bars_table(before))  # all of them: some newer than what is read next
    database.close()
    keep(settings, {"name": "mean", "condition": {"kind": "indicator", "expression": "sma:20 > 1"}})
    with running(settings):
        publish(settings, before[50])
        until(lambda: rows(settings, "SELECT 1 FROM alerts"), "decided")
    (found,) = rows(settings, "SELECT value FROM alerts")
    assert found["value"] == pytest.approx(sum(closes[31:51]) / 20, rel=1e-12)
