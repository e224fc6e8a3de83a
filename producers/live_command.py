"""The command that publishes a provider's live trades."""

import argparse
import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence

import structlog
from tqdm import tqdm

from conf.settings import Settings
from core.errors import InputError, TickstreamError
from core.intervals import SECOND_US
from core.records import Tick
from metrics import feeds
from metrics.pulled import Row
from producers.feeds import FEEDS, Feed, feed_named
from producers.http import Turns
from producers.live import GapLog, Stream
from producers.live.failover import Failover
from producers.live.feeder import Feeder, Runs
from producers.live.route import check_routes
from producers.publish import Publisher
from producers.symbols import meant
from producers.topics import ensure_topics
from producers.turns import shared_turns
from stores.gaps import LastTrade, PostgresGaps, Switch
from stores.requests import SharedTurns

HELP = "publish a provider's live trades"
EXAMPLES = """examples:
  python -m producers live coinbase BTC-USD ETH-USD
      both, now, until Ctrl-C; no key is needed
  python -m producers live binance BTC-USDT --seconds 60
      a minute of one symbol
  POLYGON_API_KEY=… python -m producers live polygon AAPL,MSFT
      a provider that wants a key says which variable holds it
  python -m producers live coinbase BTC-USD --backup kraken
      when coinbase is stale or gone, kraken's trades count, and no trade twice; back when coinbase is well again

The connection is watched by its data: a socket that is open and brings nothing, or no trade for five minutes of a
session, is opened anew. Trades that did not come are noted in the table `gaps` and asked for over REST; they go to the
same topic, so that bars are amended. Trades that come twice are sent once."""

