"""What is done to a stack: name -> function. Each leaves everything mended behind, but for what has to recover."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import psutil

from chaos.disk import Filler
from chaos.feed import Feed
from chaos.proxy import Mode
from chaos.servers import NAMES, Startable, Way
from core.intervals import SECOND_US

OUTAGE_SECONDS = (4.0, 15.0)
LONG_OUTAGE_SECONDS = (60.0, 90.0)
SKEW_SECONDS = (20, 120)


class Killable(Protocol):
    """Programs by name."""

    names: list[str]

    def kill(self, *names: str) -> list[str]: ...


class Breakable(Protocol):
    """Servers by name, and the way to each."""

    held: dict[str, Startable]
    ways: dict[str, Way]

    def pause(self, name: str) -> list[psutil.Process]: ...

    def resume(self, stopped: list[psutil.Process]) -> None: ...


@dataclass
class Target:
    """What faults may reach. `filler` is None where no small disk could be had."""

    programs: Killable
    servers: Breakable
    feed: Feed
    filler: Filler | None
    rng: random.Random
    stopping: threading.Event

    def wait(self, span: tuple[float, float]) -> float:
        """Let a fault last for a random time of a span, less when the run is stopped; the seconds."""
        seconds = self.rng.uniform(*span)
        self.stopping.wait(seconds)
        return seconds


Fault = Callable[[Target], str]


def faults(programs: Sequence[str], long_outages: bool, small_disk: bool) -> dict[str, Fault]:
    """All that can be done here. A fault says in words what it did."""
    found: dict[str, Fault] = {f"kill {name}": partial(_kill, name) for name in programs}
    for name in NAMES:
        found[f"kill {name}"] = partial(_kill_server, name)
        found[f"pause {name}"] = partial(_pause, name, OUTAGE_SECONDS)
        for mode in ("refuse", "silent"):
            found[f"cut {name}, {mode}"] = partial(_cut, name, mode)
    found["restart kafka"] = _restart_kafka
    found["kill every program at once"] = _kill_all
    found["clock of a producer"] = _skew
    found["poison"] = _poison
    if small_disk:
        found["full disk of the checkpoints"] = _fill_disk
    if long_outages:
        found |= {f"pause {name} for long": partial(_pause, name, LONG_OUTAGE_SECONDS) for name in NAMES}
    return found


def deck(names: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Names for ever, shuffled: each comes once before any comes again."""
    while True:
        yield from rng.sample(list(names), len(names))


def _kill(name: str, target: Target) -> str:
    return "SIGKILL" if target.programs.kill(name) else "was just being restarted"


def _kill_all(target: Target) -> str:
    return f"SIGKILL to {', '.join(target.programs.kill(*target.programs.names))}"


def _kill_server(name: str, target: Target) -> str:
    server = target.servers.held[name]
    server.kill()
    seconds = target.wait((0.5, 5.0))
    server.start()
    return f"SIGKILL, {seconds:.1f} s away"


def _restart_kafka(target: Target) -> str:
    began = time.monotonic()
    server = target.servers.held["kafka"]
    server.stop()
    server.start()
    return f"stopped and started, {time.monotonic() - began:.1f} s away"


def _pause(name: str, span: tuple[float, float], target: Target) -> str:
    stopped = target.servers.pause(name)
    try:
        return f"SIGSTOP for {target.wait(span):.1f} s"
    finally:
        target.servers.resume(stopped)


def _cut(name: str, mode: Mode, target: Target) -> str:
    way = target.servers.ways[name]
    way.set(mode)
    try:
        return f"{way.how}, no network for {target.wait(OUTAGE_SECONDS):.1f} s"
    finally:
        way.set("open")


def _skew(target: Target) -> str:
    seconds = target.rng.choice((-1, 1)) * target.rng.randint(*SKEW_SECONDS)
    target.feed.skew_us = seconds * SECOND_US
    try:
        lasted = target.wait(OUTAGE_SECONDS)
    finally:
        target.feed.skew_us = 0
    return f"{seconds:+d} s of market time for {lasted:.1f} s"


def _poison(target: Target) -> str:
    return target.feed.poison(target.rng)


def _fill_disk(target: Target) -> str:
    assert target.filler is not None
    until = time.monotonic() + target.rng.uniform(*OUTAGE_SECONDS)
    began, taken = time.monotonic(), 0
    try:
        # Again and again: what is deleted meanwhile must not be room.
        while time.monotonic() < until and not target.stopping.wait(0.2):
            taken = target.filler.fill()
    finally:
        target.filler.free()
    return f"{taken} MB taken for {time.monotonic() - began:.1f} s"
