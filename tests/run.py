"""The whole suite in two processes side by side: the tests on Spark, and all others, which stand back.

Much of either is waiting for servers, so both together take little longer than the longer one. Each half has one
broker, one PostgreSQL and one Redis; one of them a Spark session. `make test ARGS=…` runs pytest itself.
"""

import os
import subprocess
import sys
import tempfile
import time
from typing import IO

HALVES = {"on Spark": "spark", "without Spark": "not spark"}
NICE = 5


def main() -> int:
    """Exit code: 0 when both halves passed."""
    started = time.monotonic()
    shown, told = HALVES
    with tempfile.TemporaryFile() as output:
        beside = start(HALVES[told], output, nice=NICE)
        try:
            codes = [start(HALVES[shown]).wait(), beside.wait()]
        except KeyboardInterrupt:  # both have had it, too
            beside.wait()
            codes = [130]
        output.seek(0)
        sys.stdout.write(f"\nthe tests {told}:\n{output.read().decode(errors='replace')}")
    sys.stdout.write(f"both halves: {time.monotonic() - started:.0f} s, exit codes {codes}\n")
    return max(codes)


def start(mark: str, output: IO[bytes] | None = None, nice: int = 0) -> "subprocess.Popen[bytes]":
    """pytest over the tests of a mark."""
    command = [sys.executable, "-m", "pytest", "-m", mark, "-p", "no:cacheprovider"]
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT if output else None)
    if nice:
        os.setpriority(os.PRIO_PROCESS, process.pid, nice)
    return process


if __name__ == "__main__":
    sys.exit(main())
