"""Who may do what, and how often: the layer between the envelope and the routes."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, unavailable
from api.security.address import client_address, cors_origins, trusted_proxies
from api.security.envelope import REQUEST_ID
from api.security.gate import Gate
from api.security.guard import check_open, proxied
from api.security.keys import KeyRing
from api.security.limits import Limiter, LocalBucket, Rate, Verdict
from api.security.policy import SAFE, scope_of
from api.security.principal import (
    CALLER,
    PUBLIC,
    SCOPES,
    Caller,
    Forbidden,
    Principal,
    TooMany,
    Unauthorized,
    anonymous,
    credential,
)
from api.security.redact import redacted
from api.security.shape import closing
from api.security.tokens import Tokens
from conf.addresses import is_loopback
from conf.settings import Settings
from core.errors import Retryable, StoreUnavailable, TickstreamError
from stores.access import AccessStore

UNKNOWN_KEYS = Rate(rate=5, burst=20)
"""How often an address may ask with a key that only the database can judge."""
MAX_ADDRESSES = 10_000

_log = structlog.get_logger(__name__)


class Access:
    """What judges callers; one in each worker, for REST and for sockets."""

    def __init__(
        self, settings: Settings, store: AccessStore, gate: Gate, ring: KeyRing, tokens: Tokens | None, limiter: Limiter
    ) -> None:
        self.store = store
        self.limiter = limiter
        self._gate = gate
        self._ring = ring
        self._tokens = tokens
        self._proxies = trusted_proxies(settings)
        self._origins = cors_origins(settings)
        self._on_loopback = is_loopback(settings.api_host)
        self._strangers: dict[str, LocalBucket] = {}

    @property
    def closed(self) -> bool:
        """Whether keys are needed, as far as is known by now."""
        return self._gate.closed

    def address(self, scope: Scope) -> str:
        return client_address(scope, self._proxies)

    def needed(self, scope: Scope) -> str | None:
        here = self._on_loopback and not proxied(scope)
        return scope_of(scope["method"], scope["path"], on_loopback=here)

    async def caller(self, scope: Scope, address: str) -> Principal:
        """Who calls. Raises Unauthorized, Forbidden, or StoreUnavailable while nobody can tell."""
        text = credential(scope["headers"])
        if text is not None:
            return await self.judged(text, address)
        principal = await self.unkeyed(scope, address)
        if principal is None:
            raise Unauthorized("a key is needed: `Authorization: Bearer ts_…` or `X-API-Key: ts_…`")
        return principal

    async def unkeyed(self, scope: Scope, address: str) -> Principal | None:
        """Who calls without a key: somebody who may do everything while access is open, or else nobody.

        Raises Forbidden where access is open to others, and StoreUnavailable while nobody can tell.
        """
        if not await self._gate.is_open():
            return None
        check_open(scope, self._origins)
        return anonymous(address, SCOPES)

    async def still_open(self) -> bool:
        """Whether those who came in without a key may stay; so they may while nobody can tell."""
        try:
            return await self._gate.is_open()
        except StoreUnavailable:
            return True

    async def judged(self, text: str, address: str) -> Principal:
        """The owner of a key or a token."""
        if not text.startswith("ts_"):
            if self._tokens is None:
                raise Unauthorized("not a valid key")
            return self._tokens.principal(text)
        if not self._ring.knows(text):
            self._count_stranger(address)
        principal = await self._ring.principal(text)
        self._gate.note_key()
        return principal

    def _count_stranger(self, address: str) -> None:
        now = time.monotonic()
        bucket = self._strangers.get(address)
        if bucket is None:
            if len(self._strangers) >= MAX_ADDRESSES:
                self._strangers.clear()
            bucket = self._strangers[address] = LocalBucket(UNKNOWN_KEYS, now)
        if not bucket.take(now):
            raise TooMany("too many unknown keys from this address", 1.0)

    async def close(self) -> None:
        await self._ring.close()


class AccessLayer:
    """The layer: an answer of its own for those who may not go on, rate limit headers and an audit row for others."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        needed = self._access.needed(scope)
        if needed == PUBLIC:
            await self._app(scope, receive, send)
            return
        address = self._access.address(scope)
        principal = anonymous(address)
        verdict: Verdict | None = None
        app = self._app
        try:
            principal = await self._access.caller(scope, address)
            verdict = await self._counted(scope, principal)
            _check_scope(principal, needed)
        except TickstreamError as error:
            app = refusal(Request(scope), error)
        else:
            scope[CALLER] = Caller(principal, address, scope[REQUEST_ID])
            if needed is None and not principal.may("admin"):
                app = _nothing(scope)
        record = Record(self._access.store, scope, principal, address)
        try:
            await app(scope, receive, _answering(send, record, verdict))
        except BaseException as error:  # the envelope answers, after its deadline or as the last resort
            await record.write(503 if isinstance(error, asyncio.CancelledError) else 500)
            raise

    async def _counted(self, scope: Scope, principal: Principal) -> Verdict | None:
        kind = "read" if scope["method"] in SAFE else "write"
        verdict = await self._access.limiter.spend(kind, principal.bucket)
        if verdict is not None and not verdict.allowed:
            what = "requests" if kind == "read" else "changes"
            headers = [(name.decode(), value.decode()) for name, value in verdict.headers()]
            raise TooMany(f"more {what} than the limit allows", verdict.retry_after, headers)
        return verdict


