"""What reconciling amends and why, what it leaves alone, and what becomes of it when it is stopped halfway."""

import random
import shutil
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest
from prometheus_client import REGISTRY

from core.corrections import corrected
from core.errors import StoreUnavailable
from core.records import Tick
from jobs import reconciler as reconciler_module
from jobs.reconcile import main as command
from jobs.sinks import Sinks
from stores import amending
from tests.batches import make_bar
from tests.factories import MONDAY_US, tick
from tests.oracles import oracle_bars
from tests.reconciling import System, values
from tests.supervised import environment

pytestmark = pytest.mark.spark

MINUTE_US = 60_000_000


def trades(seed: int, minutes: int, count: int, first: int = 0) -> list[Tick]:
    """Trades of two symbols in order of time, with ids; `first` is the first minute and part of the ids."""
    rng = random.Random(seed)
    times = sorted(MONDAY_US + first * MINUTE_US + rng.randrange(minutes * MINUTE_US) for _ in range(count))
    return [
        tick(
            symbol=rng.choice(["AAA", "BBB"]),
            event_us=at,
            seq=n,
            trade_id=f"{first}-{n}",
            venue=rng.choice(["X", None]),
            price=f"{rng.randrange(9_000, 11_000) / 100}",
            size=str(rng.randrange(1, 500)),
            received_us=at + 1_000,
        )
        for n, at in enumerate(times)
    ]


def about(of: Tick, kind: str, after_us: int, **told: Any) -> Tick:
    """A correction or cancel of a trade, so long after it."""
    at = of.event_us + after_us
    bare = {"price": None, "size": None} if kind == "cancel" else {}
    fields = {"kind": kind, "event_us": at, "received_us": at + 500, "seq": of.seq + 100_000} | bare | told
    return msgspec.structs.replace(of, **fields)


def beside(of: Tick, name: str, **told: Any) -> Tick:
    """Another trade, a moment after this one."""
    return msgspec.structs.replace(of, trade_id=name, event_us=of.event_us + 1, seq=of.seq + 200_000, **told)


def expected(system: System) -> dict[tuple, dict]:
    """The bars of the clean tape, by the oracle."""
    return oracle_bars(corrected(system.placed))


def with_empty(system: System) -> dict[tuple, dict]:
    """The bars of the clean tape, and those that are empty now."""
    return {key: bar for key, bar in system.bars().items() if bar["trade_count"] == 0} | expected(system)


def reasons(run: Any) -> dict[tuple, str]:
    return {each.key: each.bar["reason"] for each in run.amended}


def of_trades(*ticks: Tick) -> set[tuple]:
    """The bars that these trades lie in."""
    lengths = {"1m": 1, "5m": 5, "15m": 15}
    return {
        (each.symbol, name, each.event_us - each.event_us % (length * MINUTE_US))
        for each in ticks
        for name, length in lengths.items()
    }


def run_of(system: System, seed: int = 1) -> list[Tick]:
    """Thirty minutes of trades, archived and closed, checked once."""
    made = trades(seed, 30, 150)
    system.archive(made)
    system.final(system.fold(until_us=MONDAY_US + 30 * MINUTE_US))
    assert system.reconcile().amended == []
    return made


def test_corrections_and_cancels_amend_their_bars(system: System) -> None:
    made = run_of(system)
    corrected_one, cancelled_one = made[20], made[90]
    system.archive(
        [
            about(corrected_one, "correct", MINUTE_US, price="250", size="7"),
            about(corrected_one, "correct", 2 * MINUTE_US, price="251.5", size="9"),
            about(cancelled_one, "cancel", MINUTE_US),
            about(tick(symbol="AAA", trade_id="unknown"), "cancel", 0),
        ]
    )
    run = system.reconcile()
    system.assert_stores_hold(expected(system))
    found = reasons(run)
    assert found.keys() == of_trades(corrected_one, cancelled_one)
    assert all(found[key] == "cancel" for key in of_trades(cancelled_one))
    assert all(found[key] == "correction" for key in of_trades(corrected_one) - of_trades(cancelled_one))
    assert system.reconcile().amended == [] and system.rows("SELECT * FROM unchecked_bars") == []
    # What is said again changes nothing; what is said anew does, as revision 3.
    system.archive([about(cancelled_one, "cancel", MINUTE_US, received_us=1)])
    assert system.reconcile().amended == []
    system.archive([about(corrected_one, "correct", 3 * MINUTE_US, price="252", size="9")])
    again = system.reconcile()
    assert reasons(again) == dict.fromkeys(of_trades(corrected_one), "correction")
    assert {each.bar["rev"] for each in again.amended} >= {3}
    system.assert_stores_hold(expected(system))


