"""When the final query's next micro-batch is due: seldom while no bar can close, at once when one can."""

import threading
import time

import pytest
from confluent_kafka import KafkaException

from conf.settings import Settings
from core.errors import StoreUnavailable
from core.intervals import MINUTE_US, SECOND_US, parse_intervals
from jobs.pace import LOOK_SECONDS, Pace, next_end, pause_before
from jobs.progress import watermark_us

HOUR_US = 60 * MINUTE_US
BATCH_SECONDS = 0.4
LATENESS = 10


def test_next_end_is_the_first_that_the_watermark_has_not_reached() -> None:
    intervals = parse_intervals("5m,1m")
    assert next_end(HOUR_US - 1, intervals) == HOUR_US
    assert next_end(HOUR_US, intervals) == HOUR_US + MINUTE_US
    assert next_end(HOUR_US + 1, parse_intervals("5m,15m")) == HOUR_US + 5 * MINUTE_US


def batches(longest: float, speed: float, minutes: float, took: float = BATCH_SECONDS) -> list[float]:
    """When micro-batches begin, in wall-clock seconds, where event time runs at `speed`: a model of the query."""
    now, watermark, found = 1000.0, 0.0, []
    while now < 1000 + minutes * 60 / speed:
        found.append(now)
        used, watermark = watermark, int((1000 + (now - 1000) * speed - LATENESS) * SECOND_US)
        now += took
        if used:
            closes, began, pause = next_end(int(used), parse_intervals("1m")) / SECOND_US + LATENESS, now, 1.0
            while pause:
                pause = pause_before(closes - (1000 + (now - 1000) * speed), now - began, took, longest)
                now += pause
    return found


@pytest.mark.parametrize("took", [0.1, 0.4, 3.0])
@pytest.mark.parametrize("longest", [2.0, 5.0, 60.0])
def test_closing_batch_begins_when_its_ticks_are_there_and_is_small(longest: float, took: float) -> None:
    began = batches(longest, speed=1, minutes=10, took=took)
    for close in range(1020 + LATENESS, 1600, 60):
        after = [at for at in began if at >= close]
        before = [at for at in began if at < close]
        # One that reads the ticks past the end, and the next at once, which writes the bar.
        assert after[0] - close <= LOOK_SECONDS + 0.01 and after[1] - after[0] <= took + 0.01
        assert after[0] - before[-1] <= 2 * took + 2.5
    assert len(began) <= 10 * (60 / longest + 5)


def test_replay_closes_bars_as_soon_as_they_can() -> None:
    began = batches(longest=60, speed=60, minutes=30)
    for close in range(1020 + LATENESS, 1000 + 29 * 60, 60):
        at = 1000 + (close - 1000) / 60
        assert min(each for each in began if each >= at) - at <= max(BATCH_SECONDS, LOOK_SECONDS) + 0.11


def test_nothing_waits_longer_than_it_may() -> None:
    assert pause_before(30, 4.6, 0.4, 5) == pytest.approx(0.4)
    assert pause_before(30, 5.0, 0.4, 5) == 0
    assert pause_before(-5, 0, 0.4, 5) == 0
    # An idle market whose event time stands still just before an end.
    assert pause_before(0.2, 5.0, 0.4, 5) == LOOK_SECONDS and pause_before(0.2, 6.5, 0.4, 5) == 0


def make(reach, **fields: object) -> Pace:
    return Pace(reach, Settings(**fields))


def seconds_of(rest) -> float:
    began = time.monotonic()
    rest()
    return time.monotonic() - began


def broken() -> int:
    raise KafkaException("no broker")


def away() -> int:
    raise StoreUnavailable("kafka", "no answer")


@pytest.mark.parametrize("reach", [lambda: None, broken, away])
def test_query_does_not_rest_when_it_cannot_see_the_partitions(reach) -> None:
    assert seconds_of(lambda: make(reach).rest(HOUR_US)) < 1


def test_rests_of_no_length_are_none() -> None:
    assert seconds_of(lambda: make(lambda: HOUR_US, final_rest_seconds=0).rest(HOUR_US)) < 1


def test_query_does_not_rest_before_its_first_watermark_or_in_a_backlog() -> None:
    assert seconds_of(lambda: make(lambda: HOUR_US).rest(None)) < 1
    assert seconds_of(lambda: make(lambda: HOUR_US).rest(0)) < 1


def test_rest_ends_when_a_bar_can_close_and_not_before() -> None:
    looks = iter([HOUR_US - 1_000_000, HOUR_US + 9_999_999, HOUR_US + 10_000_000])
    pace = make(lambda: next(looks), lateness_seconds=10)
    pace.rest(HOUR_US - 1)
    assert next(looks, None) is None


def test_stopping_ends_a_rest() -> None:
    pace = make(lambda: HOUR_US, final_rest_seconds=60)
    threading.Timer(0.05, pace.stop).start()
    assert seconds_of(lambda: pace.rest(HOUR_US)) < 5
    assert seconds_of(lambda: pace.rest(HOUR_US)) < 1


def test_watermark_is_read_from_the_progress_of_a_batch() -> None:
    assert watermark_us({"eventTime": {"watermark": "2024-03-04T14:30:00.123Z"}}) == 1_709_562_600_123_000
    assert watermark_us({"eventTime": {}}) is watermark_us({}) is watermark_us(None) is None
