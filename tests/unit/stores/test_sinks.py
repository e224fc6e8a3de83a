"""The stores that need no server keep the promises of a store."""

from pathlib import Path

import pytest

from stores.lake import LakeStore
from stores.memory import MemoryStore
from tests import checks
from tests.batches import rows_of
from tests.checks import BarCheck, OpenedBars, OpenedTicks, TickCheck

FOREVER = (-(2**62), 2**62)


@pytest.fixture(params=["memory", "lake"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryStore | LakeStore:
    made = MemoryStore() if request.param == "memory" else LakeStore(tmp_path / "lake")
    made.setup()
    return made


@pytest.mark.parametrize("check", list(checks.bar_sink_checks()))
def test_bar_sink(store: MemoryStore | LakeStore, check: BarCheck) -> None:
    def read() -> list[dict]:
        return rows_of(store.bars if isinstance(store, MemoryStore) else store.read_bars(*FOREVER))

    check(OpenedBars(store, read))


@pytest.mark.parametrize("check", list(checks.tick_sink_checks()))
def test_tick_sink(store: MemoryStore | LakeStore, check: TickCheck) -> None:
    def read() -> list[dict]:
        return rows_of(store.ticks if isinstance(store, MemoryStore) else store.read_ticks(*FOREVER))

    check(OpenedTicks(store, read))
