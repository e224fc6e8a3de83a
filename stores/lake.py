"""The Parquet lake: every accepted tick, and bars, as files that Spark, pandas and DuckDB read.

    ticks/date=2026-01-31/symbol=BTC-USD/part-<batch>.parquet
    ticks/date=2026-01-31/_manifest/<batch>.json

`date` is the UTC day of the event time (of a bar's start), the symbol is quoted as Hive quotes it. The files are
complete in themselves: `symbol` is a column too. A batch exists, day by day, from the moment its manifest does: one
small file per batch, so that a write costs the same however long the day is. Readers go by the manifests; a file
without one is the trace of a crash, and disappears under the retried batch.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.settings import Settings
from core.errors import InputError, StoreUnavailable
from core.intervals import DAY_US
from stores.files import write_atomically
from stores.schema import BAR_SCHEMA, TICK_SCHEMA

NAME = "lake"
MANIFESTS = "_manifest"
# What may stand in a path as it is; everything else is %XX. A dot could make a name of its own ("..").
_SAFE = "-_~@+!$()& "
# File systems take names of 255 bytes; `.part-`, `-` with 12 digits and `.parquet.tmp` come around that of a batch.
_LONGEST_NAME = 224


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a batch: its path below the day's folder, rows, hash, and the event times it spans."""

    file: str
    rows: int
    sha256: str
    first_us: int
    last_us: int


class LakeStore:
    """A BarSink and a TickSink on a folder.

    A `batch_id` names a batch in its source: the same batch again replaces its files, whatever its rows' order.
    Spark's batch numbers start anew with every checkpoint, so the name also says which offsets and times the batch
    spans: another batch with the number of an old one must not take its place. Without an id the content is the
    name, and the same batch written twice is still one.
    """

    name = NAME

    def __init__(self, root: Path) -> None:
        self._root = Path(root)

    def __repr__(self) -> str:
        return f"LakeStore({str(self._root)!r})"

    def setup(self) -> None:
        with _translated():
            for table in ("ticks", "bars"):
                (self._root / table).mkdir(parents=True, exist_ok=True)

    def write_ticks(self, ticks: pa.Table, batch_id: str | None = None) -> None:
        self._write("ticks", ticks.select(TICK_SCHEMA.names), "event_time", batch_id)

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None, *, batch_id: str | None = None) -> None:
        """Write the bars. The lake keeps no indicators: they follow from the bars."""
        del indicators
        self._write("bars", bars.select(BAR_SCHEMA.names), "start", batch_id)

    def read_ticks(self, start_us: int, end_us: int, symbols: Sequence[str] | None = None) -> pa.Table:
        """Ticks of `[start_us, end_us)` by event time and seq, each identity once: the lowest Kafka offset."""
        ticks = self._read("ticks", "event_time", TICK_SCHEMA, start_us, end_us, symbols)
        order = [("kafka_offset", "ascending"), ("event_time", "ascending")]
        return _first_of_each(ticks, order, ["symbol", "identity"]).sort_by(
            [("event_time", "ascending"), ("seq", "ascending"), ("symbol", "ascending"), ("identity", "ascending")]
        )

    def read_bars(self, start_us: int, end_us: int, symbols: Sequence[str] | None = None) -> pa.Table:
        """Bars that start in `[start_us, end_us)`, by symbol, interval and start, each in its newest revision."""
        bars = self._read("bars", "start", BAR_SCHEMA, start_us, end_us, symbols)
        keys = ["symbol", "interval", "start"]
        return _first_of_each(bars, [("rev", "descending")], keys).sort_by([(key, "ascending") for key in keys])

    def paths(self, table: str, start_us: int, end_us: int, symbols: Sequence[str] | None = None) -> list[str]:
        """The files that may hold rows of the range, for `spark.read.parquet(*paths)`.

        Raw: a batch that was read twice by its source is there twice. Drop duplicates by identity.
        """
        wanted = None if symbols is None else {_symbol_folder(symbol) for symbol in symbols}
        with _translated():
            return [
                str(day / part.file)
                for day in self._days(table, start_us, end_us)
                for part in _parts(day)
                if part.first_us < end_us
                and part.last_us >= start_us
                and (wanted is None or part.file.split("/")[0] in wanted)
            ]

    def verify(self, table: str) -> list[str]:
        """What is wrong with the files that manifests name: one line per missing or altered file; empty is good."""
        with _translated():
            return [
                f"{day / part.file}: {problem}"
                for day in sorted((self._root / table).glob("date=*"))
                for part in _parts(day)
                if (problem := _problem(day / part.file, part)) is not None
            ]

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, table: str, rows: pa.Table, time: str, batch_id: str | None) -> None:
        with _translated():
            for day, of_day in _split(rows, pc.floor_temporal(rows[time], unit="day")):
                self._write_day(self._root / table / f"date={day:%Y-%m-%d}", of_day, time, batch_id)

    def _write_day(self, folder: Path, rows: pa.Table, time: str, batch_id: str | None) -> None:
        blobs = [(symbol, of_symbol, _parquet(of_symbol)) for symbol, of_symbol in _split(rows, rows["symbol"])]
        content = _digest(blob for _, _, blob in blobs)[:16]
        batch = content if batch_id is None else f"{_batch_name(batch_id)}-{_span(rows, time)}"
        parts = []
        for symbol, of_symbol, blob in blobs:
            part = _part(f"{_symbol_folder(symbol)}/part-{batch}.parquet", of_symbol, time, blob)
            write_atomically(folder / part.file, blob)
            parts.append(part)
        manifest = json.dumps({"version": 1, "files": [asdict(part) for part in parts]}, indent=1)
        write_atomically(folder / MANIFESTS / f"{batch}.json", manifest.encode())

    def _read(
        self, table: str, time: str, schema: pa.Schema, start_us: int, end_us: int, symbols: Sequence[str] | None
    ) -> pa.Table:
        with _translated():
            found = [pq.ParquetFile(path).read() for path in self.paths(table, start_us, end_us, symbols)]
        rows = pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in found)])
        times = rows[time].cast(pa.int64())
        return rows.filter(pc.and_(pc.greater_equal(times, start_us), pc.less(times, end_us)))

    def _days(self, table: str, start_us: int, end_us: int) -> Iterator[Path]:
        for day in sorted((self._root / table).glob("date=*")):
            first = int(pc.strptime(day.name, "date=%Y-%m-%d", "us").cast(pa.int64()).as_py())
            if first < end_us and first + DAY_US > start_us:
                yield day


