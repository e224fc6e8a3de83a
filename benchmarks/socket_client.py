"""`python -m benchmarks.socket_client FILE CLIENTS PER_CLIENT SYMBOL…`: sockets that keep what arrives, until SIGTERM.

One light process for all of them, so that what it measures is not itself: frames are only told apart, and written down
with the time of their arrival; `decode` looks into them afterwards. Client number i follows PER_CLIENT symbols from
i x PER_CLIENT on, round and round.
"""

import asyncio
import re
import signal
import struct
import sys
import time
from array import array
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import uvloop

from benchmarks.measure import Seen
from conf.settings import load_settings

READY = "subscribed"
PING = 0x89
ASK_AGAIN_SECONDS = 2.0
COLUMNS = ("client", "symbol", "arrival_us", "start", "final", "last_offset", "trade_count", "event_us", "received_us",
           "processed_us", "relayed_us", "sent_us")  # fmt: skip
_UPDATE = re.compile(
    rb'"type":"update","channel":"bars","symbol":"([^"]*)".*?"state":"(\w+)".*?"start":(\d+).*?"trade_count":(\d+)'
    rb'.*?"last_offset":(\d+).*?"event_us":(\w+),"received_us":(\w+),"processed_us":(\w+),"relayed_us":(\w+)'
    rb',"sent_us":(\d+)',
    re.DOTALL,
)
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


_HEAD = struct.Struct("<HIq")  # client, bytes of whole frames, their arrival in epoch microseconds
_LOST = 0  # bytes of a socket that was closed


class Journal:
    """Frames of all clients, as they come."""

    def __init__(self, file: BinaryIO) -> None:
        self._write = file.write

    def frames(self, client: int, arrival_us: int, data: bytes) -> None:
        self._write(_HEAD.pack(client, len(data), arrival_us))
        self._write(data)

    def lost(self, client: int) -> None:
        self._write(_HEAD.pack(client, _LOST, 0))


def decode(journal: Path, path: Path, names: list[str]) -> None:
    """Write the bars of a journal as columns of 64-bit integers, for `seen_by`."""
    codes = {name.encode(): code for code, name in enumerate(names)}
    columns = [array("q") for _ in COLUMNS]
    appends, lost = [column.append for column in columns], 0
    with journal.open("rb") as file:
        while head := file.read(_HEAD.size):
            client, size, arrival_us = _HEAD.unpack(head)
            lost += size == _LOST
            for symbol, state, start, count_, offset, *stamps in _UPDATE.findall(file.read(size)):
                numbers = (client, codes[symbol], arrival_us, int(start), int(state != b"forming"), int(offset))
                values = (*numbers, int(count_), *(0 if each == b"null" else int(each) for each in stamps))
                for append, value in zip(appends, values, strict=True):
                    append(value)
    found = {name: np.array(column, np.int64) for name, column in zip(COLUMNS, columns, strict=True)}
    np.savez(path, names=np.array(names, dtype=np.str_), lost=np.array(lost), **found)


class Socket(asyncio.Protocol):
    """One client: whole frames are kept, the rest waits for more bytes."""

    def __init__(self, number: int, symbols: list[str], journal: Journal) -> None:
        self._number = number
        self._symbols = symbols
        self._journal = journal
        self._rest = b""
        self._open = False
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(_UPGRADE)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        self._journal.lost(self._number)
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        now_us = time.time_ns() // 1000
        if not self._open:
            held, met, data = (self._rest + data).partition(b"\r\n\r\n")
            self._open, self._rest = bool(met), b"" if met else held
            if not met:
                return
            self._subscribe()
        data = self._rest + data
        end, pings = whole(data)
        self._rest = data[end:]
        for payload in pings:  # who does not answer is closed after 40 s
            self._transport.write(b"\x8a" + bytes((0x80 | len(payload),)) + bytes(4) + payload)  # type: ignore[attr-defined]
        if not self.ready.done():
            self._begun(data[:end])
            return
        if end:
            self._journal.frames(self._number, now_us, data[:end])

    def _begun(self, data: bytes) -> None:
        if b'"snapshot"' in data:
            self.ready.set_result(None)
        elif b'"unknown_symbol"' in data:  # a symbol of another partition, whose query has shown no bar yet
            asyncio.get_running_loop().call_later(ASK_AGAIN_SECONDS, self._subscribe)
        elif b'"type":"error"' in data:
            self.ready.set_exception(ConnectionError(data.decode(errors="replace")))

    def _subscribe(self) -> None:
        asked = {"type": "subscribe", "channel": "bars", "symbols": self._symbols, "snapshot": 0}
        payload = msgspec.json.encode(asked)
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self._transport.write(b"\x81" + length + bytes(4) + payload)  # type: ignore[attr-defined]


def whole(data: bytes) -> tuple[int, list[bytes]]:
    """Where the last whole frame ends, and the payloads of the pings up to there.

    >>> whole(b"\\x81\\x02{}\\x89\\x01p\\x81\\x05{")
    (7, [b'p'])
    """
    at, pings = 0, []
    while True:
        if len(data) < at + 2:
            return at, pings
        size, head = data[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        if len(data) < at + head + size:
            return at, pings
        if data[at] == PING:
            pings.append(data[at + head : at + head + size])
        at += head + size


def seen_by(path: Path) -> tuple[list[Seen], dict[str, np.ndarray], int]:
    """What each client saw, all columns together, and how many sockets were lost."""
    with np.load(path) as held:
        names, lost = held["names"].tolist(), int(held["lost"])
        columns = {name: held[name] for name in COLUMNS}
    order = np.argsort(columns["client"], kind="stable")
    clients, starts = np.unique(columns["client"][order], return_index=True)
    parts = np.split(order, starts[1:]) if len(clients) else []
    kept = ("symbol", "arrival_us", "start", "last_offset", "trade_count")
    return [Seen(names, *(columns[name][part] for name in kept)) for part in parts], columns, lost


async def _run(path: Path, clients: int, per_client: int, symbols: list[str]) -> None:
    loop, port = asyncio.get_running_loop(), load_settings().api_port
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    with path.open("wb", buffering=1 << 20) as file:
        journal, sockets = Journal(file), []
        for number in range(clients):
            mine = [symbols[(number * per_client + k) % len(symbols)] for k in range(per_client)]
            socket = Socket(number, mine, journal)
            await loop.create_connection(lambda one=socket: one, "127.0.0.1", port)  # type: ignore[misc]
            await asyncio.wait_for(socket.ready, 30)
            sockets.append(socket)
        print(READY, flush=True)
        await stopping.wait()


def main() -> int:
    path, clients, per_client, *symbols = sys.argv[1:]
    uvloop.run(_run(Path(path), int(clients), int(per_client), symbols))
    return 0


if __name__ == "__main__":
    sys.exit(main())
