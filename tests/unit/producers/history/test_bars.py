"""A provider's bar as a row: exact, and plain about what it does not know."""

from decimal import Decimal
from typing import Any

import pytest

from core.errors import InvalidTick
from producers.feeds import HistoryBar
from producers.history.bars import as_bar
from stores.schema import BAR_SCHEMA, bars_table

START_US = 1_709_553_600_000_000


def made(**changes: Any) -> HistoryBar:
    fields: dict[str, Any] = {
        "symbol": "AAPL", "interval": "5m", "start": START_US, "open": "10", "high": "12.5", "low": "9.1",
        "close": "11", "volume": "300", "source": "somebody",
    }  # fmt: skip
    return HistoryBar(**(fields | changes))


def test_bar_with_a_vwap_has_the_notional_that_follows() -> None:
    bar = as_bar(made(vwap="10.12345678", trade_count=17), now_us=7)
    assert bar is not None
    assert (bar.start, bar.end - bar.start, bar.interval) == (START_US, 300_000_000, "5m")
    assert (bar.open, bar.high, bar.low, bar.close) == (Decimal(10), Decimal("12.5"), Decimal("9.1"), Decimal(11))
    assert bar.notional == Decimal("3037.037034") and bar.vwap == Decimal("10.12345678")
    assert (bar.trade_count, bar.received_us) == (17, 7)
    assert (bar.rev, bar.state, bar.reason, bar.ruleset) == (1, "final", "provider", "provider:somebody")


def test_bar_without_a_vwap_says_so_and_does_not_drag_a_vwap_to_zero() -> None:
    bar = as_bar(made(), now_us=7)
    assert bar is not None
    assert bar.vwap is None and bar.trade_count == 0
    assert bar.low is not None and bar.high is not None
    assert bar.low <= bar.notional / bar.volume <= bar.high
    assert bar.notional == ((Decimal("12.5") + Decimal("9.1") + 11) / 3 * 300).quantize(Decimal("1e-16"))


def test_row_fits_the_schema_to_the_last_digit() -> None:
    bar = as_bar(made(volume="123456789012.12345678", vwap="9.999999991"), now_us=7)
    assert bar is not None
    row = bars_table([bar]).cast(BAR_SCHEMA).to_pylist()[0]
    assert row["volume"] == Decimal("123456789012.12345678") and row["vwap"] == Decimal("9.99999999")


def test_filler_without_trades_is_no_bar_and_an_index_without_volume_is_one() -> None:
    assert as_bar(made(volume="0", trade_count=0), now_us=7) is None
    index = as_bar(made(volume="0"), now_us=7)
    assert index is not None and index.notional == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"open": "0"},
        {"close": "-1"},
        {"high": "nan"},
        {"low": "Infinity"},
        {"high": "10.5"},
        {"low": "10.5"},
        {"low": "13"},
        {"volume": "-1"},
        {"volume": ""},
        {"vwap": "0"},
        {"high": "10000000000"},
        {"volume": "1e20"},
        {"volume": "9e19", "vwap": "1000", "high": "1000"},
    ],
)
def test_what_is_no_bar_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidTick):
        as_bar(made(**changes), now_us=7)
