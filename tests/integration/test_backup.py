"""Backup, wipe, restore: every query answers as before, and what was open goes on exactly."""

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pyarrow as pa
import pytest
import redis
from pydantic import SecretStr

from conf.settings import Settings
from conf.topics import DEAD, INDICATORS, TICKS
from core.clock import ManualClock
from core.errors import InputError
from core.records import Tick
from jobs.archive import DeadLetter
from jobs.backups.create import create, prune
from jobs.backups.manifest import Manifest, backups, load, problems
from jobs.backups.restore import Restored, restore
from jobs.backups.tail import identity_text
from jobs.sinks import Sinks
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from producers.topics import ensure_topics
from stores.lake import make_lake
from stores.postgres import to_time
from stores.redis import make_redis
from stores.schema import TICK_SCHEMA, values_of
from tests.batches import make_bar, make_bars
from tests.databases import fresh_database
from tests.factories import MONDAY_US, heartbeat, tick
from tests.indicator_rows import expected_values
from tests.reconciling import _START, System, tick_row, values
from tests.serving import serving
from tests.streaming import consume, produce, run_with

MINUTE = 60_000_000
SYMBOLS = ("AAPL", "BRK.B", "XRP/ETH")
CLOSED = MONDAY_US + 47 * MINUTE  # the newest closed bar of a minute; those of 5 and 15 minutes are open
SHORT = "sma:3 ema:4 rsi:3 obv vwap"
GAP = "INSERT INTO gaps (source, symbol, cause, start_us, end_us) VALUES ('x', 'AAPL', 'ids', 1, 2)"
ROUTES = (
    "/api/v1/symbols",
    "/api/v1/market/overview",
    "/api/v1/bars/AAPL?interval=1m&limit=100",
    "/api/v1/bars/BRK.B?interval=15m",
    "/api/v1/bars/XRP%2FETH?interval=5m&as_of=2100-01-01T00:00:00Z",
    f"/api/v1/bars/AAPL/1m/{MONDAY_US // 1000}/revisions",
    "/api/v1/indicators/AAPL?interval=1m",
    "/api/v1/indicators/BRK.B/latest?interval=1m",
    "/api/v1/ticks/AAPL?limit=50",
    "/api/v1/latest/AAPL",
    "/api/v1/quality/gaps",
    "/api/v1/quality/days",
    "/api/v1/quality/AAPL",
    "/api/v1/metrics/gaps",
    "/api/v1/metrics/late-ticks",
    "/api/v1/anomalies",
    "/api/v1/prices/poll",
    "/udf/symbols?symbol=AAPL",
)


def session_ticks(first: int, last: int) -> list[Tick]:
    """A trade of each symbol every ten seconds of `[first, last)` minutes."""
    return [
        tick(symbol=symbol, event_us=MONDAY_US + ten * 10_000_000 + place, price=f"{100 + place + ten % 7}.{ten % 9}",
             size=str(1 + ten % 5), seq=ten, trade_id=f"{symbol}-{ten}", received_us=MONDAY_US + ten * 10_000_000 + 500)
        for ten in range(first * 6, last * 6)
        for place, symbol in enumerate(SYMBOLS)
    ]  # fmt: skip


@contextmanager
def stack(kafka: Kafka, postgres: Postgres, redis_url: str, path: Path) -> Iterator[Settings]:
    """Settings of an empty system."""
    with fresh_database(postgres) as dsn:
        yield Settings(
            kafka_bootstrap=kafka.url,
            postgres_dsn=SecretStr(dsn),
            redis_url=SecretStr(redis_url),
            topic_prefix=f"t{uuid.uuid4().hex[:12]}.",
            data_path=path,
            indicators=SHORT,
            store_retry_seconds=5,
        )


@pytest.fixture
def before(kafka_server: Kafka, postgres_server: Postgres, redis_url: str, tmp_path: Path) -> Iterator[Settings]:
    with stack(kafka_server, postgres_server, redis_url, tmp_path / "before") as settings:
        ensure_topics(settings)
        yield settings


@pytest.fixture
def after(kafka_server: Kafka, postgres_server: Postgres, redis_server: Redis, tmp_path: Path) -> Iterator[Settings]:
    url = redis_server.url.removesuffix("0") + "254"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        with stack(kafka_server, postgres_server, url, tmp_path / "after") as settings:
            yield settings
        client.flushdb()


