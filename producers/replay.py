"""Recorded ticks, published again: on their own clock or a shifted one, at any speed."""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from conf.settings import Settings
from core import rulesets
from core.clock import Clock, SystemClock
from core.intervals import MINUTE_US, SECOND_US
from core.rulesets import Ruleset
from producers.bulk import bodies, refused, stamp, with_suffix
from producers.heartbeat import Heartbeat
from producers.normalise import normalise
from producers.pace import Pace
from producers.publish import BULK_LINGER_MS, LIVE_LINGER_MS, Publisher
from producers.reading import TickFile, find_files, read_days
from producers.times import iso
from producers.topics import ensure_topics

HELP = "publish recorded ticks from Parquet or CSV files"
EXAMPLES = """examples:
  python -m producers replay ../shared/data/gold_futures_2013 --speed max
      everything at once, on its own clock; the last bars close at the end
  python -m producers replay ../shared/data/us_equity_2013 --ruleset us-equity --speed 60
      an hour a minute, auctions moved to the minutes they belong to
  python -m producers replay day1.parquet day2.csv --speed 1 --shift-clock
      as if it happened now

files: columns symbol, event_time (UTC), seq, price, size; optionally trade_id, exchange, conditions, suspicious.
A folder is searched for such files; bars and quotes in it are passed over."""

SHIFT_STEP_US = 15 * MINUTE_US  # a shifted clock keeps the minutes of every bar
LONGEST_BAR_US = 15 * MINUTE_US
CHUNK_ROWS = 200_000  # as JSON at once: some 50 MB


