"""The dashboard's server on a real API: what goes through its socket, who gets in, what happens without the API."""

import asyncio
import base64
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from conf.settings import Settings
from dashboard.__main__ import Server, config
from dashboard.app import create_app
from local.postgres import Postgres
from local.redis import Redis
from local.server import free_port
from stores.redis import RedisStore
from stores.timescale import TimescaleStore
from tests.api_process import add_key, api_process
from tests.batches import make_bars
from tests.dashboard_process import DashboardProcess, dashboard_process
from tests.databases import fresh_database
from tests.serving import in_thread
from tests.ws_bars import at, final, forming
from tests.ws_client import Message, SocketClient, run

PASSWORD = "a long password"
REDIS_DATABASE = 254
SYMBOLS = ("AAPL", "MSFT")
DOWN_SECONDS = 10.0
MEGABYTE = 1 << 20


class LiveClient(SocketClient):
    """A browser: the API's messages are held to its contract, this server's own are kept beside them."""

    def __init__(self, url: str, origin: str | None = None, **options: Any) -> None:
        self.own: list[Message] = []
        super().__init__(f"ws{url.removeprefix('http')}/live", origin=origin or url, **options)

    def _note(self, message: Message) -> None:
        if message["type"] in ("api", "page") or message == {"type": "heartbeat"} or message.get("code") == "refused":
            self.own.append(message)
            self._news.set()
        else:
            super()._note(message)

    def states(self) -> list[Message]:
        return [message for message in self.own if message["type"] == "api"]

    def pages(self) -> list[Message]:
        return [message for message in self.own if message["type"] == "page"]

    async def until_state(self, state: str, seconds: float = DOWN_SECONDS) -> Message:
        """The newest word about the API, as soon as it is this."""
        await self.until(lambda: bool(self.states()) and self.states()[-1]["state"] == state, seconds)
        return self.states()[-1]


class Market:
    """An API that asks for keys, over stores of its own; it can be killed and started again on its port."""

    def __init__(self, settings: Settings, key: str, folder: Path) -> None:
        self.settings, self.key = settings, key
        self.database = TimescaleStore(settings.postgres_dsn.get_secret_value())
        self.live = RedisStore(settings.redis_url.get_secret_value())
        self._folder = folder
        self._api = ExitStack()
        self.start()

    def start(self) -> None:
        self._api.enter_context(
            api_process(self.settings, self._folder / "api.log", "--port", str(self.settings.api_port))
        )

    def kill(self) -> None:
        self._api.close()

    def close(self) -> None:
        self.kill()
        self.live.close()
        self.database.close()

    def write(self, *minutes: int, redis_too: bool = True) -> None:
        """Final bars of both symbols, the database first as the final query does."""
        bars = make_bars(*(final(minute, symbol=symbol) for minute in minutes for symbol in SYMBOLS))
        self.database.write_bars(bars)
        if redis_too:
            self.live.write_bars(bars)


@pytest.fixture(scope="module")
def market(
    postgres_server: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Market]:
    url = redis_server.url.removesuffix("0") + str(REDIS_DATABASE)
    with fresh_database(postgres_server) as dsn, redis.Redis.from_url(url) as client:
        client.flushdb()
        store = TimescaleStore(dsn)
        store.setup()
        store.close()
        api_port = free_port()
        settings = Settings(
            postgres_dsn=SecretStr(dsn),
            redis_url=SecretStr(url),
            redis_ttl_seconds=3600,
            api_auth="required",
            api_port=api_port,
            dashboard_port=free_port(),
            dashboard_api_url=f"http://127.0.0.1:{api_port}",
        )
        key, _ = add_key(settings, ["read", "stream"])
        settings = settings.model_copy(update={"dashboard_api_key": SecretStr(key)})
        made = Market(settings, key, tmp_path_factory.mktemp("market"))
        made.write(0, 1, 2)
        yield made
        made.close()
        client.flushdb()


@pytest.fixture(scope="module")
def running_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard") / "dashboard.log"


@pytest.fixture(scope="module")
def running(market: Market, running_log: Path) -> Iterator[DashboardProcess]:
    """The same as a process, with its log; the last test stops it."""
    settings = market.settings.model_copy(update={"dashboard_port": free_port()})
    with dashboard_process(settings, running_log) as process:
        process.wait_until_up()
        yield process


