"""The whole suite in five processes side by side, on one broker, each with one PostgreSQL and one Redis.

Much of each is waiting for servers, so all together take little longer than what they compute needs. Those in which
JVMs and units compute stand back: the others have the tighter deadlines. `make test ARGS=…` runs pytest itself.

Where this machine has a TimescaleDB, a sixth one runs the tests of the database on it, too.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from glob import glob
from pathlib import Path
from typing import IO

from local.kafka import Kafka
from tests.brokers import java_options, lent
from tests.timescale import root, timescale

# They start a system of their own, for minutes.
SYSTEMS = [f"tests/integration/test_{name}.py" for name in ("cluster", "dashboard_stack", "local_up", "local_servers")]
# They compute on Spark for as long as all of its other tests together.
BATCH = [f"tests/integration/test_{name}.py" for name in ("backfill_parity", "corrections_batch", "reconcile")]
SERVING = [
    *("tests/integration/test_api_*", "tests/integration/test_socket_*"),
    *(f"tests/integration/test_{name}.py" for name in ("dashboard_browser", "dashboard_server", "tls_proxy")),
]
UNITS = ["tests/unit"]
# What holds for PostgreSQL holds for TimescaleDB.
DATABASE = [
    *(f"tests/integration/test_{name}.py" for name in ("timescaledb", "reconcile_candidates", "api_paging", "backup")),
    *(f"tests/integration/test_store_{name}.py" for name in ("migrations", "sinks", "states", "timescale")),
]
NICE = 5


def parts() -> dict[str, tuple[list[str], int]]:
    """The arguments of pytest and the niceness of each process; the first one's output is shown as it comes."""
    spark = [path for path in sorted(glob("tests/**/test_*.py", recursive=True)) if "mark.spark" in _text(path)]
    streams = [path for path in spark if path not in BATCH]
    others = [f"--ignore-glob={path}" for path in (*SERVING, *UNITS, *SYSTEMS)]
    return {
        "of feeds and stores": (["-m", "not spark", *others], 0),  # and of whatever is named nowhere here
        "of the API and pages": (["-m", "not spark", *_found(SERVING)], 0),
        "of units": (["-m", "not spark", *UNITS], NICE),
        "of streams": (["-m", "spark and not alone", *streams], NICE),
        "of whole systems, and of batches": (["-m", "not alone", *_found(SYSTEMS), *BATCH], NICE),
    }


def main() -> int:
    """Exit code: 0 when every part passed."""
    started = time.monotonic()
    (_, shown), *told = parts().items()
    os.environ.setdefault(*java_options())
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="tickstream-"))
        # A broker at rest takes two hundredths of a core. Topics have a prefix of each test's own.
        os.environ["TEST_KAFKA"] = str(held.enter_context(lent(Kafka(Path(folder) / "kafka"))).folder)
        place = root()
        dsn = held.enter_context(timescale(place)).url if place else ""
        outputs = {name: held.enter_context(tempfile.TemporaryFile()) for name, _ in told}
        beside = [start(*part, outputs[name]) for name, part in told]
        if dsn:
            name = "of the database, on TimescaleDB"
            outputs[name] = held.enter_context(tempfile.TemporaryFile())
            beside.append(start(["-m", "not spark", *DATABASE], 0, outputs[name], TEST_POSTGRES_DSN=dsn))
        try:
            codes = [start(*shown).wait(), *(process.wait() for process in beside)]
        except KeyboardInterrupt:  # the others have had it, too
            for process in beside:
                process.wait()
            codes = [130]
        for name, output in outputs.items():
            output.seek(0)
            sys.stdout.write(f"\nthe tests {name}:\n{output.read().decode(errors='replace')}")
    sys.stdout.write(f"all parts: {time.monotonic() - started:.0f} s, exit codes {codes}\n")
    return max(map(abs, codes))  # a signal that ended one is a negative number


def start(
    arguments: list[str], nice: int, output: IO[bytes] | None = None, **environment: str
) -> "subprocess.Popen[bytes]":
    """pytest with these arguments."""
    command = [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider"]
    told = subprocess.STDOUT if output else None
    process = subprocess.Popen(command, stdout=output, stderr=told, env=os.environ | environment)
    if nice:
        os.setpriority(os.PRIO_PROCESS, process.pid, nice)
    return process


def _found(patterns: list[str]) -> list[str]:
    return [path for pattern in patterns for path in sorted(glob(pattern))]


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
