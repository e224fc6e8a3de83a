"""How good the rules on anomalies are: what they find of anomalies put into recorded bars, and what else they say.

Minute bars of US equities (2013, 2014; all hours, anomalies within the session) and of crypto (2016 to 2019), with
price spikes, level shifts, bursts of volume and silence put in: seeded, one kind and size at a time. The first 60 % of
the days of each symbol are for choosing thresholds, the rest is for the tables. Not a measurement of speed, but for the
CPU time in the last table.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.injected import CHOOSE, KINDS, TEST, WARM_UP, Ints, Spoiled, Tape, caught, spoiled, tapes
from benchmarks.options import count
from benchmarks.report import Result, say
from core.anomalies import RULES, Judge, Limits
from core.indicators import Bars, bars_of, compute
from core.indicators.base import Array
from core.intervals import INTERVALS, MINUTE_US

HELP = "how good the rules on anomalies are"
EXAMPLES = """examples:
  python -m benchmarks anomalies --json anomalies.json
      the tables of docs/anomalies.md: about two minutes
  python -m benchmarks anomalies --json anomalies.json --choose
      how the robust rules fare with other thresholds, on the days that are for choosing"""
NEEDS_SERVERS = False

DATA = Path("../shared/data")
EXPECTED = {
    "price_move": ("spike", "shift"),
    "return_mad": ("spike", "shift"),
    "return_ewma": ("spike", "shift"),
    "close_zscore": ("spike", "shift"),
    "volume_spike": ("burst",),
    "volume_profile": ("burst",),
    "silent_feed": ("silence",),
}
"""What a rule is there for. RSI says where the price came from; latency is not in bars."""
SWEEPS: dict[str, tuple[float, ...]] = {
    "return_mad": (5, 6, 8, 10, 12, 15),
    "return_ewma": (4, 5, 6, 8, 10),
    "zscore": (3.5, 4, 4.5, 5, 5.5, 6),
    "profile_ratio": (3, 4, 6, 8, 12),
    "return_percent": (0, 0.1, 0.2, 0.3, 0.5),
}
Alarms = dict[tuple[str, str], list[int]]
"""By key and rule: starts of the bars with which it began to fire or grew worse, ascending."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks anomalies`."""
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="the recorded bars")
    parser.add_argument("--seeds", type=count, default=4, metavar="N", help="copies of each symbol, kind and size (4)")
    parser.add_argument("--choose", action="store_true", help="try other thresholds, on the days that are for choosing")


def overrides(_: argparse.Namespace) -> dict[str, str]:
    """No option of this benchmark changes a setting."""
    return {}


def complete(_: argparse.Namespace) -> None:
    """Nothing depends on another option."""


def run(options: argparse.Namespace, _: object) -> Result:
    """Every table in turn."""
    part = CHOOSE if options.choose else TEST
    recorded = tapes(options.data, part)
    plain = [Spoiled(tape, KINDS[0], 0.0, ()) for tape in recorded]
    copies = [
        spoiled(tape, kind, size, seed)
        for tape in recorded
        for kind in KINDS
        for size in kind.sizes
        for seed in range(options.seeds)
    ]
    events = sum(len(each.events) for each in copies)
    say(f"{len(recorded)} tapes, {len(copies)} copies with {events:,} anomalies")
    both = [*plain, *copies]
    made = known(both)
    say("indicators known")
    result = Result()
    result.tables["tapes"] = [_tape_row(tape) for tape in recorded]
    if options.choose:
        for name, values in SWEEPS.items():
            say(f"thresholds of {name}")
            result.tables[f"choosing {name}"] = list(_swept(recorded, both, made, name, values))
    else:
        found = alarms(both, made, Limits())
        result.tables |= {
            "recall and delay by size": [row for rule in EXPECTED for row in _recall(rule, both, found)],
            "precision": [_precision(rule, both, found) for rule in EXPECTED],
            "alarms a symbol-day on untouched bars": [_untouched(rule, recorded, found) for rule in RULES],
        }
        result.tables["cost"] = _costs()
    result.remarks = [
        "precision: of the alarms in copies with what the rule is there for, those within an anomaly;"
        f" one is put in about every 50 minutes of the session, after {WARM_UP} minutes.",
        "an alarm on untouched bars need not be wrong: nobody has said which moves of the market were unusual.",
    ]
    return result


def _tape_row(tape: Tape) -> dict[str, Any]:
    inside = (tape.start >= tape.counted[0]) & (tape.start < tape.counted[1])
    first = str(tape.start[inside][0].astype("datetime64[us]"))[:10] if inside.any() else ""
    return {"tape": tape.name, "group": tape.group, "bars": int(inside.sum()), "days": tape.days, "first day": first}


@dataclass(frozen=True)
class Known:
    """The bars of copies of one calendar in one piece, and the indicators after each."""

    calendar: str
    places: list[int]
    """Of the copy, by bar."""
    start: Ints
    bars: Bars
    values: dict[str, Array]


def known(copies: Sequence[Spoiled]) -> list[Known]:
    """What no threshold changes."""
    found = []
    for calendar in dict.fromkeys(copy.tape.calendar for copy in copies):
        own = [(place, copy.tape) for place, copy in enumerate(copies) if copy.tape.calendar == calendar]
        places = np.concatenate([np.full(len(tape.start), place) for place, tape in own])
        start, close, volume = (
            np.concatenate([getattr(tape, name) for _, tape in own]) for name in ("start", "close", "volume")
        )
        prices = dict.fromkeys(("open", "high", "low", "close"), close)
        frame = pd.DataFrame({"symbol": places, "start": start, "volume": volume, **prices})
        values = compute(frame, Judge(INTERVALS["1m"], Limits()).indicators.indicators, calendar)
        bars = bars_of(**prices, volume=volume, notional=close * volume, start=start, calendar=calendar)
        columns = {name: values[name].to_numpy() for name in values}
        found.append(Known(calendar, places.tolist(), start, bars, columns))
    return found


