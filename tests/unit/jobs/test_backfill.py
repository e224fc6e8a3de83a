"""What a backfill leaves to a running stream, and how it goes on from the bars that are stored."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest

from conf.settings import Settings
from core.intervals import MINUTE_US, SECOND_US
from core.records import Bar
from jobs.backfill import batch_bars, closed_bars, closed_until, write_days
from jobs.indicators import BatchIndicators
from jobs.sinks import by_first_start
from jobs.ticks import accepted, parse
from stores.schema import bars_table
from tests.factories import MONDAY_US, bar, tick
from tests.streaming import kafka_records
from tests.unit.jobs.test_final_indicators import SETTINGS, expected, values

DAY = 24 * 60


class Stored:
    """A database with bars, and the indicators that were written beside others."""

    def __init__(self, bars: Sequence[Bar]) -> None:
        self._bars = bars
        self.found: dict[tuple, dict[str, float | None]] = {}

    def bars_before(self, bars: pa.Table, count: int) -> pa.Table:
        own = [
            [each for each in self._bars if (each.symbol, each.interval) == key and each.start < first_us][-count:]
            for first_us, keys in by_first_start(bars).items()
            for key in keys
        ]
        return bars_table([each for series in own for each in series])

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        assert indicators is not None and indicators.num_rows == bars.num_rows
        self.found |= values(indicators)


def minutes(symbol: str, first: int, count: int) -> list[Bar]:
    prices = [dict.fromkeys(("open", "high", "low", "close"), Decimal(100 + n * 7 % 11)) for n in range(count)]
    return [bar(symbol=symbol, start=MONDAY_US + (first + n) * MINUTE_US, **price) for n, price in enumerate(prices)]


def test_series_that_begins_on_a_later_day_goes_on_from_its_stored_bars() -> None:
    stored = minutes("BBB", -40, 30) + minutes("CCC", DAY, 10)
    days = [minutes("AAA", 0, 20), [*minutes("AAA", DAY, 20), *minutes("BBB", DAY, 20), *minutes("CCC", DAY + 10, 10)]]
    stores = Stored(stored)
    count = write_days(map(bars_table, days), stores, BatchIndicators(SETTINGS, SETTINGS.bar_intervals))
    written = [each for day in days for each in day]
    assert count == len(written) == len(stores.found)
    assert stores.found == {key: row for key, row in expected(stored + written).items() if key in stores.found}


def test_stored_bars_between_two_days_are_taken_in_on_the_way() -> None:
    stored = minutes("AAA", DAY, 30) + minutes("BBB", 10, 5)
    days = [[*minutes("AAA", 0, 20), *minutes("BBB", 20, 9)], [*minutes("AAA", 2 * DAY, 20), *minutes("BBB", DAY, 9)]]
    stores = Stored(stored)
    write_days(map(bars_table, days), stores, BatchIndicators(SETTINGS, SETTINGS.bar_intervals))
    written = [each for day in days for each in day]
    assert stores.found == {key: row for key, row in expected(stored + written).items() if key in stores.found}


def test_series_are_asked_for_from_their_own_first_bar() -> None:
    batch = bars_table([*minutes("AAA", 7, 2), *minutes("BBB", 0, 9), *minutes("CCC", 7, 1)])
    found = {first_us: sorted(keys) for first_us, keys in by_first_start(batch).items()}
    assert found == {MONDAY_US: [("BBB", "1m")], MONDAY_US + 7 * MINUTE_US: [("AAA", "1m"), ("CCC", "1m")]}


@pytest.mark.parametrize(("quiet_minutes", "left_us"), [(-1, 70), (0, 70), (10, 70), (11, None)])
def test_log_that_is_being_written_has_bars_that_are_open(quiet_minutes: int, left_us: int | None) -> None:
    received_us = MONDAY_US + 5 * SECOND_US
    until_us = closed_until(MONDAY_US, received_us, received_us + quiet_minutes * MINUTE_US, 10 * SECOND_US)
    assert until_us == (None if left_us is None else MONDAY_US - left_us * SECOND_US)


@pytest.mark.spark
def test_bars_that_a_stream_has_open_are_left_to_it(spark, capsys: pytest.CaptureFixture) -> None:
    settings = Settings(intervals="1m,5m", lateness_seconds=10)
    received_us = MONDAY_US + 3600 * SECOND_US
    made = [tick(event_us=MONDAY_US + n * SECOND_US, seq=n, received_us=received_us) for n in (0, 60, 130, 190)]
    records = kafka_records(spark, [(0, msgspec.json.encode(each)) for each in made], received_us)
    ticks = accepted(parse(records, settings))
    rows = batch_bars(ticks, settings.bar_intervals, settings.ruleset, 1)
    ends = {}
    for quiet_minutes in (1, 11):
        kept = closed_bars(rows, ticks, settings, received_us + quiet_minutes * MINUTE_US).toArrow()
        ends[quiet_minutes] = sorted((us - MONDAY_US) // SECOND_US for us in kept["end"].cast(pa.int64()).to_pylist())
    assert ends == {1: [60, 120], 11: [60, 120, 180, 240, 300]}
    told = capsys.readouterr().err
    assert "in its last 70 s or later are left to the stream" in told and told.count("\n") == 1