def make_lake(settings: Settings) -> LakeStore:
    return LakeStore(settings.lake_path)


def _split(rows: pa.Table, by: pa.ChunkedArray) -> Iterator[tuple[Any, pa.Table]]:
    """The rows per distinct value, in order of the values; the order of rows within one is kept."""
    order = pc.sort_indices(by)  # stable
    ordered, values = rows.take(order), by.take(order)
    at = 0
    for run in pc.value_counts(values).to_pylist():
        yield run["values"], ordered.slice(at, run["counts"])
        at += run["counts"]


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _part(file: str, rows: pa.Table, time: str, blob: bytes) -> Part:
    span = pc.min_max(rows[time].cast(pa.int64()))
    return Part(file, rows.num_rows, _digest([blob]), span["min"].as_py(), span["max"].as_py())


def _span(rows: pa.Table, time: str) -> str:
    """A short name for where the rows come from: per Kafka partition their offsets and times."""
    offset = "kafka_offset" if "kafka_offset" in rows.column_names else "last_offset"
    ends = [(column, end) for column in (offset, time) for end in ("min", "max")]
    spans = rows.group_by("kafka_partition").aggregate(ends).sort_by("kafka_partition")
    return _digest([json.dumps(spans.to_pylist(), default=str).encode()])[:12]


def _digest(blobs: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for blob in blobs:
        digest.update(blob)
    return digest.hexdigest()


def _quoted(text: str) -> str:
    return quote(text, safe=_SAFE).replace(".", "%2E")


def _batch_name(batch_id: str) -> str:
    """The batch in names of files: quoted, or its digest where that is too long for one."""
    name = _quoted(batch_id)
    return name if len(name) <= _LONGEST_NAME else _digest([name.encode()])[:32]


def _symbol_folder(symbol: str) -> str:
    return f"symbol={_quoted(symbol)}"


def _parts(day: Path) -> list[Part]:
    parts = []
    for manifest in sorted((day / MANIFESTS).glob("*.json")):
        try:
            parts += [Part(**entry) for entry in json.loads(manifest.read_text())["files"]]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{NAME}: {manifest} is not a manifest") from None
    return parts


def _problem(path: Path, part: Part) -> str | None:
    if not path.exists():
        return "missing"
    return None if _digest([path.read_bytes()]) == part.sha256 else "altered"


def _first_of_each(rows: pa.Table, order: list[tuple[str, str]], keys: list[str]) -> pa.Table:
    """The first row of each key after sorting; rows without a value to sort by come last."""
    ordered = rows.sort_by(order)
    numbered = ordered.append_column("_row", pa.array(range(ordered.num_rows), pa.int64()))
    return ordered.take(numbered.group_by(keys).aggregate([("_row", "min")])["_row_min"])


@contextmanager
def _translated() -> Iterator[None]:
    """Disk full, no permission, a vanished mount: the batch may succeed later."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(NAME, f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error
    except pa.ArrowInvalid as error:
        raise InputError(f"{NAME}: {error}") from error
