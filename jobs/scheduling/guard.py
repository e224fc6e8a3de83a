"""Runs a command for as long as the process that asked for it lives; then ends it, with all that it has begun.

    python -m jobs.scheduling.guard LOCK COMMAND…

Its stdin is a pipe from that process, which closes when it dies, by whatever signal. LOCK is the descriptor of a locked
file: the command has it too, so that the lock holds until the last of them is gone.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

GRACE_SECONDS = 10.0
_LOOK_SECONDS = 0.05


def main(arguments: Sequence[str]) -> int:
    """The command's exit code; 128 and the signal that ended it, as shells have it."""
    lock, *command = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_it_to_the_pipe)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[int(lock)], process_group=0)
    threading.Thread(target=_end_with_the_pipe, args=[process.pid], daemon=True).start()
    code = process.wait()
    _end(process.pid)
    return code if code >= 0 else 128 - code


def _leave_it_to_the_pipe(*_: object) -> None:
    """Whoever signals us signals the process that asked as well. Not SIG_IGN, which the command would inherit."""


def _end_with_the_pipe(group: int) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    _end(group)


def _end(group: int) -> None:
    """SIGTERM to a process group, after a grace SIGKILL; returns when it is gone or killed."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
