"""The suite's own parts: would it notice? Comparisons, the truth, the faults that it draws, the proxy that it cuts."""

import contextlib
import errno
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import redis

from chaos.__main__ import main, report
from chaos.amendments import Amendments
from chaos.disk import Filler, small_disk
from chaos.errors import ChaosError
from chaos.faults import OUTAGE_SECONDS, Target, deck, faults
from chaos.feed import Feed, Market, poisons
from chaos.network import Behind, Cable, Namespace
from chaos.proxy import Proxy
from chaos.revisions import held
from chaos.run import Outcome, told
from chaos.servers import NAMES, ReachedKafka, Servers, _spaces
from chaos.truth import Verdict, counted, expected_indicators, held_against, newest, of_bars
from conf.settings import Settings
from core import rulesets
from core.bars import fold_bars
from core.corrections import corrected
from core.errors import InvalidTick
from core.intervals import INTERVALS, MINUTE_US, SECOND_US
from core.records import Tick
from core.validate import check
from local.programs import Feed as LocalFeed
from local.programs import programs
from local.redis import Redis
from local.server import free_port
from producers.simulator import simulate
from tests.factories import MONDAY_US, bar, tick
from tests.reconciling import tick_row

KEY = ("A", "1m", MONDAY_US)
CARRYING = ["live", "stores", "relay", "ticks", "api"]


def settings() -> Settings:
    return Settings(kafka_bootstrap="127.0.0.1:1", indicators="sma:2 obv")


class Silent:
    """A publisher that keeps what it is given."""

    def __init__(self, *_: object, **__: object) -> None:
        self.records: list[bytes] = []
        self.heartbeats = 0

    def send_raw(self, key: bytes, value: bytes, partition: int | None = None) -> None:  # noqa: ARG002
        self.records.append(value)

    def partitions(self) -> int:
        return 2

    def poll(self) -> None: ...

    def flush(self) -> None: ...


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    """A feed without a broker."""
    monkeypatch.setattr("chaos.feed.Publisher", Silent)
    market = Market(symbols=2, rate=400, speed=40, late=0.1, corrected=0, cancelled=0)
    return Feed(settings(), market, 1_800_000_000_000_000)


def send(feed: Feed, count: int, skew_us: int = 0) -> None:
    """The first records of both producers, at once."""
    for run, config in (("m", feed._main), ("s", feed._second)):
        feed.skew_us = skew_us if run == "s" else 0
        for _, emission in zip(range(count), simulate(config), strict=False):
            feed._send(run, emission)


def valid(records: Sequence[bytes], kinds: Sequence[str] = ("trade",)) -> Iterator[Tick]:
    """The ticks of these kinds among records."""
    for value in records:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, InvalidTick):
            tick = msgspec.json.decode(value, type=Tick)
            check(tick, now_us=1_800_000_000_000_000)
            if tick.kind in kinds:
                yield tick


def test_expected_bars_are_those_of_every_tick_sent_once_late_ones_and_skewed_ones_too(feed: Feed) -> None:
    send(feed, 1200, skew_us=90 * SECOND_US)
    ticks = list(valid(feed._publisher.records))  # type: ignore[attr-defined]
    folded = fold_bars([(tick, None, None) for tick in ticks], INTERVALS.values(), rulesets.load("all"))
    assert of_bars(feed.bars()) == of_bars(folded)
    assert feed.counts["late"] > 50 and feed.counts["skewed"] > 1000
    assert feed.sent < len(ticks) + feed.counts["duplicate"]
    assert feed.refused == feed.counts["malformed"] + feed.counts["future"] > 0


