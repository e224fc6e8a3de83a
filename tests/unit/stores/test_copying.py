"""CSV for COPY: NULL and empty text differ, times are UTC, amounts plain or exponent as PostgreSQL reads both."""

from decimal import Decimal

from stores.copying import csv_bytes
from tests.batches import START_US, make_tick, make_ticks


def test_null_is_empty_and_empty_text_is_quoted() -> None:
    batch = make_ticks(make_tick(0, venue="", conditions=None, event_us=START_US + 1))
    columns = batch.select(["venue", "conditions", "event_time", "kafka_offset"])
    assert csv_bytes(columns) == b'"",,2024-03-01 14:30:00.000001Z,0\n'


def test_quotes_are_doubled() -> None:
    assert csv_bytes(make_ticks(make_tick(0, venue='a"b,\n')).select(["venue"])) == b'"a""b,\n"\n'


def test_amounts_keep_every_digit() -> None:
    batch = make_ticks(make_tick(0, price=Decimal("9999999999.99999999"), size=Decimal("0.00000001")))
    price, size = csv_bytes(batch.select(["price", "size"])).decode().strip().split(",")
    assert (price, Decimal(size)) == ("9999999999.99999999", Decimal("0.00000001"))


def test_nul_becomes_the_replacement_character() -> None:
    assert csv_bytes(make_ticks(make_tick(0, venue="a\0b")).select(["venue"])).decode() == '"a\ufffdb"\n'
