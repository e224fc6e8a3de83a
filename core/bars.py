"""What a bar is: one table, column -> rule, and the exact fold that a single process applies.

The Spark jobs compile the same table to SQL aggregates (`jobs/bars.py`); nobody restates it.
A rule names what to do (`Rule.how`), to which quantity (`Rule.of`) and which trades may take part
(`Rule.touching`, a field of the ruleset's verdict).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from core.intervals import Interval
from core.records import NOTIONAL_DECIMALS, Bar, Tick, bar_trade_id, from_scaled, order_key, to_scaled, vwap_scaled
from core.rulesets import Ruleset

How = Literal["first", "last", "min", "max", "sum", "count"]
Touch = Literal["open_close", "high_low", "volume", "any"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One column of the bar. `first` and `last` go by `core.records.order_key`, never by arrival."""

    how: How
    of: str
    touching: Touch


BAR_RULES: dict[str, Rule] = {
    "open": Rule("first", "price", "open_close"),
    "high": Rule("max", "price", "high_low"),
    "low": Rule("min", "price", "high_low"),
    "close": Rule("last", "price", "open_close"),
    "volume": Rule("sum", "size", "volume"),
    "notional": Rule("sum", "notional", "volume"),
    "trade_count": Rule("count", "price", "volume"),
    "open_us": Rule("min", "event_us", "open_close"),
    "close_us": Rule("max", "event_us", "open_close"),
    "first_trade_id": Rule("first", "trade_id", "open_close"),
    "last_trade_id": Rule("last", "trade_id", "open_close"),
    "kafka_partition": Rule("min", "kafka_partition", "any"),
    "first_offset": Rule("min", "kafka_offset", "any"),
    "last_offset": Rule("max", "kafka_offset", "any"),
    "received_us": Rule("max", "received_us", "any"),
}


@dataclass(slots=True)
class _Forming:
    """The running values of one bar, all exact integers but the ids."""

    firsts: dict[str, tuple[int, object]] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)

    def fold(self, key: int, quantities: dict[str, object], touches: frozenset[str]) -> None:
        for column, rule in BAR_RULES.items():
            value = quantities[rule.of]
            if rule.touching not in touches or (value is None and rule.how not in ("first", "last")):
                continue
            if rule.how in ("first", "last"):
                self._keep_extreme(column, rule.how, key, value)
            else:
                self._accumulate(column, rule.how, value)

    def _keep_extreme(self, column: str, how: str, key: int, value: object) -> None:
        held = self.firsts.get(column)
        if held is None or (key < held[0] if how == "first" else key > held[0]):
            self.firsts[column] = (key, value)

    def _accumulate(self, column: str, how: str, value: object) -> None:
        assert isinstance(value, int)
        held = self.values.get(column)
        if how == "count":
            self.values[column] = (held or 0) + 1
        elif how == "sum":
            self.values[column] = (held or 0) + value
        elif held is None:
            self.values[column] = value
        else:
            self.values[column] = min(held, value) if how == "min" else max(held, value)

    def value(self, column: str) -> object:
        if BAR_RULES[column].how in ("first", "last"):
            held = self.firsts.get(column)
            return None if held is None else held[1]
        return self.values.get(column)


def fold_bars(
    ticks: Iterable[tuple[Tick, int | None, int | None]],
    intervals: Iterable[Interval],
    ruleset: Ruleset,
    processed_us: int | None = None,
) -> list[Bar]:
    """The final bars of valid `ticks`, each given with its Kafka partition and offset (None outside Kafka).

    The first of several ticks with one identity counts, in the order given. Bars come sorted by
    (symbol, interval length, start). Meant for expected results, tests and small ranges: Spark does the rest.
    """
    forming: dict[tuple[str, Interval, int], _Forming] = {}
    seen: set[tuple[object, ...]] = set()
    wanted = tuple(intervals)
    for tick, partition, offset in ticks:
        if tick.kind != "trade" or identity(tick) in seen:
            continue
        seen.add(identity(tick))
        touches = ruleset.touches(tick.conditions, tick.event_us)
        if not touches:
            continue
        quantities = _quantities(tick, partition, offset)
        for interval in wanted:
            start = interval.start_of(tick.event_us)
            bar = forming.setdefault((tick.symbol, interval, start), _Forming())
            bar.fold(order_key(tick.event_us, tick.seq, start), quantities, touches | {"any"})
    rows = sorted(forming.items(), key=lambda item: (item[0][0], item[0][1].us, item[0][2]))
    return [_as_bar(*key, bar, ruleset, processed_us) for key, bar in rows]


def identity(tick: Tick) -> tuple[object, ...]:
    """What makes two records one trade: (symbol, venue, trade id), or (symbol, source, event time, seq) without an id.

    An empty id is none: it would make all trades of a symbol and venue one.

    The 33 bits of `seq` cannot number the trades of days: feeds that have to number themselves begin anew, and only
    the event time tells the rounds apart.
    """
    if tick.trade_id:
        return (tick.symbol, "id", tick.venue, tick.trade_id)
    return (tick.symbol, "seq", tick.source, tick.event_us, tick.seq)


def _quantities(tick: Tick, partition: int | None, offset: int | None) -> dict[str, object]:
    assert tick.price is not None and tick.size is not None
    price, size = to_scaled(tick.price), to_scaled(tick.size)
    return {
        "price": price,
        "size": size,
        "notional": price * size,
        "event_us": tick.event_us,
        "trade_id": bar_trade_id(tick.trade_id),
        "kafka_partition": partition,
        "kafka_offset": offset,
        "received_us": tick.received_us,
    }


def _as_bar(
    symbol: str, interval: Interval, start: int, bar: _Forming, ruleset: Ruleset, processed_us: int | None
) -> Bar:
    raw = {column: bar.value(column) for column in BAR_RULES}
    volume, notional = raw["volume"] or 0, raw["notional"] or 0
    assert isinstance(volume, int) and isinstance(notional, int)
    exact = {column: _amount(raw[column]) for column in ("open", "high", "low", "close")}
    exact |= {"volume": from_scaled(volume), "notional": from_scaled(notional, NOTIONAL_DECIMALS)}
    exact |= {"vwap": _amount(vwap_scaled(notional, volume))}
    values: dict[str, Any] = raw | exact | {"trade_count": raw["trade_count"] or 0}
    return Bar(
        symbol=symbol,
        interval=interval.name,
        start=start,
        end=start + interval.us,
        rev=1,
        state="final",
        reason=None,
        ruleset=ruleset.id,
        processed_us=processed_us,
        **values,
    )


def _amount(units: object) -> Decimal | None:
    return from_scaled(units) if isinstance(units, int) else None
