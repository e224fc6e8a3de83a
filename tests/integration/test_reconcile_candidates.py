"""The sieve in SQL: whatever the log holds, no bar that differs from its recomputation passes it."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pyarrow as pa
import pytest

from core import rulesets
from core.bars import fold_bars
from core.corrections import corrected
from core.intervals import parse_intervals
from core.records import Tick
from jobs.amend import VALUES
from stores import amending
from stores.reconciling import Reconciling
from stores.schema import TICK_SCHEMA, bars_table
from stores.timescale import TimescaleStore
from tests.factories import MONDAY_US, tick
from tests.reconciling import tick_row

MINUTE_US = 60_000_000
INTERVALS = parse_intervals("1m,5m,15m")
# Half an hour of the tape lies around the end of a shortened day, when sweeps begin to make prices.
EARLY_US = int(datetime(2024, 7, 3, 16, 45, tzinfo=UTC).timestamp()) * 1_000_000
MASKS = (None, None, None, "4", "20", "40", "80", "8000", "100000", "nonsense")


def random_tape(rng: random.Random, masks: tuple[str | None, ...], begin_us: int) -> tuple[list[Tick], list[Tick]]:
    """Ticks of half an hour in time, and what comes after: late ones, corrections, cancels, copies."""
    timely, late = [], []
    for n in range(rng.randrange(5, 60)):
        at = begin_us + rng.randrange(30 * MINUTE_US)
        made = tick(
            symbol=rng.choice("AB"),
            event_us=at,
            seq=n,
            trade_id=f"t{n}",
            price=str(rng.randrange(1, 20)),
            size=str(rng.randrange(0, 4)),
            conditions=rng.choice(masks),
            received_us=at + rng.randrange(20_000_000),
        )
        (late if rng.random() < rng.choice([0, 0.1, 0.4]) else timely).append(made)
    for _ in range(rng.choice([0, 0, 1, 4])):
        of = rng.choice(timely + late or [tick(symbol="A")])
        at = of.event_us + rng.randrange(10 * MINUTE_US)
        gone = rng.random() < 0.5
        told = {"price": None, "size": None} if gone else {"price": str(rng.randrange(1, 20))}
        late.append(msgspec.structs.replace(of, kind="cancel" if gone else "correct", event_us=at, **told))
    for _ in range(rng.choice([0, 0, 3])):
        of = rng.choice(timely + late or [tick(symbol="A")])
        if of.kind == "trade":
            late.append(msgspec.structs.replace(of, event_us=of.event_us + rng.choice([0, 1, 500]), price="77"))
    rng.shuffle(late)
    return sorted(timely, key=lambda each: each.event_us + rng.randrange(5_000_000)), late


@pytest.mark.parametrize(("ruleset", "seeds"), [("all", range(60)), ("us-equity", range(60, 120))])
def test_no_bar_that_differs_passes(postgres_dsn: str, ruleset: str, seeds: range) -> None:
    rules, store = rulesets.load(ruleset), TimescaleStore(postgres_dsn)
    store.setup()
    judged = {"equal": 0, "differs": 0, "needless": 0}
    with Reconciling(postgres_dsn, INTERVALS, rules) as asked:
        for seed in seeds:
            rng = random.Random(seed)
            begin_us = MONDAY_US if seed % 2 else EARLY_US
            timely, late = random_tape(rng, MASKS if ruleset != "all" else (None,), begin_us)
            placed = [(each, 0, n) for n, each in enumerate([*timely, *late])]
            stored = fold_bars(placed[: len(timely)], INTERVALS, rules, 1)
            _refill(store, postgres_dsn, placed, stored, rng)
            truth = {_key(bar): bar for bar in fold_bars(corrected(placed), INTERVALS, rules, 1)}
            held = {_key(bar): bar for bar in stored}
            asked.collect(timedelta(hours=2))
            horizon = begin_us + 40 * MINUTE_US
            found = {each.key: each.verdict for each in asked.due(0, horizon, horizon)}
            for key in truth.keys() | held.keys():
                differs = key not in held or key not in truth or _values(held[key]) != _values(truth[key])
                if differs:
                    assert found.get(key) == "differs", (seed, key)
                else:
                    judged["needless" if found[key] == "differs" else "equal"] += 1
                judged["differs"] += differs
    store.close()
    assert min(judged["equal"], judged["differs"]) > 500 and judged["needless"] < judged["equal"] / 2


def test_rules_cost_little_on_a_bulk_loaded_history_and_wrong_bars_are_found(postgres_dsn: str) -> None:
    rng, store = random.Random(5), TimescaleStore(postgres_dsn)
    store.setup()
    times = sorted(MONDAY_US + rng.randrange(240 * MINUTE_US) for _ in range(8_000))
    made = [tick(symbol="A", event_us=at, seq=n, trade_id=f"t{n}", price=str(rng.randrange(1, 20)),
                 conditions=rng.choice(MASKS)) for n, at in enumerate(times)]  # fmt: skip
    placed = [(each, 0, n) for n, each in enumerate(made)]
    # No ANALYZE: a history that was just loaded has no statistics.
    store.write_ticks(pa.Table.from_pylist([tick_row(each, n) for each, _, n in placed], schema=TICK_SCHEMA))
    bars = fold_bars(placed, INTERVALS, rulesets.load("us-equity"), 1)
    wrong = {_key(bars[at]) for at in (7, 180, 250)}
    store.write_bars(
        bars_table([msgspec.structs.replace(bar, volume=bar.volume + (_key(bar) in wrong)) for bar in bars])
    )
    store.close()
    horizon = MONDAY_US + 241 * MINUTE_US
    seconds = {}
    for name in ("all", "us-equity"):
        with Reconciling(postgres_dsn, INTERVALS, rulesets.load(name)) as asked:
            began = time.monotonic()
            found = asked.in_range(MONDAY_US, horizon, horizon, None)
            seconds[name] = time.monotonic() - began
    assert {each.key: each.verdict for each in found} == {
        _key(bar): "differs" if _key(bar) in wrong else "equal" for bar in bars
    }
    assert seconds["us-equity"] < 8 * seconds["all"], "an expression is worked out again wherever it is used"


def _refill(store: TimescaleStore, dsn: str, placed: list, stored: list, rng: random.Random) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("TRUNCATE ticks, bars, touched_minutes, unchecked_bars, symbols")
    at = 0
    while at < len(placed):
        size = rng.randrange(1, 40)
        rows: list[dict[str, Any]] = [tick_row(each, offset) for each, _, offset in placed[at : at + size]]
        store.write_ticks(pa.Table.from_pylist(rows, schema=TICK_SCHEMA))
        at += size
    store.write_bars(bars_table(stored))


def _key(bar: Any) -> tuple[str, str, int]:
    return bar.symbol, bar.interval, bar.start


def _values(bar: Any) -> list[Any]:
    return [getattr(bar, name) for name in VALUES]


def test_ticks_written_while_a_run_looks_are_looked_at_by_the_next(postgres_dsn: str) -> None:
    store = TimescaleStore(postgres_dsn)
    store.setup()
    rows = [tick_row(tick(trade_id=str(n), event_us=MONDAY_US + n), n) for n in range(3)]
    store.write_ticks(pa.Table.from_pylist(rows[:1], schema=TICK_SCHEMA))
    with Reconciling(postgres_dsn, INTERVALS, rulesets.load("all")) as asked:
        with psycopg.connect(postgres_dsn) as writer:
            # An open transaction holds the minute: its tick cannot be seen, so its mark must stay.
            writer.execute("UPDATE touched_minutes SET writes = writes + 1")
            assert asked.collect(timedelta(hours=1)) == 0
        assert asked.collect(timedelta(hours=1)) == 1
        due = asked.due(0, MONDAY_US + 10**12, MONDAY_US + 10**12)
        store.write_ticks(pa.Table.from_pylist(rows[1:2], schema=TICK_SCHEMA))
        asked.collect(timedelta(hours=1))
        asked.resolve(due)
        assert len(asked.due(0, MONDAY_US + 10**12, MONDAY_US + 10**12)) == 3
        asked.resolve(asked.due(0, MONDAY_US + 10**12, MONDAY_US + 10**12))
        assert asked.due(0, MONDAY_US + 10**12, MONDAY_US + 10**12) == []
    store.close()


def test_amendments_come_to_light_in_the_order_of_their_numbers(postgres_dsn: str) -> None:
    """Two processes: one that has read a number would never learn of a lower one that was committed later."""
    store = TimescaleStore(postgres_dsn)
    store.setup()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with psycopg.connect(postgres_dsn) as slow, psycopg.connect(postgres_dsn, autocommit=True) as looking:
        amending.note(slow, "A", "1m", MONDAY_US, restated=False)
        quick = threading.Thread(target=store.miss, args=[[("B", "1m", MONDAY_US)]])
        quick.start()
        deadline = time.monotonic() + 30
        while looking.execute(waiting).fetchone() != (1,):
            assert time.monotonic() < deadline and quick.is_alive(), store.amended_since(0)
            time.sleep(0.02)
        assert store.amended_since(0) == []
        slow.commit()
        quick.join(30)
    found = store.amended_since(0)
    store.close()
    assert [symbol for symbol, _, _ in found] == ["A", "B"] and found[0][2] < found[1][2]
