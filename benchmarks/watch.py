"""`python -m benchmarks.watch kafka|redis FILE`: notes when rows of 1-minute bars arrive, until SIGTERM.

Processes of their own and as cheap as can be: they must not eat the processor that they measure. Only 1-minute rows
are decoded, and of those only four fields.
"""

import re
import signal
import socket
import sys
import threading
import time
from array import array
from pathlib import Path
from urllib.parse import urlparse

import msgspec
import numpy as np

from conf.settings import Settings, load_settings
from conf.topics import BARS_LIVE
from stores.kafka import follower, take

READY = "watching"


class _Row(msgspec.Struct):
    start: int
    trade_count: int
    last_offset: int


_row = msgspec.json.Decoder(_Row)


class Notes:
    """Arrivals as columns of 64-bit integers."""

    def __init__(self) -> None:
        self._codes: dict[bytes, int] = {}
        self._columns = {name: array("q") for name in
                         ("symbol", "arrival_us", "start", "last_offset", "trade_count")}  # fmt: skip
        self._append = tuple(column.append for column in self._columns.values())

    def note(self, symbol: bytes, arrival_us: int, start: int, last_offset: int, trade_count: int) -> None:
        values = (self._codes.setdefault(symbol, len(self._codes)), arrival_us, start, last_offset, trade_count)
        for append, value in zip(self._append, values, strict=True):
            append(value)

    def save(self, path: Path) -> None:
        names = np.array([name.decode() for name in self._codes], dtype=np.str_)
        columns = {name: np.array(column, np.int64) for name, column in self._columns.items()}
        np.savez(path, names=names, **columns)


def watch_kafka(settings: Settings, notes: Notes, stopping: threading.Event) -> None:
    """Rows of `bars.live` that come from now on."""
    topic = settings.topic(BARS_LIVE)
    consumer = follower(settings, topic, "benchmarks-watch", 30, check_crcs=False, fetch_wait_max_ms=100)
    print(READY, flush=True)
    while not stopping.is_set():
        messages = take(consumer, 0.1, 1000)
        now_us = time.time_ns() // 1000
        for message in messages:
            symbol, _, interval = (message.key() or b"").rpartition(b"|")
            if interval == b"1m":
                row = _row.decode(message.value())
                notes.note(symbol, now_us, row.start, row.last_offset, row.trade_count)
    consumer.close()


_PUBLISHED = re.compile(
    rb'"symbol":"([^"]*)","interval":"1m","start":(\d+),.*?"trade_count":(\d+),.*?"last_offset":(\d+)'
)


def published(messages: bytes) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """Symbol, start, trade count and last offset of each 1-minute bar in whole messages as Redis sends them."""
    return _PUBLISHED.findall(messages)


def watch_redis(settings: Settings, notes: Notes, stopping: threading.Event) -> None:
    """Messages on the channels of 1-minute bars. A bare socket: redis-py takes 40 us a message, this takes 3."""
    url = urlparse(settings.redis_url.get_secret_value())
    with socket.create_connection((url.hostname, url.port), timeout=0.1) as connection:
        connection.sendall(b"PSUBSCRIBE bar:*:1m\r\n")
        print(READY, flush=True)
        rest = b""
        while not stopping.is_set():
            try:
                data = connection.recv(1 << 20)
            except TimeoutError:
                continue
            if not data:
                return
            now_us = time.time_ns() // 1000
            whole, end, rest = (rest + data).rpartition(b"}\r\n")
            for symbol, start, trade_count, last_offset in published(whole if end else b""):
                notes.note(symbol, now_us, int(start), int(last_offset), int(trade_count))


WATCHERS = {"kafka": watch_kafka, "redis": watch_redis}


def main() -> int:
    what, path = sys.argv[1], Path(sys.argv[2])
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    notes = Notes()
    WATCHERS[what](load_settings(), notes, stopping)
    notes.save(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
