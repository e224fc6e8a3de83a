"""One socket, from the handshake to its end, and why it ended."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from core.errors import InputError
from producers.feeds.base import Feed
from producers.http import retry_after
from producers.live.backoff import Patience
from producers.live.staleness import Liveness, Overdue

MOST_FRAME_BYTES = 16 * 1024 * 1024
CLOSE_SECONDS = 1.0
HELD_UP_SECONDS = 1.0
"""A timer that fires so much too late means that this process was held up."""
# Below INFO the library logs addresses, and some hold a key.
logging.getLogger("websockets").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection, or the attempt to make one, ended."""

    cause: Literal["disconnect", "silence"]
    detail: str
    of_trades: bool = False
    """Silence of trades alone."""
    refused: bool = False
    """The provider does not accept the credentials."""
    retry_after: float | None = None
    """Seconds that the provider asks to stay away."""
    reached: bool = True
    """Something answered at the address."""


class Refused(Exception):
    """The provider's own words about credentials that it does not accept."""


class Connection:
    """Drives one feed instance over one socket.

    `on_frame` gets every message and gives what to send because of it; what it raises goes through `run`.
    """

    def __init__(
        self,
        feed: Feed,
        symbols: Sequence[str],
        url: str,
        on_frame: Callable[[bytes], Sequence[str]],
        patience: Patience,
    ) -> None:
        self._feed = feed
        self._symbols = symbols
        self._url = url
        self._on_frame = on_frame
        self._patience = patience

    async def run(self, life: Liveness) -> Ended:
        """Connect, subscribe, and hand over frames until the end. Raises InputError for an address that is none."""
        try:
            socket = await self._opening()
        except InvalidStatus as error:
            return _turned_away(error)
        except (WebSocketException, EOFError, ssl.SSLError) as error:
            return Ended("disconnect", f"no handshake: {type(error).__name__}")
        except OSError as error:
            return Ended("disconnect", _plainly(error), reached=False)
        try:
            return await self._converse(socket, life)
        finally:
            await socket.close()

    def _opening(self) -> connect:
        try:
            # No deadline on answers to these pings: a provider that answers them and sends nothing is no better.
            return connect(
                self._url,
                additional_headers=dict(self._feed.socket_headers()),
                open_timeout=self._patience.connect_seconds,
                ping_interval=self._patience.ping_seconds,
                ping_timeout=None,
                close_timeout=CLOSE_SECONDS,
                max_size=MOST_FRAME_BYTES,
            )
        except InvalidURI:  # its message has the address, which may hold a key
            raise InputError(f"{self._feed.name}: the address of its socket is no ws:// or wss:// URL") from None

    async def _converse(self, socket: ClientConnection, life: Liveness) -> Ended:
        life.forgive()
        try:
            for text in self._feed.hello(self._symbols):
                await socket.send(text)
            overdue = await _first_of(
                self._receive(socket, life),
                _until_overdue(life),
                _until_unanswered(socket, life, self._patience),
                _keep_alive(socket, self._feed, self._patience),
            )
        except Refused as error:
            return Ended("disconnect", str(error), refused=True)
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd is not None else None
            return Ended("disconnect", "cut off" if code is None else f"closed by the server with code {code}")
        socket.transport.abort()  # a peer that is silent does not answer a goodbye
        return Ended("silence", overdue.text, of_trades=overdue.of_trades)

    async def _receive(self, socket: ClientConnection, life: Liveness) -> Overdue:
        while True:
            message = await socket.recv(decode=False)
            life.frame()
            for text in self._on_frame(message):
                await socket.send(text)


async def _until_overdue(life: Liveness) -> Overdue:
    while True:
        pause = life.next_check()
        due = time.monotonic() + pause
        await asyncio.sleep(pause)
        if time.monotonic() - due > HELD_UP_SECONDS:
            life.forgive()
        elif overdue := life.overdue():
            return overdue


async def _until_unanswered(socket: ClientConnection, life: Liveness, patience: Patience) -> Overdue:
    """Between sessions no data is due: a connection that died then shows by a ping without an answer."""
    allowed = patience.ping_answer_seconds
    while True:
        await asyncio.sleep(patience.ping_seconds)
        if life.in_session:
            continue
        asked = time.monotonic()
        await asyncio.wait([pong := await socket.ping()], timeout=allowed)
        held_up = time.monotonic() - asked > allowed + HELD_UP_SECONDS
        if not pong.done() and not held_up and life.frame_at < asked and not life.in_session:
            return Overdue(f"no answer to a ping for {allowed:g} s", of_trades=False)


async def _keep_alive(socket: ClientConnection, feed: Feed, patience: Patience) -> Overdue:
    while True:
        await asyncio.sleep((patience.silence_seconds or feed.silence_seconds) / 2)
        if text := feed.keep_alive():
            await socket.send(text)


async def _first_of(*coroutines: Coroutine[Any, Any, Overdue]) -> Overdue:
    """The result, or the error, of the one that ends first; the others are stopped."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = sorted(done, key=lambda task: task.exception() is None)  # an error tells more than a deadline
        return ended[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _turned_away(error: InvalidStatus) -> Ended:
    status = error.response.status_code
    asked = retry_after(error.response.headers.get("Retry-After", ""))
    return Ended("disconnect", f"HTTP {status} at the handshake", refused=status in (401, 403), retry_after=asked)


def _plainly(error: OSError) -> str:
    """Without the address, which may hold a key."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or type(error).__name__
