"""Opaque cursors: a place between two rows of one query, as url-safe text.

A cursor holds the key of the row beside it and a digest of the query that it belongs to, so that it continues that
query and no other. It is not a secret and grants nothing: the checksum is there to tell a damaged cursor from a good
one. Keys, not offsets: rows that are added meanwhile move nothing.
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

Side = Literal["older", "newer"]

MAX_LENGTH = 1024
_VERSION = 1
_HEAD = struct.Struct("<BBq8s")  # version, side, moment, digest of the query
_SEQ = struct.Struct("<q")
_CHECK_BYTES = 6
_SIDES: tuple[Side, Side] = ("older", "newer")


class BadCursor(ValueError):
    """The text is no cursor, is damaged, or belongs to another query; the message says which."""


@dataclass(frozen=True, slots=True)
class Place:
    """All rows on one side of a key: `us` alone for bars, which start once; with `seq` and `identity` for ticks."""

    side: Side
    us: int
    seq: int = 0
    identity: str = ""


def write_cursor(place: Place, query: object) -> str:
    """The cursor of a place; `query` is what has to be the same again, by its repr."""
    head = _HEAD.pack(_VERSION, _SIDES.index(place.side), place.us, _digest(query))
    payload = head + _SEQ.pack(place.seq) + place.identity.encode()
    return _text(_check(payload) + payload)


def read_cursor(text: str, query: object) -> Place:
    """The place of a cursor. Raises BadCursor."""
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BadCursor("not a cursor: take `next` or `previous` of an answer as they are") from None
    payload = raw[_CHECK_BYTES:]
    whole = len(payload) >= _HEAD.size + _SEQ.size and raw[:_CHECK_BYTES] == _check(payload)
    if not whole or payload[0] != _VERSION or _text(raw) != text:
        raise BadCursor("not a cursor, or a damaged one: take `next` or `previous` of an answer as they are")
    _, side, us, digest = _HEAD.unpack_from(payload)
    if digest != _digest(query):
        raise BadCursor("of another query: only limit, numeric and format may change from page to page")
    (seq,) = _SEQ.unpack_from(payload, _HEAD.size)
    identity = payload[_HEAD.size + _SEQ.size :].decode(errors="replace")
    return Place(_SIDES[side % 2], us, seq, identity)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _digest(query: object) -> bytes:
    return blake2b(repr(query).encode(), digest_size=8).digest()


def _check(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_CHECK_BYTES, key=b"tickstream cursor").digest()
