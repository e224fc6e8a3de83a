"""uvicorn's WebSocket protocol with a door for whole frames: `uvicorn --ws api.ws.protocol:SocketProtocol`.

The ASGI scope gets the extension `EXTENSION`: a RawSocket that writes frames straight into the transport, says when
all of it has been taken, and hears of a shutdown before the socket is cut.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

EXTENSION = "tickstream.raw"


def _ignore(_idle: bool) -> None:
    pass


def _nothing() -> None:
    pass


class RawSocket:
    """The transport of one accepted socket."""

    def __init__(self, protocol: "SocketProtocol") -> None:
        self._protocol = protocol
        self.on_state: Callable[[bool], None] = _ignore
        self.on_lost: Callable[[], None] = _nothing
        self.on_shutdown: Callable[[], None] | None = None

    def write(self, frames: bytes) -> None:
        """Whole frames, already with their headers; dropped once the socket is closing."""
        protocol = self._protocol
        if not protocol.close_sent and not protocol.disconnected:
            protocol.transport.write(frames)

    @property
    def buffered(self) -> int:
        """Bytes that the transport has not been able to send."""
        return int(self._protocol.transport.get_write_buffer_size())

    def close(self, code: int, reason: str, seconds: float) -> None:
        """Behind what was written; the peer has so long to take it all and answer."""
        protocol = self._protocol
        if protocol.close_sent or protocol.disconnected:
            return
        protocol.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        with contextlib.suppress(InvalidState):
            protocol.conn.send_close(code, reason)
            protocol.transport.write(b"".join(protocol.conn.data_to_send()))
        protocol.close_sent = True
        if protocol.read_paused:
            protocol.read_paused = False
            protocol.transport.resume_reading()
        protocol.close_timer = protocol.loop.call_later(seconds, protocol.transport.abort)

    def abort(self) -> None:
        self._protocol.transport.abort()


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection. Its transport counts as busy while a single byte waits."""

    raw: RawSocket | None = None

    async def run_asgi(self) -> None:
        self.raw = RawSocket(self)
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[EXTENSION] = self.raw
        self.transport.set_write_buffer_limits(high=0)
        await super().run_asgi()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.raw is not None:
            self.raw.on_state(False)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.raw is not None:
            self.raw.on_state(True)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.raw is not None:
            self.raw.on_state = _ignore
            self.raw.on_lost()

    def shutdown(self) -> None:
        """The endpoint says goodbye by itself where it has asked to."""
        if self.raw is not None and self.raw.on_shutdown is not None and not self.close_sent:
            self.stop_keepalive()
            self.raw.on_shutdown()
            return
        super().shutdown()
