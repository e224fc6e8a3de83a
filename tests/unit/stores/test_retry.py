"""Bounded retry, on a clock that the test owns."""

import pytest

from core.errors import ConfigError, StoreUnavailable
from stores.memory import MemoryStore
from stores.retry import LONGEST_PAUSE_SECONDS, pause_before, retrying
from tests.batches import make_bar, make_bars


class Time:
    """Monotonic seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


def write(store: MemoryStore, seconds: float, time: Time) -> None:
    batch = make_bars(make_bar())
    retrying("memory", lambda: store.write_bars(batch), seconds, sleep=time.sleep, monotonic=time.monotonic)


def test_store_that_comes_back_is_written() -> None:
    store, time = MemoryStore(), Time()
    store.fail_next(4)
    write(store, 30, time)
    assert store.bars.num_rows == 1
    assert len(time.pauses) == 4
    assert all(later > earlier for earlier, later in zip(time.pauses, time.pauses[1:], strict=False))


def test_store_that_stays_away_raises_at_the_deadline() -> None:
    store, time = MemoryStore(), Time()
    store.fail_next(10_000)
    with pytest.raises(StoreUnavailable, match="memory"):
        write(store, 30, time)
    assert time.now == pytest.approx(1030)
    assert len(time.pauses) < 20 and store.bars.num_rows == 0


def test_no_time_means_one_try() -> None:
    store, time = MemoryStore(), Time()
    store.fail_next(1)
    with pytest.raises(StoreUnavailable):
        write(store, 0, time)
    assert time.pauses == []
    write(store, 0, time)


def test_other_errors_are_raised_at_once() -> None:
    time, calls = Time(), [0]

    def call() -> None:
        calls[0] += 1
        raise ConfigError("wrong")

    with pytest.raises(ConfigError):
        retrying("any", call, 30, sleep=time.sleep, monotonic=time.monotonic)
    assert calls == [1]


def test_result_is_handed_through() -> None:
    assert retrying("any", lambda: 7, 0) == 7


@pytest.mark.parametrize(("attempt", "retry_after", "least"), [(0, 0, 0.1), (3, 0, 0.8), (0, 17, 17), (10_000, 0, 5)])
def test_pause_grows_and_respects_the_store(attempt: int, retry_after: float, least: float) -> None:
    pauses = [pause_before(attempt, retry_after) for _ in range(50)]
    assert min(pauses) >= least
    assert max(pauses) <= 1.25 * max(least, min(LONGEST_PAUSE_SECONDS, least))
    assert len(set(pauses)) > 1
