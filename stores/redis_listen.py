"""Pub/sub over one connection, read in batches: redis-py's own listener takes tens of microseconds a message.

Channels are not bound to a database: a URL's database number does not set its messages apart from another's.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

import hiredis
import structlog
from redis.asyncio.connection import SSLConnection, parse_url

from core.errors import ConfigError
from stores.retry import pause_before

CONNECT_SECONDS = 2.0
PING_SECONDS = 1.0
SILENCE_SECONDS = 4.0  # no answer to a PING for so long, and the connection is given up
_log = structlog.get_logger(__name__)

Messages = list[tuple[bytes, bytes]]


class RedisListener:
    """Follows channels of one Redis for as long as it runs, through restarts of it.

    `on_messages` gets the (channel, payload) of what one read of the socket brought. `on_subscribed` is called each
    time that a channel is confirmed, so again after every reconnection: messages in between are lost.
    """

    def __init__(
        self,
        url: str,
        on_messages: Callable[[Messages], None],
        on_subscribed: Callable[[bytes], None],
    ) -> None:
        try:
            self._where: dict[str, Any] = dict(parse_url(url))
        except ValueError:
            raise ConfigError("REDIS_URL is not a redis:// URL") from None
        self.on_messages = on_messages
        self.on_subscribed = on_subscribed
        self.connections = 0
        self._wanted: set[bytes] = set()
        self._wire: _Wire | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"RedisListener({len(self._wanted)} channels)"

    @property
    def connected(self) -> bool:
        return self._wire is not None

    def start(self) -> None:
        """Connect, and go on connecting, until `close`. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="redis-listener")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def subscribe(self, channels: Iterable[bytes]) -> None:
        new = set(channels) - self._wanted
        self._wanted |= new
        self._send(b"SUBSCRIBE", new)

    def unsubscribe(self, channels: Iterable[bytes]) -> None:
        gone = set(channels) & self._wanted
        self._wanted -= gone
        self._send(b"UNSUBSCRIBE", gone)

    def _send(self, command: bytes, channels: set[bytes]) -> None:
        if channels and self._wire is not None:
            self._wire.send(command, *channels)

    async def _run(self) -> None:
        attempt = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._follow()
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                _log.warning("redis listener lost its connection", error=type(error).__name__)
            finally:
                self._wire = None
            attempt = 0 if asyncio.get_running_loop().time() - began > SILENCE_SECONDS else attempt + 1
            await asyncio.sleep(pause_before(min(attempt, 3), 0.1))

    async def _follow(self) -> None:
        """One connection, until it ends. Raises what ended it."""
        wire = _Wire(self)
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._connect(wire)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._greet(wire)
            self.connections += 1
            self._wire = wire
            if self._wanted:
                wire.send(b"SUBSCRIBE", *self._wanted)
            await self._watch(wire)
        finally:
            wire.abort()

    async def _connect(self, wire: "_Wire") -> None:
        loop, where = asyncio.get_running_loop(), self._where
        if "path" in where:
            await loop.create_unix_connection(lambda: wire, where["path"])
            return
        secure = where.get("connection_class") is SSLConnection
        host, port = where.get("host", "localhost"), where.get("port", 6379)
        await loop.create_connection(lambda: wire, host, port, ssl=_tls(where) if secure else None)

    async def _greet(self, wire: "_Wire") -> None:
        """Log in, and wait for a first answer: a server that is loading its data refuses."""
        password = self._where.get("password")
        if password is not None:
            user = self._where.get("username")
            wire.send(b"AUTH", *([user.encode()] if user else []), str(password).encode())
            await wire.answer()
        wire.send(b"PING")
        await wire.answer()
        wire.greeting = False

    async def _watch(self, wire: "_Wire") -> None:
        """Until the connection ends, or is silent although it is asked."""
        while not wire.ended.done():
            heard = wire.reads
            wire.send(b"PING")
            await asyncio.wait({wire.ended}, timeout=PING_SECONDS)
            if wire.reads == heard:
                await asyncio.wait({wire.ended}, timeout=SILENCE_SECONDS - PING_SECONDS)
                if wire.reads == heard:
                    raise TimeoutError
        wire.ended.result()


class _Wire(asyncio.Protocol):
    """The Redis protocol on one connection."""

    def __init__(self, owner: RedisListener) -> None:
        loop = asyncio.get_running_loop()
        self._owner = owner
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._answers: asyncio.Queue[Any] = asyncio.Queue(maxsize=0)
        self.greeting = True  # only its replies are waited for
        self.ended: asyncio.Future[None] = loop.create_future()
        self.reads = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        messages: Messages = []
        confirmed: list[bytes] = []
        gets = self._reader.gets
        self._reader.feed(data)
        try:
            while (reply := gets()) is not _MORE:
                if type(reply) is list and len(reply) == 3 and reply[0] == b"message":
                    messages.append((reply[1], reply[2]))
                else:
                    self._other(reply, confirmed)
        except hiredis.HiredisError as error:
            self._end(error)
            return
        if messages:
            self._owner.on_messages(messages)
        for channel in confirmed:
            self._owner.on_subscribed(channel)

    def _other(self, reply: Any, confirmed: list[bytes]) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._end(ConnectionError(str(reply).split(" ", 1)[0]))
        elif type(reply) is list:
            if reply[0] == b"subscribe":
                confirmed.append(reply[1])
        elif self.greeting:
            self._answers.put_nowait(reply)

    async def answer(self) -> None:
        """One reply of the greeting. Raises what ended the connection instead."""
        waiting = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait({waiting, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self.ended.done():
            self.ended.result()

    def send(self, *words: bytes) -> None:
        # Between the loss of a connection and its replacement there is nobody to tell: everything is sent again.
        if self._transport is not None and not self.ended.done():
            self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if not self.ended.done():
            self.ended.cancel()

    def _end(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # it may be that nobody waits any more
        if self._transport is not None:
            self._transport.abort()


_MORE = object()


def _tls(where: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=where.get("ssl_ca_certs"))
    if where.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
