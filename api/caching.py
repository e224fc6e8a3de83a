"""Answers that may be kept: validators of closed ranges, and a bounded memory of the bodies that were rendered of them.

A body is kept under the request and the validator of its data, so that it can never be out of date: bars that were
amended have another validator, and the body that belongs to it.
"""

import asyncio
import gzip
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import zstandard

T = TypeVar("T")
Validator = tuple[int | None, tuple[int, ...]]
"""End of the newest final bar of a series, and numbers that differ whenever its bars of a range do."""

MAX_BODIES_BYTES = 128 * 1024 * 1024
MIN_ENCODED_BYTES = 1_000  # below that, compressing costs more than it saves
GZIP_LEVEL = 5
ZSTD_LEVEL = 5
CODINGS = ("zstd", "gzip")  # the better one first
_FORM = 1  # of the rendering; a new one means other bodies of the same data

CLOSED = "private, no-cache"  # may be kept, and is to be asked for again: bars can be amended
OPEN = "no-store"
VARY = "Accept, Accept-Encoding"


def etag_of(*parts: object) -> str:
    """A strong validator of what is named by the parts, by their repr."""
    return f'"{blake2b(repr((_FORM, parts)).encode(), digest_size=12).hexdigest()}"'


def etag_of_body(body: bytes) -> str:
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def coded(etag: str, coding: str | None) -> str:
    """The validator of a coded body: to the byte it is another one."""
    return etag if coding is None else f'{etag[:-1]}-{coding}"'


def matching(if_none_match: str | None, etag: str) -> str | None:
    """The validator under which a client has the body already, in whichever coding; None where it has not."""
    if if_none_match is None:
        return None
    held = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    ours = (etag, *(coded(etag, coding) for coding in CODINGS))
    return etag if "*" in held else next((each for each in ours if each in held), None)


def coding_of(accept_encoding: str | None, size: int) -> str | None:
    """The content coding that a client takes; None for none, and for a body too small for it."""
    if not accept_encoding or size < MIN_ENCODED_BYTES:
        return None
    weights = dict(weighted(accept_encoding))
    return next((name for name in CODINGS if weights.get(name, weights.get("*", 0.0)) > 0), None)


def encode(body: bytes, coding: str) -> bytes:
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def weighted(header: str) -> list[tuple[str, float]]:
    """The members of an `Accept…` header with their q; one that cannot be read counts as 0."""
    found = []
    for member in header.lower().split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        weight = next((text[2:].strip() for text in parameters if text.startswith("q=")), "1")
        try:
            found.append((name, float(weight)))
        except ValueError:
            found.append((name, 0.0))
    return found


@dataclass(slots=True, eq=False)
class Body:
    """A rendered page, in each coding that it was asked for, and what is said of it around the body."""

    content: bytes
    next: str | None = None
    previous: str | None = None
    truncated: bool = False
    tail: str = "ok"
    coded: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.content) + sum(map(len, self.coded.values()))


class Bodies:
    """Rendered bodies of closed ranges by validator, the least recently used ones given up first."""

    def __init__(self, max_bytes: int = MAX_BODIES_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, Body] = OrderedDict()
        self._making: dict[str, asyncio.Future[Any]] = {}
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.not_modified = 0
        self.evicted = 0
        self.validators: Latest[Validator] = Latest()
        _all.add(self)

    async def body(self, etag: str, render: Callable[[], Awaitable[Body]]) -> Body:
        """The body of a validator, which names request and data: the one that is kept, else one rendered now, once
        for all who wait for it. Counts as a hit or a miss."""
        held = self._held.get(etag)
        if held is not None:
            self._held.move_to_end(etag)
            self.hits += 1
            return held
        self.misses += 1
        body: Body = await self._once(etag, render)
        self._put(etag, body)
        return body

    async def encoded(self, etag: str, body: Body, coding: str) -> bytes:
        """The body in a coding, compressed once as long as it is kept."""
        if coding not in body.coded:
            make = partial(asyncio.to_thread, encode, body.content, coding)
            content: bytes = await self._once(coded(etag, coding), make)
            if coding not in body.coded:
                body.coded[coding] = content
                if self._held.get(etag) is body:
                    self._grown(len(content))
        return body.coded[coding]

    async def _once(self, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.ensure_future(make())
            making.add_done_callback(lambda done: self._made(key, done))
        return await asyncio.shield(making)

    def _made(self, key: str, done: "asyncio.Future[Any]") -> None:
        del self._making[key]
        if not done.cancelled():
            done.exception()  # whoever asked may have gone

    def _put(self, etag: str, body: Body) -> None:
        """Keep a body, unless it is larger than a quarter of the room."""
        if body.size <= self._max_bytes // 4 and etag not in self._held:
            self._held[etag] = body
            self._grown(body.size)

    def _grown(self, size: int) -> None:
        self.bytes += size
        while self.bytes > self._max_bytes:
            _, old = self._held.popitem(last=False)
            self.bytes -= old.size
            self.evicted += 1

    def __len__(self) -> int:
        return len(self._held)


_all: "weakref.WeakSet[Bodies]" = weakref.WeakSet()


def cache_stats() -> dict[str, int]:
    """Of all bodies kept in this process: `hits`, `misses`, `not_modified` (answered 304 without a look at a body),
    `evicted`, `bodies`, `bytes`."""
    names = ("hits", "misses", "not_modified", "evicted", "bytes")
    counted = {name: sum(int(getattr(each, name)) for each in _all) for name in names}
    return counted | {"bodies": sum(len(each) for each in _all)}


class Latest(Generic[T]):
    """One question at a time per key: who asks while it is being answered shares the one asked right after it.

    So an answer is never older than the question, and a thousand who ask at once cost two.
    """

    def __init__(self) -> None:
        self._running: dict[object, asyncio.Future[T]] = {}
        self._next: dict[object, asyncio.Future[T]] = {}

    async def ask(self, key: object, question: Callable[[], Awaitable[T]]) -> T:
        running = self._running.get(key)
        if running is None:
            return await asyncio.shield(self._start(key, question))
        following = self._next.get(key)
        if following is None:
            following = self._next[key] = asyncio.ensure_future(self._after(running, key, question))
        return await asyncio.shield(following)

    def _start(self, key: object, question: Callable[[], Awaitable[T]]) -> "asyncio.Future[T]":
        task = asyncio.ensure_future(question())
        self._running[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def _after(self, running: "asyncio.Future[T]", key: object, question: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait({running})
        own = self._next.pop(key)
        self._running[key] = own
        own.add_done_callback(lambda done: self._ended(key, done))
        return await question()

    def _ended(self, key: object, done: "asyncio.Future[T]") -> None:
        if self._running.get(key) is done:
            del self._running[key]
        if not done.cancelled():
            done.exception()  # whoever asked may have gone
