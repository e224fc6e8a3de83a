"""The conformance client fails servers whose WebSocket breaks one promise each."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from conf.settings import Settings
from stores.redis import RedisStore
from stores.timescale import TimescaleStore
from tests import conformance_socket
from tests.batches import make_bars
from tests.ws_bars import Writer, final
from tests.ws_client import Message, run, socket_server

ACK = {"type": "ack", "action": "unsubscribe", "channel": "bars", "symbols": ["AAPL"], "interval": "1m"}


class Passing:
    """One connection to a server that differs from ours by a change to what it says."""

    def __init__(self) -> None:
        self.asked: Message = {}
        self.updates: list[Message] = []
        self.heartbeats = 0

    async def pass_on(self, client: ServerConnection, url: str, change: "Change") -> None:
        async with connect(url, compression=None) as server:
            asking = asyncio.create_task(self._ask(client, server, change))
            with contextlib.suppress(ConnectionClosed):
                async for text in server:
                    message = orjson.loads(text)
                    self.heartbeats += message["type"] == "heartbeat"
                    for each in change(self, message):
                        await client.send(orjson.dumps(each).decode())
                    self.updates += [message] if message["type"] == "update" else []
            asking.cancel()

    async def _ask(self, client: ServerConnection, server: ClientConnection, change: "Change") -> None:
        async for text in client:
            self.asked = orjson.loads(text)
            for each in change(self, self.asked):
                await server.send(orjson.dumps(each).decode())
        await server.close()


Change = Callable[[Passing, Message], list[Message]]
"""What is passed on of a message, in either direction."""


def _resumed(**changes: Any) -> Change:
    """Changes to a snapshot that resumes; of functions, their results of it and of where the client left."""

    def apply(passing: Passing, message: Message) -> list[Message]:
        if message.get("mode") != "resume":
            return [message]
        (left,) = passing.asked["resume"].values()
        made = {name: value(message, left) if callable(value) else value for name, value in changes.items()}
        return [message | made]

    return apply


def _each(kind: str, change: Callable[[Passing, Message], list[Message]]) -> Change:
    return lambda passing, message: change(passing, message) if message["type"] == kind else [message]


def _endless(_: Passing, message: Message) -> list[Message]:
    """Acknowledges an `unsubscribe` that the server never sees."""
    if message["type"] == "unsubscribe":
        return [{"type": "ping", "id": message["id"]}]
    return [ACK | {"id": message["id"]} if message["type"] == "pong" else message]


BROKEN: dict[str, tuple[str, Change]] = {
    "nothing of what was missed": ("resume continues where one left", _resumed(data=[])),
    "all but the newest": ("resume continues where one left", _resumed(data=lambda answer, _: answer["data"][:-1])),
    "a place before that": ("resume continues where one left", _resumed(seq=lambda _, left: left - 1)),
    "a hole behind the place": ("resume continues where one left", _resumed(data=[], seq=lambda _, left: left)),
    "an update lost": (
        "snapshot then updates without a gap",
        _each("update", lambda passing, message: [] if len(passing.updates) == 2 else [message]),
    ),
    "bars out of order": (
        "snapshot then updates without a gap",
        _each("snapshot", lambda _, message: [message | {"data": message["data"][::-1]}]),
    ),
    "a heartbeat lost": (
        "heartbeat each second",
        _each("heartbeat", lambda passing, message: [] if passing.heartbeats == 2 else [message]),
    ),
    "no pong": (
        "ping is answered with its id",
        _each("pong", lambda _, message: [ACK | {"id": message["id"]}]),
    ),
    "every mistake the same": (
        "mistakes are named and cost nothing",
        _each("error", lambda _, message: [message | {"code": "invalid_field"}]),
    ),
    "no end": ("unsubscribe ends the updates", _endless),
}


@contextlib.asynccontextmanager
async def differing(url: str, change: Change) -> AsyncIterator[str]:
    """`http://…` of a server that says what another one does, but for one change."""

    async def pass_on(client: ServerConnection) -> None:
        await Passing().pass_on(client, url, change)

    server: Server
    async with serve(pass_on, "127.0.0.1", 0, compression=None) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@pytest.mark.parametrize("what", BROKEN)
def test_conformance_fails_a_server_whose_socket_breaks_a_promise(
    what: str,
    socket_settings: Settings,
    live: RedisStore,
    database: TimescaleStore,
    postgres_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, change = BROKEN[what]
    (check,) = [each for each in conformance_socket.CHECKS if each.__name__.replace("_", " ") == name]
    monkeypatch.setattr(conformance_socket, "CHECKS", (check,))

    async def judge(url: str) -> None:
        async with differing(url, lambda _, message: [message]) as same, differing(url, change) as other:
            assert await conformance_socket.run_all(same, "AAPL") == []
            assert await conformance_socket.run_all(other, "AAPL") == [name]

    bars = make_bars(final(0), final(1))
    database.write_bars(bars)
    live.write_bars(bars)
    settings = socket_settings.model_copy(update={"postgres_dsn": SecretStr(postgres_dsn)})
    with socket_server(settings) as url, Writer(live):
        run(judge(url))
    assert f"FAIL  socket: {name}: AssertionError" in capsys.readouterr().out, "and not for another reason"