def fill(settings: Settings) -> System:
    """48 minutes of a session: the log has it, the bars of 47 minutes are final, the lake lacks the last minutes."""
    system = System(None, settings)
    ticks = session_ticks(0, 48)
    produce(settings, ticks)
    placed = [(msgspec.json.decode(each.value, type=Tick), each.partition, each.offset)
              for each in consume(settings, TICKS)]  # fmt: skip
    rows = [
        tick_row(each, offset) | {"kafka_partition": number, "identity": identity_text(each)}
        for each, number, offset in placed
    ]
    system.sinks._timescale.write_ticks(pa.Table.from_pylist(rows, schema=TICK_SCHEMA))
    laked = [row for row in rows if row["kafka_offset"] < 60]
    make_lake(settings).write_ticks(pa.Table.from_pylist(laked, schema=TICK_SCHEMA), batch_id="0")
    system.placed = placed
    for first, last in pairwise((0, 15, 30, 45, 47)):
        system.final(system.fold(since_us=MONDAY_US + first * MINUTE, until_us=MONDAY_US + last * MINUTE))
    finish(settings, "archive", {number: offset + 1 for _, number, offset in placed})
    finish(settings, "lake", {number: min(60, offset + 1) for _, number, offset in placed})
    (settings.models_path / "1m").mkdir(parents=True)
    (settings.models_path / "1m" / "model.json").write_text("{}")
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        connection.execute(
            "INSERT INTO gaps (source, symbol, cause, start_us, end_us) VALUES ('x', 'AAPL', 'ids', 1, 2)"
        )
        connection.execute("INSERT INTO alert_offsets VALUES ('bars', 0, 12345)")
    return system


def finish(settings: Settings, query: str, offsets: dict[int, int]) -> None:
    """What Spark writes when a query has finished its first batch."""
    folder = settings.checkpoint_path / query
    log = {settings.topic(TICKS): {str(number): offset for number, offset in sorted(offsets.items())}}
    for name, lines in (("offsets", ["v1", "{}", msgspec.json.encode(log).decode()]), ("commits", ["v1", "{}"])):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "0").write_text("\n".join(lines))


def answers(settings: Settings) -> dict[str, tuple[int, bytes]]:
    with serving(settings, ManualClock(CLOSED + MINUTE)) as client:
        return {route: ((got := client.get(route)).status_code, got.content) for route in ROUTES}


def back_up(settings: Settings, into: Path) -> tuple[Path, Manifest]:
    made = create(settings, into, ManualClock(CLOSED + MINUTE), progress=lambda _: None)
    return into / made.name, made


def bring_back(settings: Settings, folder: Path) -> Restored:
    return restore(settings, folder, load(folder), progress=lambda _: None)


def rows_of(settings: Settings, table: str) -> list[Any]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        return sorted(connection.execute(f"SELECT {table}::text FROM {table}".encode()).fetchall())


def test_restored_stack_answers_every_query_as_before(before: Settings, after: Settings, tmp_path: Path) -> None:
    system = fill(before)
    system.close()
    told = answers(before)
    assert {status for status, _ in told.values()} == {200}, {route: got[0] for route, got in told.items()}
    folder, made = back_up(before, tmp_path / "backups")
    assert list(problems(folder, made)) == []
    shutil.rmtree(before.data_path)
    done = bring_back(after, folder)
    again = answers(after)
    assert {route: again[route] for route in ROUTES} == told
    for table in ("bars", "indicators", "indicator_states", "ticks", "gaps", "touched_minutes"):
        assert rows_of(after, table) == rows_of(before, table) != []
    assert rows_of(after, "alert_offsets") == [], "places of another broker"
    assert (after.models_path / "1m" / "model.json").read_text() == "{}"
    assert done.warnings == [] and done.dead == done.refused == 0
    # The lake has the whole log now: what lay before the open bars by the restore, the rest once the queries run.
    laked = {row["identity"] for row in make_lake(after).read_ticks(0, 1 << 62).to_pylist()}
    open_since = MONDAY_US + 45 * MINUTE
    assert laked >= {identity_text(each) for each in session_ticks(0, 48) if each.event_us < open_since}
    assert done.again == sum(each.event_us >= open_since for each in session_ticks(0, 48)) == len(consume(after, TICKS))
    states = [each for each in consume(after, INDICATORS) if dict(each.headers).get("state")]
    assert len(states) == len(rows_of(before, "indicator_states"))


