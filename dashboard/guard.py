"""Who may see the dashboard: on loopback this machine under its own names, elsewhere who knows the password.

The outermost layer. It also gives every answer what a browser needs to know: what may run, what may be kept.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conf.addresses import is_loopback
from conf.settings import Settings
from core.errors import ConfigError

ALIVE = "/health/live"
COOKIE = "tickstream"
REALM = 'Basic realm="tickstream", charset="UTF-8"'
SAFE = ("GET", "HEAD")
KEEP = "public, max-age=31536000, immutable"


def check_settings(settings: Settings) -> None:
    """Raise ConfigError where everybody could see the dashboard."""
    if not is_loopback(settings.dashboard_host) and not settings.dashboard_password.get_secret_value():
        raise ConfigError(
            f"the dashboard is to listen on {settings.dashboard_host}, which others can reach: "
            "set TICKSTREAM_DASHBOARD_PASSWORD, or leave out the host"
        )


class Password:
    """Compares in constant time. A browser that has said it once gets a cookie: not all send it with a socket."""

    def __init__(self, password: SecretStr) -> None:
        secret = password.get_secret_value().encode()
        self._digest = _digest(secret) if secret else b""
        self._token = _token(secret) if secret else ""

    def __bool__(self) -> bool:
        return bool(self._digest)

    def cookie(self, headers: Headers) -> str:
        """The header that lets the browser in from now on, until it is closed; by TLS only where it came by TLS."""
        # Whoever claims that falsely hurts himself alone.
        secure = "; Secure" if headers.get("x-forwarded-proto") == "https" else ""
        return f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def known(self, headers: Headers) -> bool:
        """Whether a request may pass."""
        return self.said(headers) or self._carried(headers)

    def said(self, headers: Headers) -> bool:
        """Whether it says the password itself."""
        given = _basic(headers.get("authorization", ""))
        return given is not None and hmac.compare_digest(_digest(given), self._digest)

    def _carried(self, headers: Headers) -> bool:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self._token.encode())


class Guard:
    """Refuses what should not come in, and heads what goes out. `scripts` are the CSP sources of inline scripts."""

    def __init__(self, app: ASGIApp, password: SecretStr, scripts: Iterable[str]) -> None:
        self._app = app
        self._password = Password(password)
        self._headers = _always(scripts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = None if scope["path"] == ALIVE else self._refusal(scope, headers)
        answer = send if scope["type"] == "websocket" else self._headed(scope, headers, send)
        if refusal is None:
            await self._app(scope, receive, answer)
        elif scope["type"] == "websocket":
            await _deny(scope, refusal, receive, send)
        else:
            await refusal(scope, receive, answer)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        if self._password:
            if not self._password.known(headers):
                return _no(401, "a password is needed", {"www-authenticate": REALM})
        elif (reason := _stranger(scope, headers)) is not None:
            return _no(403, reason)
        if (scope["type"] == "websocket" or scope["method"] not in SAFE) and not _same_origin(scope, headers):
            return _no(403, "a page of another site may not do this")
        return None

    def _headed(self, scope: Scope, headers: Headers, send: Send) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in self._headers:
                    out[name] = value
                out["Cache-Control"] = _kept(scope, message["status"])
                if self._password and self._password.said(headers):
                    out["Set-Cookie"] = self._password.cookie(headers)
            await send(message)

        return answer


def _stranger(scope: Scope, headers: Headers) -> str | None:
    """Why a request without a password is not from this machine: a name of a stranger may lead to 127.0.0.1."""
    server = scope.get("server")
    if server and server[1] is not None and not is_loopback(str(server[0])):
        return "without a password, the dashboard answers on loopback only"
    if any(name in headers for name in ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")):
        return "a proxy passed this on, so others can reach the dashboard: set TICKSTREAM_DASHBOARD_PASSWORD"
    if not is_loopback(_host(headers)):
        return "without a password, the dashboard answers to localhost only: use that name"
    return None


def _host(headers: Headers) -> str:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _same_origin(scope: Scope, headers: Headers) -> bool:
    """Whether the page that asks is ours. Programs send no Origin; a socket of a browser always has one."""
    origin = headers.get("origin")
    if origin is None:
        return scope["type"] == "http" and headers.get("sec-fetch-site") in (None, "same-origin", "none")
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""


def _kept(scope: Scope, status: int) -> str:
    """What may be kept for good has a fingerprint in its URL."""
    path = scope["path"]
    named = path.startswith("/_dash-component-suites/") and ".v" in path.rpartition("/")[2]
    stamped = path.startswith("/assets/") and scope["query_string"].startswith(b"m=")
    vendor = path.startswith("/vendor/")
    return KEEP if status == 200 and (named or stamped or vendor) else "no-cache"


def _always(scripts: Iterable[str]) -> list[tuple[str, str]]:
    policy = (
        f"default-src 'self'; script-src 'self' {' '.join(_unique(scripts))}; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:;"
        " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return [
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]


def _unique(scripts: Iterable[str]) -> Collection[str]:
    return dict.fromkeys(scripts).keys()


def _no(status: int, text: str, headers: dict[str, str] | None = None) -> PlainTextResponse:
    return PlainTextResponse(text + "\n", status, headers)


async def _deny(scope: Scope, refusal: PlainTextResponse, receive: Receive, send: Send) -> None:
    """Refuse a handshake with the status where the server can, else with close code 1008."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        await refusal(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008})


def _basic(value: str) -> bytes | None:
    """The password of an Authorization header; the user name is not looked at."""
    kind, _, encoded = value.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return None


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _token(secret: bytes) -> str:
    """The same after a restart, and slow to compute for who would guess the password from it."""
    return hashlib.scrypt(secret, salt=b"tickstream dashboard", n=1 << 14, r=8, p=1, dklen=32).hex()
