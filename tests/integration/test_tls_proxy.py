"""TLS in front of the API and the dashboard: deploy/nginx.conf as it is, but for names of files and ports."""

import getpass
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from local.jars import ROOT
from local.postgres import Postgres
from local.redis import Redis
from local.server import free_port
from stores.migrations import Retention, migrate
from tests import charts
from tests.api_process import add_key, bearer
from tests.browser import chromium, needs_browser, screen, until
from tests.dashboard_process import Rig
from tests.secure_kafka import Authority
from tests.ws_client import SocketClient, run

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx here (Debian: apt-get install nginx)")

PASSWORD = "seen by friends"
ELSEWHERE = "127.0.0.2"  # a caller that is not the proxy
JOB = {"symbols": ["BTC-USD"], "interval": "60s", "provider": "coinbase"}
_AROUND = """
user {user};
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/tickstream.conf;
}}
"""


class ClosedRig(Rig):
    """One whose API asks for keys and whose dashboard asks for a password."""

    def _settings(self) -> Settings:
        plain = super()._settings()
        with psycopg.connect(plain.postgres_dsn.get_secret_value(), autocommit=True) as connection:
            migrate(connection, Retention())
        self.key, _ = add_key(plain, ["read", "stream", "write"])
        told = {
            "api_auth": "required",
            "api_trusted_proxies": "127.0.0.1",
            "dashboard_api_key": SecretStr(self.key),
            "dashboard_password": SecretStr(PASSWORD),
        }
        return Settings(**plain.model_dump(include=plain.model_fields_set) | told)


@dataclass
class Front:
    """Where nginx listens, and whom to trust."""

    api: str
    charts: str
    plain: str
    authority: ssl.SSLContext
    log: Path

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.api, verify=self.authority, timeout=30, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rig(
    postgres_server: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClosedRig]:
    with ClosedRig(postgres_server, redis_server, tmp_path_factory.mktemp("closed")) as made:
        yield made


@pytest.fixture(scope="module")
def front(rig: ClosedRig, servers_folder: Path) -> Iterator[Front]:
    folder = servers_folder / "nginx"
    authority = Authority(servers_folder / "nginx-authority")
    folder.mkdir()
    ports = [free_port() for _ in range(3)]
    text, log = (ROOT / "deploy" / "nginx.conf").read_text(), folder / "api.log"
    (folder / "tickstream.conf").write_text(_here(text, rig.settings, ports, authority.signed("nginx"), log))
    (folder / "nginx.conf").write_text(_AROUND.format(user=getpass.getuser(), folder=folder))
    trusted = ssl.create_default_context(cafile=str(authority.path))
    urls = [f"{scheme}://127.0.0.1:{port}" for scheme, port in zip(("https", "https", "http"), ports, strict=True)]
    made = Front(*urls, trusted, log)
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", "nginx.conf"])
    try:
        until(lambda: _answers(made.plain), "nginx answers")
        yield made
    finally:
        process.terminate()
        process.wait(10)


def _here(text: str, settings: Settings, ports: list[int], certificate: tuple[Path, Path], log: Path) -> str:
    """The configuration for this machine; whatever is replaced has to be there."""
    told = [
        (r"127\.0\.0\.1:8000", f"127.0.0.1:{settings.api_port}", 1),
        (r"127\.0\.0\.1:8050", f"127.0.0.1:{settings.dashboard_port}", 1),
        (r"/var/log/nginx/tickstream\.log", str(log), 2),
        (r"/etc/ssl/tickstream\.pem", str(certificate[0]), 2),
        (r"/etc/ssl/private/tickstream\.key", str(certificate[1]), 2),
        (r"listen 80;", f"listen 127.0.0.1:{ports[2]};", 2),
    ]
    for pattern, here, times in told:
        text, replaced = re.subn(pattern, here, text)
        assert replaced == times, pattern
    for port in ports[:2]:
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;", 1)
    assert "443" not in text
    return text


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code > 0
    except httpx.TransportError:
        return False


