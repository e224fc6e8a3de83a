"""The newest bars and their indicators in Redis: hashes with a lifetime, and a message for whoever listens.

- `bar:{symbol}:{interval}`: hash of the newest bar: `open high low close volume vwap trade_count`, `json` (the
  whole bar), `start rev offset` (what it is compared by), `seq` of the last message. Never goes back.
- `indicators:{symbol}:{interval}`: hash `json` (an object, column -> number or null) and `start rev offset` of the bar
  they belong to: the newest that `bar:` took and that came with indicators. Never goes back, lives as long as `bar:`.
- `tail:{symbol}:{interval}`: hash start -> JSON of the newest 30 bars, forming, final and amended.
- `latest:{symbol}`: hash `price event_us received_us volume start rev`, from the 1-minute bar.
- `symbols`: sorted set of the symbols seen lately; the score is the second of the write, to a tenth of the lifetime.
- channel `bar:{symbol}:{interval}`: the JSON of every bar that was news.

Each JSON of a bar begins with `seq`, which grows by one from message to message of a symbol and interval (by more
where a writer began anew, see `stores.redis_seq`), and `relayed_us`, when it was handed to Redis.
The JSON of a bar that came with indicators has them as its last key, `indicators`, wherever it stands: one message
holds both, and indicators have no channel of their own.

Amounts are decimal text, an absent one is empty; times are microseconds since the epoch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from conf.settings import Settings
from core.errors import ConfigError, InputError, StoreUnavailable
from core.intervals import INTERVALS, SECOND_US
from core.records import BAR_COLUMNS
from stores.redis_line import OwnLine
from stores.redis_script import TAIL_BARS, WRITE_BARS
from stores.redis_seq import Sequences
from stores.schema import BAR_SCHEMA, values_of

NAME = "redis"
TIMEOUT_SECONDS = 2.0
# Redis serves nobody else while a script runs: 200 rows are about 2 ms.
ROWS_PER_CALL = 200
# Error replies that pass: no memory left, disk full, a script running, a replica in the way. redis-py takes the first
# word off those that it has a class for; Redis 6 may have it further back, in the error of a script.
_PASSING = (OutOfMemoryError, ReadOnlyError, TryAgainError, ClusterDownError)
_PASSING_WORDS = ("OOM", "MISCONF", "BUSY", "READONLY", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS")


class Shown(msgspec.Struct, gc=False):
    """What is read of a bar's JSON on its way; amounts are text as it stands there."""

    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    volume: str | None = None
    notional: str | None = None
    vwap: str | None = None
    trade_count: int | None = None
    close_us: int | None = None
    received_us: int | None = None


class LiveRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bar on its way to Redis: what it is compared by, its JSON, and that of its indicators, empty for none.

    `offset` is `last_offset`, -1 for none. Who has read the JSON already gives `bar`, and answers for `indicators`
    being an object of numbers: neither is then read again.
    """

    symbol: str
    interval: str
    start: int
    rev: int
    offset: int
    payload: bytes
    indicators: bytes = b""
    bar: Shown | None = None

    def shown(self) -> Shown:
        """Raises msgspec.DecodeError when the payload is not the JSON of a bar."""
        return _shown_of.decode(self.payload) if self.bar is None else self.bar


class _Key(msgspec.Struct):
    """What tells a bar and its revision apart."""

    symbol: str
    interval: str
    start: int
    rev: int


class _Beside(msgspec.Struct):
    """What a bar's JSON may have beside the bar."""

    indicators: dict[str, float | None] | None = None


_shown_of = msgspec.json.Decoder(Shown)
_key = msgspec.json.Decoder(_Key)
_indicators = msgspec.json.Decoder(_Beside)
_encoder = msgspec.msgpack.Encoder()
_BarKey = tuple[str, str, int, int]
_AMOUNTS = tuple(field.name for field in BAR_SCHEMA if pa.types.is_decimal(field.type))


