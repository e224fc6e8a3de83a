"""What the queries of a restored stack begin with: the ticks of bars that were open, and those that the log lacked.

A tick at or after the oldest open bar goes to the topic `ticks`, in its old order, and so through all queries again;
what the stores already have of it changes nothing. An older one would make a closed bar anew from itself alone: it
goes into the tick log straight, and reconciling amends its bar. A record that is no tick goes to `ticks.dead`.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import psycopg
import pyarrow as pa

from conf.settings import Settings
from conf.topics import DEAD, TICKS
from core.errors import InvalidTick
from core.records import SCALE, Tick, to_scaled
from core.validate import AMENDING, PRICED
from jobs.archive import DeadLetter, dead_record
from jobs.backups import topics
from jobs.backups.manifest import Places
from jobs.backups.newest import open_since
from jobs.backups.topics import Record
from jobs.tick_json import read
from jobs.ticks import SEPARATOR
from producers.publish import encode
from stores.lake import make_lake
from stores.postgres import connect_args, to_time, translated
from stores.schema import TICK_SCHEMA
from stores.timescale import make_timescale

_BATCH = 50_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPEN = """
    SELECT symbol, (extract(epoch FROM event_time) * 1000000)::bigint, seq, price::text, size::text, trade_id, source,
           venue, conditions, reported_us, received_us, coalesce(kafka_partition, 0), coalesce(kafka_offset, -1)
    FROM ticks WHERE event_time >= %s AND kind = 'trade'
    ORDER BY coalesce(kafka_partition, 0), coalesce(kafka_offset, -1)
"""
_FIELDS = ("symbol", "event_us", "seq", "price", "size", "trade_id", "source", "venue", "conditions", "reported_us",
           "received_us")  # fmt: skip


class Done(NamedTuple):
    """How many ticks went through the topic again, straight into the log, and how many records were refused."""

    again: int
    logged: int
    refused: int


@dataclass
class _Sorted:
    """The records that the log lacked, by what becomes of them."""

    again: list[Record] = field(default_factory=list)
    logged: list[tuple[Tick, Record]] = field(default_factory=list)
    refused: list[Record] = field(default_factory=list)


def replay(settings: Settings, lacking: Iterable[Record], places: Places) -> Done:
    """Bring the ticks of open bars, and `lacking` records of `ticks`, to where they belong.

    Raises StoreUnavailable when a server does not answer.
    """
    since_us = open_since(settings)
    found = _sorted(settings, lacking, places, since_us)
    for at in range(0, len(found.logged), _BATCH):
        _log(settings, found.logged[at : at + _BATCH], places, at)
    topics.send(settings, DEAD, found.refused)
    again = topics.send(settings, TICKS, _merged(_open_ticks(settings, since_us), found.again))
    return Done(again, len(found.logged), len(found.refused))


def _sorted(settings: Settings, lacking: Iterable[Record], places: Places, since_us: int) -> _Sorted:
    found = _Sorted()
    for record in lacking:
        try:
            tick = _tick(settings, record)
        except InvalidTick as problem:
            # The archive query has refused what it had finished.
            if record.offset >= places.table.get(record.partition, 0):
                found.refused.append(_dead(settings, record, problem.reason))
            continue
        if tick.kind == "heartbeat":
            continue
        if tick.kind == "trade" and tick.event_us >= since_us:
            found.again.append(record)
        else:
            found.logged.append((tick, record))
    return found


def _tick(settings: Settings, record: Record) -> Tick:
    """The record as a tick, judged at the time when the broker took it. Raises InvalidTick."""
    known, ahead_us = settings.known_symbols, settings.future_tolerance_us
    return read(record.value, now_us=record.stamp_ms * 1000, future_tolerance_us=ahead_us, known_symbols=known)


def _dead(settings: Settings, record: Record, reason: str) -> Record:
    letter = DeadLetter(record.key, record.value, reason, record.partition, record.offset)
    key, value, headers = dead_record(letter, settings.topic(TICKS), "restore")
    return msgspec.structs.replace(record, key=key, value=value, headers=headers)


def _open_ticks(settings: Settings, since_us: int) -> Iterator[Record]:
    """The trades of the tick log since then, in the order in which they stood in the topic."""
    with (
        translated(),
        psycopg.connect(**connect_args(settings.postgres_dsn.get_secret_value())) as connection,
        connection.cursor("open_ticks") as cursor,
    ):
        cursor.itersize = _BATCH
        for *fields, partition, offset in cursor.execute(_OPEN, [to_time(since_us)]):
            tick = Tick(**dict(zip(_FIELDS, fields, strict=True)), kind="trade")
            yield Record(partition, offset, 0, tick.symbol.encode(), encode(tick), [])


def _merged(logged: Iterable[Record], lacking: list[Record]) -> Iterator[Record]:
    """Both in the order of partition and offset, each record once."""
    ordered = sorted(lacking, key=_place)
    before: tuple[int, int] | None = None
    for record in heapq.merge(logged, ordered, key=_place):
        if record.offset < 0 or _place(record) != before:
            yield record
        before = _place(record)


def _place(record: Record) -> tuple[int, int]:
    return record.partition, record.offset


def _log(settings: Settings, ticks: list[tuple[Tick, Record]], places: Places, number: int) -> None:
    """Ticks to the table and the lake, each to what lacks it, as the archive query would have written them."""
    lacked = [(tick, record) for tick, record in ticks if record.offset >= places.table.get(record.partition, 0)]
    store = make_timescale(settings)
    try:
        store.write_ticks(_rows(lacked))
    finally:
        store.close()
    laked = [(tick, record) for tick, record in ticks if record.offset >= places.lake.get(record.partition, 0)]
    if laked:
        make_lake(settings).write_ticks(_rows(laked), batch_id=f"restored-{number}")


def _rows(ticks: list[tuple[Tick, Record]]) -> pa.Table:
    return pa.Table.from_pylist([_row(tick, record) for tick, record in ticks], schema=TICK_SCHEMA)


def _row(tick: Tick, record: Record) -> dict[str, Any]:
    given = {name: getattr(tick, name) for name in TICK_SCHEMA.names if hasattr(tick, name)}
    amounts = {name: _amount(getattr(tick, name)) if tick.kind in PRICED else None for name in ("price", "size")}
    return given | amounts | {
        "trade_id": tick.trade_id or None,
        "event_time": _EPOCH + timedelta(microseconds=tick.event_us),
        "kafka_partition": record.partition,
        "kafka_offset": record.offset,
        "identity": identity_text(tick),
    }  # fmt: skip


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(to_scaled(text)) / SCALE


def identity_text(tick: Tick) -> str:
    """`jobs.ticks.identity` of one tick."""
    told: list[object]
    if tick.trade_id:  # an empty one is none, as in jobs.ticks
        told = [tick.symbol, "id", tick.venue or "", tick.trade_id]
    else:
        told = [tick.symbol, "seq", tick.source, tick.event_us, tick.seq]
    if tick.kind in AMENDING:
        told += [tick.kind, tick.event_us, tick.price or "", tick.size or ""]
    return SEPARATOR.join(map(str, told))
