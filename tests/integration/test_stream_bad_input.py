"""Bad input, written straight to the topic: each record in `ticks.dead` with its reason, every bar beside it right."""

import json
import time
from collections.abc import Sequence

import hypothesis.strategies as st
import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as budget

from conf.settings import Settings
from conf.topics import BARS_LIVE, DEAD, TICKS
from core.errors import InvalidTick
from core.records import KINDS, MIN_EVENT_US, SEQ_LIMIT, Tick
from core.validate import REASONS, check
from jobs.ticks import parse
from producers.defects import BROKEN
from tests.factories import MONDAY_US
from tests.factories import tick as make_tick
from tests.integration.test_one_definition import (
    START_US,
    arrivals,
    content,
    disturbed,
    last_live,
    micros,
    random_ticks,
)
from tests.oracles import oracle_bars
from tests.streaming import close_all, consume, kafka_records, produce_raw, run_available

pytestmark = pytest.mark.spark

SYMBOLS = "AAA,BRK.B,XRP/ETH,OK"
HOUR_US = 3_600_000_000
Bad = tuple[str, bytes | None]


def good(**changes: object) -> bytes:
    """The JSON of a tick, with fields changed; the value `...` takes one away."""
    tick: dict[str, object] = {
        "v": 1,
        "symbol": "OK",
        "event_us": START_US,
        "price": "10.5",
        "size": "2",
        "trade_id": "x-1",
        "seq": 1,
        "source": "foreign",
        "venue": "V",
        "conditions": None,
        "kind": "trade",
        "received_us": START_US,
    }
    fields = {name: value for name, value in (tick | changes).items() if value is not ...}
    return json.dumps(fields).encode()


def each(reason: str, field: str, *values: object) -> list[Bad]:
    return [(reason, good(**{field: value})) for value in values]