class RedisStore:
    """A BarSink of final bars, and the relay's writer of live ones. Thread-safe; connects at the first use.

    `connections` counts how often it did.
    """

    name = NAME

    def __init__(self, url: str, ttl_seconds: int = 300) -> None:
        self._ttl = ttl_seconds
        retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
        self.connections = 0
        self._client: Any = _checked(redis.Redis, url, retry, redis_connect_func=self._connected)
        self._sequences = Sequences()
        self._script = OwnLine(self._client, WRITE_BARS)

    def __repr__(self) -> str:
        return f"RedisStore(ttl_seconds={self._ttl})"

    def setup(self) -> None:
        with translated():
            self._client.ping()

    def _connected(self, connection: Any) -> None:
        # A restart of Redis between two writes shows nowhere else: the client replaces a dead connection by itself.
        if self.connections:
            self._sequences.forget()
        self.connections += 1
        connection.on_connect()

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        self.write_live(live_rows(bars, indicators))

    def write_again(self, bars: pa.Table, indicators: pa.Table) -> None:
        """Bars of which some are amended and others have new indicators: takes a bar of equal revision too.

        The newest bar of a key comes first: where nothing is held any more, an older one must not pass for it.
        """
        rows = sorted(live_rows(bars, indicators), key=lambda row: -row.start)
        for at in range(0, len(rows), ROWS_PER_CALL):
            self._call(rows[at : at + ROWS_PER_CALL], again=True)

    def write_live(self, rows: Sequence[LiveRow]) -> int:
        """Write rows in one round trip per 200; how many were news and so were published.

        Raises InputError when a payload is not the JSON of a bar, or `indicators` not an object of numbers.
        """
        return sum(self._call(rows[at : at + ROWS_PER_CALL]) for at in range(0, len(rows), ROWS_PER_CALL))

    def tails(self, keys: Sequence[tuple[str, str]]) -> list[LiveRow]:
        """The bars that are held of these (symbol, interval), at most 30 of each, in no order."""
        with translated():
            pipeline = self._client.pipeline(transaction=False)
            for symbol, interval in keys:
                pipeline.hvals(f"tail:{symbol}:{interval}")
            return [_held_row(payload) for found in pipeline.execute() for payload in found]

    def close(self) -> None:
        self._script.close()
        self._client.close()

    def _call(self, rows: Sequence[LiveRow], again: bool = False) -> int:
        now_us = time.time_ns() // 1000
        try:
            packed = [_packed(row, self._sequences.take((row.symbol, row.interval), now_us), now_us) for row in rows]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{NAME}: not the JSON of a bar: {error}") from None
        with translated():
            accepted, renumbered = self._script(
                _encoder.encode(packed), now_us // SECOND_US, self._ttl, TAIL_BARS, int(again)
            )
        for place, seq in zip(renumbered[::2], renumbered[1::2], strict=True):
            row = rows[place - 1]
            self._sequences.learn((row.symbol, row.interval), int(seq))
        return int(accepted)


def _held_row(payload: bytes) -> LiveRow:
    key = _key.decode(payload)
    return LiveRow(key.symbol, key.interval, key.start, key.rev, -1, payload)


def _packed(row: LiveRow, seq: int, now_us: int) -> tuple[str, ...]:
    """The row as the script reads it, all text: Redis 6's MessagePack has no bytes, and formats numbers slowly."""
    bar, payload = row.shown(), _numbered(row, seq, now_us)
    keys = (row.symbol, row.interval, str(row.start), str(row.rev), str(row.offset), payload.decode())
    amounts = (bar.open or "", bar.high or "", bar.low or "", bar.close or "", bar.volume or "", bar.vwap or "")
    counts = (str(bar.trade_count or 0), str(bar.close_us or row.start), str(bar.received_us or ""))
    return (*keys, *amounts, *counts, row.indicators.decode(), str(seq))


def _numbered(row: LiveRow, seq: int, now_us: int) -> bytes:
    """The bar's JSON with its number first and its indicators last."""
    payload = row.payload.strip()
    if payload == b"{}":
        raise msgspec.DecodeError("an empty object")  # to which nothing could be put first
    if not row.indicators:
        return b'{"seq":%d,"relayed_us":%d,%b' % (seq, now_us, payload[1:])
    if row.bar is None:
        values_of(row.indicators)  # nobody who listens is to get what is not JSON
    return b'{"seq":%d,"relayed_us":%d,%b,"indicators":%b}' % (seq, now_us, payload[1:-1], row.indicators)


def make_redis(settings: Settings) -> RedisStore:
    return RedisStore(settings.redis_url.get_secret_value(), settings.redis_ttl_seconds)


def live_rows(bars: pa.Table, indicators: pa.Table | None = None) -> list[LiveRow]:
    """A batch of BAR_SCHEMA as rows with their JSON, and that of their indicators where INDICATOR_SCHEMA has them."""
    times = {name: bars[name].cast(pa.int64()) for name in ("start", "end")}
    columns = [times.get(name, bars[name]).to_pylist() for name in BAR_COLUMNS]
    found = {} if indicators is None else _values_by_bar(indicators)
    return [_live_row(dict(zip(BAR_COLUMNS, values, strict=True)), found) for values in zip(*columns, strict=True)]


def _values_by_bar(indicators: pa.Table) -> dict[_BarKey, bytes]:
    """The JSON of the values by the bar and revision that they were computed from."""
    starts = indicators["start"].cast(pa.int64()).to_pylist()
    columns = [indicators[name].to_pylist() for name in ("symbol", "interval", "rev", "values")]
    return {
        (symbol, interval, start, rev): values.encode()
        for start, symbol, interval, rev, values in zip(starts, *columns, strict=True)
    }


def _live_row(bar: dict[str, Any], indicators: dict[_BarKey, bytes]) -> LiveRow:
    offset = bar["last_offset"]
    key = (bar["symbol"], bar["interval"], bar["start"], bar["rev"])
    return LiveRow(*key, -1 if offset is None else offset, bar_to_json(bar), indicators.get(key, b""))


