"""Line protocol: what is sent, digit by digit."""

from decimal import Decimal

import pytest

from core.errors import InputError
from stores.influx import Point, bar_lines, indicator_lines, point_line
from tests.batches import START_US, make_bar, make_bars
from tests.factories import indicators, indicators_table, state


def test_bar_line_has_exact_amounts_and_microseconds() -> None:
    bar = make_bar(symbol="BRK B,=", low=Decimal("0.00000001"), vwap=None)
    assert bar_lines(make_bars(bar)) == [
        "bars,symbol=BRK\\ B\\,\\=,interval=1m open=167.41000000,high=168.00000000,low=0.00000001,close=167.90000000,"
        f"volume=1200.50000000,notional=201323.8500000000000001,trade_count=42i,rev=1i,is_final=true {START_US}"
    ]


def test_newest_revision_of_a_batch_is_sent() -> None:
    lines = bar_lines(make_bars(make_bar(rev=2, state="amended"), make_bar(rev=3), make_bar(rev=1), make_bar(1)))
    assert [line.split("rev=")[1].split(",")[0] for line in lines] == ["3i", "1i"]


def test_point_without_values_is_no_line() -> None:
    assert point_line("m", Point(1, {"a": "b"}, {"x": None})) is None


def test_line_breaks_cannot_start_a_second_line() -> None:
    line = point_line("m\nn", Point(1, {"a": "b\nc d=1 2"}, {"x": 1}))
    assert line == "m\\ n,a=b\\ c\\ d\\=1\\ 2 x=1i 1"


def test_text_fields_are_quoted() -> None:
    assert point_line("m", Point(1, {}, {"x": 'a"b\\', "y": True})) == 'm x="a\\"b\\\\",y=true 1'


def test_indicator_line_has_floats_without_nulls_and_no_state() -> None:
    values = {"sma_5": 101, "rsi_14": None, "macd_12_26_9": -0.1, "x,y": 5e-324, "zero": 0.0}
    row = indicators(make_bar(symbol="BRK B,="), values, state=state(1.0))
    assert indicator_lines(indicators_table(row)) == [
        "indicators,interval=1m,symbol=BRK\\ B\\,\\= "
        f"sma_5=101.0,macd_12_26_9=-0.1,x\\,y=5e-324,zero=0.0,rev=1i {START_US}"
    ]


def test_last_row_of_the_newest_revision_of_indicators_is_sent() -> None:
    revs = (2, 3, 1, 3)
    rows = [indicators(make_bar(rev=rev), {"n": float(n)}) for n, rev in enumerate(revs)]
    other = indicators(make_bar(1), {"n": None})
    lines = indicator_lines(indicators_table(*rows, other))
    assert [line.split(" ", 1)[1] for line in lines] == [f"n=3.0,rev=3i {START_US}", f"rev=1i {START_US + 60_000_000}"]


@pytest.mark.parametrize("values", ['{"a":NaN}', "[1]", '{"a":"1"}', '{"a":1e999}', ""])
def test_values_that_are_no_numbers_are_an_input_error(values: str) -> None:
    with pytest.raises(InputError, match="indicator values"):
        indicator_lines(indicators_table(indicators(make_bar(), values=None) | {"values": values}))
