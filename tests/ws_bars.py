"""Bars for the sockets' tests, as the relay and the final query write them."""

import threading
import time
from decimal import Decimal
from typing import Any

import msgspec

from core.records import Bar
from stores.redis import LiveRow, RedisStore, live_rows
from tests.batches import make_bar, make_bars

NOW_MINUTE_US = (time.time_ns() // 60_000_000_000 - 600) * 60_000_000
"""Ten hours ago: what a client may catch up to."""


def at(minute: int) -> int:
    """The start of a minute, in microseconds."""
    return NOW_MINUTE_US + minute * 60_000_000


def final(minute: int, **changes: Any) -> Bar:
    return make_bar(**{"start": at(minute), "last_offset": 1000, **changes})


def forming(minute: int, offset: int, shown: bytes = b"", **changes: Any) -> LiveRow:
    """A forming bar whose `trade_count` is its offset."""
    fields = {"rev": 0, "state": "forming", "processed_us": None, "last_offset": offset, "trade_count": offset}
    (row,) = live_rows(make_bars(make_bar(start=at(minute), **(fields | {"close": Decimal(offset)} | changes))))
    return msgspec.structs.replace(row, indicators=shown)


class Writer:
    """Writes bars of AAPL and others as fast as it is asked to, from a thread."""

    def __init__(self, store: RedisStore, symbols: tuple[str, ...] = ("AAPL",), ticks_a_minute: int = 20) -> None:
        self._store = store
        self._symbols = symbols
        self._ticks = ticks_a_minute
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.minute = 0
        self.finals: list[tuple[str, int, int]] = []

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for offset in range(1, self._ticks + 1):
                self._store.write_live([forming(self.minute, offset, symbol=symbol) for symbol in self._symbols])
                time.sleep(0.001)
            self._store.write_bars(make_bars(*(final(self.minute, symbol=symbol) for symbol in self._symbols)))
            self.finals += [(symbol, at(self.minute), 1) for symbol in self._symbols]
            self.minute += 1