def test_a_new_checkpoint_makes_old_bars_again_and_no_history_is_lost(system: System) -> None:
    made = trades(3, 45, 260)
    late = made[150]
    system.archive([each for each in made if each is not late])
    bars = system.fold()
    old = [bar for bar in bars if bar.end <= MONDAY_US + 30 * MINUTE_US]
    assert any(each.start <= late.event_us < each.end for each in old)
    system.final(old)
    system.reconcile()
    system.archive([late])
    assert {each.bar["rev"] for each in system.reconcile().amended} == {2}
    shutil.rmtree(system.settings.checkpoint_path / "final")
    system.new_driver()
    # The topic begins at minute 15: bars as they were before the amendment, in two batches, and then what is new.
    for since, until in ((15, 25), (25, 45)):
        span = range(MONDAY_US + since * MINUTE_US + 1, MONDAY_US + until * MINUTE_US + 1)
        system.final([bar for bar in bars if bar.end in span and bar.start >= MONDAY_US + 15 * MINUTE_US])
    system.assert_stores_hold(expected(system))
    assert system.reconcile().amended == []
    system.assert_stores_hold(expected(system))


def test_a_bar_whose_trades_all_vanish_stays_empty(system: System) -> None:
    made = run_of(system)
    key = next(key for key in sorted(of_trades(*made)) if key[1] == "1m" and key[2] > MONDAY_US)
    inside = [each for each in made if key in of_trades(each)]
    system.archive([about(each, "cancel", MINUTE_US) for each in inside])
    system.reconcile()
    bar = system.bars()[key]
    told = {name: bar[name] for name in ("open", "high", "low", "close", "vwap", "volume", "notional", "trade_count")}
    assert told == dict.fromkeys(("open", "high", "low", "close", "vwap")) | {
        "volume": 0, "notional": 0, "trade_count": 0}  # fmt: skip
    assert (bar["rev"], bar["state"], bar["reason"]) == (2, "amended", "cancel")
    wanted = {key: bar, **expected(system)}
    assert {key: values(bar) for key, bar in system.bars().items()} == {key: values(bar) for key, bar in wanted.items()}
    system.assert_stores_hold(wanted)
    assert system.reconcile().amended == []
    # A trade that turns up there after all makes it a bar again.
    late = beside(inside[0], "late", price="100.5")
    system.archive([late])
    assert reasons(system.reconcile())[key] == "late"
    system.assert_stores_hold(expected(system))


def test_filled_gaps_late_ticks_and_missing_bars_have_their_reason(system: System) -> None:
    made = trades(2, 30, 150)
    lost = [
        each for each in made if 5 * MINUTE_US <= each.event_us - MONDAY_US < 8 * MINUTE_US and each.symbol == "AAA"
    ]
    late = [each for each in made if 20 * MINUTE_US <= each.event_us - MONDAY_US < 21 * MINUTE_US]
    assert lost and late
    system.archive([each for each in made if each not in lost and each not in late])
    system.final(system.fold())
    with psycopg.connect(system.settings.postgres_dsn.get_secret_value()) as connection:
        connection.execute(
            "INSERT INTO gaps (source, symbol, cause, start_us, end_us) VALUES ('test', 'AAA', 'disconnect', %s, %s)",
            [lost[0].event_us - 1, lost[-1].event_us + 1],
        )
    assert system.reconcile().amended == []
    before = system.bars()
    system.archive([*lost, *late])
    found = reasons(system.reconcile())
    system.assert_stores_hold(expected(system))
    assert found == dict.fromkeys(of_trades(*lost), "gap-fill") | dict.fromkeys(of_trades(*late), "late")
    bars = system.bars()
    assert {bars[key]["rev"] for key in found} == {1, 2}
    assert all(bars[key]["rev"] == (2 if key in before else 1) for key in found)


