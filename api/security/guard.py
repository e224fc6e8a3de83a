"""What holds while access is open: only this machine, by its own names, and no page of another site.

A browser lets any page send requests to 127.0.0.1, and a name of a stranger may lead there. Without keys, the names
in `Host` and `Origin` tell such a request from one's own.
"""

from collections.abc import Collection

from starlette.types import Scope

from api.security.address import host_of, is_elsewhere
from api.security.policy import SAFE
from api.security.principal import Forbidden
from conf.addresses import is_loopback

_PROXY_HEADERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


def check_open(scope: Scope, origins: Collection[str]) -> None:
    """Raise Forbidden for a request without a key that is not from this machine's own programs and pages.

    `origins` are those of other pages that may.
    """
    server = scope.get("server")
    if server and is_elsewhere(str(server[0])):
        raise Forbidden("without keys, the API answers on loopback only")
    if proxied(scope):
        raise Forbidden("a proxy passed this on, so others can reach the API: without keys it is for this machine only")
    host, origin = _named(scope)
    # A name of one word leads nowhere else: `testserver`, or what a hosts file says.
    if (host and "." in host and not is_loopback(host)) or (host and is_elsewhere(host)):
        raise Forbidden("without keys, the API answers to localhost only: use that name, or a key")
    if origin and (scope["type"] == "websocket" or scope["method"] not in SAFE) and not _own(origin, origins):
        raise Forbidden("a page of another site may not do this without a key")


def proxied(scope: Scope) -> bool:
    """Whether a proxy says that the request came through it."""
    return any(name in _PROXY_HEADERS for name, _ in scope["headers"])


def _own(origin: str, origins: Collection[str]) -> bool:
    return is_loopback(host_of(origin)) or origin in origins


def _named(scope: Scope) -> tuple[str, str]:
    """The host that the caller meant, and the origin of the page that asks, empty for none."""
    host = origin = ""
    for name, value in scope["headers"]:
        if name == b"host":
            host = host_of(value.decode("latin-1"))
        elif name == b"origin":
            origin = value.decode("latin-1").rstrip("/")
    return host, origin
