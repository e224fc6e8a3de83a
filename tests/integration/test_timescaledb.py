"""What TimescaleDB adds, on a real one: `tests/run.py` runs this, and the tests of the database, on `tests.timescale`.

It is Debian's build, which is the Apache-licensed one: no compression and no policies.
"""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from jobs.backups import database as files
from stores import hypertables
from stores.hypertables import Retention
from stores.migrations import migrations
from stores.postgres import to_time
from stores.retention import retain
from stores.timescale import TimescaleStore
from tests.batches import START_US, make_bar, make_bars, make_tick, make_ticks, rows_of
from tests.databases import execute, fresh_database
from tests.factories import indicators, indicators_table
from tests.integration.test_store_sinks import stored_ticks
from tests.integration.test_store_timescale import ask, query

DAY_US = 86_400_000_000
TABLES = ["anomalies", "bar_revisions", "bars", "indicators", "predictions", "ticks"]
_CHUNKS = "SELECT hypertable_name, num_chunks FROM timescaledb_information.hypertables ORDER BY 1"


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    """An empty database of a server that has the extension."""
    found = query(postgres_dsn, "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'")
    if not found:
        pytest.skip("no TimescaleDB here: .ci/run gets one where it may, TEST_POSTGRES_DSN names another")
    return postgres_dsn


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As long as it is not undone, migrating finds no extension."""
    monkeypatch.setattr(hypertables, "available", lambda _: False)
    return monkeypatch


@pytest.fixture
def nobody(dsn: str) -> Iterator[str]:
    """The DSN of a role that may make tables, and no extension."""
    role = sql.Identifier(name := f"r_{uuid.uuid4().hex}")
    execute(dsn, sql.SQL("CREATE ROLE {} LOGIN").format(role), sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(role))
    yield make_conninfo(dsn, user=name)
    execute(dsn, sql.SQL("DROP OWNED BY {}").format(role), sql.SQL("DROP ROLE {}").format(role))


def opened(dsn: str) -> TimescaleStore:
    store = TimescaleStore(dsn)
    store.setup()
    return store


def fill(store: TimescaleStore, days: int) -> tuple[list[Any], list[Any]]:
    """A tick and a bar for each hour of so many days from START_US on, of two symbols, with indicators."""
    hours = [START_US + hour * DAY_US // 24 for hour in range(days * 24)]
    ticks = [make_tick(n, event_us=us, symbol=symbol) for n, us in enumerate(hours) for symbol in ("AAPL", "MSFT")]
    bars = [make_bar(start=us, symbol=symbol) for us in hours for symbol in ("AAPL", "MSFT")]
    store.write_ticks(make_ticks(*ticks))
    store.write_bars(make_bars(*bars), indicators_table(*(indicators(bar) for bar in bars)))
    return ticks, bars


def chunks(dsn: str) -> dict[str, int]:
    return dict(query(dsn, _CHUNKS))


def test_tables_of_time_become_hypertables_of_days(dsn: str) -> None:
    store = opened(dsn)
    store.setup()  # again changes nothing
    assert chunks(dsn) == dict.fromkeys(TABLES, 0)
    fill(store, days=3)  # from half past two in the afternoon: of four days
    store.close()
    assert chunks(dsn) == dict.fromkeys(TABLES, 0) | {"ticks": 4, "bars": 4, "indicators": 4}
    lengths = query(dsn, "SELECT DISTINCT time_interval FROM timescaledb_information.dimensions")
    assert lengths == [(timedelta(days=1),)]


def test_database_that_gets_the_extension_later_keeps_its_rows(dsn: str, plain: pytest.MonkeyPatch) -> None:
    store = opened(dsn)
    ticks, bars = fill(store, days=3)
    assert query(dsn, "SELECT FROM pg_extension WHERE extname = 'timescaledb'") == []
    plain.undo()
    store.setup()
    assert chunks(dsn)["ticks"] == chunks(dsn)["bars"] == 4
    assert len(stored_ticks(dsn)) == len(ticks)
    store.write_ticks(make_ticks(*ticks))  # held already, each in its chunk
    store.write_bars(make_bars(*bars))
    store.close()
    assert query(dsn, "SELECT count(*), count(DISTINCT (symbol, identity)) FROM ticks") == [(len(ticks), len(ticks))]
    assert query(dsn, "SELECT count(*), max(rev) FROM bars") == [(len(bars), 1)]


@pytest.mark.parametrize("newest_first", [False, True])
def test_ranges_are_read_over_chunks_each_row_once_and_in_order(dsn: str, newest_first: bool) -> None:
    store = opened(dsn)
    _, bars = fill(store, days=3)
    store.close()
    expected = [row for row in rows_of(make_bars(*bars)) if row["symbol"] == "AAPL"]
    span = [START_US, START_US + 3 * DAY_US]
    found: list[dict[str, Any]] = []
    while page := ask(dsn, lambda r: r.bars("AAPL", "1m", *span, 7, newest_first=newest_first)):
        found += page
        if newest_first:
            span[1] = page[-1]["start"]
        else:
            span[0] = page[-1]["start"] + 1
    assert found == expected[:: -1 if newest_first else 1]


def test_amended_bar_takes_its_place_in_an_old_chunk_and_keeps_what_was(dsn: str) -> None:
    store = opened(dsn)
    _, bars = fill(store, days=3)
    amended = make_bar(start=bars[0].start, symbol=bars[0].symbol, rev=2, state="amended", reason="late")
    store.write_bars(make_bars(amended))
    store.close()
    found = ask(dsn, lambda r: r.bars(amended.symbol, "1m", amended.start, amended.start + 1, 10))
    assert found == rows_of(make_bars(amended))
    assert query(dsn, "SELECT symbol, rev FROM bar_revisions") == [(amended.symbol, 1)]


def test_retention_deletes_what_is_old_and_nothing_younger(dsn: str) -> None:
    """Rows of two chunks can have one ctid."""
    store = opened(dsn)
    ticks, bars = fill(store, days=6)
    store.close()
    now_us = START_US + 6 * DAY_US
    with psycopg.connect(dsn, autocommit=True) as connection:
        deleted = retain(connection, Retention(ticks_days=2, bars_days=4), now_us, slice_rows=7)
    old_ticks = [tick for tick in ticks if tick["event_time"] < now_us - 2 * DAY_US]
    old_bars = [bar for bar in bars if bar.start < now_us - 4 * DAY_US]
    assert (deleted["ticks"], deleted["bars"]) == (len(old_ticks), len(old_bars))
    oldest = query(dsn, "SELECT min(event_time), count(*) FROM ticks")
    assert oldest == [(to_time(now_us - 2 * DAY_US), len(ticks) - len(old_ticks))]
    oldest = query(dsn, 'SELECT min("start"), count(*) FROM bars')
    assert oldest == [(to_time(now_us - 4 * DAY_US), len(bars) - len(old_bars))]
    assert (chunks(dsn)["ticks"], chunks(dsn)["bars"], chunks(dsn)["indicators"]) == (3, 5, 5)


def test_freshness_counts_rows_of_all_chunks(dsn: str) -> None:
    store = opened(dsn)
    ticks, bars = fill(store, days=3)
    store.close()
    # statistics come to the collector when the session that wrote ends
    seen = ask(dsn, lambda r: r.freshness())
    assert (seen["ticks"], seen["bars"]) == (len(ticks), len(bars))


@pytest.mark.parametrize("from_plain", [True, False])
def test_backup_of_either_database_fills_the_other(
    dsn: str, postgres_server: Any, plain: pytest.MonkeyPatch, from_plain: bool, tmp_path: Path
) -> None:
    with fresh_database(postgres_server) as without:
        opened(without).close()
        plain.undo()
        opened(dsn).close()
        source, target = (without, dsn) if from_plain else (dsn, without)
        store = TimescaleStore(source)
        fill(store, days=3)
        store.close()
        with files.snapshot(source) as connection:
            assert files.applied(connection).keys() == {each.name for each in migrations()}
            counts = files.dump(connection, tmp_path / "rows", lambda _: None)
            numbers = files.sequences(connection)
        with psycopg.connect(target) as connection:
            files.load(connection, tmp_path / "rows", counts, numbers, lambda _: None)
        everything = 'SELECT * FROM {} ORDER BY symbol, "{}"'
        for table, time in (("ticks", "event_time"), ("bars", "start"), ("indicators", "start")):
            assert query(target, everything.format(table, time)) == query(source, everything.format(table, time))


def test_who_may_not_create_the_extension_gets_plain_tables(nobody: str) -> None:
    store = opened(nobody)
    bar = make_bar()
    store.write_bars(make_bars(bar))
    store.close()
    assert query(nobody, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == [(0,)]
    assert query(nobody, 'SELECT count(*) FROM "bars"') == [(1,)]


def test_retention_waits_for_no_reader_and_drops_the_chunk_the_next_time(dsn: str) -> None:
    store = opened(dsn)
    fill(store, 4)
    store.close()
    now = START_US + 4 * DAY_US
    keep = Retention(ticks_days=2, bars_days=2)
    before = chunks(dsn)
    with psycopg.connect(dsn) as reader, psycopg.connect(dsn, autocommit=True) as connection:
        assert reader.execute("SELECT count(*) FROM ticks").fetchone() == (4 * 48,)
        assert retain(connection, keep, now)["ticks"] == 2 * 48
        held = chunks(dsn)
        assert held["ticks"] == before["ticks"] and held["bars"] == before["bars"] - 2
        assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
        reader.rollback()
        retain(connection, keep, now)
    assert chunks(dsn)["ticks"] == before["ticks"] - 2
