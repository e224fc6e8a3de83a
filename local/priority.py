"""Who stands back when processors are short.

The live queries share a machine with work that may wait: the micro-batches of the final and archive queries take
whole cores for half a second at a time, and a relay that comes second conflates more rows at once. Nothing is slowed
down while there is a processor to spare.
"""

import contextlib
import os
from pathlib import Path

STORES = 15
RELAY = 10


def stand_back(pid: int, nice: int) -> None:
    """Give a process that has just begun a niceness (0 to 19), which its threads and children then have.

    Linux may schedule sessions instead of processes; niceness counts only within one then, so it is said twice.
    """
    if not nice:
        return
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
