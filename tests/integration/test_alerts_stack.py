"""From ticks to people: Kafka, the final query, its bars and anomalies, the alerter, a mail server and an endpoint."""

import time
from typing import Any

import httpx
import msgspec
import pytest

from alerts.session import LONGEST_HOLD_SECONDS
from conf.settings import Settings
from conf.topics import ANOMALIES
from core.anomalies import Finding
from core.intervals import MINUTE_US
from core.records import Tick
from jobs.sinks import Sinks
from stores.timescale import TimescaleStore
from tests.alerting import keep, rows, running, told
from tests.integration.test_stream_anomalies import trades
from tests.receivers import Hook, Mailbox, until
from tests.serving import serving
from tests.streaming import close_all, consume, produce, run_with

pytestmark = pytest.mark.spark
BEFORE, AFTER = 45, 8
PAUSE = 40
"""Minutes between the two; bars are old in less, and young for longer than a slow machine needs."""
TOLD_SECONDS = LONGEST_HOLD_SECONDS + 30.0
"""These bars are old, and of old ones nothing is told for so long while more of them may come."""
RULES: list[dict[str, Any]] = [
    {"name": "dear", "symbols": ["PRICE"], "condition": {"kind": "price", "when": "above", "level": 105}},
    {"name": "overbought", "symbols": ["UP"], "condition": {"kind": "indicator", "expression": "rsi:14 > 70"}},
    {"name": "busy", "symbols": ["VOLUME"], "condition": {"kind": "anomaly", "rules": ["volume_spike"]}},
    {"name": "old bars", "condition": {"kind": "health", "check": "bars_late", "seconds": 1800}},
]
TOLD = {"dear": "PRICE", "overbought": "UP", "busy": "VOLUME", "old bars": "system"}


def market(begin_us: int) -> list[Tick]:
    """In the 45th minute every rule on bars begins to hold, after the pause none does any more."""
    up = [100.0 + (minute % 2) * 0.01 for minute in range(25)] + [100.1 + minute * 0.05 for minute in range(20)]
    found = trades("PRICE", [*[100.0] * 44, 110.0, *[100.0] * AFTER], (), begin_us)
    found += trades("UP", [*up, *[100.0 - 0.5 * minute for minute in range(AFTER)]], (), begin_us)
    found += trades("VOLUME", [100.0] * (BEFORE + AFTER), [100] * 44 + [1000] + [100] * AFTER, begin_us)
    later_us = begin_us + BEFORE * MINUTE_US
    shifted = [msgspec.structs.replace(each, event_us=each.event_us + PAUSE * MINUTE_US * (each.event_us >= later_us))
               for each in found]  # fmt: skip
    return sorted(shifted, key=lambda each: each.event_us)


def received(mailbox: Mailbox, hook: Hook) -> list[str]:
    """What each of the two has got, all of it."""
    mails = [f"{mail['subject']}\n{mail.get_content()}" for mail in list(mailbox.mails)]
    return ["\n".join(mails), "\n".join(each["title"] + each["message"] for each in list(hook.messages))]


def until_told(mailbox: Mailbox, hook: Hook, settings: Settings, words: str) -> None:
    """Each of the two is told of every rule. Who fails says what is missing, and how far the alerter came."""
    try:
        until(lambda: not missing(mailbox, hook, words), words, TOLD_SECONDS)
    except AssertionError as error:
        stages = ("symbol, last_bar_end FROM symbols", "topic, partition, next FROM alert_offsets",
                  "rule_name, state, since, updated_at FROM alerts",
                  "target, kind, title, state, attempts, detail FROM alert_deliveries")  # fmt: skip
        found = {stage: rows(settings, f"SELECT {stage}") for stage in stages}
        raise AssertionError(f"{error}; missing: {missing(mailbox, hook, words)}; {found}") from None


def missing(mailbox: Mailbox, hook: Hook, words: str) -> list[tuple[str, str]]:
    """To whom it has not been said yet, of which rule."""
    texts = zip(("mail", "hook"), received(mailbox, hook), strict=True)
    return [
        (to, name) for to, text in texts for name, symbol in TOLD.items() if f"{symbol}: {name} {words}" not in text
    ]


def test_each_kind_of_rule_fires_and_is_resolved_for_every_target(
    spark: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.health.LOOK_SECONDS", 0.2)
    TimescaleStore(settings.postgres_dsn.get_secret_value()).setup()
    begin_us = (time.time_ns() // 1000 // MINUTE_US - BEFORE - PAUSE - AFTER - 1) * MINUTE_US
    ticks, middle_us = market(begin_us), begin_us + BEFORE * MINUTE_US
    with Mailbox() as mailbox, Hook() as hook:
        settings = told(settings.model_copy(update={"intervals": "1m", "lateness_seconds": 1.0}),
                        mail=mailbox.url, hook=hook.url)  # fmt: skip
        keep(settings, *({"cooldown_seconds": 0, "escalation_seconds": []} | rule for rule in RULES))
        with running(settings):
            produce(settings, [tick for tick in ticks if tick.event_us < middle_us])
            close_all(settings, middle_us + 2_000_000)
            run_with(Sinks(settings), "final", spark, settings)
            until_told(mailbox, hook, settings, "fires")
            produce(settings, [tick for tick in ticks if tick.event_us >= middle_us])
            close_all(settings, begin_us + (BEFORE + PAUSE + AFTER) * MINUTE_US + 2_000_000)
            run_with(Sinks(settings), "final", spark, settings)
            until_told(mailbox, hook, settings, "is resolved")
            sent = "SELECT count(*) AS n FROM alert_deliveries WHERE state = 'sent'"
            until(lambda: rows(settings, sent)[0]["n"] == 16, "receipts")
        with serving(settings) as client:
            spike = check(client, settings, begin_us)
        assert all(spike.text in " ".join(text.split()) for text in received(mailbox, hook))


def check(client: httpx.Client, settings: Settings, begin_us: int) -> Finding:
    """API, table and topic tell the same of what happened; the finding that an alert was about."""
    shown = {each["rule"]: each for each in client.get("/api/v1/alerts").json()["alerts"]}
    assert {name: each["state"] for name, each in shown.items()} == dict.fromkeys(TOLD, "resolved")
    for each in shown.values():
        receipts = {(row["target"], row["kind"], row["state"], row["attempts"]) for row in each["deliveries"]}
        assert receipts == {(target, kind, "sent", 1) for target in ("mail", "hook") for kind in ("firing", "resolved")}
    since = f"{time.strftime('%Y-%m-%dT%H:%M', time.gmtime(begin_us / 1e6 + 60 * (BEFORE - 1)))}:00.000000Z"
    assert {shown[name]["since"] for name in ("dear", "busy")} == {since}
    published = [msgspec.json.decode(record.value, type=Finding) for record in consume(settings, ANOMALIES)]
    spikes = [each for each in published if (each.symbol, each.rule) == ("VOLUME", "volume_spike")]
    assert [each.state for each in spikes] == ["firing", "resolved"]
    stored = rows(settings, "SELECT state, value, text FROM anomalies WHERE rule = 'volume_spike' ORDER BY start")
    assert stored == [{"state": each.state, "value": each.value, "text": each.text} for each in spikes]
    asked = {"symbol": "VOLUME", "rule": "volume_spike"}
    listed = client.get("/api/v1/anomalies", params=asked).json()["anomalies"]
    assert [(each["state"], each["text"]) for each in listed] == [(each.state, each.text) for each in reversed(spikes)]
    assert shown["busy"]["highest"] == spikes[0].value and shown["dear"]["highest"] == 110.0
    return spikes[0]
