"""One run: start the stack, feed it, break it again and again, let it come to rest, and compare."""

import contextlib
import json
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from chaos.check import Checks
from chaos.disk import Filler, small_disk
from chaos.faults import Target, deck, faults
from chaos.feed import Feed, Market
from chaos.programs import Programs
from chaos.revisions import by_reason
from chaos.servers import Servers, started
from chaos.truth import Database, Verdict
from conf.settings import Settings
from core.clock import SystemClock
from local.jars import ensure_jars
from local.server import free_port
from producers.topics import ensure_topics
from stores.timescale import make_timescale

SETTLE_SECONDS = (3.0, 9.0)
STUCK_SECONDS = 300.0
TOGETHER = 0.2
LOOK_EVERY = 6


@dataclass
class Outcome:
    """What a run did and found."""

    seed: int
    minutes: float
    faults: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    network: str = ""
    """What was cut."""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        return bool(self.verdicts) and all(each.right for each in self.verdicts)

    def save(self, path: Path) -> None:
        known = {name: getattr(self, name) for name in self.__dataclass_fields__}
        verdicts = [asdict(each) | {"right": each.right} for each in self.verdicts]
        path.write_text(json.dumps(known | {"verdicts": verdicts, "right": self.right}, indent=1) + "\n")


@dataclass(frozen=True)
class Plan:
    """How a run is to be; `drain_seconds` is how long the stack may take to come to rest."""

    minutes: float
    seed: int
    market: Market
    everything: bool = False
    drain_seconds: float = 420.0


def run(plan: Plan, say: Callable[[str], None], keep: bool = False) -> Outcome:
    """Raises LocalError and ChaosError when the suite itself cannot go on; what it finds is in the outcome."""
    outcome = Outcome(plan.seed, plan.minutes)
    began = time.monotonic()
    ensure_jars()
    folder = Path(tempfile.mkdtemp(prefix="tickstream-chaos-"))
    folder.chmod(0o711)  # PostgreSQL may run under an account of its own
    try:
        with contextlib.ExitStack() as held:
            _whole(plan, folder, outcome, say, held)
    finally:
        outcome.seconds = round(time.monotonic() - began, 1)
        _remove(folder, keep or not outcome.right, say)
    return outcome


def _whole(plan: Plan, folder: Path, outcome: Outcome, say: Callable[[str], None], held: contextlib.ExitStack) -> None:
    servers = held.enter_context(started(folder))
    settings = _settings(servers, folder)
    outcome.network = servers.ways["kafka"].how
    if servers.problem:
        outcome.left_out.append(f"the network between namespaces: {servers.problem}; a TCP proxy was cut instead")
    on_disk = held.enter_context(small_disk(settings.checkpoint_path))
    if not on_disk:
        outcome.left_out.append("full disk of the checkpoints: no file system may be mounted here")
    ensure_topics(settings)
    store = make_timescale(settings)
    store.setup()
    store.close()
    feed = Feed(settings, plan.market, SystemClock().now_us())
    held.callback(feed.close)
    programs = held.enter_context(Programs(settings, folder / "programs.log", plan.everything))
    say(f"a stack in {folder}, {plan.market.rate:g} ticks/s, seed {plan.seed}; its output: programs.log")
    say(f"the network that is cut: {outcome.network}")
    feed.start()
    filler = Filler(settings.checkpoint_path) if on_disk else None
    target = Target(programs, servers, feed, filler, random.Random(plan.seed), threading.Event())
    _wait_for_bars(settings, feed, 0)
    stuck = _break(plan, settings, target, outcome, say)
    say("the feed ends; waiting until everything has come to rest")
    feed.stop()
    feed.close_bars()
    outcome.sent = {**feed.counts, **feed.amendments.counts, "ticks that count": feed.sent, "refused": feed.refused}
    checks = Checks(settings, feed, f"http://127.0.0.1:{settings.api_port}", folder)
    outcome.verdicts.append(stuck or checks.drain(plan.drain_seconds, say))
    for verdict in checks.verdicts(60):
        say(told(verdict))
        outcome.verdicts.append(verdict)
    outcome.starts = programs.starts()
    outcome.revisions = by_reason(Database(settings))


def _break(
    plan: Plan, settings: Settings, target: Target, outcome: Outcome, say: Callable[[str], None]
) -> Verdict | None:
    """One fault after another, sometimes two at once, until the time is up; a verdict when the stack got stuck."""
    all_faults = faults(target.programs.names, plan.minutes >= 15, target.filler is not None)
    cards = deck(list(all_faults), target.rng)
    until = time.monotonic() + plan.minutes * 60
    while time.monotonic() < until:
        target.feed.check()
        before = newest_bar(settings)
        chosen = [next(cards) for _ in range(2 if target.rng.random() < TOGETHER else 1)]
        done = _at_once({name: all_faults[name] for name in dict.fromkeys(chosen)}, target)
        for name, words in done.items():
            outcome.faults[name] += 1
            outcome.log.append(f"{plan.minutes * 60 - (until - time.monotonic()):.0f} s: {name}: {words}")
            say(outcome.log[-1])
        target.wait(SETTLE_SECONDS)
        if outcome.faults.total() % LOOK_EVERY == 0:
            problem = _wait_for_bars(settings, target.feed, before)
            if problem is not None:
                return problem
    return None


def _at_once(chosen: dict[str, Any], target: Target) -> dict[str, str]:
    """What each of them says; a failure of a fault itself is raised."""
    done: dict[str, str] = {}
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            done[name] = chosen[name](target)
        except BaseException as error:  # told by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return done


def _wait_for_bars(settings: Settings, feed: Feed, before: int) -> Verdict | None:
    """Until a bar newer than `before` is stored; a verdict when none comes."""
    deadline = time.monotonic() + STUCK_SECONDS
    while newest_bar(settings) <= before:
        feed.check()
        if time.monotonic() > deadline:
            return Verdict("moving", 1, first=f"no new bar within {STUCK_SECONDS:.0f} s although nothing is broken")
        time.sleep(1)
    return None


def newest_bar(settings: Settings) -> int:
    """The start of the newest stored bar, in microseconds; 0 without any, or while nobody answers."""
    with contextlib.suppress(psycopg.Error):
        sql = "SELECT coalesce((extract(epoch FROM max(start)) * 1000000)::bigint, 0) FROM bars"
        return Database(settings).count(sql)
    return 0


def told(verdict: Verdict) -> str:
    """A verdict in one line."""
    head = f"{'ok   ' if verdict.right else 'WRONG'} {verdict.what:<26} {verdict.compared:>9,} compared"
    if verdict.right:
        return head
    counts = f"{verdict.missing:,} missing, {verdict.extra:,} extra, {verdict.different:,} different"
    return f"{head}: {counts}: {verdict.first}"


def _settings(servers: Servers, folder: Path) -> Settings:
    urls = servers.urls()
    return Settings(
        kafka_bootstrap=urls["KAFKA_BOOTSTRAP"],
        postgres_dsn=SecretStr(urls["POSTGRES_DSN"]),
        redis_url=SecretStr(urls["REDIS_URL"]),
        data_path=folder / "data",
        api_port=free_port(),
        metrics_port=0,
        live_checkpoint_seconds=15,
        archive_trigger_ms=1000,
        lake_trigger_seconds=5,
        store_retry_seconds=5,
        redis_ttl_seconds=86_400,
        final_rest_seconds=0.5,  # market time is short
        reconcile_seconds=5,
        reconcile_minutes=10_000,
        backup_path=folder / "backups",
    )


def _remove(folder: Path, keep: bool, say: Callable[[str], None]) -> None:
    if keep:
        say(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
