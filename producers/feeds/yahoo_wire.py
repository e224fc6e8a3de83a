"""Yahoo's messages: the protobuf message PricingData in its wrappers, and answers of the chart interface."""

import base64
import binascii
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from producers.feeds.base import SchemaChanged
from producers.feeds.decoding import decode, peek, plain

T = TypeVar("T")
HEARTBEAT, CRYPTO = 7, 41  # of quote_type
_FIELD = descriptor_pb2.FieldDescriptorProto
# PricingData, as far as it is used: name -> number and type.
FIELDS = {
    "id": (1, _FIELD.TYPE_STRING),
    "price": (2, _FIELD.TYPE_FLOAT),
    "time": (3, _FIELD.TYPE_SINT64),
    "exchange": (5, _FIELD.TYPE_STRING),
    "quote_type": (6, _FIELD.TYPE_INT32),
    "day_volume": (9, _FIELD.TYPE_SINT64),
}


def _pricing_data() -> Any:
    """The class of PricingData, made without a generated module."""
    file = descriptor_pb2.FileDescriptorProto(name="tickstream/yahoo.proto", package="tickstream", syntax="proto3")
    message = file.message_type.add(name="PricingData")
    for name, (number, kind) in FIELDS.items():
        message.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tickstream.PricingData"))


PricingData = _pricing_data()


class Frame(msgspec.Struct):
    type: str = ""
    message: str | None = None
    encoded_base64_protobuf: str | None = None
    decoded: Any = None


class Meta(msgspec.Struct, rename="camel"):
    symbol: str
    exchange_timezone_name: str = "UTC"
    regular_market_price: float | None = None
    regular_market_time: int | None = None


class Columns(msgspec.Struct):
    """One value for each timestamp, None where there was no trade; all absent where there is no timestamp."""

    open: list[float | None] = []
    high: list[float | None] = []
    low: list[float | None] = []
    close: list[float | None] = []
    volume: list[float | None] = []


class _Indicators(msgspec.Struct):
    quote: list[Columns]


class Result(msgspec.Struct):
    meta: Meta
    indicators: _Indicators
    timestamp: list[int] = []  # absent where there is no bar


class _Chart(msgspec.Struct):
    result: list[Result]


class _ChartAnswer(msgspec.Struct):
    chart: _Chart


class _Error(msgspec.Struct):
    description: str = ""


class _Outcome(msgspec.Struct):
    error: _Error | None = None


class _Problem(msgspec.Struct):
    chart: _Outcome = msgspec.field(default_factory=_Outcome)


@dataclass(frozen=True, slots=True)
class Row:
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


_frame = msgspec.json.Decoder(Frame)
_chart = msgspec.json.Decoder(_ChartAnswer)
_problem = msgspec.json.Decoder(_Problem)
_text = msgspec.json.Decoder(str)


def encoded(message: bytes, provider: str) -> tuple[str, str | None]:
    """What kind of message this is, in any of its wrappers, and the base64 text of a PricingData, None for another."""
    stripped = message.lstrip()
    if stripped.startswith(b'"'):
        return "pricing", decode(_text, message, provider, "pricing")
    if not stripped.startswith((b"{", b"[")):
        return "pricing", message.decode("ascii", "replace")
    frame = peek(_frame, message, provider) or Frame()
    if frame.type == "pricing":
        return "pricing", required(frame.message, "message", provider)
    if frame.decoded is not None or frame.encoded_base64_protobuf is not None:
        return "pricing", required(frame.encoded_base64_protobuf, "encoded_base64_protobuf", provider)
    return frame.type or "unnamed", None


def pricing(text: str, provider: str) -> Any:
    """The PricingData of a base64 text. Raises SchemaChanged for other text, and without what every quote has."""
    try:
        data = PricingData.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError) as error:
        raise SchemaChanged(provider, "pricing", f"not base64 of a protobuf message: {error}") from None
    for name in () if data.quote_type == HEARTBEAT else ("id", "price", "time"):
        required(getattr(data, name) or None, name, provider)  # an absent field has the type's zero
    return data


def required(value: T | None, name: str, provider: str) -> T:
    """The value of a field. Raises SchemaChanged for None."""
    if value is None:
        raise SchemaChanged(provider, "pricing", f"Object missing required field `{name}`")
    return value


def chart(body: bytes, provider: str) -> list[Result]:
    """The results of a chart, one for its symbol."""
    return decode(_chart, body, provider, "chart").chart.result


def rows_of(result: Result, provider: str) -> list[tuple[int, Row]]:
    """The rows of a chart that have prices, with the epoch seconds of each."""
    said = result.indicators.quote[0] if result.indicators.quote else Columns()
    columns = (said.open, said.high, said.low, said.close, said.volume)
    if any(len(column) != len(result.timestamp) for column in columns):
        raise SchemaChanged(provider, "chart", "columns of `quote` are not as long as `timestamp`")
    found: list[tuple[int, Row]] = []
    for seconds, *prices, volume in zip(result.timestamp, *columns, strict=True):
        values = [Decimal(shortest(price)) for price in prices if price is not None]
        if len(values) == len(prices):
            values.append(Decimal(shortest(volume or 0)))
            found.append((seconds, Row(*values)))
    return found


def chart_error(body: bytes, provider: str) -> str:
    """The provider's words where a chart is an error, else empty."""
    error = (peek(_problem, body, provider) or _Problem()).chart.error
    return "" if error is None else error.description or "an error without words"


def shortest(number: float) -> str:
    """A number as plain text; one that is exactly a 32-bit float as the shortest text that rounds to it.

    >>> shortest(94745.078125), shortest(252.78500366210938), shortest(0.1)
    ('94745.08', '252.785', '0.1')
    """
    narrow = np.float32(number)
    return plain(np.format_float_positional(narrow, trim="-") if float(narrow) == number else repr(number))
