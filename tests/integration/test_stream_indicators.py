"""Indicators of the final query: those of `compute` over the same bars, to the last bit, across restarts."""

import msgspec
import pytest

from conf.settings import Settings
from conf.topics import BARS, INDICATORS
from jobs import indicator_topic
from jobs.sinks import Sinks
from stores.memory import MemoryStore
from stores.schema import values_of
from tests.indicator_rows import expected_values, last_of, newest_starts
from tests.integration.test_one_definition import START_US, micros, random_ticks
from tests.streaming import close_all, consume, produce, run_available, run_with

pytestmark = pytest.mark.spark


@pytest.fixture
def configured(settings: Settings) -> Settings:
    """Short indicators, so that 40 minutes make them ready, and another set for five minutes."""
    return settings.model_copy(
        update={"indicators": "sma:3 ema:4 rsi:3 macd:2,4,3 vwap obv atr:3 stoch:3,2,2 5m=rvol:3 5m=bbands:2,2"}
    )


def values_by_bar(store: MemoryStore) -> dict[tuple, dict[str, float | None]]:
    rows = micros(store.indicators.drop_columns(["processed_us"]))
    return {(row["symbol"], row["interval"], row["start"]): values_of(row["values"]) for row in rows}


def test_indicators_of_a_query_stopped_halfway_equal_the_batch(spark, configured: Settings) -> None:
    ticks = random_ticks(5, 600)
    store = MemoryStore()
    for part in (ticks[:350], ticks[350:]):
        produce(configured, part)
        run_available("final", spark, configured, store)
    close_all(configured, START_US + 100 * 60_000_000)
    run_available("final", spark, configured, store)

    bars = micros(store.bars)
    found, expected = values_by_bar(store), expected_values(bars, configured)
    assert found == expected
    assert any(values["rsi_3"] is not None for values in found.values())
    columns = {
        interval: {name for key in found if key[1] == interval for name in found[key]} for interval in ("1m", "5m")
    }
    assert columns["5m"] - columns["1m"] == {"rvol_3", "bbands_2_2_upper", "bbands_2_2_middle", "bbands_2_2_lower"}
    states = {(row["symbol"], row["interval"]): row for row in store.read_states().to_pylist()}
    assert {key: row["start"] for key, row in states.items()} == newest_starts(list(found))
    for (_, interval), row in states.items():
        assert last_of(row["state"], row["specs"], configured, interval) == row["start"]


def test_an_indicator_new_in_the_settings_begins_and_the_others_go_on(spark, configured: Settings) -> None:
    ticks = random_ticks(6, 300)
    store = MemoryStore()
    produce(configured, ticks[:150])
    run_available("final", spark, configured, store)
    before = set(values_by_bar(store))
    changed = configured.model_copy(update={"indicators": "obv mom:1"})
    produce(changed, ticks[150:])
    close_all(changed, START_US + 100 * 60_000_000)
    run_available("final", spark, changed, store)

    found = values_by_bar(store)
    expected = expected_values(micros(store.bars), changed)
    later = set(found) - before
    assert later and {found[key]["obv"] for key in later} == {expected[key]["obv"] for key in later}
    firsts = {key[:2]: min(start for *name, start in later if tuple(name) == key[:2]) for key in later}
    assert all(found[*name, start]["mom_1"] is None for name, start in firsts.items())


def test_topic_holds_every_value_and_the_newest_state(spark, settings: Settings) -> None:
    produce(settings, random_ticks(7, 200))
    close_all(settings, START_US + 100 * 60_000_000)
    run_with(Sinks(settings), "final", spark, settings)

    states = indicator_topic.FinalStates(settings)
    memories = {(each.symbol, each.interval): each for each in states.read_all()}
    states.close()
    published = [msgspec.json.decode(record.value) for record in consume(settings, INDICATORS)]
    bars = [msgspec.json.decode(record.value) for record in consume(settings, BARS)]
    expected = expected_values(bars, settings)
    assert {(row["symbol"], row["interval"], row["start"]): row["values"] for row in published} == expected
    assert {key: each.start for key, each in memories.items()} == newest_starts(list(expected))
