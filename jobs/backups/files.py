"""Folders of files that never change once they are there: the lake and the models."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import InputError
from stores.lake import MANIFESTS, LakeStore

_FAR_US = 1 << 62


def lake_files(root: Path) -> Iterator[Path]:
    """The manifests of a lake, and the files that they name; files of a batch that is being written are not among
    them. A manifest comes before its files."""
    lake = LakeStore(root)
    for table in sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []:
        manifests = sorted((root / table).glob(f"date=*/{MANIFESTS}/*.json"))
        yield from manifests
        yield from (Path(path) for path in sorted(set(lake.paths(table, -_FAR_US, _FAR_US))))


def other_files(root: Path) -> Iterator[Path]:
    """Every file of a folder but hidden ones, which are being written."""
    for path in sorted(root.rglob("*")) if root.is_dir() else []:
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts):
            yield path


def copy(
    files: Iterator[Path], root: Path, into: Path, known: dict[Path, Path], progress: Callable[[int], object]
) -> int:
    """Copy files with their places below `root`; how many.

    A file that an earlier backup has (`known`: place -> file of it) with the same size and time is linked, not copied.
    """
    count = 0
    for path in files:
        place = path.relative_to(root)
        target = into / place
        target.parent.mkdir(parents=True, exist_ok=True)
        held = known.get(place)
        if held is not None and _same(held, path):
            os.link(held, target)
        else:
            _copied(path, target)
        progress(target.stat().st_size)
        count += 1
    return count


def place(held: Path, target: Path, progress: Callable[[int], object]) -> int:
    """Copy a folder of a backup to where it belongs; how many files. Raises InputError where there is one already."""
    if holds_files(target):
        raise InputError(f"{target} is not empty")
    paths = [path for path in sorted(held.rglob("*")) if path.is_file()] if held.is_dir() else []
    for path in paths:
        to = target / path.relative_to(held)
        to.parent.mkdir(parents=True, exist_ok=True)
        _copied(path, to)
        progress(path.stat().st_size)
    return len(paths)


def holds_files(folder: Path) -> bool:
    """Whether there is any file below a folder."""
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _same(held: Path, path: Path) -> bool:
    ours, theirs = held.stat(), path.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def _copied(path: Path, target: Path) -> None:
    shutil.copy2(path, target)
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
