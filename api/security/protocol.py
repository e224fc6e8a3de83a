"""What a request may be before it is one: the size of its headers, and the time they take.

uvicorn reads headers without end and waits for them for ever; here they have a limit and a deadline, and every refusal
below ASGI is a problem+json too.

And what becomes of a request that was answered before it was read to its end, whoever answered: the answer goes out at
once, then the connection ends on our side only, and what is still coming is thrown away. Who is writing when a
connection closes may never see the answer, and a proxy makes 502 of it (RFC 9112, 9.6).
"""

import asyncio
import http
from collections.abc import Callable
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADERS = 100
LIMITS = "header_limits"
"""The name in `app.state`: bytes of the headers, seconds until they are there."""
DEFAULT_BYTES, DEFAULT_SECONDS = 16_384, 10.0
CHUNK_BYTES = 262_144  # what one read may bring
DISCARDED_BYTES = 1 << 20
"""So much of what nobody needs any more is read, within the time that headers have; then the connection closes."""


class _Refusal(Exception):
    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind


class _Ending:
    """The transport as an answer sees it: its `close` leaves the client time to finish what it is writing."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with the limits that the application's state names."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        state = getattr(self.config.loaded_app, "state", None)
        limits: tuple[int, float] = getattr(state, LIMITS, (DEFAULT_BYTES, DEFAULT_SECONDS))
        self.max_header_bytes, self.header_seconds = limits
        self._pending = 0
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._refusal: _Refusal | None = None
        self._reading = False
        self._discarded: int | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._ending: Any = _Ending(transport, self._end)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._end_timer is not None:
            self._end_timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = True
        self._header_bytes = 0
        self._arm()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url), http.HTTPStatus.REQUEST_URI_TOO_LONG, "url-too-long", "the URL")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4, 431, "headers-too-large", "the headers")
        if len(self.headers) > MAX_HEADERS:
            raise self._refuse(431, "headers-too-large", f"more than {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = self._ending

    def on_message_complete(self) -> None:
        self._reading = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.more_body and not self.pipeline:  # what was answered is still coming
            self._end()
        if self._discarded is None:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1

    def data_received(self, data: bytes) -> None:
        if self._discarded is not None:
            self._discard(len(data))
            return
        super().data_received(data)
        # One endless header line is reported only when it ends.
        if self._header_timer is not None and self._discarded is None and not self.transport.is_closing():
            self._pending += len(data)
            if self._pending > self.max_header_bytes + CHUNK_BYTES:
                self._refuse(431, "headers-too-large", f"the headers have more than {self.max_header_bytes} bytes")
                self.send_400_response("")
        else:
            self._pending = 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Uvicorn's answer to what is no HTTP, as a problem+json."""
        refusal = self._refusal or _Refusal(400, "bad-request", "not a valid HTTP request")
        phrase = http.HTTPStatus(refusal.status).phrase
        problem = {
            "type": f"urn:tickstream:problem:{refusal.kind}",
            "title": phrase,
            "status": refusal.status,
            "detail": str(refusal),
        }
        body = orjson.dumps(problem)
        head = (
            f"HTTP/1.1 {int(refusal.status)} {phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self._end()

    def _end(self) -> None:
        """End the connection after what was written; at once, unless the client may still be writing a request."""
        if self._discarded is not None or self.transport.is_closing():
            return
        if not self._reading or (self.cycle is not None and not self.cycle.response_complete):
            self.transport.close()
            return
        self._discarded = 0
        self._disarm()
        self.flow.resume_reading()
        if self.transport.can_write_eof():  # not where TLS ends here
            self.transport.write_eof()
        self._end_timer = self.loop.call_later(self.header_seconds, self.transport.close)

    def _discard(self, size: int) -> None:
        assert self._discarded is not None
        self._discarded += size
        if self._discarded > DISCARDED_BYTES:
            self.transport.close()

    def _count(self, size: int, status: int, kind: str, what: str) -> None:
        self._header_bytes += size
        if self._header_bytes > self.max_header_bytes:
            raise self._refuse(status, kind, f"{what} have more than {self.max_header_bytes} bytes")

    def _refuse(self, status: int, kind: str, detail: str) -> _Refusal:
        self._refusal = _Refusal(status, kind, detail)
        return self._refusal

    def _arm(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_seconds, self._late)

    def _disarm(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _late(self) -> None:
        self._header_timer = None
        if self._pending == 0:
            self.transport.close()  # a connection that was opened in advance and never used
        elif not self.transport.is_closing():
            self._refuse(408, "slow-headers", f"the headers did not come within {self.header_seconds:g} s")
            self.send_400_response("")
