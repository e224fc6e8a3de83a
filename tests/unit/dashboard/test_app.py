"""The application: what every answer says to a browser, who is let in, what the document loads."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from conf.settings import Settings
from core.errors import ConfigError
from dashboard.__main__ import main
from dashboard.app import create_app, on_error
from dashboard.client import ApiDown
from dashboard.pages import PAGES

PASSWORD = "open:sesame ä"
LOCAL = "http://127.0.0.1:8050"


class Scripts(HTMLParser):
    """The scripts and links of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.loaded: list[str] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._open = tag == "script" and "src" not in given and given.get("type") != "application/json"
        url = given.get("src") or (given.get("href") if tag == "link" else None)
        if url:
            self.loaded.append(url)

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._open = False


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings())


@pytest.fixture(scope="module")
def locked() -> FastAPI:
    return create_app(Settings(dashboard_host="0.0.0.0", dashboard_password=SecretStr(PASSWORD)))


def get(app: FastAPI, path: str, base: str = LOCAL, method: str = "GET", **options: Any) -> httpx.Response:
    """One request, from this machine's address."""

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_every_page_is_the_document_and_other_paths_are_not_found(app: FastAPI) -> None:
    document = get(app, "/").text
    for page in PAGES.values():
        answer = get(app, page.path)
        assert answer.status_code == 200
        assert Scripts(answer.text).loaded == Scripts(document).loaded
    unknown = get(app, "/nowhere")
    assert unknown.status_code == 404
    assert "react-entry-point" in unknown.text
    assert get(app, "/assets/nowhere.js").status_code == 404
    assert "react-entry-point" not in get(app, "/assets/nowhere.js").text


def test_first_document_of_a_server_is_whole(app: FastAPI) -> None:
    """Dash looks for assets when its first own path is asked for; a visitor may begin with another one."""
    loaded = Scripts(get(create_app(Settings()), "/market").text).loaded
    assert loaded == Scripts(get(app, "/").text).loaded
    names = [url.partition("?")[0] for url in loaded]
    assert "/assets/style.css" in names
    early = [names.index(f"/assets/{name}.js") for name in ("paint", "wire", "live", "shell")]
    assert early == sorted(early)
    assert names.count("/assets/live.js") == 1


def test_everything_comes_from_here_and_may_be_kept(app: FastAPI) -> None:
    for url in Scripts(get(app, "/").text).loaded:
        assert url.startswith("/") and not url.startswith("//"), "nothing is loaded from elsewhere"
        answer = get(app, url)
        assert answer.status_code == 200, url
        assert "immutable" in answer.headers["cache-control"] or url == "/assets/favicon.svg"
    for path in ("/", "/_dash-layout", "/_dash-dependencies", "/assets/style.css"):
        assert get(app, path).headers["cache-control"] == "no-cache", path


def test_heavy_libraries_wait_for_the_pages_that_need_them(app: FastAPI) -> None:
    loaded = " ".join(Scripts(get(app, "/").text).loaded)
    assert "plotly.min" not in loaded
    assert "async-" not in loaded
    assert get(app, "/_dash-component-suites/plotly/package_data/plotly.min.js").status_code == 200


