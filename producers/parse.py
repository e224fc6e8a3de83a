"""The command that turns recorded provider messages into ticks, offline."""

import argparse
import gzip
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tqdm import tqdm

from conf.settings import Settings
from core.errors import InputError, InvalidTick
from core.records import Tick
from core.validate import check
from producers.feeds import FEEDS, Feed, Parsed, SchemaChanged, feed_named
from producers.publish import encode

HELP = "turn recorded provider messages into ticks, offline"
EXAMPLES = """examples:
  python -m producers parse coinbase matches.jsonl
      ticks as JSON lines on standard output, a summary on standard error
  python -m producers parse binance stream.jsonl.gz > ticks.jsonl

A line is a provider's message, or a record around it: {"message": …, "recv_time": epoch seconds, "transport": "ws" or
"rest", "channel": …}. What cannot be read is counted and named, and does not stop the rest. received_us is 0 where a
record does not say when it came."""

ERRORS_SHOWN = 5
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. What is cut off there is no JSON, and counted as an error."""


class _Record(msgspec.Struct):
    message: msgspec.Raw
    recv_time: float | None = None
    transport: str = "ws"
    channel: str = ""


_record = msgspec.json.Decoder(_Record)


@dataclass
class Outcome:
    """What became of the messages."""

    messages: int = 0
    ticks: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.ignored.most_common())
        lines = [
            f"messages  {self.messages:,}",
            f"ticks     {self.ticks:,}",
            f"ignored   {self.ignored.total():,}{f' ({kinds})' if kinds else ''}",
            f"errors    {self.errors.total():,}",
            *(f"  {count:,} x {text}" for text, count in self.errors.most_common(ERRORS_SHOWN)),
        ]
        return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m producers parse`."""
    parser.add_argument("provider", metavar="PROVIDER", help=f"of {', '.join(sorted(FEEDS))}")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="JSON lines, plain or gzipped")


def run(args: argparse.Namespace, settings: Settings) -> str:
    """Write the ticks to standard output and what became of the messages to standard error.

    Raises InputError, after everything else was written, for files that cannot be read to their end.
    """
    kind, outcome, unread = feed_named(args.provider), Outcome(), list[str]()
    for path in args.files:
        try:
            _write(kind(settings), path, outcome)
        except InputError as error:
            unread.append(str(error))
    sys.stdout.buffer.flush()
    if outcome.messages or not unread:
        sys.stderr.write(f"{outcome}\n")
    if unread:
        raise InputError("; ".join(unread))
    return ""


def _write(feed: Feed, path: Path, outcome: Outcome) -> None:
    with tqdm(desc=path.name, unit=" messages", unit_scale=True, disable=None) as bar:
        for line in lines_of(path):
            for tick in take(feed, line, outcome):
                sys.stdout.buffer.write(encode(tick) + b"\n")
            bar.update()


def take(feed: Feed, line: bytes, outcome: Outcome) -> list[Tick]:
    """The valid ticks of one line, everything counted."""
    outcome.messages += 1
    try:
        parsed = _parsed(feed, line)
    except SchemaChanged as error:
        outcome.errors[str(error)] += 1
        return []
    outcome.ignored.update(parsed.ignored)
    outcome.errors.update(map(str, parsed.problems))
    good: list[Tick] = []
    for tick in parsed.ticks:
        try:
            check(tick)
            good.append(tick)
        except InvalidTick as problem:
            outcome.errors[f"{feed.name}: a trade of {tick.symbol!r} is no tick: {problem}"] += 1
    outcome.ticks += len(good)
    return good


def _parsed(feed: Feed, line: bytes) -> Parsed:
    """A record of ours around a message has `message` beside other fields; anything else is the message itself."""
    try:
        record = _record.decode(line)
    except msgspec.DecodeError:
        return feed.parse(line, 0)
    received_us = 0 if record.recv_time is None else round(record.recv_time * 1_000_000)
    if record.transport == "rest":
        return feed.parse_rest(record.channel, bytes(record.message), received_us)
    return feed.parse(bytes(record.message), received_us)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file that are not empty, cut at LONGEST_LINE. Raises InputError for one that cannot be read."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            ended = True
            while part := file.readline(LONGEST_LINE):
                if ended and part.strip():
                    yield part
                ended = part.endswith(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"{path}: cannot be read: {reason or error}") from None
