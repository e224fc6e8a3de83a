"""Line protocol: what is sent, digit by digit."""

from decimal import Decimal

from stores.influx import Point, bar_lines, point_line
from tests.batches import START_US, make_bar, make_bars


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
