"""What every store holds at the end, held against what must be there. Rows by (symbol, interval, start)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import redis
from psycopg.rows import dict_row

from conf.settings import Settings
from conf.topics import BARS, DEAD, INDICATORS
from core.indicators import compute
from core.records import Bar
from jobs.amend import VALUES
from jobs.backups.topics import Record, Topics
from stores.lake import make_lake
from stores.redis import bar_from_json
from stores.redis_script import TAIL_BARS
from stores.schema import values_of

Key = tuple[str, str, int]
Rows = dict[Key, Any]
_INPUTS = ("open", "high", "low", "close", "volume", "notional")
_US = '(extract(epoch FROM "{0}") * 1000000)::bigint'
_AMOUNTS = ("open", "high", "low", "close", "volume", "notional", "vwap")


@dataclass(frozen=True)
class Verdict:
    """What came of one comparison; `first` is the first difference in words, empty when there is none."""

    what: str
    compared: int
    missing: int = 0
    extra: int = 0
    different: int = 0
    first: str = ""

    @property
    def right(self) -> bool:
        return not (self.missing or self.extra or self.different or self.first)


def held_against(what: str, expected: Mapping[Key, Any], found: Mapping[Key, Any]) -> Verdict:
    """Compare rows; what is equal is equal to the last digit."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    different = sorted(key for key in expected.keys() & found.keys() if expected[key] != found[key])
    first = ""
    if different:
        first = f"{named(different[0])}: {_difference(expected[different[0]], found[different[0]])}"
    elif missing or extra:
        first = f"{named((missing or extra)[0])} is {'missing' if missing else 'too many'}"
    return Verdict(what, len(expected), len(missing), len(extra), len(different), first)


def counted(what: str, expected: int, found: int) -> Verdict:
    """Compare counts."""
    lost, more = max(0, expected - found), max(0, found - expected)
    return Verdict(
        what, expected, lost, more, 0, "" if expected == found else f"{expected:,} expected, {found:,} found"
    )


def of_bars(bars: Sequence[Bar]) -> Rows:
    """The values of bars, without what tells how and when they were made."""
    rows = (msgspec.structs.asdict(bar) for bar in bars)
    return {(row["symbol"], row["interval"], row["start"]): _values(row) for row in rows}


