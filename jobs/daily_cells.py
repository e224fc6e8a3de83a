"""Rows of CSV and Parquet files with their cells as exact values, and what a file of history holds."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError
from core.validate import SYMBOL_PATTERN

PRICES = ("open", "high", "low", "close")
FACTORS = ("price_factor", "split_factor", "reference_price")
EARLIEST = date(1970, 1, 1)
FileKind = Literal["bars", "factors", "actions"]
Row = Mapping[str, Any]

_SYMBOL = re.compile(SYMBOL_PATTERN)
_QUANTUM = Decimal("1e-8")
_COLUMNS: dict[FileKind, tuple[str, ...]] = {
    "bars": ("symbol", "date", *PRICES),
    "factors": ("symbol", "date", *FACTORS),
    "actions": ("symbol", "ex_date", "kind"),
}


def kind_of(path: Path) -> FileKind:
    """What a file holds, by its columns. Raises InputError."""
    names = set(names_of(path))
    found = next((kind for kind, wanted in _COLUMNS.items() if names.issuperset(wanted)), None)
    if found is None:
        wanted = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in _COLUMNS.items())
        raise InputError(f"{path} is neither of these: {wanted}")
    return found


def rounded(value: Decimal) -> Decimal:
    return value.quantize(_QUANTUM)


def number_of(value: object, where: str) -> Decimal | None:
    """A double stands for its shortest decimal. None for nothing and for NaN."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise InputError(f"{where}: not a number: {value!r}") from None
    if not number.is_finite() or abs(number) >= 10**19:
        raise InputError(f"{where}: not a number that can be kept: {value!r}")
    return number


def day_of(value: object, where: str) -> date:
    try:
        day = value.date() if isinstance(value, datetime) else value
        day = day if isinstance(day, date) else date.fromisoformat(str(day)[:10])
    except ValueError:
        raise InputError(f"{where}: not a date: {value!r}") from None
    if day < EARLIEST:
        raise InputError(f"{where}: before {EARLIEST}, the first day that the API can name")
    return day


def symbol_of(row: Row, path: Path) -> str:
    symbol = str(row["symbol"])
    if not _SYMBOL.fullmatch(symbol):
        raise InputError(f"{path}: not a symbol: {symbol[:40]!r}")
    return symbol


def names_of(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])
    try:
        return list(pq.read_schema(path).names)
    except pa.ArrowInvalid:
        raise InputError(f"{path} is neither CSV nor Parquet") from None


def rows_of(path: Path) -> Iterator[Row]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)
    else:
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
