"""What the final bars must not depend on: how ticks are spread over partitions, repeated, delayed and batched."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from conf.settings import Settings
from conf.topics import TICKS
from core import rulesets
from core.records import Tick
from jobs.bars import as_final, bars
from jobs.queries import deduplicated, watermarked
from jobs.ticks import accepted, parse, read_topic
from producers.topics import ensure_topics
from stores.memory import MemoryStore
from stores.schema import BAR_SCHEMA
from tests.integration.test_one_definition import START_US, arrivals, content, disturbed, micros, random_ticks
from tests.oracles import oracle_bars, rolled_up
from tests.streaming import close_all, consume, produce, run_available, unique

pytestmark = pytest.mark.spark

END_US = START_US + 3_600_000_000
SMALL_BATCHES = {"max_ticks_per_batch": 1000}


def own(settings: Settings, path: Path) -> Settings:
    """Settings with topics and checkpoints of their own, and small batches."""
    name = unique("case")
    made = settings.model_copy(update=SMALL_BATCHES | {"topic_prefix": f"{name}.", "data_path": path / name})
    ensure_topics(made)
    return made


def expected_bars(settings: Settings) -> dict[tuple, dict]:
    return content(list(oracle_bars(arrivals(consume(settings, TICKS))).values()))


def spread(ticks: Sequence[Tick], seed: int) -> list[tuple[int, Tick]]:
    """Ticks on partitions by chance, a copy where its original is: which came first is then certain."""
    return [(random.Random(f"{seed} {tick.seq}").randrange(2), tick) for tick in ticks]


@given(seed=st.integers(0, 2**32))
@budget(max_examples=2, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_final_bars_equal_the_oracle_however_ticks_arrive(spark, settings: Settings, tmp_path: Path, seed: int) -> None:
    case = own(settings, tmp_path)
    produce(case, spread(disturbed(random_ticks(seed, 2000), seed), seed))
    expected = expected_bars(case)
    close_all(case, END_US)
    rows = micros(run_available("final", spark, case).bars)
    assert content(rows) == expected
    assert rolled_up(rows) == {key: bar for key, bar in content(rows).items() if key[1] != "1m"}


def skewed(seed: int) -> list[tuple[int, Tick]]:
    """Partition 1 has ticks of all times, partition 0 only of the second half: it is ahead from its first slice on."""
    rng = random.Random(seed)
    middle_us = START_US + 20 * 60_000_000
    return [(0 if tick.event_us > middle_us and rng.random() < 0.5 else 1, tick) for tick in random_ticks(seed, 2000)]


def test_partition_read_far_ahead_makes_no_tick_late(spark, settings: Settings, tmp_path: Path) -> None:
    case = own(settings, tmp_path)
    produce(case, skewed(3))
    expected = expected_bars(case)
    close_all(case, END_US)
    assert content(micros(run_available("final", spark, case).bars)) == expected
    # The test can fail: through one source, with one watermark, the same topic loses ticks.
    lossy = content(micros(single_source(spark, case).bars))
    assert sum(bar["trade_count"] for bar in lossy.values()) < sum(bar["trade_count"] for bar in expected.values())


def single_source(spark, settings: Settings) -> MemoryStore:
    """The final query as it would be with a plain `subscribe`."""
    store = MemoryStore()
    # Lateness is judged by the watermark of the batch before, so it takes several slices to show.
    parsed = parse(read_topic(spark, settings, 250), settings)
    ticks = deduplicated(watermarked(accepted(parsed), settings))
    rows = bars(ticks, settings.bar_intervals, rulesets.load("all"), settings.lateness_seconds)

    def write(batch, _: int) -> None:
        store.write_bars(as_final(batch, 1).toArrow().cast(BAR_SCHEMA))

    query = (
        rows.writeStream.foreachBatch(write)
        .option("checkpointLocation", str(settings.checkpoint_path / "single"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return store
