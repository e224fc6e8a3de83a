"""API keys: `ts_<id>_<secret>`, and the ring that knows which of them are good.

Stored is SHA-256 of the key, and nothing else. A slow hash protects passwords, which can be guessed; the secret here
is 32 random bytes, and nobody guesses 2^256 however fast the hash. Keys are compared in constant time.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from api.security.principal import Principal, Unauthorized
from core.clock import Clock
from core.errors import ConfigError, StoreUnavailable, TickstreamError
from core.intervals import SECOND_US
from stores.access import StoredKey

PATTERN = re.compile(r"ts_([a-z0-9]{6,32})_([A-Za-z0-9_-]{43,128})", re.ASCII)
REFRESH_SECONDS = 2.0
"""A row that is older is asked for again, behind the request that noticed."""
OLDEST_SECONDS = 4.0
"""A row that is older still is waited for: a revoked key is dead after this."""
TOUCH_SECONDS = 600
MAX_HELD = 10_000  # rows, those of ids that do not exist too

_log = structlog.get_logger(__name__)


class Rows(Protocol):
    """What the ring asks of `stores.access.AccessStore`."""

    async def get(self, key_id: str) -> StoredKey | None: ...

    async def touch(self, key_id: str) -> None: ...


def new_key(name: str, scopes: Iterable[str], expires_us: int | None = None) -> tuple[str, StoredKey]:
    """A new key: the text that its owner gets, once, and the row to store."""
    text = f"ts_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
    return text, stored(text, name, scopes, expires_us)


def stored(text: str, name: str, scopes: Iterable[str], expires_us: int | None = None) -> StoredKey:
    """The row of a key. Raises ConfigError, which does not quote it, where it is none."""
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ConfigError("not a key: ts_, 6 to 32 of a-z and 0-9, _, and at least 43 random letters or digits")
    return StoredKey(match[1], name, digest(text), sorted(scopes), 0, expires_us)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass(slots=True)
class _Held:
    row: StoredKey | None
    read_at: float


class KeyRing:
    """The keys that were asked for lately, each at most `OLDEST_SECONDS` old while the database answers.

    While it does not, keys that are held go on, and others are StoreUnavailable. Bounded in memory.
    """

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._touching: set[asyncio.Task[None]] = set()

    def knows(self, text: str) -> bool:
        """Whether the key can be judged without asking the database."""
        match = PATTERN.fullmatch(text)
        return match is None or match[1] in self._held

    async def principal(self, text: str) -> Principal:
        """The owner of a key. Raises Unauthorized, or StoreUnavailable when nobody can tell."""
        match = PATTERN.fullmatch(text)
        if match is None:
            raise Unauthorized("not a valid key")
        row = await self._row(match[1])
        good = hmac.compare_digest(digest(text), row.hash if row is not None else bytes(32))
        if row is None or not good:
            raise Unauthorized("not a valid key")
        if row.revoked_us is not None:
            raise Unauthorized("the key was revoked")
        if row.expires_us is not None and row.expires_us <= self._clock.now_us():
            raise Unauthorized("the key has expired")
        self._note_use(row)
        return Principal(row.id, frozenset(row.scopes), f"key:{row.id}", row.expires_us)

    async def close(self) -> None:
        for task in [*self._reading.values(), *self._touching]:
            task.cancel()

    async def _row(self, key_id: str) -> StoredKey | None:
        held = self._held.get(key_id)
        age = asyncio.get_running_loop().time() - held.read_at if held is not None else OLDEST_SECONDS
        if held is None or age >= OLDEST_SECONDS:
            await asyncio.shield(self._read(key_id))
        elif age >= REFRESH_SECONDS:
            self._read(key_id)
        return self._held[key_id].row

    def _read(self, key_id: str) -> "asyncio.Task[None]":
        """One question at a time for each key, however many requests wait for it."""
        task = self._reading.get(key_id)
        if task is None:
            task = self._reading[key_id] = asyncio.create_task(self._ask(key_id))
            task.add_done_callback(lambda done: self._settle(key_id, done))
        return task

    def _settle(self, key_id: str, done: "asyncio.Task[None]") -> None:
        self._reading.pop(key_id, None)
        if not done.cancelled():
            done.exception()  # whoever waits has it; behind a request nobody does

    async def _ask(self, key_id: str) -> None:
        now = asyncio.get_running_loop().time
        try:
            row = await self._rows.get(key_id)
        except (StoreUnavailable, ConfigError) as error:
            held = self._held.get(key_id)
            if held is None or held.row is None:
                raise _unknown(error) from None
            _log.warning("keys not read again", error=str(error))
            held.read_at = now()
            return
        self._held[key_id] = _Held(row, now())
        self._held.move_to_end(key_id)
        if len(self._held) > MAX_HELD:
            self._held.popitem(last=False)

    def _note_use(self, row: StoredKey) -> None:
        now = self._clock.now_us()
        if row.last_used_us is not None and now - row.last_used_us < TOUCH_SECONDS * SECOND_US:
            return
        held = self._held.get(row.id)
        if held is not None:
            held.row = replace(row, last_used_us=now)
        task = asyncio.create_task(self._touch(row.id))
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    async def _touch(self, key_id: str) -> None:
        try:
            await self._rows.touch(key_id)
        except TickstreamError as error:
            _log.warning("use of a key not noted", key=key_id, error=str(error))


def _unknown(error: TickstreamError) -> StoreUnavailable:
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(error.store, "no answer, and this key is not known yet", error.retry_after)
    return StoreUnavailable("timescale", "no table of keys yet, so no key can be judged", 5.0)
