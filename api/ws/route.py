"""`/ws`, `/ws/stocks/{symbol}`, and what the sockets of this worker have come to."""

import time

from fastapi import APIRouter, FastAPI, WebSocket
from fastapi import Request as HTTPRequest

from api.models import PROBLEMS
from api.params import NoParams
from api.render import Json
from api.ws.client import POLICY, Client, Limits
from api.ws.frames import encode
from api.ws.gate import Gate, Refused
from api.ws.history import History
from api.ws.hub import Hub
from api.ws.models import SocketMetrics
from api.ws.requests import Refusal, Request, parse
from api.ws.subscribing import Subscribing
from api.ws.symbols import KnownSymbols
from api.ws.writers import writer_of
from conf.settings import Settings
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

MAX_REFUSALS = 20
"""So many refused messages one after the other are abuse."""
router = APIRouter()


class Sockets:
    """Everything that the sockets of one worker share; opened and closed with the application."""

    name = "sockets"

    def __init__(self, settings: Settings, live: RedisReader, stored: TimescaleReader) -> None:
        limits = Limits(
            settings.api_socket_queue_frames,
            settings.api_socket_queue_bytes,
            settings.api_socket_stall_seconds,
            settings.api_socket_drain_seconds,
        )
        self.settings = settings
        self.hub = Hub(settings.redis_url.get_secret_value(), History(live, stored), limits)
        self.subscribing = Subscribing(
            self.hub, KnownSymbols(live, stored), settings.api_socket_subscriptions, settings.api_socket_since_bars
        )

    async def open(self) -> None:
        await self.hub.open()

    async def close(self) -> None:
        await self.hub.close()

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        app.state.sockets = self
        app.include_router(router)


class Session:
    """One socket, from its admission to its end."""

    def __init__(self, sockets: Sockets, websocket: WebSocket, gate: Gate) -> None:
        self._sockets = sockets
        self._websocket = websocket
        self._gate = gate
        self._refusals = 0

    async def run(self, first: Request | None) -> None:
        client = self._sockets.hub.join(writer_of(self._websocket))
        try:
            if first is not None:
                await self._obey(client, first)
            while (text := await self._next()) is not None:
                await self._hear(client, text)
                if self._refusals >= MAX_REFUSALS:
                    message = {"type": "error", "code": "too_many_errors", "message": "this is no conversation"}
                    client.finish(message, POLICY, "too many errors")
                    self._refusals = 0
        finally:
            self._sockets.hub.leave(client)

    async def _next(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | bytes | None = message.get("text")
        return message.get("bytes") or b"" if text is None else text

    async def _hear(self, client: Client, text: str | bytes) -> None:
        settings = self._sockets.settings
        try:
            if not await self._gate.allow():
                raise Refusal("rate_limited", "too many messages", retry_after=1.0)
            request = parse(text, settings.api_socket_message_bytes, settings.api_socket_subscriptions)
        except Refusal as refusal:
            self._refuse(client, refusal, refusal.id)
            return
        if await self._obey(client, request):
            self._refusals = 0

    async def _obey(self, client: Client, request: Request) -> bool:
        """Whether it could be done."""
        try:
            if request.type == "subscribe":
                await self._sockets.subscribing.subscribe(client, request)
            elif request.type == "unsubscribe":
                self._sockets.subscribing.unsubscribe(client, request)
            elif request.type == "ping":
                client.send(encode({"type": "pong", "id": request.id, "time_us": time.time_ns() // 1000}))
            else:  # who speaks here has been admitted
                client.send(encode({"type": "ack", "id": request.id, "action": "auth"}))
        except Refusal as refusal:
            self._refuse(client, refusal, request.id)
            return False
        return True

    def _refuse(self, client: Client, refusal: Refusal, asked: str | int | None) -> None:
        self._refusals += 1
        self._sockets.hub.counters.refused += 1
        client.send(encode({"type": "error", "id": asked, **refusal.said}))


@router.websocket("/ws")
async def socket(websocket: WebSocket) -> None:
    """Subscribe to anything."""
    await _serve(websocket, None)


@router.websocket("/ws/stocks/{symbol:path}")
async def stock_socket(websocket: WebSocket, symbol: str) -> None:
    """As `/ws`, with the 1-minute bars of the symbol already subscribed to."""
    await _serve(websocket, Request("subscribe", None, "bars", (symbol,), "1m"))


async def _serve(websocket: WebSocket, first: Request | None) -> None:
    gate = Gate(websocket)
    try:
        await gate.admit()
    except Refused:
        return
    await Session(websocket.app.state.sockets, websocket, gate).run(first)


@router.get("/api/v1/metrics/sockets", tags=["metrics"], response_model=SocketMetrics, responses={422: PROBLEMS[422]})
async def socket_metrics(_: NoParams, request: HTTPRequest) -> Json:
    """The sockets of the worker that answers: what there is now, and counts since it started."""
    return Json(request.app.state.sockets.hub.stats())
