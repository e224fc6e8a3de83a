"""A WebSocket client that keeps books: it checks every message against docs/asyncapi.yaml, and each stream's chain.

`python -m tests.conformance_socket` uses it against any server; the tests against their own.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jsonschema_rs
import orjson
import uvicorn
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api.app import create_app
from api.ws.protocol import SocketProtocol
from conf.settings import Settings
from tests.serving import in_thread, loopback

ASYNCAPI = Path(__file__).parents[1] / "docs" / "asyncapi.yaml"
WAIT_SECONDS = 15.0
Message = dict[str, Any]
StreamKey = tuple[str, str, str]


def validators() -> dict[str, Any]:
    """A validator for each type of message of the published document."""
    document = yaml.safe_load(ASYNCAPI.read_text())
    return {
        name: jsonschema_rs.validator_for({"$ref": message["payload"]["$ref"], "components": document["components"]})
        for name, message in document["components"]["messages"].items()
    }


_VALIDATORS = validators()


class SocketClient:
    """One connection. `messages` is all that came; `bars` the newest of each stream by start; `gaps` broken chains."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = {"compression": None, "ping_interval": None, "max_size": None} | options
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self.messages: list[Message] = []
        self.arrivals: list[float] = []
        self.bars: dict[StreamKey, dict[int, Message]] = {}
        self.seqs: dict[StreamKey, int] = {}
        self.gaps: list[Message] = []
        self.finals: list[tuple[str, int, int]] = []
        self.closed: tuple[int, str] | None = None

    async def __aenter__(self) -> Self:
        self._socket = await connect(self._url, **self._options)
        self._task = asyncio.create_task(self._read(self._socket))
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._socket is not None and self._task is not None
        self._reading.set()
        self._socket.transport.abort() if self.closed is None else None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def stall(self) -> None:
        """Stop reading: the socket fills up."""
        self._reading.clear()

    def go_on(self) -> None:
        self._reading.set()

    async def send(self, message: Message | str | bytes) -> None:
        assert self._socket is not None
        text = orjson.dumps(message).decode() if isinstance(message, dict) else message
        await self._socket.send(text)

    async def ask(self, message: Message) -> Message:
        """Send, and wait for the answer with its id."""
        asked = f"q{time.monotonic_ns()}"
        await self.send({"id": asked, **message})
        asked = message.get("id", asked)
        return await self.find(lambda each: each.get("id") == asked)

    async def subscribe(self, *symbols: str, channel: str = "bars", **more: Any) -> Message:
        """Subscribe, and wait for the snapshots of all symbols; the last of them, or the error."""
        before = len(self.messages)
        answer = await self.ask({"type": "subscribe", "channel": channel, "symbols": list(symbols), **more})
        if answer["type"] == "error":
            return answer
        for symbol in symbols:
            answer = await self.find(
                lambda each, name=symbol: (
                    (each["type"] == "snapshot" and each["symbol"] == name and not each.get("more"))
                    or (each["type"] == "error" and each.get("symbol") == name)
                ),
                before,
            )
        return answer

    async def find(self, wanted: Callable[[Message], bool], after: int = 0, seconds: float = WAIT_SECONDS) -> Message:
        """The first message like this, waited for."""
        place = after
        async with asyncio.timeout(seconds):
            while True:
                while place < len(self.messages):
                    place += 1
                    if wanted(self.messages[place - 1]):
                        return self.messages[place - 1]
                await self._more()

    async def until(self, holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Wait until messages have made it so."""
        async with asyncio.timeout(seconds):
            while not holds():
                await self._more()

    async def _more(self) -> None:
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()  # a message that is not as published
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await self._news.wait()

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    def held(self, symbol: str = "AAPL", channel: str = "bars", interval: str = "1m") -> dict[int, Message]:
        """The newest bar of each start."""
        return self.bars.get((channel, symbol, interval), {})

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._reading.wait()
                self._note(orjson.loads(await socket.recv()))
        except ConnectionClosed:
            self.closed = (socket.close_code or 0, socket.close_reason or "")
        finally:
            self._news.set()

    def _note(self, message: Message) -> None:
        _VALIDATORS[message["type"]].validate(message)
        self.messages.append(message)
        self.arrivals.append(time.monotonic())
        if message["type"] in ("snapshot", "update"):
            self._keep(message)
        self._news.set()

    def _keep(self, message: Message) -> None:
        key = (message["channel"], message["symbol"], message.get("interval", ""))
        rows = message["data"] if message["type"] == "snapshot" else [message["data"]]
        if message["type"] == "update" and (
            message["prev_seq"] != self.seqs.get(key) or message["seq"] <= message["prev_seq"]
        ):
            self.gaps.append(message)
        self.seqs[key] = message["seq"]
        for row in rows if key[2] else ():  # events are no bars
            self.bars.setdefault(key, {})[row["start"]] = row
            if row["state"] != "forming":
                self.finals.append((key[1], row["start"], row["rev"]))


@contextlib.contextmanager
def socket_server(settings: Settings, *, raw: bool = True) -> Iterator[str]:
    """`ws://…` of an API in a thread of this process; `raw` as `python -m api` runs it, else through ASGI's `send`."""
    config = loopback(
        create_app(settings),
        ws=SocketProtocol if raw else "websockets-sansio",
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=10,
    )
    with in_thread(uvicorn.Server(config)) as port:
        yield f"ws://127.0.0.1:{port}/ws"


def run(work: Awaitable[Any]) -> Any:
    """A test's coroutine, which has a minute."""

    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())