def test_answers_are_compressed(app: FastAPI) -> None:
    answer = get(app, "/assets/live.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "tickstream" in answer.text


def test_policy_lets_exactly_our_inline_scripts_run(app: FastAPI) -> None:
    answer = get(app, "/")
    policy = answer.headers["content-security-policy"]
    named = set(re.findall(r"'sha256-([^']+)'", policy))
    inline = Scripts(answer.text).inline
    assert {base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in inline} == named
    assert len(inline) >= 2
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts is not None and "unsafe" not in scripts[1] and "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "*" not in policy


@pytest.mark.parametrize(
    ("base", "headers", "status"),
    [
        (LOCAL, {}, 200),
        ("http://localhost:8050", {}, 200),
        ("http://[::1]:8050", {}, 200),
        ("http://evil.example:8050", {}, 403),
        ("http://127.0.0.1.evil.example", {}, 403),
        ("http://10.0.0.5:8050", {}, 403),
        (LOCAL, {"X-Forwarded-For": "10.0.0.5"}, 403),
        (LOCAL, {"Origin": "https://evil.example"}, 200),
    ],
)
def test_open_dashboard_answers_this_machine_under_its_own_names(
    app: FastAPI, base: str, headers: dict[str, str], status: int
) -> None:
    assert get(app, "/", base, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": LOCAL}, 200),
        ({}, 200),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_call_nothing(app: FastAPI, headers: dict[str, str], status: int) -> None:
    change = {"id": "location", "property": "pathname", "value": "/nowhere"}
    call = {
        "output": "page.children",
        "outputs": {"id": "page", "property": "children"},
        "inputs": [change],
        "state": [{"id": "location", "property": "search", "value": ""}],
        "changedPropIds": ["location.pathname"],
    }
    answer = get(app, "/_dash-update-component", method="POST", json=call, headers=headers)
    assert answer.status_code == status
    assert ("unknown-page" in answer.text) == (status == 200)


def test_callback_that_fails_is_in_the_log_unless_the_api_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    on_error(ApiDown("The API does not answer."))
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyError):
        on_error(KeyError("vwap"))
    assert "a callback failed" in (said := capsys.readouterr().out) and "vwap" in said


def test_callback_is_served_and_its_failure_is_500(app: FastAPI, capsys: pytest.CaptureFixture[str]) -> None:
    call = {
        "output": "page.children",
        "outputs": {"id": "page", "property": "children"},
        "inputs": [{"id": "location", "property": "pathname", "value": 7}],
        "state": [{"id": "location", "property": "search", "value": ""}],
        "changedPropIds": ["location.pathname"],
    }
    answer = get(app, "/_dash-update-component", method="POST", json=call)
    assert answer.status_code == 500 and "Traceback" not in answer.text
    assert "a callback failed" in capsys.readouterr().out


def test_nobody_sees_a_locked_dashboard_without_its_password(locked: FastAPI) -> None:
    for path in ("/", "/market", "/_dash-layout", "/assets/live.js", "/vendor/bootstrap.css"):
        answer = get(locked, path, "http://dash.example")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert "set-cookie" not in answer.headers
        assert len(answer.text) < 100
    assert get(locked, "/health/live", "http://dash.example").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "headers",
    [
        basic("wrong"),
        basic(""),
        basic(PASSWORD + " "),
        basic(PASSWORD.partition(":")[2]),
        {"Authorization": "Basic not base64"},
        {"Authorization": "Bearer " + PASSWORD.replace("ä", "a")},
        {"Cookie": "tickstream="},
        {"Cookie": "tickstream=" + "0" * 64},
    ],
)
def test_wrong_password_opens_nothing(locked: FastAPI, headers: dict[str, str]) -> None:
    assert get(locked, "/", "http://dash.example", headers=headers).status_code == 401


def test_password_opens_and_leaves_a_cookie_that_opens_too(locked: FastAPI) -> None:
    answer = get(locked, "/", "http://dash.example", headers=basic(PASSWORD, user=""))
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert set(cookie.split("; ")[1:]) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    assert PASSWORD not in cookie and base64.b64encode(PASSWORD.encode()).decode() not in cookie
    kept = {"Cookie": f"other=1; {cookie.partition(';')[0]}"}
    again = get(locked, "/", "http://dash.example", headers=kept)
    assert again.status_code == 200
    assert "set-cookie" not in again.headers
    stranger = create_app(Settings(dashboard_password=SecretStr("another")))
    assert get(stranger, "/", headers=kept).status_code == 401
    by_tls = get(locked, "/", "http://dash.example", headers=basic(PASSWORD) | {"X-Forwarded-Proto": "https"})
    assert by_tls.headers["set-cookie"] == f"{cookie}; Secure"


def test_cookie_is_not_enough_for_a_page_of_another_site(locked: FastAPI) -> None:
    headers = basic(PASSWORD) | {"Origin": "https://evil.example"}
    assert get(locked, "/_dash-update-component", "http://dash.example", "POST", headers=headers).status_code == 403


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.delenv("TICKSTREAM_DASHBOARD_PASSWORD", raising=False)
    yield monkeypatch


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "dash.example"])
def test_public_address_needs_a_password(
    host: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError):
        create_app(Settings(dashboard_host=host))
    with pytest.raises(SystemExit) as ended:
        main(["--host", host])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert host in said and "TICKSTREAM_DASHBOARD_PASSWORD" in said
    assert len(said.splitlines()) == 1


def test_wrong_address_of_the_api_is_said_at_the_start(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("TICKSTREAM_DASHBOARD_API_URL", "https://user:hunter2@api.example")
    with pytest.raises(SystemExit):
        main([])
    said = capsys.readouterr().err
    assert "TICKSTREAM_DASHBOARD_API_URL" in said and "hunter2" not in said
