"""What a new version of the published contract takes away from those who use the old one. Pure functions.

Nothing may vanish: no path, method, parameter, field of an answer or enum value; no parameter may become required and
no type may become narrower. What is added is free.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.examples import resolved

Schema = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_LOWER_IS_NARROWER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_HIGHER_IS_NARROWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")


def breaks(old: Schema, new: Schema) -> list[str]:
    """Every way in which `new` breaks a client of `old`, a line each; empty when it only adds."""
    return list(dict.fromkeys(_paths(old, new)))


@dataclass(frozen=True)
class _Pair:
    """Two documents, and where in them the comparison is; `asked`: what clients send, not what they get."""

    old: Schema
    new: Schema
    where: str
    asked: bool = False
    seen: frozenset[tuple[str, str]] = frozenset()

    def at(self, where: str, *, asked: bool | None = None) -> "_Pair":
        return _Pair(self.old, self.new, where, self.asked if asked is None else asked, self.seen)

    def inside(self, step: str) -> "_Pair":
        return self.at(f"{self.where}{step}")


def _paths(old: Schema, new: Schema) -> Iterator[str]:
    for path, operations in old.get("paths", {}).items():
        if path not in new.get("paths", {}):
            yield f"{path}: the path is gone"
            continue
        for method in METHODS:
            if method not in operations:
                continue
            where = f"{method.upper()} {path}"
            if method not in new["paths"][path]:
                yield f"{where}: the method is gone"
            else:
                yield from _operation(_Pair(old, new, where), operations[method], new["paths"][path][method])


def _operation(pair: _Pair, old: Schema, new: Schema) -> Iterator[str]:
    yield from _parameters(pair, _named(old), _named(new))
    yield from _body(pair, old.get("requestBody"), new.get("requestBody"))
    for status, response in old.get("responses", {}).items():
        where = pair.at(f"{pair.where} -> {status}")
        if status not in new.get("responses", {}):
            yield f"{where.where}: the status is gone"
        else:
            yield from _content(where, response, new["responses"][status])


def _named(operation: Schema) -> dict[tuple[str, str], Schema]:
    return {(each["in"], each["name"]): each for each in operation.get("parameters", ())}


def _parameters(pair: _Pair, old: Mapping[Any, Schema], new: Mapping[Any, Schema]) -> Iterator[str]:
    for key, parameter in old.items():
        where = f"{pair.where}: {key[0]} parameter {key[1]}"
        if key not in new:
            yield f"{where} is gone"
            continue
        if new[key].get("required") and not parameter.get("required"):
            yield f"{where} became required"
        yield from _schemas(pair.at(where, asked=True), parameter.get("schema", {}), new[key].get("schema", {}))
    for key, parameter in new.items():
        if key not in old and parameter.get("required"):
            yield f"{pair.where}: new {key[0]} parameter {key[1]} is required"


def _body(pair: _Pair, old: Schema | None, new: Schema | None) -> Iterator[str]:
    where = pair.at(f"{pair.where}: body", asked=True)
    if new is not None and new.get("required") and not (old or {}).get("required"):
        yield f"{where.where} became required"
    if old is not None:
        yield from _content(where, old, new or {})


def _content(pair: _Pair, old: Schema, new: Schema) -> Iterator[str]:
    for media_type, content in old.get("content", {}).items():
        if media_type not in new.get("content", {}):
            yield f"{pair.where}: {media_type} is gone"
        else:
            yield from _schemas(pair, content.get("schema", {}), new["content"][media_type].get("schema", {}))


def _schemas(pair: _Pair, old: Schema, new: Schema) -> Iterator[str]:
    step = (old.get("$ref", ""), new.get("$ref", ""))
    if all(step):
        if step in pair.seen:
            return
        pair = _Pair(pair.old, pair.new, pair.where, pair.asked, pair.seen | {step})
    choices = _choices(pair.new, new)
    for each in _choices(pair.old, old):
        fitting = [choice for choice in choices if _covers(pair, choice, each)]
        if not fitting:
            yield f"{pair.where}: no longer {_kind(each)}"
            continue
        found = [list(_same_kind(pair, each, choice)) for choice in fitting]
        yield from min(found, key=len)


def _choices(document: Schema, schema: Schema) -> list[Schema]:
    schema = resolved(document, schema)
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts:
        return [choice for part in parts for choice in _choices(document, part)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]


def _covers(pair: _Pair, new: Schema, old: Schema) -> bool:
    if "type" not in new and not _values(new):
        return True
    if pair.asked and old.get("type") == "integer" and new.get("type") == "number":
        return True
    return _kind(new) == _kind(old)


def _kind(schema: Schema) -> str:
    values = _values(schema)
    if "type" not in schema and values:
        return {str: "string", bool: "boolean", int: "integer"}.get(type(values[0]), "any")
    return str(schema.get("type", "any"))


def _values(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _same_kind(pair: _Pair, old: Schema, new: Schema) -> Iterator[str]:
    yield from _enums(pair, old, new)
    yield from _fields(pair, old, new)
    for key, step in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
            yield from _schemas(pair.inside(step), old[key], new[key])
    if pair.asked:
        yield from _limits(pair, old, new)


def _enums(pair: _Pair, old: Schema, new: Schema) -> Iterator[str]:
    before, after = _values(old), _values(new)
    if not after:
        return
    if not before:
        yield f"{pair.where}: only some values are left"
    for value in before:
        if value not in after:
            yield f"{pair.where}: value {value!r} is gone"


def _fields(pair: _Pair, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        if name in after:
            yield from _schemas(pair.inside(f".{name}"), schema, after[name])
        elif before and (after or "properties" in new or new.get("type") == "object"):
            yield f"{pair.where}.{name}: the field is gone"
    needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
    if pair.asked:
        yield from (f"{pair.where}.{name}: became required" for name in sorted(needed_after - needed_before))
    else:
        gone = (needed_before - needed_after) & set(after)
        yield from (f"{pair.where}.{name}: may be missing now" for name in sorted(gone))


def _limits(pair: _Pair, old: Schema, new: Schema) -> Iterator[str]:
    for name in (*_LOWER_IS_NARROWER, *_HIGHER_IS_NARROWER):
        if name in new:
            tighter = name not in old or (
                new[name] < old[name] if name in _LOWER_IS_NARROWER else new[name] > old[name]
            )
            if tighter:
                yield f"{pair.where}: {name} is {new[name]}, was {old.get(name, 'open')}"
    if new.get("pattern") not in (None, old.get("pattern")):
        yield f"{pair.where}: another pattern"
