"""Amended bars and what follows from them: which rows of a recomputation replace which stored ones, and why.

Works inside one transaction, on what `stores.amending` reads there; Spark has made the bars before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa

from conf.settings import Settings
from core.records import BAR_COLUMNS, BAR_DELIVERY, BAR_KEY, BAR_PROVENANCE
from jobs.indicators import EXACT_BARS, BatchIndicators
from stores import amending, snapshots
from stores.amending import Causes, Row
from stores.reconciling import Due, us
from stores.schema import BAR_SCHEMA, INDICATOR_SCHEMA, values_of

Key = tuple[str, str, int]

DELIVERY = BAR_DELIVERY
VALUES = tuple(name for name in BAR_COLUMNS if name not in BAR_PROVENANCE | DELIVERY | {*BAR_KEY, "end"})
_EMPTY = (*("open", "high", "low", "close", "vwap", "open_us", "close_us", "first_trade_id", "last_trade_id"),
          *("kafka_partition", "first_offset", "last_offset"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Amendment:
    """A bar that takes the place of `held`, None where there was none, and the lateness of the ticks that it lacked."""

    bar: Row
    held: Row | None
    late_us: list[int]

    @property
    def key(self) -> Key:
        return key_of(self.bar)


def key_of(bar: Row) -> Key:
    """`start` in epoch microseconds."""
    return bar["symbol"], bar["interval"], us(bar["start"])


def differing(
    made: Mapping[Key, Row], held: Mapping[Key, Row], due: Mapping[Key, Due], ruleset: str
) -> list[tuple[Row, Row | None]]:
    """Bars as they are to be, with the stored ones beside them, for all that differ in a value.

    A bar that was not asked for was made with its neighbours; it counts where the log has all that it was made of.
    """
    pairs: list[tuple[Row, Row | None]] = []
    for key in sorted(made.keys() | held.keys()):
        asked, stored, new = due.get(key), held.get(key), made.get(key)
        if asked is None:
            fit = new is not None and stored is not None and _covers(new, stored)
        else:
            fit = asked.verdict == "differs"
        if not fit:
            continue
        if new is None:
            new = _emptied(stored, ruleset) if stored is not None else None
        if new is not None and (stored is None or any(new[name] != stored[name] for name in VALUES)):
            pairs.append((new, stored))
    return pairs


def _covers(new: Row, held: Row) -> bool:
    if held["reason"] == "provider" or new["trade_count"] < held["trade_count"]:
        return False
    return held["last_offset"] is None or (new["last_offset"] or 0) >= held["last_offset"]


def _emptied(held: Row, ruleset: str) -> Row:
    """The bar of a time whose trades all vanished: no prices, no volume; it stays, so that readers learn of it."""
    zero = {name: pa.scalar("0").cast(BAR_SCHEMA.field(name).type).as_py() for name in ("volume", "notional")}
    return held | dict.fromkeys(_EMPTY) | zero | {"trade_count": 0, "ruleset": ruleset}


def amendments(
    pairs: Sequence[tuple[Row, Row | None]], causes: Sequence[Causes], due: Mapping[Key, Due], now_us: int
) -> list[Amendment]:
    """The bars with their next revision, state and reason."""
    found = []
    for (new, held), cause in zip(pairs, causes, strict=True):
        reason = _reason(new, held, cause, due.get(key_of(new)))
        rev = 1 if held is None else held["rev"] + 1
        bar = new | {"rev": rev, "state": "amended", "reason": reason, "processed_us": now_us}
        found.append(Amendment(bar, held, cause.late_us))
    return found


def _reason(new: Row, held: Row | None, cause: Causes, due: Due | None) -> str:
    """The first that holds, of rule-change, cancel, correction, gap-fill, late.

    A cancel or correction that came since the last look is a reason; one that was there is, where nothing else is.
    """
    if held is not None and held["reason"] != "provider" and held["ruleset"] != new["ruleset"]:
        return "rule-change"
    for reason, came in (("cancel", due and due.cancelled), ("correction", due and due.corrected)):
        if came:
            return reason
    if cause.late_us:
        return "late"
    if cause.filled:
        return "gap-fill"
    return "cancel" if cause.cancelled else "correction" if cause.corrected else "late"


def reindicated(
    connection: psycopg.Connection, settings: Settings, symbol: str, interval: str, from_us: int
) -> tuple[pa.Table, bool]:
    """Rows of INDICATOR_SCHEMA from a bar on, where what is stored is not what the bars say.

    And whether the state after the newest bar is among them.
    """
    indicators = BatchIndicators(settings, [each for each in settings.bar_intervals if each.name == interval])
    known = snapshots.before(connection, symbol, interval, from_us, indicators.specs(interval))
    after_us = 0
    if known is not None:
        after_us = known[0]
        indicators.put(symbol, interval, known[1])
    indicators.rows(amending.bars_before(connection, symbol, interval, from_us, after_us, EXACT_BARS))
    rows = indicators.rows(amending.bars_from(connection, symbol, interval, from_us))
    stored = {us(row["start"]): row for row in amending.indicators_from(connection, symbol, interval, from_us)}
    differs = [not _same(row, stored.get(us(row["start"]))) for row in rows.drop_columns(["state"]).to_pylist()]
    restated = False
    if rows.num_rows:
        last = rows.slice(rows.num_rows - 1).to_pylist()[0]
        held = amending.state_of(connection, symbol, interval)
        restated = held is None or (held[0], held[1], bytes(held[2])) != (last["start"], last["rev"], last["state"])
        differs[-1] = differs[-1] or restated
    changed = rows.filter(pa.array(differs, pa.bool_()))
    if not restated:
        at = changed.schema.get_field_index("state")
        changed = changed.set_column(at, INDICATOR_SCHEMA.field("state"), pa.nulls(changed.num_rows, pa.binary()))
    return changed, restated


def _same(row: Row, stored: Row | None) -> bool:
    return (
        stored is not None
        and all(row[name] == stored[name] for name in ("rev", "specs", "ready", "stable"))
        and values_of(row["values"]) == values_of(stored["values"])
    )


def first_starts(found: Sequence[Amendment]) -> dict[tuple[str, str], int]:
    """(symbol, interval) -> the start of the first amended bar."""
    firsts: dict[tuple[str, str], int] = {}
    for each in found:
        symbol, interval, start = each.key
        firsts[symbol, interval] = min(start, firsts.get((symbol, interval), start))
    return firsts


def table_of(found: Sequence[Amendment]) -> pa.Table:
    """The amended bars as a batch of BAR_SCHEMA."""
    return pa.Table.from_pylist([each.bar for each in found], schema=BAR_SCHEMA)
