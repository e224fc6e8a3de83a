"""Reconciling after the streaming queries: late ticks end up in every store, and the final query goes on from there."""

import random

import pytest

from core.records import Tick
from jobs.sinks import Sinks
from tests.integration.test_one_definition import START_US, random_ticks
from tests.oracles import oracle_bars
from tests.reconciling import System, values
from tests.streaming import close_all, produce, run_with

pytestmark = pytest.mark.spark

MINUTE_US = 60_000_000


def run(system: System, minute: int, ticks: list[Tick]) -> None:
    """Produce, let event time come to a minute, and let both queries read it all."""
    produce(system.settings, ticks)
    close_all(system.settings, START_US + minute * MINUTE_US)
    for name in ("final", "archive"):
        run_with(Sinks(system.settings), name, system.spark, system.settings)


def test_late_ticks_end_up_in_every_store_and_the_final_query_goes_on(system: System) -> None:
    ticks, rng = random_ticks(1, 300), random.Random(1)
    early = [tick for tick in ticks if tick.event_us < START_US + 25 * MINUTE_US]
    late = [tick for tick in early if tick.event_us < START_US + 20 * MINUTE_US and rng.random() < 0.12]
    run(system, 26, [tick for tick in early if tick not in late])
    before = system.bars()
    run(system, 27, late)
    dropped = {key: bar for key, bar in system.bars().items() if key[2] < START_US + 20 * MINUTE_US}
    assert all(values(before[key]) == values(bar) for key, bar in dropped.items() if key in before)

    amended = {each.key: each for each in system.reconcile().amended}
    expected = oracle_bars([(tick, None, None) for tick in early])
    closed = {key: bar for key, bar in expected.items() if key in system.bars()}
    assert set(closed) >= {key for key in expected if key[2] < START_US + 15 * MINUTE_US}
    system.assert_stores_hold(closed)
    differing = {key for key, bar in closed.items() if key not in before or values(before[key]) != values(bar)}
    differing &= {key for key in closed if closed[key]["end"] <= START_US + 25 * MINUTE_US}
    assert amended.keys() == differing and len(differing) > 20
    for key, bar in system.bars().items():
        rev = 2 if key in before else 1
        wanted = ("amended", "late", rev) if key in differing else ("final", None, 1)
        assert (bar["state"], bar["reason"], bar["rev"]) == wanted
    assert [row["ticks"] for row in system.rows("SELECT * FROM late_ticks_seen")] == [len(late)]

    again = system.reconcile()
    assert again.amended == []
    run(system, 60, [tick for tick in ticks if tick not in early])
    assert {each.bar["reason"] for each in system.reconcile().amended} <= {"late"}
    system.assert_stores_hold(oracle_bars([(tick, None, None) for tick in ticks]))
    assert system.rows("SELECT * FROM unchecked_bars") == []
