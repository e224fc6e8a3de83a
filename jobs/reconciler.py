"""One run of reconciling: what differs from the tick log is recomputed by `jobs.bars` and written to every store.

A run that dies leaves either nothing, or bars that the database has and a note that other sinks may not; the next run
begins with those notes.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import structlog
from pyspark.sql import SparkSession

from conf.settings import Settings
from core import rulesets
from core.clock import Clock
from core.errors import TickstreamError
from core.intervals import MINUTE_US
from jobs.amend import Amendment, Key, amendments, differing, first_starts, key_of, reindicated, table_of
from jobs.backfill import batch_bars
from jobs.recorded import read_exported, table_folder
from jobs.sinks import Sinks
from metrics import quality
from stores import amending, snapshots
from stores.amending import Row, Series, Window
from stores.postgres import to_time
from stores.reconciling import Due, Reconciling
from stores.redis_script import TAIL_BARS
from stores.schema import BAR_SCHEMA
from stores.timescale_export import export_windows

WINDOWS_AT_ONCE = 200
# Two copies of a trade that differ in time may lie on either side of a window's edge.
MARGIN_US = MINUTE_US
COUNT_EVERY = timedelta(minutes=5)
SNAPSHOT_EVERY = timedelta(hours=1)
# Where the final query runs in another process, it may have been about to write a bar with older indicators.
SETTLED_AFTER = timedelta(minutes=2)
_log = structlog.get_logger("jobs.reconcile")


@dataclass(slots=True)
class Run:
    """What one run did: bars checked, those for which the log is behind, and those amended, by symbol and start."""

    checked: int = 0
    behind: int = 0
    amended: list[Amendment] = field(default_factory=list)


class Reconciler:
    """Runs over one system. `final_here` says that the final query shares these `sinks`, and so their `turn`."""

    def __init__(
        self, spark: SparkSession, settings: Settings, sinks: Sinks, clock: Clock, *, final_here: bool = True
    ) -> None:
        # Of its own: the queries of the driver keep their settings.
        self._spark = spark.newSession()
        self._settings = settings
        self._sinks = sinks
        self._clock = clock
        self._final_here = final_here
        self._ruleset = rulesets.load(settings.ruleset)
        self._window_us = max(each.us for each in settings.bar_intervals)
        self._rules_marked = False
        self._uncounted: dict[tuple[str, date], float] = {}  # with the time of a monotonic clock
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run each `reconcile_seconds` from a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self._keep_running, name="reconcile", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(30)

    def run_recent(self) -> Run | None:
        """Look at what changed; None while another run holds the database.

        That is within `reconcile_minutes` before the newest closed bar, and before what was that in the last run:
        after a night or a stall, bars of both ends close at once.
        """
        with self._opened() as store:
            if not store.lock(wait=False):
                return None
            recent = timedelta(minutes=self._settings.reconcile_minutes)
            self._settle(store)
            store.collect(recent)
            horizon_us = store.horizon_us()
            if horizon_us is None:
                return Run()
            reached_us = store.reached_us()
            from_us = horizon_us if reached_us is None else min(reached_us, horizon_us)
            since_us = self._floor(from_us - recent // timedelta(microseconds=1))
            if not self._rules_marked:
                store.mark_other_rules(since_us)
                self._rules_marked = True
            run = self._mend(store, store.due(since_us, horizon_us, horizon_us), horizon_us)
            self._look_back(store, since_us)
            self._show_match(store)
            store.reach(horizon_us)
            return run

    def run_range(
        self,
        since_us: int,
        until_us: int,
        symbols: Sequence[str] | None = None,
        *,
        dry_run: bool = False,
        progress: Callable[[int], object] = lambda _: None,
    ) -> Run:
        """Look at every closed bar of the log in `[since_us, until_us)`; waits for another run to end.

        `progress` is told how many windows of the longest interval are done.
        """
        with self._opened() as store:
            store.lock(wait=True)
            if not dry_run:
                self._settle(store)
                store.collect(timedelta(minutes=self._settings.reconcile_minutes))
            horizon_us = store.horizon_us()
            if horizon_us is None:
                return Run()
            due = store.in_range(
                self._floor(since_us), self._floor(until_us - 1) + self._window_us, horizon_us, symbols
            )
            return self._mend(store, due, horizon_us, dry_run, progress)

    def _keep_running(self) -> None:
        while not self._stopping.wait(self._settings.reconcile_seconds):
            began, outcome = time.monotonic(), "failed"
            try:
                self.run_recent()
                outcome = "done"
            except TickstreamError as error:
                _log.warning("cannot reconcile, trying again", error=str(error))
            except Exception as error:  # the queries beside it go on
                if not self._stopping.is_set():
                    _log.error("reconciling failed", error=str(error).strip().partition("\n")[0], exc_info=True)
            quality.RUNS.labels(outcome).inc()
            quality.RUN_SECONDS.of(outcome).record(time.monotonic() - began)

    def _opened(self) -> Reconciling:
        return Reconciling(self._settings.postgres_dsn.get_secret_value(), self._settings.bar_intervals, self._ruleset)

    def _mend(
        self,
        store: Reconciling,
        due: Sequence[Due],
        horizon_us: int,
        dry_run: bool = False,
        progress: Callable[[int], object] = lambda _: None,
    ) -> Run:
        """Amend what differs and mark the rest as looked at."""
        run = Run(checked=len(due), behind=sum(each.verdict == "behind" for each in due))
        if not dry_run:
            store.resolve([each for each in due if each.verdict not in ("differs", "behind")])
        for part in self._parts(due):
            run.amended += self._amend(store, part, horizon_us, dry_run)
            progress(len({(each.symbol, self._floor(each.start_us)) for each in part}))
        if not dry_run:
            self._note(store, run, due, horizon_us)
        return run

    def _count(self, store: Reconciling, due: Sequence[Due], horizon_us: int, every: timedelta) -> None:
        """Count the days of these bars, and those that an earlier run left since they had just been counted."""
        now = time.monotonic()
        for each in due:
            self._uncounted.setdefault((each.symbol, to_time(each.start_us).date()), now)
        counted = store.count(list(self._uncounted), horizon_us, every)
        forgotten = now - 2 * COUNT_EVERY.total_seconds()  # of such a day no bar is stored
        self._uncounted = {day: at for day, at in self._uncounted.items() if day not in counted and at > forgotten}

    def _parts(self, due: Sequence[Due]) -> Iterator[list[Due]]:
        """The bars of windows in which any differs, so many windows at a time."""
        windows: dict[tuple[str, int], list[Due]] = {}
        for each in due:
            windows.setdefault((each.symbol, self._floor(each.start_us)), []).append(each)
        found = [bars for bars in windows.values() if any(each.verdict == "differs" for each in bars)]
        for at in range(0, len(found), WINDOWS_AT_ONCE):
            yield [each for bars in found[at : at + WINDOWS_AT_ONCE] for each in bars]

    def _amend(self, store: Reconciling, due: Sequence[Due], horizon_us: int, dry_run: bool) -> list[Amendment]:
        windows = sorted({(each.symbol, self._floor(each.start_us)) for each in due})
        whole = [(symbol, start, start + self._window_us) for symbol, start in windows]
        made = {key: bar for key, bar in self._made(whole).items() if bar["end"] <= to_time(horizon_us)}
        asked = {each.key: each for each in due}
        with self._sinks.turn:
            with store.transaction() as connection:
                held = {key_of(bar): bar for bar in amending.bars_in(connection, whole, self._settings.bar_intervals)}
                pairs = differing(made, held, asked, self._ruleset.id)
                causes = amending.causes(connection, [new for new, _ in pairs], [old for _, old in pairs])
                found = amendments(pairs, causes, asked, self._clock.now_us())
                if dry_run:
                    return found
                if found:
                    amending.write(connection, table_of(found))
                    for (symbol, interval), start_us in first_starts(found).items():
                        self._follow(store, symbol, interval, start_us)
                store.resolve([each for each in due if each.verdict == "differs"])
            self._publish(store)
        return found

    def _made(self, windows: Sequence[Window]) -> dict[Key, Row]:
        """The bars that the log gives for these windows."""
        with table_folder(self._settings) as folder:
            path = Path(folder) / "ticks.parquet"
            export_windows(self._settings.postgres_dsn.get_secret_value(), path, merged(windows))
            ticks = read_exported(self._spark, path)
            rows = batch_bars(ticks, self._settings.bar_intervals, self._settings.ruleset, self._clock.now_us())
            table = rows.toArrow().cast(BAR_SCHEMA)
        wanted = {(symbol, start) for symbol, start, _ in windows}
        bars = {key_of(row): row for row in table.to_pylist()}
        return {key: row for key, row in bars.items() if (key[0], self._floor(key[2])) in wanted}

    def _follow(self, store: Reconciling, symbol: str, interval: str, from_us: int, noted: bool = False) -> None:
        """The indicators of a series from an amended bar on, and the note that other stores may lack it.

        With `noted` there is one already, and another only where indicators were not what they should be.
        """
        connection = store.connection
        rows, restated = reindicated(connection, self._settings, symbol, interval, from_us)
        if rows.num_rows:
            amending.write_indicators(connection, rows)
        if rows.num_rows or not noted:
            snapshots.drop(connection, symbol, interval, from_us)
            amending.note(connection, symbol, interval, from_us, restated)

    def _settle(self, store: Reconciling) -> None:
        """Finish what an earlier run left: indicators, then the other sinks."""
        with self._sinks.turn:
            with store.transaction() as connection:
                for each in amending.unsettled(connection, SETTLED_AFTER):
                    self._follow(store, each.symbol, each.interval, each.from_us, noted=True)
            self._publish(store)

    def _publish(self, store: Reconciling) -> None:
        """Give the other sinks what they may lack."""
        with store.transaction() as connection:
            waiting = amending.unsettled(connection, SETTLED_AFTER)
            batches = [amending.published(connection, each, TAIL_BARS) for each in waiting]
        if not waiting:
            return
        amended, newest, indicators = (pa.concat_tables(part) for part in zip(*batches, strict=True))
        self._sinks.write_amended(amended, newest, indicators)
        with store.transaction() as connection:
            for each in self._final(waiting):
                amending.settle(connection, each)

    def _final(self, waiting: Sequence[Series]) -> list[Series]:
        return [each for each in waiting if self._final_here or each.old]

    def _note(self, store: Reconciling, run: Run, due: Sequence[Due], horizon_us: int) -> None:
        """Count and log what was found."""
        quality.CHECKED.inc(run.checked)
        quality.BEHIND.inc(run.behind)
        for each in run.amended:
            quality.AMENDED.labels(each.bar["reason"]).inc()
        self._count(store, due, horizon_us, timedelta(0) if run.amended else COUNT_EVERY)
        smallest = min(self._settings.bar_intervals, key=lambda each: each.us).name
        late = [us for each in run.amended if each.bar["interval"] == smallest for us in each.late_us]
        if late:
            quality.LATENESS.of("reconcile").record_us(late)
            with store.transaction() as connection:
                _log.info("late ticks are in their bars now", **amending.saw_late(connection, late))
        if run.amended:
            reasons = [each.bar["reason"] for each in run.amended]
            counts = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
            _log.info("bars amended", checked=run.checked, amended=counts)

    def _look_back(self, store: Reconciling, since_us: int) -> None:
        """Keep the states that later runs begin with, and tell what is too old to be looked at unasked."""
        with store.transaction() as connection:
            snapshots.take(connection, SNAPSHOT_EVERY, since_us)
        count, first_us = store.older(since_us)
        if count and first_us is not None:
            first = to_time(first_us).isoformat()
            _log.warning("ticks came for bars older than TICKSTREAM_RECONCILE_MINUTES", bars=count, since=first)

    def _show_match(self, store: Reconciling) -> None:
        found = store.newest_day()
        if found is not None:
            day, counts = found
            begin = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
            quality.set_match(begin, counts, self._settings.metrics_symbols)

    def _floor(self, us: int) -> int:
        return us - us % self._window_us


def merged(windows: Sequence[Window]) -> list[Window]:
    """Windows with their margins, those of a symbol that then touch made one."""
    found: list[Window] = []
    for symbol, start, end in sorted(windows):
        wide = (symbol, start - MARGIN_US, end + MARGIN_US)
        if found and found[-1][0] == symbol and wide[1] <= found[-1][2]:
            wide = (symbol, found[-1][1], max(found.pop()[2], wide[2]))
        found.append(wide)
    return found
