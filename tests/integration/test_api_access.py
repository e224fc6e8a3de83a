"""Access, on real servers and a real process: every route with every kind of key."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from api.app import create_app
from api.security.keys import OLDEST_SECONDS
from api.security.policy import SAFE, rule_of, scope_of
from conf.settings import Settings
from stores.access import KeyTable
from tests.api_process import ApiProcess, add_key, bearer
from tests.integration.access_data import JOB, LEAKS, PROBLEM, eventually, refused, token


def flat(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from flat(inner.routes)
        else:
            yield route


def routes_of(app: FastAPI) -> list[BaseRoute]:
    found = list(flat(app.routes))
    assert len([route for route in found if isinstance(route, APIRoute)]) >= 12
    return found


ROUTES = routes_of(create_app(Settings()))
REQUESTS = sorted(
    {
        (method, re.sub(r"\{[^}]*\}", "00000000-0000-0000-0000-000000000000", route.path))  # type: ignore[attr-defined]
        for route in ROUTES
        for method in getattr(route, "methods", None) or ()
    }
)
SOCKETS = sorted({re.sub(r"\{[^}]*\}", "A", route.path) for route in ROUTES if isinstance(route, WebSocketRoute)})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_has_a_row_in_the_policy(route: Any) -> None:
    assert rule_of(route.path) is not None, f"{route.path}: add it to RULES of api/security/policy.py"
    if isinstance(route, WebSocketRoute):
        assert rule_of(route.path) == "stream"
    for method in getattr(route, "methods", None) or ():
        if method not in SAFE:
            assert scope_of(method, route.path, on_loopback=True) in ("write", "admin")


def needed(method: str, path: str) -> str | None:
    return scope_of(method, path, on_loopback=True)


def test_every_route_without_a_key_or_with_a_bad_one_is_401(guarded_client: httpx.Client, keys: dict[str, str]) -> None:
    bad = [None, *(keys[kind] for kind in ("expired", "revoked", "unknown", "forged", "garbage"))]
    bad += [keys["expired token"], keys["unsigned token"]]
    for method, path in REQUESTS:
        if needed(method, path) == "public":
            assert guarded_client.request(method, path).status_code == 200, path
            continue
        for text in bad:
            answer = guarded_client.request(method, path, headers={} if text is None else bearer(text))
            refused(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert text is None or text not in answer.text


def test_every_route_with_the_wrong_scope_is_403_and_names_it(
    guarded_client: httpx.Client, keys: dict[str, str]
) -> None:
    for method, path in REQUESTS:
        scope = needed(method, path)
        for other in {"read", "stream", "write"} - {scope} if scope != "public" else ():
            answer = guarded_client.request(method, path, headers={"X-API-Key": keys[other]})
            problem = refused(answer, 403)
            assert problem["scope"] == scope and f"`{scope}`" in problem["detail"]
            assert f'scope="{scope}"' in answer.headers["www-authenticate"]


def test_every_route_with_its_scope_is_let_in(guarded_client: httpx.Client, keys: dict[str, str]) -> None:
    for method, path in REQUESTS:
        scope = needed(method, path)
        slow = path.endswith(("/kafka", "/queries", "/stores", "/dead-letters"))  # wait for a broker that is not there
        for text in {keys["admin"], keys.get(scope or "", keys["admin"]), token()} if not slow else {keys["read"]}:
            status = guarded_client.request(method, path, headers=bearer(text)).status_code
            assert status not in (401, 403, 429, 500), f"{method} {path}: {status}"


def test_unknown_path_is_401_without_a_key_and_404_with_one(guarded_client: httpx.Client, keys: dict[str, str]) -> None:
    for path in ("/nothing", "/api/v1/nothing", "/api/v1", "/api/v1/admin/nothing/../bars/A"):
        refused(guarded_client.get(path), 401)
    refused(guarded_client.get("/api/v1/nothing", headers=bearer(keys["read"])), 404)
    refused(guarded_client.get("/api/v1/nothing", headers=bearer(keys["admin"])), 404)


def test_key_in_the_url_is_refused_and_not_in_the_log(
    guarded_api: ApiProcess, guarded_client: httpx.Client, keys: dict[str, str]
) -> None:
    secret = keys["read"].split("_", 2)[2]
    for query in (f"key={keys['read']}", f"token={keys['read']}", f"symbol={keys['read']}", f"TOKEN={secret}"):
        problem = refused(guarded_client.get(f"/api/v1/bars/A?{query}"), 400)
        assert "Authorization" in problem["detail"] and secret not in problem["detail"]
    guarded_client.get(f"/api/v1/bars/{keys['read']}", headers=bearer(keys["read"]))
    with pytest.raises(InvalidStatus):
        connect(f"{guarded_api.url.replace('http', 'ws')}/ws?token={keys['stream']}")
    assert "GET /api/v1/bars/A?key=***" in guarded_api.log
    assert all(text.split("_", 2)[2] not in guarded_api.log for name, text in keys.items() if text.startswith("ts_"))


def test_revoked_key_dies_within_seconds(guarded_client: httpx.Client, guarded: Settings) -> None:
    text, row = add_key(guarded, ["read"])
    assert guarded_client.get("/api/v1/symbols", headers=bearer(text)).status_code == 200
    KeyTable(guarded.postgres_dsn.get_secret_value()).revoke(row.id)
    began = time.monotonic()
    while guarded_client.get("/api/v1/symbols", headers=bearer(text)).status_code == 200:
        assert time.monotonic() - began < OLDEST_SECONDS + 1
        time.sleep(0.05)


def test_use_of_a_key_is_noted(guarded_client: httpx.Client, guarded: Settings) -> None:
    text, row = add_key(guarded, ["read"])
    guarded_client.get("/api/v1/symbols", headers=bearer(text))
    table = KeyTable(guarded.postgres_dsn.get_secret_value())
    eventually(lambda: next(key for key in table.all() if key.id == row.id).last_used_us is not None)


def test_changes_are_audited_and_reads_are_not(
    guarded_client: httpx.Client, guarded: Settings, keys: dict[str, str]
) -> None:
    key_id = keys["write"].split("_")[1]
    headers = bearer(keys["write"]) | {"X-Request-ID": "audit-1", "X-Forwarded-For": "6.6.6.6"}
    job = guarded_client.post("/api/v1/prices/poll", json=JOB, headers=headers)
    assert job.status_code == 202 and job.headers["x-request-id"] == "audit-1"
    guarded_client.post("/api/v1/prices/poll", json={"symbols": []}, headers=bearer(keys["write"]))
    path = job.headers["location"]
    guarded_client.delete(path, headers=bearer(token(scope="write")))
    guarded_client.delete(path)
    guarded_client.get("/api/v1/symbols", headers=bearer(keys["read"]))
    with psycopg.connect(guarded.postgres_dsn.get_secret_value()) as connection:
        rows = connection.execute(
            "SELECT who, method, path, status, request_id, address FROM audit_log WHERE who IN (%s, 'jwt:ann')"
            " AND path LIKE '/api/v1/prices/poll%%' ORDER BY seq DESC LIMIT 3",
            [key_id],
        ).fetchall()
        strangers = connection.execute("SELECT count(*) FROM audit_log WHERE who = 'anonymous'").fetchone()
        reads = connection.execute("SELECT count(*) FROM audit_log WHERE method = 'GET'").fetchone()
    assert [row[:4] for row in reversed(rows)] == [
        (key_id, "POST", "/api/v1/prices/poll", 202),
        (key_id, "POST", "/api/v1/prices/poll", 422),
        ("jwt:ann", "DELETE", path, 204),
    ]
    assert rows[2][4:] == ("audit-1", "127.0.0.1") and strangers == (0,) and reads == (0,)


@pytest.mark.parametrize("given", ["bad id!", "x" * 65, "a\tb", ""])
def test_request_id_of_nonsense_is_replaced(guarded_client: httpx.Client, given: str) -> None:
    answer = guarded_client.get("/health/live", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


def test_answers_carry_headers_for_browsers_and_no_versions(guarded_client: httpx.Client, keys: dict[str, str]) -> None:
    answer = guarded_client.get("/api/v1/symbols", headers=bearer(keys["read"]))
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_load_everything_from_here(path: str, guarded_client: httpx.Client, keys: dict[str, str]) -> None:
    page = guarded_client.get(path, headers=bearer(keys["read"]))
    sources = re.findall(r"(?:src|href)=\"([^\"]+)", page.text)
    assert sources and all(source.startswith("/docs/static/") for source in sources)
    assert all(guarded_client.get(source).status_code == 200 for source in sources)
    assert "http" not in page.headers["content-security-policy"]


def test_cors_is_for_the_origins_of_the_settings(guarded_client: httpx.Client, keys: dict[str, str]) -> None:
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    good = guarded_client.options("/api/v1/symbols", headers=asks | {"Origin": "https://charts.example"})
    assert good.status_code == 200 and good.headers["access-control-allow-origin"] == "https://charts.example"
    bad = guarded_client.options("/api/v1/symbols", headers=asks | {"Origin": "https://evil.example"})
    assert bad.status_code == 400 and "access-control-allow-origin" not in bad.headers
    assert bad.json()["type"] == "urn:tickstream:problem:cors" and "origin" in bad.json()["detail"]
    for text, status in ((keys["read"], 200), ("nonsense", 401)):
        headers = bearer(text) | {"Origin": "https://charts.example"}
        answer = guarded_client.get("/api/v1/symbols", headers=headers)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://charts.example"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


def test_cors_lets_a_page_make_every_documented_call_and_read_every_documented_header(
    guarded_client: httpx.Client, keys: dict[str, str]
) -> None:
    calls = [call for path in create_app(Settings()).openapi()["paths"].values() for call in path.items()]
    sent = {each["name"] for _, call in calls for each in call.get("parameters", ()) if each["in"] == "header"}
    told = {name for _, call in calls for answer in call["responses"].values() for name in answer.get("headers", ())}
    assert {"if-match"} <= sent and {"X-Truncated", "X-Tail"} <= told
    page = {"Origin": "https://charts.example"}
    for method in {method.upper() for method, _ in calls}:
        asks = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(sent)}
        preflight = guarded_client.options("/api/v1/alerts/rules/x", headers=page | asks)
        assert preflight.status_code == 200, f"{method}: {preflight.text}"
    answer = guarded_client.get("/api/v1/symbols", headers=page | bearer(keys["read"]))
    assert told <= set(answer.headers["access-control-expose-headers"].split(", "))


SOCKET_HEADERS: list[tuple[str, Callable[[dict[str, str]], dict[str, Any]], int | None]] = [
    ("header", lambda keys: {"additional_headers": bearer(keys["stream"])}, None),
    ("other header", lambda keys: {"additional_headers": {"X-API-Key": keys["admin"]}}, None),
    ("browser", lambda keys: {"subprotocols": ["bearer", keys["stream"]]}, None),
    ("token", lambda _: {"additional_headers": bearer(token(scope="stream"))}, None),
    ("wrong scope", lambda keys: {"additional_headers": bearer(keys["read"])}, 403),
    ("browser, bad", lambda keys: {"subprotocols": ["bearer", keys["forged"]]}, 401),
    *((kind, lambda keys, kind=kind: {"additional_headers": bearer(keys[kind])}, 401)
      for kind in ("expired", "revoked", "unknown", "garbage", "expired token")),
]  # fmt: skip


@pytest.mark.skipif(not SOCKETS, reason="no sockets in this build")
@pytest.mark.parametrize(("kind", "options", "status"), SOCKET_HEADERS, ids=[row[0] for row in SOCKET_HEADERS])
def test_socket_opens_for_good_keys_only(
    guarded_api: ApiProcess,
    keys: dict[str, str],
    kind: str,
    options: Callable[[dict[str, str]], dict[str, Any]],
    status: int,
) -> None:
    for path in SOCKETS:
        url = guarded_api.url.replace("http", "ws") + path
        if status is not None:
            with pytest.raises(InvalidStatus) as refusal:
                connect(url, **options(keys))
            response = refusal.value.response
            assert response.status_code == status and response.headers["content-type"] == PROBLEM
            assert not LEAKS.search((response.body or b"").decode())
            continue
        with connect(url, **options(keys)) as opened:
            assert opened.subprotocol == ("bearer" if kind == "browser" else None)
            opened.send(json.dumps({"type": "ping", "id": 7}))
            eventually(lambda opened=opened: json.loads(opened.recv(5)).get("type") == "pong")


@pytest.mark.skipif(not SOCKETS, reason="no sockets in this build")
def test_socket_without_a_key_asks_for_one_and_takes_it(guarded_api: ApiProcess, keys: dict[str, str]) -> None:
    url = guarded_api.url.replace("http", "ws") + "/ws"
    with connect(url) as opened:
        opened.send(json.dumps({"type": "auth", "id": 1, "key": keys["stream"]}))
        assert json.loads(opened.recv(5)) == {"type": "ack", "id": 1, "action": "auth"}
        opened.send(json.dumps({"type": "ping", "id": 7}))
        eventually(lambda: json.loads(opened.recv(5)).get("type") == "pong")
    first: list[tuple[str | bytes, str]] = [
        (json.dumps({"type": "subscribe", "channel": "bars", "symbols": ["A"], "interval": "1m"}), "unauthorized"),
        (json.dumps({"type": "auth", "key": keys["forged"]}), "unauthorized"),
        (json.dumps({"type": "auth", "key": keys["read"]}), "forbidden"),
        (json.dumps({"type": "auth", "key": ["x"]}), "unauthorized"),
        ("{", "unauthorized"),
        (b"\x00\xff", "unauthorized"),
        ("[" * 10_000, "unauthorized"),
    ]
    for message, code in first:
        with connect(url) as opened:
            opened.send(message)
            said = json.loads(opened.recv(5))
            assert (said["type"], said["code"]) == ("error", code)
            with pytest.raises(ConnectionClosed) as closed:
                opened.recv(5)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


@pytest.mark.skipif(not SOCKETS, reason="no sockets in this build")
def test_socket_of_a_revoked_key_is_closed_and_slots_are_counted(guarded_api: ApiProcess, guarded: Settings) -> None:
    url = guarded_api.url.replace("http", "ws") + "/ws"
    text, row = add_key(guarded, ["stream"])
    headers = bearer(text)
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(url, additional_headers=headers)) for _ in range(3)]
        with pytest.raises(InvalidStatus) as refusal:
            stack.enter_context(connect(url, additional_headers=headers))
        assert refusal.value.response.status_code == 429 and "retry-after" in refusal.value.response.headers
        sockets[0].close()

        def opens() -> bool:
            try:
                sockets.append(stack.enter_context(connect(url, additional_headers=headers)))
            except InvalidStatus:
                return False
            return True

        eventually(opens)
        KeyTable(guarded.postgres_dsn.get_secret_value()).revoke(row.id)
        for opened in sockets[1:]:
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    opened.recv(15)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


def test_nothing_of_all_that_is_an_error_of_ours(guarded_api: ApiProcess, guarded_client: httpx.Client) -> None:
    assert guarded_client.get("/health/live").status_code == 200
    assert "Traceback" not in guarded_api.log, guarded_api.log[-3000:]
