"""The database: its reads, and what happens when it is killed."""

import asyncio
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from core.errors import ConfigError, InputError, StoreUnavailable
from local.postgres import Postgres
from stores import amending
from stores.timescale import TimescaleReader, TimescaleStore
from tests.batches import MINUTE_US, START_US, make_bar, make_bars, make_tick, make_ticks, rows_of
from tests.factories import indicators, indicators_table, state
from tests.integration.test_store_sinks import stored_ticks

PASSWORD = "s3cret-Pa55"
NOWHERE = f"postgresql://postgres:{PASSWORD}@127.0.0.1:9/postgres"  # the discard port: nobody answers


@pytest.fixture(scope="module")
def doomed(servers_folder: Path) -> Iterator[Postgres]:
    """A server of this module's own, to be killed."""
    with Postgres(servers_folder / "postgres-doomed") as server:
        yield server


def ask(dsn: str, question: Callable[[TimescaleReader], Any], timeout: float = 20) -> Any:
    async def run() -> Any:
        reader = TimescaleReader(dsn, timeout=timeout)
        await reader.open()
        try:
            return await question(reader)
        finally:
            await reader.close()

    return asyncio.run(run())


def query(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(sql.encode()).fetchall()


# Reads


def test_bars_range_is_half_open_and_bounded(database: TimescaleStore, postgres_dsn: str) -> None:
    bars = [make_bar(n, trade_count=n + 1) for n in range(10)]
    database.write_bars(make_bars(*bars, make_bar(3, symbol="MSFT"), make_bar(3, interval="5m")))

    def starts(first: int, last: int, limit: int = 100, **options: Any) -> list[int]:
        found = ask(postgres_dsn, lambda r: r.bars("AAPL", "1m", bars[first].start, bars[last].start, limit, **options))
        return [(row["start"] - START_US) // MINUTE_US for row in found]

    assert starts(2, 5) == [2, 3, 4]
    assert starts(2, 2) == []
    assert starts(0, 9, limit=3) == [0, 1, 2]
    assert starts(0, 9, limit=3, newest_first=True) == [8, 7, 6]


def test_bar_read_has_bar_columns_exact(database: TimescaleStore, postgres_dsn: str) -> None:
    batch = make_bars(make_bar(0, volume=Decimal("0.00000001")))
    database.write_bars(batch)
    (row,) = ask(postgres_dsn, lambda r: r.bars("AAPL", "1m", 0, 2**63 - 1, 1))
    assert row == rows_of(batch)[0]
    assert list(row) == batch.column_names
    assert isinstance(row["start"], int) and isinstance(row["volume"], Decimal)


def test_indicators_range_is_half_open_and_bounded(database: TimescaleStore, postgres_dsn: str) -> None:
    bars = [make_bar(n) for n in range(10)]
    others = [make_bar(3, symbol="MSFT"), make_bar(3, interval="5m")]
    rows = [indicators(bar, {"n": float(n)}) for n, bar in enumerate([*bars, *others])]
    database.write_bars(make_bars(*bars, *others), indicators_table(*rows))

    def numbers(first: int, last: int, limit: int = 100, **options: Any) -> list[float]:
        span = bars[first].start, bars[last].start
        found = ask(postgres_dsn, lambda r: r.indicators("AAPL", "1m", *span, limit, **options))
        return [row["values"]["n"] for row in found]

    assert numbers(2, 5) == [2, 3, 4]
    assert numbers(2, 2) == []
    assert numbers(0, 9, limit=3) == [0, 1, 2]
    assert numbers(0, 9, limit=3, newest_first=True) == [8, 7, 6]


def test_indicator_read_says_what_was_written(database: TimescaleStore, postgres_dsn: str) -> None:
    values = {"sma_5": 0.1 + 0.2, "rsi_14": None, "macd_12_26_9": -5e-324}
    bar = make_bar(0, rev=2, state="amended")
    row = indicators(bar, values, ready=True, stable=False, processed_us=2**53 + 1)
    database.write_bars(make_bars(bar), indicators_table(row))
    assert ask(postgres_dsn, lambda r: r.indicators("AAPL", "1m", 0, 2**63 - 1, 1)) == [
        {
            "start": START_US,
            "rev": 2,
            "specs": "sma:5 rsi:14",
            "values": values,
            "ready": True,
            "stable": False,
            "processed_us": 2**53 + 1,
        }
    ]


def test_series_amended_in_one_transaction_are_each_written_once(database: TimescaleStore, postgres_dsn: str) -> None:
    series = [indicators(make_bar(symbol=symbol), state=state(1.0)) for symbol in ("AAPL", "MSFT", "META")]
    tables = ("indicators", "indicator_states")
    with psycopg.connect(postgres_dsn) as connection:
        places: list[set[Any]] = []
        for row in series:
            amending.write_indicators(connection, indicators_table(row))
            held = (f"SELECT symbol, ctid::text, xmax::text FROM {table}".encode() for table in tables)
            places.append({(n, *each) for n, query in enumerate(held) for each in connection.execute(query).fetchall()})
    assert [len(each) for each in places] == [2, 4, 6]
    assert places[0] < places[1] < places[2]


def test_ticks_of_one_time_come_by_seq(database: TimescaleStore, postgres_dsn: str) -> None:
    ticks = [make_tick(n, event_us=START_US, seq=seq) for n, seq in enumerate((5, -1, 3))]
    database.write_ticks(make_ticks(*ticks, make_tick(9, event_us=START_US + 1, seq=0)))
    found = ask(postgres_dsn, lambda r: r.ticks("AAPL", START_US, START_US + 1, 10))
    assert [tick["seq"] for tick in found] == [-1, 3, 5]
    newest = ask(postgres_dsn, lambda r: r.ticks("AAPL", START_US, START_US + 2, 2, newest_first=True))
    assert [(tick["event_us"], tick["seq"]) for tick in newest] == [(START_US + 1, 0), (START_US, 5)]


def test_symbols_and_freshness_follow_ticks_and_bars(database: TimescaleStore, postgres_dsn: str) -> None:
    empty = ask(postgres_dsn, lambda r: r.freshness())
    assert empty == dict.fromkeys(("last_tick_event_us", "last_tick_received_us", "last_bar_end_us")) | {
        "ticks": 0,
        "bars": 0,
    }
    database.write_ticks(make_ticks(make_tick(5), make_tick(2), make_tick(7, symbol="MSFT")))
    database.write_ticks(make_ticks(make_tick(1), make_tick(99, symbol="HEARTBEAT", kind="heartbeat")))
    database.write_bars(make_bars(make_bar(3), make_bar(1, symbol="XRP/ETH", open_us=None, close_us=None)))
    symbols = ask(postgres_dsn, lambda r: r.symbols())
    assert symbols == [
        {"symbol": "AAPL", "first_seen": START_US + 1_000, "last_seen": START_US + 4 * MINUTE_US - 1},
        {"symbol": "MSFT", "first_seen": START_US + 7_000, "last_seen": START_US + 7_000},
        {"symbol": "XRP/ETH", "first_seen": START_US + MINUTE_US, "last_seen": START_US + MINUTE_US},
    ]
    database.close()  # a session hands in its statistics when it ends, or later
    deadline = time.monotonic() + 20
    while (fresh := ask(postgres_dsn, lambda r: r.freshness()))["bars"] < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert fresh == {
        "last_tick_event_us": START_US + 7_000,
        "last_tick_received_us": START_US + 7_700,
        "last_bar_end_us": START_US + 4 * MINUTE_US,
        "ticks": 5,
        "bars": 2,
    }


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (lambda reader: reader.ticks("AAPL", 0, START_US + 10**12, 10, newest_first=True), "ticks_identity"),
        (lambda reader: reader.bars("AAPL", "1m", 0, START_US + 10**12, 10, newest_first=True), "bars_key"),
        (lambda reader: reader.indicators("AAPL", "1m", 0, START_US + 10**12, 10, newest_first=True), "indicators_key"),
    ],
)
def test_newest_rows_are_read_from_the_index_before_any_analyze(
    database: TimescaleStore, postgres_dsn: str, read: Callable[[TimescaleReader], Any], index: str
) -> None:
    bars = [make_bar(n) for n in range(3_000)]
    database.write_bars(make_bars(*bars), indicators_table(*(indicators(bar) for bar in bars)))
    database.write_ticks(make_ticks(*(make_tick(n) for n in range(3_000))))
    asked: list[tuple[str, list[Any]]] = []

    class Listening(TimescaleReader):
        async def _rows(self, sql: Any, values: Any = ()) -> list[dict[str, Any]]:
            asked.append((sql, values))
            return await super()._rows(sql, values)

    reader = Listening(postgres_dsn)

    async def run() -> None:
        await reader.open()
        await read(reader)
        await reader.close()

    asyncio.run(run())
    ((sql, values),) = asked
    with psycopg.connect(**reader._args) as connection:
        plan = str(connection.execute(f"EXPLAIN {sql}".encode(), values).fetchall())
    # A chunk of a hypertable has the index under a name of its own, which ends alike.
    assert re.search(rf"Index Scan Backward using \S*{index}\b", plan), plan
    assert not re.search(r"(?<!Incremental )Sort  \(", plan), plan