class Database:
    """Reads over one connection. Every call raises psycopg.Error when the server is away."""

    def __init__(self, settings: Settings) -> None:
        self._dsn = settings.postgres_dsn.get_secret_value()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with psycopg.connect(self._dsn, row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(sql.encode()).fetchall()

    def count(self, sql: str) -> int:
        return int(next(iter(self.rows(sql)[0].values())))

    def bars(self) -> Rows:
        """Every column of the newest revision."""
        found = self.rows(f'SELECT *, {_US.format("start")} AS "start", {_US.format("end")} AS "end" FROM bars')
        return {(row["symbol"], row["interval"], row["start"]): row for row in found}

    def indicators(self) -> Rows:
        sql = f'SELECT symbol, "interval", {_US.format("start")} AS "start", "values"::text AS "values" FROM indicators'
        return {(row["symbol"], row["interval"], row["start"]): values_of(row["values"]) for row in self.rows(sql)}

    def waiting(self) -> dict[str, int]:
        """What reconciling has still to do, by table; nothing when it is done."""
        asked = {
            "touched minutes": "SELECT count(*) FROM touched_minutes",
            "unchecked bars": "SELECT count(*) FROM unchecked_bars",
            "series to publish": "SELECT count(*) FROM amended_series WHERE NOT settled",
        }
        return {name: count for name, sql in asked.items() if (count := self.count(sql))}


def values_of_rows(rows: Mapping[Key, Mapping[str, Any]], *more: str) -> Rows:
    """The values of stored bars, and further columns."""
    return {key: _values(row) | {name: row[name] for name in more} for key, row in rows.items()}


def of_parquet(path: Path) -> Rows:
    """The bars of a folder of Parquet files."""
    table = pq.read_table(path)
    for name in ("start", "end"):
        at = table.schema.get_field_index(name)
        micros = table[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        table = table.set_column(at, name, micros)
    return {(row["symbol"], row["interval"], row["start"]): _values(row) for row in table.to_pylist()}


def of_topic(settings: Settings) -> Rows:
    """The newest revision of every bar in the topic `bars`."""
    newest: Rows = {}
    for record in _records(settings, BARS):
        row = bar_from_json(record.value or b"")
        key = (row["symbol"], row["interval"], row["start"])
        if key not in newest or newest[key]["rev"] <= row["rev"]:
            newest[key] = row
    return newest


def indicators_of_topic(settings: Settings) -> Rows:
    """The newest indicators of every bar in the topic `indicators`: of the greatest revision the last by time.

    Offsets do not tell: records with a state have another key, and may be in another partition.
    """
    newest: dict[Key, tuple[tuple[int, int], Any]] = {}
    for record in _records(settings, INDICATORS):
        row = msgspec.json.decode(record.value or b"")
        key, age = (row["symbol"], row["interval"], row["start"]), (row["rev"], record.stamp_ms)
        if key not in newest or newest[key][0] <= age:
            newest[key] = age, row["values"]
    return {key: values for key, (_, values) in newest.items()}


def dead_letters(settings: Settings) -> int:
    """How many records were refused; a repeat of one counts once."""
    found = set()
    for record in _records(settings, DEAD):
        named = {name: value for name, value in record.headers if value is not None}
        found.add((named["partition"], named["offset"]))
    return len(found)


def of_redis(settings: Settings, keys: Sequence[tuple[str, str]]) -> tuple[Rows, Rows]:
    """The bars of every tail, and the newest indicators by the bar that they belong to."""
    bars: Rows = {}
    indicators: Rows = {}
    with redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=10) as client:
        for symbol, interval in keys:
            for payload in client.hvals(f"tail:{symbol}:{interval}"):
                row = bar_from_json(payload)
                if row["state"] != "forming":
                    bars[symbol, interval, row["start"]] = row
            start, values = client.hmget(f"indicators:{symbol}:{interval}", "start", "json")
            if values is not None:
                indicators[symbol, interval, int(start)] = values_of(values)
    return bars, indicators


def of_api(url: str, keys: Sequence[tuple[str, str]]) -> Rows:
    """The newest bars as the API answers them."""
    found: Rows = {}
    with httpx.Client(base_url=url, timeout=30) as client:
        for symbol, interval in keys:
            answer = client.get(f"/api/v1/bars/{symbol}", params={"interval": interval, "limit": 1000})
            answer.raise_for_status()
            for row in answer.json()["bars"]:
                start = round(pd.Timestamp(row["start"]).value / 1000)
                found[symbol, interval, start] = _answered(row)
    return found


def answered(rows: Mapping[Key, Mapping[str, Any]]) -> Rows:
    """Stored bars as `of_api` has them."""
    return {key: _answered(row) for key, row in rows.items()}


def newest(rows: Mapping[Key, Any], count: int = TAIL_BARS) -> Rows:
    """The newest `count` rows of each series."""
    series: dict[tuple[str, str], list[Key]] = {}
    for key in sorted(rows):
        series.setdefault(key[:2], []).append(key)
    return {key: rows[key] for keys in series.values() for key in keys[-count:]}


def lake_ticks(settings: Settings) -> int:
    """How many trades the lake has, each once."""
    ticks = make_lake(settings).read_ticks(0, 1 << 62)
    return int(np.sum(np.array(ticks["kind"].to_pylist(), object) == "trade"))


def expected_indicators(bars: Sequence[Bar], settings: Settings) -> Rows:
    """The indicators of these bars, computed from the first one on."""
    rows = [msgspec.structs.asdict(bar) for bar in bars]
    frame = pd.DataFrame([{name: row[name] for name in ("symbol", "interval", "start")} | _floats(row) for row in rows])
    found: Rows = {}
    for interval, part in frame.groupby("interval"):
        made = compute(part, settings.indicators_of(str(interval)), settings.calendar).to_dict("records")
        keys = part[["symbol", "interval", "start"]].itertuples(index=False, name=None)
        for key, row in zip(keys, made, strict=True):
            found[key] = {name: float(value) if np.isfinite(value) else None for name, value in row.items()}
    return found


def _records(settings: Settings, topic: str) -> Iterator[Record]:
    reader = Topics(settings)
    try:
        bounds = reader.bounds(topic)
        first, end = ({number: edge[at] for number, edge in bounds.items()} for at in (0, 1))
        yield from reader.read(topic, first, end)
    finally:
        reader.close()


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(row[name]) if name in _AMOUNTS else row[name] for name in VALUES}


def _answered(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume", "vwap", "trade_count", "rev", "state")
    return {name: _number(row[name]) if name in _AMOUNTS else row[name] for name in names}


def _number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


def _floats(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: np.nan if row[name] is None else float(row[name]) for name in _INPUTS}


def named(key: Key) -> str:
    """A bar in words."""
    return f"{key[0]} {key[1]} {pd.Timestamp(key[2], unit='us', tz='UTC'):%Y-%m-%dT%H:%M:%SZ}"


def _difference(expected: Any, found: Any) -> str:
    if not isinstance(expected, Mapping) or not isinstance(found, Mapping):
        return f"{expected} expected, {found} found"
    names = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    return "; ".join(f"{name} {expected.get(name)} expected, {found.get(name)} found" for name in sorted(names)[:4])
