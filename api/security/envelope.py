"""What every answer has, and what every request is held to: an id, headers for browsers, a deadline, a last resort."""

import asyncio
import re
import secrets
from typing import Any

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, unavailable
from api.security.redact import redacted
from core.errors import Retryable

REQUEST_ID = "tickstream.request_id"
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CLOSED = [*_ALWAYS, (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")]
# The pages of /docs and /redoc are one inline script each; all that they load comes from /docs/static.
_PAGE = [
    *_ALWAYS,
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
        b" img-src 'self' data:; connect-src 'self'; worker-src blob:;"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]
_PAGES = ("/docs", "/redoc")

_log = structlog.get_logger(__name__)


class Envelope:
    """The outermost layer. An error that nothing else handled is 500 here, and in the log with the request's id."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = scope[REQUEST_ID] = _request_id(scope)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        more = [*(_PAGE if scope["path"].startswith(_PAGES) else _CLOSED), (b"x-request-id", request_id.encode())]
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        try:
            async with asyncio.timeout(self._seconds) as deadline:
                await self._app(scope, receive, answer)
        except Exception as error:
            if started or (isinstance(error, OSError) and not isinstance(error, TimeoutError)):
                raise
            if isinstance(error, TimeoutError) and deadline.expired():
                await self._late(scope)(scope, receive, answer)
                return
            _log.error(
                "request failed", request_id=request_id, path=redacted(scope["path"]), error=type(error).__name__
            )
            problem = Problem(Request(scope), 500, "internal", "an error of the server; its log has the details")
            await problem(scope, receive, answer)
            raise

    def _late(self, scope: Scope) -> Problem:
        error = Retryable(f"no answer within {self._seconds:g} s")
        return unavailable(Request(scope), error, error.retry_after)


def _request_id(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _VALID_ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)
