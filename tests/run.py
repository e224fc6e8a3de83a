"""The whole suite in three processes side by side: the tests on Spark, and all others, which stand back.

Much of each is waiting for servers, so all together take little longer than the longest one. Each part has one broker,
one PostgreSQL and one Redis; one of them a Spark session. `make test ARGS=…` runs pytest itself.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from glob import glob
from typing import IO

SERVING = ["tests/integration/test_api_*", "tests/integration/test_socket_*", "tests/unit"]
PARTS = {
    "on Spark": ["-m", "spark"],
    # What is added and named nowhere here is run by this one.
    "of feeds, stores and the stack": ["-m", "not spark", *(f"--ignore-glob={path}" for path in SERVING)],
    "of the API, and units": ["-m", "not spark", *SERVING],
}
NICE = 5


def main() -> int:
    """Exit code: 0 when every part passed."""
    started = time.monotonic()
    shown, *told = PARTS
    with ExitStack() as files:
        outputs = {name: files.enter_context(tempfile.TemporaryFile()) for name in told}
        beside = [start(PARTS[name], outputs[name], nice=NICE) for name in told]
        try:
            codes = [start(PARTS[shown]).wait(), *(process.wait() for process in beside)]
        except KeyboardInterrupt:  # the others have had it, too
            for process in beside:
                process.wait()
            codes = [130]
        for name, output in outputs.items():
            output.seek(0)
            sys.stdout.write(f"\nthe tests {name}:\n{output.read().decode(errors='replace')}")
    sys.stdout.write(f"all parts: {time.monotonic() - started:.0f} s, exit codes {codes}\n")
    return max(codes)


def start(arguments: list[str], output: IO[bytes] | None = None, nice: int = 0) -> "subprocess.Popen[bytes]":
    """pytest with these arguments; a pattern stands for the paths that it matches."""
    expanded = [path for each in arguments for path in (sorted(glob(each)) if each.startswith("tests/") else [each])]
    command = [sys.executable, "-m", "pytest", *expanded, "-p", "no:cacheprovider"]
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT if output else None)
    if nice:
        os.setpriority(os.PRIO_PROCESS, process.pid, nice)
    return process


if __name__ == "__main__":
    sys.exit(main())
