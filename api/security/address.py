"""Where a request comes from, and whether a name or an address means this machine alone."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from conf.addresses import is_loopback
from conf.settings import Settings
from core.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNKNOWN = "unknown"


@lru_cache(maxsize=1024)
def is_elsewhere(host: str) -> bool:
    """Whether it is an address, and not one of this machine alone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not is_loopback(host)


@lru_cache(maxsize=1024)
def host_of(value: str) -> str:
    """The host of a `Host` header or of an origin, empty where there is none.

    >>> host_of("localhost:8000"), host_of("[::1]:8000"), host_of("https://a.example:8443"), host_of("null")
    ('localhost', '::1', 'a.example', 'null')
    """
    try:
        return urlsplit(value if "://" in value else f"//{value}").hostname or ""
    except ValueError:
        return ""


def trusted_proxies(settings: Settings) -> tuple[Network, ...]:
    """The networks of TICKSTREAM_API_TRUSTED_PROXIES. Raises ConfigError for what is none."""
    try:
        return tuple(ipaddress.ip_network(part, strict=False) for part in _parts(settings.api_trusted_proxies))
    except ValueError:
        raise ConfigError("TICKSTREAM_API_TRUSTED_PROXIES: addresses or networks such as 10.0.0.0/8") from None


def cors_origins(settings: Settings) -> tuple[str, ...]:
    """The origins of TICKSTREAM_API_CORS_ORIGINS. Raises ConfigError for what is none."""
    origins = tuple(part.rstrip("/") for part in _parts(settings.api_cors_origins))
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query):
            raise ConfigError("TICKSTREAM_API_CORS_ORIGINS: origins such as https://charts.example.com, or *")
    return origins


def client_address(scope: Any, proxies: tuple[Network, ...]) -> str:
    """The caller's address; behind trusted proxies, the last one that X-Forwarded-For has before theirs."""
    client = scope.get("client")
    address = str(client[0]) if client else UNKNOWN
    if not proxies or not _within(address, proxies):
        return address
    hops = [hop.strip() for hop in forwarded(scope["headers"]).split(",") if hop.strip()]
    for hop in reversed(hops):
        if _address(hop) is None:
            return address  # a proxy that we trust writes addresses: this is somebody else's text
        address = hop
        if not _within(hop, proxies):
            return hop
    return address


def forwarded(headers: Iterable[tuple[bytes, bytes]]) -> str:
    return ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")


@lru_cache(maxsize=4096)
def _within(address: str, networks: tuple[Network, ...]) -> bool:
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