def test_older_revisions_are_kept_and_read_as_of_a_moment(system: System) -> None:
    made = run_of(system)
    key = min(of_trades(made[0]))
    seen = []
    for number in range(2):
        seen.append(system.read(lambda r: r.revisions(*key))[-1])
        late = beside(made[number], f"late-{number}", size=str(number + 1))
        system.archive([late])
        system.reconcile()
    history = system.read(lambda r: r.revisions(*key))
    assert [bar["rev"] for bar in history] == [1, 2, 3] and history[:2] == seen
    assert [bar["reason"] for bar in history] == [None, "late", "late"]
    known = [bar["known_at"] for bar in history]
    assert known == sorted(set(known))
    symbol, interval, start = key
    for at, wanted in [(known[0] - 1, []), *((moment, [bar]) for moment, bar in zip(known, history, strict=True))]:
        for moment in (at, at + 1 if wanted and at != known[-1] else at):
            found = system.read(lambda r, moment=moment: r.bars(symbol, interval, start, start + 1, 5, as_of_us=moment))
            assert found == [{name: bar[name] for name in bar if name != "known_at"} for bar in wanted]
    first = system.read(lambda r: r.bars(symbol, "1m", 0, 1 << 60, 4, as_of_us=known[1]))
    last = system.read(lambda r: r.bars(symbol, "1m", 0, 1 << 60, 4, True, as_of_us=known[1]))
    starts = sorted(k[2] for k in system.bars() if k[:2] == (symbol, "1m"))
    assert [bar["start"] for bar in first] == starts[:4] and [bar["start"] for bar in last] == starts[::-1][:4]


def test_other_rules_amend_and_bars_of_providers_stay_unless_the_log_covers_them(system: System) -> None:
    run_of(system)
    early, nowhere = MONDAY_US - 10 * MINUTE_US, dict.fromkeys(("kafka_partition", "first_offset", "last_offset"))
    system.final([make_bar(symbol=name, start=early, reason="provider", **nowhere) for name in ("CCC", "DDD")])
    inside = tick(symbol="CCC", event_us=early + 5, trade_id="c1", received_us=early + 5)
    before = tick(symbol="DDD", event_us=early - 5 * MINUTE_US, trade_id="d0", received_us=early)
    system.archive([inside, before, msgspec.structs.replace(before, event_us=early + 7, trade_id="d1")])
    system.reconcile()
    bars = system.bars()
    # The log begins within the bar of CCC; of DDD it has the whole minute.
    assert bars["CCC", "1m", early]["reason"] == "provider"
    assert (bars["DDD", "1m", early]["reason"], bars["DDD", "1m", early]["trade_count"]) == ("late", 1)

    with psycopg.connect(system.settings.postgres_dsn.get_secret_value()) as connection:
        connection.execute("UPDATE bars SET ruleset = 'all@0' WHERE symbol = 'AAA' AND \"interval\" = '1m'")
    changed = [key for key in bars if key[:2] == ("AAA", "1m")]
    assert reasons(system.reconcile()) == dict.fromkeys(changed, "rule-change")


class Crash(Exception):
    """The process ends here."""


def crash(*_: object, **__: object) -> None:
    raise Crash


CRASHES = {
    "before the bars are written": (amending, "write"),
    "between bars and indicators": (reconciler_module, "reindicated"),
    "before the other sinks": (Sinks, "write_amended"),
    "before it is settled": (amending, "settle"),
}


def test_a_run_that_dies_anywhere_is_finished_by_the_next(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_of(system)
    for number, (where, (owner, name)) in enumerate(CRASHES.items()):
        late = [beside(each, f"l{number}-{each.seq}", price="99.5") for each in made[5 * number : 5 * number + 4]]
        system.archive([*late, about(made[60 + number], "cancel", 1_000)])
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, crash)
            with pytest.raises(Crash):
                system.reconcile()
        if number % 2:
            system.new_driver()
        system.reconcile()
        bars = {key: values(bar) for key, bar in system.bars().items()}
        assert bars == {key: values(bar) for key, bar in with_empty(system).items()}, where
        assert system.rows("SELECT * FROM amended_series WHERE NOT settled") == [], where
    system.assert_stores_hold(with_empty(system))
    assert system.reconcile().amended == []


