"""Latencies of stages, from the stamps that rows carry."""

import numpy as np
import pytest
from prometheus_client import REGISTRY

from metrics import stages

NOW_US = 1_709_562_631_000_000
DAY_US = 86_400_000_000


def told(stage: str) -> tuple[float, float]:
    """How many there were of a stage, and their sum in seconds."""
    names = ("tickstream_stage_seconds_count", "tickstream_stage_seconds_sum")
    count, total = (REGISTRY.get_sample_value(name, {"stage": stage}) or 0.0 for name in names)
    return count, total


def grown(before: dict[str, tuple[float, float]], stage: str) -> tuple[float, float]:
    count, total = told(stage)
    return count - before[stage][0], pytest.approx(total - before[stage][1])


def test_ways_to_redis_are_told_from_their_stamps() -> None:
    names = ("received_to_live", "live_to_redis", "received_to_redis")
    before = {name: told(name) for name in names}
    stages.to_redis([(NOW_US - 9_000, NOW_US - 4_000), (NOW_US - 7_000, NOW_US - 1_000)], NOW_US)
    assert [grown(before, name) for name in names] == [(2, 0.011), (2, 0.005), (2, 0.016)]


def test_final_bars_of_a_replayed_past_say_nothing_of_how_soon_bars_close() -> None:
    names = ("received_to_final", "close_to_final")
    before = {name: told(name) for name in names}
    bars = [(NOW_US - 1_000_000, NOW_US - 12_000_000, NOW_US), (NOW_US - 1_000_000, NOW_US - DAY_US - 1, NOW_US)]
    stages.final_bars([*bars, (None, NOW_US - 10_000_000, NOW_US)])
    assert [grown(before, name) for name in names] == [(2, 2), (2, 22)]


def test_of_a_large_batch_of_the_log_a_sample_is_enough() -> None:
    before = {"received_to_log": told("received_to_log")}
    stages.logged(np.full(100_000, 2**60))  # received in the future: no time at all
    stages.logged(np.zeros(0, np.int64))
    count, total = grown(before, "received_to_log")
    assert stages.LOG_SAMPLE <= count <= 2 * stages.LOG_SAMPLE and total == 0
