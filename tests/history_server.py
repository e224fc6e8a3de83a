"""A local stand-in for a provider's REST interface: Coinbase's pages of trades and candles over made-up trades.

It runs in a thread of its own and notes when each request came, so that a test can hold quotas against its clock
rather than the client's.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade as the provider has it; ids of a product go up by one."""

    trade_id: int
    event_us: int
    price: str = "100.25"
    size: str = "0.5"


def made_up(start_us: int, hours: int, an_hour: int, first_id: int = 1) -> list[Trade]:
    """Trades in pairs of one microsecond, the first of each hour exactly on it, prices all different."""
    step = 2 * HOUR_US // an_hour
    return [
        Trade(first_id + number, start_us + number // 2 * step, f"{100 + number}.25", f"0.{number % 9 + 1}")
        for number in range(hours * an_hour)
    ]


@dataclass
class HistoryServer:
    """Use as a context manager. `url` is its address; `requests` the (epoch seconds, path with query) of each.

    `candles` are rows of [start, low, high, open, close, volume]. `refuse` may answer with another HTTP status.
    """

    trades: dict[str, Sequence[Trade]] = field(default_factory=dict)
    candles: dict[str, Iterable[Sequence[Any]]] = field(default_factory=dict)
    refuse: Callable[[str], int | None] | None = None
    url: str = ""
    requests: list[tuple[float, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def most_in(self, seconds: float) -> int:
        """The most requests that came within any `seconds`."""
        times = sorted(at for at, _ in self.requests)
        return max((sum(start <= at < start + seconds for at in times) for start in times), default=0)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._until_stopped(ready))
        self._loop.close()

    async def _until_stopped(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while line := await reader.readline():
                came = time.time()
                while (await reader.readline()).strip():
                    pass
                path = line.split()[1].decode()
                self.requests.append((came, path))
                status = self.refuse(path) if self.refuse else None
                body = b"{}" if status else json.dumps(self._answer(path)).encode()
                head = f"HTTP/1.1 {status or 200} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
                writer.write(head.encode() + b"\r\n\r\n" + body)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _answer(self, path: str) -> list[Any]:
        parts = urlsplit(path)
        _, _, product, what = parts.path.split("/")
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return self._page(product, asked) if what == "trades" else self._candles(product, asked)

    def _page(self, product: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        """Newest first, `limit` of them, with ids below `after`."""
        trades = self.trades.get(product, ())
        first = trades[0].trade_id if trades else 0
        until = min(len(trades), max(0, int(asked["after"]) - first)) if "after" in asked else len(trades)
        page = trades[max(0, until - int(asked.get("limit", "100"))) : until]
        return [
            {
                "trade_id": trade.trade_id,
                "price": trade.price,
                "size": trade.size,
                "time": _iso(trade.event_us),
                "side": "sell",
            }
            for trade in reversed(page)
        ]

    def _candles(self, product: str, asked: dict[str, str]) -> list[Sequence[Any]]:
        rows = [row for row in self.candles.get(product, ()) if int(asked["start"]) <= row[0] <= int(asked["end"])]
        return sorted(rows, key=lambda row: -row[0])


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % 1_000_000:06}Z"
