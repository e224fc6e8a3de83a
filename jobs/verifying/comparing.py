"""Bars and their indicators held against those of the reference: their hash, and the first difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from conf.settings import Settings
from core.canonical import BAR_VALUES, bar_line, bar_values, digest, indicator_values
from core.indicators import compute
from stores.schema import values_of

Key = tuple[str, str, int]
Bars = dict[Key, dict[str, Any]]
"""(symbol, interval, start in microseconds) -> BAR_VALUES as `core.canonical.bar_values` has them, and `indicators`."""
_INPUTS = ("open", "high", "low", "close", "volume", "notional")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first field in which a bar is not what it should be; `expected` or `found` is absent for a whole bar."""

    key: Key
    field: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        symbol, interval, start = self.key
        at = pd.Timestamp(start, unit="us").isoformat()
        if self.field == "bar":
            return f"{symbol} {interval} {at}Z: {'missing' if self.found is None else 'should not be there'}"
        return f"{symbol} {interval} {at}Z {self.field}: expected {self.expected}, found {self.found}"


def with_indicators(bars: Mapping[Key, Mapping[str, Any]], settings: Settings) -> Bars:
    """Bars of `reference` with what `core.indicators.compute` makes of them, from the first of these bars on."""
    found: Bars = {key: bar_values(bar) for key, bar in bars.items()}
    for name in dict.fromkeys(key[1] for key in bars):
        keys = [key for key in bars if key[1] == name]
        frame = pd.DataFrame(
            {"symbol": [key[0] for key in keys], "interval": name, "start": [key[2] for key in keys]}
            | {each: [_double(bars[key][each]) for key in keys] for each in _INPUTS}
        )
        values = compute(frame, settings.indicators_of(name), settings.calendar)
        for key, row in zip(keys, values.to_dict("records"), strict=True):
            found[key]["indicators"] = indicator_values(row)
    return found


def bars_of_tables(bars: pa.Table, indicators: pa.Table) -> Bars:
    """The same of a batch of BAR_SCHEMA and one of INDICATOR_SCHEMA."""
    values = dict(zip(_keys(indicators), indicators["values"].to_pylist(), strict=True))
    found: Bars = {}
    for key, row in zip(_keys(bars), _timed(bars).select(list(BAR_VALUES)).to_pylist(), strict=True):
        found[key] = bar_values(row)
        if key in values:
            found[key]["indicators"] = indicator_values(values_of(values[key]))
    return found


def difference(expected: Bars, found: Bars) -> Difference | None:
    """The first by start, length and symbol; None where all is equal."""
    for key in sorted(expected.keys() | found.keys(), key=lambda key: (key[2], len(key[1]), key[1], key[0])):
        wanted, given = expected.get(key), found.get(key)
        if wanted is None or given is None:
            return Difference(key, "bar", wanted, given)
        for field in BAR_VALUES:
            if wanted[field] != given[field]:
                return Difference(key, field, wanted[field], given[field])
        told, made = wanted.get("indicators") or {}, given.get("indicators") or {}
        for column in sorted(told.keys() | made.keys()):
            if told.get(column) != made.get(column):
                return Difference(key, column, told.get(column), made.get(column))
    return None


def hash_of(bars: Bars) -> str:
    """The hash of all bars with their indicators, by symbol, interval and start."""
    return digest(bar_line(bars[key], bars[key].get("indicators")) for key in sorted(bars))


def _keys(table: pa.Table) -> list[Key]:
    columns = (_timed(table)[name].to_pylist() for name in ("symbol", "interval", "start"))
    return list(zip(*columns, strict=True))


def _timed(table: pa.Table) -> pa.Table:
    """Times as microseconds."""
    for name in {"start", "end"} & set(table.column_names):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.int64()))
    return table


def _double(amount: Any) -> float:
    return np.nan if amount is None else float(amount)
