"""Records of `ticks` judged without Spark are what Spark says that they are, to the last byte."""

import json
import random

import msgspec
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from conf.settings import Settings
from core.errors import InvalidTick
from core.records import KINDS, Tick
from jobs import archive
from jobs.archive import LONGEST, archive_rows, archived, dead_letters, dead_record
from jobs.backups.tail import _rows, _tick
from jobs.backups.topics import Record
from jobs.recognise import ARCHIVE_SCHEMA, recognise
from jobs.ticks import parse
from producers.publish import encode
from stores.schema import TICK_SCHEMA
from tests.factories import heartbeat
from tests.factories import tick as make_tick
from tests.integration.test_stream_bad_input import NOW_US, bad_records, generated_ticks, good
from tests.streaming import kafka_records

pytestmark = pytest.mark.spark

STRICT = Settings(symbols="AAPL,OK")
SPECIAL = b'"\\{}[]:,. \n\x00\x7f\xff019-+eE'


def usual(rng: random.Random) -> Tick:
    """A tick as producers send them: any kind, any of the fields that may be absent."""
    kind = rng.choice([*KINDS, "trade", "trade"])
    if kind == "heartbeat":
        return heartbeat(event_us=NOW_US - rng.randrange(10**9), seq=rng.randrange(10**6))
    return make_tick(
        kind=kind,
        symbol=rng.choice(["AAPL", "BRK.B", "XRP/ETH", "a'b~}|]^", "!" * 32]),
        event_us=NOW_US - rng.randrange(10**12),
        price=rng.choice(["1", "0.00000001", "9999999999.99999999", "0001.50", None if kind == "cancel" else "3"]),
        size=rng.choice(["0", "1", "999.00000000", None if kind == "cancel" else "0.5"]),
        trade_id=rng.choice(["7", "x y", "T" * 200, None if kind in ("trade", "heartbeat") else "1"]),
        seq=rng.choice([0, -1, (1 << 33) - 1, 1 - (1 << 33)]),
        venue=rng.choice([None, "", "N"]),
        conditions=rng.choice([None, "", "1f", "[x]"]),
        reported_us=rng.choice([None, 0, -5, NOW_US]),
        received_us=rng.choice([NOW_US, 0, -1]),
    )


def rewritten(rng: random.Random, tick: Tick) -> bytes:
    """The same tick as others may write it: any order, spaces, nulls, escapes."""
    fields = list(json.loads(encode(tick)).items())
    rng.shuffle(fields)
    if rng.random() < 0.3:
        fields += [(name, None) for name in ("venue", "conditions", "reported_us") if name not in dict(fields)]
    separators = rng.choice([(",", ":"), (", ", ": "), (" ,", " :")])
    text = json.dumps(dict(fields), separators=separators)
    return (text.replace("A", "\\u0041") if rng.random() < 0.1 else text).encode()


def disturbed(rng: random.Random, value: bytes) -> bytes:
    """One or two bytes put in, taken away or replaced."""
    data = bytearray(value)
    for _ in range(rng.choice([1, 1, 2])):
        at, byte = rng.randrange(len(data)), rng.choice(SPECIAL)
        how = rng.randrange(4)
        if how == 0:
            data.insert(at, byte)
        elif how == 1:
            data[at] = byte
        elif how == 2:
            del data[at]
        else:  # a digit for a digit: good JSON, another number
            data[at] = rng.choice(b"0123456789") if chr(data[at]).isdigit() else data[at]
    return bytes(data)


