"""What each path asks for, in one table, and whether access is open.

The table has a row for every resource; a test walks the routes and fails for one without. A path without a row is
not there for anybody but `admin`: what nobody thought of is not open by accident.
"""

from typing import Literal

from api.security.principal import PUBLIC

Rule = Literal["public", "local", "read", "stream", "write", "admin"]
LOCAL = "local"
"""Public where the API listens on loopback, and `read` elsewhere."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

RULES: dict[str, Rule] = {
    "/health/live": "public",
    "/health": "local",
    "/docs": "local",
    "/docs/static": "public",  # programs of two libraries, which a page loads without a key
    "/redoc": "local",
    "/openapi.json": "local",
    "/ws": "stream",
    "/udf": "read",
    "/symbols": "read",
    "/trades": "read",
    "/candles": "read",
    "/analytics": "read",
    "/price/latest": "read",
    "/api/data": "read",
    "/api/ohlc": "read",
    "/api/analytics": "read",
    "/api/indicators": "read",
    "/api/v1/admin": "admin",
    "/api/v1/aggregated": "read",
    "/api/v1/alerts": "read",
    "/api/v1/analytics": "read",
    "/api/v1/anomalies": "read",
    "/api/v1/bars": "read",
    "/api/v1/indicators": "read",
    "/api/v1/latest": "read",
    "/api/v1/market": "read",
    "/api/v1/metrics": "read",
    "/api/v1/predictions": "read",
    "/api/v1/prices": "read",
    "/api/v1/quality": "read",
    "/api/v1/stocks": "read",
    "/api/v1/symbols": "read",
    "/api/v1/ticks": "read",
}
"""Path, with all below it, to what a GET asks for; any other method of a `read` path asks for `write`."""

_DEPTH = max(path.count("/") for path in RULES)


def rule_of(path: str) -> Rule | None:
    """The row of a path: the longest that is the path itself or a folder above it."""
    parts = path.split("/", _DEPTH + 1)
    for count in range(min(len(parts), _DEPTH + 1), 1, -1):
        rule = RULES.get("/".join(parts[:count]))
        if rule is not None:
            return rule
    return None


def scope_of(method: str, path: str, *, on_loopback: bool) -> str | None:
    """The scope that a request needs, `PUBLIC` for none; None for a path that the table does not have."""
    rule = rule_of(path)
    if rule == LOCAL:
        return PUBLIC if on_loopback else "read"
    if rule == "read" and method not in SAFE:
        return "write"
    return rule
