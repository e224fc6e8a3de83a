"""The shape of a request: how long its URL is, how large its body, and how long the body takes to come."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem
from api.security.redact import secret_parameter
from conf.settings import Settings

CLOSE = {"Connection": "close"}
"""What is left of a refused body is not worth reading; `api.security.protocol` lets the client finish all the same."""


class Shape:
    """Refuses, before anybody is asked who they are, URLs that no client of ours sends."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._max_url = settings.api_max_url_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        await (problem or self._app)(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        path, query = scope["path"], scope["query_string"]
        length = len(scope.get("raw_path") or path) + len(query)
        if length > self._max_url:
            detail = f"the URL has {length} bytes; at most {self._max_url}"
            return Problem(_short(scope), 414, "url-too-long", detail, CLOSE, limit=self._max_url)
        if not path.isprintable():
            detail = "the path holds characters that no name has"
            return Problem(_short(scope), 400, "bad-path", detail, closing(scope))
        if query and (name := secret_parameter(query)) is not None:
            return Problem(_short(scope), 400, "key-in-url", key_in_url(name), closing(scope))
        return None


def key_in_url(name: str) -> str:
    return (
        f"a key in the URL ({name}) ends up in logs and histories: send it as `Authorization: Bearer` or `X-API-Key`, "
        "and revoke this one"
    )


class Body:
    """Hands on a body only when it is complete: within its limit, and within its time."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._max = settings.api_max_body_bytes
        self._seconds = settings.api_read_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _announced(scope) if scope["type"] == "http" else 0
        if length == 0:
            await self._app(scope, receive, send)
            return
        if length is not None and length > self._max:
            await self._too_large(scope)(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            detail = f"the body did not come within {self._seconds:g} s"
            await Problem(Request(scope), 408, "slow-body", detail, CLOSE)(scope, receive, send)
            return
        if body is None:
            return  # the client has gone
        if len(body) > self._max:
            await self._too_large(scope)(scope, receive, send)
            return
        await self._app(scope, _once(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or as much of it as shows that it is too large; None when the client went away."""
        body = bytearray()
        while len(body) <= self._max:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body)

    def _too_large(self, scope: Scope) -> Problem:
        detail = f"the body is larger than {self._max} bytes"
        return Problem(Request(scope), 413, "body-too-large", detail, CLOSE, limit=self._max)


def closing(scope: Scope) -> dict[str, str]:
    """The headers of an answer that does not wait for the body, where there is one."""
    return {} if _announced(scope) == 0 else CLOSE


def _announced(scope: Scope) -> int | None:
    """The length that the headers give the body: 0 for no body, None for one of unknown length."""
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value) if value.isdigit() else None
    return length


def _once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _short(scope: Scope) -> Request:
    """The request with as much of its path as an answer may repeat."""
    return Request({**scope, "path": scope["path"][:80]})
