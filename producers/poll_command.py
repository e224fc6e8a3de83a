"""The command that polls the latest prices for the API's polling jobs."""

import argparse
import asyncio
import signal

import structlog

from conf.settings import Settings
from producers.polled import PolledPrices
from producers.polling import PollingWorker
from producers.publish import Publisher
from producers.topics import ensure_topics
from producers.turns import shared_turns
from stores.polling import PollingJobs
from stores.prices import Prices
from stores.retry import retrying

HELP = "ask providers for the latest prices that the API's polling jobs name"
EXAMPLES = """examples:
  python -m producers poll
      until Ctrl-C; several of them share the jobs, and the providers' quotas
  curl -X POST 127.0.0.1:8000/api/v1/prices/poll -H 'Content-Type: application/json' \\
      -d '{"symbols": ["BTC-USD"], "interval": "5s", "provider": "coinbase"}'
      a job for it

A price that nobody has traded at since the last poll is not published again. A trade may be as old as a job's interval
when its poll finds it; so the heartbeats, which let bars close, stay behind by the longest interval there is. Beside a
feed that beats by itself, leave them out with --no-heartbeats."""

DATABASE_SECONDS = 5.0
DELIVERY_SECONDS = 20.0  # then the tick is polled again
_log = structlog.get_logger("producers.poll")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m producers poll`."""
    parser.add_argument("--no-heartbeats", action="store_true", help="another producer tells how far event time is")
    parser.add_argument("--base-url", metavar="URL", help=argparse.SUPPRESS)  # of every provider, for tests


def run(args: argparse.Namespace, settings: Settings) -> str:
    """Poll until Ctrl-C or SIGTERM; tells how often."""
    retrying("kafka", lambda: ensure_topics(settings), settings.store_retry_seconds)
    with Publisher(settings, delivery_timeout_seconds=DELIVERY_SECONDS) as publisher:
        return asyncio.run(_poll(args, settings, publisher))


async def _poll(args: argparse.Namespace, settings: Settings, publisher: Publisher) -> str:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    dsn = settings.postgres_dsn.get_secret_value()
    jobs, prices = PollingJobs(dsn, timeout=DATABASE_SECONDS), Prices(settings.redis_url.get_secret_value())
    await jobs.open()
    try:
        async with shared_turns(settings) as turns:
            polled = PolledPrices(publisher, prices, settings.redis_ttl_seconds)
            worker = PollingWorker(
                settings, jobs, polled, turns, heartbeats=not args.no_heartbeats, base_url=args.base_url
            )
            _log.info("polling jobs are followed", jobs="POST /api/v1/prices/poll", kafka=settings.kafka_bootstrap)
            await worker.run(stop)
    finally:
        await jobs.close()
        await prices.close()
    return str(worker)