def awkward() -> list[bytes | None]:
    """What could slip out of the row that it belongs to, or be read in two ways."""
    one = good()
    text = one.decode()
    return [
        one + one,  # two ticks in one record, and then
        b"",  # none
        None,
        one[:40],  # one tick in two records
        one[40:],
        one[:-1] + b"\n}",
        one + b"\n",
        one + b" trailing",
        text.replace('"symbol": "OK"', '"symbol": "OK", "Symbol": "NO"').encode(),
        text.replace('"venue": "V"', '"venue": "V", "more": {"symbol": "NO"}').encode(),
        text.replace('"conditions": null', '"conditions": "\\u0022"').encode(),
        text.replace('"seq": 1', '"seq": 01').encode(),
        text.replace('"seq": 1', '"seq": -0').encode(),
        text.replace('"seq": 1', '"seq": 1.0').encode(),
        text.replace('"seq": 1', '"seq": "1"').encode(),
        text.replace('"v": 1', '"v": 10').encode(),
        text.replace('"v": 1', '"v": true').encode(),
        good(reported_us=2**63 - 1),
        good(received_us=999_999_999_999_999_999),
        good(received_us=-(2**63)),
        good(conditions="c" * 245),  # with source, venue and trade id 256 characters, the most that there may be
        good(conditions="c" * 246),
        b"\xef\xbb\xbf" + one,
    ]


def both_ways(spark, settings: Settings, values: list[bytes | None]) -> tuple[list[dict], list[dict]]:
    """Archive rows by way of `recognise`, and by Spark alone, each in order of their offsets."""
    batch = kafka_records(spark, [(n % 3, value) for n, value in enumerate(values)], NOW_US)
    alone = archive_rows(parse(batch, settings)).toArrow().cast(ARCHIVE_SCHEMA)
    return in_order(archived(batch, settings)), in_order(alone)


def in_order(rows: pa.Table) -> list[dict]:
    assert rows.schema == ARCHIVE_SCHEMA
    return rows.sort_by("from_offset").to_pylist()


def left_to_spark(spark, settings: Settings, values: list[bytes]) -> list[bytes]:
    records = kafka_records(spark, [(0, value) for value in values], NOW_US).toArrow()
    return recognise(records, settings.known_symbols, settings.future_tolerance_us)[1]["value"].to_pylist()


@pytest.mark.parametrize("settings", [Settings(), STRICT], ids=["any symbol", "strict"])
def test_archive_rows_are_those_that_spark_alone_makes(spark, settings: Settings) -> None:
    rng = random.Random(20)
    ticks = [usual(rng) for _ in range(600)]
    values = [encode(tick) for tick in ticks] + [rewritten(rng, tick) for tick in ticks]
    values += [disturbed(rng, rng.choice(values)) for _ in range(4000)]
    values += [msgspec.json.encode(tick) for tick in generated_ticks(400)]
    values += [*awkward(), *(value for _, value in bad_records(NOW_US))]
    # A longer one has Spark judge all of them, and both ways would be one.
    values = [value for value in values if len(value or b"") <= LONGEST]
    mine, spark_alone = both_ways(spark, settings, values)
    different = [(m, s) for m, s in zip(mine, spark_alone, strict=True) if m != s]
    assert not different
    good_rows = [row for row in mine if row["reason"] is None]
    assert {row["kind"] for row in good_rows} == {"trade", "correct", "cancel"}
    assert len(good_rows) > 500 and len({row["reason"] for row in mine}) > 12
    left = left_to_spark(spark, settings, values)
    assert len(values) - len(left) > len(good_rows) / 2


