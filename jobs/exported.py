"""Folders of exported days: their manifest, what is wrong with one, what differs between two."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from core.errors import InputError, StoreUnavailable

MANIFEST = "manifest.json"
VERSION = 1
LISTED = 100
"""How many changed bars a manifest names; the counts are of all."""
_KEY = ("symbol", "interval", "start")


@dataclass(frozen=True, slots=True)
class File:
    """One file of a day."""

    file: str
    rows: int
    bytes: int
    sha256: str


def described(folder: Path) -> list[File]:
    """The Parquet files of a folder, by name."""
    return [
        File(path.name, pq.read_metadata(path).num_rows, path.stat().st_size, _digest(path))
        for path in sorted(folder.glob("*.parquet"))
    ]


def rulesets_of(folder: Path) -> list[str]:
    """The rulesets that the bars of a folder were made by."""
    found: set[str] = set()
    for path in folder.glob("bars-*m.parquet"):
        found.update(pq.read_table(path, columns=["ruleset"])["ruleset"].unique().to_pylist())
    return sorted(found)


def content_of(files: Sequence[File]) -> str:
    """One hash of all files: two exports with the same have the same rows."""
    lines = "".join(f"{each.sha256}  {each.file}\n" for each in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def write_manifest(folder: Path, said: dict[str, Any], files: Sequence[File]) -> None:
    body = {"version": VERSION, **said, "content": content_of(files), "files": [asdict(each) for each in files]}
    (folder / MANIFEST).write_text(json.dumps(body, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises InputError where there is none, or one that cannot be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
        if found["version"] != VERSION:
            raise InputError(f"{folder / MANIFEST}: version {found['version']}, and this program reads {VERSION}")
        return {**found, "files": [File(**each) for each in found["files"]]}
    except OSError as error:
        raise InputError(f"{folder / MANIFEST}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / MANIFEST} is not a manifest") from None


def problems(folder: Path) -> list[str]:
    """What is wrong with an exported day, a line each; empty is good. Raises InputError without a manifest."""
    manifest = read_manifest(folder)
    files: list[File] = manifest["files"]
    found = [f"{folder / each.file}: {wrong}" for each in files if (wrong := _wrong(folder / each.file, each))]
    known = {MANIFEST, *(each.file for each in files)}
    found += [f"{path}: not in the manifest" for path in sorted(folder.iterdir()) if path.name not in known]
    if manifest["content"] != content_of(files):
        found.append(f"{folder / MANIFEST}: its content hash is not that of its files")
    return found


def changes(old: Path, new: Path) -> dict[str, Any]:
    """What of the bars is other than it was: counts, the first bars by key, and the files that differ."""
    before, after = read_manifest(old), described(new)
    hashes = {each.file: each.sha256 for each in before["files"]}
    differing = sorted(
        {each.file for each in after if hashes.get(each.file) != each.sha256} | hashes.keys() - {f.file for f in after}
    )
    counts = {"added": 0, "removed": 0, "amended": 0}
    listed: list[dict[str, Any]] = []
    for name in (name for name in differing if name.startswith("bars-") and name != "bars-1d.parquet"):
        for change, row in _compared(_revisions(old / name), _revisions(new / name)):
            counts[change] += 1
            if len(listed) < LISTED:
                listed.append({"change": change, **row})
    return {
        "since": before["known_at"],
        "content": before["content"],
        "files": differing,
        "bars": counts,
        "first": listed,
    }


def lost_by(found: dict[str, Any], old: Path, new: Path) -> str:
    """What a replacement would take away, by `changes` and by name of file: retention may have passed meanwhile."""
    gone = [name for name in found["files"] if (old / name).exists() and not (new / name).exists()]
    removed = found["bars"]["removed"]
    return ", ".join([*gone, *([f"{removed:,} bars"] if removed else [])])


def damage(folder: Path) -> str | None:
    """The first thing that is wrong with a folder; None for a whole export."""
    try:
        return next(iter(problems(folder)), None)
    except InputError as error:
        return str(error)


def told(found: dict[str, Any]) -> str:
    """Changes as a phrase."""
    bars = ", ".join(f"{count:,} bars {name}" for name, count in found["bars"].items() if count)
    return f"{bars or 'no bar'} in {', '.join(found['files'])} since {found['since']}"


def unwritable(error: OSError) -> StoreUnavailable:
    return StoreUnavailable("export", f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))


def _wrong(path: Path, known: File) -> str | None:
    if not path.is_file():
        return "missing"
    if path.stat().st_size != known.bytes or _digest(path) != known.sha256:
        return "altered"
    return None if pq.read_metadata(path).num_rows == known.rows else "another number of rows"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _revisions(path: Path) -> dict[tuple[Any, ...], int]:
    """The revision of each bar of a file, none of one that is not there."""
    if not path.exists():
        return {}
    table = pq.read_table(path, columns=[*_KEY, "rev"])
    columns = [table[name].to_pylist() for name in (*_KEY, "rev")]
    return {key: rev for *key_, rev in zip(*columns, strict=True) for key in [tuple(key_)]}


def _compared(old: dict[tuple[Any, ...], int], new: dict[tuple[Any, ...], int]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before != after:
            change = "added" if before is None else "removed" if after is None else "amended"
            row = dict(zip(_KEY, key, strict=True)) | {"rev": after if after is not None else before}
            found.append((change, row | {"start": row["start"].isoformat()}))
    return found
