"""The stores that need no server keep the promises of a store."""

import json
from pathlib import Path

import pytest

from core.errors import StoreUnavailable
from stores.lake import LakeStore
from stores.memory import MemoryStore
from stores.schema import INDICATOR_SCHEMA
from tests import checks
from tests.batches import make_bar, make_bars, rows_of
from tests.checks import BarCheck, IndicatorCheck, OpenedBars, OpenedIndicators, OpenedTicks, TickCheck
from tests.factories import indicators, indicators_table, state

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


@pytest.mark.parametrize("check", list(checks.indicator_checks()))
def test_indicators_in_memory(check: IndicatorCheck) -> None:
    store = MemoryStore()

    def read() -> list[dict]:
        rows = rows_of(store.indicators.drop_columns(["state"]))
        return [row | {"values": json.loads(row["values"])} for row in rows]

    check(OpenedIndicators(store, read, store.read_states))
    assert store.indicators.schema == INDICATOR_SCHEMA


def test_failed_write_keeps_neither_bars_nor_indicators() -> None:
    store = MemoryStore()
    store.fail_next(1)
    batch = make_bars(make_bar(0)), indicators_table(indicators(make_bar(0), state=state(1.0)))
    with pytest.raises(StoreUnavailable):
        store.write_bars(*batch)
    assert (store.bars.num_rows, store.indicators.num_rows, store.read_states().num_rows) == (0, 0, 0)
    store.write_bars(*batch)
    assert (store.bars.num_rows, store.indicators.num_rows, store.read_states().num_rows) == (1, 1, 1)


def test_lake_takes_bars_with_indicators(tmp_path: Path) -> None:
    lake = LakeStore(tmp_path)
    batch = make_bars(make_bar(0))
    lake.write_bars(batch, indicators_table(indicators(make_bar(0))))
    assert rows_of(lake.read_bars(*FOREVER)) == rows_of(batch)


@pytest.mark.parametrize("check", list(checks.tick_sink_checks()))
def test_tick_sink(store: MemoryStore | LakeStore, check: TickCheck) -> None:
    def read() -> list[dict]:
        return rows_of(store.ticks if isinstance(store, MemoryStore) else store.read_ticks(*FOREVER))

    check(OpenedTicks(store, read))
