"""The bar rules compiled to Spark give what `core.bars.fold_bars` gives, at the limits of every number and rule."""

import json
import random
import uuid
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings
from core import rulesets
from core.bars import fold_bars
from core.intervals import INTERVALS
from core.records import SEQ_LIMIT, Tick
from core.validate import check
from jobs import exact
from jobs.bars import as_final, bars, to_json
from jobs.ticks import accepted, parse, without_duplicates
from stores.schema import BAR_SCHEMA, bars_table
from tests.factories import tick
from tests.streaming import kafka_records

pytestmark = pytest.mark.spark

OPEN_US = 1_381_152_600_000_000  # 2013-10-07 09:30 in New York
PRICES = ["0.00000001", "9999999999.99999999", "1", "999999.99999999", "0.1", "123456789.12345678", "00010.50"]
SIZES = ["0", "0.00000001", "999.99999999", "1", "100", "1000.5", "0.3"]
IDS = [
    *(None, "0", "00", "007", "-1", "9" * 18, "9" * 19, "1" * 23, "x" * 23, "x" * 24, "T 1/~", 'a\\b"c', " lead", "+5"),
    *("trail ", " 5", "5 ", "1e3", str(2**63 - 1), str(2**63), "  "),
    *("123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000", "f" * 32, "1.5", "0x1F"),
    *("/~abcdefghijklmnopqrstu"[:length] for length in range(1, 24)),
]
# Every bit of the ruleset's table, alone and together, unreadable and missing.
MASKS = [0x1, 0x8, 0x20, 0x40, 0x80, 0x200, 0x2000, 0x40000, 0x100000, 0x200000, 0x1000000, 0x4000000, 0x20000000]


def extreme_ticks(seed: int, count: int = 800) -> list[Tick]:
    """Valid trades of two symbols, before, in and after a session, full of copies and awkward numbers."""
    rng = random.Random(seed)
    made = []
    while len(made) < count:
        trade = _extreme(rng, len(made))
        if float(trade.price or 0) * float(trade.size or 0) < 1e13:
            made.append(trade)
    return made


def _extreme(rng: random.Random, n: int) -> Tick:
    mask = sum(rng.sample(MASKS, rng.choice([0, 1, 1, 2, 3])))
    minute = rng.choice([-1, 0, 1, 389, 390, 391])
    return tick(
        symbol=rng.choice(["AIG", "SPY"]),
        event_us=OPEN_US + minute * 60_000_000 + rng.choice([0, 1, 59_999_999, rng.randrange(60_000_000)]),
        price=rng.choice(PRICES),
        size=rng.choice(SIZES),
        trade_id=rng.choice([*IDS, f"n{rng.randrange(10**6)}", str(rng.randrange(10**17))]),
        seq=rng.choice([n, -n, SEQ_LIMIT - 1 - n, 1 - SEQ_LIMIT + n]),
        venue=rng.choice(["N", "P", None]),
        conditions=rng.choice([f"{mask:x}", f"{mask:X}", f"{mask:08x}", None, "", "zz", "f" * 16]),
        received_us=OPEN_US + rng.randrange(10**9),
    )


def by_spark(spark, ticks: Sequence[Tick], ruleset: rulesets.Ruleset) -> list[dict]:
    made = rows_by_spark(spark, ticks, ruleset)
    return sorted(as_final(made, 7).toArrow().cast(BAR_SCHEMA).to_pylist(), key=_key)


def rows_by_spark(spark, ticks: Sequence[Tick], ruleset: rulesets.Ruleset) -> DataFrame:
    values = [(n % 3, msgspec.json.encode(tick)) for n, tick in enumerate(ticks)]
    records = kafka_records(spark, values, OPEN_US * 2)
    return bars(without_duplicates(accepted(parse(records, Settings()))), tuple(INTERVALS.values()), ruleset)


def by_core(ticks: Sequence[Tick], ruleset: rulesets.Ruleset) -> list[dict]:
    arrivals = [(tick, n % 3, n) for n, tick in enumerate(ticks)]
    return sorted(bars_table(fold_bars(arrivals, INTERVALS.values(), ruleset, 7)).to_pylist(), key=_key)


def _key(row: dict) -> tuple:
    return row["symbol"], row["interval"], row["start"]


@pytest.mark.parametrize("name", ["all", "us-equity"])
def test_bars_of_spark_equal_the_fold_of_core(spark, name: str) -> None:
    # Alone in its bars, and by the rules of `us-equity` too far from the market to make a price.
    sweep = tick(symbol="LONE", event_us=OPEN_US, conditions="20", venue="N")
    # A feed that numbers trades itself begins anew after 2^23 ms: not copies, unlike the last one.
    rounds = [tick(symbol="MSFT", event_us=OPEN_US + n * (1 << 23) * 1000, seq=7) for n in (0, 1, 2, 1)]
    ticks = [*extreme_ticks(5), sweep, *rounds]
    for each in ticks:
        check(each)
    ruleset = rulesets.load(name)
    expected = by_core(ticks, ruleset)
    assert by_spark(spark, ticks, ruleset) == expected
    assert len(expected) > 20
    assert [row["trade_count"] for row in expected if row["symbol"] == "MSFT"] == [1] * 9
    if name == "us-equity":
        assert any(row["open"] is None and row["trade_count"] for row in expected)