class Record:
    """The row of the audit log that a change has, once, before its answer; reads have none."""

    def __init__(self, store: AccessStore, scope: Scope, principal: Principal, address: str) -> None:
        self.due = scope["method"] not in SAFE
        self._store = store
        self._scope = scope
        self._principal = principal
        self._address = address

    async def write(self, status: int) -> None:
        """The row, unless it was written; the deadline of the request does not cut it short."""
        if self.due:
            self.due = False
            await asyncio.shield(self._write(status))

    async def _write(self, status: int) -> None:
        """A row, and a line of the log. Strangers have only the line: they must not be able to fill a table."""
        who, method, path = self._principal.id, self._scope["method"], redacted(self._scope["path"])
        request_id = self._scope[REQUEST_ID]
        row = {"method": method, "path": path, "status": status, "request_id": request_id}
        _log.info("change", who=who, address=self._address, **row)
        if status in (401, 429) or not self._principal.scopes:
            return
        try:
            await self._store.audit(who, self._address, method, path, status, request_id)
        except TickstreamError as error:
            _log.error("change not in the audit table", request_id=request_id, error=str(error))


def _answering(send: Send, record: Record, verdict: Verdict | None) -> Send:
    """`send`, with the headers of the limit, after a row for what was a change."""
    if verdict is None and not record.due:
        return send
    headers = verdict.headers() if verdict is not None else []

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            await record.write(message["status"])
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return answer


def refusal(request: Request, error: TickstreamError, extra: Mapping[str, str] | None = None) -> Problem:
    """The answer to somebody who may not go on."""
    headers = closing(request.scope) | dict(extra or {})
    if isinstance(error, Unauthorized):
        given = ', error="invalid_token"' if _has_credential(request.scope) else ""
        headers["WWW-Authenticate"] = f'Bearer realm="tickstream"{given}'
        return Problem(request, 401, "unauthorized", str(error), headers)
    if isinstance(error, MissingScope):
        headers["WWW-Authenticate"] = f'Bearer realm="tickstream", error="insufficient_scope", scope="{error.scope}"'
        return Problem(request, 403, "forbidden", str(error), headers, scope=error.scope)
    if isinstance(error, Forbidden):
        return Problem(request, 403, "forbidden", str(error), headers)
    if isinstance(error, TooMany):
        seconds = max(1, int(error.retry_after + 0.999))
        headers |= dict(error.headers) | {"Retry-After": str(seconds)}
        return Problem(request, 429, "too-many-requests", str(error), headers, retry_after=seconds)
    return unavailable(request, error, error.retry_after if isinstance(error, Retryable) else 1.0)


class MissingScope(Forbidden):
    """The caller's key is good for something else."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs a key with the scope `{scope}`")
        self.scope = scope


def _check_scope(principal: Principal, needed: str | None) -> None:
    if needed is not None and not principal.may(needed):
        raise MissingScope(needed)


def _nothing(scope: Scope) -> Problem:
    detail = f"{scope['method']} {scope['path'][:80]}: Not Found; GET /docs lists what there is"
    return Problem(Request(scope), 404, "not-found", detail, closing(scope))


def _has_credential(scope: Any) -> bool:
    return any(name in (b"authorization", b"x-api-key") for name, _ in scope["headers"])
