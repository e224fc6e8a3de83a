"""Which trades count: versioned rulesets, one JSON file each, from sale conditions to the bar fields they may touch.

A ruleset's file is data: named bits of a hexadecimal condition mask, rules that exclude fields, the
exchange session where a rule needs one, and how auction prints are found. `Ruleset.touches` is the verdict on
one tick; `jobs/bars.py` compiles the same rules to Spark columns.
"""

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from core.errors import ConfigError

FIELDS: frozenset[str] = frozenset({"open_close", "high_low", "volume"})
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Takes `fields` away from a tick whose mask has some of `any`, all of `all` and none of `none`."""

    any: int
    all: int
    none: int
    session: Literal["regular", "extended"] | None
    fields: frozenset[str]
    why: str

    def applies(self, mask: int, session: str | None) -> bool:
        if self.session is not None and self.session != session:
            return False
        return (not self.any or bool(mask & self.any)) and mask & self.all == self.all and not mask & self.none


@dataclass(frozen=True, slots=True)
class Session:
    """Regular trading hours as minutes of the local day, half-open. On `early_days` they end at `early_minute`."""

    time_zone: str
    open_minute: int
    close_minute: int
    early_minute: int = 0
    early_days: frozenset[date] = frozenset()

    def local(self, event_us: int) -> datetime:
        """The exchange's local time of an event, to the second."""
        return datetime.fromtimestamp(event_us // 1_000_000, UTC).astimezone(ZoneInfo(self.time_zone))

    def at(self, event_us: int) -> Literal["regular", "extended"]:
        local = self.local(event_us)
        minute = local.hour * 60 + local.minute
        return "regular" if self.open_minute <= minute < self.close_minute - self.shortened(local) else "extended"

    def shortened(self, local: datetime) -> int:
        """By how many minutes the session of this local day ends early."""
        return self.close_minute - self.early_minute if local.date() in self.early_days else 0


@dataclass(frozen=True, slots=True)
class Auction:
    """How the primary venue's auction print is known, and the local minute of the bar that it belongs to.

    On a day that ends early the closing auction's minute is earlier by as much.
    """

    print_bit: int
    without: int
    mark: int
    minute: int


@dataclass(frozen=True)
class Ruleset:
    """One version of one ruleset; `id` (`us-equity@2`) stands in every bar made with it."""

    name: str
    version: int
    summary: str
    rules: tuple[Exclusion, ...] = ()
    session: Session | None = None
    opening: Auction | None = None
    closing: Auction | None = None
    primary_venue: tuple[tuple[str, str], ...] = ()
    suspicious: int = 0

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def uses_conditions(self) -> bool:
        return bool(self.rules)

    def primary(self, symbol: str) -> str | None:
        """The venue whose auctions are the symbol's official ones."""
        venues = dict(self.primary_venue)
        return venues.get(symbol, venues.get("default"))

    def touches(self, conditions: str | None, event_us: int) -> frozenset[str]:
        """The bar fields that a tick with these conditions may touch; unreadable conditions count as none set."""
        if not self.rules:
            return FIELDS
        mask = parse_mask(conditions)
        session = self.session.at(event_us) if self.session else None
        excluded = [rule.fields for rule in self.rules if rule.applies(mask, session)]
        return FIELDS.difference(*excluded)

    def reasons(self, conditions: str | None, event_us: int) -> list[str]:
        """Why a tick may not touch everything: the `why` of each rule that takes something away."""
        mask = parse_mask(conditions)
        session = self.session.at(event_us) if self.session else None
        return [rule.why for rule in self.rules if rule.applies(mask, session)]


def parse_mask(conditions: str | None) -> int:
    """A hexadecimal condition mask as an integer; 0 for none, and for text that is not one."""
    try:
        mask = int(conditions or "0", 16)
    except ValueError:
        return 0
    return mask if 0 <= mask < 1 << 63 else 0


def names() -> list[str]:
    """The shipped rulesets, by name."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


@functools.cache
def load(name: str) -> Ruleset:
    """The ruleset of that name. Raises ConfigError with the known names for any other."""
    if name not in names():
        raise ConfigError(f"unknown ruleset {name!r}; known: {', '.join(names())}")
    return from_dict(json.loads((_FOLDER / f"{name}.json").read_text()))


def from_dict(data: dict[str, Any]) -> Ruleset:
    """A ruleset from the content of its file."""
    bits = {bit: int(mask, 16) for bit, mask in data.get("bits", {}).items()}
    auctions = data.get("auctions", {})
    return Ruleset(
        name=data["name"],
        version=data["version"],
        summary=data["summary"],
        rules=tuple(_exclusion(rule, bits) for rule in data["rules"]),
        session=_session(data["session"]) if "session" in data else None,
        opening=_auction(auctions["opening"], bits) if auctions else None,
        closing=_auction(auctions["closing"], bits) if auctions else None,
        primary_venue=tuple(auctions.get("primary_venue", {}).items()),
        suspicious=bits.get("suspicious", 0),
    )


def _exclusion(rule: dict[str, Any], bits: dict[str, int]) -> Exclusion:
    return Exclusion(
        any=_mask(rule.get("any", ()), bits),
        all=_mask(rule.get("all", ()), bits),
        none=_mask(rule.get("none", ()), bits),
        session=rule.get("session"),
        fields=frozenset(rule["excludes"]) & FIELDS,
        why=rule["why"],
    )


def _auction(auction: dict[str, str], bits: dict[str, int]) -> Auction:
    return Auction(bits[auction["print"]], bits[auction["without"]], bits[auction["mark"]], _minute(auction["minute"]))


def _session(session: dict[str, Any]) -> Session:
    opened, closed = _minute(session["open"]), _minute(session["close"])
    days = frozenset(map(date.fromisoformat, session.get("early_days", ())))
    early = _minute(session["early_close"]) if days else closed
    return Session(session["time_zone"], opened, closed, early, days)


def _mask(names_: Iterable[str], bits: dict[str, int]) -> int:
    return functools.reduce(lambda mask, name: mask | bits[name], names_, 0)


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
