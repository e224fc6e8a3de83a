"""Requests that nobody should send: injection, odd paths, large and slow bodies, bytes that are no HTTP."""

import json
import socket
import time
from typing import Any

import httpx
import pytest

from tests.api_process import ApiProcess, bearer
from tests.integration.access_data import JOB, PROBLEM, refused

DEEP = "[" * 30_000 + "]" * 30_000
BAD: list[tuple[str, str, str, dict[str, Any], set[int]]] = [
    ("sql in a symbol", "GET", "/api/v1/bars/A'%20OR%20'1'='1", {}, {404, 422}),
    ("sql in a symbol, stacked", "GET", "/api/v1/ticks/A;DROP%20TABLE%20ticks--", {}, {404, 422}),
    ("sql in a parameter", "GET", "/api/v1/bars/A?interval=1m'%20UNION%20TABLE%20api_keys--", {}, {422}),
    ("sql in a cursor", "GET", "/api/v1/bars/A?cursor='||pg_sleep(9)--", {}, {422}),
    ("sql in a time", "GET", "/api/v1/bars/A?start=1';--", {}, {422}),
    ("sql in an id", "GET", "/api/v1/prices/poll/1'%20OR%201=1", {}, {422}),
    ("sql in a body", "POST", "/api/v1/prices/poll", {"json": JOB | {"symbols": ["A';DROP TABLE x"]}}, {422}),
    ("path up", "GET", "/api/v1/bars/../../etc/passwd", {}, {404, 422}),
    ("path up, encoded", "GET", "/api/v1/bars/%2e%2e%2f%2e%2e%2fetc%2fpasswd", {}, {404, 422}),
    ("path up, encoded twice", "GET", "/api/v1/bars/%252e%252e%252fetc", {}, {404, 422}),
    ("path up, backslash", "GET", "/api/v1/bars/..%5c..%5cetc", {}, {404, 422}),
    ("nul in a path", "GET", "/api/v1/bars/A%00.csv", {}, {400}),
    ("newline in a path", "GET", "/api/v1/bars/A%0d%0aX-Evil:1", {}, {400}),
    ("nul in a query", "GET", "/api/v1/bars/A?start=%00", {}, {422}),
    ("half a character in a path", "GET", "/api/v1/bars/%ed%a0%80", {}, {400, 404, 422}),
    ("deep path", "GET", "/api/v1/bars" + "/a" * 2000, {}, {404, 422}),
    ("long url", "GET", "/api/v1/bars/" + "a" * 9000, {}, {414}),
    ("long query", "GET", "/api/v1/bars/A?x=" + "a" * 9000, {}, {414}),
    ("wrong method", "POST", "/api/v1/bars/A", {}, {405}),
    ("odd method", "TRACE", "/api/v1/bars/A", {}, {405}),
    ("deep json", "POST", "/api/v1/prices/poll", {"content": DEEP, "headers": {"content-type": "application/json"}},
     {400, 422}),
    ("deep json of objects", "POST", "/api/v1/prices/poll",
     {"content": '{"a":' * 10_000 + "1" + "}" * 10_000, "headers": {"content-type": "application/json"}}, {400, 422}),
    ("no json", "POST", "/api/v1/prices/poll",
     {"content": b"\xff\xfe\x00", "headers": {"content-type": "application/json"}}, {400, 422}),
    ("a huge number", "POST", "/api/v1/prices/poll",
     {"content": '{"interval": ' + "9" * 60_000 + "}", "headers": {"content-type": "application/json"}}, {400, 422}),
    ("another type", "POST", "/api/v1/prices/poll",
     {"content": json.dumps(JOB), "headers": {"content-type": "text/plain"}}, {415, 422}),
    ("large body", "POST", "/api/v1/prices/poll", {"content": b"x" * 70_000}, {413}),
    ("large body, chunked", "POST", "/api/v1/prices/poll", {"content": iter([b"x" * 40_000] * 3)}, {413}),
    ("large body of a get", "GET", "/api/v1/symbols", {"content": b"x" * 70_000}, {413}),
    ("large body where none belongs", "DELETE", "/api/v1/prices/poll/1", {"content": b"x" * 70_000}, {413}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "method", "path", "options", "statuses"), BAD, ids=[row[0] for row in BAD])
