"""Rules on the database itself: decided in memory and sent directly, since while it is away nothing can be stored.

Their alerts are therefore not listed, and after a restart of the alerter they begin anew.
"""

from collections.abc import Mapping, Sequence

import structlog

from alerts.conditions import HealthCondition
from alerts.delivery import Courier
from alerts.engine import Engine, Held
from alerts.messages import message
from alerts.rules import Rule
from alerts.symptoms import Symptom
from alerts.targets import route
from stores.alerts import AlertStore

_log = structlog.get_logger("alerts")


def on_database(rule: Rule) -> bool:
    """Whether a rule is about the store that alerts are kept in."""
    return isinstance(rule.condition, HealthCondition) and rule.condition.store == AlertStore.name


class Direct:
    """The engine of these rules. For one thread, which it holds up while a target is told."""

    def __init__(self, couriers: Sequence[Courier]) -> None:
        self._couriers = {courier.target.name: courier for courier in couriers}
        self._engine = Engine(lambda *_: [])
        self.told = 0

    def use(self, rules: Mapping[str, Rule], now_us: int) -> None:
        self._engine.use([Held(name, rule) for name, rule in rules.items() if on_database(rule)], {}, now_us)

    def step(self, symptoms: Sequence[Symptom], now_us: int) -> None:
        """Judge what was seen, and tell at once what there is to be told; what cannot be sent is in the log."""
        self._engine.symptoms(symptoms, now_us)
        self._engine.time(now_us)
        targets = [courier.target for courier in self._couriers.values()]
        for told in self._engine.changes().told:
            self.told += 1
            made = message(told.rule, told.symbol, told.notice)
            _log.warning("told directly", title=made.title)
            for target in route(targets, told.rule.targets, told.notice.severity):
                receipt = self._couriers[target.name].direct(made)
                if not receipt.sent:
                    _log.error("not delivered", target=target.name, error=receipt.error)
