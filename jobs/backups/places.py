"""How far the tick log has got: the offsets that the archive and lake queries have finished."""

import json
from pathlib import Path

import psycopg

from conf.settings import Settings
from conf.topics import TICKS

TABLE, LAKE = "archive", "lake"
_STORED = """
    SELECT kafka_partition, max(kafka_offset) + 1 FROM ticks WHERE kafka_partition IS NOT NULL AND kafka_offset >= 0
    GROUP BY 1
"""


def finished(settings: Settings, query: str) -> dict[int, int] | None:
    """By partition the offset that a query goes on from; None where it has no checkpoint here, or no batch yet."""
    folder = settings.checkpoint_path / query
    try:
        batch = max(int(path.name) for path in (folder / "commits").iterdir() if path.name.isdigit())
        lines = (folder / "offsets" / str(batch)).read_text().splitlines()[2:]
        return _offsets(lines, settings.topic(TICKS))
    except (OSError, ValueError):
        return None


def stored(connection: psycopg.Connection) -> dict[int, int]:
    """By partition the offset behind the newest tick of the table; a batch of ticks is there whole or not at all."""
    return dict(connection.execute(_STORED).fetchall())


def unfinished(known: dict[int, int], bounds: dict[int, tuple[int, int]]) -> dict[int, int]:
    """By partition the first record to take, within what the topic holds.

    A place behind its end is one in another topic, of the broker before a restore: then all of it is taken.
    """
    places = {number: known.get(number, 0) for number in bounds}
    return {
        number: first if places[number] > end else max(places[number], first) for number, (first, end) in bounds.items()
    }


def checkpoints(folder: Path) -> list[str]:
    """The queries that have a checkpoint in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _offsets(lines: list[str], topic: str) -> dict[int, int]:
    """Of Spark's offset log, one line for each source."""
    found: dict[int, int] = {}
    for line in lines:
        found |= {int(number): int(offset) for number, offset in json.loads(line).get(topic, {}).items()}
    return found
