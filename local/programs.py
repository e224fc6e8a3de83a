"""The process list of the stack: what runs on top of the servers."""

import sys
from dataclasses import dataclass
from pathlib import Path

from local import priority
from local.errors import LocalError
from local.supervisor import Program

FEEDS = ("simulator", "replay")
STREAM = ("./spark-submit.sh", "jobs/stream.py", "--queries")


@dataclass(frozen=True)
class Feed:
    """Where ticks come from: the simulator for ever, or a replay of recorded files to their end."""

    name: str = "simulator"
    data: tuple[Path, ...] = ()
    speed: str = "60"

    def check(self) -> None:
        """Raises LocalError when this is no feed, or there is nothing to replay."""
        if self.name not in FEEDS:
            raise LocalError(f"unknown feed {self.name!r}: one of {', '.join(FEEDS)}")
        if self.name == "replay" and not self.data:
            raise LocalError("the feed `replay` needs data: make up FEED=replay DATA=PATH, or --data PATH")
        for path in self.data:
            if not path.exists():
                raise LocalError(f"no such data to replay: {path}")


def programs(feed: Feed, ruleset: str) -> list[Program]:
    """In the order of starting; they are stopped in reverse, the feed first."""
    return [
        # Two drivers: a store that is down ends the second one's batches, and live goes on.
        Program("live", (*STREAM, "live")),
        Program("stores", (*STREAM, "final,archive"), nice=priority.STORES),
        _python("relay", "jobs.relay", nice=priority.RELAY),
        _python("api", "api"),
        _feed(feed, ruleset),
    ]


def _feed(feed: Feed, ruleset: str) -> Program:
    if feed.name == "simulator":
        return _python("feed", "producers", "simulate", "--symbols", "20", "--rate", "200")
    paths = [str(path.resolve()) for path in feed.data]
    return _python("feed", "producers", "replay", *paths, "--speed", feed.speed, "--ruleset", ruleset, once=True)


def _python(name: str, module: str, *args: str, once: bool = False, nice: int = 0) -> Program:
    return Program(name, (sys.executable, "-u", "-m", module, *args), once, nice)
