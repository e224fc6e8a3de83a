"""A day with late, wrong and bogus trades through reconciling, on a PostgreSQL of its own.

First the day as it came in time becomes the tick log and final bars; then, in rounds, comes what the feed said
afterwards. It has to end like the clean day.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.rows import dict_row
from pydantic import SecretStr
from pyspark.sql import SparkSession

from conf.settings import Settings
from core.canonical import bar_values, indicator_values
from core.clock import SystemClock
from jobs.backfill import batch_bars
from jobs.indicators import BatchIndicators
from jobs.reconciler import Reconciler
from jobs.recorded import read_exported
from jobs.sinks import Sinks
from jobs.verifying.amending import Disturbed, disturbed
from jobs.verifying.batching import log_table
from jobs.verifying.comparing import Bars, Key, bars_of_tables, difference, with_indicators
from jobs.verifying.recording import Recording, recording_of, with_ids
from jobs.verifying.reference import reference_bars
from local.postgres import Postgres
from stores.schema import BAR_SCHEMA, values_of
from stores.timescale import TimescaleStore, make_timescale

ROUNDS = 3
REASONS = frozenset({"late", "correction", "cancel"})
_AT_ONCE = 100_000
_TIME = '(extract(epoch FROM "{0}") * 1000000)::bigint AS "{0}"'
_START = _TIME.format("start")
_BARS = f"SELECT *, {_START}, {_TIME.format('end')} FROM bars"
_INDICATORS = f'SELECT symbol, "interval", {_START}, "values"::text AS v FROM indicators'
_KEPT = f'SELECT symbol, "interval", {_START}, count(*) FROM bar_revisions GROUP BY 1, 2, 3'


def reconciled_day(
    spark: SparkSession, recording: Recording, seed: int, folder: Path, say: Callable[[str], object]
) -> dict[str, Any]:
    """The first day of a session; what was done and found, `problem` None where all is as it should be."""
    day = with_ids(recording_of(recording.raw[:1], recording.settings))
    changed = disturbed(day.ticks, seed)
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        each.chmod(0o711)  # PostgreSQL refuses to run as root, and its own account has to come here
    with Postgres(folder / "postgres") as server:
        changes = {"postgres_dsn": SecretStr(server.url), "data_path": folder, "kafka_bootstrap": "127.0.0.1:1"}
        return System(spark, day, day.settings.model_copy(update=changes | {"reconcile_minutes": 2_880})).run(
            changed, say
        )


class System:
    """Tick log, bars and reconciling of one day. No other store takes part: PostgreSQL is where the truth is."""

    def __init__(self, spark: SparkSession, day: Recording, settings: Settings) -> None:
        self._spark, self._day, self._settings = spark, day, settings
        self._sinks = Sinks(settings, bar_sinks=[])
        self._store: TimescaleStore = make_timescale(settings)
        self._reconciler = Reconciler(spark, settings, self._sinks, SystemClock())
        self._offset = 0

    def run(self, changed: Disturbed, say: Callable[[str], object]) -> dict[str, Any]:
        """The day, the rounds, and the comparison with the clean day."""
        started = time.monotonic()
        self._sinks.setup()
        try:
            first = self._as_it_came(changed)
            idle = self._reconcile()
            reasons: Counter[str] = Counter()
            for rows in np.array_split(np.arange(len(changed.evening)), ROUNDS):
                self._archive(changed.evening.iloc[rows], changed.received_us[rows])
                reasons.update(self._reconcile())
            again = self._reconcile()
        finally:
            self._store.close()
            self._sinks.close()
        problem = self._problem(first, idle, again)
        told = {"day": self._day.whole().label, "ticks": len(self._day.ticks), **changed.counts, "rounds": ROUNDS}
        told |= {"bars": len(first), "amendments": dict(reasons), "revisions": sum(self._kept().values())}
        told |= {"seconds": round(time.monotonic() - started, 1), "problem": problem}
        say(_line(told))
        return told

    def _as_it_came(self, changed: Disturbed) -> Bars:
        """The log and the final bars of the ticks that came in time."""
        table = self._archive(changed.timely, changed.timely["event_us"].to_numpy())
        path = self._settings.data_path / "timely.parquet"
        pq.write_table(table, path)
        intervals = self._settings.bar_intervals
        rows = batch_bars(read_exported(self._spark, path), intervals, self._settings.ruleset, 1).toArrow()
        rows = rows.cast(BAR_SCHEMA)
        indicators = BatchIndicators(self._settings, intervals).rows(rows)
        self._store.write_bars(rows, indicators)
        with self._connected() as connection:
            connection.execute("ANALYZE ticks, bars")
        return bars_of_tables(rows, indicators)

    def _archive(self, ticks: Any, received_us: np.ndarray) -> pa.Table:
        """To the tick log, with offsets in this order."""
        table = log_table(ticks, received_us, 0, self._offset)
        self._offset += table.num_rows
        for at in range(0, table.num_rows, _AT_ONCE):
            self._store.write_ticks(table.slice(at, _AT_ONCE))
        return table

    def _reconcile(self) -> Sequence[str]:
        """The reasons of what one run amended."""
        run = self._reconciler.run_recent()
        return [] if run is None else [str(each.bar["reason"]) for each in run.amended]

    def _problem(self, first: Bars, idle: Sequence[str], again: Sequence[str]) -> str | None:
        lengths = {each.name: each.us for each in self._settings.bar_intervals}
        clean = with_indicators(reference_bars(self._day.raw, self._settings.ruleset, lengths), self._settings)
        with self._connected() as connection:
            rows = connection.execute(_BARS.encode()).fetchall()
            values = connection.execute(_INDICATORS.encode()).fetchall()
        stored: Bars = {_key(row): bar_values(row) for row in rows}
        for row in values:
            stored[_key(row)]["indicators"] = indicator_values(values_of(row["v"]))
        found = difference(clean, stored)
        if found is not None:
            return str(found)
        if idle or again:
            return f"{len(idle)} bars amended before anything was said, {len(again)} after all was settled"
        return _unexplained({_key(row): row for row in rows}, first, clean, self._kept())

    def _kept(self) -> dict[Key, int]:
        """How many older revisions each bar has."""
        with self._connected() as connection:
            found = connection.execute(_KEPT.encode()).fetchall()
        return {_key(row): row["count"] for row in found}

    def _connected(self) -> "psycopg.Connection[dict[str, Any]]":
        return psycopg.connect(self._settings.postgres_dsn.get_secret_value(), autocommit=True, row_factory=dict_row)


def _unexplained(rows: dict[Key, Any], first: Bars, clean: Bars, kept: dict[Key, int]) -> str | None:
    """A bar that changed without revision and reason, or has them without having changed."""
    for key, row in rows.items():
        changed = key not in first or _values(first[key]) != _values(clean[key])
        amended = row["state"] == "amended" and row["reason"] in REASONS
        revisions = row["rev"] - 1 == kept.get(key, 0) and (row["rev"] > 1 or key not in first)
        if changed and not (amended and revisions):
            return f"{key} changed, and is rev {row['rev']}, {row['state']}, reason {row['reason']}"
        if not changed and row["state"] != "amended" and (row["rev"], row["reason"]) != (1, None):
            return f"{key} did not change, and is rev {row['rev']}, reason {row['reason']}"
    return None


def _values(bar: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in bar.items() if name != "indicators"}


def _key(row: dict[str, Any]) -> Key:
    return row["symbol"], row["interval"], row["start"]


def _line(told: dict[str, Any]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(told["amendments"].items()))
    verdict = f"DIFFERS: {told['problem']}" if told["problem"] else "equals the clean day"
    return (
        f"amendments: {told['day']}, {told['ticks']:,} trades; {told['late']} late, {told['corrected']} corrected,"
        f" {told['cancelled']} cancelled, in {told['rounds']} rounds: {reasons}; {told['revisions']} older revisions"
        f" kept, {told['seconds']} s; {verdict}"
    )
