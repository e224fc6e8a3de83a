"""The simulator's command: sends the blocks of `producers.simulator`, live or as history, and notes the right bars."""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from conf.settings import Settings
from core import rulesets
from core.clock import Clock, SystemClock
from core.errors import InputError
from core.intervals import SECOND_US
from producers.bulk import stamp_both, with_suffix
from producers.expected import Ledger
from producers.heartbeat import Heartbeat
from producers.market import pick_symbols
from producers.pace import Pace
from producers.publish import BULK_LINGER_MS, LIVE_LINGER_MS, Publisher
from producers.simulator import MAX_RATE, SOURCE, Block, Emission, SimulatorConfig, absolute_event_us, blocks, emissions
from producers.times import parse_time
from producers.topics import ensure_topics

HELP = "publish the ticks of a simulated market"
EXAMPLES = """examples:
  python -m producers simulate
      ten symbols, 100 ticks/s, now, until Ctrl-C
  python -m producers simulate --symbols AAPL,MSFT --rate 10000 --seconds 60 --seed 7
      a minute of two symbols; stamped at the moment of sending
  python -m producers simulate --rate 5000 --seconds 120 --duplicates 0.02 --out-of-order 0.05 --malformed 0.01 \\
      --expect /tmp/bars.parquet
      with defects, and the bars that must come out all the same
  python -m producers simulate --start 2024-03-01T14:30:00Z --seconds 3600 --rate 500 --seed 1
      an hour of history as fast as the broker takes it; the same command sends the same bytes

--expect FILE writes the final bars as Parquet, and FILE's name with .late: the ticks sent after event time had passed
their bar's end by the lateness, which a query may still take or drop."""

