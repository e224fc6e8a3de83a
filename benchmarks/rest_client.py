"""`python -m benchmarks.rest_client PLAN`: requests at a fixed rate over kept connections; prints one JSON line.

PLAN is JSON: `host port rate seconds warmup connections requests`, each request a list `[path, headers]`. Requests are
sent in turn. A latency runs from the moment at which a request was due, not from the one at which a connection was free
to take it: a server that falls behind cannot hide it. The event loop reads whole answers and decodes nothing.
"""

import asyncio
import json
import sys
import time
from array import array
from collections import Counter, deque
from typing import Any, cast

import numpy as np
import uvloop

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
DRAIN_SECONDS = 30.0
_HEAD_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One kept connection with at most one request under way."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._due = 0.0
        self._held = bytearray()
        self._size: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, due: float, request: bytes) -> None:
        """Send a request that was due at `due`, by `time.perf_counter`."""
        assert self._transport is not None
        self._due, self._size = due, None
        self._held.clear()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if self._size is None and (at := self._held.find(_HEAD_END)) >= 0:
            self._size = at + len(_HEAD_END) + _content_length(bytes(self._held[:at]))
        if self._size is not None and len(self._held) >= self._size:
            self._load.done(self, self._due, int(self._held[9:12]), self._size)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(error)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    if head[9:12] == b"304":
        return 0
    raise SystemExit(f"no content length: {head[:300]!r}")


class Load:
    """The paced sending and what came back."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._requests = [_request(plan["host"], *each) for each in plan["requests"]]
        self._idle: deque[Connection] = deque()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._latency = array("d")
        self._statuses: Counter[int] = Counter()
        self._bytes = 0
        self._under_way = 0
        self._most_waiting = 0
        self._measured_from = float("inf")
        self._ended = False

    async def run(self) -> dict[str, Any]:
        """Send until the time is over, wait for the last answers, and tell."""
        plan, loop = self._plan, asyncio.get_running_loop()
        for _ in range(plan["connections"]):
            _, made = await loop.create_connection(lambda: Connection(self), plan["host"], plan["port"])
            self._idle.append(made)
        started = time.perf_counter()
        self._measured_from = started + plan["warmup"]
        await self._pace(started, int(plan["rate"] * (plan["warmup"] + plan["seconds"])))
        deadline = time.perf_counter() + DRAIN_SECONDS
        while self._under_way and time.perf_counter() < deadline:
            await asyncio.sleep(0.01)
        self._ended = True
        return self._result()

    async def _pace(self, started: float, count: int) -> None:
        gap = 1 / self._plan["rate"]
        for number in range(count):
            due = started + number * gap
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            self._ask(due, self._requests[number % len(self._requests)])

    def _ask(self, due: float, request: bytes) -> None:
        self._under_way += 1
        if self._idle:
            self._idle.popleft().send(due, request)
        else:
            self._waiting.append((due, request))
            self._most_waiting = max(self._most_waiting, len(self._waiting))

    def done(self, connection: Connection, due: float, status: int, size: int) -> None:
        """A whole answer came."""
        self._under_way -= 1
        if due >= self._measured_from:
            self._latency.append(time.perf_counter() - due)
            self._statuses[status] += 1
            self._bytes += size
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, error: Exception | None) -> None:
        """A connection went away; before the end that is a failure of the run."""
        if not self._ended:
            raise SystemExit(f"the server closed a connection: {error}")

    def _result(self) -> dict[str, Any]:
        found = np.array(self._latency) * 1000
        values = np.percentile(found, list(PERCENTILES.values())) if len(found) else []
        return {
            "answers": len(found),
            "per_s": round(len(found) / self._plan["seconds"]),
            "statuses": dict(self._statuses),
            "unanswered": self._under_way,
            "most_waiting": self._most_waiting,
            "mean_kb": round(self._bytes / max(len(found), 1) / 1000, 1),
            **{name: round(float(value), 2) for name, value in zip(PERCENTILES, values, strict=False)},
        }


def _request(host: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def main() -> None:
    print(json.dumps(uvloop.run(Load(json.loads(sys.argv[1])).run())), flush=True)


if __name__ == "__main__":
    main()
