"""The client of the API: what it sends, what it makes of answers, what it makes of failures."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import orjson
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dashboard.client import ApiClient, ApiDown, ApiRefused
from local.server import free_port

KEY = "ts_0a1b2c_S3cretS3cret"
T = TypeVar("T")
PROBLEM = {"type": "urn:x", "title": "Unprocessable Content", "status": 422, "detail": "limit is at most 10000"}


def ask(answer: Callable[[Request], Response], call: Callable[[ApiClient], Awaitable[T]], key: str = "") -> T:
    """What a call gives, against an API that answers every path alike."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    async def run() -> T:
        app = Starlette(routes=[Route("/{path:path}", endpoint)])
        client = ApiClient("http://api.test/", SecretStr(key), transport=httpx.ASGITransport(app))
        try:
            return await call(client)
        finally:
            await client.close()

    return asyncio.run(run())


def echo(request: Request) -> Response:
    """The request as the answer."""
    return JSONResponse(
        {
            "path": request.scope["raw_path"].decode(),
            "query": dict(request.query_params),
            "key": request.headers.get("authorization"),
        }
    )


CALLS: list[tuple[Callable[[ApiClient], Awaitable[Any]], str, dict[str, str]]] = [
    (lambda c: c.bars("AAPL", interval="5m", limit=3, end=None), "/api/v1/bars/AAPL", {"interval": "5m", "limit": "3"}),
    (lambda c: c.bars("BTC/USD"), "/api/v1/bars/BTC%2FUSD", {}),
    (lambda c: c.revisions("A?", "1m", "2026-01-05T14:30:00Z"),
     "/api/v1/bars/A%3F/1m/2026-01-05T14%3A30%3A00Z/revisions", {}),
    (lambda c: c.indicators("A", cursor="a+b"), "/api/v1/indicators/A", {"cursor": "a+b"}),
    (lambda c: c.overview(sort="change"), "/api/v1/market/overview", {"sort": "change"}),
    (lambda c: c.quality("A"), "/api/v1/quality/A", {}),
    (lambda c: c.metrics("late-ticks", limit=5), "/api/v1/metrics/late-ticks", {"limit": "5"}),
    (lambda c: c.late_ticks(), "/api/v1/metrics/late-ticks", {}),
    (lambda c: c.latest("A"), "/api/v1/latest/A", {}),
    (lambda c: c.health(), "/health", {}),
    (lambda c: c.get("/api/v1/anything", x=1), "/api/v1/anything", {"x": "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("call", "path", "query"), CALLS, ids=[path for _, path, _ in CALLS])
def test_call_asks_for_its_path(call: Callable[[ApiClient], Awaitable[Any]], path: str, query: dict[str, str]) -> None:
    found = ask(echo, call)
    assert (found["path"], found["query"], found["key"]) == (path, query, None)


def test_key_goes_in_the_header_and_nowhere_else() -> None:
    found = ask(echo, lambda client: client.overview(), KEY)
    assert found == {"path": "/api/v1/market/overview", "query": {}, "key": f"Bearer {KEY}"}
    assert KEY not in repr(ApiClient("http://127.0.0.1:1", SecretStr(KEY)))


def test_symbols_are_names_in_order() -> None:
    found = ask(
        lambda _: JSONResponse({"symbols": [{"symbol": "B"}, {"symbol": "A"}]}), lambda client: client.symbols()
    )
    assert found == ["A", "B"]


def test_refusal_has_the_api_s_own_words() -> None:
    with pytest.raises(ApiRefused) as error:
        ask(lambda _: JSONResponse(PROBLEM, 422), lambda client: client.bars("A", limit=99_999))
    assert (error.value.status, error.value.detail) == (422, "limit is at most 10000")
    assert error.value.problem["type"] == "urn:x"


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (JSONResponse({**PROBLEM, "status": 429}, 429, {"Retry-After": "7"}), 7.0),
        (JSONResponse({**PROBLEM, "status": 503}, 503, {"Retry-After": "99999"}), 60.0),
        (JSONResponse({**PROBLEM, "status": 503}, 503, {"Retry-After": "soon"}), 2.0),
        (PlainTextResponse("bad gateway", 502), 2.0),
        (PlainTextResponse("<html>somebody else", 200), 2.0),
        (JSONResponse([1, 2]), 2.0),
    ],
    ids=["429", "503", "odd header", "a proxy", "no json", "no object"],
)
def test_what_is_no_answer_is_down_with_a_time_to_come_back(answer: Response, seconds: float) -> None:
    with pytest.raises(ApiDown) as error:
        ask(lambda _: answer, lambda client: client.overview())
    assert error.value.retry_after == seconds


def test_refusal_of_a_stranger_is_still_a_refusal() -> None:
    with pytest.raises(ApiRefused, match="403 Forbidden: no reason was given"):
        ask(lambda _: PlainTextResponse("no", 403), lambda client: client.overview())


def test_nobody_there_is_down_and_is_heard_of_without_the_key() -> None:
    heard: list[ApiDown] = []

    async def run() -> bool:
        client = ApiClient(f"http://127.0.0.1:{free_port()}", SecretStr(KEY))
        client.on_down = heard.append
        with pytest.raises(ApiDown):
            await client.overview()
        ready = await client.ready()
        await client.close()
        return ready

    assert asyncio.run(run()) is False
    assert len(heard) == 1
    assert KEY not in str(heard[0])


def test_silence_is_down_within_the_time_given() -> None:
    async def run() -> None:
        writers = []
        server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = ApiClient(f"http://127.0.0.1:{port}", seconds=0.05)
        with pytest.raises(ApiDown, match="ReadTimeout"):
            await client.overview()
        await client.close()
        server.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(run(), 5))


def test_health_that_says_down_is_an_answer_and_a_dead_api_is_none() -> None:
    page = {"status": "down", "stores": {"redis": {"state": "down"}}}
    assert ask(lambda _: JSONResponse(page, 503), lambda client: client.health()) == page
    with pytest.raises(ApiDown):
        ask(lambda _: JSONResponse(PROBLEM, 503), lambda client: client.health())


def test_connections_are_kept() -> None:
    async def run() -> int:
        connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            body = orjson.dumps({"symbols": []})
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

        def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(serve(reader, writer))
            task.add_done_callback(lambda done: (done.exception(), writer.close()))

        server = await asyncio.start_server(ignore, "127.0.0.1", 0)
        client = ApiClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(3):
            await client.symbols()
        await client.close()
        server.close()
        await asyncio.sleep(0.01)
        return connections

    assert asyncio.run(run()) == 1
