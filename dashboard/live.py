"""`/live`: the browser's socket. What the API's `/ws` says goes through as it is; this server adds messages of its own.

    {"type":"api","state":"up","session":3}                  subscribe now, again where there was another session
    {"type":"api","state":"down","retry_in":0.5,"reason":…}  also while the API's REST side cannot answer
    {"type":"page","what":"pipeline","params":{},"data":{…}} for those who sent {"type":"follow","what":"pipeline"}

A browser has a connection to the API of its own. One that does not read is not read for either: the API sees that its
socket is full and conflates, so nothing piles up here.
"""

import asyncio
import contextlib
import random
import time
from typing import Any

import orjson
import structlog
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from dashboard.client import ApiClient, ApiDown
from dashboard.reader import Reader, Topic

GOING_AWAY, POLICY = 1001, 1008
FORWARDED = ("subscribe", "unsubscribe", "ping")
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 2.0
OPEN_SECONDS = 3.0
SILENCE_SECONDS = 4.0  # the API beats each second, and the browser gives up after 5
BEAT_SECONDS = 1.0
STEADY_SECONDS = 10.0
MESSAGES_READ_AHEAD = 64
MAX_REFUSALS = 20

_log = structlog.get_logger(__name__)


class Live:
    """All sockets of this server."""

    def __init__(self, client: ApiClient, reader: Reader) -> None:
        self.url = f"ws{client.url.removeprefix('http')}/ws"
        self.headers = client.headers
        self.reader = reader
        self.rest = RestWatch(client, self._tell)
        self._browsers: set[Browser] = set()
        client.on_down = self.rest.report

    async def serve(self, websocket: WebSocket) -> None:
        """One browser, from its handshake to its end."""
        await websocket.accept()
        browser = Browser(self, websocket)
        self._browsers.add(browser)
        try:
            await browser.run()
        finally:
            self._browsers.discard(browser)

    async def close(self) -> None:
        """Say goodbye to everybody, with 1001."""
        await self.rest.close()
        await asyncio.gather(*(browser.close() for browser in list(self._browsers)))

    def _tell(self) -> None:
        for browser in self._browsers:
            browser.tell_state()


class RestWatch:
    """Whether the API's REST side answers. After a failure of a page it asks until it does, and then says so."""

    def __init__(self, client: ApiClient, changed: Any) -> None:
        self.down: ApiDown | None = None
        self._client = client
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._recovered = 0.0
        self._wait = FIRST_WAIT_SECONDS

    def report(self, error: ApiDown) -> None:
        """A page could not be filled."""
        if self._task is not None:
            return
        # What answers when asked how it is, and fails again at once, is asked less and less.
        steady = time.monotonic() - self._recovered > STEADY_SECONDS
        self._wait = FIRST_WAIT_SECONDS if steady else min(2 * self._wait, 2 * LONGEST_WAIT_SECONDS)
        self.down = error
        self._task = asyncio.create_task(self._until_it_answers())
        self._changed()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _until_it_answers(self) -> None:
        wait = self._wait
        while True:
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
            if await self._client.ready():
                break
        self.down, self._task, self._recovered = None, None, time.monotonic()
        self._changed()


