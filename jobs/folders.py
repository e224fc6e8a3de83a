"""Folders that are there whole or not at all, and such as go with the process that made them."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
_GLOB = str.maketrans({sign: f"\\{sign}" for sign in r"\{}[]*?"})


@contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """A file that is locked, as a descriptor; None when somebody else has the lock. Raises OSError."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def own_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder `PREFIX…`, removed at the end; those that dead processes have left are removed first.

    Whoever lives holds the lock of his. A process number would not tell: containers that share a disk have their own.
    Raises OSError.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{prefix}*"):
        _sweep(left)
    folder, lock = _made(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def put(made: Path, place: Path) -> None:
    """Let a folder of files take its place, and that of what is there. Raises OSError."""
    old = _old(place)
    _sync(made)
    if place.exists():
        place.rename(old)
    made.rename(place)
    _sync_folder(place.parent)
    _remove(old)


def recover(place: Path) -> None:
    """Put back what a crash has left half replaced."""
    old = _old(place)
    with suppress(FileNotFoundError, NotADirectoryError):
        if place.exists():
            _remove(old)
        else:
            old.rename(place)


def escaped(path: Path) -> str:
    """A path as Spark reads it, to whom [ and * are patterns."""
    return str(path).translate(_GLOB)


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new folder, and its lock as a file descriptor."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with suppress(FileNotFoundError):  # somebody has swept it before it was locked
            lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / LOCK).exists():
                return folder, lock
            os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove a folder whose process is no more; its lock last, so that who dies here leaves it to the next one."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        with suppress(OSError):
            folder.rmdir()  # somebody died before he could lock it; what has other files in it is not ours
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.iterdir():
            if path.name != LOCK:
                _remove(path)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # it lives, or somebody else is at it
        pass
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