@contextmanager
def dashboard(market: Market, **changes: Any) -> Iterator[str]:
    """The URL of a dashboard in a thread, with settings of its own."""
    settings = market.settings.model_copy(update={"dashboard_port": 0, **changes})
    with in_thread(Server(config(create_app(settings), settings, log_level="warning"))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def url(market: Market) -> Iterator[str]:
    with dashboard(market) as url:
        yield url


def test_socket_brings_what_the_api_says(market: Market, url: str) -> None:
    async def follow() -> None:
        headers = {"Authorization": f"Bearer {market.key}"}
        direct = SocketClient(f"ws://127.0.0.1:{market.settings.api_port}/ws", additional_headers=headers)
        async with LiveClient(url) as browser, direct:
            assert (await browser.until_state("up"))["session"] == 1
            for client in (browser, direct):
                assert (await client.subscribe(*SYMBOLS, interval="1m", snapshot=3))["type"] == "snapshot"
            assert browser.held() == direct.held() and set(browser.held()) >= {at(0), at(1), at(2)}
            await asyncio.to_thread(market.live.write_live, [forming(3, 7), forming(3, 9, symbol="MSFT")])
            for client in (browser, direct):
                await client.until(lambda c=client: at(3) in c.held() and at(3) in c.held("MSFT"))
            updates = [[(m["symbol"], m["seq"], m["data"]) for m in c.of("update")] for c in (browser, direct)]
            assert updates[0] == updates[1]
            assert browser.gaps == []
            assert {"event_us", "received_us", "sent_us"} <= browser.of("update")[0]["stamps"].keys()
            assert (await browser.ask({"type": "ping", "id": 7}))["type"] == "pong"
            refused = await browser.ask({"type": "subscribe", "channel": "bars", "symbols": ["NOBODY"]})
            assert (refused["type"], refused["code"]) == ("error", "unknown_symbol")

    run(follow())


def test_api_killed_is_told_and_its_return_too_and_nothing_is_missing(market: Market, url: str) -> None:
    async def follow() -> None:
        async with LiveClient(url) as browser:
            first = await browser.until_state("up")
            snapshot = await browser.subscribe("AAPL", interval="1m", snapshot=3)
            await asyncio.to_thread(market.kill)
            down = await browser.until_state("down")
            assert down["retry_in"] > 0 and down["reason"] == "The API does not answer."
            beats = browser.own.count({"type": "heartbeat"})
            await browser.send({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"]})  # nobody there
            await asyncio.to_thread(market.write, 3, 4)
            await browser.until(lambda: browser.own.count({"type": "heartbeat"}) >= beats + 2)
            async with LiveClient(url) as late:
                await late.until_state("down")
                await asyncio.to_thread(market.start)
                assert (await late.until_state("up"))["session"] == 1
            back = await browser.until_state("up")
            assert back["session"] > first["session"]
            browser.seqs.clear()
            resume = {"AAPL": snapshot["seq"]}
            await browser.subscribe("AAPL", interval="1m", resume=resume, since={"AAPL": at(2)})
            assert {at(3), at(4)} <= set(browser.held())
            await asyncio.to_thread(market.write, 5)
            await browser.until(lambda: at(5) in browser.held())
            assert browser.gaps == [] and browser.closed is None

    run(follow())


def test_figures_are_asked_for_once_for_all_and_say_what_is_wrong(url: str) -> None:
    async def follow() -> None:
        async with LiveClient(url) as one, LiveClient(url) as other:
            for client in (one, other):
                await client.send({"type": "follow", "what": "pipeline"})
                await client.send({"type": "follow", "what": "pipeline"})
            await one.send({"type": "follow", "what": "everything"})
            await one.until(lambda: any(message.get("code") == "refused" for message in one.own))
            for client in (one, other):
                await client.until(lambda c=client: bool(c.pages()), 30)
            assert one.pages() == other.pages(), "the same answers, and each once"
            data = one.pages()[0]["data"]
            assert data["health"]["status"] == "ok" and data["latency"]["stages"]
            assert data["kafka"] is None and "kafka" in data["errors"], "there is no broker here"

    run(follow())


def test_browser_that_does_not_read_costs_the_others_nothing(market: Market, running: DashboardProcess) -> None:
    """It asks for 80 MB and takes none of it: they stay with the API, which gives it up in the end."""
    market.database.write_bars(make_bars(*(final(minute, symbol="MSFT") for minute in range(-1000, 0))))

    async def follow(url: str, server: psutil.Process) -> None:
        async with LiveClient(url) as browser, connect(f"ws{url[4:]}/live", origin=url, compression=None) as slow:
            await browser.until_state("up")
            await browser.subscribe("AAPL", interval="1m")
            before = server.memory_info().rss
            slow.transport.pause_reading()
            greedy = '{"type":"subscribe","channel":"bars","symbols":["MSFT"],"interval":"1m","snapshot":1000}'
            asking = asyncio.create_task(_ask_again(slow, greedy, 200))
            waits = []
            for offset in range(1, 30):
                began = time.monotonic()
                await asyncio.to_thread(market.live.write_live, [forming(9, offset)])
                await browser.until(lambda o=offset: browser.held().get(at(9), {}).get("trade_count", 0) >= o)
                waits.append(time.monotonic() - began)
            await asking
            assert sorted(waits)[len(waits) // 2] < 0.5 and max(waits) < 3
            assert server.memory_info().rss - before < 40 * MEGABYTE
            assert browser.gaps == [] and browser.closed is None
            slow.transport.abort()

    run(follow(running.wait_until_up(), psutil.Process(running.process.pid)))


async def _ask_again(socket: Any, text: str, times: int) -> None:
    for _ in range(times):
        try:
            async with asyncio.timeout(0.5):
                await socket.send(text)
        except (TimeoutError, ConnectionClosed):
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://localhost", ""], ids=str
)
def test_page_of_another_site_gets_no_socket(url: str, origin: str) -> None:
    async def knock() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws{url[4:]}/live", origin=origin or None):
                pass
        assert refused.value.response.status_code == 403

    run(knock())


def test_name_of_a_stranger_that_leads_here_gets_nothing(url: str) -> None:
    host = {"Host": "evil.example:8050"}
    assert httpx.get(f"{url}/_dash-layout", headers=host).status_code == 403

    async def knock() -> None:
        with pytest.raises(InvalidStatus) as refused:
            headers = {**host, "Origin": "http://evil.example:8050"}
            async with connect(f"ws{url[4:]}/live", additional_headers=headers):
                pass
        assert refused.value.response.status_code == 403

    run(knock())


def test_password_guards_the_socket_too(market: Market) -> None:
    async def knock(url: str, headers: dict[str, str]) -> int | str:
        try:
            async with connect(f"ws{url[4:]}/live", origin=url, additional_headers=headers) as socket:  # type: ignore[arg-type]
                while '"state":"up"' not in (heard := str(await socket.recv())):
                    pass  # a heartbeat, or that it is connecting
                return heard
        except InvalidStatus as refused:
            return int(refused.response.status_code)

    def basic(password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}

    with dashboard(market, dashboard_password=SecretStr(PASSWORD)) as url:
        assert run(knock(url, {})) == 401
        assert run(knock(url, basic("wrong"))) == 401
        assert '"state":"up"' in run(knock(url, basic(PASSWORD)))
        page = httpx.get(url, headers=basic(PASSWORD))
        cookie = {"Cookie": page.headers["set-cookie"].partition(";")[0]}
        assert '"state":"up"' in run(knock(url, cookie))
        assert httpx.get(f"{url}/health/live").status_code == 200


def test_key_never_reaches_the_browser(market: Market, running: DashboardProcess, running_log: Path) -> None:
    async def listen(url: str) -> list[str]:
        async with connect(f"ws{url[4:]}/live", origin=url) as socket:
            heard = [str(await socket.recv())]
            while '"state":"up"' not in heard[-1]:  # what comes before is not passed on: a browser says it again then
                heard.append(str(await socket.recv()))
            await socket.send('{"type":"follow","what":"pipeline"}')
            await socket.send('{"type":"subscribe","channel":"bars","symbols":["NOBODY"],"interval":"9m"}')
            await socket.send('{"type":"auth","key":"mine"}')
            while not all(any(word in text for text in heard) for word in ("page", "unknown_interval", "refused")):
                heard.append(str(await socket.recv()))
            return heard

    url = running.wait_until_up()
    with httpx.Client(base_url=url) as client:
        document = client.get("/").text
        paths = ["/market", "/nowhere", "/_dash-layout", "/_dash-dependencies"]
        paths += re.findall(r'src="(/assets/[^"]+)"', document)
        seen = [document, *(client.get(path).text for path in paths), *run(listen(url))]
        seen.append(client.post("/_dash-update-component", json={}).text)
    seen.append(running_log.read_text())
    secret = market.key.rpartition("_")[2]
    assert len(seen) > 15 and not any(secret in text for text in seen)


def test_wrong_key_is_said_in_words(market: Market) -> None:
    async def follow(url: str) -> str:
        async with LiveClient(url) as browser:
            return str((await browser.until_state("down"))["reason"])

    wrong = SecretStr(market.key[:-4] + "AAAA")
    with dashboard(market, dashboard_api_key=wrong) as url:
        assert "TICKSTREAM_DASHBOARD_API_KEY" in run(follow(url))


async def goodbye(url: str, state: str, stop: Callable[[], None]) -> tuple[int, str] | None:
    """With which code and words the socket ends."""
    async with LiveClient(url) as browser:
        await browser.until_state(state)
        stop()
        await browser.until(lambda: browser.closed is not None)
        return browser.closed


def test_stop_says_goodbye(running: DashboardProcess, running_log: Path) -> None:
    assert run(goodbye(running.wait_until_up(), "up", running.process.terminate)) == (1001, "the dashboard stops")
    assert running.process.wait(10) in (0, -signal.SIGTERM)
    assert "Traceback" not in running_log.read_text()


def test_stop_says_goodbye_without_an_api_too(market: Market) -> None:
    with ExitStack() as stack:
        running = dashboard(market, dashboard_api_url=f"http://127.0.0.1:{free_port()}")
        url = stack.enter_context(running)
        leaving = threading.Thread(target=stack.close)
        assert run(goodbye(url, "down", leaving.start)) == (1001, "the dashboard stops")
        leaving.join(20)
