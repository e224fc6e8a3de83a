"""From live streams to Kafka: every tick validated and keyed by its symbol, and heartbeats whatever the market does."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from core.clock import Clock, SystemClock
from core.records import Tick
from producers.heartbeat import Heartbeat
from producers.publish import Publisher

POLL_SECONDS = 0.05


class Runs(Protocol):
    """A stream, or whatever stands for several of them."""

    async def run(self) -> None: ...


class Feeder:
    """Publishes what streams deliver. `source` names the heartbeats, whose event time is the wall clock."""

    def __init__(self, publisher: Publisher, source: str, clock: Clock | None = None) -> None:
        self.ticks: Counter[str] = Counter()
        self._publisher = publisher
        self._clock = clock or SystemClock()
        self._heartbeat = Heartbeat(publisher, source)

    def deliver(self, _name: str, ticks: list[Tick]) -> None:
        """Queue ticks; those that are none go to `ticks.dead`. Raises PublishError; waits while the queue is full."""
        for tick in ticks:
            if self._publisher.send(tick):
                self.ticks[tick.symbol] += 1

    async def run(self, streams: Sequence[Runs], seconds: float | None = None) -> None:
        """Run the streams, for ever or for so long. Raises what ends one of them, and PublishError."""
        tasks = [asyncio.create_task(stream.run()) for stream in streams]
        tasks.append(asyncio.create_task(self._serve()))
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self) -> None:
        """Delivery reports, and heartbeats also while no stream is live: the bars of what did come must close."""
        while True:
            now_us = self._clock.now_us()
            self._heartbeat.beat_if_due(now_us, now_us)
            self._publisher.poll()
            await asyncio.sleep(POLL_SECONDS)
