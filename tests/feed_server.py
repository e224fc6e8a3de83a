"""A provider on this machine that misbehaves by script: Coinbase's socket and its REST interface on one port.

    async with FeedServer([script, then]) as server:
        Stream(Coinbase, server.symbols, settings, socket_url=server.socket_url, rest_url=server.rest_url, …)

The n-th connection is served by the n-th script, later ones by `to_the_end`. A script is given a `Session`. The market
moves on whether or not anyone listens: `server.happened` trades are what REST knows.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from core.records import Tick
from producers.feeds.coinbase import Coinbase
from tests.feeds import MESSAGES, RECEIVED_US, encoded, records, settings_with_keys

RECORDED = MESSAGES / "coinbase_pro" / "ws_match.jsonl"
SYMBOLS = ("SKL-USD", "DASH-BTC", "SKL-BTC")


def market() -> list[dict[str, Any]]:
    """Some 75 `match` messages of SYMBOLS in the order of their arrival; recorded ones where they are at hand."""
    if not RECORDED.exists():
        return made_up()
    found = (json.loads(record["message"]) for record in records(RECORDED))
    return [message for message in found if message["product_id"] in SYMBOLS]


def made_up(count: int = 75) -> list[dict[str, Any]]:
    """Messages of the same layout: two of three trades are of the first symbol."""
    numbers = {symbol: 1000 * place for place, symbol in enumerate(SYMBOLS, 1)}
    found: list[dict[str, Any]] = []
    for place in range(count):
        symbol = SYMBOLS[0] if place % 3 else SYMBOLS[1 + place // 3 % 2]
        numbers[symbol] += 1
        found.append(
            {
                "type": "match",
                "trade_id": numbers[symbol],
                "maker_order_id": "2a0da34e-61f7-4c36-88e5-c9dd15927b16",
                "taker_order_id": "3c82abaa-c01e-4608-be59-6a1e69742891",
                "side": "sell",
                "size": f"{place + 1}.5",
                "price": f"0.{791 + place}",
                "product_id": symbol,
                "sequence": 201390075 + place,
                "time": f"2021-04-17T16:43:{place // 2:02}.{place % 2 * 5}00000Z",
            }
        )
    return found


def ticks_of(messages: Sequence[dict[str, Any]]) -> list[Tick]:
    """What the messages say, received at RECEIVED_US."""
    feed = Coinbase(settings_with_keys())
    return [tick for message in messages for tick in feed.parse(encoded(message), RECEIVED_US).ticks]


class Session:
    """One connection as its script sees it. Places are those of `server.market`."""

    def __init__(self, server: "FeedServer", socket: ServerConnection) -> None:
        self.server = server
        self.socket = socket

    async def send(self, start: int, end: int) -> None:
        """The trades of `[start, end)`; they have happened now."""
        for place in range(start, end):
            self.happen(place + 1)
            await self.socket.send(json.dumps(self.server.market[place]))

    def happen(self, until: int) -> None:
        """Trades before this place have happened; nothing is sent."""
        self.server.happened = max(self.server.happened, until)

    async def text(self, message: str | bytes) -> None:
        await self.socket.send(message)

    async def heartbeats(self) -> None:
        """Frames without trades, for ever."""
        while True:
            await self.text('{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"SKL-USD"}')
            await asyncio.sleep(0.02)

    async def mute(self) -> None:
        """Stay open and answer pings, and send nothing more."""
        self.server.mute += 1
        await self.socket.wait_closed()

    async def close(self) -> None:
        await self.socket.close()

    async def abort(self) -> None:
        """No goodbye: the connection is reset."""
        self.socket.transport.abort()

    async def half_frame(self) -> None:
        """The head of a text frame and half of what it promises, and then nobody there."""
        text = json.dumps(self.server.market[0]).encode()
        self.socket.transport.write(bytes([0x81, 126]) + len(text).to_bytes(2, "big") + text[: len(text) // 2])
        await asyncio.sleep(0.02)
        self.socket.transport.close()

    async def to_the_end(self) -> None:
        """What has not happened yet, and then heartbeats."""
        await self.send(self.server.happened, len(self.server.market))
        await self.heartbeats()


Script = Callable[[Session], Awaitable[None]]


class FeedServer:
    """Serves `market` on a port of its own. Use as an async context manager.

    `refusals` are answers to the first handshakes: status and headers. `rest_refusals` are statuses of the first
    REST requests; `rest_status` is that of all of them where it is set.
    """

    def __init__(
        self,
        scripts: Sequence[Script] = (),
        *,
        refusals: Sequence[tuple[int, dict[str, str]]] = (),
        rest_refusals: Sequence[int] = (),
        rest_status: int | None = None,
    ) -> None:
        self.market = market()
        self.symbols = SYMBOLS
        self.happened = 0
        self.mute = 0
        self.hellos: list[dict[str, Any]] = []
        self.handshakes: list[float] = []
        self.rest_requests: list[str] = []
        self._scripts = list(scripts)
        self.refusals = list(refusals)
        self._rest_refusals = list(rest_refusals)
        self._rest_status = rest_status
        self._server: Server | None = None

    @property
    def ticks(self) -> list[Tick]:
        return ticks_of(self.market)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._on_request, ping_interval=None, close_timeout=0.2
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        self.hellos.append(json.loads(await socket.recv()))
        await socket.send('{"type":"subscriptions","channels":[]}')
        script = self._scripts.pop(0) if self._scripts else Session.to_the_end
        await script(Session(self, socket))

    def _on_request(self, _socket: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" not in request.headers:
            return self._rest(request.path)
        self.handshakes.append(asyncio.get_running_loop().time())
        if not self.refusals:
            return None
        status, headers = self.refusals.pop(0)
        return answer(status, b"[]", headers)

    def _rest(self, path: str) -> Response:
        self.rest_requests.append(path)
        status = self._rest_refusals.pop(0) if self._rest_refusals else self._rest_status
        if status is not None:
            return answer(status, b'{"message":"no"}', {"Retry-After": "0"})
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        symbol = parts.path.split("/")[2]
        return answer(200, encoded(self.page(symbol, int(query["limit"]), int(query.get("after", "0")))))

    def page(self, symbol: str, limit: int, after: int) -> list[dict[str, Any]]:
        """Newest first, below the id `after` where it is given."""
        trades = [message for message in self.market[: self.happened] if message["product_id"] == symbol]
        trades = [message for message in trades if not after or message["trade_id"] < after]
        newest = sorted(trades, key=lambda message: -message["trade_id"])[:limit]
        return [{name: message[name] for name in ("time", "trade_id", "price", "size", "side")} for message in newest]


def answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    given = Headers({"Content-Length": str(len(body)), "Connection": "close", **(headers or {})})
    return Response(status, HTTPStatus(status).phrase, given, body)
