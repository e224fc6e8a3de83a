"""Who calls: a principal with scopes, and the credential that a request carries."""

import ipaddress
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from core.errors import Retryable, TickstreamError

SCOPES = ("read", "stream", "write", "admin")
PUBLIC = "public"
"""Not a scope: what anybody may ask."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `id` is a key's id, `jwt:subject` or `anonymous`; `bucket` is what its requests are counted by.

    `expires_us` is when the credential ends, None for never.
    """

    id: str
    scopes: frozenset[str]
    bucket: str
    expires_us: int | None = None
    limiter: Any = field(default=None, repr=False, compare=False)
    """What counts the messages of a socket; set for those that `api.security.socket.admit` returns."""

    def may(self, scope: str) -> bool:
        """`admin` may do everything."""
        return scope == PUBLIC or scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class Caller:
    """A request's caller, in the ASGI scope under `CALLER`: for handlers and for logs."""

    principal: Principal
    address: str
    request_id: str


CALLER = "tickstream.caller"


class Unauthorized(TickstreamError):
    """No credential, or one that is not valid. The message never quotes it."""


class Forbidden(TickstreamError):
    """The caller is known, and may not do this."""


class TooMany(Retryable):
    """The caller is over its limit; `headers` say which."""

    def __init__(self, message: str, retry_after: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message, retry_after)
        self.headers = tuple(headers)


def anonymous(address: str, scopes: Iterable[str] = ()) -> Principal:
    """Somebody without a key: counted by address."""
    return Principal("anonymous", frozenset(scopes), f"address:{network(address)}")


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """What an address is counted as: an IPv4 address itself, of IPv6 the /64, which one caller has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed.packed[:8] + bytes(8), 64)))
    return address


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key or token of `Authorization: Bearer` or `X-API-Key`, None where there is none.

    Raises Unauthorized for another scheme, for text that no key can be, and for two that differ.
    """
    found: set[str] = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthorized("Authorization has to be Bearer, followed by a key")
            found.add(_text(rest.strip()))
        elif name == b"x-api-key":
            found.add(_text(value.strip()))
    if len(found) > 1:
        raise Unauthorized("two keys that differ: send one")
    return found.pop() if found else None


def offered(protocols: Iterable[Any]) -> str | None:
    """The key of `Sec-WebSocket-Protocol: bearer, <key>`, which is how a browser can send one."""
    names = [str(protocol) for protocol in protocols]
    for first, second in itertools.pairwise(names):
        if first == "bearer":
            return second
    return None


def _text(value: bytes) -> str:
    if not value or len(value) > 8192 or not value.isascii():
        raise Unauthorized("not a key")
    return value.decode("ascii")
