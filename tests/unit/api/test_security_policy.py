"""Which path asks for what, who is meant by an address, and when the API is open."""

import asyncio
from typing import Any

import pytest

from api.security import gate as gates
from api.security.address import client_address, cors_origins, host_of, trusted_proxies
from api.security.gate import Gate, always_closed, refuse_without_keys
from api.security.guard import check_open
from api.security.policy import rule_of, scope_of
from api.security.principal import Forbidden, Principal
from api.security.redact import redacted, secret_parameter
from conf.addresses import is_loopback
from conf.settings import Settings
from core.errors import ConfigError, StoreUnavailable


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/health/live", "public"),
        ("GET", "/health", "read"),
        ("GET", "/docs", "read"),
        ("GET", "/api/v1/bars/A/B", "read"),
        ("HEAD", "/api/v1/bars/A", "read"),
        ("GET", "/api/v1/prices/poll", "read"),
        ("POST", "/api/v1/prices/poll", "write"),
        ("DELETE", "/api/v1/prices/poll/1", "write"),
        ("PATCH", "/api/v1/bars/A", "write"),
        ("BREW", "/api/v1/bars/A", "write"),
        ("GET", "/api/v1/admin/anything", "admin"),
        ("GET", "/ws", "stream"),
        ("GET", "/healthy", None),
        ("GET", "/api/v1/barsoom", None),
        ("GET", "/api", None),
        ("GET", "/", None),
        ("GET", "", None),
        ("GET", "/API/v1/bars", None),
        ("GET", "//api/v1/bars", None),
    ],
)
def test_scope_of_a_request(method: str, path: str, scope: str | None) -> None:
    assert scope_of(method, path, on_loopback=False) == scope


def test_local_paths_are_public_on_loopback_only() -> None:
    assert scope_of("GET", "/health/ready", on_loopback=True) == "public"
    assert rule_of("/docs/oauth2-redirect") == "local"


def test_admin_may_everything_and_others_only_what_they_have() -> None:
    assert all(Principal("a", frozenset({"admin"}), "").may(scope) for scope in ("read", "write", "stream", "public"))
    assert not Principal("a", frozenset({"read"}), "").may("write")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def scope(**fields: Any) -> dict[str, Any]:
    headers = [(name.encode(), value.encode()) for name, value in fields.pop("headers", {}).items()]
    return {"type": "http", "method": "GET", "server": ("127.0.0.1", 80), "headers": headers} | fields


@pytest.mark.parametrize(
    ("forwarded", "peer", "expected"),
    [
        ("6.6.6.6", "9.9.9.9", "9.9.9.9"),  # from nobody's proxy
        ("6.6.6.6", "10.0.0.1", "6.6.6.6"),
        ("1.1.1.1, 6.6.6.6", "10.0.0.1", "6.6.6.6"),  # what the caller wrote itself does not count
        ("6.6.6.6, 10.0.0.2", "10.0.0.1", "6.6.6.6"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.1", "10.0.0.3"),
        ("nonsense", "10.0.0.1", "10.0.0.1"),
        ("", "10.0.0.1", "10.0.0.1"),
    ],
)
def test_address_behind_trusted_proxies(forwarded: str, peer: str, expected: str) -> None:
    proxies = trusted_proxies(Settings(api_trusted_proxies="10.0.0.0/8"))
    request = scope(client=(peer, 1), headers={"x-forwarded-for": forwarded})
    assert client_address(request, proxies) == expected
    assert client_address(request, ()) == peer


def test_settings_that_are_no_addresses_or_origins_are_refused() -> None:
    for field, value in (
        ("api_trusted_proxies", "proxy.example"),
        ("api_cors_origins", "charts.example.com"),
        ("api_cors_origins", "https://a.example/path"),
    ):
        with pytest.raises(ConfigError, match=field.upper()):
            settings = Settings(**{field: value})
            trusted_proxies(settings)
            cors_origins(settings)


@pytest.mark.parametrize(
    "fields",
    [
        {"server": ("192.168.1.5", 80)},
        {"headers": {"host": "evil.example:8000"}},
        {"headers": {"host": "192.168.1.5"}},
        {"headers": {"host": "127.0.0.1", "x-forwarded-for": "6.6.6.6"}},
        {"headers": {"host": "127.0.0.1", "forwarded": "for=6.6.6.6"}},
        {"method": "POST", "headers": {"host": "localhost", "origin": "https://evil.example"}},
        {"method": "POST", "headers": {"host": "localhost", "origin": "null"}},
        {"type": "websocket", "headers": {"host": "localhost", "origin": "https://evil.example"}},
    ],
)
def test_open_access_is_not_for_other_machines_names_and_pages(fields: dict[str, Any]) -> None:
    with pytest.raises(Forbidden):
        check_open(scope(**fields), ())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"headers": {"host": "localhost:8000"}},
        {"headers": {"host": "[::1]:8000"}, "server": ("::1", 8000)},
        {"headers": {"host": "testserver"}, "server": ("testserver", 80)},
        {"method": "POST", "headers": {"host": "127.0.0.1:8000", "origin": "http://localhost:8050"}},
        {"type": "websocket", "headers": {"host": "127.0.0.1:8000", "origin": "https://charts.example"}},
        {"headers": {"host": "127.0.0.1", "origin": "https://evil.example"}},  # a read; without CORS it stays unread
    ],
)
def test_open_access_is_for_this_machine_s_own(fields: dict[str, Any]) -> None:
    check_open(scope(**fields), ("https://charts.example",))


