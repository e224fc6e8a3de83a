"""An API that asks for keys, a key of every kind, and what a refusal has to look like."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
import psycopg
from pydantic import SecretStr

from api.security.keys import new_key
from conf.settings import Settings
from core.clock import SystemClock
from local.postgres import Postgres
from local.redis import Redis
from stores.access import KeyTable
from stores.migrations import Retention, migrate
from tests.api_process import add_key
from tests.databases import fresh_database

PROBLEM = "application/problem+json"
LEAKS = re.compile(
    r"(?i)traceback|psycopg|select |insert |uvicorn|starlette|/site-packages|sha256|ts_[a-z0-9]{6,}_\w{8}"
)
JWT_SECRET = "j" * 48
JOB = {"symbols": ["BTC-USD"], "interval": "60s", "provider": "coinbase"}


@contextmanager
def closed_settings(postgres_server: Postgres, redis_server: Redis) -> Iterator[Settings]:
    """Settings of an API that asks for keys, with a database of its own."""
    with fresh_database(postgres_server) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            migrate(connection, Retention(30, 365))
        yield Settings(
            postgres_dsn=SecretStr(dsn),
            redis_url=SecretStr(redis_server.url.removesuffix("0") + "255"),
            api_auth="required",
            api_jwt_secret=SecretStr(JWT_SECRET),
            api_jwt_audience="tickstream",
            api_jwt_issuer="idp",
            api_rate=100_000,
            api_burst=100_000,
            api_write_rate=10_000,
            api_write_burst=10_000,
            api_cors_origins="https://charts.example",
            api_sockets_per_key=3,
            api_read_seconds=1.0,
        )


def all_keys(settings: Settings) -> dict[str, str]:
    """One good key of each scope, and of every kind that is not good."""
    table = KeyTable(settings.postgres_dsn.get_secret_value())
    texts = {scope: add_key(settings, [scope])[0] for scope in ("read", "stream", "write", "admin")}
    texts["expired"] = add_key(settings, ["admin"], SystemClock().now_us() - 1)[0]
    texts["revoked"], row = add_key(settings, ["admin"])
    table.revoke(row.id)
    texts["unknown"] = new_key("nobody", ["admin"])[0]
    texts["forged"] = texts["admin"][:-6] + "AAAAAA"
    texts["garbage"] = "';DROP TABLE api_keys;--"
    texts["expired token"] = token(exp=time.time() - 60)
    texts["unsigned token"] = jwt.encode(claims(), None, "none")
    return texts


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "ann", "aud": "tickstream", "iss": "idp", "exp": time.time() + 60, "scope": "admin"} | changes


def token(**changes: Any) -> str:
    return jwt.encode(claims(**changes), JWT_SECRET, "HS256")


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of a refusal, which leaks nothing."""
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    assert answer.headers["content-type"] == PROBLEM
    assert not LEAKS.search(answer.text + str(answer.headers)), answer.text
    assert answer.headers["x-request-id"] and answer.headers["x-content-type-options"] == "nosniff"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status and problem["detail"]
    return problem


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
