"""The command that fetches history: what is missing and only that, within the provider's quota."""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import timedelta

from tqdm import tqdm

from conf.settings import Settings
from core.clock import SystemClock
from core.errors import InputError
from core.intervals import MINUTE_US
from core.records import MIN_EVENT_US
from producers.feeds import FEEDS, Feed, feed_named
from producers.feeds.base import LENGTHS
from producers.history.fill import Backfill, check_feed
from producers.history.plan import TICKS, Item
from producers.history.sessions import AROUND_US, sessions
from producers.live.route import check_route
from producers.symbols import SymbolInfo, meant
from producers.times import iso, parse_time
from producers.topics import ensure_topics
from producers.turns import shared_turns
from stores.timescale import make_timescale

HELP = "fetch the history that is missing, within the provider's quota"
EXAMPLES = """examples:
  python -m producers backfill BTC-USD --from 2024-03-04 --to 2024-03-05
      a day of trades into the topic `ticks`; bars are made of them as of any late tick
  python -m producers backfill BTC-USD,ETH-USD --from 2024-03-04T12:00:00Z --dry-run
      what would be asked for, up to now
  python -m producers backfill AAPL MSFT --provider twelvedata --what bars --interval 5m --from 2024-01-01
      bars of the provider's own into the table `bars`; a bar that is there already stays
  python -m producers backfill AAPL --provider alphavantage --what bars --interval 1d --from 2020-01-01 --wait
      goes on the next day when the day's quota is used up

Times are RFC 3339, UTC where they do not say. Nothing is asked for while a market is closed, nor what an earlier
backfill has finished; gaps on record are asked for again. Interrupt it, kill it, or let the quota run out: the same
command goes on from there. Every process on the same database shares a provider's quota."""

SHOWN = 40  # rows of the plan
EARLIEST_BARS_US = -2_208_988_800_000_000  # 1900
DEFAULT_PROVIDER = "coinbase"  # of currency pairs: needs no key, and counts its trades


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m producers backfill`."""
    parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help="such as BTC-USD or AAPL; commas also separate")
    parser.add_argument("--from", dest="start", required=True, type=parse_time, metavar="TIME", help="first moment")
    parser.add_argument("--to", dest="end", type=parse_time, metavar="TIME", help="first moment after (default: now)")
    parser.add_argument("--provider", metavar="NAME",
                        help=f"one of docs/feeds.md (default: {DEFAULT_PROVIDER} for crypto)")  # fmt: skip
    parser.add_argument("--what", choices=("ticks", "bars"), help="(default: ticks where the provider has them)")
    parser.add_argument("--interval", choices=tuple(LENGTHS), default="1m", help="of bars (default: 1m)")
    parser.add_argument("--calendar", default="", metavar="NAME",
                        help="24/7, or one of exchange_calendars such as XNYS (default: the symbol's)")  # fmt: skip
    parser.add_argument("--around", type=float, default=AROUND_US / MINUTE_US, metavar="MINUTES",
                        help="ticks: also this long before each open and after each close, where auctions are reported;"
                        " 330 holds all hours of US stocks (default: 30)")  # fmt: skip
    parser.add_argument("--again", action="store_true", help="ask for everything, also for what was finished before")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and ask for nothing")
    parser.add_argument("--wait", action="store_true", help="when the day's quota is used up, wait for the next day")
    parser.add_argument("--rest-url", help=argparse.SUPPRESS)


def run(args: argparse.Namespace, settings: Settings) -> str:
    """Plan, and fill unless it is a dry run; tells what was done. Ctrl-C ends it with everything done so far kept."""
    now_us = SystemClock().now_us()
    end_us = now_us if args.end is None else args.end
    if args.start >= now_us:
        raise InputError(f"--from {iso(args.start)} is in the future")
    if args.start >= end_us:
        raise InputError(f"--from {iso(args.start)} is not before --to {iso(end_us)}")
    if args.around < 0:
        raise InputError("--around: minutes cannot be negative")
    infos = meant(args.symbols, settings)
    feed = feed_named(args.provider) if args.provider else default_feed(infos)
    what = args.what or ("ticks" if "trades" in feed.can.history else "bars")
    what = TICKS if what == "ticks" else f"bars:{args.interval}"
    if args.start < (earliest := MIN_EVENT_US if what == TICKS else EARLIEST_BARS_US):
        raise InputError(f"--from: there are no {what} before {iso(earliest)}")
    check_feed(feed, settings, what)
    if args.calendar:
        sessions(args.calendar, args.start, end_us)  # it is there, and covers the time
    _migrate(settings)
    around_us = round(args.around * MINUTE_US)
    with Backfill(
        feed, settings, what, calendar=args.calendar, around_us=around_us, rest_url=args.rest_url
    ) as backfill:
        plan = backfill.plan([info.symbol for info in infos], args.start, end_us, again=args.again)
        if args.dry_run:
            return plan_table(plan, feed)
        try:
            if plan:
                check_route(feed.name, args.rest_url or feed.rest_url)
                _fill(backfill, plan, settings, wait=args.wait)
            else:
                backfill.settle()
        except KeyboardInterrupt:
            return f"stopped: {backfill.progress}; the same command goes on from here"
    return str(backfill.progress)


def _fill(backfill: Backfill, plan: Sequence[Item], settings: Settings, *, wait: bool) -> None:
    async def filled() -> None:
        with tqdm(total=len(plan), unit="piece", disable=None) as bar:

            def begun(item: Item) -> None:
                bar.set_description(f"{item.symbol} {iso(item.start_us)}")
                bar.update(backfill.progress.pieces - bar.n)

            async with shared_turns(settings) as turns:
                await backfill.run(plan, turns, wait=wait, begun=begun)
                bar.update(backfill.progress.pieces - bar.n)

    if plan[0].what == TICKS:
        ensure_topics(settings)
    asyncio.run(filled())


def default_feed(symbols: Sequence[SymbolInfo]) -> type[Feed]:
    """The provider of currency pairs that needs no key. Raises InputError where somebody has to choose."""
    if all(info.asset_class == "crypto" for info in symbols):
        return feed_named(DEFAULT_PROVIDER)
    offers = sorted(feed.name for feed in FEEDS.values() if feed.can.history)
    raise InputError(f"say which provider with --provider: {', '.join(offers)}")


def plan_table(plan: Sequence[Item], feed: type[Feed]) -> str:
    """The plan for people: a line for each piece, and what it takes."""
    if not plan:
        return "nothing is missing"
    lines = [f"{'symbol':<14} {'what':<9} {'from':<21} {'to':<21} {'requests':>8}"]
    for item in plan[:SHOWN]:
        lines.append(
            f"{item.symbol:<14} {item.what:<9} {iso(item.start_us):<21} {iso(item.end_us):<21} {item.requests:>8,}"
        )
    if len(plan) > SHOWN:
        lines.append(f"… and {len(plan) - SHOWN:,} more")
    count = sum(item.requests for item in plan)
    lines.append(f"{len(plan):,} pieces, about {count:,} requests to {feed.name}, {_pace(count, feed)}")
    return "\n".join(lines)


def _pace(count: int, feed: type[Feed]) -> str:
    quota = feed.quota
    if quota is None:
        return "without a limit"
    if quota.daily is not None and count > quota.daily:
        return f"{-(-count // quota.daily):,} days at {quota.daily:,} a day"
    return f"{timedelta(seconds=round(count * quota.seconds / quota.requests))} at the least"


def _migrate(settings: Settings) -> None:
    """Make the tables that a database of an older version, or an empty one, does not have."""
    store = make_timescale(settings)
    try:
        store.setup()
    finally:
        store.close()