def alarms(copies: Sequence[Spoiled], made: Sequence[Known], limits: Limits) -> Alarms:
    """What the rules say of each copy, by its place; within the part that counts."""
    found: Alarms = {}
    for each in made:
        judge = Judge(INTERVALS["1m"], limits, calendar=each.calendar)
        for finding in judge.look([str(place) for place in each.places], each.start, each.bars, each.values):
            counted = copies[int(finding.symbol)].tape.counted
            if finding.state == "firing" and counted[0] + WARM_UP * MINUTE_US <= finding.start < counted[1]:
                found.setdefault((finding.symbol, finding.rule), []).append(finding.start)
    return found


@dataclass(frozen=True)
class Score:
    """What a rule made of the anomalies of some copies."""

    delays: list[int | None]
    alarms: int
    hits: int
    false: int
    days: int

    @property
    def recall(self) -> float:
        return sum(delay is not None for delay in self.delays) / max(1, len(self.delays))


def score(rule: str, copies: Sequence[tuple[int, Spoiled]], found: Alarms) -> Score:
    """Over copies with their places."""
    delays: list[int | None] = []
    said = false = days = 0
    for place, copy in copies:
        own = found.get((str(place), rule), [])
        more, missed = caught(copy.events, own)
        delays, said, false, days = delays + more, said + len(own), false + missed, days + copy.tape.days
    return Score(delays, said, said - false, false, days)


def _of_kinds(copies: Sequence[Spoiled], kinds: Sequence[str]) -> list[tuple[int, Spoiled]]:
    return [(place, copy) for place, copy in enumerate(copies) if copy.events and copy.kind.name in kinds]


def _recall(rule: str, copies: Sequence[Spoiled], found: Alarms) -> Iterator[dict[str, Any]]:
    for kind in KINDS:
        if kind.name not in EXPECTED[rule]:
            continue
        for size in kind.sizes:
            chosen = [(place, copy) for place, copy in _of_kinds(copies, [kind.name]) if copy.size == size]
            made = score(rule, chosen, found)
            delays = [delay for delay in made.delays if delay is not None]
            yield {
                "rule": rule,
                "anomaly": f"{kind.name}, {size:g} {kind.unit}",
                "injected": len(made.delays),
                "recall": round(made.recall, 3),
                "delay in bars, p50": float(np.median(delays)) if delays else None,
                "max": max(delays, default=None),
            }


def _precision(rule: str, copies: Sequence[Spoiled], found: Alarms) -> dict[str, Any]:
    made = score(rule, _of_kinds(copies, EXPECTED[rule]), found)
    return {
        "rule": rule,
        "anomalies": ", ".join(EXPECTED[rule]),
        "injected": len(made.delays),
        "recall": round(made.recall, 3),
        "alarms": made.alarms,
        "precision": round(made.hits / made.alarms, 3) if made.alarms else None,
        "false alarms a symbol-day": round(made.false / max(1, made.days), 2),
    }


def _untouched(rule: str, recorded: Sequence[Tape], found: Alarms) -> dict[str, Any]:
    row: dict[str, Any] = {"rule": rule}
    for group in dict.fromkeys(tape.group for tape in recorded):
        places = [place for place, tape in enumerate(recorded) if tape.group == group]
        said = sum(len(found.get((str(place), rule), [])) for place in places)
        row[group] = round(said / sum(recorded[place].days for place in places), 2)
    return row


def _swept(
    recorded: Sequence[Tape], copies: Sequence[Spoiled], made: Sequence[Known], name: str, values: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Of each threshold: recall of what is expected, and alarms on untouched bars."""
    rules = [rule for rule in EXPECTED if RULES[rule].limit == name] or ["return_mad", "return_ewma", "close_zscore"]
    for value in values:
        found = alarms(copies, made, replace(Limits(), **{name: float(value)}))
        for rule in rules:
            recall = score(rule, _of_kinds(copies, EXPECTED[rule]), found).recall
            groups = _untouched(rule, recorded, found).items()
            row = {"rule": rule, name: float(value), "recall": round(recall, 3)}
            yield row | {f"alarms, {group}": told for group, told in groups if group != "rule"}


def _costs() -> list[dict[str, Any]]:
    """Judging bars that close together, after all indicators are ready, in CPU time."""
    rows = []
    for keys in (1, 20, 500, 1000):
        judge, rng = Judge(INTERVALS["1m"], Limits()), np.random.default_rng(1)
        names, spent, price = [f"S{key}" for key in range(keys)], [], np.full(keys, 100.0)
        for minute in range(1, 161):
            price = price * np.exp(rng.normal(0, 0.0005, keys))
            start = np.full(keys, minute * MINUTE_US)
            volume = rng.uniform(50, 150, keys)
            bars = bars_of(price, price, price, price, volume, price * volume, start)
            began = time.thread_time()
            judge.take(names, start, bars, [1] * keys)
            judge.silent(int(start[0]) + MINUTE_US)
            spent.append(time.thread_time() - began)
        milliseconds = float(np.median(spent[80:])) * 1e3
        rows.append(
            {
                "bars at once": keys,
                "cpu_ms": round(milliseconds, 2),
                "cpu_us_per_bar": round(milliseconds * 1e3 / keys, 2),
            }
        )
    return rows