def test_a_sink_that_is_down_gets_its_bars_when_it_is_back(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_of(system)
    system.archive([beside(made[3], "late")])

    def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("redis", "told to fail")

    with monkeypatch.context() as patch:
        patch.setattr("stores.redis.RedisStore.write_again", down)
        patch.setattr(system.sinks, "_settings", system.settings.model_copy(update={"store_retry_seconds": 0}))
        with pytest.raises(StoreUnavailable):
            system.reconcile()
    assert system.reconcile().amended == []
    system.assert_stores_hold(expected(system))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same driver", "another process"])
def test_the_final_query_goes_on_from_the_amended_series(system: System, elsewhere: bool) -> None:
    made = run_of(system)
    more = trades(9, 20, 100, first=30)
    system.archive([*more, beside(made[3], "late", price="120")])
    system.final(system.fold(since_us=MONDAY_US + 30 * MINUTE_US, until_us=MONDAY_US + 35 * MINUTE_US))
    if elsewhere:
        sinks = Sinks(system.settings)
        apart = system.reconciler(final_here=False, sinks=sinks)
        done = apart.run_range(MONDAY_US, MONDAY_US + 5 * MINUTE_US)
        sinks.close()
        assert len(done.amended) == 3
    else:
        system.reconcile()
    repeated = system.fold(since_us=MONDAY_US + 30 * MINUTE_US, until_us=MONDAY_US + 35 * MINUTE_US)
    system.final(repeated, again=True)  # the batch before was not committed
    system.final(system.fold(since_us=MONDAY_US + 35 * MINUTE_US, until_us=MONDAY_US + 40 * MINUTE_US))
    system.new_driver()
    system.final(system.fold(since_us=MONDAY_US + 40 * MINUTE_US, until_us=MONDAY_US + 50 * MINUTE_US))
    system.reconcile()
    system.assert_stores_hold({key: bar for key, bar in expected(system).items() if key in system.bars()})
    assert len(system.bars()) > 100


def test_indicators_are_computed_again_from_snapshots_that_know_every_amendment(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run_of(system)
    first = system.rows('SELECT symbol, "interval", "start" FROM indicator_snapshots')
    assert len(first) == 6
    system.archive([beside(made[3], "early", price="130")])
    system.reconcile()  # what the snapshots were made of is not so any more; new ones take their place
    more = trades(9, 20, 100, first=30)
    later = more[60]
    system.archive(more)
    system.final(system.fold(since_us=MONDAY_US + 30 * MINUTE_US, until_us=MONDAY_US + 50 * MINUTE_US))
    system.archive([beside(later, "late", price="140")])
    read, bars_before = [], amending.bars_before

    def counted(*asked: Any) -> Any:
        found = bars_before(*asked)
        read.append(found.num_rows)
        return found

    monkeypatch.setattr(amending, "bars_before", counted)
    assert {key[0] for key in reasons(system.reconcile())} == {later.symbol}
    found = {key: bar for key, bar in expected(system).items() if key in system.bars()}
    system.assert_stores_hold(found)
    assert len(read) == 3 and max(read) < 20, "it began with a snapshot, not with the first bar"


def test_bars_that_the_log_lacks_ticks_of_wait(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler_module, "COUNT_EVERY", timedelta(0))
    made = trades(3, 15, 60)
    system.placed = [(each, 0, n) for n, each in enumerate(made)]
    system.final(system.fold())
    system.placed = []
    system.archive(made[:40])
    run = system.reconcile()
    assert run.amended == [] and run.behind > 0
    system.archive(made[40:])
    run = system.reconcile()
    assert run.amended == [] and run.behind == 0 and run.checked > 0
    assert system.rows("SELECT * FROM unchecked_bars") == []
    late = beside(made[5], "late")
    system.archive([late])
    assert {each.key for each in system.reconcile().amended} == of_trades(late)
    for name in ("AAA", "BBB"):
        count, wrong = sum(key[0] == name for key in system.bars()), 3 * (late.symbol == name)
        (day,) = system.read(lambda r, name=name: r.reconciled(name, MONDAY_US, MONDAY_US + 1))
        told = [day[field] for field in ("checked", "matched", "amended", "match_ratio")]
        assert told == [count, count - wrong, wrong, (count - wrong) / count]
        assert str(day["day"]) == "2024-03-04" and day["at"] > MONDAY_US
    (seen,) = system.read(lambda r: r.late_ticks(5))
    lateness = late.received_us - late.event_us
    assert seen | {"at": 0} == {"at": 0, "ticks": 1} | dict.fromkeys(("p50_us", "p90_us", "p99_us", "max_us"), lateness)


def test_amounts_are_compared_to_the_last_digit(system: System) -> None:
    run_of(system)
    with psycopg.connect(system.settings.postgres_dsn.get_secret_value()) as connection:
        connection.execute(
            "UPDATE bars SET notional = notional + %s WHERE symbol = 'AAA' AND \"interval\" = '5m'",
            [Decimal("0.0000000000000001")],
        )
    run = system.reconciler().run_range(MONDAY_US, MONDAY_US + 30 * MINUTE_US, ["AAA"], dry_run=True)
    wrong = {key for key in system.bars() if key[:2] == ("AAA", "5m")}
    assert {each.key for each in run.amended} == wrong
    assert all(bar["rev"] == 1 for bar in system.bars().values()), "a dry run changes nothing"
    assert system.reconciler().run_range(MONDAY_US, MONDAY_US + 30 * MINUTE_US, ["BBB"]).amended == []
    assert len(system.reconciler().run_range(MONDAY_US, MONDAY_US + 30 * MINUTE_US).amended) == len(wrong)
    assert system.reconciler().run_range(MONDAY_US, MONDAY_US + 30 * MINUTE_US).amended == []


def test_a_thread_beside_the_queries_amends_by_itself(system: System) -> None:
    made = run_of(system)
    system.settings = system.settings.model_copy(update={"reconcile_seconds": 0.1})
    running = system.reconciler()
    before = metric("amended_bars_total", reason="late")
    running.start()
    try:
        system.archive([beside(made[4], "late")])
        deadline = time.monotonic() + 30
        while not system.rows("SELECT FROM amended_series WHERE settled"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        running.stop()
    system.assert_stores_hold(expected(system))
    assert metric("amended_bars_total", reason="late") - before == 3
    day = "SELECT * FROM reconciled WHERE day = (SELECT max(day) FROM reconciled)"
    checked, matched = (sum(row[name] for row in system.rows(day)) for name in ("checked", "matched"))
    assert 0 < matched < checked and metric("match_ratio") == matched / checked


def test_trades_that_are_late_before_a_pause_are_in_their_bars_after_it(system: System) -> None:
    run_of(system)
    running = system.reconciler()
    running.run_recent()
    late = trades(7, 1, 3, first=35)
    system.archive(late)  # final has dropped them, and nothing is closed there yet
    assert running.run_recent().amended == []
    next_day = 24 * 60
    system.archive(trades(8, 5, 30, first=next_day))
    system.final(system.fold(since_us=MONDAY_US + next_day * MINUTE_US))
    assert reasons(running.run_recent()) == dict.fromkeys(of_trades(*late), "late")
    system.archive(later := trades(9, 1, 3, first=next_day + 35))
    assert running.run_recent().amended == []
    third_day = 2 * next_day
    system.archive(trades(10, 5, 30, first=third_day))
    system.final(system.fold(since_us=MONDAY_US + third_day * MINUTE_US))
    assert reasons(system.reconcile()) == dict.fromkeys(of_trades(*later), "late"), "also in a process just started"
    system.assert_stores_hold(expected(system))


def test_notes_of_bars_without_a_trade_end_with_a_look_at_their_range(system: System) -> None:
    run_of(system)
    nowhere = tick(symbol="AAA", trade_id="unknown", event_us=MONDAY_US - 200 * MINUTE_US)
    system.archive([about(nowhere, "cancel", 0)])
    system.reconcile()
    assert len(system.rows("SELECT * FROM unchecked_bars")) == 3, "older than what is looked at unasked"
    assert system.reconciler().run_range(MONDAY_US - 210 * MINUTE_US, MONDAY_US - 180 * MINUTE_US).amended == []
    assert system.rows("SELECT * FROM unchecked_bars") == []


def test_last_bars_of_a_day_are_counted_though_it_was_just_counted(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler_module, "COUNT_EVERY", timedelta(seconds=5))
    run_of(system)
    running = system.reconciler()
    system.archive(trades(9, 5, 30, first=30))
    system.final(system.fold(since_us=MONDAY_US + 30 * MINUTE_US))
    deadline = time.monotonic() + 30
    while (counted := system.rows("SELECT sum(checked)::int AS bars FROM reconciled")) != [
        {"bars": len(system.bars())}
    ]:
        assert time.monotonic() < deadline, counted
        running.run_recent()
        time.sleep(0.2)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"tickstream_reconcile_{name}", labels) or 0.0


def test_the_command_says_what_it_amends(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name, value in environment(system.settings).items():
        monkeypatch.setenv(name, value)
    made = run_of(system)
    late = beside(made[0], "late", price="500")
    system.archive([late])
    asked = ["--from", "2024-03-04T11:30", "--to", "2024-03-04T13:30:00+01:00", "--symbols", late.symbol]
    before = system.bars()
    assert command([*asked, "--dry-run"]) == 0
    told = capsys.readouterr().out.splitlines()[-4:]
    assert told[-1].endswith("bars checked, 3 would be amended") and system.bars() == before
    assert command(asked) == 0
    again = capsys.readouterr().out.splitlines()[-4:]
    assert again[:-1] == told[:-1] and again[-1].endswith("3 amended")
    assert all(" late: rev 1: O " in line and "-> rev 2: O" in line and " H 500" in line for line in told[:-1])
    system.assert_stores_hold(expected(system))
    assert command(["--from", "2024-03-05", "--to", "2024-03-04"]) == 1
    assert capsys.readouterr().err == "reconcile: --from is not before --to\n"


def test_one_run_at_a_time(system: System) -> None:
    run_of(system)
    with system.reconciler()._opened() as other:
        assert other.lock(wait=False)
        assert system.reconciler().run_recent() is None
    assert system.reconciler().run_recent() is not None
