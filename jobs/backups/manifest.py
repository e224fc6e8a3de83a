"""What a backup says of itself, and whether its files are what it says."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from core.errors import InputError
from stores.files import write_atomically

VERSION = 1
FILE = "manifest.json"
PREFIX = "backup-"
_CHUNK = 1 << 20


class Entry(msgspec.Struct, frozen=True):
    """One file: its path below the backup's folder, its size and the SHA-256 of its bytes."""

    path: str
    bytes: int
    sha256: str


class Places(msgspec.Struct, frozen=True):
    """By partition of `ticks`, the first record that is not yet in the table, not yet in the lake; and the end."""

    table: dict[int, int]
    lake: dict[int, int]
    end: dict[int, int]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Times in epoch microseconds. What was acknowledged after `complete_until_us` is not in the backup."""

    version: int = VERSION
    name: str
    made_us: int
    complete_until_us: int
    code: str
    migrations: dict[str, str]
    """Name and checksum of each that the database had."""
    tables: dict[str, int]
    """Rows of each table."""
    sequences: dict[str, int]
    places: Places | None
    """None where the backup was made without Kafka."""
    records: dict[str, int]
    """Records of each topic."""
    settings: dict[str, str]
    """Those that decide what bars are, and where things are kept; no secrets."""
    files: list[Entry]

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.files)


def save(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a backup that has all its files."""
    write_atomically(folder / FILE, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def load(folder: Path) -> Manifest:
    """Raises InputError when the folder is no backup, or one of a newer version of the format."""
    try:
        data = (folder / FILE).read_bytes()
        version = msgspec.json.decode(data, type=dict).get("version")
        if version != VERSION:
            raise InputError(f"{folder}: a backup of format {version}, this code reads {VERSION}")
        return msgspec.json.decode(data, type=Manifest)
    except OSError as error:
        raise InputError(f"{folder} is no backup: {error.strerror or error} ({FILE})") from None
    except msgspec.DecodeError as error:
        raise InputError(f"{folder / FILE} is damaged: {error}") from None


def entry_of(folder: Path, path: Path) -> Entry:
    """A file of the backup as it is now."""
    return Entry(path.relative_to(folder).as_posix(), path.stat().st_size, digest(path))


def problems(folder: Path, manifest: Manifest, progress: Callable[[int], object] = lambda _: None) -> Iterator[str]:
    """What is wrong with a backup: one line for each file that is missing, altered, or not named."""
    for entry in manifest.files:
        path = folder / entry.path
        if not path.is_file():
            yield f"{entry.path}: missing"
        elif path.stat().st_size != entry.bytes or digest(path) != entry.sha256:
            yield f"{entry.path}: altered"
        progress(entry.bytes)
    named = {entry.path for entry in manifest.files} | {FILE}
    there = (path for path in sorted(folder.rglob("*")) if path.is_file())
    yield from (f"{name}: not in the manifest" for path in there if (name := _name(folder, path)) not in named)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def backups(folder: Path) -> list[Path]:
    """The finished backups below a folder, the oldest first."""
    return sorted(path.parent for path in folder.glob(f"{PREFIX}*/{FILE}"))


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
