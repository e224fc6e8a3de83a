"""What a result was measured on: without it a number means nothing."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from core.errors import TickstreamError
from local.jars import java

ROOT = Path(__file__).parent.parent


def machine() -> dict[str, Any]:
    """Processor, memory, versions, load, date and git commit of here and now."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "java": _java(),
        "spark": version("pyspark"),
        # More than a little at the start says that somebody else was measured too.
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _java() -> str:
    try:
        said = subprocess.run([java(), "-version"], capture_output=True, text=True).stderr
    except TickstreamError:
        return "not found"
    found = re.search(r'version "([^"]+)"', said)  # JDK_JAVA_OPTIONS puts a line before it
    return found[1] if found else "unknown"


def _commit() -> str:
    """The commit, with "+" when files differ from it."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
