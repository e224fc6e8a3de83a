"""The producer under test of `benchmarks feed`: a live stream into the broker, timed from the first frame to the last
acknowledgement.

`python -m benchmarks.feed_client MODE LAYOUT URL TRADES SYMBOLS` prints one JSON line. MODE is `stream`, the producer
as it ships, or `plain`: json.loads, json.dumps and produce, without validation, repeats, gaps or exact numbers.
"""

import asyncio
import json
import sys
import time

from confluent_kafka import Producer
from websockets.asyncio.client import connect

from benchmarks.frames import symbols
from conf.kafka import kafka_client
from conf.settings import Settings, load_settings
from core.records import Tick
from producers.feeds import feed_named
from producers.live import MemoryGaps, Stream
from producers.publish import Publisher

POLL_TICKS = 2_000


class Timed:
    """Counts what was handed over since the first frame."""

    def __init__(self, trades: int) -> None:
        self.trades = trades
        self.count = 0
        self.started: float | None = None
        self.cpu = 0.0
        self.done = asyncio.Event()

    def add(self, count: int) -> None:
        if self.started is None:
            self.started, self.cpu = time.perf_counter(), time.process_time()
        self.count += count
        if self.count >= self.trades:
            self.done.set()

    def result(self, acknowledged: int) -> dict[str, float]:
        seconds = time.perf_counter() - (self.started or 0.0)
        cpu = time.process_time() - self.cpu
        return {
            "ticks": acknowledged,
            "seconds": round(seconds, 2),
            "ticks_per_s": round(acknowledged / seconds),
            "cpu_us_per_tick": round(cpu / acknowledged * 1e6, 2),
        }


async def stream(settings: Settings, layout: str, url: str, timed: Timed, names: list[str]) -> dict[str, float]:
    gaps = MemoryGaps()
    with Publisher(settings) as publisher:

        def deliver(_: str, ticks: list[Tick]) -> None:
            for tick in ticks:
                publisher.send(tick)
            if timed.count // POLL_TICKS != (timed.count + len(ticks)) // POLL_TICKS:
                publisher.poll()
            timed.add(len(ticks))

        made = Stream(feed_named(layout), names, settings, deliver=deliver, gaps=gaps, socket_url=url)
        running = asyncio.create_task(made.run())
        waiting = asyncio.create_task(timed.done.wait())
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        publisher.flush()
        return timed.result(publisher.accepted - publisher.failed) | {"gaps": len(gaps.gaps)}


async def plain(settings: Settings, layout: str, url: str, timed: Timed) -> dict[str, float]:
    producer = Producer(
        {
            **kafka_client(settings),
            "acks": "all",
            "linger.ms": 2,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    topic = settings.topic("ticks")
    async with connect(url, compression=None) as socket:
        await socket.send("{}")
        while not timed.done.is_set():
            message = json.loads(await socket.recv())
            trades = [message] if layout == "coinbase" else message["data"]
            for trade in trades:
                producer.produce(topic, json.dumps(trade).encode(), trade.get("product_id", trade.get("symbol")))
            producer.poll(0)
            timed.add(len(trades))
        producer.flush()
        return timed.result(timed.count) | {"gaps": 0}


def main() -> None:
    mode, layout, url, trades, count = sys.argv[1:]
    settings, timed = load_settings(env_file=None), Timed(int(trades))
    if mode == "plain":
        found = asyncio.run(plain(settings, layout, url, timed))
    else:
        found = asyncio.run(stream(settings, layout, url, timed, symbols(int(count))))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
