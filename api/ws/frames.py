"""Messages as WebSocket frames: JSON text, unmasked, one frame each."""

import struct
from typing import Any

import orjson

_TEXT = 0x81


def frame(payload: bytes) -> bytes:
    """One unfragmented text frame, as a server sends it.

    >>> frame(b"{}")
    b'\\x81\\x02{}'
    """
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, size) + payload
    return struct.pack("!BBQ", _TEXT, 127, size) + payload


def payload_of(framed: bytes) -> bytes:
    """The payload of what `frame` made.

    >>> payload_of(frame(b"{}"))
    b'{}'
    """
    return framed[{126: 4, 127: 10}.get(framed[1], 2) :]


def encode(message: dict[str, Any]) -> bytes:
    """A message as a frame."""
    return frame(orjson.dumps(message))
