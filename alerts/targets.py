"""Who is told: targets by name, as the setting `alert_targets` has them. Their URLs hold secrets, and nothing shows
them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from alerts.conditions import RANKS
from core.errors import ConfigError

_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,40})(?:\[(?P<severities>[a-z,]+)\])?=(?P<url>[a-z0-9+.-]+://\S+)")
# What would act on this machine, or fetch what it is to send, instead of speaking to a host.
REFUSED = frozenset({"dbus", "qt", "glib", "gnome", "kde", "macosx", "windows", "syslog", "file", "memory", "config"})


@dataclass(frozen=True, slots=True)
class Target:
    """One target. `severities` are those that it takes unless a rule names it."""

    name: str
    url: str = field(repr=False)
    severities: frozenset[str] = frozenset(RANKS)


def parse_targets(text: str) -> tuple[Target, ...]:
    """The targets of `name=URL` or `name[warning,critical]=URL`, separated by white space, in their order.

    URLs are those of apprise. Raises ConfigError, which quotes names and schemes only.
    """
    found: dict[str, Target] = {}
    for number, entry in enumerate(text.split(), 1):
        target = _target(number, entry)
        if target.name in found:
            raise ConfigError(f"TICKSTREAM_ALERT_TARGETS: two targets are named {target.name}")
        found[target.name] = target
    return tuple(found.values())


def route(targets: Sequence[Target], names: Sequence[str], severity: str) -> list[Target]:
    """Who is told of something so severe: those that are named, else those that take the severity."""
    if names:
        return [target for target in targets if target.name in names]
    return [target for target in targets if severity in target.severities]


def _target(number: int, entry: str) -> Target:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ConfigError(f"TICKSTREAM_ALERT_TARGETS: entry {number} is not name=URL or name[warning,critical]=URL")
    severities = (match["severities"] or ",".join(RANKS)).split(",")
    unknown = [each for each in severities if each not in RANKS]
    if unknown:
        raise ConfigError(f"TICKSTREAM_ALERT_TARGETS: {match['name']}: severities are {', '.join(RANKS)}")
    scheme = match["url"].partition("://")[0]
    if scheme in REFUSED:
        raise ConfigError(f"TICKSTREAM_ALERT_TARGETS: {match['name']}: {scheme} does not speak to a host")
    return Target(match["name"], match["url"], frozenset(severities))
