"""Files of recorded ticks: finding them, and reading them one trading day at a time.

The layout is that of ../shared/data: Parquet or CSV with symbol, event_time, seq, price, size and optionally
trade_id, exchange, conditions, suspicious. A time without a zone is UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from core.errors import InputError
from producers.normalise import OPTIONAL, REQUIRED, event_us

_CODES = ("symbol", "trade_id", "exchange", "conditions")
_TEXT = {name: pa.string() for name in (*_CODES, "event_time")}
_NUMBERS = {"seq": pa.int64(), "price": pa.float64(), "size": pa.float64()}


@dataclass(frozen=True, slots=True)
class TickFile:
    """A file of ticks, its row count, and the range of its event times in epoch microseconds, both inclusive."""

    path: Path
    rows: int
    first_us: int
    last_us: int

    @property
    def source(self) -> str:
        """What its ticks are known by: with event time and seq it names one of them."""
        return f"replay:{self.path.stem}"


def find_files(paths: Sequence[Path]) -> list[TickFile]:
    """The tick files among `paths`, folders searched; raises InputError where there is nothing to replay."""
    found: dict[Path, TickFile] = {}
    for path in paths:
        for file in _search(path):
            found.setdefault(file.path.resolve(), file)
    files = [file for file in found.values() if file.rows]
    if not files:
        raise InputError(f"no ticks in {', '.join(map(str, paths))}: every file is empty")
    by_name: dict[str, Path] = {}
    for file in files:
        other = by_name.setdefault(file.source, file.path)
        if other is not file.path:
            raise InputError(f"{other} and {file.path} share a name, so their ticks would pass for repeats; rename one")
    return files


def read_days(files: Sequence[TickFile], time_zone: str = "UTC") -> Iterator[tuple[date, pd.DataFrame]]:
    """The rows of all files by calendar day of `time_zone`, so that memory holds one day; empty days are left out.

    A CSV file, or one whose times are text, is parsed once for each day it reaches into.
    """
    zone = ZoneInfo(time_zone)
    day = _local(min(file.first_us for file in files), zone)
    last = _local(max(file.last_us for file in files), zone)
    while day <= last:
        start, end = _midnight_us(day, zone), _midnight_us(day + timedelta(days=1), zone)
        parts = [_read(file, start, end) for file in files if file.first_us < end and file.last_us >= start]
        parts = [part for part in parts if len(part)]
        if parts:
            yield day, pd.concat(parts, ignore_index=True)
        day += timedelta(days=1)


def suggested_ruleset(files: Sequence[TickFile]) -> str:
    """The ruleset that recorded ticks ask for: `us-equity` where conditions are the tape's bit masks, else `all`.

    A tape file is known by one-letter venues and hexadecimal conditions in its first rows, of which most have one.
    """
    return "us-equity" if all(_is_tape(file.path) for file in files) else "all"


def _is_tape(path: Path) -> bool:
    if not {"conditions", "exchange"} <= set(_columns(path)):
        return False
    head = _table(path, ["conditions", "exchange"]).slice(0, 1000).to_pandas()
    masks = head["conditions"].dropna().astype(str)
    venues = head["exchange"].dropna().astype(str)
    return len(masks) > len(head) / 2 and masks.str.fullmatch("[0-9a-f]{1,8}").all() and (venues.str.len() == 1).all()


def _search(path: Path) -> list[TickFile]:
    if path.is_file():
        return [_open(path)]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    candidates = sorted(file for file in path.rglob("*") if file.suffix in (".parquet", ".csv"))
    files = [_open(file) for file in candidates if not _missing(file)]
    if not files:
        held = f"; it holds {_what(candidates[0])}" if candidates else ""
        raise InputError(f"{path}: no file of trade ticks (columns {', '.join(REQUIRED)}){held}")
    return files


def _open(path: Path) -> TickFile:
    missing = _missing(path)
    if missing:
        raise InputError(f"{path}: {_what(path)}, not trade ticks; missing {', '.join(missing)}")
    times = event_us(_times(path, _table(path, ["event_time"]).column("event_time").to_pandas()))
    return TickFile(path, len(times), int(times.min()), int(times.max())) if len(times) else TickFile(path, 0, 0, 0)


def _columns(path: Path) -> list[str]:
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8-sig") as file:
                return [name.strip() for name in file.readline().split(",")]
        return pq.read_schema(path).names
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: neither Parquet nor CSV ({str(error).splitlines()[0]})") from None


def _missing(path: Path) -> list[str]:
    present = _columns(path)
    return [name for name in REQUIRED if name not in present]


def _what(path: Path) -> str:
    columns = set(_columns(path))
    if {"bid", "ask"} <= columns:
        return "quotes (bid and ask)"
    return "bars" if {"open", "high", "low", "close"} <= columns else f"columns {', '.join(sorted(columns))[:80]}"


def _table(path: Path, columns: list[str], between: tuple[int, int] | None = None) -> pa.Table:
    """The columns of a file, those of text as text; `between` spares Parquet rows outside of it, epoch microseconds."""
    try:
        if path.suffix != ".csv":
            # partitioning=None: folder names such as date=2024-01-02 are not columns of a tick.
            table = pq.read_table(path, columns=columns, filters=_filter(path, between), partitioning=None)
            return table.cast(pa.schema([_as_text(field) for field in table.schema]))
        convert = pa_csv.ConvertOptions(
            column_types=_TEXT | _NUMBERS, include_columns=columns, strings_can_be_null=True
        )
        return pa_csv.read_csv(path, convert_options=convert)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from None


def _filter(path: Path, between: tuple[int, int] | None) -> pc.Expression | None:
    """Rows of [start, end) as Arrow can tell them: None for times that are no timestamps, such as text."""
    if between is None:
        return None
    kind = pq.read_schema(path).field("event_time").type
    if not pa.types.is_timestamp(kind):
        return None
    # A bound has the column's own zone, or none: Arrow compares no others.
    start, end = (pa.scalar(us, pa.timestamp("us", kind.tz)) for us in between)
    return (pc.field("event_time") >= start) & (pc.field("event_time") < end)


def _as_text(field: pa.Field) -> pa.Field:
    """An id or code that is a number becomes text here: in pandas, integers with nulls would be floats."""
    convert = field.name in _CODES and not pa.types.is_floating(field.type)
    return field.with_type(pa.string()) if convert else field


def _read(file: TickFile, start_us: int, end_us: int) -> pd.DataFrame:
    """The file's rows of [start_us, end_us), with `source` set and times in UTC."""
    columns = [name for name in _columns(file.path) if name in REQUIRED + OPTIONAL]
    inside = start_us <= file.first_us and file.last_us < end_us
    frame = _table(file.path, columns, None if inside else (start_us, end_us)).to_pandas()
    frame["event_time"] = _times(file.path, frame["event_time"])
    if not inside:
        times = event_us(frame["event_time"])
        frame = frame[(times >= start_us) & (times < end_us)]
    return frame.assign(source=file.source)


def _times(path: Path, written: pd.Series) -> pd.Series:
    """A column of times in UTC. Raises InputError naming what is no time, such as an epoch number or an empty cell."""
    try:
        times = pd.to_datetime(written, utc=True, format="ISO8601")
    except (ValueError, TypeError):
        times = pd.to_datetime(written.astype(str), utc=True, format="ISO8601", errors="coerce")
    if (bad := times.isna()).any():
        example = written[bad].iloc[0]
        what = "empty" if pd.isna(example) else repr(str(example))
        raise InputError(
            f"{path}: event_time is neither a timestamp nor ISO 8601 text in {bad.sum():,} of {len(times):,} rows,"
            f" the first of them {what}"
        )
    return times


def _utc(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC)


def _local(us: int, zone: ZoneInfo) -> date:
    return _utc(us).astimezone(zone).date()


def _midnight_us(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1_000_000
