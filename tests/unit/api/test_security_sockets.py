"""Sockets: how many of them there may be, and the watch over their keys."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.security import socket as watching
from api.security.principal import SCOPES, Principal, TooMany, Unauthorized, anonymous
from api.security.socket import SOCKETS, SocketLayer, Sockets
from api.ws.protocol import EXTENSION


class Access:
    """Judges every key as the test says; `closed` as `api.security.access.Access` has it."""

    def __init__(self, closed: bool = True) -> None:
        self.closed = closed
        self.revoked = False

    def address(self, scope: Any) -> str:
        return str(scope["client"])

    async def unkeyed(self, scope: Any, address: str) -> Principal | None:  # noqa: ARG002
        return None if self.closed else anonymous(address, SCOPES)

    async def judged(self, text: str, address: str) -> Principal:  # noqa: ARG002
        if self.revoked:
            raise Unauthorized("the key was revoked")
        self.closed = True
        return Principal(text, frozenset({"stream"}), f"key:{text}")


def opening(address: str, key: str | None = None) -> dict[str, Any]:
    headers = [] if key is None else [(b"x-api-key", key.encode())]
    return {"type": "websocket", "client": address, "headers": headers}


def test_sockets_are_capped_by_default_once_keys_are_needed() -> None:
    async def scenario() -> None:
        sockets = Sockets(Access(closed=False), None, None)  # type: ignore[arg-type]
        for _ in range(SOCKETS + 10):
            await sockets.enter(opening("1.1.1.1"))
        for number in range(SOCKETS):
            await sockets.enter(opening(f"2.2.2.{number}", "ts_a"))
        with pytest.raises(TooMany, match="one key"):
            await sockets.enter(opening("3.3.3.3", "ts_a"))
        with pytest.raises(TooMany, match="one address"):
            await sockets.enter(opening("1.1.1.1", "ts_b"))

    asyncio.run(scenario())


def test_caps_that_were_set_hold_while_access_is_open_too() -> None:
    async def scenario() -> None:
        sockets = Sockets(Access(closed=False), None, 2)  # type: ignore[arg-type]
        for _ in range(2):
            await sockets.enter(opening("1.1.1.1"))
        with pytest.raises(TooMany):
            await sockets.enter(opening("1.1.1.1"))

    asyncio.run(scenario())


class Connection:
    """The server's side of one socket; while it is `stalled`, `send` waits as uvicorn's does, until it is aborted."""

    def __init__(self, stalled: bool) -> None:
        self.sent: list[Any] = []
        self.aborted = self.told = False
        self.entered = asyncio.Event()
        self._stalled = stalled
        self._gone = asyncio.Event()

    async def run(self, sockets: Sockets) -> None:
        raw = {EXTENSION: self}
        scope = opening("1.1.1.1", "ts_a") | {"path": "/ws", "query_string": b"", "extensions": raw}
        await SocketLayer(self._endpoint, sockets)(scope, self._receive, self._send)

    def abort(self) -> None:
        self.aborted = True
        self._gone.set()

    async def _endpoint(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        self.entered.set()
        await receive()

    async def _receive(self) -> Any:
        await self._gone.wait()

    async def _send(self, message: Any) -> None:
        self.told = True
        if self._stalled:
            await self._gone.wait()
        self.sent.append(message)
        self._gone.set()


async def revoked(connections: list[Connection], ended: Callable[[], bool]) -> None:
    """The key of connections is revoked once all are in; waits until it has `ended` as is hoped."""
    access = Access()
    sockets = Sockets(access, None, None)  # type: ignore[arg-type]
    await sockets.open()
    running = [asyncio.create_task(each.run(sockets)) for each in connections]
    async with asyncio.timeout(30):
        for each in connections:
            await each.entered.wait()
        access.revoked = True
        while not ended():
            await asyncio.sleep(0.005)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await sockets.close()


def test_sockets_of_a_revoked_key_end_whoever_else_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(watching, "END_SECONDS", 600.0)

    async def scenario() -> None:
        stalled, reading = [Connection(stalled=True) for _ in range(5)], Connection(stalled=False)
        await revoked([*stalled, reading], lambda: bool(reading.sent) and all(each.told for each in stalled))
        assert reading.sent == [{"type": "websocket.close", "code": 1008, "reason": "the key was revoked"}]
        assert not any(each.aborted for each in (*stalled, reading))

    asyncio.run(scenario())


def test_sockets_of_a_revoked_key_that_do_not_read_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(watching, "END_SECONDS", 0.02)

    async def scenario() -> None:
        stalled = [Connection(stalled=True) for _ in range(5)]
        await revoked(stalled, lambda: all(each.aborted for each in stalled))
        assert not any(each.sent for each in stalled)

    asyncio.run(scenario())