def test_bad_request_is_refused_and_nothing_leaks(
    guarded_api: ApiProcess,
    keys: dict[str, str],
    what: str,
    method: str,
    path: str,
    options: dict[str, Any],
    statuses: set[int],
) -> None:
    headers = bearer(keys["admin"]) | options.get("headers", {})
    began = time.monotonic()
    with httpx.Client(base_url=guarded_api.url, timeout=10) as own:
        answer = own.request(method, httpx.URL(guarded_api.url + path), **(options | {"headers": headers}))
    assert answer.status_code in statuses, answer.text[:300]
    refused(answer, answer.status_code)
    assert time.monotonic() - began < 5


def exchange(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send bytes as they are, and read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        for part in parts:
            try:
                raw.sendall(part)
            except OSError:
                break
            time.sleep(pause)
        raw.settimeout(10)
        answer = b""
        try:
            while chunk := raw.recv(65_536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


HOST = b"Host: localhost\r\n"
RAW: list[tuple[str, tuple[bytes, ...], bytes]] = [
    ("length and chunks", (b"POST /health/live HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",), b"400"),
    ("two lengths", (b"POST /health/live HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",),
     b"400"),
    ("signed length", (b"POST /health/live HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nabcd",), b"400"),
    ("chunks that are no last coding", (b"POST /health/live HTTP/1.1\r\n" + HOST
     + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",), b"400"),
    ("space before the colon", (b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-A : b\r\n\r\n",), b"400"),
    ("folded header", (b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n",), b"400"),
    ("bare newlines", (b"GET /health/live HTTP/1.1\n" + HOST + b"\n\n",), b"400"),
    ("nul in a header", (b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-A: a\x00b\r\n\r\n",), b"400"),
    ("not http", (b"\x16\x03\x01\x02\x00\x01\x00",), b"400"),
    ("chunk size of nonsense", (b"POST /health/live HTTP/1.1\r\n" + HOST
     + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",), b"4"),
    ("large header", (b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",), b"431"),
    ("many headers", (b"GET /health/live HTTP/1.1\r\n" + HOST
     + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n",), b"431"),
    ("endless header", (b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-A: ", *([b"a" * 65_536] * 8)), b"431"),
    ("endless url", (b"GET /", *([b"a" * 65_536] * 8)), b"414"),
    ("slow headers", (b"GET /health/live HTTP/1.1\r\n", HOST), b"408"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "parts", "status"), RAW, ids=[row[0] for row in RAW])
def test_bytes_that_are_no_request_are_refused_and_the_connection_ends(
    guarded_api: ApiProcess, what: str, parts: tuple[bytes, ...], status: bytes
) -> None:
    began = time.monotonic()
    answer = exchange(guarded_api.port, *parts)
    assert time.monotonic() - began < 5
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status), answer[:300]
    assert PROBLEM.encode() in head and b"connection: close" in head.lower()
    assert answer.count(b"HTTP/1.1 ") == 1, "a second request was smuggled in"
    assert json.loads(body)["detail"]


def test_slow_body_is_408_after_its_time_and_a_stranger_s_is_not_waited_for(
    guarded_api: ApiProcess, keys: dict[str, str]
) -> None:
    head = b"POST /api/v1/prices/poll HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 50\r\n"
    key = f"X-API-Key: {keys['write']}\r\n\r\n".encode()
    for start, status, least in ((head + key, b"408", 1.0), (head + b"\r\n", b"401", 0.0)):
        began = time.monotonic()
        answer = exchange(guarded_api.port, start, b"{")
        took = time.monotonic() - began
        assert answer.startswith(b"HTTP/1.1 " + status), answer
        assert PROBLEM.encode() in answer and least <= took < 5


def test_large_body_that_waits_to_be_invited_is_refused_before_it_comes(
    guarded_api: ApiProcess, keys: dict[str, str]
) -> None:
    head = b"POST /api/v1/prices/poll HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 9999999\r\n"
    answer = exchange(guarded_api.port, head + f"X-API-Key: {keys['write']}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413") and b"100 Continue" not in answer


POST = b"POST /api/v1/prices/poll HTTP/1.1\r\n" + HOST
LONG = b"Content-Length: %d\r\n"
EARLY: list[tuple[str, bytes, str, bytes]] = [
    ("no key", POST + LONG, "", b"401"),
    ("no key, chunked", POST + b"Transfer-Encoding: chunked\r\n", "", b"401"),
    ("no key, one request per connection", POST + b"Connection: close\r\n" + LONG, "", b"401"),
    ("no key, an old proxy", b"POST /api/v1/prices/poll HTTP/1.0\r\n" + HOST + LONG, "", b"401"),
    ("another scope", POST + LONG, "read", b"403"),
    ("too large", POST + LONG, "write", b"413"),
    ("nothing there", b"POST /api/v1/nothing HTTP/1.1\r\n" + HOST + LONG, "write", b"404"),
    ("long url", b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + LONG, "write", b"414"),
    ("key in the url", b"POST /api/v1/prices/poll?api_key=ts_1 HTTP/1.1\r\n" + HOST + LONG, "", b"400"),
    ("large header", POST + b"X-A: " + b"a" * 20_000 + b"\r\n" + LONG, "", b"431"),
]
PART = 16_384


def begun(port: int, head: bytes, length: int) -> tuple[socket.socket, bytes]:
    """A connection on which a request with a body of so many bytes has begun, and all that is answered to that."""
    raw = socket.create_connection(("127.0.0.1", port), 10)
    raw.sendall(head.replace(b"%d", str(length).encode()) + b"\r\n")
    answer = b""
    while chunk := raw.recv(65_536):
        answer += chunk
    return raw, answer


@pytest.mark.parametrize(("what", "head", "scope", "status"), EARLY, ids=[row[0] for row in EARLY])
def test_who_is_answered_early_may_finish_writing(
    guarded_api: ApiProcess, keys: dict[str, str], what: str, head: bytes, scope: str, status: bytes
) -> None:
    head += f"X-API-Key: {keys[scope]}\r\n".encode() if scope else b""
    raw, answer = begun(guarded_api.port, head, 20 * PART)
    with raw:
        assert answer.startswith(b"HTTP/1.1 " + status), answer
        assert b"connection: close" in answer.lower() and answer.count(b"HTTP/1.") == 1
        for _ in range(20):
            raw.sendall(b"x" * PART)


def test_who_is_answered_early_may_not_write_without_end_nor_keep_the_connection(guarded_api: ApiProcess) -> None:
    raw, answer = begun(guarded_api.port, POST + LONG, 1 << 30)
    with raw, pytest.raises(OSError, match=r"reset|pipe"):
        for _ in range(1 << 12):
            raw.sendall(b"x" * PART)
    raw, answer = begun(guarded_api.port, POST + LONG, 1 << 30)
    assert answer.startswith(b"HTTP/1.1 401")
    deadline = time.monotonic() + 10
    with raw, pytest.raises(OSError, match=r"reset|pipe"):
        while time.monotonic() < deadline:
            raw.sendall(b"x")
            time.sleep(0.05)


def test_next_request_that_begins_before_the_answer_is_answered_too(guarded_api: ApiProcess) -> None:
    request = b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n"
    with socket.create_connection(("127.0.0.1", guarded_api.port), 10) as raw:
        raw.sendall(request + request[:20])
        answer = raw.recv(65_536)
        raw.sendall(request[20:])
        while answer.count(b"HTTP/1.1 200") < 2 and (chunk := raw.recv(65_536)):
            answer += chunk
    assert answer.count(b"HTTP/1.1 200") == 2


def test_nothing_of_all_that_is_an_error_of_ours(guarded_api: ApiProcess, guarded_client: httpx.Client) -> None:
    assert guarded_client.get("/health/live").status_code == 200
    assert "Traceback" not in guarded_api.log, guarded_api.log[-3000:]
