"""The process list: commands that their own programs understand, and feeds that are refused before anything starts."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.settings import Settings
from core.errors import InputError
from local.errors import LocalError
from local.jars import ROOT
from local.programs import Feed, default_symbols, programs
from producers.__main__ import _parser
from producers.feeds import FEEDS
from producers.feeds.coinbase import Coinbase
from producers.live import NoRoute
from producers.live.route import check_routes
from producers.live_command import live_names
from tests.feeds import settings_with_keys


def test_feed_is_last_so_that_it_is_stopped_first() -> None:
    assert [program.name for program in programs(Feed(), "all")] == [
        *("live", "stores", "relay", "ticks", "predictor", "schedule", "alerts", "api", "dashboard", "poll", "feed"),
    ]


def test_replay_runs_once_and_all_others_for_ever(tmp_path: Path) -> None:
    feed = Feed("replay", (tmp_path,), "max")
    assert {program.name for program in programs(feed, "us-equity") if program.once} == {"feed"}
    assert not any(program.once for program in programs(Feed(), "all"))
    assert "predictor" not in {program.name for program in programs(feed, "all")}, "every outcome is known already"
    assert "schedule" not in {program.name for program in programs(feed, "all")}, "retention would delete what is old"


def test_only_predictor_and_alerts_may_be_missing() -> None:
    found = {program.name for program in programs(Feed(), "all") if program.optional}
    assert found == {"predictor", "alerts", "schedule"}


def test_replay_passes_its_options_on_with_absolute_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "core")
    feed = programs(Feed("replay", (Path("rulesets"),), "max"), "us-equity")[-1]
    assert feed.command[-6:] == (
        *("replay", str(ROOT / "core" / "rulesets")),
        *("--speed", "max", "--ruleset", "us-equity"),
    )


@pytest.mark.parametrize(
    "feed",
    [Feed(), Feed("replay", (ROOT / "core",), "60"), *map(Feed, live_names()), Feed("kraken", symbols=("XRP-EUR",))],
    ids=lambda feed: feed.name,
)
def test_feed_command_is_accepted_by_the_producers(feed: Feed) -> None:
    command = programs(feed, "us-equity")[-1].command
    assert command[2:4] == ("-m", "producers")
    assert _parser().parse_args(command[4:]).command == command[4]


def test_live_feeds_run_for_ever_with_the_symbols_asked_for_or_their_own() -> None:
    def command(*feed: object) -> tuple[str, ...]:
        program = programs(Feed(*feed), "all")[-1]  # type: ignore[arg-type]
        assert not program.once
        return program.command[4:]

    assert command("coinbase") == ("live", "coinbase", "BTC-USD", "ETH-USD")
    assert command("kraken") == ("live", "kraken", "BTC-USD", "ETH-USD")
    assert command("binance") == ("live", "binance", "BTC-USDT", "ETH-USDT")
    assert command("coinbase", (), "60", ("SOL-USD",)) == ("live", "coinbase", "SOL-USD")


@pytest.mark.parametrize("name", live_names())
def test_default_symbols_are_ones_the_provider_can_be_asked_for(name: str) -> None:
    feed = FEEDS[name](settings_with_keys())
    for symbol in default_symbols(name):
        assert feed.symbol(feed.native(symbol)) == symbol


class Nowhere(Coinbase):
    name = "nowhere"


class Keyed(Coinbase):
    name = "keyed"
    keys = ("polygon_api_key",)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A port that nobody listens on until it is told to; the feeds `nowhere` and `keyed` connect to it."""
    port = socket.socket()
    port.bind(("127.0.0.1", 0))
    for kind in (Nowhere, Keyed):
        monkeypatch.setattr(kind, "socket_url", f"ws://127.0.0.1:{port.getsockname()[1]}/?token=secret", raising=False)
        monkeypatch.setitem(FEEDS, kind.name, kind)
    yield port
    port.close()


def test_live_feed_that_cannot_be_reached_is_told_before_anything_starts(at: socket.socket) -> None:
    started = time.monotonic()
    with pytest.raises(NoRoute, match="nowhere cannot be reached: is this machine on the internet") as caught:
        Feed("nowhere").check(Settings())
    assert time.monotonic() - started < 5.5
    assert "127.0.0.1" in str(caught.value) and "secret" not in str(caught.value)
    at.listen()
    Feed("nowhere").check(Settings())


def test_live_feed_without_its_key_says_which_variable_is_missing(at: socket.socket) -> None:
    with pytest.raises(InputError, match="keyed needs a key: set POLYGON_API_KEY"):
        Feed("keyed").check(Settings())
    at.listen()
    Feed("keyed").check(settings_with_keys())


def test_unknown_feed_and_one_without_a_stream_are_told_what_there_is() -> None:
    for name in ("coinbse", "fmp"):
        with pytest.raises(LocalError, match=f"unknown feed '{name}': one of simulator, replay, .*coinbase"):
            Feed(name).check(Settings())


def test_up_asks_the_provider_before_it_touches_the_data_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UP, str(tmp_path / "data")], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: coinbase cannot be reached: is this machine on the internet?")
    assert done.stdout == "" and not (tmp_path / "data").exists()


# The real command, with an address of this machine on which nobody listens.
UP = """
import os, sys
os.environ |= {"TICKSTREAM_DATA_PATH": sys.argv[1], "FEED": "coinbase", "SYMBOLS": "BTC-USD, ETH-USD"}
from producers.feeds.coinbase import Coinbase
Coinbase.socket_url = "ws://127.0.0.1:1"
from local.__main__ import main
sys.exit(main(["up"]))
"""


def test_backups_are_passed_on_in_their_order() -> None:
    feed = Feed("coinbase", symbols=("BTC-USD",), backup=("kraken", "binance_us"))
    command = programs(feed, "all")[-1].command
    assert command[-7:] == ("live", "coinbase", "BTC-USD", "--backup", "kraken", "--backup", "binance_us")
    assert _parser().parse_args(command[4:]).backup == ["kraken", "binance_us"]


def test_unknown_backup_is_refused() -> None:
    with pytest.raises(LocalError, match="unknown feed 'krakn'"):
        Feed("coinbase", backup=("krakn",)).check(Settings())


def test_symbol_that_is_none_is_refused_before_anything_starts(at: socket.socket) -> None:
    with pytest.raises(InputError, match="'B T' is no symbol"):
        Feed("nowhere", symbols=("BTC-USD", "B T")).check(Settings())


def test_one_provider_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        urls = {"one": "ws://127.0.0.1:1", "two": f"ws://127.0.0.1:{server.getsockname()[1]}"}
        check_routes(urls)
    with pytest.raises(NoRoute, match="one cannot be reached"):
        check_routes(urls)
