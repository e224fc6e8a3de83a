"""`python -m tests.conformance_socket http://127.0.0.1:8000 [SYMBOL] [--key KEY]`: checks any server's WebSocket.

One line for each check, ok or FAIL; exit code 1 when one failed. The server needs a feed: bars must be moving.
"""

import argparse
import asyncio
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from tests.ws_client import SocketClient

Check = Callable[[Callable[..., SocketClient], str], Awaitable[None]]
MOVE_SECONDS = 20.0


async def snapshot_then_updates_without_a_gap(connect: Callable[..., SocketClient], symbol: str) -> None:
    async with connect() as client:
        answer = await client.subscribe(symbol, snapshot=5)
        assert answer["type"] == "snapshot" and answer["mode"] == "fresh"
        assert [bar["start"] for bar in answer["data"]] == sorted({bar["start"] for bar in answer["data"]})
        await client.until(lambda: len(client.of("update")) >= 5, MOVE_SECONDS)
        assert client.gaps == [], "prev_seq is the seq before"


async def resume_continues_where_one_left(connect: Callable[..., SocketClient], symbol: str) -> None:
    async with connect() as stays:
        left = (await stays.subscribe(symbol))["seq"]
        await stays.until(lambda: bool(stays.of("update")), MOVE_SECONDS)
        async with connect() as client:
            answer = await client.subscribe(symbol, resume={symbol: left})
            assert answer["mode"] in ("resume", "fresh") and answer["seq"] >= left
            missed = [each for each in stays.of("update") if left < each["seq"] <= answer["seq"]]
            revs = {bar["start"]: bar["rev"] for bar in answer["data"]}
            for bar in (each["data"] for each in missed if answer["mode"] == "resume"):
                assert revs.get(bar["start"], -1) >= bar["rev"], f"the bar of {bar['start']} is not in it"
            await client.until(lambda: bool(client.of("update")), MOVE_SECONDS)
            assert client.gaps == [], "prev_seq of the next update is the seq of the answer"


async def heartbeat_each_second(connect: Callable[..., SocketClient], _symbol: str) -> None:
    async with connect() as client:
        await client.until(lambda: len(client.of("heartbeat")) >= 3, 5)
        counters = [each["counter"] for each in client.of("heartbeat")]
        assert counters == list(range(counters[0], counters[0] + len(counters)))


async def ping_is_answered_with_its_id(connect: Callable[..., SocketClient], _symbol: str) -> None:
    async with connect() as client:
        assert (await client.ask({"type": "ping", "id": 42}))["type"] == "pong"


async def mistakes_are_named_and_cost_nothing(connect: Callable[..., SocketClient], symbol: str) -> None:
    good: dict[str, Any] = {"type": "subscribe", "channel": "bars", "symbols": [symbol]}
    async with connect() as client:
        for change, code in (
            ({"type": "shout"}, "unknown_type"),
            ({"channel": "gossip"}, "unknown_channel"),
            ({"interval": "2w"}, "unknown_interval"),
            ({"symbols": ["no-such-symbol"]}, "unknown_symbol"),
            ({"snapshot": -1}, "invalid_field"),
        ):
            assert (await client.ask(good | change))["code"] == code
        assert (await client.subscribe(symbol))["type"] == "snapshot"


async def unsubscribe_ends_the_updates(connect: Callable[..., SocketClient], symbol: str) -> None:
    async with connect() as client:
        await client.subscribe(symbol)
        answer = await client.ask({"type": "unsubscribe", "channel": "bars", "symbols": [symbol]})
        assert answer["type"] == "ack"
        count = len(client.of("update"))
        await asyncio.sleep(1.5)
        assert len(client.of("update")) == count


CHECKS: tuple[Check, ...] = (
    snapshot_then_updates_without_a_gap,
    resume_continues_where_one_left,
    heartbeat_each_second,
    ping_is_answered_with_its_id,
    mistakes_are_named_and_cost_nothing,
    unsubscribe_ends_the_updates,
)


async def run_all(url: str, symbol: str, key: str | None = None) -> list[str]:
    """The names of the checks that failed; `url` is that of the server, http:// or https://."""
    address = url.rstrip("/").replace("http", "ws", 1) + "/ws"
    headers = {} if key is None else {"additional_headers": {"Authorization": f"Bearer {key}"}}
    failed = []
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            await check(lambda: SocketClient(address, **headers), symbol)
            sys.stdout.write(f"ok    socket: {name}\n")
        except Exception as error:
            sys.stdout.write(f"FAIL  socket: {name}: {type(error).__name__} {error}\n")
            failed.append(name)
    return failed


def first_symbol(url: str, key: str | None) -> str:
    """Any symbol that the server has."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url.rstrip('/')}/api/v1/symbols", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(orjson.loads(answer.read())["symbols"][0]["symbol"])


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 when all checks passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance_socket", description=__doc__)
    parser.add_argument("url", help="of the server, such as http://127.0.0.1:8000")
    parser.add_argument("symbol", nargs="?", help="one that moves (default: the first of /api/v1/symbols)")
    parser.add_argument("--key", help="a key with the scope `stream`")
    options = parser.parse_args(arguments)
    symbol = options.symbol or first_symbol(options.url, options.key)
    return 1 if asyncio.run(run_all(options.url, symbol, options.key)) else 0


if __name__ == "__main__":
    sys.exit(main())
