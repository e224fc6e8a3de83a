"""Who may open a WebSocket, how many of them, and how often they may speak.

An endpoint begins with `principal = await admit(websocket)`, which accepts the socket, and asks `allow(principal)`
for each message of the client. A key comes in a header, as `Sec-WebSocket-Protocol: bearer, <key>`, or in a first
message `{"type": "auth", "key": …}`. The slots a socket takes are given back when its endpoint returns, and a socket
whose key was revoked or has expired is closed within seconds.
"""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from api.errors import Problem
from api.security.access import Access, MissingScope, refusal
from api.security.envelope import REQUEST_ID
from api.security.policy import rule_of
from api.security.principal import CALLER, Caller, Principal, TooMany, Unauthorized, anonymous, credential, offered
from api.security.redact import secret_parameter
from api.security.shape import key_in_url
from api.ws.protocol import EXTENSION, RawSocket
from core.errors import StoreUnavailable, TickstreamError

AUTH_SECONDS = 5.0
AUTH_BYTES = 16_384
MAX_ID_LENGTH = 64
SOCKETS = 50
"""Of a key, of an address, unless others are set: where keys are needed; on open loopback there is no such limit."""
CHECK_SECONDS = 2.0
END_SECONDS = 1.0
"""For how long a client may leave its last message unread; then the socket is cut."""
REFUSED = 1008
TRY_AGAIN = 1013
ADMISSION = "tickstream.admission"

_log = structlog.get_logger(__name__)


class Refused(Exception):
    """The socket was not admitted, and has been told so and closed: the endpoint returns."""


class Admission:
    """A socket on its way in; `principal` is None until somebody with the scope `stream` is known."""

    def __init__(self, sockets: "Sockets", address: str) -> None:
        self.sockets = sockets
        self.address = address
        self.principal: Principal | None = None
        self.key: str | None = None
        self.subprotocol: str | None = None
        self.slots: list[tuple[str, str]] = []


async def admit(websocket: WebSocket) -> Principal:
    """Accept the socket and say whose it is. Raises Refused when nobody with the scope `stream` is there."""
    admission: Admission = websocket.scope[ADMISSION]
    if websocket.client_state is WebSocketState.CONNECTING:
        await websocket.accept(admission.subprotocol)
    if admission.principal is None:
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                text, asked = await _first_message(websocket)
            await admission.sockets.settle(admission, text)
            await websocket.send_text(orjson.dumps({"type": "ack", "id": asked, "action": "auth"}).decode())
        except (TickstreamError, TimeoutError) as error:
            await _turn_away(websocket, error)
            raise Refused from None
        except WebSocketDisconnect:
            raise Refused from None
    assert admission.principal is not None
    websocket.scope[CALLER] = Caller(admission.principal, admission.address, websocket.scope[REQUEST_ID])
    return replace(admission.principal, limiter=admission.sockets.access.limiter)