MOST_AWAY_US = 24 * 3600 * SECOND_US
"""Trades since an earlier run are asked for when it ended no longer ago; after that it takes a backfill."""
LOOK_BACK_SECONDS = 8.0
_log = structlog.get_logger("producers.live")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m producers live`."""
    parser.add_argument("provider", metavar="PROVIDER", help=f"of {', '.join(live_names())}")
    parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help="such as BTC-USD or AAPL; commas separate, too")
    parser.add_argument("--backup", action="append", default=[], metavar="PROVIDER",
                        help="takes over when those before it fail; may be given again")  # fmt: skip
    parser.add_argument("--seconds", type=float, metavar="N", help="how long (default: until Ctrl-C)")


def live_names() -> list[str]:
    """The providers that can be streamed."""
    return sorted(name for name, feed in FEEDS.items() if feed.can.live)


def live_feed(name: str, settings: Settings) -> type[Feed]:
    """The provider, ready to be streamed. Raises InputError where it has no stream or a key is missing."""
    kind = feed_named(name)
    if not kind.can.live:
        raise InputError(f"{kind.name} has no live stream; those that have: {', '.join(live_names())}")
    kind(settings).check_keys()
    return kind


def run(args: argparse.Namespace, settings: Settings) -> str:
    """Stream as the options say; tells what was sent. Ctrl-C ends it, with everything flushed."""
    args.symbols = [info.symbol for info in meant(args.symbols, settings)]
    if args.seconds is not None and not args.seconds > 0:
        raise InputError("--seconds: not above zero")
    kinds = [live_feed(name, settings) for name in (args.provider, *args.backup)]
    if len(set(kinds)) < len(kinds):
        raise InputError("--backup: a provider cannot be its own backup")
    for kind in kinds:
        kind(settings).hello(args.symbols)  # it can write them all
    check_routes({kind.name: kind(settings).socket(args.symbols) for kind in kinds})
    ensure_topics(settings)
    started, turns = time.monotonic(), shared_turns(settings)
    gaps = PostgresGaps(settings.postgres_dsn.get_secret_value(), retry_seconds=settings.store_retry_seconds)
    with contextlib.closing(gaps), Publisher(settings) as publisher:
        feeder = Feeder(publisher, kinds[0].name)
        runs, found = streams(kinds, args.symbols, settings, deliver=feeder.deliver, gaps=gaps, turns=turns)
        _show_metrics(runs, found)
        stopped = asyncio.run(_stream(feeder, runs, found, gaps, turns, args.seconds))
        publisher.flush()
    seconds = time.monotonic() - started
    return (
        f"{'stopped: ' if stopped else ''}{told(found)}, {publisher.dead:,} refused to ticks.dead, in {seconds:.1f} s"
    )


def streams(
    kinds: Sequence[type[Feed]],
    symbols: Sequence[str],
    settings: Settings,
    *,
    deliver: Callable[[str, list[Tick]], None],
    gaps: GapLog,
    turns: Turns,
) -> tuple[Runs, list[Stream]]:
    """What is to be run, and the streams in it: one provider, or several of which the first that is well counts."""
    if len(kinds) > 1:
        failover = Failover(kinds, symbols, settings, deliver=deliver, gaps=gaps, turns=turns)
        return failover, failover.streams
    stream = Stream(kinds[0], symbols, settings, deliver=deliver, gaps=gaps, turns=turns)
    return stream, [stream]


def told(streams: Sequence[Stream]) -> str:
    """What the streams have done, for people."""
    parts: list[str] = []
    for stream in streams:
        filler = stream.filler
        parts.append(
            f"{stream.name} {stream.state.value}: {stream.ticks:,} ticks, {stream.repeats:,} repeats dropped,"
            f" {stream.connections:,} connections, gaps: {filler.filled:,} filled, {filler.lost:,} lost,"
            f" {filler.open:,} open"
        )
    return "; ".join(parts)


def _show_metrics(runs: Runs, streams: Sequence[Stream]) -> None:
    """From now on, whoever reads the metrics sees how the streams fare."""
    feeds.FEEDS.watch(lambda: [_numbers(stream) for stream in streams])
    feeds.STATE.watch(
        lambda: [
            ([stream.name, state], {"state": stream.state.value == state})
            for stream in streams
            for state in feeds.STATES
        ]
    )
    if isinstance(runs, Failover):
        feeds.FAILOVER.watch(lambda: [((), {"changes_total": len(runs.changes)})])


def _numbers(stream: Stream) -> Row:
    filler = stream.filler
    return [stream.name], {
        "ticks_total": stream.ticks,
        "repeats_total": stream.repeats,
        "connections_total": stream.connections,
        "messages_refused_total": stream.troubles.counts.total(),
        "gaps_filled_total": filler.filled,
        "gaps_lost_total": filler.lost,
        "gaps_open": filler.open,
        "session_open": stream.in_session,
    }


async def _stream(
    feeder: Feeder,
    runs: Runs,
    streams: Sequence[Stream],
    gaps: PostgresGaps,
    turns: SharedTurns,
    seconds: float | None,
) -> bool:
    """Run until the end; whether a signal ended it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await _continue(runs, streams, gaps)
    feeding = asyncio.create_task(feeder.run([runs], seconds))
    stopping = asyncio.create_task(stop.wait())
    beside = [asyncio.create_task(_resume(streams, gaps)), asyncio.create_task(_show(streams))]
    try:
        await asyncio.wait((feeding, stopping), return_when=asyncio.FIRST_COMPLETED)
        if feeding.done():
            feeding.result()
        return stop.is_set()
    finally:
        for task in (feeding, stopping, *beside):
            task.cancel()
        await asyncio.gather(feeding, stopping, *beside, return_exceptions=True)
        await turns.close()


async def _continue(runs: Runs, streams: Sequence[Stream], gaps: PostgresGaps) -> None:
    """Let the preferred provider's stream go on where earlier processes ended, so that what came since is asked for.

    Where a backup brought the newest trade it counted then, and nothing of that time is asked for.
    """
    preferred = streams[0]
    try:
        asking = asyncio.to_thread(_earlier, gaps, [stream.name for stream in streams], preferred.symbols)
        switches, last = await asyncio.wait_for(asking, LOOK_BACK_SECONDS)
    except (TickstreamError, TimeoutError) as error:
        _log.warning("trades since an earlier run are not asked for", error=str(error) or "the database is slow")
        return
    if isinstance(runs, Failover):
        runs.begin_after(switches, last)
    for trade in last:
        if trade.source == preferred.name:
            preferred.continue_after(trade.symbol, trade.event_us, trade.trade_id)


def _earlier(gaps: PostgresGaps, names: Sequence[str], symbols: Sequence[str]) -> tuple[list[Switch], list[LastTrade]]:
    since_us = time.time_ns() // 1000 - MOST_AWAY_US
    return gaps.switches(symbols, since_us), gaps.last_trades(names, symbols, since_us)


async def _resume(streams: Sequence[Stream], gaps: PostgresGaps) -> None:
    for stream in streams:
        try:
            stream.resume(await asyncio.to_thread(gaps.left_open, stream.name, stream.symbols))
        except TickstreamError as error:
            _log.warning("gaps of earlier runs are not looked at", provider=stream.name, error=str(error))


async def _show(streams: Sequence[Stream]) -> None:
    with tqdm(bar_format="{desc}", disable=None) as line:
        while True:
            line.set_description_str(told(streams))
            await asyncio.sleep(1.0)
