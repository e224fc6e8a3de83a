"""The conformance client passes our server and fails servers that break one promise each."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from core.clock import ManualClock
from local.postgres import Postgres
from local.redis import Redis
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests import conformance
from tests.databases import fresh_database
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving

DAY = 24 * 60


@pytest.fixture(scope="module")
def client(postgres_server: Postgres, redis_server: Redis) -> Iterator[httpx.Client]:
    """An API over two sessions of one symbol, the newest bar still forming."""
    redis_url = redis_server.url.removesuffix("0") + "255"
    with fresh_database(postgres_server) as dsn:
        _fill(dsn, redis_url)
        settings = Settings(postgres_dsn=SecretStr(dsn), redis_url=SecretStr(redis_url))
        with serving(settings, ManualClock(BASE + 10 * MINUTE)) as client:
            yield client


def _fill(dsn: str, redis_url: str) -> None:
    database, live = TimescaleStore(dsn), RedisStore(redis_url, 300)
    database.setup()
    minutes = [-DAY, -DAY + 1, 0, 1, 2, 3, 6, 7, 8]
    database.write_bars(bars_table([make_bar(minute, symbol="BTC-USD") for minute in minutes]))
    live.write_bars(bars_table([make_bar(9, symbol="BTC-USD", rev=0, state="forming")]))
    database.close()
    live.close()


def test_conformance_passes_our_server_as_a_command(
    client: httpx.Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance, "_sockets", lambda *_: 0)  # has tests of its own
    code = conformance.main([str(client.base_url)])
    said = capsys.readouterr().out.splitlines()
    assert code == 0, [line for line in said if line.startswith("FAIL")]
    assert [line[:6] for line in said[1:-1]] == ["ok    "] * len(conformance.CHECKS) and said[-1] == "all ok"


def test_conformance_says_2_where_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance.main(["http://127.0.0.1:1"]) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_conformance_fails_where_it_cannot_check_sockets(
    client: httpx.Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tests.conformance_socket", None)
    monkeypatch.setattr(conformance, "CHECKS", [])
    assert conformance.main([str(client.base_url)]) == 0, "somebody left the file out"
    assert "skip  sockets" in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "tests.conformance_socket")
    monkeypatch.delitem(sys.modules, "tests.ws_client", raising=False)
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    assert conformance.main([str(client.base_url)]) == 1
    assert "FAIL  sockets: no package jsonschema_rs" in capsys.readouterr().out


class Tampering(httpx.HTTPTransport):
    """A server that differs from ours by one change to its answers."""

    def __init__(self, change: Callable[[httpx.Request, httpx.Response], httpx.Response]) -> None:
        super().__init__()
        self._change = change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        answer.read()
        return self._change(request, answer)


def _json(change: Callable[[dict[str, Any]], object]) -> Callable[[httpx.Request, httpx.Response], httpx.Response]:
    """A change to the body of every JSON answer."""

    def apply(_: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if "json" not in answer.headers.get("content-type", ""):
            return answer
        body = json.loads(answer.content)
        if isinstance(body, dict):
            change(body)
        return _with(answer, json.dumps(body).encode())

    return apply


def _with(answer: httpx.Response, content: bytes, **headers: str | None) -> httpx.Response:
    kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-encoding")}
    changed = {**kept, **{name: value for name, value in headers.items() if value is not None}}
    changed = {name: value for name, value in changed.items() if headers.get(name, "") is not None}
    return httpx.Response(answer.status_code, headers=changed, content=content)


def _closed_end(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    """`end` taken as inclusive: one more bar."""
    if not request.url.path.startswith("/api/v1/bars") or "end" not in request.url.params:
        return answer
    end = request.url.params["end"]
    return _json(lambda body: body.get("bars", []).append({**_row(body), "start": end}))(request, answer)


def _row(body: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = body["bars"][-1] if body["bars"] else {"is_final": True, "rev": 1, "synthetic": False}
    return row


def _each_bar(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda body: [bar.update(changes) for bar in body.get("bars", []) if isinstance(bar, dict)]


BROKEN: dict[str, tuple[str, Callable[[httpx.Request, httpx.Response], httpx.Response]]] = {
    "inclusive end": ("range is half open", _closed_end),
    "a page twice": ("cursors give each row once", _json(lambda body: body.update(bars=_twice(body)))),
    "never final": ("bars say final and revision", _json(_each_bar(is_final=False))),
    "no revision": ("bars say final and revision", _json(_each_bar(rev=None))),
    "no etag": ("closed range has an etag", lambda _, answer: _with(answer, answer.content, etag=None)),
    "limit not named": (
        "refusals name field and limit",
        _json(lambda body: [each.pop("limits", None) for each in body.get("errors", [])]),
    ),
    "one content type": (
        "content is negotiated",
        lambda _, answer: _with(answer, answer.content, **{"content-type": "application/json"}),
    ),
    "charts out of order": (
        "udf feeds a chart",
        _json(lambda body: body.update(t=body["t"][::-1]) if body.get("t") else None),
    ),
    "fill not marked": ("filled rows are marked", _json(_each_bar(synthetic=False))),
}


def _twice(body: dict[str, Any]) -> list[Any]:
    bars = body.get("bars", [])
    return bars + bars[-1:] if isinstance(bars, list) and body.get("next") else bars


@pytest.mark.parametrize("what", BROKEN)
def test_conformance_fails_a_server_that_breaks_a_promise(what: str, client: httpx.Client) -> None:
    name, change = BROKEN[what]
    (check,) = [each for each in conformance.CHECKS if each.__name__.replace("_", " ") == name]
    said: list[str] = []
    with httpx.Client(base_url=client.base_url, transport=Tampering(change)) as broken:
        # How many bars there are is known from the right server where the wrong one would leave nothing to judge.
        judged = broken if name == "bars say final and revision" else client
        bars = judged.get("/api/v1/bars/BTC-USD").json()["bars"]
        assert conformance.run(conformance.Server(broken, "BTC-USD", bars), [check], said.append) == 1
    assert said[0].startswith(f"FAIL  {name}")
