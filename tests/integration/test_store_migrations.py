"""The database's migrations and retention, as functions and as commands."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from core.errors import ConfigError
from local.postgres import Postgres
from stores.anomalies import Amended, AnomalyStore
from stores.hypertables import Retention
from stores.migrations import Migration, migrate, migrations, pending
from stores.postgres import to_time
from stores.retention import retain, tidy
from stores.timescale import TimescaleStore
from tests.batches import START_US, make_bar, make_bars, make_tick, make_ticks, rows_of
from tests.databases import dsn_of, execute
from tests.factories import indicators, indicators_table, state
from tests.integration.test_store_sinks import stored_ticks
from tests.integration.test_store_timescale import NOWHERE, PASSWORD, ask, query

DAY_US = 86_400_000_000
REPOSITORY = Path(__file__).parents[2]
EVERY = ", ".join(migration.name for migration in migrations())


def test_unmigrated_database_says_what_to_run(postgres_dsn: str) -> None:
    store = TimescaleStore(postgres_dsn)
    with pytest.raises(ConfigError, match="python -m stores migrate"):
        store.write_bars(make_bars(make_bar()))
    store.close()
    with pytest.raises(ConfigError, match="python -m stores migrate"):
        ask(postgres_dsn, lambda r: r.symbols())


def test_two_processes_migrating_at_once_apply_each_file_once(postgres_dsn: str) -> None:
    environment = os.environ | {"POSTGRES_DSN": postgres_dsn}
    command = [sys.executable, "-m", "stores", "migrate"]
    running = [
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = sorted(process.communicate(timeout=60)[0] for process in running)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert said == [f"applied {EVERY}\n", "up to date\n", "up to date\n"]
    assert query(postgres_dsn, "SELECT count(*) FROM schema_migrations") == [(len(migrations()),)]


def test_changed_migration_is_refused(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        migrate(connection, Retention(), [Migration("0001_a", "CREATE TABLE a (x int)")])
        with pytest.raises(ConfigError, match="0001_a was changed"):
            pending(connection, [Migration("0001_a", "CREATE TABLE a (x text)")])


def test_failing_migration_leaves_nothing_behind(postgres_dsn: str) -> None:
    good = Migration("0001_a", "CREATE TABLE a (x int)")
    bad = Migration("0002_b", "CREATE TABLE b (x int); SELECT 1/0")
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(connection, Retention(), [good, bad])
        assert pending(connection, [good, bad]) == ["0002_b"]
        assert connection.execute("SELECT to_regclass('b')").fetchone() == (None,)
        fixed = Migration("0002_b", "CREATE TABLE b (x int)")
        assert migrate(connection, Retention(), [good, fixed]) == ["0002_b"]


def test_database_of_the_first_migration_keeps_its_rows_and_gets_indicators(postgres_dsn: str) -> None:
    store = TimescaleStore(postgres_dsn)
    bars = make_bars(make_bar(0), make_bar(1))
    batch = bars, indicators_table(indicators(make_bar(0)), indicators(make_bar(1), state=state(1.0)))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        migrate(connection, Retention(), migrations()[:1])
        connection.execute(
            "INSERT INTO ticks (event_time, symbol, seq, source, kind, received_us, identity)"
            " VALUES (now(), 'AAPL', 0, 'test', 'trade', 1, 'a')"
        )
        store.write_bars(bars)
        with pytest.raises(ConfigError, match="python -m stores migrate"):
            store.write_bars(*batch)
        assert pending(connection) == [migration.name for migration in migrations()[1:]]
    store.setup()
    store.write_bars(*batch)
    assert ask(postgres_dsn, lambda r: r.bars("AAPL", "1m", 0, 2**62, 10)) == rows_of(bars)
    assert len(ask(postgres_dsn, lambda r: r.indicators("AAPL", "1m", 0, 2**62, 10))) == 2
    assert store.read_states()["state"].to_pylist() == [state(1.0)]
    assert len(stored_ticks(postgres_dsn)) == 1
    store.close()


def run_stores(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"POSTGRES_DSN": dsn}
    command = [sys.executable, "-m", "stores", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60)


def test_migrate_check_tells_before_and_after(postgres_dsn: str) -> None:
    before = run_stores(postgres_dsn, "migrate", "--check")
    assert (before.returncode, before.stdout) == (1, f"pending {EVERY}\n")
    assert query(postgres_dsn, "SELECT to_regclass('ticks')") == [(None,)]
    assert run_stores(postgres_dsn, "migrate").returncode == 0
    after = run_stores(postgres_dsn, "migrate", "--check")
    assert (after.returncode, after.stdout) == (0, "up to date\n")


@pytest.fixture
def ascii_dsn(postgres_server: Postgres) -> Iterator[str]:
    """The DSN of an empty database without an encoding."""
    execute(
        postgres_server.url,
        sql.SQL("CREATE DATABASE plain_ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"),
    )
    try:
        yield dsn_of(postgres_server, "plain_ascii")
    finally:
        execute(postgres_server.url, sql.SQL("DROP DATABASE plain_ascii WITH (FORCE)"))


def test_database_without_an_encoding_is_one_like_others(ascii_dsn: str) -> None:
    assert run_stores(ascii_dsn, "migrate").stdout == f"applied {EVERY}\n"
    assert run_stores(ascii_dsn, "migrate").stdout == "up to date\n"
    store = TimescaleStore(ascii_dsn)
    store.write_ticks(make_ticks(make_tick()))
    store.write_bars(make_bars(make_bar()))
    store.close()
    assert [row["symbol"] for row in ask(ascii_dsn, lambda r: r.symbols())] == [make_bar().symbol]


@pytest.mark.parametrize("arguments", [("migrate",), ("migrate", "--check"), ("retention",)])
def test_command_without_database_says_one_line(arguments: tuple[str, ...]) -> None:
    done = run_stores(NOWHERE, *arguments)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.startswith("error: timescale: ") and done.stderr.count("\n") == 1
    assert PASSWORD not in done.stderr


def test_retention_command_deletes_old_rows(database: TimescaleStore, postgres_dsn: str) -> None:
    database.write_ticks(make_ticks(make_tick(0)))  # of 2024
    database.write_bars(
        make_bars(make_bar(0)), indicators_table(indicators(make_bar(0)), indicators(make_bar(1), state=state(1.0)))
    )
    database.write_bars(make_bars(make_bar(0, rev=2)))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for age in (1, 400):
            connection.execute(
                f"INSERT INTO predictions VALUES ('AAPL', '1m', now() - interval '{age} days', 1, 'm', now(),"
                " now() - interval '1 minute', 0, 0.5, 0.1, '{}')".encode()
            )
            connection.execute(
                f"INSERT INTO anomalies VALUES ('AAPL', '1m', now() - interval '{age} days', now(), 'price_move', 1,"
                " 'info', 'firing', 6, 5, 1.2, now(), '')".encode()
            )
        for years in (99, 101):
            connection.execute(
                "INSERT INTO daily_bars (symbol, day, rev, open, high, low, close, source)"
                f" VALUES ('AAPL', now() - interval '{years} years', 1, 1, 1, 1, 1, 'x')".encode()
            )
    done = run_stores(postgres_dsn, "retention")
    assert (done.returncode, done.stdout) == (
        0,
        "deleted 1 ticks, 1 bars, 2 indicators, 1 bar_revisions, 1 predictions, 1 anomalies, 1 daily_bars, "
        "0 unchecked_bars, 0 amendments\n",
    )
    # A market that was closed for long goes on from where it stood.
    assert database.read_states()["start"].to_pylist() == [make_bar(1).start]


def test_retention_lets_go_of_notes_of_bars_without_ticks(database: TimescaleStore, postgres_dsn: str) -> None:
    now = START_US + 500 * DAY_US
    old_us = now - 31 * DAY_US
    database.write_ticks(make_ticks(make_tick(event_us=old_us + 14 * 60_000_000)))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for start_us in (old_us, now - DAY_US):
            for interval in ("1m", "15m"):
                values = [make_tick()["symbol"], interval, to_time(start_us)]
                connection.execute("INSERT INTO unchecked_bars VALUES (%s, %s, %s)", values)
        assert tidy(connection, Retention(30, 365), now) == {"unchecked_bars": 1, "amendments": 0}
        left = connection.execute('SELECT "interval", "start" FROM unchecked_bars ORDER BY 2, 1').fetchall()
    assert left == [("15m", to_time(old_us)), ("15m", to_time(now - DAY_US)), ("1m", to_time(now - DAY_US))]


def test_retention_keeps_of_each_past_day_how_far_amendments_reach(database: TimescaleStore, postgres_dsn: str) -> None:
    noon = START_US - START_US % DAY_US + DAY_US // 2
    found = AnomalyStore(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        days = [("AAA", -400, 1), ("AAA", 0, 7), ("BBB", 0, 3), ("AAA", 0, 5), ("AAA", 0, 9)]
        for number, (symbol, day, minute) in enumerate([*days, ("AAA", 1, 2), ("AAA", 1, 4)], start=1):
            values = [number, symbol, "1m", to_time(minute * 60_000_000), to_time(noon + day * DAY_US + number)]
            connection.execute("INSERT INTO amendments VALUES (%s, %s, %s, %s, %s)", values)
        before = [found.amended_since(number) for number in range(1, 8)]
        assert tidy(connection, Retention(30, 365), noon + DAY_US)["amendments"] == 3
        assert tidy(connection, Retention(30, 365), noon + DAY_US)["amendments"] == 0
        assert connection.execute("SELECT count(*) FROM amendments").fetchone() == (4,)
    after = [found.amended_since(number) for number in range(1, 8)]
    assert before[0] == after[0] and before[4:] == after[4:]
    assert [each for each in after[3] if each.symbol == "AAA"] == [Amended("AAA", "1m", 7, 2 * 60_000_000)]
    for known, told in zip(before, after, strict=True):  # never less than there was
        assert {(each.symbol, each.number) for each in known} == {(each.symbol, each.number) for each in told}
        assert all(new.from_us <= old.from_us for new, old in zip(told, known, strict=True))


def test_retention_keeps_what_is_young_enough(database: TimescaleStore, postgres_dsn: str) -> None:
    ages = (0, 29, 30, 31, 400)
    now = START_US + 500 * DAY_US
    database.write_ticks(make_ticks(*(make_tick(n, event_us=now - age * DAY_US) for n, age in enumerate(ages))))
    database.write_ticks(make_ticks(*(make_tick(n, symbol="MSFT", event_us=now - 40 * DAY_US) for n in range(25))))
    bars = [make_bar(start=now - age * DAY_US, interval="5m") for age in (0, 364, 365, 366)]
    bars += [make_bar(start=now - 500 * DAY_US - n, interval="15m") for n in range(10)]
    database.write_bars(make_bars(*bars), indicators_table(*(indicators(bar) for bar in bars)))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        assert retain(connection, Retention(30, 365), now, slice_rows=7) == {
            "ticks": 27,
            "bars": 11,
            "indicators": 11,
            "bar_revisions": 0,
            "predictions": 0,
            "anomalies": 0,
        }
    kept_us = "SELECT round(extract(epoch FROM start) * 1000000)::bigint FROM {} ORDER BY 1 DESC"
    for table in ("bars", "indicators"):
        assert [(now - start) // DAY_US for (start,) in query(postgres_dsn, kept_us.format(table))] == [0, 364, 365]
    kept = sorted((now - tick["event_time"]) // DAY_US for tick in stored_ticks(postgres_dsn))
    assert kept == [0, 29, 30]