def test_api_answers_by_tls_and_notes_who_called_and_not_who_was_claimed(front: Front, rig: ClosedRig) -> None:
    with front.client(transport=httpx.HTTPTransport(verify=front.authority, local_address=ELSEWHERE)) as client:
        assert client.get("/api/v1/symbols").status_code == 401
        told = client.get("/api/v1/symbols", headers=bearer(rig.key))
        assert told.status_code == 200
        assert "max-age" in told.headers["strict-transport-security"]
        headers = bearer(rig.key) | {"X-Forwarded-For": "6.6.6.6", "X-Request-ID": "by-tls"}
        assert client.post("/api/v1/prices/poll", json=JOB, headers=headers).status_code == 202
    with psycopg.connect(rig.settings.postgres_dsn.get_secret_value()) as connection:
        asked = "SELECT address FROM audit_log WHERE request_id = 'by-tls'"
        assert connection.execute(asked).fetchall() == [(ELSEWHERE,)]


def test_limits_are_the_apis_own_and_in_its_words(front: Front, rig: ClosedRig) -> None:
    with front.client() as client:
        told = client.post("/api/v1/prices/poll", content=b"x" * 70_000, headers=bearer(rig.key))
        assert (told.status_code, told.headers["content-type"]) == (413, "application/problem+json")
        told = client.get("/api/v1/symbols", params={"q": "x" * 9_000}, headers=bearer(rig.key))
        assert (told.status_code, told.headers["content-type"]) == (414, "application/problem+json")


def test_in_clear_a_key_is_refused_and_a_page_led_on(front: Front, rig: ClosedRig) -> None:
    refused = httpx.get(front.plain, headers=bearer(rig.key) | {"Host": "api.example.com"})
    assert refused.status_code == 403
    led = httpx.get(f"{front.plain}/market?x=1", headers={"Host": "charts.example.com"})
    assert (led.status_code, led.headers["location"]) == (301, "https://charts.example.com/market?x=1")


def test_key_in_a_url_is_in_no_log(front: Front, rig: ClosedRig) -> None:
    with front.client() as client:
        assert client.get("/api/v1/symbols", params={"api_key": rig.key}).status_code in (400, 401)
    httpx.get(f"{front.plain}/api/v1/latest", params={"api_key": rig.key}, headers={"Host": "api.example.com"})
    until(lambda: '"GET /api/v1/latest" 403' in front.log.read_text(), "the log of both requests")
    assert '"GET /api/v1/symbols" 40' in front.log.read_text()
    written = [path.read_text(errors="replace") for path in front.log.parent.glob("*.log")]
    assert not any(rig.key.rpartition("_")[2] in text for text in written)


def test_socket_is_followed_through_tls(front: Front, rig: ClosedRig) -> None:
    tape = rig.tape(("AAPL",), 20)
    url = f"wss{front.api.removeprefix('https')}/ws"

    async def follow() -> None:
        options = {"ssl": front.authority, "additional_headers": bearer(rig.key)}
        async with SocketClient(url, **options) as client:
            assert (await client.subscribe("AAPL", interval="1m"))["type"] == "snapshot"
            tape.trade("AAPL")
            await client.find(lambda each: each["type"] == "update")

    run(follow())


@needs_browser
def test_dashboard_is_live_behind_tls_and_its_cookie_for_tls_alone(front: Front, rig: ClosedRig) -> None:
    tape = rig.tape(("MSFT",), 40)
    options = {"ignore_https_errors": True, "http_credentials": {"username": "x", "password": PASSWORD}}
    with chromium() as browser, screen(browser, front.charts, **options) as shown:
        shown.open("/?symbol=MSFT&interval=1m&range=1h")
        shown.until("document.querySelector('#connection')?.dataset.state === 'up'", "connected to the API")
        charts.loaded(shown, "MSFT")
        charts.shows(shown, tape.trade("MSFT"))
        (cookie,) = shown.context.cookies()
        assert cookie["secure"] and cookie["httpOnly"]
