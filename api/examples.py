"""An example for every answer and every path, made from the published schemas: a field's name says what it holds.

A name that is not in the table shows the example of its schema; enumerations show their first value. Tests hold every
example against its schema.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

BY_NAME: dict[str, Any] = {
    "symbol": "BTC-USD",
    "start": "2024-05-01T13:30:00.000000Z",
    "end": "2024-05-01T13:31:00.000000Z",
    "from": "2024-05-01T13:30:00.000000Z",
    "to": "2024-05-01T13:35:00.000000Z",
    "open": "64010.5",
    "high": "64020",
    "low": "64001.25",
    "close": "64012",
    "price": "64012",
    "prior_close": "63500",
    "change": "512",
    "change_percent": "0.8063",
    "range": "18.75",
    "range_percent": "0.0293",
    "size": "0.25",
    "volume": "12.5",
    "notional": "800112.5",
    "vwap": "64009",
    "closes": ["64010.5", "64012"],
    "trade_count": 87,
    "first_trade_id": "641123001",
    "last_trade_id": "641123087",
    "trade_id": "641123087",
    "kafka_partition": 0,
    "first_offset": 7,
    "last_offset": 93,
    "kafka_offset": 93,
    "rev": 1,
    "seq": 0,
    "state": "final",
    "reason": None,
    "ruleset": "all@1",
    "is_final": True,
    "synthetic": False,
    "stale": False,
    "truncated": False,
    "interval": "1m",
    "source": "live",
    "venue": "coinbase",
    "provider": "coinbase",
    "conditions": None,
    "calendar": "24/7",
    "next": None,
    "previous": None,
    "first_seen": "2024-04-01T00:00:00.120000Z",
    "last_seen": "2024-05-01T13:30:59.870000Z",
    "reported_at": None,
    "indicators": ["rsi:14"],
    "values": {"rsi_14": 55.2},
    "ready": True,
    "stable": True,
    "bars": 60,
    "title": "Not Found",
    "status": "ok",
    "detail": "",
    "instance": "/api/v1/bars/NOPE",
    "topic": "ticks",
    "partitions": {"0": 3},
    "errmsg": "unknown_symbol",
    "name": "BTC-USD",
    "stage": "received_to_redis",
    "what": "receipt of a forming bar's newest tick, to the relay handing the row to Redis",
    "count": 12,
    "p50_ms": 4.1,
    "p95_ms": 7.9,
    "p99_ms": 12.4,
    "max_ms": 13.0,
    "lag": 3,
    "realised_volatility": 0.0213,
}
"""Names of fields that stand for themselves wherever they occur; `example_of` checks that the type fits."""

PROBLEM = {
    "type": "urn:tickstream:problem:unknown-symbol",
    "title": "Not Found",
    "status": 404,
    "detail": "unknown symbol NOPE; GET /api/v1/symbols lists the known ones",
    "instance": "/api/v1/bars/NOPE",
}
_PLAIN: dict[str, Any] = {"string": "", "integer": 0, "number": 0.5, "boolean": True, "null": None}
_MOMENT = "2024-05-01T13:30:30.250000Z"


def add_examples(document: dict[str, Any]) -> None:
    """Give every answer and every path parameter of an OpenAPI document an example, in place."""
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and "example" not in parameter:
                    parameter["example"] = _value(document, parameter["schema"], parameter["name"])
            for status, response in operation["responses"].items():
                for media_type, content in response.get("content", {}).items():
                    _fill(document, content, media_type, status)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                content.setdefault("example", example_of(document, content["schema"]))


def _fill(document: Schema, content: dict[str, Any], media_type: str, status: str) -> None:
    if "example" in content or "examples" in content:
        return
    if media_type == "application/problem+json":
        content["example"] = PROBLEM | ({"status": int(status)} if status.isdigit() else {})
    elif media_type == "application/json" and content.get("schema"):
        content["example"] = example_of(document, content["schema"])


def example_of(document: Schema, schema: Schema) -> Any:
    """A value that fits a schema."""
    return _value(document, schema, "")


def resolved(document: Schema, schema: Schema) -> Schema:
    """A schema behind its reference."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _value(document: Schema, schema: Schema, name: str) -> Any:
    schema = resolved(document, schema)
    choices = [resolved(document, each) for each in schema.get("anyOf") or schema.get("oneOf") or ()]
    if name in BY_NAME and any(_fits(BY_NAME[name], each) for each in choices or [schema]):
        return BY_NAME[name]
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if choices:
        return _value(document, choices[0], name)
    if "enum" in schema:
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    return _by_type(document, schema, name)


def _by_type(document: Schema, schema: Schema, name: str) -> Any:
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {}).items()
        found = {field: _value(document, each, field) for field, each in fields}
        inner = schema.get("additionalProperties")
        return found or ({"name": _value(document, inner, "")} if isinstance(inner, Mapping) and inner else {})
    if kind == "array":
        item = resolved(document, schema.get("items", {}))
        return [_value(document, item, "" if item.get("type") == "object" else name)]
    if kind == "string" and name.endswith("_at"):
        return _MOMENT
    return _PLAIN.get(str(kind))


def _fits(value: Any, schema: Schema) -> bool:
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return schema.get("type") == (kinds.get(type(value), "null"))