def without_spark(values: list[bytes | None], settings: Settings) -> list[dict | str | None]:
    """By record its row as a restore writes it, None for a heartbeat, or why it is refused."""
    found: list[dict | str | None] = []
    for offset, value in enumerate(values):
        record = Record(offset % 3, offset, NOW_US // 1000, None, value, [])
        try:
            tick = _tick(settings, record)
        except InvalidTick as problem:
            found.append(problem.reason)
        else:
            found += _rows([(tick, record)]).to_pylist() if tick.kind != "heartbeat" else [None]
    return found


def is_json_object(value: bytes | None) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return isinstance(json.loads((value or b"").decode(), parse_constant=refuse), dict)
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize("settings", [Settings(), STRICT], ids=["any symbol", "strict"])
def test_a_restore_reads_records_as_spark_does(spark, settings: Settings) -> None:
    rng = random.Random(22)
    plain = [json.loads(encode(usual(rng))) for _ in range(300)]
    odd = [1, 1.5, 101.50, 1e3, 2.5e7, 1e-8, -3, True, None, {"a": 1}, ["x", 2], "", "n/a", 2**63, 2**31]
    values: list[bytes | None] = []
    for fields in plain:
        name = rng.choice(list(Tick.__struct_fields__))
        values.append(json.dumps(fields | {name: rng.choice(odd)}).encode())
        values.append(json.dumps({each: value for each, value in fields.items() if each != name}).encode())
        values.append(disturbed(rng, json.dumps(fields).encode()))
    bad = bad_records(NOW_US)
    values += [value for _, value in bad]
    batch = kafka_records(spark, [(n % 3, value) for n, value in enumerate(values)], NOW_US)
    rows = {row["from_offset"]: row for row in archive_rows(parse(batch, settings)).toArrow().to_pylist()}
    for offset, found in enumerate(without_spark(values, settings)):
        row, value = rows.get(offset), values[offset]
        if found == "malformed" and not is_json_object(value):
            continue  # Spark reads some of what is no JSON
        if row is None or row["reason"] is None:
            assert found == (row and {name: row[name] for name in TICK_SCHEMA.names}), value
        else:
            assert found == row["reason"], value


def test_what_producers_write_needs_no_spark(spark) -> None:
    rng = random.Random(21)
    ticks = [usual(rng) for _ in range(500)]
    as_python_does = [json.dumps(json.loads(encode(tick))).encode() for tick in ticks]
    assert left_to_spark(spark, Settings(), [encode(tick) for tick in ticks] + as_python_does) == []
    assert left_to_spark(spark, STRICT, [encode(make_tick(symbol="NOPE")), encode(heartbeat())]) == [
        encode(make_tick(symbol="NOPE"))
    ]


@pytest.mark.parametrize(("once", "twice"), [('"v": 1', '"v": 1, "v": 1'), ('"size": "2"', '"size": "2", "size": "3"')])
def test_a_record_that_names_a_field_twice_takes_no_other_with_it(spark, once: str, twice: str) -> None:
    values = [good(trade_id=str(n)) for n in range(5)]
    mine, spark_alone = both_ways(spark, Settings(), [*values, good().replace(once.encode(), twice.encode()), *values])
    assert mine == spark_alone and len(mine) == 11


@pytest.mark.parametrize(
    "unusual",
    [[good(conditions="c" * 2000)], [good(more="m" * LONGEST)], [b" " + good(), good() + b"\n", None]],
    ids=["refused, too long", "a tick, too long", "too many"],
)
def test_spark_judges_all_where_the_rest_is_too_much(spark, monkeypatch: pytest.MonkeyPatch, unusual: list) -> None:
    monkeypatch.setattr(archive, "MOST_LEFT", 2)
    mine, spark_alone = both_ways(spark, Settings(), [good(trade_id="1"), *unusual, good(trade_id="2")])
    assert mine == spark_alone and len(mine) == 2 + len(unusual)


def test_a_flood_of_long_records_reaches_the_driver_cut(spark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LONG_BYTES", 40_000)
    long = [b"x" * 30_000, good(conditions="c" * 20_000), good(more="m" * 25_000), b"y" * 9_999]
    values = [good(trade_id="1"), b"short", *long]
    batch = kafka_records(spark, [(0, value) for value in values], NOW_US).withColumn("key", F.col("value"))
    rows = in_order(archived(batch, Settings()))
    assert [row["reason"] for row in rows] == [None, "malformed", "malformed", "text", None, "malformed"]
    letters = dead_letters(archived(batch, Settings()))
    refused = [b"short", *(value for value in long if b'"more"' not in value)]
    assert [(each.key, each.value) for each in letters] == [(value[:10_000], value[:10_000]) for value in refused]
    headers = [dict(dead_record(each, "ticks")[2]) for each in letters]
    assert [each.get("size") for each in headers] == [None, b"30000", b"%d" % len(long[1]), None]
    assert [each.get("truncated") for each in headers] == [None, b"true", b"true", None]


@pytest.mark.parametrize(("long", "most"), [(0, 900_000), (1, 900_000), (1300, 103_244), (400_000, 1024)])
def test_what_a_record_may_have_of_the_driver(long: int, most: int) -> None:
    assert archive.most_of(long) == most
