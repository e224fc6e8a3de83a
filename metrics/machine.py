"""The machine's share of a process: its disk, and the JVM beside a Spark driver."""

import os
import shutil
from pathlib import Path

from prometheus_client import REGISTRY, ProcessCollector

from metrics.pulled import Pulled, Row

DISK = Pulled(
    "disk",
    {"free_bytes": "Room left where a folder is, for us", "size_bytes": "Size of that file system"},
    ["folder"],
)


def watch_disk(name: str, folder: Path) -> None:
    """The disk of a folder that may not exist yet."""

    def read() -> list[Row]:
        there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
        usage = shutil.disk_usage(there)
        return [([name], {"free_bytes": usage.free, "size_bytes": usage.total})]

    DISK.watch(read)


def watch_jvm() -> None:
    """Memory, CPU and files of the JVM that has started this process, as `tickstream_jvm_process_…`; Linux only."""
    parent = os.getppid()
    if _program(parent) == "java":
        ProcessCollector(namespace="tickstream_jvm", pid=lambda: parent, registry=REGISTRY)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
