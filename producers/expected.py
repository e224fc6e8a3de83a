"""The bars that must come out of a simulated run, folded from what was sent, not from what arrived.

A vectorised equivalent of `core.bars.fold_bars` under a ruleset in which every trade counts; a test holds them equal.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError
from core.intervals import Interval
from core.records import DECIMALS, NOTIONAL_DECIMALS, SCALE, Bar, bar_trade_id, from_scaled, vwap_scaled
from producers.market import PRICE_SCALE, SIZE_SCALE
from stores.schema import bars_table

_PRICE_FACTOR, _SIZE_FACTOR = SCALE // PRICE_SCALE, SCALE // SIZE_SCALE
_COLUMNS = ("symbol", "seq", "event_us", "sent_us", "price", "size")


class Ledger:
    """Every valid tick of a run, each once: what was sent, and when.

    A tick is certain to count in a bar when it was sent before event time had passed the bar's end by the
    lateness. After that a query may still take it or drop it: such a pair of tick and bar is `late`.
    """

    def __init__(self, symbols: Sequence[str], run: str, lateness_us: int) -> None:
        self._symbols = symbols
        self._run = run
        self._lateness_us = lateness_us
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(
        self,
        symbol: np.ndarray,
        seq: np.ndarray,
        event_us: np.ndarray,
        sent_us: np.ndarray,
        price: np.ndarray,
        size: np.ndarray,
    ) -> None:
        """Note ticks: index of the symbol, times since the epoch, price in cents, size in ten-thousandths."""
        self._parts.append(tuple(np.array(column) for column in (symbol, seq, event_us, sent_us, price, size)))

    def bars(self, intervals: Iterable[Interval], ruleset_id: str) -> list[Bar]:
        """The final bars of the ticks that are certain, by symbol, interval and start."""
        rows = self._rows()
        found: list[Bar] = []
        for interval in intervals:
            certain = ~self._is_late(rows, interval)
            found += self._fold({name: column[certain] for name, column in rows.items()}, interval, ruleset_id)
        return sorted(found, key=lambda bar: (bar.symbol, bar.end - bar.start, bar.start))

    def late(self, intervals: Iterable[Interval]) -> pa.Table:
        """Each tick that may or may not count in a bar, once for every such bar."""
        rows = self._rows()
        tables = []
        for interval in intervals:
            late = {name: column[self._is_late(rows, interval)] for name, column in rows.items()}
            tables.append(self._late_table(late, interval))
        return pa.concat_tables(tables)

    def write(self, path: Path, intervals: Sequence[Interval], ruleset_id: str) -> tuple[int, int]:
        """Bars to `path`, late ticks to `late_path(path)`; the row counts of both. Raises InputError."""
        bars, late = bars_table(self.bars(intervals, ruleset_id)), self.late(intervals)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(bars, path)
            pq.write_table(late, late_path(path))
        except OSError as error:
            raise InputError(f"--expect {path}: {error.strerror}") from None
        return bars.num_rows, late.num_rows

    def _rows(self) -> dict[str, np.ndarray]:
        empty = tuple(np.empty(0, np.int64) for _ in _COLUMNS)
        columns = [np.concatenate(parts) for parts in zip(empty, *self._parts, strict=True)]
        return dict(zip(_COLUMNS, columns, strict=True))

    def _is_late(self, rows: dict[str, np.ndarray], interval: Interval) -> np.ndarray:
        end_us = rows["event_us"] - rows["event_us"] % interval.us + interval.us
        return end_us + self._lateness_us <= rows["sent_us"]

    def _fold(self, rows: dict[str, np.ndarray], interval: Interval, ruleset_id: str) -> list[Bar]:
        if not len(rows["seq"]):
            return []
        start_us = rows["event_us"] - rows["event_us"] % interval.us
        order = np.lexsort((rows["seq"], rows["event_us"], start_us, rows["symbol"]))
        ordered = {name: column[order] for name, column in rows.items()} | {"start": start_us[order]}
        changed = (np.diff(ordered["symbol"]) != 0) | (np.diff(ordered["start"]) != 0)
        first = np.flatnonzero(np.r_[True, changed])
        last = np.r_[first[1:], len(order)] - 1
        values = {
            **{f"first_{name}": column[first] for name, column in ordered.items()},
            **{f"last_{name}": column[last] for name, column in ordered.items()},
            "high": np.maximum.reduceat(ordered["price"], first),
            "low": np.minimum.reduceat(ordered["price"], first),
            "received_us": np.maximum.reduceat(ordered["sent_us"], first),
            "volume": np.add.reduceat(ordered["size"].astype(object), first),
            "notional": np.add.reduceat(ordered["price"].astype(object) * ordered["size"].astype(object), first),
            "trade_count": last - first + 1,
        }
        rows_of_bars = zip(*(column.tolist() for column in values.values()), strict=True)
        return [self._bar(dict(zip(values, row, strict=True)), interval, ruleset_id) for row in rows_of_bars]

    def _bar(self, row: dict[str, int], interval: Interval, ruleset_id: str) -> Bar:
        volume, notional = row["volume"] * _SIZE_FACTOR, row["notional"] * _PRICE_FACTOR * _SIZE_FACTOR
        vwap = vwap_scaled(notional, volume)
        return Bar(
            symbol=self._symbols[row["first_symbol"]],
            interval=interval.name,
            start=row["first_start"],
            end=row["first_start"] + interval.us,
            open=_price(row["first_price"]),
            high=_price(row["high"]),
            low=_price(row["low"]),
            close=_price(row["last_price"]),
            volume=from_scaled(volume),
            notional=from_scaled(notional, NOTIONAL_DECIMALS),
            vwap=None if vwap is None else from_scaled(vwap),
            trade_count=row["trade_count"],
            open_us=row["first_event_us"],
            close_us=row["last_event_us"],
            first_trade_id=bar_trade_id(f"{self._run}-{row['first_seq']}"),
            last_trade_id=bar_trade_id(f"{self._run}-{row['last_seq']}"),
            kafka_partition=None,
            first_offset=None,
            last_offset=None,
            rev=1,
            state="final",
            reason=None,
            ruleset=ruleset_id,
            received_us=row["received_us"],
            processed_us=None,
        )

    def _late_table(self, rows: dict[str, np.ndarray], interval: Interval) -> pa.Table:
        start_us = rows["event_us"] - rows["event_us"] % interval.us
        time = pa.timestamp("us", tz="UTC")
        return pa.table(
            {
                "symbol": pa.array([self._symbols[index] for index in rows["symbol"]], pa.string()),
                "interval": pa.array([interval.name] * len(start_us), pa.string()),
                "start": pa.array(start_us, pa.int64()).cast(time),
                "event_us": rows["event_us"],
                "received_us": rows["sent_us"],
                "seq": rows["seq"],
                "trade_id": pa.array([f"{self._run}-{seq}" for seq in rows["seq"]], pa.string()),
                "price": pa.array([_price(price) for price in rows["price"].tolist()], pa.decimal128(18, DECIMALS)),
                "size": pa.array([_size(size) for size in rows["size"].tolist()], pa.decimal128(18, DECIMALS)),
            }
        )


def late_path(path: Path) -> Path:
    """Where the late ticks beside the expected bars of `path` are."""
    return path.with_name(f"{path.stem}.late{path.suffix}")


def _price(cents: int) -> Decimal:
    return from_scaled(cents * _PRICE_FACTOR)


def _size(units: int) -> Decimal:
    return from_scaled(units * _SIZE_FACTOR)
