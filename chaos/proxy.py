"""A TCP proxy that can be cut: the network between the programs and a server, where namespaces cannot be had.

`refuse` resets what is open and refuses what comes; `silent` keeps everything open and passes nothing on, as a cable
that was pulled does.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Literal

from local.server import HOST

Mode = Literal["open", "refuse", "silent"]
_BYTES = 1 << 16


class Proxy:
    """Forwards `host:port` to `target` on loopback, from a thread of its own. Use as a context manager.

    `first` is what that thread does before anything else.
    """

    how = "a TCP proxy"

    def __init__(self, port: int, target: int, host: str = HOST, first: Callable[[], None] = lambda: None) -> None:
        self.host, self.port = host, port
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._first = first
        self._thread = threading.Thread(target=self._live, name=f"proxy-{port}", daemon=True)
        self._mode: Mode = "open"
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def set(self, mode: Mode) -> None:
        """From now on."""
        self._run(self._set(mode))

    def _live(self) -> None:
        self._first()
        self._loop.run_forever()

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "silent":
            self._flows.clear()
            return
        self._flows.set()
        if mode == "refuse":
            self._drop()

    def _drop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if self._mode != "refuse":
                await self._flows.wait()
                await self._joined(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, self._target)
        pumps = [asyncio.ensure_future(self._pump(*pair)) for pair in ((reader, back), (there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            back.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_BYTES):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