def test_expected_bars_are_those_after_corrections_and_cancels(feed: Feed) -> None:
    feed.amendments = Amendments(3, corrected=0.1, cancelled=0.1)
    send(feed, 2500)
    placed = [(tick, 0, at) for at, tick in enumerate(valid(feed._publisher.records, ("trade", "correct", "cancel")))]  # type: ignore[attr-defined]
    known = corrected(placed)
    assert of_bars(feed.bars()) == of_bars(fold_bars(known, INTERVALS.values(), rulesets.load("all")))
    counts = feed.amendments.counts
    assert counts["correct"] > 100 and counts["cancel"] > 100 and counts.total() > feed.amendments.distinct
    assert len({tick_row(tick, 0)["identity"] for tick, _, _ in placed if tick.kind != "trade"}) == (
        feed.amendments.distinct
    )
    assert (
        len(known) < feed.sent == len({(tick.symbol, tick.trade_id) for tick, _, _ in placed if tick.kind == "trade"})
    )


def test_no_bar_loses_all_its_trades_and_what_was_not_yet_said_does_not_count(feed: Feed) -> None:
    feed.amendments = Amendments(3, corrected=0.0, cancelled=0.9)
    send(feed, 2500)
    minutes = {(tick.symbol, tick.event_us // MINUTE_US) for run in feed.ticks.values() for tick in run}
    assert {(bar.symbol, bar.start // MINUTE_US) for bar in feed.bars() if bar.interval == "1m"} == minutes
    quiet = Amendments(3, corrected=0.5, cancelled=0.5)
    sent = [tick(trade_id=str(number)) for number in range(50)]
    for each in sent:
        quiet.sent(each, each.event_us)
    assert quiet.applied(sent) == sent and quiet.bars(sent, []) == {"cancel": set(), "correction": set(), "must": set()}


def stored(**told: object) -> dict[str, object]:
    """A row of `bars` or `bar_revisions`, as the revisions are read."""
    symbol, interval, start = KEY
    row = {"symbol": symbol, "interval": interval, "start": start, "rev": 1, "state": "final", "reason": None}
    return row | {"known_at": told.get("rev", 1)} | told


@pytest.mark.parametrize(
    ("now", "before", "wrong"),
    [
        (stored(), [], ""),
        (stored(rev=2, state="amended", reason="correction"), [stored()], ""),
        (stored(state="amended", reason="late"), [], ""),  # it was missing altogether
        (stored(rev=2, state="amended", reason="correction"), [], "revisions [2]"),
        (stored(rev=3, state="amended", reason="late"), [stored(), stored(rev=1)], "revisions [1, 1, 3]"),
        (stored(rev=2, state="amended", reason="late", known_at=None), [stored()], "without known_at"),
        (stored(rev=2, state="amended", reason="late", known_at=0), [stored()], "known before"),
        (stored(rev=2, state="amended", reason=None), [stored()], "reason None"),
        (stored(rev=2, state="final", reason="late"), [stored()], "is final, reason late"),
        (stored(rev=2, state="amended", reason="gap-fill"), [stored()], "gap-fill"),
        (stored(rev=2, state="amended", reason="cancel"), [stored()], "there was none"),
        (stored(rev=2, state="amended", reason="late"), [stored(state="amended", reason="cancel")], "there was none"),
    ],
)
def test_amended_bar_has_its_revisions_its_reason_and_when_it_was_known(
    now: dict[str, object], before: list[dict[str, object]], wrong: str
) -> None:
    found = held([now], before, {"cancel": set(), "correction": {KEY}, "must": set()})
    assert found.right is not bool(wrong) and wrong in found.first


def test_bar_with_a_corrected_trade_has_to_be_amended() -> None:
    said = {"cancel": set(), "correction": {KEY}, "must": {KEY}}
    assert held([stored()], [], said).missing == 1
    assert held([stored(rev=2, state="amended", reason="correction")], [stored()], said).right


def test_market_lies_in_the_past_to_its_end() -> None:
    market, now_us = Market(seconds=3600, speed=10), 1_800_000_000_000_000
    end_us = market.start_us(now_us) + int(market.seconds * market.speed) * SECOND_US
    assert end_us + 60 * MINUTE_US < now_us and market.start_us(now_us) % (15 * MINUTE_US) == 0


@pytest.mark.parametrize("name", [name for name, _, _ in poisons()])
def test_poison_is_no_tick(name: str) -> None:
    (value,) = [value for each, _, value in poisons() if each == name]
    try:
        tick = msgspec.json.decode(value, type=Tick)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    with pytest.raises(InvalidTick):
        check(tick, now_us=1_800_000_000_000_000)


def test_comparison_notices_each_kind_of_difference() -> None:
    one, two = bar(), bar(volume=bar().volume + 1)
    expected = of_bars([one])
    assert held_against("x", expected, dict(expected)).right
    missing, extra = held_against("x", expected, {}), held_against("x", {}, expected)
    different = held_against("x", expected, of_bars([two]))
    assert (missing.missing, extra.extra, different.different) == (1, 1, 1)
    assert not (missing.right or extra.right or different.right)
    assert "AAPL 1m 2024-03-04T11:30:00Z" in different.first and "volume 100" in different.first
    assert counted("x", 3, 3).right and not counted("x", 3, 4).right and not counted("x", 4, 3).right


def test_expected_indicators_begin_with_the_first_bar() -> None:
    bars = [bar(start=MONDAY_US + minute * MINUTE_US, close=bar().close + minute) for minute in range(3)]
    found = expected_indicators(bars, settings())
    sma = [found["AAPL", "1m", each.start]["sma_2"] for each in bars]
    assert sma == [None, 190.75, 191.75]


def test_newest_are_the_last_of_each_series() -> None:
    rows = {(symbol, "1m", start): start for symbol in "AB" for start in range(5)}
    assert newest(rows, 2) == {(symbol, "1m", start): start for symbol in "AB" for start in (3, 4)}


def test_one_wrong_verdict_makes_the_run_wrong_and_none_does_too(tmp_path: Path) -> None:
    outcome = Outcome(7, 3, verdicts=[Verdict("bars", 5)])
    assert outcome.right and not Outcome(7, 3).right
    outcome.faults["kill live"] += 2
    outcome.verdicts.append(Verdict("redis", 5, missing=1, first="A is missing"))
    assert not outcome.right and told(outcome.verdicts[1]).startswith("WRONG redis")
    assert "NOT RIGHT" in report(outcome) and "seed 7" in report(outcome)
    outcome.save(tmp_path / "out.json")
    saved = json.loads((tmp_path / "out.json").read_text())
    assert saved["right"] is False and saved["faults"] == {"kill live": 2}
    assert [each["right"] for each in saved["verdicts"]] == [True, False]


def test_faults_reach_every_program_and_server_and_each_comes_before_any_comes_again() -> None:
    found = faults(CARRYING, long_outages=True, small_disk=True)
    assert {f"kill {name}" for name in (*CARRYING, *NAMES)} <= found.keys()
    assert {f"cut {name}, {mode}" for name in NAMES for mode in ("refuse", "silent")} <= found.keys()
    assert len(faults(CARRYING, long_outages=False, small_disk=False)) == len(found) - 4
    cards = deck(list(found), random.Random(3))
    drawn = [next(cards) for _ in range(2 * len(found))]
    assert set(drawn[: len(found)]) == set(drawn[len(found) :]) == found.keys()
    again = deck(list(found), random.Random(3))
    assert [next(again) for _ in range(2 * len(found))] == drawn


def test_programs_that_carry_data_are_programs_of_the_stack() -> None:
    assert set(CARRYING) <= {each.name for each in programs(LocalFeed(), "all")}


def test_fault_is_mended_when_the_run_is_stopped(feed: Feed) -> None:
    stopping = threading.Event()
    stopping.set()
    target = Target(Nobody(), Servers({}, {}), feed, None, random.Random(1), stopping)
    found = faults(CARRYING, long_outages=False, small_disk=False)
    words = found["clock of a producer"](target)
    assert feed.skew_us == 0 and "market time" in words
    assert found["kill live"](target) == "SIGKILL"
    assert OUTAGE_SECONDS[0] <= target.wait(OUTAGE_SECONDS) <= OUTAGE_SECONDS[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_disk_is_full_to_the_last_byte_and_free_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2) as mounted:
        if not mounted:
            pytest.skip("no file system may be mounted here")
        filler = Filler(tmp_path / "disk")
        assert filler.fill() == 2
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "checkpoint").write_bytes(b"x" * 5000)
        filler.free()
        (tmp_path / "disk" / "checkpoint").write_bytes(b"x" * 5000)
    assert not (tmp_path / "disk" / "checkpoint").exists(), "it is gone"


class Nobody:
    """Programs that are always there."""

    names = CARRYING

    def kill(self, *names: str) -> list[str]:
        return [names[0]]


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers each byte with itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(100):
                    connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_proxy_passes_on_refuses_and_stands_still(echo: int) -> None:
    def ask(client: socket.socket, seconds: float = 5) -> bytes:
        client.settimeout(seconds)
        client.sendall(b"x")
        return client.recv(1)

    with Proxy(free_port(), echo) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            assert ask(client) == b"x"
            proxy.set("silent")
            with pytest.raises(TimeoutError):
                ask(client, 0.3)
            proxy.set("open")
            client.settimeout(5)
            assert client.recv(1) == b"x", "what was on its way arrives"
            proxy.set("refuse")
            assert ended(client)
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            assert ended(client)
        proxy.set("open")
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            assert ask(client) == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")
def test_cable_to_a_namespace_is_pulled_and_plugged_in_again(tmp_path: Path) -> None:
    try:
        space = Namespace(9).__enter__()
    except ChaosError as error:
        pytest.skip(str(error))
    with contextlib.ExitStack() as held_open:
        held_open.callback(space.__exit__)
        server = Behind(Redis(tmp_path / "redis"), space)
        way = Cable(space, server._server.port)
        held_open.enter_context(way)
        held_open.callback(server.stop)
        server.start()
        assert server.pid is not None
        assert os.readlink(f"/proc/{server.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", way.port), 2)
        client = redis.Redis(host=way.host, port=way.port, socket_timeout=0.5, retry=None)
        assert client.ping()
        way.set("silent")
        with pytest.raises(redis.RedisError, match=r"[Tt]imeout"):
            client.ping()
        way.set("open")
        until(client.ping, "an answer")
        way.set("refuse")
        with pytest.raises(redis.RedisError):
            client.ping()
        way.set("open")
        until(client.ping, "an answer")
        server.kill()
        server.start()
        assert client.ping(), "a server that is started again is where it was"
        client.close()


def test_without_namespaces_the_reason_is_told_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def leave() -> Path:
        made.append(1)
        if len(made) > 1:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return Path("/proc/self/task/1/ns/net")

    monkeypatch.setattr("chaos.network._leave", leave)
    monkeypatch.setattr("chaos.network.Namespace._lay", lambda _: None)
    before = threading.active_count()
    with contextlib.ExitStack() as running:
        spaces, problem = _spaces(running)
        assert spaces == {} and problem == "no network namespace: Operation not permitted"
        assert len(made) == 2 and threading.active_count() == before, "the first one is gone too"


def until(works: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError):
            if works():
                return
        time.sleep(0.05)
    pytest.fail(f"no {what} within 15 s")


def ended(client: socket.socket) -> bool:
    """Whether the other side has closed, or reset, the connection."""
    client.settimeout(5)
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_broker_tells_its_clients_to_come_by_the_way_that_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.kafka.Kafka._format", lambda _: None)
    server = ReachedKafka(tmp_path)
    server.shown = "169.254.7.2:29999"
    server._prepare()
    lines = (tmp_path / "server.properties").read_text().splitlines()
    assert "advertised.listeners=PLAINTEXT://169.254.7.2:29999" in lines
    assert any(line.startswith(f"listeners=PLAINTEXT://127.0.0.1:{server.port},") for line in lines)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m chaos --minutes 4 --seed 7" in capsys.readouterr().out