class Sockets:
    """The sockets of one worker: slots by key and by address, and the watch over their keys."""

    def __init__(self, access: Access, per_key: int | None, per_address: int | None) -> None:
        self._access = access
        self._limits = {"key": per_key, "address": per_address}
        self._taken: Counter[tuple[str, str]] = Counter()
        self._open: dict[Admission, tuple[Send, RawSocket | None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def access(self) -> Access:
        return self._access

    async def open(self) -> None:
        self._watch = asyncio.create_task(self._watching())

    async def close(self) -> None:
        for task in [self._watch, *self._ending]:
            if task is not None:
                task.cancel()

    async def enter(self, scope: Scope) -> Admission:
        """Judge what the opening request says. Raises as `Access.caller` does, and TooMany without a slot."""
        admission = Admission(self, self._access.address(scope))
        try:
            self._take(admission, "address", anonymous(admission.address).bucket)
            await self._judge(admission, scope)
        except TickstreamError:
            self.leave(admission)
            raise
        return admission

    async def settle(self, admission: Admission, text: str) -> None:
        """The owner of a key takes the socket over."""
        principal = await self._access.judged(text, admission.address)
        self._own(admission, principal)
        admission.key = text

    def watch(self, admission: Admission, send: Send, raw: RawSocket | None = None) -> None:
        """Close the socket once its key is no longer good, where the server offers it by `raw` if by nothing else."""
        self._open[admission] = send, raw

    def leave(self, admission: Admission) -> None:
        """Give back what the socket took."""
        self._open.pop(admission, None)
        for slot in admission.slots:
            self._taken[slot] -= 1
            if self._taken[slot] <= 0:
                del self._taken[slot]
        admission.slots.clear()

    async def _judge(self, admission: Admission, scope: Scope) -> None:
        text = credential(scope["headers"])
        subprotocols = scope.get("subprotocols") or []
        if text is None and (text := offered(subprotocols)) is not None:
            admission.subprotocol = "bearer"
        if text is not None:
            await self.settle(admission, text)
        elif (principal := await self._access.unkeyed(scope, admission.address)) is not None:
            self._own(admission, principal)

    def _own(self, admission: Admission, principal: Principal) -> None:
        if not principal.may("stream"):
            raise MissingScope("stream")
        if principal.id != "anonymous":
            self._take(admission, "key", principal.bucket)
        admission.principal = principal

    def _take(self, admission: Admission, kind: str, name: str) -> None:
        limit, slot = self._limits[kind], (kind, name)
        if limit is None and self._access.closed:
            limit = SOCKETS
        if limit is not None and self._taken[slot] >= limit:
            raise TooMany(f"no more than {limit} sockets of one {kind}", 5.0)
        self._taken[slot] += 1
        admission.slots.append(slot)

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for admission, (send, raw) in list(self._open.items()):
                if (reason := await self._against(admission)) is not None:
                    self._open.pop(admission, None)
                    task = asyncio.create_task(_end(send, raw, reason))
                    self._ending.add(task)
                    task.add_done_callback(self._ending.discard)

    async def _against(self, admission: Admission) -> str | None:
        """Why the socket may not go on, None for nothing; while nobody can tell, it goes on."""
        if admission.principal is None:
            return None  # its endpoint waits for a key
        try:
            if admission.key is not None:
                await self._access.judged(admission.key, admission.address)
            elif not await self._access.still_open():
                return "a key is needed from now on"
        except Unauthorized as error:
            return str(error)
        except TickstreamError:
            pass
        return None


class SocketLayer:
    """The layer that every WebSocket passes before its endpoint."""

    def __init__(self, app: ASGIApp, sockets: Sockets) -> None:
        self._app = app
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        problem, admission = await self._enter(scope)
        if admission is None:
            await _deny(problem, scope, receive, send)
            return
        scope[ADMISSION] = admission
        self._sockets.watch(admission, send, (scope.get("extensions") or {}).get(EXTENSION))
        try:
            await self._app(scope, receive, send)
        except Refused:
            pass
        finally:
            self._sockets.leave(admission)

    async def _enter(self, scope: Scope) -> tuple[Problem | None, Admission | None]:
        request: Any = HTTPConnection(scope)
        name = secret_parameter(scope["query_string"]) if scope["query_string"] else None
        if name is not None:
            return Problem(request, 400, "key-in-url", key_in_url(name)), None
        if rule_of(scope["path"]) != "stream":
            return Problem(request, 404, "not-found", "no socket here"), None
        try:
            return None, await self._sockets.enter(scope)
        except TickstreamError as error:
            return refusal(request, error), None


async def allow(principal: Principal) -> bool:
    """Whether the client that `admit` returned may send one more message; a token of its bucket is spent."""
    if principal.limiter is None:
        return True
    verdict = await principal.limiter.spend("socket", principal.bucket)
    return verdict is None or verdict.allowed


async def _first_message(websocket: WebSocket) -> tuple[str, str | int | None]:
    """The key of the message `auth`, and its id. Raises Unauthorized when the first message is another."""
    event = await websocket.receive()
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    text = event.get("text") or ""
    try:
        message = orjson.loads(text) if len(text) <= AUTH_BYTES else None
    except orjson.JSONDecodeError:
        message = None
    if isinstance(message, dict) and message.get("type") == "auth" and isinstance(message.get("key"), str):
        asked = message.get("id")
        named = isinstance(asked, str | int) and len(str(asked)) <= MAX_ID_LENGTH
        return str(message["key"]), asked if named else None
    raise Unauthorized('the first message has to be {"type": "auth", "key": "ts_…"}')


async def _end(send: Send, raw: RawSocket | None, reason: str) -> None:
    """Say why and close. The server's `send` waits for as long as the client does not read."""
    try:
        async with asyncio.timeout(None if raw is None else END_SECONDS):
            await send({"type": "websocket.close", "code": REFUSED, "reason": reason[:120]})
    except TimeoutError:
        if raw is not None:
            raw.abort()
    except Exception as error:  # it was closing anyway
        _log.debug("socket not closed", error=str(error))


async def _turn_away(websocket: WebSocket, error: Exception) -> None:
    """Tell the client why, in the shape of the socket's other errors, and close."""
    code, message = "unauthorized", str(error)
    if isinstance(error, TimeoutError):
        message = f"no key within {AUTH_SECONDS:g} s"
    elif isinstance(error, MissingScope):
        code = "forbidden"
    elif isinstance(error, StoreUnavailable):
        code = "unavailable"
    elif isinstance(error, TooMany):
        code = "too_many"
    try:
        await websocket.send_text(orjson.dumps({"type": "error", "code": code, "message": message}).decode())
        await websocket.close(TRY_AGAIN if code in ("unavailable", "too_many") else REFUSED, message[:120])
    except (RuntimeError, WebSocketDisconnect):
        pass  # it has gone


async def _deny(problem: Problem | None, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse before the socket exists: an HTTP answer where the server can send one."""
    if problem is not None and "websocket.http.response" in scope.get("extensions", {}):
        await problem(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": REFUSED})
