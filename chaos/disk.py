"""A small disk for the checkpoints, so that it can be full."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE_MB = 384
_BLOCK = bytes(1 << 20)


@contextlib.contextmanager
def small_disk(folder: Path, size_mb: int = SIZE_MB) -> Iterator[bool]:
    """A file system of its own at `folder`; False, and a plain folder, where this account may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0755", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


class Filler:
    """A file that takes all that is left of a disk."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".filler"

    def fill(self) -> int:
        """Megabytes taken. To the last byte: what is being written beside us fails at any place."""
        taken = self._path.stat().st_size if self._path.exists() else 0
        with contextlib.suppress(OSError), self._path.open("ab", buffering=0) as file:
            while written := file.write(_BLOCK):
                taken += written
        return taken >> 20

    def free(self) -> None:
        self._path.unlink(missing_ok=True)