def test_sessions_of_shortened_days_end_early(spark) -> None:
    days = {"2013-07-02": False, "2013-07-03": True, "2013-11-29": True, "2013-12-03": False, "2037-12-24": True}
    ticks = []
    for day in days:
        noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=ZoneInfo("America/New_York"))
        for second in (0, 3599, 3600, 4 * 3600 - 1, 4 * 3600):  # sweeps, which set no price within the session
            event_us = (int(noon.timestamp()) + second) * 1_000_000
            ticks.append(tick(event_us=event_us, conditions="20", venue="N", received_us=event_us))
    ruleset = rulesets.load("us-equity")
    made = by_spark(spark, ticks, ruleset)
    assert made == by_core(ticks, ruleset)
    priced = [row["close"] is not None for row in made if row["interval"] == "1m"]
    assert priced == [value for short in days.values() for value in (False, False, short, short, True)]


def test_copies_are_found_whether_the_driver_sorts_or_spark_groups(spark, monkeypatch: pytest.MonkeyPatch) -> None:
    ruleset, ticks = rulesets.load("all"), extreme_ticks(4, 60)
    once = by_core(ticks, ruleset)
    twice = [*ticks, *ticks[10:30], *ticks[20:22]]
    assert by_spark(spark, twice, ruleset) == once
    monkeypatch.setattr("jobs.ticks.SORTED_AT_ONCE", 0)
    assert by_spark(spark, twice, ruleset) == by_spark(spark, ticks, ruleset) == once


def test_ids_come_back_as_they_were(spark) -> None:
    ticks = [tick(symbol=f"S{n}", trade_id=name, event_us=OPEN_US) for n, name in enumerate(IDS)]
    ruleset = rulesets.load("all")
    rows = by_spark(spark, ticks, ruleset)
    assert [row["first_trade_id"] for row in rows] == [row["first_trade_id"] for row in by_core(ticks, ruleset)]


def test_words_of_ids_are_those_that_checkpoints_hold(spark) -> None:
    names = [name for name in IDS if name]
    frame = spark.createDataFrame(pa.table({"trade_id": names}))
    found = frame.select(F.array(*exact.trade_id_words()).alias("words")).toArrow()["words"].to_pylist()
    assert dict(zip(names, found, strict=True)) == {name: id_words(name) for name in names}


def id_words(name: str) -> list[int | None]:
    """A number is itself; a UUID in small letters a tag and its halves; other text its length and 7, 8 and 8 bytes."""
    if name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < 2**63:
        return [int(name), None, None]
    if len(name) == 36 and name.islower():
        data, tag = uuid.UUID(name).bytes, -1
        halves = data[:8], data[8:]
    elif len(name) <= 23:
        data = name.encode().ljust(23, b"\0")
        tag, halves = -2 - (len(name) << 56) - int.from_bytes(data[:7], "big"), (data[7:15], data[15:])
    else:
        return [None, None, None]
    return [tag, *(int.from_bytes(half, "big", signed=True) for half in halves)]


def test_json_of_a_row_reads_back_as_the_row(spark) -> None:
    named = [tick(symbol=f"S{n}", trade_id=name, event_us=OPEN_US) for n, name in enumerate(IDS)]
    odd = [tick(symbol=symbol, event_us=OPEN_US) for symbol in ('a\\b"c', '"', "\\\\")]
    sweep = tick(symbol="LONE", event_us=OPEN_US, conditions="20", venue="N")
    rows = rows_by_spark(spark, [*named, *odd, sweep], rulesets.load("us-equity"))
    written = [json.loads(row.value) for row in rows.select(to_json(rows).alias("value")).collect()]
    whole = rows.withColumns({name: F.unix_micros(name) for name in ("start", "end")}).collect()
    assert sorted(written, key=_key) == sorted((row.asDict() for row in whole), key=_key)
    assert {'a\\b"c', '"', "\\\\", "LONE"} < {row["symbol"] for row in written}


def test_sums_of_a_full_bar_are_exact(spark) -> None:
    full = [tick(event_us=OPEN_US + n, seq=n, price="9999999999.99999999", size="999.99999999") for n in range(3000)]
    ruleset = rulesets.load("all")
    assert by_spark(spark, full, ruleset) == by_core(full, ruleset)
