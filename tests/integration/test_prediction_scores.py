"""The sums behind the scorecard: they say what a look at every prediction says, whatever happens to bars meanwhile."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from pydantic import SecretStr

from api.scorecard import scorecard
from conf.settings import Settings
from core.clock import ManualClock
from core.intervals import MINUTE_US
from core.skill import HOUR_US, block_lengths
from core.trading_days import trading_days
from ml.scoring import Scoring
from stores.prediction_reads import PredictionReader
from stores.prediction_scores import PredictionScores
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import make_bar
from tests.integration.test_api_predictions import FIRST, NOW, SECOND, frame, moment, predict, stored

TABLES = ("prediction_scores", "prediction_series", "prediction_scoring")
# How far back: whole hours, from the middle of a quarter, from before the first prediction, less than is summed up.
WINDOWS = [30 * HOUR_US, 22 * HOUR_US + 7 * MINUTE_US, 90 * HOUR_US, 87 * MINUTE_US + 5, 55 * MINUTE_US]


class System:
    """Predictions of three symbols over two sessions, and who keeps the sums."""

    def __init__(self, dsn: str, database: TimescaleStore) -> None:
        self.dsn, self.database = dsn, database
        self.bars = pd.concat([frame("A", 1), frame("B", 2), frame("C", 3).iloc[:200]])
        stored(database, self.bars)
        predict(dsn, self.bars)

    def keep(self, calendar: str = "XNYS") -> None:
        settings = Settings(calendar=calendar, ml_intervals="1m", postgres_dsn=SecretStr(self.dsn))
        Scoring(settings, PredictionScores(self.dsn, margin_seconds=0), ManualClock(NOW)).once()

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def cards(self, calendar: str = "XNYS") -> list[list[dict[str, Any]]]:
        """The scorecards of all windows as they are answered now."""

        async def read() -> list[list[dict[str, Any]]]:
            reader = PredictionReader(self.dsn)
            await reader.open()
            days = [day.start for day in trading_days(NOW - 200 * HOUR_US, NOW, calendar)]
            try:
                sums = [
                    await reader.scores("1m", NOW - back, NOW, days, calendar, block_lengths(MINUTE_US))
                    for back in WINDOWS
                ]
                return [scorecard(each, MINUTE_US) for each in sums]
            finally:
                await reader.close()

        return asyncio.run(read())

    def plain(self, calendar: str = "XNYS") -> list[list[dict[str, Any]]]:
        """The same by a look at every prediction; the sums stay."""
        with psycopg.connect(self.dsn) as connection:
            for table in TABLES:
                connection.execute(f"ALTER TABLE {table} RENAME TO held_{table}".encode())
                connection.execute(f"CREATE TABLE {table} (LIKE held_{table})".encode())
        try:
            return self.cards(calendar)
        finally:
            with psycopg.connect(self.dsn) as connection:
                for table in TABLES:
                    connection.execute(f"DROP TABLE {table}".encode())
                    connection.execute(f"ALTER TABLE held_{table} RENAME TO {table}".encode())

    def amend(self, symbol: str, start: int, price: str, **changes: Any) -> None:
        prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
        bar = make_bar(0, symbol=symbol, start=start, end=start + MINUTE_US, **prices, **changes)
        self.database.write_bars(bars_table([bar]))

    def hole(self, symbol: str, after: int) -> int:
        """The first minute without a bar."""
        starts = set(self.bars.loc[self.bars["symbol"] == symbol, "start"])
        return next(start for start in range(after, after + HOUR_US, MINUTE_US) if start not in starts)


@pytest.fixture
def system(postgres_dsn: str, database: TimescaleStore, tmp_path: Path) -> Iterator[System]:
    yield System(postgres_dsn, database)


def same(found: Any, wanted: Any) -> None:
    """Digit by digit but for the order in which doubles were added up."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            same(found[name], wanted[name])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    else:
        assert found == (pytest.approx(wanted, rel=1e-12, abs=1e-13) if isinstance(wanted, float) else wanted)


def test_sums_say_what_every_prediction_says_through_amendments_new_bars_and_another_calendar(system: System) -> None:
    before = system.cards()
    assert [len(card) for card in before] == [3] * len(WINDOWS) and before[0][0]["made"] > before[1][0]["made"] > 0
    system.keep()
    kept = system.run('SELECT sum(made), min("start"), max("start") FROM prediction_scores')[0]
    assert kept[0] > 0.8 * 3 * len(system.bars) and kept[1] == moment(FIRST)
    same(system.cards(), before)

    system.amend("A", FIRST + 70 * MINUTE_US, "140", rev=2, state="amended", reason="late")
    system.amend("B", system.hole("B", SECOND + 30 * MINUTE_US), "99")
    changed = system.plain()
    assert changed[0] != before[0]
    system.keep()
    same(system.cards(), changed)

    system.keep("XTKS")
    other = system.plain("XTKS")
    assert other[0] != changed[0]  # in Tokyo the two sessions are one
    same(system.cards("XTKS"), other)
    same(system.cards("XNYS"), changed)  # nothing is kept by that calendar any more


def test_what_is_summed_up_is_not_looked_at_again_and_what_is_pending_waits(system: System) -> None:
    system.keep()
    before = system.cards()
    until = dict(system.run("SELECT symbol, until FROM prediction_series"))
    assert len(until) == 3 and until["C"] < min(until["A"], until["B"])
    last = int(system.bars.loc[system.bars["symbol"] == "C", "start"].iloc[-15])
    assert until["C"] <= moment(last)  # its last predictions wait for bars
    for symbol, moved in until.items():
        system.run('DELETE FROM predictions WHERE symbol = %s AND "start" < %s', symbol, moved)
    same(system.cards()[0], before[0])
    assert system.run("SELECT count(*) FROM predictions")[0][0] < 300

    for minute in range(100, 120):  # it trades again
        system.amend("C", SECOND + minute * MINUTE_US, "101")
    system.keep()
    assert dict(system.run("SELECT symbol, until FROM prediction_series"))["C"] >= moment(SECOND + 105 * MINUTE_US)


def test_one_keeper_at_a_time_and_old_sums_are_forgotten(system: System) -> None:
    with psycopg.connect(system.dsn) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [7_203_146_699])
        system.keep()
        assert system.run("SELECT FROM prediction_scoring") == []
    system.keep()
    held = system.run("SELECT count(*) FROM prediction_scores")[0][0]
    store = PredictionScores(system.dsn, margin_seconds=0)
    later_us = SECOND + 9 * 24 * HOUR_US + 30 * MINUTE_US
    store.look("1m", "XNYS", later_us)
    left, first = system.run('SELECT count(*), min("start") FROM prediction_scores')[0]
    assert 0 < left < held and first == moment(SECOND + 30 * MINUTE_US)
    assert all(begun > first for (begun,) in system.run("SELECT begun FROM prediction_series"))
