"""Bars by other means: sorted lists, whole numbers, and the ruleset's file read anew.

Shares nothing with `core.bars`, `core.auctions`, `core.rulesets` or `jobs.bars`, so that a mistake there shows here.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

ROOT = Path(__file__).parents[2]
UNITS = 10**8
MINUTE_US = 60_000_000
_LIMIT = 10**10
_WORTH = 10**13
Row = dict[str, Any]
Key = tuple[str, str, int]


@dataclass(slots=True)
class Trade:
    """A trade and which fields it may make: prices of open and close, of high and low, volume."""

    at_us: int
    order: tuple[int, int]
    price: int
    size: int
    name: str | None
    opens: bool
    ranges: bool
    weighs: bool


def reference_bars(raw: Sequence[pd.DataFrame], ruleset: str, intervals: dict[str, int]) -> dict[Key, Row]:
    """The bars of frames as recorded, a trading day each; `intervals` are names and lengths in microseconds."""
    rules = _Rules(json.loads((ROOT / "core/rulesets" / f"{ruleset}.json").read_text()))
    groups: dict[Key, list[Trade]] = defaultdict(list)
    known: set[tuple[object, ...]] = set()
    for frame in raw:
        for symbol, trade in _trades(frame, rules, known):
            for name, length in intervals.items():
                groups[symbol, name, trade.at_us // length * length].append(trade)
    return {key: _bar(key, intervals[key[1]], trades, rules.id) for key, trades in groups.items()}


def _bar(key: Key, length: int, trades: list[Trade], ruleset: str) -> Row:
    trades.sort(key=lambda trade: (trade.at_us, trade.order))
    ends = [trade for trade in trades if trade.opens]
    prices = [trade.price for trade in trades if trade.ranges]
    weighed = [trade for trade in trades if trade.weighs]
    volume = sum(trade.size for trade in weighed)
    notional = sum(trade.price * trade.size for trade in weighed)
    first, last = (ends[0], ends[-1]) if ends else (None, None)
    return {
        "symbol": key[0],
        "interval": key[1],
        "start": key[2],
        "end": key[2] + length,
        "open": first and _amount(first.price),
        "high": _amount(max(prices)) if prices else None,
        "low": _amount(min(prices)) if prices else None,
        "close": last and _amount(last.price),
        "volume": _amount(volume),
        "notional": _amount(notional, 16),
        "vwap": _amount((2 * notional + volume) // (2 * volume)) if volume else None,
        "trade_count": len(weighed),
        "open_us": first and first.at_us,
        "close_us": last and last.at_us,
        "first_trade_id": first and _short(first.name),
        "last_trade_id": last and _short(last.name),
        "ruleset": ruleset,
    }


def _amount(units: int, places: int = 8) -> Decimal:
    return Decimal(f"{units}e-{places}")


def _short(name: str | None) -> str | None:
    """An id that a bar has no room for is left out."""
    if name is None or len(name) <= 23:
        return name
    parts = name.split("-")
    uuid = [len(part) for part in parts] == [8, 4, 4, 4, 12] and set(name) <= set("0123456789abcdef-")
    return name if uuid else None


def _trades(frame: pd.DataFrame, rules: "_Rules", known: set[tuple[object, ...]]) -> Iterator[tuple[str, Trade]]:
    """Every trade of a day once, with its symbol, in the order of the tape."""
    done: set[tuple[str, object, str]] = set()
    for row in _rows(frame):
        symbol, at_us, seq, price, size, name, venue, conditions, suspicious, source = row
        same = (symbol, venue, name) if name is not None else (symbol, source, at_us, seq, None)
        if price is None or size is None or same in known:
            continue
        known.add(same)
        mask = _mask(conditions) | (rules.bit("suspicious") if suspicious else 0)
        order, moved = (0, seq), rules.auction(symbol, venue, mask, at_us, done)
        if moved is not None:
            at_us, order, mask = moved[0], (moved[1], seq), mask | moved[2]
        opens, ranges, weighs = rules.verdict(mask, at_us)
        if opens or ranges or weighs:
            yield symbol, Trade(at_us, order, price, size, name, opens, ranges, weighs)


def _rows(frame: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    at_us = (
        pd.to_datetime(frame["event_time"], utc=True, format="ISO8601").astype("datetime64[us, UTC]").astype("int64")
    )
    nothing = [None] * len(frame)

    def texts(name: str) -> list[str | None]:
        given = frame.get(name, nothing)
        return [None if pd.isna(value) or value == "" else str(value) for value in given]

    columns = [frame["symbol"].tolist(), at_us.tolist(), frame["seq"].tolist(), *_amounts(frame)]
    columns += [texts("trade_id"), texts("exchange"), texts("conditions")]
    columns += [frame["suspicious"].eq(True).tolist() if "suspicious" in frame else nothing, frame["source"].tolist()]
    rows = list(zip(*columns, strict=True))
    rows.sort(key=lambda row: (row[1], row[2]))
    return iter(rows)


def _amounts(frame: pd.DataFrame) -> tuple[list[int | None], list[int | None]]:
    """Prices and sizes in 1e-8, None for what is none."""
    price, size = (_scaled(frame[name]) for name in ("price", "size"))
    fine = [
        p is not None and s is not None and 0 < p < _LIMIT * UNITS and 0 <= s < _LIMIT * UNITS
        and p * s < _WORTH * UNITS * UNITS
        for p, s in zip(price, size, strict=True)
    ]  # fmt: skip
    return [p if ok else None for p, ok in zip(price, fine, strict=True)], size


def _scaled(column: pd.Series) -> list[int | None]:
    known: dict[float, int | None] = {}
    for value in column.unique().tolist():
        units = Decimal(repr(float(value))) * UNITS if value == value and abs(value) != float("inf") else None
        known[value] = int(units) if units is not None and units == int(units) else None
    return [known.get(value) for value in column.tolist()]


def _mask(conditions: str | None) -> int:
    try:
        return int(conditions or "0", 16)
    except ValueError:
        return 0


class _Rules:
    """A ruleset's file."""

    def __init__(self, data: Row) -> None:
        self._data = data
        self._bits = {name: int(mask, 16) for name, mask in data.get("bits", {}).items()}
        session = data.get("session")
        self._zone = ZoneInfo(session["time_zone"]) if session else None
        self._hours = tuple(_minutes(session[edge]) for edge in ("open", "close")) if session else (0, 0)
        early = session.get("early_days", ()) if session else ()
        self._early = {day: _minutes(session["early_close"]) for day in early}
        self._minutes: dict[int, tuple[object, int]] = {}
        self._verdicts: dict[tuple[int, bool], tuple[bool, bool, bool]] = {}
        self.id = f"{data['name']}@{data['version']}"

    def bit(self, name: str) -> int:
        return self._bits.get(name, 0)

    def verdict(self, mask: int, at_us: int) -> tuple[bool, bool, bool]:
        """Whether such a trade may make open and close, high and low, volume."""
        key = (mask, bool(self._data.get("session")) and self._is_regular(at_us))
        if key not in self._verdicts:
            self._verdicts[key] = self._judged(*key)
        return self._verdicts[key]

    def _judged(self, mask: int, regular: bool) -> tuple[bool, bool, bool]:
        barred: set[str] = set()
        for rule in self._data["rules"]:
            bits = {part: [self._bits[name] for name in rule.get(part, ())] for part in ("any", "all", "none")}
            if rule.get("session") and (rule["session"] == "regular") != regular:
                continue
            some = not bits["any"] or any(mask & bit for bit in bits["any"])
            if some and all(mask & bit for bit in bits["all"]) and not any(mask & bit for bit in bits["none"]):
                barred |= set(rule["excludes"])
        return "open_close" not in barred, "high_low" not in barred, "volume" not in barred

    def auction(
        self, symbol: str, venue: str | None, mask: int, at_us: int, done: set[tuple[str, object, str]]
    ) -> tuple[int, int, int] | None:
        """Where the day's first auction print of the primary venue belongs: time, rank among equals, its mark."""
        auctions = self._data.get("auctions")
        if auctions is None or venue != auctions["primary_venue"].get(symbol, auctions["primary_venue"]["default"]):
            return None
        day, minute = self._local(at_us)
        midnight = at_us - at_us % MINUTE_US - minute * MINUTE_US
        for which in ("opening", "closing"):
            rule = auctions[which]
            if not mask & self._bits[rule["print"]] or mask & self._bits[rule["without"]]:
                continue
            if (symbol, day, which) in done:
                continue
            done.add((symbol, day, which))
            start = midnight + _minutes(rule["minute"]) * MINUTE_US
            mark = self._bits[rule["mark"]]
            if which == "closing":
                moved = self._hours[1] - self._close_on(day)
                return start - moved * MINUTE_US + MINUTE_US - 1, 0, mark
            if minute == _minutes(rule["minute"]):
                return start, -1, mark
        return None

    def _is_regular(self, at_us: int) -> bool:
        day, minute = self._local(at_us)
        return self._hours[0] <= minute < self._close_on(day)

    def _close_on(self, day: object) -> int:
        return self._early.get(str(day), self._hours[1])

    def _local(self, at_us: int) -> tuple[object, int]:
        """The local day, and the minute of it."""
        found = self._minutes.get(at_us // MINUTE_US)
        if found is None:
            local = datetime.fromtimestamp(at_us // 1_000_000, UTC).astimezone(self._zone)
            found = self._minutes[at_us // MINUTE_US] = local.date(), local.hour * 60 + local.minute
        return found


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
