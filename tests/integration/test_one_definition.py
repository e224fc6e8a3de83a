"""One definition: live, final and batch bars of the same ticks are equal digit by digit, and equal the oracle."""

import random
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest

from conf.settings import Settings
from conf.topics import BARS_LIVE, TICKS
from core.records import BAR_COLUMNS, BAR_PROVENANCE, Tick
from jobs.backfill import batch_bars
from jobs.recorded import read_lake, read_table
from stores.schema import BAR_SCHEMA
from tests.oracles import oracle_bars
from tests.streaming import close_all, consume, produce, run_available

START_US = 1_700_000_100_000_000  # on a 15-minute edge
CONTENT = [name for name in BAR_COLUMNS if name not in BAR_PROVENANCE | {"ruleset"}]
IDS = ["numeric", "text", "uuid", "none", "empty"]

pytestmark = pytest.mark.spark


def random_ticks(seed: int, count: int = 400) -> list[Tick]:
    """Trades of three symbols over 40 minutes in event order: awkward numbers, ties, ids of every kind."""
    rng = random.Random(seed)
    times = sorted(rng.randrange(40 * 60_000) * 1000 for _ in range(count))
    return [_random_tick(rng, n, START_US + offset) for n, offset in enumerate(times)]


def _random_tick(rng: random.Random, n: int, event_us: int) -> Tick:
    places = rng.choice([0, 2, 4, 8])
    whole = rng.choice([0, 1, 99, 123_456, 999_999])
    price = f"{whole}.{rng.randrange(1, 10**places):0{places}d}" if places else str(whole + 1)
    size = rng.choice(["0", "1", "100", "0.00000001", "12345.678", "9999999.99999999", "0.1", "3"])
    kind = rng.choice(IDS)
    trade_id = {
        "numeric": str(10**17 + n),
        "text": f"T-{n}/x y",
        "uuid": f"{rng.getrandbits(32):08x}-0000-4000-8000-{n:012x}",
        "none": None,
        "empty": "",
    }[kind]
    return Tick(
        symbol=rng.choice(["AAA", "BRK.B", "XRP/ETH"]),
        event_us=event_us,
        price=price,
        size=size,
        trade_id=trade_id,
        seq=n,
        source="test",
        venue=rng.choice(["X", None]),
        received_us=event_us + rng.randrange(5_000_000),
    )


def arrivals(records: Sequence) -> list[tuple[Tick, int, int]]:
    ticks = [(msgspec.json.decode(r.value, type=Tick), r.partition, r.offset) for r in records]
    return [item for item in ticks if item[0].kind == "trade"]


def content(rows: Sequence[dict]) -> dict[tuple, dict]:
    found = {(row["symbol"], row["interval"], row["start"]): {name: row[name] for name in CONTENT} for row in rows}
    assert len(found) == len(rows)
    return found


def micros(table: pa.Table) -> list[dict]:
    for name in {"start", "end"} & set(table.column_names):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.int64()))
    return table.to_pylist()


def last_live(records: Sequence) -> list[dict]:
    newest: dict[tuple, dict] = {}
    for record in records:
        row = msgspec.json.decode(record.value)
        newest[row["symbol"], row["interval"], row["start"]] = row
    for row in newest.values():
        assert row["state"] == "forming" and row["rev"] == 0
        for name in ("open", "high", "low", "close", "volume", "notional", "vwap"):
            row[name] = None if row[name] is None else Decimal(row[name])
    return list(newest.values())


def disturbed(ticks: list[Tick], seed: int) -> list[Tick]:
    """Out of order by less than the watermark's delay, and with copies, some of them altered."""
    rng = random.Random(seed)
    jittered = sorted(ticks, key=lambda tick: tick.event_us + rng.randrange(8_000_000))
    out: list[Tick] = []
    for tick in jittered:
        out.append(tick)
        if rng.random() < 0.1:
            out.append(msgspec.structs.replace(tick, price="77", received_us=tick.received_us + 1))
    return out


def test_live_final_and_batch_equal_the_oracle(spark, settings: Settings) -> None:
    produce(settings, disturbed(random_ticks(1), 1))
    expected = content(list(oracle_bars(arrivals(consume(settings, TICKS))).values()))
    close_all(settings, START_US + 3_600_000_000)
    final = content(micros(run_available("final", spark, settings).bars))
    assert final == expected
    run_available("live", spark, settings)
    assert content(last_live(consume(settings, BARS_LIVE))) == expected
    run_available("archive", spark, settings)
    for read in (read_lake, read_table):
        batch = batch_bars(read(spark, settings), settings.bar_intervals, settings.ruleset, 1).toArrow()
        assert content(micros(batch.cast(BAR_SCHEMA))) == expected, read.__name__
    assert len(expected) > 100