@dataclass
class Progress:
    """What a replay has done so far."""

    ticks: int = 0
    dead: int = 0
    seconds: float = 0.0
    first_us: int | None = None
    last_us: int | None = None
    symbols: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        if self.first_us is None or self.last_us is None:
            return "replayed no ticks"
        rate = self.ticks / self.seconds if self.seconds else 0
        return (
            f"replayed {self.ticks:,} ticks of {len(self.symbols):,} symbols, {iso(self.first_us)} to"
            f" {iso(self.last_us)}, {self.dead:,} refused to ticks.dead, in {self.seconds:.1f} s ({rate:,.0f}/s)"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m producers replay`."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file or folder of recorded ticks")
    parser.add_argument("--speed", type=parse_speed, default=1.0, metavar="N|max",
                        help="times real time, or max: as fast as the broker takes them (default: 1)")  # fmt: skip
    parser.add_argument("--shift-clock", action="store_true",
                        help="move event times by whole quarter hours so that the replay ends now: with --speed 1 the"
                        " first tick becomes now; faster, the past is caught up with by the end")  # fmt: skip
    parser.add_argument("--ruleset", metavar="NAME", help=f"which prints are auctions or suspicious: one of"
                        f" {', '.join(rulesets.names())} (default: the setting)")  # fmt: skip
    parser.add_argument("--no-close", action="store_true",
                        help="send no heartbeat beyond the end: the last bars stay open for more ticks")  # fmt: skip


def run(args: argparse.Namespace, settings: Settings) -> str:
    """Replay as the options say; tells what was done. Ctrl-C ends it early, with all that was sent flushed."""
    ruleset = rulesets.load(args.ruleset or settings.ruleset)
    files = find_files(args.paths)
    ensure_topics(settings)
    linger_ms = BULK_LINGER_MS if args.speed is None else LIVE_LINGER_MS
    progress = Progress()
    with Publisher(settings, linger_ms=linger_ms) as publisher:
        replay = Replay(publisher, settings, ruleset, files, args.speed, shift_clock=args.shift_clock)
        try:
            replay.publish(progress)
            if not args.no_close:
                replay.close_bars(progress)
        except KeyboardInterrupt:
            publisher.flush()
            return f"stopped: {progress}"
    return str(progress)


def parse_speed(text: str) -> float | None:
    """`max` as None, anything else as a positive factor."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a positive number nor max")
    return speed


def clock_shift_us(first_us: int, last_us: int, now_us: int, speed: float | None) -> int:
    """How far to move event times so that none is ever ahead of the wall clock and the last one is about now.

    At speed 1 the first event becomes now. Whole quarter hours, rounded towards the past.
    """
    duration_us = 0 if speed is None else int((last_us - first_us) / speed)
    shift = now_us + duration_us - last_us
    if speed is not None and speed < 1:
        shift = now_us - first_us  # slower than life: later ticks only fall further behind
    return shift - shift % SHIFT_STEP_US


class Replay:
    """One pass over some files."""

    def __init__(
        self,
        publisher: Publisher,
        settings: Settings,
        ruleset: Ruleset,
        files: Sequence[TickFile],
        speed: float | None,
        *,
        shift_clock: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._publisher = publisher
        self._settings = settings
        self._ruleset = ruleset
        self._files = files
        self._clock = clock or SystemClock()
        self._speed = speed
        self._first_us = min(file.first_us for file in files)
        self._shift_us = 0
        if shift_clock:
            last_us = max(file.last_us for file in files)
            self._shift_us = clock_shift_us(self._first_us, last_us, self._clock.now_us(), speed)
        self._heartbeat = Heartbeat(publisher, "replay")

    def publish(self, progress: Progress) -> None:
        """Publish every tick, a trading day at a time; `progress` is kept up to date throughout."""
        started = time.monotonic()
        pace = Pace(self._speed)
        zone = self._ruleset.session.time_zone if self._ruleset.session else "UTC"
        with tqdm(total=sum(file.rows for file in self._files), unit=" ticks", unit_scale=True, disable=None) as bar:
            for _, frame in read_days(self._files, zone):
                for count in self._publish_day(normalise(frame, self._ruleset), pace, progress):
                    bar.update(count)
                    bar.set_postfix_str(iso(progress.last_us or 0), refresh=False)
                    progress.seconds = time.monotonic() - started
        self._publisher.flush()
        progress.seconds = time.monotonic() - started

    def close_bars(self, progress: Progress) -> None:
        """Heartbeats beyond the end of every open bar, so that the last ones become final.

        None is sent ahead of the wall clock: the queries would take it for a stamp from the future.
        """
        if progress.last_us is None:
            return
        end_us = progress.last_us - progress.last_us % LONGEST_BAR_US + LONGEST_BAR_US
        event_us = end_us + int(self._settings.lateness_seconds * SECOND_US) + SECOND_US
        self._heartbeat.beat(min(event_us, self._clock.now_us()), self._clock.now_us())
        self._publisher.flush()

    def _publish_day(self, ticks: pd.DataFrame, pace: Pace, progress: Progress) -> Iterator[int]:
        due_us = ticks["event_us"].to_numpy() - self._first_us
        ticks["event_us"] += self._shift_us
        ticks["reported_us"] += self._shift_us
        ticks, due_us = self._without_refused(ticks, due_us, progress)
        progress.symbols.update(ticks["symbol"].unique())
        for start in range(0, len(ticks), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            yield from self._publish_rows(ticks.iloc[rows], due_us[rows], pace, progress)

    def _publish_rows(self, ticks: pd.DataFrame, due_us: np.ndarray, pace: Pace, progress: Progress) -> Iterator[int]:
        keys = [symbol.encode() for symbol in ticks["symbol"]]
        rows, times = bodies(ticks), ticks["event_us"].to_numpy()
        for start, end in pace.slices(due_us):
            now_us = self._clock.now_us()
            self._publisher.send_many(keys[start:end], with_suffix(rows[start:end], stamp(now_us)))
            if end > start:
                _note(progress, times[start], times[end - 1], end - start)
            if pace.speed is not None and end < len(times):
                reached_us = self._first_us + self._shift_us + pace.elapsed_us()
                self._heartbeat.beat_if_due(min(reached_us, int(times[end])), now_us)
            self._publisher.poll()
            yield end - start

    def _without_refused(
        self, ticks: pd.DataFrame, due_us: np.ndarray, progress: Progress
    ) -> tuple[pd.DataFrame, np.ndarray]:
        settings = self._settings
        problems = refused(ticks, settings.known_symbols, self._clock, settings.future_tolerance_us)
        if not problems:
            return ticks, due_us
        rows = list(problems)
        values = with_suffix(bodies(ticks.iloc[rows]), stamp(self._clock.now_us()))
        for row, value in zip(rows, values, strict=True):
            problem = problems[row]
            self._publisher.send_dead(str(ticks["symbol"].iloc[row]).encode(), value, problem.reason, str(problem))
        progress.dead += len(rows)
        kept = np.setdiff1d(np.arange(len(ticks)), rows)
        return ticks.iloc[kept].reset_index(drop=True), due_us[kept]


def _note(progress: Progress, first_us: int, last_us: int, count: int) -> None:
    progress.ticks += count
    progress.first_us = int(first_us) if progress.first_us is None else progress.first_us
    progress.last_us = int(last_us)
