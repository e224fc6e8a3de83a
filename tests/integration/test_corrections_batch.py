"""Corrections and cancels in Spark, over the log at rest and over a whole recorded day."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.settings import Settings
from conf.topics import TICKS
from core import rulesets
from core.corrections import Placed, corrected
from core.records import Tick
from jobs.recorded import read_exported, read_table
from producers.publish import Publisher
from producers.reading import find_files
from producers.replay import Progress, Replay
from stores.schema import TICK_SCHEMA
from tests.factories import MONDAY_US, tick
from tests.reconciling import System, tick_row, values
from tests.streaming import consume
from tests.supervised import ROOT

pytestmark = pytest.mark.spark

DATA = ROOT.parent / "shared/data/us_equity_2013"
DAY_US = 86_400_000_000
TOLD = ("symbol", "event_us", "seq", "trade_id", "conditions", "kafka_offset", "received_us")


def random_records(seed: int, symbols: int = 40) -> list[Placed]:
    """Trades, copies, corrections and cancels of many symbols in any order; few ids, so that much is said of each."""
    rng, made = random.Random(seed), []
    for n in range(symbols * 12):
        kind = rng.choice(["trade", "trade", "correct", "correct", "cancel"] if n % 3 else ["trade"])
        priced = {"price": None, "size": None}
        if kind != "cancel":
            priced = {"price": f"{rng.randrange(1, 99)}.5", "size": str(rng.randrange(9))}
        at = MONDAY_US + rng.randrange(1_000_000)
        named = {"symbol": f"S{rng.randrange(symbols)}", "trade_id": str(rng.randrange(4)), "venue": rng.choice("X")}
        fields = {"conditions": rng.choice([None, "4"]), "received_us": at + rng.randrange(9), "seq": n}
        made.append(tick(kind=kind, event_us=at, **named, **priced, **fields))
    return [(each, 0, offset) for offset, each in enumerate(made)]


def test_spark_says_what_one_process_says(spark: Any, tmp_path: Path) -> None:
    placed = random_records(1)
    rows = [tick_row(each, offset) for each, _, offset in placed]
    pq.write_table(pa.Table.from_pylist(rows, schema=TICK_SCHEMA), tmp_path / "ticks.parquet")
    found = [row.asDict() for row in read_exported(spark, tmp_path / "ticks.parquet").collect()]
    wanted = corrected(placed)
    assert len(found) == len(wanted) > 40
    by_offset = {row["kafka_offset"]: row for row in found}
    for each, _, offset in wanted:
        told = {name: getattr(each, name, offset) for name in TOLD}
        amounts = {name: round(float(getattr(each, name)) * 10**8) for name in ("price", "size")}
        assert {name: by_offset[offset][name] for name in [*TOLD, "price", "size"]} == told | amounts


def test_a_range_of_the_table_knows_corrections_from_outside(spark: Any, settings: Settings) -> None:
    system = System(spark, settings)
    trades = [tick(trade_id=str(n), seq=n, event_us=MONDAY_US + n * 1_000_000) for n in range(4)]
    later = {"event_us": MONDAY_US + DAY_US, "received_us": MONDAY_US + DAY_US}
    said = [
        msgspec.structs.replace(trades[1], kind="correct", price="1", **later),
        msgspec.structs.replace(trades[2], kind="cancel", price=None, size=None, **later),
        # At the very time of its trade, as a provider's history has it.
        msgspec.structs.replace(trades[3], kind="cancel", price=None, size=None),
    ]
    system.archive([*trades, *said])
    rows = read_table(spark, settings, MONDAY_US + 500_000, MONDAY_US + 10_000_000).collect()
    system.close()
    assert [(row.trade_id, row.price) for row in rows] == [("1", 100_000_000)]


def recorded_day(settings: Settings, path: Path) -> list[Tick]:
    """A recorded file as ticks at their effective time, each with an id."""
    with Publisher(settings) as publisher:
        Replay(publisher, settings, rulesets.load(settings.ruleset), find_files([path]), None).publish(Progress())
    read = [msgspec.json.decode(record.value, type=Tick) for record in consume(settings, TICKS)]
    return [
        msgspec.structs.replace(each, trade_id=each.trade_id or f"n{number}", received_us=each.event_us + 1)
        for number, each in enumerate(each for each in read if each.kind == "trade")
    ]


def disturbed(ticks: Sequence[Tick], rng: random.Random) -> tuple[list[Tick], list[Tick], set[Tick]]:
    """The day as it came in time, what came in the evening, and the trades of the clean day that this is about."""
    timely, evening, touched = [], [], set()
    for n, each in enumerate(ticks):
        end = {"event_us": ticks[-1].event_us, "received_us": ticks[-1].event_us + n}
        chance = rng.random()
        if chance < 0.002:
            evening.append(each)
        elif chance < 0.004:
            timely.append(msgspec.structs.replace(each, price="1", size="77777"))
            evening.append(msgspec.structs.replace(each, kind="correct", **end))
        else:
            timely.append(each)
        if 0.004 <= chance < 0.006:
            bogus = msgspec.structs.replace(each, trade_id=f"bogus{n}", price="9999", event_us=each.event_us + 1)
            timely.append(bogus)
            evening.append(msgspec.structs.replace(bogus, kind="cancel", price=None, size=None, **end))
        if chance < 0.006:
            touched.add(each)
    rng.shuffle(evening)
    return timely, evening, touched


@pytest.mark.skipif(not DATA.exists(), reason="the recorded market data (../shared/data) is not here")
def test_a_disturbed_day_ends_like_the_clean_one(spark: Any, settings: Settings) -> None:
    settings = settings.model_copy(update={"ruleset": "us-equity", "reconcile_minutes": 1440})
    clean = recorded_day(settings, DATA / "ticks/IBM_2013-10-07.parquet")
    timely, evening, touched = disturbed(clean, random.Random(4))
    system = System(spark, settings)
    system.archive(timely)
    system.final(system.fold())
    run = system.reconcile()
    assert run.amended == [] and run.checked > 500
    system.archive(evening)
    reasons = {each.key: each.bar["reason"] for each in system.reconcile().amended}
    system.placed = [(each, 0, n) for n, each in enumerate(clean)]
    expected = {(bar.symbol, bar.interval, bar.start): msgspec.structs.asdict(bar) for bar in system.fold()}
    system.assert_stores_hold(expected)
    assert len(touched) > 100 and {"late", "correction", "cancel"} == set(reasons.values())
    for key, bar in system.bars().items():
        state = ("amended", 2) if key in reasons else ("final", 1)
        assert (bar["state"], bar["rev"], bar["reason"]) == (*state, reasons.get(key))
    kept = system.rows("SELECT rev FROM bar_revisions")
    assert len(kept) == len(reasons) > 100 and values(expected[min(expected)])
    assert system.reconcile().amended == []
    system.close()
