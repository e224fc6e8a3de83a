"""Errors as problem+json (RFC 9457): every answer that is not a success says what is wrong and what to do.

`type` is stable and meant for programs, `detail` for people. A refused parameter is listed in `errors` with the limit
that it broke; a store that does not answer is 503 with `Retry-After`.
"""

import http
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.render import Json
from core.errors import ConfigError, InputError, Retryable, StoreUnavailable, TickstreamError

MAX_ECHO = 80  # characters of a refused value that are sent back
MIGRATION_RETRY_SECONDS = 5.0


class Problem(Json):
    """One problem+json answer; `extra` are its extension members."""

    media_type = "application/problem+json"

    def __init__(
        self,
        request: Request,
        status: int,
        kind: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        content = {
            "type": f"urn:tickstream:problem:{kind}",
            "title": http.HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "instance": request.scope["path"],
        }
        super().__init__(content | extra, status_code=status, headers=headers)


class UnknownSymbol(TickstreamError):
    """No store has seen the symbol."""

    def __init__(self, symbol: str) -> None:
        super().__init__(f"unknown symbol {symbol}; GET /api/v1/symbols lists the known ones")


class NoPrice(TickstreamError):
    """The symbol is known, but no bar of it has a price yet."""

    def __init__(self, symbol: str) -> None:
        super().__init__(f"no price of {symbol} yet: no bar of it is stored")


class UnknownBar(TickstreamError):
    """No bar of that start is final."""

    def __init__(self, symbol: str, interval: str, start: str) -> None:
        super().__init__(
            f"no final {interval} bar of {symbol} starts at {start}: nothing was traded there, or it is still forming"
        )


class NotPolled(TickstreamError):
    """No price of the symbol is held; the message says what to do."""


class InvalidParameter(TickstreamError):
    """A parameter that only the handler can judge."""

    def __init__(self, parameter: str, message: str, given: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.broken = {"parameter": parameter, "in": "query", "message": message, "given": _sendable(given[:MAX_ECHO])}


class NotAcceptable(TickstreamError):
    """None of the media types of `Accept` can be had."""

    def __init__(self, accept: str, known: Sequence[str]) -> None:
        super().__init__(f"Accept: none of {_sendable(accept[:MAX_ECHO])} can be had; there are {', '.join(known)}")
        self.broken = {
            "parameter": "Accept",
            "in": "header",
            "message": "no media type that can be had",
            "limits": {"expected": list(known)},
            "given": _sendable(accept[:MAX_ECHO]),
        }


class UnknownJob(TickstreamError):
    """There is no polling job of this id."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"no polling job {job_id}; GET /api/v1/prices/poll lists those there are")


class Stated(TickstreamError):
    """An error that says its own status and kind."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.kind = status, kind


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem+json."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(TickstreamError, _ours)
    app.add_exception_handler(Exception, _unexpected)


def unavailable(request: Request, error: TickstreamError, retry_after: float, **extra: Any) -> Problem:
    """503 with `Retry-After` in whole seconds, at least one; `store` names the one that does not answer."""
    seconds = max(1, math.ceil(retry_after))
    if isinstance(error, StoreUnavailable):
        extra = {"store": error.store} | extra
    headers = {"Retry-After": str(seconds)}
    return Problem(request, 503, "unavailable", str(error), headers, retry_after=seconds, **extra)


async def _ours(request: Request, error: Exception) -> Problem:
    if isinstance(error, Retryable):
        return unavailable(request, error, error.retry_after)
    if isinstance(error, UnknownSymbol):
        return Problem(request, 404, "unknown-symbol", str(error))
    if isinstance(error, NoPrice | NotPolled):
        return Problem(request, 404, "no-price", str(error))
    if isinstance(error, UnknownBar):
        return Problem(request, 404, "unknown-bar", str(error))
    if isinstance(error, UnknownJob):
        return Problem(request, 404, "unknown-job", str(error))
    if isinstance(error, Stated):
        return Problem(request, error.status, error.kind, str(error))
    if isinstance(error, InvalidParameter):
        return Problem(request, 422, "invalid-parameter", str(error), errors=[error.broken])
    if isinstance(error, NotAcceptable):
        return Problem(request, 406, "not-acceptable", str(error), {"Vary": "Accept"}, errors=[error.broken])
    if isinstance(error, ConfigError):  # the database is not migrated yet, say: somebody may be about to do it
        return unavailable(request, error, MIGRATION_RETRY_SECONDS)
    if isinstance(error, InputError):
        return Problem(request, 422, "invalid-request", str(error))
    raise error


async def _http(request: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    phrase = http.HTTPStatus(error.status_code).phrase
    detail = f"{request.method} {request.scope['path']}: {error.detail}; GET /docs lists what there is"
    return Problem(request, error.status_code, phrase.lower().replace(" ", "-"), detail, error.headers)


async def _unexpected(request: Request, _: Exception) -> Problem:
    """The server that runs the application logs the error itself."""
    return Problem(request, 500, "internal", "an error of the server; its log has the details")


async def _invalid(request: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)
    broken = [_explain(problem) for problem in error.errors()]
    detail = "; ".join(f"{each['parameter']}: {each['message']}" for each in broken)
    return Problem(request, 422, "invalid-parameter", detail, errors=broken)


def _explain(problem: Mapping[str, Any]) -> dict[str, Any]:
    """What pydantic found, with the limit (`le`, `ge`, `pattern`, `expected`) as a field of its own."""
    where, *names = problem["loc"]
    if problem["type"] == "json_invalid":  # its place is a position in the text
        names = ["body"]
    explained: dict[str, Any] = {"parameter": _name(names), "in": where, "message": _message(problem)}
    limits = {key: value for key, value in problem.get("ctx", {}).items() if isinstance(value, str | int | float)}
    if limits:
        explained["limits"] = limits
    if isinstance(problem.get("input"), str | int):
        explained["given"] = _sendable(str(problem["input"])[:MAX_ECHO])
    return explained


def _name(names: Sequence[object]) -> str:
    return _sendable(".".join(str(name) for name in names)) or "request"


def _sendable(text: str) -> str:
    """JSON can write half a character (a lone surrogate), which no answer could repeat."""
    return text.encode(errors="backslashreplace").decode()


def _message(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return "no such parameter"
    return str(problem["msg"]).removeprefix("Value error, ")
