"""The final query over a part that lies in files: a file of Kafka records for each partition and micro-batch.

Everything from the record's bytes to the sink is `jobs.queries.final_of`; only where records come from is ours.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from conf.settings import Settings
from core.clock import ManualClock
from core.errors import TickstreamError
from jobs.progress import late_ticks
from jobs.queries import final_of
from jobs.verifying.outcome import Outcome, merged
from jobs.verifying.recorder import Crashed, Recorder
from jobs.verifying.recording import Part
from jobs.verifying.schedules import Schedule, arrange
from producers.bulk import bodies, stamp
from producers.heartbeat import heartbeat
from producers.publish import HEARTBEAT_SYMBOL, encode

ROOT = Path(__file__).parents[2]
RUN = "run.json"
WORKER_SECONDS = 900.0
_RECORDS = "key binary, value binary, partition int, offset long, timestamp timestamp"
_TYPES = (pa.binary(), pa.binary(), pa.int32(), pa.int64(), pa.timestamp("us", tz="UTC"))
_SCHEMA = pa.schema(list(zip(("key", "value", "partition", "offset", "timestamp"), _TYPES, strict=True)))


def stream(spark: SparkSession, part: Part, schedule: Schedule, folder: Path) -> Outcome:
    """Run the query in this session, crashing where the schedule says, until all is read."""
    settings = write_records(part, schedule, folder)
    recorder, late, restarts = Recorder(folder / "out", schedule.crashes), 0, 0
    while True:
        dropped, crashed = run_query(spark, settings, schedule.partitions, recorder)
        late, restarts = late + dropped, restarts + crashed
        if not crashed:
            break
    bars, rewritten = merged(recorder.written())
    missed = len(schedule.crashes) - restarts
    wrong = [f"{missed} crashes did not come before the end"] if missed else []
    return Outcome(bars, rewritten, late, restarts=restarts, wrong=wrong)


def killed(part: Part, schedule: Schedule, folder: Path, cores: int) -> Outcome:
    """Run the query in processes that are killed with SIGKILL at moments of chance, until one ends by itself."""
    settings = write_records(part, schedule, folder)
    told = {"data_path": str(settings.data_path), "partitions": schedule.partitions, "cores": cores}
    own = settings.model_dump(include=set(_TOLD))
    (folder / RUN).write_text(json.dumps(told | {"settings": own}))
    rng, recorder, kills = random.Random(schedule.seed), Recorder(folder / "out"), 0
    for number in range(schedule.kills):
        least = (number + 1) * schedule.batches // (schedule.kills + 1)
        kills += _run_worker(folder, recorder, least, rng.random())
    _run_worker(folder, recorder, None, 0)
    bars, rewritten = merged(recorder.written())
    wrong = [] if kills == schedule.kills else [f"only {kills} of {schedule.kills} kills came before the end"]
    return Outcome(bars, rewritten, restarts=kills, wrong=wrong)


def write_records(part: Part, schedule: Schedule, folder: Path) -> Settings:
    """Write the arrivals of a part, in the order in which they are to be read; the settings of the query."""
    arrivals = arrange(part.ticks, schedule, part.of.lateness_us)
    values = np.array(bodies(part.ticks), object)[arrivals.row]
    keys = np.array([str(symbol).encode() for symbol in part.ticks["symbol"]], object)[arrivals.row]
    values = values + np.array([stamp(us) for us in arrivals.received_us.tolist()], object)
    offsets = np.zeros(schedule.partitions, np.int64)
    first_second = int(time.time()) - arrivals.batches - 2
    for number in range(arrivals.batches):
        for partition in range(schedule.partitions):
            own = np.flatnonzero((arrivals.batch == number) & (arrivals.partition == partition))
            path = _path(folder, partition, number)
            _write(path, keys[own], values[own], partition, int(offsets[partition]), first_second + number)
            offsets[partition] += len(own)
    closing_us = part.span[1] + part.of.window_us + part.of.lateness_us + 1
    for partition in range(schedule.partitions):
        beat = encode(heartbeat("verify", closing_us, closing_us, partition))
        path, key = _path(folder, partition, arrivals.batches), np.array([HEARTBEAT_SYMBOL.encode()], object)
        _write(path, key, np.array([beat], object), partition, int(offsets[partition]), first_second + arrivals.batches)
    changes = {"data_path": folder, "shuffle_partitions": schedule.shuffles, "ticks_partitions": schedule.partitions}
    return part.of.settings.model_copy(update=changes)


def run_query(spark: SparkSession, settings: Settings, partitions: int, recorder: Recorder) -> tuple[int, bool]:
    """Read on from the checkpoint to the end or a crash: ticks that were dropped as late, and whether it crashed."""
    spark.conf.set("spark.sql.shuffle.partitions", str(settings.shuffle_partitions))
    before = spark.conf.get("spark.sql.codegen.wholeStage")
    spark.conf.set("spark.sql.codegen.wholeStage", "false")  # as jobs/session.py has it for streams
    sources = [
        spark.readStream.schema(_RECORDS).option("maxFilesPerTrigger", 1).parquet(str(settings.data_path / f"{number}"))
        for number in range(partitions)
    ]
    place = settings.checkpoint_path / "final"
    try:
        query = (
            final_of(sources, settings, recorder, ManualClock(1))
            .queryName(f"verify-{settings.data_path.name}")
            .option("checkpointLocation", str(place.resolve()))
            .trigger(availableNow=True)
            .start()
        )
        with suppress(StreamingQueryException):
            query.awaitTermination()
        failure = query.exception()
        if failure is not None and Crashed.__name__ not in str(failure):
            raise TickstreamError(f"the final query failed: {str(failure).strip().splitlines()[0]}")
        return sum(late_ticks(progress) for progress in query.recentProgress), failure is not None
    finally:
        spark.conf.set("spark.sql.codegen.wholeStage", before or "true")


def _run_worker(folder: Path, recorder: Recorder, kill_after: int | None, delay: float) -> bool:
    """Start the worker; kill it, and all that it started, a moment after so many writes. Whether it was killed."""
    command = [sys.executable, "-m", "jobs.verifying.worker", str(folder)]
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + WORKER_SECONDS
        try:
            while worker.poll() is None and time.monotonic() < deadline:
                if kill_after is not None and recorder.writes >= kill_after:
                    time.sleep(delay)
                    break
                time.sleep(0.05)
            ended = worker.poll()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    if (ended is None and kill_after is None) or ended not in (None, 0):
        last = (folder / "worker.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise TickstreamError(f"the worker {'hangs' if ended is None else 'failed'}: {''.join(last)}")
    return ended is None


def _write(path: Path, keys: np.ndarray, values: np.ndarray, partition: int, first: int, at: int) -> None:
    """A file of records, made at a second of the clock: that is the order in which they are read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size, now = len(values), datetime.now(UTC)
    columns = [list(keys), list(values), [partition] * size, range(first, first + size), [now] * size]
    pq.write_table(pa.table([pa.array(column, kind.type) for column, kind in zip(columns, _SCHEMA, strict=True)],
                            schema=_SCHEMA), path)  # fmt: skip
    os.utime(path, (at, at))


def _path(folder: Path, partition: int, batch: int) -> Path:
    return folder / f"{partition}" / f"{batch:06}.parquet"


_TOLD = ("intervals", "ruleset", "indicators", "calendar", "lateness_seconds", "shuffle_partitions", "ticks_partitions")
