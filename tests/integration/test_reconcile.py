"""Reconciling: whatever came late, was corrected or cancelled, every store ends as if it had seen the clean tape."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from conf.settings import Settings
from conf.topics import BARS, INDICATORS, TICKS
from core.clock import ManualClock
from core.records import BAR_COLUMNS, BAR_PROVENANCE, Tick
from jobs import indicator_topic
from jobs.amend import DELIVERY
from jobs.reconciler import Reconciler, Run
from jobs.sinks import Sinks
from stores.redis import RedisReader
from stores.schema import values_of
from tests.indicator_rows import expected_values, last_of, newest_starts
from tests.integration.test_one_definition import START_US, arrivals, content, random_ticks
from tests.oracles import oracle_bars
from tests.streaming import close_all, consume, produce, run_with

pytestmark = pytest.mark.spark

MINUTE_US = 60_000_000
NOW_US = 2_000_000_000_000_000
VALUES = [name for name in BAR_COLUMNS if name not in BAR_PROVENANCE | DELIVERY | {"ruleset"}]


@pytest.fixture
def configured(settings: Settings) -> Settings:
    """Short indicators, so that 40 minutes make them ready."""
    return settings.model_copy(
        update={"indicators": "sma:3 ema:4 rsi:3 macd:2,4,3 vwap obv atr:3 stoch:3,2,2 5m=rvol:3 5m=ema:2"}
    )


class System:
    """The final and archive queries over what the topic holds, and reconciling after them."""

    def __init__(self, spark: Any, settings: Settings) -> None:
        self.spark, self.settings = spark, settings

    def run(self, *queries: str) -> None:
        for name in queries or ("final", "archive"):
            run_with(Sinks(self.settings), name, self.spark, self.settings)

    def reconcile(self, disturb: Callable[[Reconciler], object] = lambda _: None) -> Run:
        sinks = Sinks(self.settings)
        try:
            reconciler = Reconciler(self.spark, self.settings, sinks, ManualClock(NOW_US))
            disturb(reconciler)
            run = reconciler.run_recent()
            assert run is not None
            return run
        finally:
            sinks.close()

    def rows(self, sql: str) -> list[dict]:
        with psycopg.connect(self.settings.postgres_dsn.get_secret_value(), row_factory=dict_row) as connection:
            return connection.execute(sql.encode()).fetchall()

    def bars(self) -> dict[tuple, dict]:
        found = self.rows('SELECT *, (extract(epoch FROM "start") * 1000000)::bigint AS "start",'
                          ' (extract(epoch FROM "end") * 1000000)::bigint AS "end" FROM bars')  # fmt: skip
        return {(row["symbol"], row["interval"], row["start"]): row for row in found}

    def assert_equals(self, expected: dict[tuple, dict]) -> None:
        """Bars everywhere, and indicators everywhere of exactly these bars."""
        bars = self.bars()
        assert {key: values(bar) for key, bar in bars.items()} == {key: values(bar) for key, bar in expected.items()}
        topic: dict[tuple, dict] = {}
        for record in consume(self.settings, BARS):
            row = msgspec.json.decode(record.value)
            held = topic.get((row["symbol"], row["interval"], row["start"]))
            if held is None or held["rev"] <= row["rev"]:
                topic[row["symbol"], row["interval"], row["start"]] = row
        told = ("rev", "state", "reason", "volume", "close", "trade_count")
        assert {key: [str(row[name]) for name in told] for key, row in topic.items()} == {
            key: [str(row[name]) for name in told] for key, row in bars.items()
        }
        self.assert_indicators(list(bars.values()))

    def assert_indicators(self, bars: Sequence[dict]) -> None:
        expected = expected_values(bars, self.settings)
        found = self.rows('SELECT symbol, "interval", (extract(epoch FROM "start") * 1000000)::bigint AS "start",'
                          ' rev, "values"::text AS "values" FROM indicators')  # fmt: skip
        assert {(row["symbol"], row["interval"], row["start"]): values_of(row["values"]) for row in found} == expected
        states = self.rows('SELECT *, (extract(epoch FROM "start") * 1000000)::bigint AS "start" FROM indicator_states')
        newest = newest_starts(list(expected))
        assert {(row["symbol"], row["interval"]): row["start"] for row in states} == newest
        for row in states:
            assert last_of(row["state"], row["specs"], self.settings, row["interval"]) == row["start"]
        published = [msgspec.json.decode(record.value) for record in consume(self.settings, INDICATORS)]
        assert {(row["symbol"], row["interval"], row["start"]): row["values"] for row in published} == expected
        reader = indicator_topic.FinalStates(self.settings)
        memories = {(each.symbol, each.interval): (each.start, each.state) for each in reader.read_all()}
        reader.close()
        assert memories == {(row["symbol"], row["interval"]): (row["start"], bytes(row["state"])) for row in states}


def values(bar: dict) -> dict[str, object]:
    return {name: bar[name] for name in VALUES}


def clean(ticks: Sequence[Tick]) -> dict[tuple, dict]:
    """The bars of a tape, by the oracle."""
    return {key: bar for key, bar in oracle_bars([(tick, None, None) for tick in ticks]).items()}


@pytest.fixture
def system(spark: Any, configured: Settings) -> Iterator[System]:
    yield System(spark, configured)


def late_tape(seed: int) -> tuple[list[Tick], list[Tick]]:
    """Ticks in time, and those of them that come a quarter of an hour and more later."""
    ticks, rng = random_ticks(seed, 300), random.Random(seed)
    late = [tick for tick in ticks if tick.event_us < START_US + 20 * MINUTE_US and rng.random() < 0.1]
    return [tick for tick in ticks if tick not in late], late


def test_late_ticks_end_up_in_every_store(system: System) -> None:
    timely, late = late_tape(1)
    produce(system.settings, timely)
    close_all(system.settings, START_US + 45 * MINUTE_US)
    system.run()
    before = system.bars()
    produce(system.settings, late)
    close_all(system.settings, START_US + 46 * MINUTE_US)
    system.run()
    assert system.bars() == before, "late ticks are dropped by the final query"

    run = system.reconcile()
    expected = clean([*timely, *late])
    system.assert_equals(expected)
    after = system.bars()
    differing = {key for key in expected if key not in before or values(before[key]) != values(after[key])}
    assert {each.key for each in run.amended} == differing
    for key in expected:
        bar, old = after[key], before.get(key)
        wanted = ("final", None, 1) if key not in differing else ("amended", "late", 1 if old is None else 2)
        assert (bar["state"], bar["reason"], bar["rev"]) == wanted
    kept = {(row["symbol"], row["interval"], row["start"].timestamp() * 1e6): row for row in system.rows(
        "SELECT * FROM bar_revisions")}  # fmt: skip
    assert kept.keys() == {key for key in differing if key in before}
    assert all(values(kept[key] | {"start": key[2], "end": before[key]["end"]}) == values(before[key]) for key in kept)
    seen = system.rows("SELECT * FROM late_ticks_seen")
    assert [row["ticks"] for row in seen] == [len(late)]

    again = system.reconcile()
    assert again.amended == [] and again.checked == 0 and system.bars() == after
