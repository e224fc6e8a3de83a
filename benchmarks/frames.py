"""A socket that sends trades as fast as they are taken, in a provider's own frames: the other end of `benchmarks feed`.

`python -m benchmarks.frames LAYOUT TRADES SYMBOLS`; prints its port when it listens. Bytes are put together by hand, so
that it costs the machine a fraction of what the reader does.
"""

import asyncio
import base64
import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
_BLOCK = 200
FIRST_ID = 700_000_000
LAYOUTS = {"coinbase": 1, "kraken": 25}
"""Provider -> trades in a frame."""
_MATCH = (
    '{"type":"match","trade_id":%d,"maker_order_id":"2a0da34e-61f7-4c36-88e5-c9dd15927b16","taker_order_id":'
    '"3c82abaa-c01e-4608-be59-6a1e69742891","side":"sell","size":"0.%04d","price":"%d.%02d","product_id":"%s",'
    '"sequence":%d,"time":"%s"}'
)
_TRADE = '{"symbol":"%s","side":"buy","price":%d.%02d,"qty":0.%04d,"ord_type":"limit","trade_id":%d,"timestamp":"%s"}'


def symbols(count: int) -> list[str]:
    return [f"C{number}-USD" for number in range(count)]


def messages(layout: str, trades: int, names: list[str]) -> Iterator[bytes]:
    """The frames' payloads; each symbol's ids go up by one."""
    size = LAYOUTS[layout]
    for first in range(0, trades, size):
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        made = [_trade(layout, number, names, time) for number in range(first, min(trades, first + size))]
        text = made[0] if layout == "coinbase" else f'{{"channel":"trade","type":"update","data":[{",".join(made)}]}}'
        yield text.encode()


def _trade(layout: str, number: int, names: list[str], time: str) -> str:
    name, place = names[number % len(names)], FIRST_ID + number // len(names)
    whole, cents, size = 100 + number % 50, number % 99 + 1, number % 9000 + 1
    if layout == "coinbase":
        return _MATCH % (place, size, whole, cents, name, number, time)
    return _TRADE % (name.replace("-", "/"), whole, cents, size, place, time)


def frame(payload: bytes) -> bytes:
    """An unmasked text frame."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


async def serve(layout: str, trades: int, names: list[str]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accepted = base64.b64encode(hashlib.sha1(key.split(b":")[1].strip() + _GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n")
        await reader.read(4096)  # the subscription
        waiting: list[bytes] = []
        for payload in messages(layout, trades, names):
            waiting.append(frame(payload))
            if len(waiting) == _BLOCK:
                writer.write(b"".join(waiting))
                waiting.clear()
                await writer.drain()
        writer.write(b"".join(waiting))
        await writer.drain()
        await reader.read(1)  # the goodbye
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), symbols(int(sys.argv[3]))))
