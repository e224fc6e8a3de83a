"""A provider on the loopback: Coinbase's last trade of a product over HTTP, as well or badly as a test wants it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Exchange:
    """What the server answers, and what it was asked: (monotonic seconds, path), and at which of its addresses."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[float, str]] = []
        self.addressed: set[str] = set()
        self.status = 200
        self.body = b""
        self.delay_seconds = 0.0
        self._trades: dict[str, dict[str, Any]] = {}

    def trade(self, product: str, trade_id: int, price: str, at: datetime | None = None) -> datetime:
        """Set the last trade of a product, now by default; its time."""
        at = at or datetime.now(UTC)
        text = at.isoformat().replace("+00:00", "Z")
        self._trades[product] = {
            **{"trade_id": trade_id, "price": price, "size": "0.5", "time": text, "side": "buy"},
        }
        return at

    def asked_for(self, product: str) -> int:
        """How often the product's trades were asked for."""
        return sum(path == f"/products/{product}/trades" for _, path in self.asked)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append((time.monotonic(), path))
        time.sleep(self.delay_seconds)
        if self.status != 200:
            return self.status, self.body
        parts = path.split("/")
        trade = self._trades.get(parts[2]) if len(parts) == 4 and parts[3] == "trades" else None
        return (404, b'{"message":"NotFound"}') if trade is None else (200, json.dumps([trade]).encode())


@contextmanager
def exchange_server() -> Iterator[Exchange]:
    """An exchange that answers as long as the block lasts."""
    exchange = Exchange()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            exchange.addressed.add(self.headers["Host"].partition(":")[0])
            status, body = exchange.answer(urlsplit(self.path).path)
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 503:
                    self.send_header("Retry-After", "0.05")
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:  # the worker was killed while it waited
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    exchange.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