def test_host_of_nonsense_is_nothing() -> None:
    assert host_of("[") == "" and host_of("") == ""


class Keys:
    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def any_keys(self) -> bool:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def opened(settings: Settings, keys: Keys, times: int = 1) -> list[bool | type[Exception]]:
    async def scenario() -> list[bool | type[Exception]]:
        gate, found = Gate(settings, keys), []
        for _ in range(times):
            try:
                found.append(await gate.is_open())
            except StoreUnavailable as error:
                found.append(type(error))
        return found

    return asyncio.run(scenario())


def test_loopback_is_open_until_a_key_exists_and_never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "OLDEST_SECONDS", 0.0)
    assert opened(Settings(), Keys(False, True, False), 3) == [True, False, False]


def test_loopback_asks_once_for_many_requests() -> None:
    keys = Keys(False)
    assert opened(Settings(), keys, 50) == [True] * 50 and keys.asked == 1


def test_while_nobody_knows_whether_keys_exist_it_is_closed() -> None:
    down = StoreUnavailable("timescale", "gone")
    assert opened(Settings(), Keys(down, down, False), 3) == [StoreUnavailable, StoreUnavailable, True]


def test_what_was_known_holds_through_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "OLDEST_SECONDS", 0.0)
    assert opened(Settings(), Keys(False, StoreUnavailable("timescale", "gone")), 3) == [True, True, True]


def test_database_without_the_table_has_no_keys() -> None:
    assert opened(Settings(), Keys(ConfigError("no table"))) == [True]


@pytest.mark.parametrize(
    ("fields", "closed"),
    [
        ({}, False),
        ({"api_auth": "off"}, False),
        ({"api_auth": "required"}, True),
        ({"api_host": "0.0.0.0"}, True),
        ({"api_host": "::"}, True),
        ({"api_host": "api.example"}, True),
        ({"api_bootstrap_key": "ts_x"}, True),
        ({"api_jwt_secret": "x"}, True),
    ],
)
def test_closed_whatever_the_database_says(fields: dict[str, Any], closed: bool) -> None:
    assert always_closed(Settings(**fields)) is closed


def test_off_is_for_loopback_and_public_needs_a_key_or_a_way_to_one() -> None:
    with pytest.raises(ConfigError, match="loopback only"):
        always_closed(Settings(api_host="0.0.0.0", api_auth="off"))
    with pytest.raises(ConfigError, match="keys create"):
        refuse_without_keys(Settings(api_host="0.0.0.0"), False)
    refuse_without_keys(Settings(api_host="0.0.0.0"), True)
    refuse_without_keys(Settings(api_host="0.0.0.0", api_bootstrap_key="x"), False)
    refuse_without_keys(Settings(api_auth="required"), False)


@pytest.mark.parametrize(
    "query", [b"key=1", b"a=1&token=x", b"API_KEY=1", b"t%6Fken=1", b"access_token=", b"symbol=ts_abcdef_0123456789"]
)
def test_parameter_that_holds_a_key_is_found(query: bytes) -> None:
    assert secret_parameter(query) is not None


@pytest.mark.parametrize("query", [b"", b"symbol=A", b"cursor=eyJ", b"keyless=1", b"symbol=KEY", b"a=%"])
def test_parameter_that_holds_none_is_left_alone(query: bytes) -> None:
    assert secret_parameter(query) is None


@pytest.mark.parametrize(
    "text",
    [
        "/x?key=S3CRET",
        "/x?a=1&Token=S3CRET&b=2",
        "ts_abcdef_S3CRET",
        '"GET /x?jwt=S3CRET HTTP/1.1"',
        "eyJa.b.S3CRET",
    ],
)
def test_logs_show_no_key(text: str) -> None:
    assert "S3CRET" not in redacted(text)
    assert redacted("/x?symbol=A&limit=5") == "/x?symbol=A&limit=5"
