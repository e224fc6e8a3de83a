"""`python -m producers backfill` against a local provider, a real broker and a real database."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from conf.settings import Settings
from conf.topics import TICKS
from core.bars import identity
from core.clock import ManualClock, SystemClock
from core.records import Tick
from producers.feeds import Quota
from producers.feeds.coinbase import Coinbase
from producers.history.fill import Backfill, Progress, Unfinished
from producers.history.plan import TICKS as WHAT_TICKS
from producers.http import ProcessTurns
from producers.turns import shared_turns
from stores.schema import bars_table
from stores.timescale import make_timescale
from tests import factories
from tests.history_server import HOUR_US, HistoryServer, Trade, made_up
from tests.topics import read_ticks

ROOT = Path(__file__).parents[2]
START_US = 1_709_553_600_000_000  # 2024-03-04T12:00:00Z, a Monday
WHEN = ("--from", "2024-03-04T13:00:00Z", "--to", "2024-03-04T18:00:00Z")
DEADLINE_SECONDS = 90.0


class Unhurried(Coinbase):
    """Coinbase with a quota that no test reaches."""

    quota = Quota(100_000, 1.0)


@pytest.fixture
def migrated(settings: Settings) -> Settings:
    make_timescale(settings).setup()
    return settings


@pytest.fixture
def provider() -> Iterator[HistoryServer]:
    """Two products with 3,000 trades an hour, of which the five hours from 13:00 are asked for."""
    trades = {
        "BTC-USD": made_up(START_US, hours=8, an_hour=3_000, first_id=5_000),
        "ETH-USD": made_up(START_US, hours=8, an_hour=3_000, first_id=70_000),
    }
    with HistoryServer(trades) as server:
        yield server


def command(settings: Settings, server: HistoryServer, *args: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKSTREAM_")}
    environment = kept | {
        "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "POSTGRES_DSN": settings.postgres_dsn.get_secret_value(),
        "TICKSTREAM_TOPIC_PREFIX": settings.topic_prefix,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "producers", "backfill", *args, "--rest-url", server.url],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    """What it said: its answer where it should succeed, its complaint otherwise."""
    with process:
        out, problems = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == code, problems
    return problems if code else out


def rows(settings: Settings, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        return connection.execute(query.encode(), values).fetchall()


def execute(settings: Settings, statement: str, *values: object) -> None:
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(statement.encode(), values)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def marked(settings: Settings) -> list[tuple[str, int, int, int]]:
    """(symbol, first hour, hour after, rows) of what was finished, hours counted from START_US."""
    found = rows(settings, "SELECT symbol, start_us, end_us, rows FROM backfilled ORDER BY symbol, start_us")
    return [
        (name, (start - START_US) // HOUR_US, (end - START_US) // HOUR_US, count) for name, start, end, count in found
    ]


def wanted(server: HistoryServer, first: int, last: int) -> dict[tuple[str, str], tuple[int, str, str]]:
    """(symbol, trade id) -> (event time, price, size) of the hours `[first, last)`."""
    low, high = START_US + first * HOUR_US, START_US + last * HOUR_US
    return {
        (symbol, str(trade.trade_id)): (trade.event_us, trade.price, trade.size)
        for symbol, trades in server.trades.items()
        for trade in trades
        if low <= trade.event_us < high
    }


def held(settings: Settings) -> list[Tick]:
    return read_ticks(settings.kafka_bootstrap, settings.topic(TICKS))


def test_killed_in_the_middle_and_repeated_nothing_is_missing_or_doubled(
    settings: Settings, provider: HistoryServer
) -> None:
    first = command(settings, provider, "BTC-USD,ETH-USD", *WHEN)
    try:
        until(lambda: len(provider.requests) > 0 or first.poll() is not None, "nothing was asked for")
        assert first.poll() is None, first.communicate()
        until(lambda: len(marked(settings)) >= 2, "no piece was finished")
        # In the middle of a piece: some of its pages were answered, and it is not marked.
        asked = len(provider.requests)
        until(lambda: len(provider.requests) >= asked + 2, "it does not go on")
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert first.returncode == -signal.SIGKILL
    done, killed_after = marked(settings), len(provider.requests)
    assert 2 <= len(done) < 10

    # Two at once, right after the kill: three processes that know of each other by the database alone.
    again = [command(settings, provider, symbol, *WHEN) for symbol in ("BTC-USD", "ETH-USD")]
    for symbol, process in zip(("BTC-USD", "ETH-USD"), again, strict=True):
        left = 5 - sum(name == symbol for name, *_ in done)
        assert f"{left} of {left} pieces done" in finished(process) or not left
    second = len(provider.requests) - killed_after
    assert marked(settings) == [
        (symbol, hour, hour + 1, 3_000) for symbol in ("BTC-USD", "ETH-USD") for hour in range(1, 6)
    ]

    ticks, expected = held(settings), wanted(provider, 1, 6)
    assert {identity(tick) for tick in ticks} == {(symbol, "id", "coinbase", id_) for symbol, id_ in expected}
    for tick in ticks:
        assert expected[tick.symbol, str(tick.trade_id)] == (tick.event_us, tick.price, tick.size)
    # What had been marked was not asked for again: at most one killed piece of each run is repeated.
    repeated = Counter(identity(tick) for tick in ticks).total() - len(expected)
    assert repeated <= 2 * 3_000

    before = len(provider.requests)
    assert "nothing is missing" in finished(command(settings, provider, "BTC-USD,ETH-USD", *WHEN))
    assert len(provider.requests) == before
    assert second < before
    quota = Coinbase.quota
    assert quota is not None
    # Over three of its windows: within one, requests that were sent in time may arrive together on a busy machine.
    assert provider.most_in(3 * quota.seconds) <= 3 * quota.requests
    assert before > 3 * quota.requests, "too few requests to show that the quota is kept"


def test_only_what_is_missing_is_asked_for_in_both_directions(migrated: Settings, provider: HistoryServer) -> None:
    fill(migrated, provider, 3, 4)
    fill(migrated, provider, 1, 6)
    assert [(start, end) for _, start, end, _ in marked(migrated)] == [(hour, hour + 1) for hour in range(1, 6)]
    assert Counter(tick.trade_id for tick in held(migrated)).most_common(1)[0][1] == 1
    assert {tick.trade_id for tick in held(migrated)} == {
        id_ for symbol, id_ in wanted(provider, 1, 6) if symbol == "BTC-USD"
    }


def fill(settings: Settings, server: HistoryServer, first: int, last: int, **how: Any) -> Progress:
    """Hours of BTC-USD in this process, by a feed whose quota is out of the way unless another is given."""
    feed, what, turns = how.pop("feed", Unhurried), how.pop("what", WHAT_TICKS), how.pop("turns", ProcessTurns())
    with Backfill(feed, settings, what, rest_url=server.url, **how) as backfill:
        plan = backfill.plan(["BTC-USD"], START_US + first * HOUR_US, START_US + last * HOUR_US)
        return asyncio.run(backfill.run(plan, turns))


def test_gap_on_record_is_asked_for_again_once_and_closed(migrated: Settings, provider: HistoryServer) -> None:
    fill(migrated, provider, 1, 6)
    quarter = HOUR_US // 4
    gap = (START_US + 2 * HOUR_US + quarter, START_US + 3 * HOUR_US + quarter)
    execute(
        migrated,
        "INSERT INTO gaps (source, symbol, cause, start_us, end_us) VALUES ('coinbase', 'BTC-USD', 'silence', %s, %s),"
        " ('coinbase', 'ETH-USD', 'silence', %s, %s), ('kraken', 'BTC-USD', 'silence', %s, %s)",
        *gap, *gap, *gap,
    )  # fmt: skip
    progress = fill(migrated, provider, 1, 6)
    assert (progress.pieces, progress.gaps) == (2, 1)
    again = Counter(tick.trade_id for tick in held(migrated))
    repeated = {id_ for id_, count in again.items() if count == 2}
    inside = {str(one.trade_id) for one in provider.trades["BTC-USD"] if gap[0] <= one.event_us <= gap[1]}
    assert repeated == inside
    states = rows(migrated, "SELECT source, symbol, state, settled_at IS NULL FROM gaps ORDER BY id")
    assert states == [
        ("coinbase", "BTC-USD", "filled", False),
        ("coinbase", "ETH-USD", "open", True),
        ("kraken", "BTC-USD", "open", True),
    ]
    asked = len(provider.requests)
    assert fill(migrated, provider, 1, 6).planned == 0
    assert len(provider.requests) == asked


def test_again_asks_for_what_was_finished(migrated: Settings, provider: HistoryServer) -> None:
    """Its ticks may have left the database since."""
    fill(migrated, provider, 1, 3)
    with Backfill(Unhurried, migrated, rest_url=provider.url) as backfill:
        hours = (START_US + HOUR_US, START_US + 4 * HOUR_US)
        assert len(backfill.plan(["BTC-USD"], *hours)) == 1
        assert len(backfill.plan(["BTC-USD"], *hours, again=True)) == 3


def test_gap_filled_by_a_run_that_was_killed_before_it_said_so_is_closed(
    migrated: Settings, provider: HistoryServer
) -> None:
    fill(migrated, provider, 1, 3)
    asked = len(provider.requests)
    execute(
        migrated,
        "INSERT INTO gaps (source, symbol, cause, start_us, end_us, noticed_at)"
        " VALUES ('coinbase', 'BTC-USD', 'ids', %s, %s, now() - interval '1 hour')",
        START_US + HOUR_US, START_US + 2 * HOUR_US,
    )  # fmt: skip
    said = finished(
        command(migrated, provider, "BTC-USD", "--provider", "coinbase", *WHEN[:2], "--to", "2024-03-04T15")
    )
    assert "nothing is missing, 1 gaps closed" in said
    assert rows(migrated, "SELECT state FROM gaps") == [("filled",)]
    assert len(provider.requests) == asked


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_what_is_done(settings: Settings, provider: HistoryServer, how: signal.Signals) -> None:
    process = command(settings, provider, "BTC-USD", *WHEN)
    try:
        until(lambda: len(provider.requests) > 0 or process.poll() is not None, "nothing was asked for")
        until(lambda: process.poll() is not None or len(marked(settings)) >= 1, "no piece was finished")
        process.send_signal(how)
        said = finished(process)
    finally:
        process.kill()
    done = marked(settings)
    assert f"stopped: backfill: {len(done)} of 5 pieces done, {3_000 * len(done):,} rows" in said
    assert len({tick.trade_id for tick in held(settings)}) >= 3_000 * len(done)


def test_nothing_is_asked_for_while_the_market_is_closed(migrated: Settings, provider: HistoryServer) -> None:
    """Monday 4 March 2024, New York: 14:30 to 21:00 UTC, the server has trades from 12:00 to 20:00."""
    fill(migrated, provider, 0, 8, calendar="XNYS", around_us=0)
    times = {tick.event_us for tick in held(migrated)}
    assert min(times) == START_US + 5 * HOUR_US // 2 and len(held(migrated)) == 3_000 * 11 // 2
    asked = len(provider.requests)
    assert fill(migrated, provider, -40, -20, calendar="XNYS").planned == 0  # Saturday evening to Sunday afternoon
    assert len(provider.requests) == asked


def test_spent_day_keeps_what_was_done_and_says_when_to_go_on(migrated: Settings, provider: HistoryServer) -> None:
    class Scarce(Coinbase):
        quota = Quota(100, 0.1, daily=25)

    with pytest.raises(Unfinished, match=r"25 requests are used up.*goes on from here after 20\d\d-.*T00:00:0"):
        asyncio.run(shared_run(migrated, provider, Scarce))
    done = len(marked(migrated))
    assert 1 <= done < 5
    assert len(provider.requests) == 25
    with pytest.raises(Unfinished, match="0 of"):  # another run finds the day spent, and asks for nothing
        asyncio.run(shared_run(migrated, provider, Scarce))
    assert len(provider.requests) == 25
    assert fill(migrated, provider, 1, 6).pieces == 5 - done


async def shared_run(settings: Settings, server: HistoryServer, feed: type[Coinbase]) -> None:
    """Five hours with the turns that all processes share."""
    with Backfill(feed, settings, rest_url=server.url) as backfill:
        async with shared_turns(settings) as turns:
            await backfill.run(backfill.plan(["BTC-USD"], START_US + HOUR_US, START_US + 6 * HOUR_US), turns)


def test_refused_symbol_does_not_stop_the_others(settings: Settings, provider: HistoryServer) -> None:
    provider.refuse = lambda path: 404 if "NOPE" in path else None
    said = finished(command(settings, provider, "NOPE-USD", "BTC-USD", *WHEN[:2], "--to", "2024-03-04T14:00Z"), code=1)
    assert "NOPE-USD: coinbase: /products/NOPE-USD/trades was refused with HTTP 404: does the provider know" in said
    assert "1 of 2 pieces done" in said
    assert [symbol for symbol, *_ in marked(settings)] == ["BTC-USD"]


def test_without_a_route_it_ends_at_once_with_a_sentence(settings: Settings, provider: HistoryServer) -> None:
    provider.url = "http://127.0.0.1:1"  # where nobody listens
    said = finished(command(settings, provider, "BTC-USD", *WHEN), code=1)
    assert said.strip() == (
        "backfill: coinbase cannot be reached: is this machine on the internet? (127.0.0.1: Connection refused)"
    )


def test_dry_run_shows_the_plan_and_asks_for_nothing(settings: Settings, provider: HistoryServer) -> None:
    said = finished(command(settings, provider, "btc-usd", *WHEN, "--dry-run"))
    lines = said.splitlines()
    assert lines[1].split() == ["BTC-USD", "ticks", "2024-03-04T13:00:00Z", "2024-03-04T14:00:00Z", "1"]
    assert lines[-1] == "5 pieces, about 5 requests to coinbase, 0:00:00 at the least"
    assert provider.requests == [] and marked(settings) == []


def candle(minute: int, volume: str = "2") -> list[Any]:
    start = START_US // 1_000_000 + 60 * minute
    return [start, 99.5, 101.25, 100.0, 100.75, float(volume)]


def test_bars_fill_holes_and_never_replace_our_own(migrated: Settings, provider: HistoryServer) -> None:
    provider.candles["BTC-USD"] = [candle(minute) for minute in range(60, 90) if minute != 75]
    store = make_timescale(migrated)
    own = factories.bar(symbol="BTC-USD", start=START_US + 70 * 60_000_000, close=Decimal("190.25"))
    amended = factories.bar(symbol="BTC-USD", start=START_US + 71 * 60_000_000, rev=3, state="amended")
    store.write_bars(bars_table([own, amended]))
    progress = fill(migrated, provider, 1, 2, what="bars:1m")
    assert (progress.pieces, progress.rows, progress.refused) == (1, 29, 0)
    found = {
        (int(start.timestamp()) * 1_000_000 - START_US) // 60_000_000: rest
        for start, *rest in rows(
            migrated, 'SELECT "start", ruleset, rev, state, reason, low, high, "open", "close", volume, notional, vwap,'
            " trade_count FROM bars ORDER BY 1",
        )
    }  # fmt: skip
    assert sorted(found) == [minute for minute in range(60, 90) if minute != 75]
    assert found.pop(70)[:2] == ["all@1", 1] and found.pop(71)[:2] == ["all@1", 3]
    for row in found.values():
        assert row[:4] == ["provider:coinbase", 1, "final", "provider"]
        assert row[4:9] == [Decimal("99.5"), Decimal("101.25"), Decimal(100), Decimal("100.75"), Decimal(2)]
        assert row[9] == Decimal("201") and row[10:] == [None, 0]
    # Our own revision of a bar that only the provider had takes its place.
    store.write_bars(bars_table([factories.bar(symbol="BTC-USD", start=START_US + 60 * 60_000_000, rev=2)]))
    store.close()
    assert rows(migrated, "SELECT count(*) FROM bars WHERE ruleset = 'all@1'") == [(3,)]
    assert marked(migrated) == [("BTC-USD", 1, 2, 29)]
    asked = len(provider.requests)
    assert fill(migrated, provider, 1, 2, what="bars:1m").planned == 0
    assert len(provider.requests) == asked
    assert fill(migrated, provider, 1, 2, what="bars:5m").planned == 1


def test_refused_trade_is_told_and_the_rest_is_kept(migrated: Settings, provider: HistoryServer) -> None:
    trades = list(made_up(START_US + HOUR_US, hours=1, an_hour=10))
    trades[3] = Trade(4, trades[3].event_us, price="0")
    provider.trades["BTC-USD"] = trades
    progress = fill(migrated, provider, 1, 2)
    assert (progress.rows, progress.refused) == (9, 1)
    assert len(held(migrated)) == 9


def test_the_newest_minute_is_left_for_later(migrated: Settings, provider: HistoryServer) -> None:
    clock = ManualClock(START_US + HOUR_US)
    with Backfill(Unhurried, migrated, rest_url=provider.url, clock=clock) as backfill:
        plan = backfill.plan(["BTC-USD"], START_US, SystemClock().now_us())
    assert [(item.start_us, item.end_us) for item in plan] == [(START_US, START_US + HOUR_US - 60_000_000)]
