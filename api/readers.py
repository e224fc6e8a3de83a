"""Who reads which topic, and how far: from committed offsets and from the checkpoints of Spark. No network."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Place = tuple[str, int]
"""Topic and partition."""
# jobs.queries starts a live query for each partition of `ticks`: `live-0` reads partition 0 alone.
_OWN_PARTITION = re.compile(r"live-(\d+)")


@dataclass(frozen=True, slots=True)
class Reader:
    """Where a reader is: by partition, the offset of the record that it reads next. Times in epoch microseconds.

    `as_of_us`: when its checkpoint was written. `batch`: the number of its last finished micro-batch. `watermark_us`:
    the event time that it takes nothing older than. None for what is not known. `only`: the partitions it reads, where
    those are not all.
    """

    name: str
    topic: str
    places: Mapping[int, int]
    source: Literal["group", "checkpoint"]
    as_of_us: int | None = None
    batch: int | None = None
    watermark_us: int | None = None
    only: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Offsets:
    """First and next offset of each partition of the topics there are; `newest`: stamp of the newest record, in us."""

    first: Mapping[Place, int]
    end: Mapping[Place, int]
    newest: Mapping[str, int] = field(default_factory=dict)

    def partitions(self, topic: str) -> list[int]:
        return sorted(number for name, number in self.end if name == topic)

    def lag(self, reader: Reader) -> dict[int, int]:
        """Records behind the end by partition. A partition it never read from counts from its first record."""
        return {number: self.end[reader.topic, number] - at for number, at in self._places(reader)}

    def overdue(self, reader: Reader, then: Mapping[Place, int]) -> int:
        """How many records below the offsets of `then` it has not finished."""
        return sum(max(0, then.get((reader.topic, number), 0) - at) for number, at in self._places(reader))

    def _places(self, reader: Reader) -> Iterator[tuple[int, int]]:
        for number in self.partitions(reader.topic):
            if reader.only is None or number in reader.only:
                first = self.first.get((reader.topic, number), 0)
                at = max(first, reader.places.get(number, first))
                yield number, min(at, self.end[reader.topic, number])


def checkpoints(folder: Path, topic: str) -> list[Reader]:
    """Where the Spark queries are, by the last finished batch in their checkpoints; none where the folder is not here.

    A query in real-time mode finishes a batch at each of its checkpoints, so it is further than this says.
    """
    readers = [_checkpoint(path, topic) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [reader for reader in readers if reader is not None]


def _checkpoint(query: Path, topic: str) -> Reader | None:
    """Spark's offset log: a line of version, one of metadata, then a line for each source."""
    try:
        batch = max(int(path.name) for path in (query / "commits").iterdir() if path.name.isdigit())
        log, done = query / "offsets" / str(batch), query / "commits" / str(batch)
        places: dict[int, int] = {}
        for line in log.read_text().splitlines()[2:]:
            places |= {int(number): int(offset) for number, offset in json.loads(line).get(topic, {}).items()}
        watermark_us = _watermark(json.loads(done.read_text().splitlines()[1]))
        as_of_us = done.stat().st_mtime_ns // 1000
    except (OSError, ValueError, AttributeError, IndexError):  # no batch yet, or Spark is tidying up
        return None
    own = _OWN_PARTITION.fullmatch(query.name)
    only = frozenset({int(own[1])}) if own else None
    return Reader(query.name, topic, places, "checkpoint", as_of_us, batch, watermark_us, only) if places else None


def _watermark(commit: Mapping[str, Any]) -> int | None:
    """Zero until the first batch with a tick, and of queries without a watermark."""
    return int(commit.get("nextBatchWatermarkMs") or 0) * 1000 or None
