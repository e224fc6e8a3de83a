"""Whether a provider can be reached at all, asked before anything is started."""

import socket
import threading
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from core.errors import TickstreamError

CONNECT_SECONDS = 5.0


class NoRoute(TickstreamError):
    """A provider cannot be reached from here: no name, no route, or nobody listens."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(f"{provider} cannot be reached: is this machine on the internet? ({detail})")


def check_route(provider: str, url: str, seconds: float = CONNECT_SECONDS) -> None:
    """Connect to the host of a URL, or to the proxy that is set for it, and hang up. Raises NoRoute.

    Only the host shows in the error: the rest of a URL may hold a key.
    """
    host, port = _address(url)
    problem: list[str] = [f"no answer in {seconds:g} s"]

    def ask() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
            problem.clear()
        except OSError as error:
            problem[0] = error.strerror or str(error) or type(error).__name__

    # In a thread: a name server that does not answer keeps the caller for longer than any timeout says.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    for found in list(problem):
        raise NoRoute(provider, f"{host}: {found}")


def check_routes(urls: Mapping[str, str], seconds: float = CONNECT_SECONDS) -> None:
    """Of several providers, one that answers is enough. Raises the first one's NoRoute when none does."""
    problems: list[NoRoute] = []
    for provider, url in urls.items():
        try:
            check_route(provider, url, seconds)
            return
        except NoRoute as error:
            problems.append(error)
    raise problems[0]


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https" if secure else "http")
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    return host, parts.port or (443 if secure else 80)