def test_nul_in_a_text_does_not_stop_the_batch(database: TimescaleStore, postgres_dsn: str) -> None:
    database.write_ticks(make_ticks(make_tick(0), make_tick(1, trade_id="a\0b")))
    assert {tick["trade_id"] for tick in stored_ticks(postgres_dsn)} == {"t-0", "a\ufffdb"}


# Failure


@pytest.mark.parametrize("table", ["bars", "indicators", "indicator_states"])
def test_refused_row_of_one_table_rolls_back_the_others(
    database: TimescaleStore, postgres_dsn: str, table: str
) -> None:
    query_only(postgres_dsn, f"ALTER TABLE {table} ADD CONSTRAINT refused CHECK (symbol <> 'BAD')")
    held = make_bar(0)
    database.write_bars(make_bars(held), indicators_table(indicators(held, {"x": 1.0}, state=state(1.0))))
    before = everything(postgres_dsn)
    amended, bad = make_bar(0, rev=2), make_bar(1, symbol="BAD")
    batch = make_bars(amended, bad), indicators_table(*(indicators(bar, state=state(2.0)) for bar in (amended, bad)))
    with pytest.raises(InputError, match="refused"):
        database.write_bars(*batch)
    assert everything(postgres_dsn) == before
    query_only(postgres_dsn, f"ALTER TABLE {table} DROP CONSTRAINT refused")
    database.write_bars(*batch)
    assert [len(rows) for rows in everything(postgres_dsn)] == [2, 2, 2, 2]


