"""Redis, a worker or the whole server killed under a stream: clients come back, and no final bar is missing."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from local.redis import Redis
from stores.redis import RedisStore
from stores.redis_predictions import PredictionBoard
from stores.timescale import TimescaleStore
from tests.batches import make_bars
from tests.factories import indicators, indicators_table
from tests.integration.test_socket_events import said
from tests.ws_bars import Writer, at, final, forming
from tests.ws_client import SocketClient, run, socket_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def doomed(servers_folder: Path, tmp_path: Path) -> Iterator[Redis]:
    with Redis(servers_folder / f"socket-redis-{tmp_path.name}") as server:
        yield server


def forget(server: Redis) -> None:
    """The worst crash: nothing of the last second had reached the disk, and that was everything."""
    for path in sorted(server.folder.rglob("appendonly*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.mark.parametrize(
    ("lost", "another"), [(False, False), (True, False), (True, True)], ids=["kept", "lost", "lost-while-another-comes"]
)
def test_redis_killed_in_mid_stream_costs_no_final_bar(
    doomed: Redis, database: TimescaleStore, postgres_dsn: str, lost: bool, another: bool
) -> None:
    store = RedisStore(doomed.url)

    def write(*minutes: int, redis: bool = True) -> None:
        """As the final query does, the database first; without `redis`, it was Redis that lost them."""
        bars = [final(minute) for minute in minutes]
        written = make_bars(*bars), indicators_table(*(indicators(bar) for bar in bars))
        database.write_bars(*written)
        if redis:
            store.write_bars(*written)

    async def follow(url: str) -> None:
        async with SocketClient(url) as client, SocketClient(url) as values, SocketClient(url) as newcomer:
            await client.subscribe("AAPL")
            await values.subscribe("AAPL", channel="indicators")
            await client.subscribe("AAPL", channel="predictions")
            await asyncio.to_thread(board.write, [said(1)])
            await asyncio.to_thread(write, 1, 2)
            await asyncio.to_thread(store.write_live, [forming(3, 9)])
            await client.until(lambda: at(3) in client.held())
            doomed.kill()
            if lost:
                forget(doomed)
            await asyncio.to_thread(lambda: write(3, 4, redis=False))
            if another:  # it is shown what the others then are told by nobody else
                shown = await newcomer.subscribe("AAPL", snapshot=100)
                assert [bar["start"] for bar in shown["data"]] == [at(n) for n in range(5)]
            await asyncio.to_thread(doomed.start)
            await asyncio.to_thread(board.write, [said(2)])  # whether or not the API listens again already
            # The relay reads the last minute again, with what the client has long had.
            again = [forming(2, 1), forming(3, 5), forming(3, 9), forming(5, 1)]
            await asyncio.to_thread(store.write_live, again)
            await client.until(lambda: {at(n) for n in (1, 2, 3, 4)} <= {start for _, start, _ in client.finals})
            await asyncio.to_thread(write, 5)
            await client.until(lambda: client.held().get(at(5), {}).get("rev") == 1)
            assert client.gaps == [] and client.closed is None
            assert [bar["state"] for start, bar in sorted(client.held().items())] == ["final"] * 6
            assert any(each["mode"] == "resync" for each in client.of("snapshot"))
            finals = [start for _, start, _ in client.finals]
            assert len(finals) == len(set(finals)) == 6
            await values.until(lambda: set(values.held(channel="indicators")) == {at(n) for n in range(6)})
            assert values.gaps == newcomer.gaps == []
            await client.until(lambda: at(2) in predicted(client))
            assert predicted(client)[0] == at(1)

    def predicted(client: SocketClient) -> list[int]:
        told = [each for each in client.messages if each.get("channel") == "predictions" and "data" in each]
        return [
            row["start"] for each in told for row in (each["data"] if each["type"] == "snapshot" else [each["data"]])
        ]

    write(0)
    board = PredictionBoard(doomed.url, 300)
    settings = Settings(redis_url=SecretStr(doomed.url), postgres_dsn=SecretStr(postgres_dsn), api_auth="off")
    with socket_server(settings) as url:
        run(follow(url))
    store.close()
    board.close()


def test_subscription_while_redis_is_down_is_refused_and_works_later(doomed: Redis, postgres_dsn: str) -> None:
    store = RedisStore(doomed.url)

    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            assert (await client.subscribe("AAPL"))["type"] == "snapshot"
            doomed.kill()
            refused = await client.subscribe("MSFT")
            assert (refused["code"], refused["store"]) == ("unavailable", "redis") and refused["retry_after"] > 0
            await asyncio.to_thread(doomed.start)
            deadline = time.monotonic() + 20
            while (answer := await client.subscribe("MSFT"))["type"] != "snapshot":
                assert time.monotonic() < deadline, answer
            await asyncio.to_thread(store.write_live, [forming(1, 1, symbol="MSFT")])
            await client.until(lambda: at(1) in client.held("MSFT"))

    store.write_bars(make_bars(final(0), final(0, symbol="MSFT")))
    settings = Settings(redis_url=SecretStr(doomed.url), postgres_dsn=SecretStr(postgres_dsn), api_auth="off")
    with socket_server(settings) as url:
        run(follow(url))
    store.close()


@contextmanager
def workers(settings: dict[str, str], log: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`python -m api --workers 2`, and the address of its socket."""
    with log.open("wb") as out:
        command = [sys.executable, "-m", "api", "--workers", "2", "--port", _free_port()]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 40
        while log.read_text().count("Application startup complete") < 2:
            assert time.monotonic() < deadline and process.poll() is None, log.read_text()
            time.sleep(0.1)
        found = re.search(r"http(://[\d.]+:\d+)", log.read_text())
        assert found is not None
        yield process, f"ws{found[1]}/ws"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _free_port() -> str:
    from local.server import free_port

    return str(free_port())


