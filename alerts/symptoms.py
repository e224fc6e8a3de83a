"""How the system fares, as health conditions judge it."""

from dataclasses import dataclass

from alerts.conditions import Check, HealthCondition
from alerts.rules import EVERY
from alerts.states import Seen
from core.intervals import SECOND_US

_TEXTS: dict[Check, str] = {
    "store_down": "{store} has not answered for {value:.0f} s",
    "feed_silent": "no tick was received for {value:.0f} s",
    "bars_late": "the newest final bar ended {value:.0f} s ago",
    "dead_letters": "{value:.0f} records were refused in the last {seconds:.0f} s",
}


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that was looked at. `value` is seconds, or of `dead_letters` the records of the last `seconds`."""

    check: Check
    value: float
    symbol: str = EVERY
    store: str | None = None
    seconds: float | None = None

    def seen(self, condition: HealthCondition, severity: str, now_us: int) -> Seen | None:
        """What it says of a condition, None where it is about something else."""
        if (condition.check, condition.store) != (self.check, self.store):
            return None
        if self.check == "dead_letters" and self.seconds != condition.seconds:
            return None
        counted = self.check == "dead_letters"
        holds = self.value > condition.count if counted else self.value >= condition.seconds
        return Seen(
            holds=holds,
            start_us=now_us if counted else now_us - int(self.value * SECOND_US),
            end_us=now_us,
            severity=severity,
            value=self.value,
            threshold=float(condition.count) if counted else condition.seconds,
            text=_TEXTS[self.check].format(store=self.store, value=self.value, seconds=condition.seconds),
        )
