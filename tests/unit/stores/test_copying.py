"""CSV for COPY: NULL and empty text differ, times are UTC, amounts plain or exponent as PostgreSQL reads both."""

from decimal import Decimal

import pyarrow as pa

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


def test_bytes_are_hex_of_a_bytea() -> None:
    batch = pa.table({"state": pa.array([b"\x00\xff,", None, b""], pa.binary()), "n": [1, 2, 3]})
    assert csv_bytes(batch).decode().replace('"', "") == "\\x00ff2c,1\n,2\n\\x,3\n"


def test_empty_chunks_are_nothing() -> None:
    schema = pa.schema([("symbol", pa.string()), ("count", pa.int64())])
    rows = pa.table({"symbol": ["AAPL"], "count": [1]}, schema=schema)
    empty = schema.empty_table()
    assert csv_bytes(pa.concat_tables([empty, rows, empty, rows])) == b'"AAPL",1\n"AAPL",1\n'
    assert csv_bytes(empty) == b""
