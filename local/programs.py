"""The process list of the stack: what runs on top of the servers."""

import sys
from dataclasses import dataclass
from pathlib import Path

from conf.settings import Settings, load_settings
from core.sessions import ALWAYS_OPEN
from local import priority
from local.errors import LocalError
from local.supervisor import Program

OFFLINE = ("simulator", "replay")
CRYPTO, EQUITY = ("BTC-USD", "ETH-USD"), ("AAPL", "MSFT")
# Where the most traded pairs are others.
PAIRS = {
    "binance": ("BTC-USDT", "ETH-USDT"),
    "binance_us": ("BTC-USDT", "ETH-USDT"),
    "binance_futures": ("BTC-USDT-PERP", "ETH-USDT-PERP"),
}
STREAM = ("./spark-submit.sh", "jobs/stream.py", "--queries")


@dataclass(frozen=True)
class Feed:
    """Where ticks come from: the simulator or a provider's live stream for ever, or recorded files to their end."""

    name: str = "simulator"
    data: tuple[Path, ...] = ()
    speed: str = "60"
    symbols: tuple[str, ...] = ()
    """What to stream, canonical; none = the provider's `default_symbols`."""
    backup: tuple[str, ...] = ()
    """Providers that take over when it fails, in order."""

    @property
    def live(self) -> bool:
        return self.name not in OFFLINE

    def check(self, settings: Settings | None = None) -> None:
        """Raises LocalError when this is no feed, or there is nothing to replay.

        Of a live one, InputError when a key is missing or a symbol is none, and NoRoute when the provider cannot be
        reached from here.
        """
        if self.live:
            self._check_provider(settings or load_settings())
            return
        if self.name == "replay" and not self.data:
            raise LocalError("the feed `replay` needs data: make up FEED=replay DATA=PATH, or --data PATH")
        for path in self.data:
            if not path.exists():
                raise LocalError(f"no such data to replay: {path}")

    def _check_provider(self, settings: Settings) -> None:
        from producers.live.route import check_routes  # sockets, and much else that the other feeds do without
        from producers.live_command import live_feed, live_names
        from producers.symbols import meant

        for name in (self.name, *self.backup):
            if name not in live_names():
                raise LocalError(f"unknown feed {name!r}: one of {', '.join((*OFFLINE, *live_names()))}")
        kinds = [live_feed(name, settings) for name in (self.name, *self.backup)]
        meant(self.streamed, settings)
        check_routes({kind.name: kind(settings).socket(self.streamed) for kind in kinds})

    @property
    def streamed(self) -> tuple[str, ...]:
        return self.symbols or default_symbols(self.name)


def default_symbols(name: str) -> tuple[str, ...]:
    """Two that every account of a provider may have."""
    from producers.feeds import feed_named

    return PAIRS.get(name) or (CRYPTO if feed_named(name).calendar == ALWAYS_OPEN else EQUITY)


def programs(feed: Feed, ruleset: str) -> list[Program]:
    """In the order of starting; they are stopped in reverse, the feed first."""
    return [
        # Two drivers: a store that is down ends the second one's batches, and live goes on.
        Program("live", (*STREAM, "live")),
        Program("stores", (*STREAM, "final,archive,reconcile"), nice=priority.STORES),
        _python("relay", "jobs.relay", nice=priority.RELAY),
        _python("ticks", "jobs.tick_relay", nice=priority.RELAY),
        *_predictor(feed),
        *_scheduler(feed),
        _python("alerts", "alerts", "serve", nice=priority.RELAY, optional=True),
        _python("api", "api"),
        _python("dashboard", "dashboard"),
        _python("poll", "producers", "poll", "--no-heartbeats"),  # the feed beats
        _feed(feed, ruleset),
    ]


def _predictor(feed: Feed) -> list[Program]:
    # Of recorded ticks every outcome is known already, so it would say nothing.
    return [] if feed.name == "replay" else [_python("predictor", "ml", "serve", nice=priority.STORES, optional=True)]


def _scheduler(feed: Feed) -> list[Program]:
    # Recorded ticks may be older than anything is kept.
    return [] if feed.name == "replay" else [_python("schedule", "jobs.schedule", nice=priority.STORES, optional=True)]


def _feed(feed: Feed, ruleset: str) -> Program:
    if feed.name == "simulator":
        return _python("feed", "producers", "simulate", "--symbols", "20", "--rate", "200")
    if feed.live:
        backup = [word for name in feed.backup for word in ("--backup", name)]
        return _python("feed", "producers", "live", feed.name, *feed.streamed, *backup)
    paths = [str(path.resolve()) for path in feed.data]
    return _python("feed", "producers", "replay", *paths, "--speed", feed.speed, "--ruleset", ruleset, once=True)


def _python(name: str, module: str, *args: str, once: bool = False, nice: int = 0, optional: bool = False) -> Program:
    return Program(name, (sys.executable, "-u", "-m", module, *args), once, nice, optional)
