"""How much is read for a request: three short reads where everything was kept, warm-up only where it is needed."""

import asyncio
from decimal import Decimal
from typing import Any, cast

import pytest

from api.params_indicators import IndicatorsQuery
from api.series import Series, SeriesReader
from conf.settings import Settings
from core.errors import StoreUnavailable
from core.intervals import MINUTE_US
from core.records import BAR_COLUMNS
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

M = MINUTE_US
COUNT = 600
SETTINGS = Settings(indicators="sma:5 ema:3")

Row = dict[str, Any]


def bar(minute: int, state: str = "final") -> Row:
    price = Decimal(100 + minute % 7)
    row: Row = dict.fromkeys(BAR_COLUMNS)
    row |= {"symbol": "A", "interval": "1m", "start": minute * M, "end": (minute + 1) * M, "state": state}
    row |= {"open": price, "high": price, "low": price, "close": price, "rev": int(state != "forming")}
    return row | {"volume": Decimal(1), "notional": price}


def kept(minute: int) -> Row:
    values = {"sma_5": 1.0, "ema_3": 2.0}
    return {"start": minute * M, "rev": 1, "values": values, "ready": True, "stable": True}


class History:
    """Rows in memory; notes what was read as (table, first minute answered, rows answered)."""

    def __init__(self, indicators: list[Row]) -> None:
        self.tables = {"bars": [bar(minute) for minute in range(COUNT)], "indicators": indicators}
        self.reads: list[tuple[str, int, int]] = []

    async def bars(self, *asked: Any, newest_first: bool) -> list[Row]:
        return self._read("bars", *asked[2:], newest_first)

    async def indicators(self, *asked: Any, newest_first: bool) -> list[Row]:
        return self._read("indicators", *asked[2:], newest_first)

    def _read(self, table: str, start: int, end: int, limit: int, newest_first: bool) -> list[Row]:
        rows = [row for row in self.tables[table] if start <= row["start"] < end]
        rows = rows[::-1][:limit] if newest_first else rows[:limit]
        self.reads.append((table, min((row["start"] for row in rows), default=0) // M, len(rows)))
        return rows


class Live:
    """A tail in memory, or a Redis that is down."""

    def __init__(self, bars: list[Row] | None) -> None:
        self.held = bars

    async def tail(self, *_: Any, with_indicators: bool = False) -> list[Row]:
        if self.held is None:
            raise StoreUnavailable("redis", "down")
        return [row if with_indicators else {k: v for k, v in row.items() if k != "indicators"} for row in self.held]


def read(history: History, tail: list[Row] | None, **asked: Any) -> Series:
    query = IndicatorsQuery(**asked)
    live = cast(RedisReader, Live(tail))
    return asyncio.run(SeriesReader("A", query, SETTINGS, cast(TimescaleReader, history), live).read())


def forming(values: dict[str, float] | None) -> Row:
    return bar(COUNT, "forming") | {"indicators": values}


def sources(series: Series) -> set[str]:
    return {point.source for point in series.points}


@pytest.mark.parametrize("asked", [{}, {"type": "sma:5"}, {"limit": 1}, {"start": 0}, {"order": "desc"}])
def test_everything_kept_is_one_read_of_each_table(asked: dict[str, Any]) -> None:
    history = History([kept(minute) for minute in range(COUNT)])
    series = read(history, [forming({"sma_5": 3.0, "ema_3": 4.0})], **asked)
    assert "computed" not in sources(series)
    assert sorted(table for table, _, _ in history.reads) == ["bars", "indicators"]


def test_other_parameters_read_bars_only() -> None:
    history = History([kept(minute) for minute in range(COUNT)])
    series = read(history, [forming(None)], type="sma:50", limit=10)
    assert sources(series) == {"computed"}
    assert history.reads == [("bars", COUNT - 11, 11), ("bars", COUNT - 9 - 50, 50)]


def test_missing_forming_bar_warms_up_on_the_range_itself() -> None:
    history = History([kept(minute) for minute in range(COUNT)])
    series = read(history, [forming(None)], limit=100)
    assert [point.source for point in series.points] == ["stored"] * 99 + ["computed"]
    assert series.points[-1].ready and series.points[-1].stable
    assert sorted(table for table, _, _ in history.reads) == ["bars", "indicators"]


@pytest.mark.parametrize("limit", [1, 2, 10, 33, 34, 40])
def test_warm_up_before_the_first_missing_bar_is_always_whole(limit: int) -> None:
    history = History([kept(minute) for minute in range(COUNT)])
    point = read(history, [forming(None)], limit=limit).points[-1]
    whole = read(History([]), [forming(None)], limit=COUNT).points[-1]
    assert (point.ready, point.stable, point.source) == (True, True, "computed")
    assert point.values == pytest.approx(whole.values, rel=1e-9)
    needed = 33 - (limit - 1)  # ema:3 is stable after 33 bars
    assert [count for table, _, count in history.reads[2:]] == ([needed] if needed > 0 else [])


def test_hole_in_the_middle_is_computed_and_the_rest_is_not() -> None:
    history = History([kept(minute) for minute in range(COUNT) if minute not in (300, 302)])
    series = read(history, [], start=290 * M, limit=20)
    found = {row["start"] // M: point for row, point in zip(series.bars, series.points, strict=True)}
    computed = [minute for minute, point in found.items() if point.source == "computed"]
    assert computed == [300, 302]
    assert all(point.values == {"sma_5": 1.0, "ema_3": 2.0} for point in series.points if point.source == "stored")


def test_redis_down_answers_what_the_database_has() -> None:
    history = History([kept(minute) for minute in range(COUNT)])
    series = read(history, None, limit=5)
    assert (series.tail, sources(series), len(series.bars)) == ("unavailable", {"stored"}, 5)
