"""An alert and a rule in the database, as the alerter and the API write them."""

from typing import Any
from uuid import uuid4

from alerts.rules import parse_rule
from stores.alerts import AlertStore, Step

SINCE_US = 1_709_551_800_000_000


def store_alert(dsn: str, alert_id: str, rule_id: str | None = None, **changes: Any) -> None:
    """An alert of AAA that fires, with messages to two targets that wait; its rule too where its id is given."""
    row = {"id": alert_id, "rule_id": rule_id or str(uuid4()), "rule_name": "gone", "symbol": "AAA", "interval": "1m",
           "severity": "warning", "state": "firing", "since": SINCE_US, "until": None, "crossings": 3, "messages": 2,
           "value": 101.5, "threshold": 100.0, "low": 100.5, "high": 109.0, "text": "close > 100"}  # fmt: skip
    common = {"alert_id": alert_id, "kind": "firing", "severity": "warning", "crossings": 3, "title": "t", "body": "b",
              "hold_seconds": 60}  # fmt: skip
    deliveries = [common | {"message_id": str(uuid4()), "target": target} for target in ("ops", "desk")]
    store = AlertStore(dsn)
    if rule_id is not None:
        rule = parse_rule({"name": "high", "condition": {"kind": "price", "when": "above", "level": 100}})
        store.put_rule(rule_id, rule.name, rule.model_dump(mode="json"))
    store.write(Step({}, {}, [row | changes], [], deliveries))
    store.close()