def bar_to_json(bar: Mapping[str, Any]) -> bytes:
    """A dict of BAR_COLUMNS, times in microseconds, as it stands in Redis before it is numbered."""
    # str() would write 1E-8
    amounts = {name: format(bar[name], "f") for name in _AMOUNTS if bar[name] is not None}
    return msgspec.json.encode({**bar, **amounts})


def bar_from_json(payload: bytes) -> dict[str, Any]:
    """A bar's JSON as a dict of all BAR_COLUMNS, amounts as Decimal; fields that are left out are None."""
    raw = msgspec.json.decode(payload)
    bar = {name: raw.get(name) for name in BAR_COLUMNS}
    for name in _AMOUNTS:
        if bar[name] is not None:
            bar[name] = Decimal(bar[name])
    return bar


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into ours. No message holds the URL."""
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise StoreUnavailable(NAME, str(error) or type(error).__name__) from None
    except RedisError as error:
        text = str(error)
        if isinstance(error, _PASSING) or any(word in text for word in _PASSING_WORDS):
            raise StoreUnavailable(NAME, text) from None
        raise InputError(f"{NAME}: {text}") from error


def _checked(client: Any, url: str, retry: Any, timeout: float = TIMEOUT_SECONDS, **more: Any) -> Any:
    """A client of `url` that gives up after `timeout` seconds. After a server's restart the pooled connections are
    dead, so a broken one is replaced and tried once more."""
    try:
        return client.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry, **more)
    except ValueError:
        raise ConfigError("REDIS_URL is not a redis:// URL") from None


class RedisReader:
    """What the API asks of Redis. Not bound to an event loop before the first call.

    Every call raises StoreUnavailable when Redis has not answered within about `timeout` seconds.
    """

    name = NAME

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        retry = redis.asyncio.retry.Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
        self._client: Any = _checked(redis.asyncio.Redis, url, retry, timeout)

    def __repr__(self) -> str:
        return "RedisReader()"

    async def open(self) -> None:
        """Nothing to do: connections are made as they are needed. Here for symmetry with TimescaleReader."""

    async def close(self) -> None:
        await self._client.aclose()

    async def ping(self) -> None:
        with translated():
            await self._client.ping()

    async def latest(self, symbol: str) -> dict[str, Any] | None:
        """`price` and `volume` (of the minute so far) as Decimal, `event_us`, `received_us`, `start`, `rev`.

        None when the symbol has not traded within the lifetime of the keys.
        """
        with translated():
            held = await self._client.hgetall(f"latest:{symbol}")
        return _latest({name.decode(): value.decode() for name, value in held.items()}) if held else None

    async def tail(self, symbol: str, interval: str, *, with_indicators: bool = False) -> list[dict[str, Any]]:
        """The newest bars by start, at most 30; dicts like those of `TimescaleReader.bars`.

        `with_indicators` adds the key `indicators`: column -> double or None, itself None where the bar has none.
        """
        with translated():
            held = await self._client.hvals(f"tail:{symbol}:{interval}")
        bars = [bar_from_json(payload) | (_shown(payload) if with_indicators else {}) for payload in held]
        return sorted(bars, key=lambda bar: int(bar["start"]))

    async def numbered_tail(self, symbol: str, interval: str) -> tuple[int, list[bytes]]:
        """The seq of the last message, 0 for none, and the JSON of the newest bars as of then, in no order."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hget(f"bar:{symbol}:{interval}", "seq")
                pipeline.hvals(f"tail:{symbol}:{interval}")
                seq, held = await pipeline.execute()
        return int(seq or 0), held

    async def last_events(self, prefix: str, symbol: str) -> list[bytes]:
        """The JSON of `{prefix}:{symbol}:{interval}` for each interval that has one, the shortest first."""
        with translated():
            held = await self._client.mget([f"{prefix}:{symbol}:{interval}" for interval in INTERVALS])
        return [payload for payload in held if payload is not None]

    async def indicators(self, symbol: str, interval: str) -> dict[str, Any] | None:
        """The newest indicators: `start` and `rev` of their bar, and `values`, column -> double or None.

        None when there were none within the lifetime of the keys.
        """
        with translated():
            start, rev, values = await self._client.hmget(f"indicators:{symbol}:{interval}", "start", "rev", "json")
        return None if values is None else {"start": int(start), "rev": int(rev), "values": values_of(values)}

    async def symbols(self) -> list[str]:
        """The symbols written within the lifetime of the keys, by name."""
        with translated():
            held = await self._client.zrange("symbols", 0, -1)
        return sorted(symbol.decode() for symbol in held)


def _shown(payload: bytes) -> dict[str, Any]:
    return {"indicators": _indicators.decode(payload).indicators}


def _latest(held: dict[str, str]) -> dict[str, Any]:
    latest: dict[str, Any] = {name: Decimal(held[name]) if held[name] else None for name in ("price", "volume")}
    return latest | {
        name: int(held[name]) if held[name] else None for name in ("event_us", "received_us", "start", "rev")
    }