def test_new_rows_after_a_restore_do_not_meet_old_numbers(before: Settings, after: Settings, tmp_path: Path) -> None:
    fill(before).close()
    bring_back(after, back_up(before, tmp_path)[0])
    with psycopg.connect(after.postgres_dsn.get_secret_value()) as connection:
        connection.execute(GAP.replace("AAPL", "A"))
        assert connection.execute("SELECT count(*), count(DISTINCT id) FROM gaps").fetchone() == (2, 2)


def test_refused_records_and_unarchived_ticks_survive(before: Settings, after: Settings, tmp_path: Path) -> None:
    fill(before).close()
    late = tick(event_us=MONDAY_US + 1, trade_id="late", seq=999_999, symbol="AAPL")
    fresh = session_ticks(48, 49)
    future = tick(event_us=4_102_444_800_000_000, trade_id="future")
    known_dead = session_ticks(48, 49)[0]
    produce(before, [late, *fresh, heartbeat(event_us=MONDAY_US + 49 * MINUTE), future, b"{not json"])
    sinks = System(None, before).sinks
    sinks.write_dead([DeadLetter(b"k", msgspec.json.encode(known_dead), "price", 0, 3)])
    sinks.close()
    done = bring_back(after, back_up(before, tmp_path)[0])
    assert (done.logged >= 1, done.refused, done.dead) == (True, 2, 1)
    reasons = {dict(each.headers)["reason"]: each.value for each in consume(after, DEAD)}
    assert reasons == {
        b"price": msgspec.json.encode(known_dead), b"malformed": b"{not json", b"future": msgspec.json.encode(future)
    }  # fmt: skip
    with psycopg.connect(after.postgres_dsn.get_secret_value()) as connection:
        found = connection.execute("SELECT identity, kafka_offset FROM ticks WHERE trade_id = 'late'").fetchall()
        assert [name for name, _ in found] == [identity_text(late)]
        touched = connection.execute("SELECT count(*) FROM touched_minutes WHERE symbol = 'AAPL' AND writes > 1")
        assert touched.fetchone() == (1,), "reconciling is to look at the bar of the late tick"
    sent = [msgspec.json.decode(each.value, type=Tick) for each in consume(after, TICKS)]
    assert {each.trade_id for each in fresh} <= {each.trade_id for each in sent}
    assert all(each.kind == "trade" and each.event_us >= MONDAY_US + 45 * MINUTE for each in sent)
    for symbol in SYMBOLS:
        own = [each.seq for each in sent if each.symbol == symbol]
        assert own == sorted(own), "in their old order"


def test_restore_reads_records_as_the_pipeline_does(before: Settings, after: Settings, tmp_path: Path) -> None:
    """A number for a text is taken, a field that has to be there is not made up, a cancel's amounts are nobody's."""
    fill(before).close()
    late = {**msgspec.structs.asdict(tick(event_us=MONDAY_US + 1, symbol="AAPL")), "v": 1, "kind": "trade"}
    number = late | {"trade_id": "number", "price": 101.5, "seq": 999_999}
    cancel = late | {"trade_id": "cancelled", "kind": "cancel", "size": "n/a", "seq": 999_998}
    bare = {name: value for name, value in (late | {"trade_id": "bare"}).items() if name != "seq"}
    produce(before, [msgspec.json.encode(each) for each in (number, cancel, bare)])
    assert bring_back(after, back_up(before, tmp_path)[0]).refused == 1
    assert [dict(each.headers)["reason"] for each in consume(after, DEAD)] == [b"seq"]
    query = "SELECT trade_id, price::text, size FROM ticks WHERE event_time < %s AND trade_id !~ '-' ORDER BY 1"
    with psycopg.connect(after.postgres_dsn.get_secret_value()) as connection:
        found = connection.execute(query, [to_time(MONDAY_US + 2)]).fetchall()
    assert found == [("cancelled", None, None), ("number", "101.50000000", Decimal(late["size"]))]
    laked = {row["trade_id"]: row["price"] for row in make_lake(after).read_ticks(0, 1 << 62).to_pylist()}
    assert (laked["cancelled"], laked["number"]) == (None, Decimal("101.5"))


def test_restore_refuses_what_is_not_empty_and_names_it(before: Settings, tmp_path: Path) -> None:
    fill(before).close()
    folder, _ = back_up(before, tmp_path / "backups")
    with pytest.raises(InputError, match="the stack is not empty") as caught:
        bring_back(before, folder)
    told = str(caught.value)
    assert all(word in told for word in ("bars", "lake at", "models at", "checkpoints of archive", "topic", "Redis"))