class Browser:
    """One browser's socket and its connection to the API."""

    def __init__(self, live: Live, websocket: WebSocket) -> None:
        self._live = live
        self._websocket = websocket
        self._api: ClientConnection | None = None
        self._heard = 0.0
        self._session = 0
        self._down: dict[str, Any] | None = None  # why there is no connection, None before the first attempt
        self._own: list[str] = []
        self._pages: dict[Topic, str] = {}  # the newest message of each, until it is sent
        self._topics: set[Topic] = set()
        self._wake = asyncio.Event()
        self._refusals = 0

    async def run(self) -> None:
        tasks = [asyncio.create_task(part()) for part in (self._connect, self._speak, self._hear)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                _raise_unexpected(task)
        finally:
            for topic in self._topics:
                self._live.reader.unfollow(topic, self._page)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """This server stops."""
        with contextlib.suppress(Exception):  # it may have gone in the meantime
            async with asyncio.timeout(1.0):
                await self._websocket.close(GOING_AWAY, "the dashboard stops")

    def tell_state(self) -> None:
        """Say whether the API can be used."""
        rest = self._live.rest.down
        if self._down is not None:
            self._say({"type": "api", "state": "down"} | self._down)
        elif self._api is not None and rest is not None:
            down = {"state": "down", "retry_in": rest.retry_after, "reason": str(rest)}
            self._say({"type": "api", "session": self._session} | down)
        elif self._api is not None:
            self._say({"type": "api", "state": "up", "session": self._session})

    # From the API to the browser.

    async def _connect(self) -> None:
        wait, told = 0.0, False
        while True:
            if wait:
                await asyncio.sleep(wait * random.uniform(0.7, 1.3))
            began = time.monotonic()
            try:
                async with self._dial() as self._api:
                    self._session += 1
                    self._down, told, self._heard = None, False, time.monotonic()
                    self.tell_state()
                    await self._pump(self._api)
            except ConnectionClosed:
                pass
            except (OSError, TimeoutError, InvalidHandshake) as error:
                self._down = {"reason": _reason(error)}
            finally:
                self._api = None
            if self._down is None:  # one that has served for a while is tried again at once, and nobody has to know
                wait = 0.0 if time.monotonic() - began > STEADY_SECONDS else FIRST_WAIT_SECONDS
                continue
            wait = min(max(2 * wait, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
            self._down["retry_in"] = wait
            self.tell_state()
            if not told:
                _log.warning("the API's socket does not answer", reason=self._down["reason"])
            told = True

    def _dial(self) -> connect:
        return connect(
            self._live.url,
            additional_headers=self._live.headers(),
            open_timeout=OPEN_SECONDS,
            close_timeout=1,
            ping_interval=None,  # its heartbeats tell
            compression=None,
            max_size=None,  # a snapshot of many bars
            max_queue=MESSAGES_READ_AHEAD,
            proxy=None,
        )

    async def _pump(self, api: ClientConnection) -> None:
        send = self._websocket.send
        async for text in api:
            self._heard = time.monotonic()
            await send({"type": "websocket.send", "text": text})

    # From this server to the browser.

    async def _speak(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._wake.wait()
            beat = not self._wake.is_set()
            self._wake.clear()
            if beat:
                self._beat()
            own, self._own = self._own, []
            pages, self._pages = list(self._pages.values()), {}
            for text in (*own, *pages):
                await self._websocket.send({"type": "websocket.send", "text": text})

    def _beat(self) -> None:
        """Each second: stand in for an API that is away, give up one that is mute."""
        if self._api is None:
            self._own.append('{"type":"heartbeat"}')
        elif time.monotonic() - self._heard > SILENCE_SECONDS:
            self._api.transport.abort()

    def _say(self, message: dict[str, Any]) -> None:
        self._own.append(orjson.dumps(message).decode())
        self._wake.set()

    def _page(self, topic: Topic, message: str) -> None:
        self._pages[topic] = message
        self._wake.set()

    # From the browser.

    async def _hear(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                await self._obey(message.get("text") or "")
            except ValueError as error:
                self._say({"type": "error", "code": "refused", "message": str(error)})
                self._refusals += 1
                if self._refusals >= MAX_REFUSALS:
                    await self._websocket.close(POLICY, "too many errors")
                    return

    async def _obey(self, text: str) -> None:
        """Raises ValueError for what nobody here understands."""
        message = orjson.loads(text)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind in FORWARDED:
            await self._forward(text)
        elif kind == "follow":
            topic = self._live.reader.topic(message)
            if topic not in self._topics:
                self._live.reader.follow(topic, self._page)
                self._topics.add(topic)
        elif kind == "unfollow":
            topic = self._live.reader.topic(message)
            self._topics.discard(topic)
            self._live.reader.unfollow(topic, self._page)
        else:
            raise ValueError(f"unknown type of message; known: {', '.join((*FORWARDED, 'follow', 'unfollow'))}")

    async def _forward(self, text: str) -> None:
        """To the API; while it is away the browser need not repeat it: it subscribes anew when told `up`."""
        if self._api is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._api.send(text)


def _reason(error: BaseException) -> str:
    """Why, for people."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in (401, 403):
            return "The API refuses the dashboard: TICKSTREAM_DASHBOARD_API_KEY has to be a key with read and stream."
        return f"The API refuses a connection ({status})."
    return "The API does not answer."


def _raise_unexpected(task: "asyncio.Task[None]") -> None:
    """Errors of a socket that has gone are no news."""
    error = task.exception()
    gone = isinstance(error, OSError | RuntimeError) or type(error).__name__ == "ClientDisconnected"
    if error is not None and not gone:
        raise error
