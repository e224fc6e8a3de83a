"""Indicators of bars that a new checkpoint makes once more, and the note where some are lacking, in a real database."""

from datetime import timedelta

import psycopg
import pyarrow as pa

from conf.settings import Settings
from jobs.indicators import BatchIndicators
from stores import amending
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.factories import MONDAY_US, bar

MINUTE_US = 60_000_000
SETTINGS = Settings(indicators="sma:2 obv", intervals="1m,5m")


def made(count: int, interval: str = "1m", symbol: str = "AAA") -> pa.Table:
    starts = (MONDAY_US + minute * MINUTE_US for minute in range(count))
    return bars_table([bar(symbol=symbol, interval=interval, start=start) for start in starts])


def test_stored_indicators_of_bars_are_read_without_states_and_of_the_set_alone(database: TimescaleStore) -> None:
    indicators = BatchIndicators(SETTINGS, SETTINGS.bar_intervals)
    known = pa.concat_tables([made(3), made(3, "5m"), made(3, symbol="BBB")])
    rows = indicators.rows(known)
    database.write_bars(known, rows)
    asked = pa.concat_tables([made(5), made(2, symbol="BBB"), made(2, symbol="CCC")])
    found = database.read_indicators_at(asked, "1m", indicators.specs("1m"))
    assert found.schema == rows.schema and found["state"].null_count == found.num_rows == 5
    starts = found["start"].cast(pa.int64()).to_pylist()
    assert sorted(zip(found["symbol"].to_pylist(), starts, strict=True)) == sorted(
        [("AAA", MONDAY_US + minute * MINUTE_US) for minute in range(3)]
        + [("BBB", MONDAY_US + minute * MINUTE_US) for minute in range(2)]
    )
    assert set(found["interval"].to_pylist()) == {"1m"} and set(found["rev"].to_pylist()) == {1}
    database.write_bars(known, found.slice(0, 0))
    database.write_bars(asked.slice(0, 3), found)  # once more changes nothing
    assert database.read_indicators_at(asked, "1m", indicators.specs("1m")).num_rows == 5
    assert database.read_indicators_at(asked, "1m", "another:1").num_rows == 0
    assert len(database.read_states()) == 3


def test_series_that_lacks_indicators_is_looked_at_from_the_first_of_them_on(
    database: TimescaleStore, postgres_dsn: str
) -> None:
    later, first = MONDAY_US + 9 * MINUTE_US, MONDAY_US + 2 * MINUTE_US
    database.miss([("AAA", "1m", first), ("AAA", "1m", later), ("BBB", "5m", later)])
    with psycopg.connect(postgres_dsn) as connection:
        waiting = amending.unsettled(connection, timedelta(minutes=2))
    assert [(each.symbol, each.interval, each.from_us) for each in waiting] == [
        ("AAA", "1m", first),
        ("BBB", "5m", later),
    ]
    assert not any(each.restated for each in waiting)
    assert {number for _, _, number in database.amended_since(0)} == {each.number for each in waiting}
