"""Corrections and cancels applied to trades: what a tape says once everything about it is known.

`jobs.ticks.corrected` does the same in Spark.
"""

from collections.abc import Iterable

import msgspec

from core.bars import identity
from core.records import Tick

Placed = tuple[Tick, int | None, int | None]
"""A tick with its Kafka partition and offset, None outside Kafka."""


def corrected(ticks: Iterable[Placed]) -> list[Placed]:
    """The trades, each once, in the order given; those cancelled are gone, those corrected have what was said last.

    A correction gives the trade that it names (symbol, venue, trade id) its price and size, and its conditions where it
    has any; the trade keeps its place in time and order. Last is by receipt, then offset. A cancel holds whatever else
    is said of its trade, before or after.
    """
    trades: dict[tuple[object, ...], Placed] = {}
    told: dict[tuple[object, ...], tuple[tuple[object, ...], Tick]] = {}
    cancelled: set[tuple[object, ...]] = set()
    for placed in ticks:
        tick, named = placed[0], identity(placed[0])
        if tick.kind == "trade":
            trades.setdefault(named, placed)
        elif tick.kind == "cancel":
            cancelled.add(named)
        elif tick.kind == "correct":
            known, last = told.get(named), age(placed)
            if known is None or last > known[0]:
                told[named] = last, tick
    kept = ((named, placed) for named, placed in trades.items() if named not in cancelled)
    return [_told(placed, told[named][1]) if named in told else placed for named, placed in kept]


def age(placed: Placed) -> tuple[object, ...]:
    """Sorts what was said of a trade: by receipt, then offset."""
    tick, _, offset = placed
    return tick.received_us, -1 if offset is None else offset, tick.event_us


def _told(placed: Placed, said: Tick) -> Placed:
    tick, partition, offset = placed
    conditions = tick.conditions if said.conditions is None else said.conditions
    return msgspec.structs.replace(tick, price=said.price, size=said.size, conditions=conditions), partition, offset
