"""Two ways out of a worker: straight into uvicorn's transport, or, under any other server, ASGI's `send`.

Through `send` a frame costs tens of microseconds and a task switch; straight, all frames of a client are one write.
"""

import asyncio
import contextlib
from collections.abc import Callable

from starlette.websockets import WebSocket

from api.ws.frames import payload_of
from api.ws.protocol import EXTENSION, RawSocket

CLOSE_SECONDS = 3.0


def writer_of(websocket: WebSocket) -> "RawWriter | SendWriter":
    """The best way out that the server offers."""
    raw = (websocket.scope.get("extensions") or {}).get(EXTENSION)
    return SendWriter(websocket) if raw is None else RawWriter(raw)


def _nothing() -> None:
    pass


class RawWriter:
    """Straight into the transport; `idle` while it has no byte left to send."""

    def __init__(self, raw: RawSocket) -> None:
        self.idle = True
        self.on_idle: Callable[[], None] = _nothing
        self.on_lost: Callable[[], None] = _nothing
        self._raw = raw
        raw.on_state = self._state
        raw.on_lost = lambda: self.on_lost()

    def write(self, frames: list[bytes]) -> None:
        self._raw.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def close(self, code: int, reason: str) -> None:
        self._raw.close(code, reason, CLOSE_SECONDS)

    def abort(self) -> None:
        self._raw.abort()

    def on_shutdown(self, call: Callable[[], None]) -> None:
        """Called when the server wants to stop; without it the socket would be cut."""
        self._raw.on_shutdown = call

    def _state(self, idle: bool) -> None:
        self.idle = idle
        if idle:
            self.on_idle()


class SendWriter:
    """One task for each socket that sends frame after frame; `idle` while it has nothing to send."""

    def __init__(self, websocket: WebSocket) -> None:
        self.idle = True
        self.on_idle: Callable[[], None] = _nothing
        self.on_lost: Callable[[], None] = _nothing
        self._websocket = websocket
        self._frames: list[bytes] = []
        self._more = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name="socket-writer")

    def write(self, frames: list[bytes]) -> None:
        self._frames += frames
        self.idle = False
        self._more.set()

    def close(self, code: int, reason: str) -> None:
        self._closing = (code, reason)
        self._more.set()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._task.cancel)

    def abort(self) -> None:
        self._task.cancel()

    def on_shutdown(self, call: Callable[[], None]) -> None:
        """No server but ours says in time that it stops."""

    async def _run(self) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # the socket has gone: its receiver knows
            while True:
                await self._more.wait()
                self._more.clear()
                frames, self._frames = self._frames, []
                for each in frames:
                    await self._websocket.send_text(payload_of(each).decode())
                if self._closing is not None:
                    await self._websocket.close(*self._closing)
                    return
                if not self._frames:
                    self.idle = True
                    self.on_idle()
        self.on_lost()
