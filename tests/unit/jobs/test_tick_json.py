"""Records read without Spark: what is written unusually. tests/integration/test_archive_rows.py holds it to Spark."""

import msgspec
import pytest

from core.errors import InvalidTick
from core.records import Tick
from jobs.tick_json import is_usual, read
from producers.publish import encode
from tests.factories import MONDAY_US, tick

USUAL = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in msgspec.structs.asdict(tick(seq=7)).items()}


def record(**literals: str | None) -> bytes:
    """A tick's JSON with the fields given as they are to be written, None for a field that is left out."""
    fields = USUAL | {name: literal and msgspec.Raw(literal.encode()) for name, literal in literals.items()}
    return msgspec.json.encode({name: raw for name, raw in fields.items() if raw is not None})


def told(value: bytes | None, known: frozenset[str] | None = None) -> Tick:
    return read(value, now_us=MONDAY_US + 3_600_000_000, future_tolerance_us=0, known_symbols=known)


def reason(value: bytes | None) -> str:
    with pytest.raises(InvalidTick) as caught:
        told(value)
    return caught.value.reason


def test_what_producers_write_is_read_as_it_is() -> None:
    for each in (tick(), tick(kind="cancel", price=None, size=None, trade_id="1"), tick(reported_us=-5, venue="")):
        found = told(encode(each))
        assert msgspec.structs.asdict(found) == msgspec.structs.asdict(each) and is_usual(found)


# What Spark 4.3 on Java 17 makes of them.
@pytest.mark.parametrize(
    ("literal", "text"),
    [("101.5", "101.5"), ("101.50", "101.5"), ("5", "5"), ("1e3", "1000.0"), ("1E2", "100.0"), ("1.10e1", "11.0"),
     ("0.0010", "0.001"), ("9999999.25", "9999999.25"), ('"\\u0031"', "1")],
)  # fmt: skip
def test_number_where_text_is_due_is_its_text(literal: str, text: str) -> None:
    assert told(record(price=literal)).price == text


@pytest.mark.parametrize(
    ("literal", "text"),
    [("10000000.25", "1.000000025E7"), ("1e-8", "1.0E-8"), ("123e30", "1.23E32"), ("-0", "0"), ("-0.0", "-0.0"),
     ("true", "true"), ('{"a": [1, "x"]}', '{"a":[1,"x"]}'), ("12345678901234567890", "12345678901234567890")],
)  # fmt: skip
def test_anything_where_text_is_due_is_its_text(literal: str, text: str) -> None:
    assert told(record(trade_id=literal)).trade_id == text


@pytest.mark.parametrize(
    ("literals", "word"),
    [
        ({"v": None}, "version"),
        ({"v": '"1"'}, "version"),
        ({"seq": None}, "seq"),
        ({"seq": "1.0"}, "seq"),
        ({"kind": None}, "kind"),
        ({"kind": "true"}, "kind"),
        ({"symbol": "{}"}, "symbol"),
        ({"event_us": "9223372036854775808"}, "event_time"),
        ({"received_us": "1e9"}, "received"),
        ({"price": "1e7"}, "price"),
        ({"price": "true"}, "price"),
    ],
)
def test_what_the_pipeline_refuses_is_refused_for_its_reason(literals: dict[str, str | None], word: str) -> None:
    assert reason(record(**literals)) == word


def test_optional_integer_that_is_none_is_missing() -> None:
    assert told(record(reported_us="99999999999999999999")).reported_us is None
    assert told(record(reported_us='"x"')).reported_us is None


@pytest.mark.parametrize("value", [b"{", b"[]", b"null", b"{}", b'{"a":1}', b'{"v":null}', b'{"venue":"\xff"}', b'"x"'])
def test_what_has_no_field_of_a_tick_is_malformed(value: bytes) -> None:
    assert reason(value) == "malformed"


@pytest.mark.parametrize("name", ["more", "symbol", "venue"])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":[', "]}")], ids=["lists", "objects"])
def test_what_lies_too_deep_is_malformed(name: str, left: str, right: str) -> None:
    value = record(**{name: '"HERE"'}).replace(b'"HERE"', (left * 50_000 + right * 50_000).encode())
    assert reason(value) == "malformed"


def test_record_without_a_value_is_empty() -> None:
    assert {reason(b""), reason(None)} == {"empty"}
