"""The pub/sub listener on a real Redis: order, a password, a server that freezes, one that comes back."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from structlog.testing import capture_logs

from core.errors import ConfigError
from local.redis import Redis
from stores import redis_listen
from stores.redis_listen import RedisListener

SECRET = "s3cret-Pa55"


@pytest.fixture
def own(servers_folder: Path, tmp_path: Path) -> Iterator[Redis]:
    with Redis(servers_folder / f"listen-{tmp_path.name}") as server:
        yield server


class Heard:
    """What a listener heard."""

    def __init__(self, url: str) -> None:
        self.payloads: list[bytes] = []
        self.subscribed: list[bytes] = []
        self.listener = RedisListener(
            url, lambda found: self.payloads.extend(payload for _, payload in found), self.subscribed.append
        )
        self.listener.start()
        self.listener.subscribe([b"one"])

    async def until(self, holds: Callable[[], bool], seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.01)


def test_every_message_comes_once_in_order_and_only_of_followed_channels(own: Redis) -> None:
    async def follow() -> None:
        heard = Heard(own.url)
        await heard.until(lambda: heard.subscribed == [b"one"])
        expected = [b"%d" % n * (n % 97) for n in range(1, 4_001)]
        with redis.Redis.from_url(own.url) as client:
            pipeline = client.pipeline(transaction=False)
            for payload in expected:
                pipeline.publish("one", payload)
                pipeline.publish("two", b"not asked for")
            await asyncio.to_thread(pipeline.execute)
            await heard.until(lambda: len(heard.payloads) == len(expected))
            assert heard.payloads == expected
            heard.listener.unsubscribe([b"one"])
            heard.listener.subscribe([b"two"])
            await heard.until(lambda: heard.subscribed == [b"one", b"two"])
            assert [client.publish("one", b"x"), client.publish("two", b"y")] == [0, 1]
        await heard.listener.close()

    asyncio.run(follow())


def test_password_of_the_url_is_used_and_never_shown(own: Redis) -> None:
    async def follow() -> None:
        with redis.Redis.from_url(own.url) as client:
            client.config_set("requirepass", SECRET)
        wrong = Heard(own.url.replace("redis://", f"redis://:{SECRET}x@"))
        right = Heard(own.url.replace("redis://", f"redis://:{SECRET}@"))
        await right.until(lambda: right.subscribed == [b"one"])
        assert not wrong.listener.connected and SECRET not in repr(right.listener) + repr(wrong.listener)
        for heard in (wrong, right):
            await heard.listener.close()

    with capture_logs() as logs:
        asyncio.run(follow())
    assert logs and SECRET not in str(logs)
    with pytest.raises(ConfigError) as refused:
        RedisListener(f"http://:{SECRET}@127.0.0.1", print, print)
    assert SECRET not in str(refused.value)


def test_answers_that_nobody_waits_for_are_not_kept(own: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listen() -> None:
        listener = RedisListener(own.url, lambda _: None, lambda _: None)
        listener.start()
        async with asyncio.timeout(15):
            while (wire := listener._wire) is None or wire.reads < 5:
                await asyncio.sleep(0.01)
        assert wire._answers.empty()
        await listener.close()

    monkeypatch.setattr(redis_listen, "PING_SECONDS", 0.05)
    asyncio.run(listen())


def test_frozen_server_is_noticed_and_found_again(own: Redis) -> None:
    async def follow() -> None:
        heard = Heard(own.url)
        await heard.until(lambda: heard.subscribed == [b"one"])
        process = psutil.Process(own.pid)
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        await heard.until(lambda: not heard.listener.connected)
        assert 1 < time.monotonic() - began < 7
        process.send_signal(signal.SIGCONT)
        await heard.until(lambda: heard.subscribed == [b"one", b"one"])
        with redis.Redis.from_url(own.url) as client:
            client.publish("one", b"back")
        await heard.until(lambda: heard.payloads == [b"back"])
        assert heard.listener.connections == 2
        await heard.listener.close()

    asyncio.run(follow())
