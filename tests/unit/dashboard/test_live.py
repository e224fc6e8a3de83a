"""The reader that all browsers share, and the watch over the API's REST side."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import pytest

from core.errors import Retryable
from dashboard.client import ApiClient, ApiDown, ApiRefused
from dashboard.live import FIRST_WAIT_SECONDS, RestWatch
from dashboard.reader import MOST_TOPICS, SOURCES, Reader, Source, Topic

SECONDS = 5.0
CLIENT = ApiClient("http://127.0.0.1:1")


class Asked:
    """A source that counts how often it is asked, by parameters."""

    def __init__(self, period: float = 0.01, **answers: Any) -> None:
        self.times: list[dict[str, str]] = []
        self.running = self.most = 0
        self.source = Source(period, {name: self._fetch(answer) for name, answer in answers.items()})

    def _fetch(self, answer: Any) -> Callable[[ApiClient, Mapping[str, str]], Awaitable[Any]]:
        async def fetch(client: ApiClient, params: Mapping[str, str]) -> Any:
            assert client is CLIENT
            self.times.append(dict(params))
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1
            if isinstance(answer, Exception):
                raise answer
            return answer

        return fetch


class Browser:
    """Takes what the reader says."""

    def __init__(self) -> None:
        self.heard: list[tuple[Topic, dict[str, Any]]] = []

    def __call__(self, topic: Topic, message: str) -> None:
        self.heard.append((topic, orjson.loads(message)))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


def test_all_browsers_get_the_answers_of_one_asking() -> None:
    async def run() -> None:
        asked = Asked(a=1, b={"x": 2})
        reader = Reader(CLIENT, {"pipeline": asked.source})
        browsers = [Browser() for _ in range(5)]
        for browser in browsers:
            reader.follow(Topic("pipeline"), browser)
        await until(lambda: all(len(browser.heard) >= 3 for browser in browsers))
        assert len(asked.times) <= 2 * (len(browsers[0].heard) + 1)
        assert asked.most == 2, "the answers of one round at once, one round after the other"
        data = browsers[0].heard[0][1].pop("data")
        assert browsers[0].heard[0][1] == {"type": "page", "what": "pipeline", "params": {}}
        assert data.pop("at_us") > 1.7e15
        assert data == {"a": 1, "b": {"x": 2}, "errors": {}}
        await reader.close()

    asyncio.run(run())


def test_newcomer_sees_what_is_known_at_once() -> None:
    async def run() -> None:
        asked = Asked(period=60, a=1)
        reader = Reader(CLIENT, {"pipeline": asked.source})
        first, second = Browser(), Browser()
        reader.follow(Topic("pipeline"), first)
        await until(lambda: first.heard)
        reader.follow(Topic("pipeline"), second)
        assert second.heard == first.heard
        assert len(asked.times) == 1
        await reader.close()

    asyncio.run(run())


def test_nobody_asks_when_nobody_follows() -> None:
    async def run() -> None:
        asked = Asked(a=1)
        reader = Reader(CLIENT, {"pipeline": asked.source})
        first, second = Browser(), Browser()
        for browser in (first, second):
            reader.follow(Topic("pipeline"), browser)
        await until(lambda: second.heard)
        reader.unfollow(Topic("pipeline"), first)
        left, count = len(first.heard), len(asked.times)
        await until(lambda: len(asked.times) > count + 2)
        assert len(first.heard) == left
        reader.unfollow(Topic("pipeline"), second)
        reader.unfollow(Topic("pipeline"), second)
        await asyncio.sleep(0)
        count = len(asked.times)
        await asyncio.sleep(0.05)
        assert len(asked.times) == count

    asyncio.run(run())


def test_parameters_are_topics_of_their_own() -> None:
    async def run() -> None:
        asked = Asked(period=60, a=1)
        reader = Reader(CLIENT, {"quality": asked.source})
        one, other = Browser(), Browser()
        topic = reader.topic({"what": "quality", "params": {"symbol": "A", "day": "1"}})
        assert topic == reader.topic({"what": "quality", "params": {"day": "1", "symbol": "A"}})
        reader.follow(topic, one)
        reader.follow(reader.topic({"what": "quality"}), other)
        await until(lambda: one.heard and other.heard)
        assert [topic for topic, _ in one.heard] == [topic]
        assert one.heard[0][1]["params"] == {"symbol": "A", "day": "1"}
        assert other.heard[0][1]["params"] == {}
        assert len(asked.times) == 2
        await reader.close()

    asyncio.run(run())


def test_answer_that_failed_is_null_and_says_why_while_the_others_stay() -> None:
    async def run() -> dict[str, Any]:
        asked = Asked(
            good=1,
            down=ApiDown("The API does not answer.", 3),
            refused=ApiRefused({"status": 404, "title": "Not Found", "detail": "no such symbol"}),
            broken=KeyError("symbol"),
        )
        reader = Reader(CLIENT, {"pipeline": asked.source})
        browser = Browser()
        reader.follow(Topic("pipeline"), browser)
        await until(lambda: len(browser.heard) >= 2)
        await reader.close()
        data: dict[str, Any] = browser.heard[1][1]["data"]
        return data

    data = asyncio.run(run())
    assert (data["good"], data["down"], data["refused"], data["broken"]) == (1, None, None, None)
    assert data["errors"] == {
        "down": "The API does not answer.",
        "refused": "404 Not Found: no such symbol",
        "broken": "the answer could not be read",
    }


def test_view_is_made_once_a_round_and_may_fail() -> None:
    async def run() -> list[Any]:
        asked = Asked(a=2)
        good = Source(60, asked.source.fetches, lambda data: data["a"] * 10)
        bad = Source(60, asked.source.fetches, lambda data: data["missing"])
        reader = Reader(CLIENT, {"pipeline": good, "quality": bad})
        browsers = [Browser(), Browser()]
        for what, browser in zip(("pipeline", "quality"), browsers, strict=True):
            reader.follow(Topic(what), browser)
        await until(lambda: all(browser.heard for browser in browsers))
        await reader.close()
        return [browser.heard[0][1]["data"]["view"] for browser in browsers]

    assert asyncio.run(run()) == [20, None]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"what": "nothing"},
        {"what": ["pipeline"]},
        {"what": "pipeline", "params": [1]},
        {"what": "pipeline", "params": {"symbol": 1}},
        {"what": "pipeline", "params": {"symbol": "A" * 201}},
        {"what": "pipeline", "params": {str(number): "" for number in range(9)}},
    ],
)
def test_topic_that_makes_no_sense_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Reader(CLIENT).topic(message)


def test_browsers_cannot_make_the_server_ask_for_everything() -> None:
    async def run() -> None:
        reader = Reader(CLIENT, {"quality": Asked(period=60, a=1).source})
        browser = Browser()
        for number in range(MOST_TOPICS):
            reader.follow(Topic("quality", (("symbol", str(number)),)), browser)
        with pytest.raises(ValueError):
            reader.follow(Topic("quality", (("symbol", "one more"),)), browser)
        reader.follow(Topic("quality", (("symbol", "0"),)), Browser())
        reader.unfollow(Topic("quality", (("symbol", "1"),)), browser)
        reader.follow(Topic("quality", (("symbol", "one more"),)), browser)
        await reader.close()

    asyncio.run(run())


def test_pages_that_can_be_followed() -> None:
    assert {"pipeline", "quality"} <= SOURCES.keys()
    names = {"latency", "throughput", "kafka", "cache", "sockets", "late_ticks", "health"}
    assert names <= SOURCES["pipeline"].fetches.keys()


class Answers(ApiClient):
    """An API that is ready when told."""

    def __init__(self, *answers: bool) -> None:
        super().__init__("http://127.0.0.1:1")
        self.asked = 0
        self._answers = list(answers)

    async def ready(self) -> bool:
        self.asked += 1
        return self._answers.pop(0) if self._answers else True


def test_rest_side_that_fails_is_asked_until_it_answers() -> None:
    async def run() -> None:
        client, changes = Answers(False, True), []
        watch = RestWatch(client, lambda: changes.append(watch.down))
        error = ApiDown("no answer", 2)
        watch.report(error)
        watch.report(ApiDown("a second page", 2))
        assert changes == [error]
        await until(lambda: watch.down is None)
        assert changes == [error, None]
        assert client.asked == 2
        await watch.close()

    asyncio.run(run())


def test_rest_side_that_fails_again_and_again_is_asked_less_often() -> None:
    async def run() -> list[float]:
        client, waits = Answers(), []
        watch = RestWatch(client, lambda: None)
        loop = asyncio.get_running_loop()
        for _ in range(2):
            began = loop.time()
            watch.report(ApiDown("no answer"))
            await until(lambda: watch.down is None)
            waits.append(loop.time() - began)
        await watch.close()
        return waits

    first, second = asyncio.run(run())
    assert first >= FIRST_WAIT_SECONDS and second >= 2 * FIRST_WAIT_SECONDS


def test_down_is_retryable() -> None:
    assert issubclass(ApiDown, Retryable)