def test_restore_refuses_a_redis_that_still_has_bars_beside_an_empty_database(
    before: Settings, after: Settings, tmp_path: Path
) -> None:
    fill(before).close()
    folder, _ = back_up(before, tmp_path)
    held = make_redis(after)
    held.write_bars(make_bars(*(make_bar(symbol=f"S{n}") for n in range(7))))
    held.close()
    with pytest.raises(InputError, match="not empty: Redis has bars of S0, S1, S2, S3, S4 and others"):
        bring_back(after, folder)
    assert not after.lake_path.exists()


def test_damaged_backup_changes_nothing(before: Settings, after: Settings, tmp_path: Path) -> None:
    fill(before).close()
    folder, _ = back_up(before, tmp_path)
    victim = folder / "database" / "bars.zst"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(InputError, match=r"bars\.zst: altered"):
        bring_back(after, folder)
    with psycopg.connect(after.postgres_dsn.get_secret_value()) as connection:
        assert connection.execute("SELECT to_regclass('bars')").fetchone() == (None,)
    assert not after.lake_path.exists()


def test_backup_is_there_whole_or_not_at_all(before: Settings, tmp_path: Path) -> None:
    fill(before).close()
    into = tmp_path / "backups"
    nowhere = before.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})

    class Stop(Exception):
        pass

    def stop(_: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        create(before, into, ManualClock(1), progress=stop)
    assert backups(into) == []
    folder, made = back_up(before, into)
    assert [path.name for path in into.iterdir() if path.is_dir()] == [folder.name], "the unfinished one is gone"
    assert folder.stat().st_mode & 0o077 == 0
    alone = create(nowhere, into, ManualClock(CLOSED + 2 * MINUTE), with_kafka=False, progress=lambda _: None)
    assert alone.places is None and alone.tables == made.tables
    linked = folder / next(entry.path for entry in made.files if entry.path.endswith(".parquet"))
    assert linked.stat().st_nlink == 2, "an unchanged file of the lake is kept once"
    assert prune(into, 1) == [folder.name] and [path.name for path in backups(into)] == [alone.name]
    assert list(problems(into / alone.name, alone)) == []


def test_no_secret_is_in_a_backup(before: Settings, tmp_path: Path) -> None:
    secret = before.model_copy(
        update={"api_jwt_secret": SecretStr("hush-hush"), "finnhub_api_key": SecretStr("hush-hush")}
    )
    fill(secret).close()
    folder, _ = back_up(secret, tmp_path)
    assert not any(b"hush" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert "postgresql" not in (folder / "manifest.json").read_text()


@pytest.mark.spark
def test_open_bars_go_on_exactly_after_a_restore(spark: Any, before: Settings, after: Settings, tmp_path: Path) -> None:
    fill(before).close()
    late = tick(event_us=MONDAY_US + 1, trade_id="late", seq=999_999, symbol="AAPL")
    produce(before, [late, *session_ticks(48, 50)])
    bring_back(after, back_up(before, tmp_path)[0])
    rest = session_ticks(50, 62)
    beats = [(number, heartbeat(event_us=MONDAY_US + 90 * MINUTE, seq=number)) for number in range(2)]
    produce(after, [*rest, *beats])
    for name in ("final", "archive"):
        run_with(Sinks(after), name, spark, after)
    system = System(spark, after)
    try:
        system.reconcile()
        system.placed = [(each, 0, 0) for each in [*session_ticks(0, 62), late]]
        assert {key: values(bar) for key, bar in system.bars().items()} == _expected(system.fold())
        amended = {key for key, bar in system.bars().items() if bar["rev"] > 1}
        assert amended == {("AAPL", interval, MONDAY_US) for interval in ("1m", "5m", "15m")}, "the late tick's alone"
        found = system.rows(f'SELECT symbol, "interval", {_START}, "values"::text AS v FROM indicators')
        held = {(row["symbol"], row["interval"], row["start"]): values_of(row["v"]) for row in found}
        assert held == expected_values(list(system.bars().values()), after)
    finally:
        system.close()
    laked = {row["identity"] for row in make_lake(after).read_ticks(0, 1 << 62).to_pylist()}
    assert laked == {identity_text(each) for each in [*session_ticks(0, 62), late]}


def _expected(bars: Sequence[Any]) -> dict[Any, Any]:
    made = [msgspec.structs.asdict(bar) for bar in bars]
    return {(bar["symbol"], bar["interval"], bar["start"]): values(bar) for bar in made}