def bad_records(now_us: int) -> list[Bad]:
    """Reason and value of everything that is no tick, in the words of `core.validate.REASONS`."""
    nonsense = [
        b"not json",
        b"{",
        b"[]",
        b"[1]",
        b"{}",
        b"null",
        b"7",
        b'"text"',
        b"\x00",
        b"\xff\xfe\x00\x80",
        good()[:-10],
        b"[" + good() + b"]",
        b"\x00" + good(),
        good().replace(b'"symbol"', b"symbol\xff"),
        json.dumps(good().decode()).encode(),
        b'{"other": 1}',
        b"[" * 5000,
        good()[:-1] + b', "more": ' + b"[" * 5000 + b"]" * 5000 + b"}",  # deeper than parsers follow
        good().replace(b'"OK"', b"[" * 5000 + b"]" * 5000),
        b"x" * 1_000_100,  # more than a client sends by default, headers included: cut, and it says so
    ]
    long_text = "x" * 257
    return [
        ("empty", b""),
        ("empty", None),
        *(("malformed", value) for value in nonsense),
        *each("version", "v", ..., None, 0, 2, "one", [1], 2**40),
        *each("symbol", "symbol", ..., None, "", " ", "A B", "A" * 33, "A\n", "A\x00", "A\x07B", "ÄÖ", "\u2028", " OK"),
        ("symbol", good().replace(b'"OK"', b'"O\xff\xfeK"')),
        *each("unknown_symbol", "symbol", "NOPE", "ok", "OK."),
        *each("kind", "kind", ..., None, "", "quote", "TRADE"),
        *each("event_time", "event_us", ..., None, 0, -1, START_US // 1000, MIN_EVENT_US - 1, 1.5, "soon", [], True),
        *each("event_time", "event_us", 2**70, float("nan"), "2023-11-14T22:15:00Z"),
        *each("future", "event_us", now_us + HOUR_US, now_us + 86_400_000_000, 2**62, 2**63 - 1),
        *each("text", "source", ..., None, "", "s\x00", "s\n", long_text),
        *each("text", "venue", "Börse", "v\x1f", long_text),
        *each("text", "trade_id", long_text, "a\tb"),
        *each("text", "conditions", "f" * 250, "\x00"),
        *each("received", "received_us", ..., None, "now", 1.5, {}),
        *each("seq", "seq", ..., None, SEQ_LIMIT, -SEQ_LIMIT, 2**70, "one", 0.5),
        *each(
            "price", "price", ..., None, "", "0", "0.00000000", "-1", "+1", "1,5", "1e5", "NaN", "Infinity", "-Infinity"
        ),
        *each("price", "price", "1.123456789", "10000000000", ".5", "5.", " 5", "5\n", "0x10", "five", "٣", "1" * 400),
        *each("size", "size", ..., None, "", "-1", "-0", "1e3", "NaN", "10000000000", "0.000000001", "lots"),
        ("notional", good(price="9999999999.99999999", size="9999999999.99999999")),
        ("notional", good(price="10000000", size="1000000")),
        *(
            ("trade_ref", good(kind=kind, trade_id=value))
            for kind in ("correct", "cancel")
            for value in (..., None, "")
        ),
        # Not even text. A number or a boolean where text is due is read as its text, and judged as that.
        *each("symbol", "symbol", {"a": "b"}, ["OK"], [], {}),
        *each("unknown_symbol", "symbol", 12, True),
        *each("kind", "kind", 12, True, {"a": "b"}, ["trade"]),
        *each("price", "price", True, {"a": "b"}, ["1"], [], float("nan"), float("inf"), -1, 0, 1e300),
        *each("size", "size", True, {"a": "b"}, ["1"], [], float("nan"), -1),
    ]


def test_bad_records_end_in_ticks_dead_and_bars_stay_exact(spark, settings: Settings) -> None:
    settings = settings.model_copy(update={"symbols": SYMBOLS})
    ticks = disturbed(random_ticks(2), 2)
    bad = bad_records(time.time_ns() // 1000)
    assert {reason for reason, _ in bad} == set(REASONS)
    half = len(ticks) // 2
    written = _mixed(settings, ticks[:half], bad)
    store = run_available("final", spark, settings)
    run_available("archive", spark, settings)
    _assert_dead(settings, written)
    # Ticks after the future stamps: a watermark that had followed one would drop them all.
    _mixed(settings, ticks[half:], [])
    good_records = [r for r in consume(settings, TICKS) if (r.partition, r.offset) not in written]
    expected = content(list(oracle_bars(arrivals(good_records)).values()))
    close_all(settings, START_US + HOUR_US)
    assert content(micros(run_available("final", spark, settings, store).bars)) == expected
    run_available("live", spark, settings)
    assert content(last_live(consume(settings, BARS_LIVE))) == expected
    run_available("archive", spark, settings)
    _assert_dead(settings, written)
    assert _archived(settings) == len({_identity(tick) for tick in ticks})


def _mixed(settings: Settings, ticks: Sequence[Tick], bad: Sequence[Bad]) -> dict[tuple[int, int], tuple]:
    """Write the ticks with the bad records among them; (partition, offset) of each bad one -> reason, value, key."""
    records: list[tuple[bytes | None, bytes | None, int | None]] = []
    for n, tick in enumerate(ticks):
        records.append((tick.symbol.encode(), msgspec.json.encode(tick), None))
        if n < len(bad):
            records.append((f"key-{n}".encode() + b"\xff" if n % 3 else None, bad[n][1], n % settings.ticks_partitions))
    assert len(bad) <= len(ticks)
    places = produce_raw(settings, records)
    placed = enumerate(places[1 : 2 * len(bad) : 2])
    return {place: (bad[n][0], _taken(bad[n][1]), records[2 * n + 1][0]) for n, place in placed}


def _taken(value: bytes | None) -> bytes | None:
    """As much of a value as `ticks.dead` has of it."""
    return None if value is None else value[:900_000]


def _assert_dead(settings: Settings, written: dict[tuple[int, int], tuple]) -> None:
    found = {}
    for record in consume(settings, DEAD):
        headers = {name: value.decode() for name, value in record.headers}
        assert headers["topic"] == settings.topic(TICKS) and headers["stage"] == "archive" and headers["detail"]
        place = int(headers["partition"]), int(headers["offset"])
        assert place not in found
        assert ("truncated" in headers) == (headers.get("size") == "1000100")
        found[place] = (headers["reason"], record.value, record.key)
    wrong = {place: (found.get(place), row) for place, row in written.items() if found.get(place) != row}
    assert not wrong
    assert len(found) == len(written)


def _identity(tick: Tick) -> tuple:
    return (tick.symbol, tick.venue, tick.trade_id) if tick.trade_id else (tick.symbol, tick.seq)


def _archived(settings: Settings) -> int:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        rows = connection.execute("SELECT count(*), count(DISTINCT identity) FROM ticks").fetchone()
    assert rows is not None and rows[0] == rows[1]
    return rows[0]


NOW_US = MONDAY_US + HOUR_US
_characters = st.characters(exclude_categories=["Cs"])
_texts = st.one_of(
    st.sampled_from(["AAPL", "A B", "", " ", "~!", "A" * 32, "A" * 33, "x" * 250, "N", "\x00", "é", "a\n", "\x7f"]),
    st.text(_characters, max_size=5),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
)
_numbers = st.one_of(
    st.sampled_from(
        [
            "0",
            "0.0",
            "1",
            "10.25",
            "9999999999.99999999",
            "9999999999",
            "10000000000",
            "1e5",
            "NaN",
            "-1",
            "52562417870",
        ]
    ),
    st.sampled_from(
        [
            "",
            " 1",
            "1\n",
            "01",
            "0000000001.5",
            "1.",
            ".1",
            "1.123456789",
            "٣",
            "Infinity",
            "52562417871",
            "5256241787.2",
        ]
    ),
    st.from_regex(r"\A[0-9]{1,11}(\.[0-9]{1,9})?\Z"),
    _texts,
)
_long = st.integers(-(2**63), 2**63 - 1)


_fields: dict[str, st.SearchStrategy] = {
    "v": st.sampled_from([0, 2, 2**31, -(2**40)]),
    "symbol": _texts,
    "event_us": st.one_of(
        _long, st.sampled_from([MIN_EVENT_US, MIN_EVENT_US - 1, NOW_US + 5_000_000, NOW_US + 5_000_001])
    ),
    "price": _numbers,
    "size": _numbers,
    "trade_id": st.one_of(st.none(), _texts),
    "seq": st.one_of(_long, st.sampled_from([SEQ_LIMIT, SEQ_LIMIT - 1, 1 - SEQ_LIMIT, -SEQ_LIMIT])),
    "source": _texts,
    "venue": st.one_of(st.none(), _texts),
    "conditions": st.one_of(st.none(), _texts),
    "kind": st.sampled_from([*KINDS, "quote"]),
    "received_us": _long,
}
_one_change = st.sampled_from(sorted(_fields)).flatmap(lambda name: st.tuples(st.just(name), _fields[name]))
_generated = st.lists(_one_change, max_size=3).map(lambda changes: make_tick(**{"price": "10000"} | dict(changes)))


def generated_ticks(count: int) -> list[Tick]:
    """Ticks good and bad, near every limit; the same on each run."""
    collected: list[Tick] = []

    @budget(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_generated)
    def collect(tick: Tick) -> None:
        collected.append(tick)

    collect()
    return collected


def verdicts(spark, settings: Settings, values: Sequence[bytes]) -> list[str | None]:
    """What Spark says of each record, appended by the broker at NOW_US."""
    records = kafka_records(spark, [(0, value) for value in values], NOW_US)
    judged = parse(records, settings).select("kafka_offset", "reason").collect()
    return [row.reason for row in sorted(judged)]


def _reason(tick: Tick, settings: Settings) -> str | None:
    try:
        check(tick, now_us=NOW_US, future_tolerance_us=5_000_000, known_symbols=settings.known_symbols)
    except InvalidTick as problem:
        return problem.reason
    return None


def test_verdict_of_spark_equals_the_one_of_core(spark, settings: Settings) -> None:
    ticks = generated_ticks(800)
    for own in (settings, settings.model_copy(update={"symbols": "AAPL,N"})):
        expected = [_reason(tick, own) for tick in ticks]
        found = verdicts(spark, own, [msgspec.json.encode(tick) for tick in ticks])
        different = [(t, e, f) for t, e, f in zip(ticks, expected, found, strict=True) if e != f]
        assert not different
        reasons = set(REASONS) - {"empty", "malformed", "received"} | {None}
        assert reasons - {"unknown_symbol"} <= set(expected)
    assert "unknown_symbol" in expected


def test_verdict_on_what_no_tick_record_can_hold(spark, settings: Settings) -> None:
    lenient = [
        good(reported_us=START_US),
        good(price=10.25, size=3, trade_id=17),
        b" \n" + good(more={"nested": [1, '"symbol": 1']}),
        good(venue=..., conditions=..., trade_id=..., reported_us=None),
        good(kind="heartbeat", price=..., size=...),
        good(kind="cancel", price=..., size=...),
    ]
    records = [(broken.reason, broken.make(START_US)) for broken in BROKEN] + [(None, value) for value in lenient]
    found = verdicts(spark, settings, [value for _, value in records])
    assert [(f, value) for f, (_, value) in zip(found, records, strict=True)] == records