def worker_of(process: "subprocess.Popen[bytes]", client: SocketClient) -> int:
    """The process that serves a client."""
    assert client._socket is not None
    port = client._socket.local_address[1]
    for child in psutil.Process(process.pid).children(recursive=True):
        if any(each.raddr and each.raddr.port == port for each in child.net_connections("tcp")):
            return int(child.pid)
    raise AssertionError("nobody serves the client")


def test_killed_worker_costs_no_final_bar_and_workers_number_alike(
    redis_url: str, postgres_dsn: str, database: TimescaleStore, tmp_path: Path
) -> None:
    store = RedisStore(redis_url)
    store.write_bars(make_bars(final(0)))
    settings = {"REDIS_URL": redis_url, "POSTGRES_DSN": postgres_dsn, "TICKSTREAM_API_AUTH": "off"}

    async def connected(url: str, process: "subprocess.Popen[bytes]", other_than: int = 0) -> SocketClient:
        """A client of another worker: which one takes a connection is up to the kernel."""
        async with asyncio.timeout(20):
            while True:
                client = await SocketClient(url).__aenter__()
                if worker_of(process, client) != other_than:
                    return client
                await client.__aexit__()

    async def follow(url: str, process: "subprocess.Popen[bytes]", writer: Writer) -> None:
        stays = await connected(url, process)
        leaves = await connected(url, process, worker_of(process, stays))
        for client in (stays, leaves):
            await client.subscribe("AAPL")
        await leaves.until(lambda: len(leaves.finals) > 4)
        os.kill(worker_of(process, leaves), signal.SIGKILL)
        await leaves.until(lambda: leaves.closed is not None)
        had = max(start for _, start, _ in leaves.finals)
        resume = {"AAPL": leaves.seqs["bars", "AAPL", "1m"]}
        await stays.until(lambda: max(start for _, start, _ in stays.finals) > had + 3 * 60_000_000)
        back = await connected(url, process)
        await back.subscribe("AAPL", resume=resume, since={"AAPL": had})
        await back.until(lambda: len(back.finals) > 6)
        assert stays.gaps == leaves.gaps == back.gaps == []
        starts = sorted({start for client in (leaves, back) for _, start, _ in client.finals})
        assert starts == list(range(starts[0], starts[-1] + 1, 60_000_000))
        numbers = [
            {(each["data"]["start"], each["data"]["last_offset"]): each["seq"] for each in client.of("update")}
            for client in (stays, leaves)
        ]
        shared = numbers[0].keys() & numbers[1].keys()
        assert len(shared) > 20 and all(numbers[0][key] == numbers[1][key] for key in shared)
        for client in (stays, leaves, back):
            await client.__aexit__()

    with workers(settings, tmp_path / "api.log") as (process, url), Writer(store) as writer:
        run(follow(url, process, writer))
    store.close()
