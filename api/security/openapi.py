"""What the published contract says of access: how a key is sent, and which scope an operation needs."""

from typing import Any

from fastapi import FastAPI

from api.security.policy import scope_of
from api.security.principal import PUBLIC

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer ts_…`, or a JSON Web Token"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`X-API-Key: ts_…`"},
}
METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})


def install(app: FastAPI) -> None:
    """Add access to the application's OpenAPI."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        if "securitySchemes" not in document.setdefault("components", {}):
            _describe(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _describe(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        for method in METHODS & operations.keys():
            scope = scope_of(method.upper(), path, on_loopback=False)
            if scope is not None and scope != PUBLIC:
                # The last, empty one: on open loopback no key is needed.
                operations[method]["security"] = [{"bearer": []}, {"header": []}, {}]
                operations[method]["x-scope"] = scope