DEFECTS = {
    "late": "ticks sent after their minute was final",
    "out-of-order": "ticks behind their time, but inside the lateness",
    "duplicates": "ticks sent twice",
    "malformed": "broken records added, of every kind",
    "future": "ticks added that are stamped in the year 2100",
    "gaps": "seconds in which nobody trades",
    "bursts": "seconds of five times the rate",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m producers simulate`."""
    parser.add_argument("--symbols", default="10", metavar="N|LIST", help="how many symbols, or which (default: 10)")
    parser.add_argument("--rate", default="100", metavar="N|max", help="ticks/s over all symbols (default: 100)")
    parser.add_argument("--seconds", type=float, metavar="N", help="how long (default: until Ctrl-C)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: 0)")
    parser.add_argument("--start", type=parse_time, metavar="TIME",
                        help="history from this time (RFC 3339), sent without waiting; needs --seconds")  # fmt: skip
    parser.add_argument("--expect", type=Path, metavar="FILE", help="write the bars that must come out")
    parser.add_argument("--linger-ms", type=float, metavar="MS",
                        help="how long a tick may wait for company: 2 halves the sender's CPU at 10000 ticks/s"
                        f" (default: {LIVE_LINGER_MS:g}; {BULK_LINGER_MS:g} without pacing)")  # fmt: skip
    parser.add_argument("--no-close", action="store_true", help="history only: leave the last bars open")
    for name, what in DEFECTS.items():
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="F", help=f"fraction of {what}")


def run(args: argparse.Namespace, settings: Settings) -> str:
    """Simulate as the options say; tells what was sent. Ctrl-C ends it early, with everything flushed."""
    history, fast = args.start is not None, args.rate == "max"
    if history and args.seconds is None:
        raise InputError("--start: history needs an end, give --seconds")
    start_us = args.start if history else SystemClock().now_us()
    config = configure(args, settings, start_us)
    ensure_topics(settings)
    linger_ms = BULK_LINGER_MS if history or fast else LIVE_LINGER_MS
    linger_ms = linger_ms if args.linger_ms is None else args.linger_ms
    with Publisher(settings, linger_ms=linger_ms) as publisher:
        ledger = Ledger(config.symbols, config.run, config.lateness_us) if args.expect else None
        simulation = Simulation(publisher, config, ledger, live=not history, paced=not history and not fast)
        stopped = ""
        try:
            simulation.publish(args.seconds)
            if history and not args.no_close:
                simulation.close_bars()
        except KeyboardInterrupt:
            stopped = "stopped: "
        publisher.flush()
    if ledger is not None:
        ledger.write(args.expect, settings.bar_intervals, rulesets.load(settings.ruleset).id)
    return f"{stopped}{simulation}"


def configure(args: argparse.Namespace, settings: Settings, start_us: int) -> SimulatorConfig:
    """The options as a configuration. Raises InputError naming the option that is wrong."""
    try:
        rate = float(MAX_RATE if args.rate == "max" else args.rate)
    except ValueError:
        raise InputError(f"--rate: {args.rate!r} is neither a number nor max") from None
    # At full speed live, the wall clock ends the run: see Simulation.publish.
    seconds = None if args.rate == "max" and args.start is None else args.seconds
    return SimulatorConfig(
        symbols=pick_symbols(args.symbols),
        rate=rate,
        seconds=seconds,
        seed=args.seed,
        start_us=start_us,
        lateness_us=int(settings.lateness_seconds * SECOND_US),
        run=run_name(args.seed, start_us),
        **{name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in DEFECTS},
    )


def run_name(seed: int, start_us: int) -> str:
    """What sets this run's trade ids apart, in at most 12 characters, so that a bar can carry the ids."""
    return f"{np.base_repr(seed % 36**3, 36)}.{np.base_repr(start_us // 1000, 36)}".lower()


class Simulation:
    """One run against a broker. `live` stamps each tick as it is sent; history has the simulated times."""

    def __init__(
        self,
        publisher: Publisher,
        config: SimulatorConfig,
        ledger: Ledger | None = None,
        *,
        live: bool = True,
        paced: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self._publisher = publisher
        self._config = config
        self._ledger = ledger
        self._live = live
        self._pace = Pace(1.0 if paced else None)
        self._clock = clock or SystemClock()
        self._heartbeat = Heartbeat(publisher, SOURCE)
        self._last_due_us = 0
        self._waiting: list[Emission] = []
        self._repeats: dict[int, bytes] = {}

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items()) if count)
        total = sum(self.counts.values())
        rate = total / self.seconds if self.seconds else 0
        return f"simulated {total:,} records ({kinds or 'none'}) in {self.seconds:.1f} s ({rate:,.0f}/s)"

    def publish(self, seconds: float | None = None) -> None:
        """Send the whole run; `seconds` of wall time end one that has no end of its own."""
        started = time.monotonic()
        with tqdm(unit=" ticks", unit_scale=True, disable=None, mininterval=0.5) as bar:
            for block in blocks(self._config):
                self._last_due_us = max(self._last_due_us, int(block.due_us[-1]) if len(block.due_us) else 0)
                if self._config.is_clean:
                    self._send_clean(block)
                else:
                    self._send_spoilt(block)
                bar.update(len(block.due_us))
                self.seconds = time.monotonic() - started
                if self._config.seconds is None and seconds is not None and self.seconds >= seconds:
                    break
        self._send_records(self._waiting, len(self._waiting))
        self._publisher.flush()
        self.seconds = time.monotonic() - started

    def close_bars(self) -> None:
        """A heartbeat beyond the end of every bar of a history, never ahead of the wall clock."""
        longest_us = 15 * 60 * SECOND_US
        last_us = self._config.start_us + self._last_due_us
        event_us = last_us - last_us % longest_us + longest_us + self._config.lateness_us + SECOND_US
        self._heartbeat.beat(min(event_us, self._clock.now_us()), self._clock.now_us())

    def _send_clean(self, block: Block) -> None:
        """The fast path: every record is a tick at its own time."""
        sent_us = block.due_us + self._config.start_us
        sent = 0
        try:
            for start, end in self._pace.slices(block.due_us):
                now_us = self._serve(int(block.due_us[start]))
                if self._live:
                    sent_us[start:end] = now_us
                    values = with_suffix(block.bodies[start:end], stamp_both(now_us, now_us))
                else:
                    times = sent_us[start:end].tolist()
                    values = [
                        body + stamp_both(us, us) for body, us in zip(block.bodies[start:end], times, strict=True)
                    ]
                self._publisher.send_many(block.keys[start:end], values)
                sent = end
        finally:  # whatever interrupts it, the ledger holds what was sent
            self.counts["trade"] += sent
            self._note(block, slice(0, sent), sent_us[:sent], sent_us[:sent])

    def _send_spoilt(self, block: Block) -> None:
        horizon = int(block.due_us[-1]) if len(block.due_us) else 0
        self._repeats.update((extra.row, b"") for extra in block.extra if extra.kind == "duplicate")
        records = sorted([*emissions(block), *block.extra, *self._waiting], key=lambda record: record.due_us)
        count = sum(record.due_us <= horizon for record in records)
        self._waiting = records[count:]
        self._send_records(records, count, block)

    def _send_records(self, records: Sequence[Emission], count: int, block: Block | None = None) -> None:
        due_us = np.array([record.due_us for record in records[:count]], np.int64)
        rows, times = [], []
        try:
            for start, end in self._pace.slices(due_us):
                now_us = self._serve(int(due_us[start]))
                for record in records[start:end]:
                    sent_us = now_us if self._live else record.due_us + self._config.start_us
                    event_us = self._send_record(record, sent_us)
                    if record.kind in ("trade", "out_of_order", "late"):
                        rows.append(record.row)
                        times.append((event_us, sent_us))
        finally:
            if block is not None and rows:
                event_us_, sent_us_ = np.array(times, np.int64).T
                self._note(block, np.array(rows) - block.first_seq, event_us_, sent_us_)

    def _send_record(self, record: Emission, sent_us: int) -> int:
        """Send one record at `sent_us`; its event time as sent."""
        event_us = absolute_event_us(record, self._config.start_us)
        if self._live and record.kind != "future":
            event_us = sent_us - (record.due_us - record.event_us)
        if record.kind == "malformed":
            value = record.body
        elif record.kind == "duplicate":
            value = self._repeats.pop(record.row)
        else:
            value = record.body + stamp_both(event_us, sent_us)
            if record.kind == "trade" and record.row in self._repeats:
                self._repeats[record.row] = value
        self._publisher.send_raw(record.key, value)
        self.counts[record.kind] += 1
        return event_us

    def _serve(self, due_us: int) -> int:
        """Heartbeats and delivery reports; the wall clock after them."""
        now_us = self._clock.now_us()
        if self._live:
            self._heartbeat.beat_if_due(now_us, now_us)
        else:
            event_us = self._config.start_us + due_us
            self._heartbeat.beat_if_due(event_us, event_us)
        self._publisher.poll()
        return self._clock.now_us()

    def _note(self, block: Block, rows: slice | np.ndarray, event_us: np.ndarray, sent_us: np.ndarray) -> None:
        if self._ledger is None:
            return
        trades = block.trades
        seq = block.first_seq + np.arange(len(trades.price))[rows]
        self._ledger.add(trades.symbol[rows], seq, event_us, sent_us, trades.price[rows], trades.size[rows])