def query_only(dsn: str, sql: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.encode())


def everything(dsn: str) -> list[list[tuple[Any, ...]]]:
    tables = ("bars", "indicators", "indicator_states", "symbols")
    return [query(dsn, f"SELECT * FROM {table} ORDER BY symbol") for table in tables]


def test_values_that_are_not_json_are_an_input_error(database: TimescaleStore, postgres_dsn: str) -> None:
    broken = indicators(make_bar(0)) | {"values": '{"sma_5":NaN}'}
    with pytest.raises(InputError):
        database.write_bars(make_bars(make_bar(0)), indicators_table(broken))
    assert query(postgres_dsn, "SELECT count(*) FROM bars") == [(0,)]


def test_writers_of_the_same_bars_do_not_lock_each_other_out(database: TimescaleStore, postgres_dsn: str) -> None:
    bars = [make_bar(n, symbol=f"S{n % 40}", interval=name) for n in range(200) for name in ("1m", "5m")]
    problems: list[Exception] = []

    def write(order: int) -> None:
        try:
            for rev in range(1, 8):
                of = [make_bar(start=b.start, symbol=b.symbol, interval=b.interval, rev=rev) for b in bars[::order]]
                database.write_bars(make_bars(*of), indicators_table(*(indicators(b, state=state(rev)) for b in of)))
        except Exception as error:
            problems.append(error)

    writers = [threading.Thread(target=write, args=(order,)) for order in (1, -1, 1, -1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert not problems
    assert query(postgres_dsn, "SELECT count(*), min(rev) FROM indicators") == [(400, 7)]
    assert set(database.read_states()["state"].to_pylist()) == {state(7)}


def test_dead_server_is_store_unavailable_without_the_password() -> None:
    store, reader = TimescaleStore(NOWHERE), TimescaleReader(NOWHERE)
    calls: list[Callable[[], Any]] = [
        store.setup,
        lambda: store.write_bars(make_bars(make_bar())),
        lambda: store.write_ticks(make_ticks(make_tick())),
        store.read_states,
        lambda: ask(NOWHERE, lambda r: r.ping(), timeout=2),
        lambda: ask(NOWHERE, lambda r: r.freshness(), timeout=2),
    ]
    for call in calls:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert time.monotonic() - began < 8
        assert PASSWORD not in str(caught.value) and caught.value.store == "timescale"
        assert caught.value.__cause__ is None
    assert PASSWORD not in repr(store) + repr(reader)
    store.close()


def test_unreadable_dsn_is_refused_without_quoting_it() -> None:
    for make in (TimescaleStore, TimescaleReader):
        with pytest.raises(ConfigError) as caught:
            make(f"postgresq://u:{PASSWORD}@host/db")
        assert PASSWORD not in str(caught.value) and caught.value.__suppress_context__


def test_killed_between_writes_the_next_fails_and_then_all_is_exact(doomed: Postgres) -> None:
    store = TimescaleStore(doomed.url)
    store.setup()
    with psycopg.connect(doomed.url, autocommit=True) as connection:
        connection.execute("TRUNCATE ticks, bars, symbols")
    first, second = make_ticks(make_tick(0), make_tick(1)), make_ticks(make_tick(1), make_tick(2))
    store.write_ticks(first)
    doomed.kill()
    for write in (lambda: store.write_ticks(second), lambda: store.write_bars(make_bars(make_bar()))):
        with pytest.raises(StoreUnavailable):
            write()
    doomed.start()
    store.write_ticks(second)
    store.write_bars(make_bars(make_bar()))
    doomed.kill()
    doomed.start()
    # Nobody called meanwhile: the pool holds dead connections, and must not hand them out.
    store.write_ticks(make_ticks(make_tick(2), make_tick(3)))
    store.close()
    assert sorted(tick["seq"] for tick in stored_ticks(doomed.url)) == [0, 1, 2, 3]
    assert query(doomed.url, "SELECT count(*) FROM bars") == [(1,)]


def test_killed_during_writes_nothing_is_lost_or_doubled(doomed: Postgres) -> None:
    store = TimescaleStore(doomed.url)
    store.setup()
    with psycopg.connect(doomed.url, autocommit=True) as connection:
        connection.execute("TRUNCATE ticks, bars, symbols")
    batches = [make_ticks(*(make_tick(n) for n in range(first, first + 2_000))) for first in range(0, 60_000, 2_000)]
    done, failures, problems = [0], [0], list[Exception]()

    def write_all() -> None:
        for number, batch in enumerate(batches):
            while not _written(store, batch, number):
                failures[0] += 1
                time.sleep(0.05)
            done[0] += 1

    def _written(store: TimescaleStore, batch: Any, number: int) -> bool:
        try:
            store.write_ticks(batch)
            store.write_bars(make_bars(make_bar(number)))
            return True
        except StoreUnavailable:
            return False

    def guarded() -> None:
        try:
            write_all()
        except Exception as error:
            problems.append(error)

    writer = threading.Thread(target=guarded)
    writer.start()
    for threshold in (5, 15):
        _until(lambda at=threshold: done[0] >= at or bool(problems))
        doomed.kill()
        _until(lambda seen=failures[0]: failures[0] > seen or not writer.is_alive())
        doomed.start()
    writer.join(120)
    store.close()
    assert not problems and not writer.is_alive() and failures[0] >= 2
    assert sorted(tick["seq"] for tick in stored_ticks(doomed.url)) == list(range(60_000))
    assert query(doomed.url, "SELECT count(*), count(DISTINCT start) FROM bars") == [(len(batches), len(batches))]


def test_reader_recovers_after_a_kill(doomed: Postgres) -> None:
    async def run() -> None:
        reader = TimescaleReader(doomed.url)
        await reader.open()
        await asyncio.gather(*(reader.ping() for _ in range(4)))
        doomed.kill()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await reader.ping()
        assert time.monotonic() - began < 3
        doomed.start()
        await asyncio.gather(*(reader.ping() for _ in range(4)))
        await reader.close()

    asyncio.run(run())


def test_frozen_server_is_unavailable_in_time(doomed: Postgres) -> None:
    async def run() -> None:
        reader = TimescaleReader(doomed.url, timeout=1.0)
        await reader.open()
        await reader.ping()
        family = _family(doomed)
        for process in family:
            process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(3):
                began = time.monotonic()
                with pytest.raises(StoreUnavailable, match=r"no answer|no connection"):
                    await reader.ping()
                assert time.monotonic() - began < 2
        finally:
            for process in family:
                process.send_signal(signal.SIGCONT)
        await asyncio.wait_for(_answers(reader), 30)
        await reader.close()

    asyncio.run(run())


async def _answers(reader: TimescaleReader) -> None:
    while True:
        try:
            return await reader.ping()
        except StoreUnavailable:
            await asyncio.sleep(0.1)


def _family(server: Postgres) -> list[psutil.Process]:
    parent = psutil.Process(server.pid)
    return [parent, *parent.children(recursive=True)]


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_bar_of_a_provider_gives_way_to_our_own_and_never_the_other_way_round(
    database: TimescaleStore, postgres_dsn: str
) -> None:
    theirs, ours = make_bar(reason="provider", ruleset="provider:yahoo", close=Decimal("1")), make_bar()
    database.write_bars(make_bars(theirs))
    database.write_bars(make_bars(ours))
    database.write_bars(make_bars(theirs))
    assert query(postgres_dsn, "SELECT reason, ruleset FROM bars") == [(None, "all@1")]
