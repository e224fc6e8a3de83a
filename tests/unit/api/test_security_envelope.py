"""The outermost layers: deadline, last resort, body, on applications that misbehave."""

import asyncio
import contextlib
from typing import Any

import orjson
import pytest

from api.security.access import AccessLayer
from api.security.envelope import Envelope
from api.security.principal import SCOPES, Principal
from api.security.shape import Body, Shape
from conf.settings import Settings


def http(**fields: Any) -> dict[str, Any]:
    base = {"type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "query_string": b"", "headers": []}
    return base | fields


class Client:
    """The server's side of one request: gives messages, keeps answers."""

    def __init__(self, *messages: dict[str, Any], then: float = 60.0) -> None:
        self.messages = list(messages)
        self.then = then
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop(0)
        await asyncio.sleep(self.then)
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def problem(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.sent[1]["body"])
        return found


async def never(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(60)


async def breaks(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("SELECT hash FROM api_keys")


async def breaks_late(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("in the middle")


async def own_timeout(scope: Any, receive: Any, send: Any) -> None:
    raise TimeoutError("of a library")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def run(app: Any, client: Client, scope: dict[str, Any] | None = None) -> Client:
    asyncio.run(app(scope or http(), client.receive, client.send))
    return client


def test_request_without_end_is_503_after_its_time() -> None:
    client = run(Envelope(never, 0.05), Client())
    assert client.status == 503 and int(client.headers["retry-after"]) >= 1
    assert client.problem["type"].endswith("unavailable") and client.headers["x-request-id"]


@pytest.mark.parametrize("app", [breaks, own_timeout])
def test_error_that_nobody_handled_is_500_without_its_text_and_goes_to_the_log(app: Any) -> None:
    client = Client()
    with pytest.raises((RuntimeError, TimeoutError)):
        run(Envelope(app, 5), client)
    assert client.status == 500 and client.headers["content-security-policy"]
    assert "SELECT" not in str(client.sent) and "library" not in str(client.sent)
    assert len(client.sent) == 2


def test_error_in_the_middle_of_an_answer_is_not_answered_again() -> None:
    client = Client()
    with pytest.raises(RuntimeError):
        run(Envelope(breaks_late, 5), client)
    assert len(client.sent) == 1


class Access:
    """Lets everybody do everything; its own audit table, which takes so many seconds for a row."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.store = self.limiter = self
        self.rows: list[tuple[str, int]] = []
        self._seconds = seconds

    def needed(self, scope: Any) -> str:  # noqa: ARG002
        return "write"

    def address(self, scope: Any) -> str:  # noqa: ARG002
        return "1.2.3.4"

    async def caller(self, scope: Any, address: str) -> Principal:  # noqa: ARG002
        return Principal("k", SCOPES, "key:k")

    async def spend(self, kind: str, bucket: str) -> None: ...

    async def audit(self, who: str, address: str, method: str, path: str, status: int, request_id: str) -> None:  # noqa: ARG002
        await asyncio.sleep(self._seconds)
        self.rows.append((method, status))


@pytest.mark.parametrize(
    ("app", "method", "rows"),
    [
        (echo, "DELETE", [("DELETE", 200)]),
        (never, "DELETE", [("DELETE", 503)]),
        (breaks, "POST", [("POST", 500)]),
        (own_timeout, "PUT", [("PUT", 500)]),
        (breaks_late, "PUT", [("PUT", 200)]),
        (never, "GET", []),
        (breaks, "GET", []),
    ],
)
def test_every_change_is_one_row_of_the_audit_log_whatever_becomes_of_it(
    app: Any, method: str, rows: list[tuple[str, int]]
) -> None:
    access, client = Access(), Client(part(b"", False))
    with contextlib.suppress(RuntimeError, TimeoutError):
        limit = 0.05 if app is never else 30.0
        run(Envelope(AccessLayer(app, access), limit), client, http(method=method))  # type: ignore[arg-type]
    assert access.rows == rows
    assert [status for _, status in rows] in ([], [client.status])


def test_deadline_does_not_cut_the_row_of_a_change_short() -> None:
    async def scenario() -> None:
        access, client = Access(0.2), Client(part(b"", False))
        await Envelope(AccessLayer(echo, access), 0.05)(http(method="POST"), client.receive, client.send)  # type: ignore[arg-type]
        assert client.status == 503
        await asyncio.sleep(0.3)
        assert access.rows == [("POST", 200)], "it was done, if not in time to say so"

    asyncio.run(scenario())


def body_of(app: Any, client: Client, **headers: str) -> Client:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    settings = Settings(api_max_body_bytes=1024, api_read_seconds=0.05)
    return run(Body(app, settings), client, http(method="POST", headers=raw))


def part(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_body_in_parts_arrives_whole_and_one_of_the_limit_too() -> None:
    whole = body_of(echo, Client(part(b"a" * 1000, True), part(b"b" * 24, False)), transfer_encoding="chunked")
    assert whole.status == 200 and whole.sent[1]["body"] == b"a" * 1000 + b"b" * 24


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        (Client(), {"content_length": "1025"}, 413),
        (Client(part(b"a" * 1025, False)), {"transfer_encoding": "chunked"}, 413),
        (Client(part(b"a" * 1000, True), part(b"a" * 1000, True)), {"transfer_encoding": "chunked"}, 413),
        (Client(part(b"a", True)), {"content_length": "2"}, 408),
    ],
)
def test_body_too_large_or_too_slow_never_reaches_the_handler(
    client: Client, headers: dict[str, str], status: int
) -> None:
    assert body_of(breaks, client, **headers).status == status
    assert client.headers["connection"] == "close"


def test_client_that_leaves_in_the_middle_of_its_body_gets_nothing() -> None:
    client = Client(part(b"a", True), {"type": "http.disconnect"})
    assert body_of(breaks, client, content_length="2").sent == []


def test_long_url_is_414_and_not_repeated() -> None:
    client = run(Shape(never, Settings()), Client(), http(path="/" + "a" * 9000, raw_path=b"/" + b"a" * 9000))
    assert client.status == 414 and client.problem["limit"] == 8192 and len(client.sent[1]["body"]) < 1000
