"""Numbers and rows on their way out: exact, or floats on request."""

import asyncio
from decimal import Decimal

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.models import BarModel
from api.render import (
    AMOUNTS,
    ROWS_PER_TURN,
    TIMES,
    Json,
    bar_fragments,
    bar_json,
    decimal_text,
    json_with,
    row_json,
    rows_json,
)
from core.records import BAR_COLUMNS, Tick
from stores.schema import BAR_SCHEMA, TICK_SCHEMA


# Scaled integers reach beyond the 28 digits of decimal's default context: nothing may round on the way.
@given(st.integers(0, 10**38 - 1), st.sampled_from([0, 8, 16]))
def test_decimal_text_any_value_is_exact_and_plain(units: int, places: int) -> None:
    value = Decimal(f"{units}E-{places}")
    text = decimal_text(value)
    assert Decimal(text) == value
    assert set(text) <= set("0123456789.")
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(
    ("value", "text"),
    [("167.41000000", "167.41"), ("1E+3", "1000"), ("100", "100"), ("0E-8", "0"), ("0.00000001", "0.00000001")],
)
def test_decimal_text_known_value_is_canonical(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


def test_row_json_float_gives_numbers_and_keeps_null() -> None:
    row = {"price": Decimal("0.10000000"), "vwap": None, "trade_count": 3}
    assert row_json(row, "float") == {"price": 0.1, "vwap": None, "trade_count": 3}
    assert row_json(row, "text") == {"price": "0.1", "vwap": None, "trade_count": 3}


def test_row_json_times_are_rfc3339_with_microseconds() -> None:
    row = {"start": 0, "end": 60_000_000, "open_us": 1, "close_us": None}
    assert row_json(row, "text") == {
        "start": "1970-01-01T00:00:00.000000Z",
        "end": "1970-01-01T00:01:00.000000Z",
        "open_at": "1970-01-01T00:00:00.000001Z",
        "close_at": None,
    }


@pytest.mark.parametrize(
    ("state", "is_final", "synthetic"),
    [("forming", False, False), ("final", True, False), ("amended", True, False), ("synthetic", False, True)],
)
def test_bar_json_state_decides_flags(state: str, is_final: bool, synthetic: bool) -> None:
    answer = bar_json({"symbol": "A", "interval": "1m", "start": 0, "state": state, "rev": 1}, "text")
    assert (answer["is_final"], answer["synthetic"], answer["rev"]) == (is_final, synthetic, 1)
    assert "symbol" not in answer and "interval" not in answer


def test_json_content_is_orjson_bytes() -> None:
    answer = Json({"a": "1.10"})
    assert orjson.loads(answer.body) == {"a": "1.10"}
    assert answer.headers["content-type"] == "application/json"


def test_times_cover_every_microsecond_column_of_the_records() -> None:
    columns = {*BAR_COLUMNS, *Tick.__struct_fields__}
    assert set(TIMES) == {name for name in columns if name.endswith("_us")} | {"start", "end"}


def test_models_name_exactly_the_columns_that_are_rendered() -> None:
    bar = bar_json(dict.fromkeys(BAR_COLUMNS) | {"start": 0, "end": 0}, "text")
    assert set(bar) == set(BarModel.model_fields)


def test_rows_json_more_than_a_turn_keeps_all_in_order() -> None:
    rows = [{"seq": seq} for seq in range(2 * ROWS_PER_TURN + 1)]
    assert asyncio.run(rows_json(row_json, rows, "text")) == rows


amounts = st.one_of(st.none(), st.decimals(0, 10**9, places=8), st.sampled_from(["0", "167.41", "0.00000001"]))
counts = st.one_of(st.none(), st.integers(0, 2**62))
texts = st.one_of(st.none(), st.text(max_size=12))
bars = st.fixed_dictionaries(
    {name: st.just("A") for name in ("symbol", "interval")}
    | {name: st.integers(0, 2**52) for name in ("start", "end")}
    | {name: amounts for name in ("open", "high", "low", "close", "volume", "notional", "vwap")}
    | {"trade_count": st.integers(0, 2**40), "rev": st.integers(0, 99)}
    | {name: st.one_of(st.none(), st.integers(0, 2**52)) for name in ("open_us", "close_us")}
    | {name: texts for name in ("first_trade_id", "last_trade_id")}
    | {name: counts for name in ("kafka_partition", "first_offset", "last_offset")}
    | {"state": st.sampled_from(["forming", "final", "amended", "synthetic"])}
    | {name: texts for name in ("reason", "ruleset")}
    | {name: st.one_of(st.none(), st.integers(0, 2**52)) for name in ("received_us", "processed_us")}
)


@given(st.lists(bars, max_size=3))
def test_bar_fragments_any_bars_are_bar_json_field_by_field(rows: list[dict[str, object]]) -> None:
    found = [orjson.loads(text) for text in bar_fragments(rows)]
    assert found == [bar_json(row, "text") for row in rows]
    assert all(list(each) == list(BarModel.model_fields) for each in found)


@given(st.lists(bars, max_size=4), st.sampled_from(["text", "float"]))
def test_json_with_rows_come_last_whatever_they_are_made_by(rows: list[dict[str, object]], numeric: str) -> None:
    body = asyncio.run(json_with({"symbol": "A", "next": None}, "bars", rows, bar_json, numeric))  # type: ignore[arg-type]
    expected = [bar_json(row, numeric) for row in rows]  # type: ignore[arg-type]
    assert orjson.loads(body) == {"symbol": "A", "next": None, "bars": expected}


def test_amounts_are_all_decimals_of_the_stores() -> None:
    decimals = {
        field.name for schema in (BAR_SCHEMA, TICK_SCHEMA) for field in schema if pa.types.is_decimal(field.type)
    }
    assert decimals == AMOUNTS
