"""What the sockets' meter wrote down, looked into afterwards."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.socket_client import Journal, Socket, decode, seen_by

NAMES = ["AAPL", "MSFT"]


def update(symbol: str, state: str, offset: int, received: str = "1001") -> bytes:
    """A frame as the API sends it, as far as the meter reads it."""
    return (
        b"\x81\x7e__"
        + (
            f'{{"type":"update","channel":"bars","symbol":"{symbol}","data":{{"state":"{state}","start":60000000,'
            f'"trade_count":{offset + 1},"last_offset":{offset}}},"event_us":1000,"received_us":{received},'
            f'"processed_us":1002,"relayed_us":1003,"sent_us":1004}}'
        ).encode()
    )


def test_every_frame_is_found_with_its_client_arrival_and_stamps(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("wb") as file:
        journal = Journal(file)
        journal.frames(0, 2000, update("MSFT", "forming", 5) + update("AAPL", "final", 6))
        journal.frames(1, 2001, update("AAPL", "forming", 7, received="null"))
        journal.lost(1)
        journal.frames(0, 2002, b"\x81\x02{}")  # no bar
    decode(tmp_path / "journal", tmp_path / "seen.npz", NAMES)
    clients, columns, lost = seen_by(tmp_path / "seen.npz")
    assert (len(clients), lost) == (2, 1)
    rows = list(zip(*(column.tolist() for column in columns.values()), strict=True))
    assert rows == [
        (0, 1, 2000, 60_000_000, 0, 5, 6, 1000, 1001, 1002, 1003, 1004),
        (0, 0, 2000, 60_000_000, 1, 6, 7, 1000, 1001, 1002, 1003, 1004),
        (1, 0, 2001, 60_000_000, 0, 7, 8, 1000, 0, 1002, 1003, 1004),
    ]


class Wire:
    """What a client has sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)


def text(payload: bytes) -> bytes:
    return b"\x81" + bytes((len(payload),)) + payload


def test_a_client_subscribes_once_it_is_let_in_and_again_where_its_symbol_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.socket_client.ASK_AGAIN_SECONDS", 0)

    async def talk() -> None:
        wire = Wire()
        with (tmp_path / "journal").open("wb") as file:
            socket = Socket(0, ["AAPL"], Journal(file))
            socket.connection_made(wire)  # type: ignore[arg-type]
            socket.data_received(b"HTTP/1.1 101 Switching")
            assert len(wire.sent) == 1  # the request to be let in
            socket.data_received(b" Protocols\r\n\r\n")
            assert len(wire.sent) == 2
            socket.data_received(text(b'{"type":"error","code":"unknown_symbol"}'))
            await asyncio.sleep(0.01)
            assert len(wire.sent) == 3
            assert wire.sent[2] == wire.sent[1]
            socket.data_received(text(b'{"type":"snapshot"}'))
            await asyncio.wait_for(socket.ready, 1)

    asyncio.run(talk())


def test_a_client_that_is_refused_says_why(tmp_path: Path) -> None:
    async def talk() -> None:
        with (tmp_path / "journal").open("wb") as file:
            socket = Socket(0, ["AAPL"], Journal(file))
            socket.connection_made(Wire())  # type: ignore[arg-type]
            socket.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + text(b'{"type":"error","code":"busy"}'))
            with pytest.raises(ConnectionError, match="busy"):
                await socket.ready

    asyncio.run(talk())
