"""One reader of the API's figures for all browsers: it asks while somebody follows, and everybody gets the answer."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import structlog

from core.errors import TickstreamError
from dashboard.client import ApiClient
from dashboard.pages import alerts, chart_reading, pipeline_view

Params = Mapping[str, str]
Fetch = Callable[[ApiClient, Params], Awaitable[Any]]

MOST_TOPICS = 64
"""Different pages with their parameters that may be followed at once."""
MOST_PARAMS, MOST_CHARACTERS = 8, 200

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """What a page follows: the API's answers by name, asked for every so many seconds; `view` is made of them once."""

    seconds: float
    fetches: Mapping[str, Fetch]
    view: Callable[[dict[str, Any]], Any] | None = None


def _metrics(name: str, **params: int) -> Fetch:
    return lambda client, _: client.metrics(name, **params)


SOURCES: dict[str, Source] = {
    "pipeline": Source(
        2.0,
        {
            "latency": _metrics("latency", minutes=2),
            "throughput": _metrics("throughput"),
            "kafka": _metrics("kafka"),
            "cache": _metrics("cache"),
            "sockets": _metrics("sockets"),
            "late_ticks": _metrics("late-ticks", limit=60),
            "health": lambda client, _: client.health(),
            "queries": _metrics("queries"),
            "stores": _metrics("stores"),
            "dead_letters": _metrics("dead-letters", limit=5),
            "gaps": _metrics("gaps"),
        },
        pipeline_view.view,
    ),
    "quality": Source(
        10.0,  # bars are reconciled about once a minute; the page asks for more where one of these has changed
        {
            "days": lambda client, _: client.get("/api/v1/quality/days", days=2, limit=0),
            "amendments": lambda client, _: client.get("/api/v1/quality/amendments", limit=1),
            "gaps": lambda client, _: client.get("/api/v1/quality/gaps", limit=1),
            "late_ticks": _metrics("late-ticks", limit=1),
        },
    ),
    "indicators": Source(1.0, {"newest": chart_reading.newest_values}),
    "alerts": Source(5.0, {"alerts": alerts.newest_alerts, "anomalies": alerts.newest_anomalies}),
}


class Follower(Protocol):
    """Takes every message of a topic; only the newest matters, and it may not wait."""

    def __call__(self, topic: "Topic", message: str) -> None: ...


@dataclass(frozen=True)
class Topic:
    """A page with its parameters."""

    what: str
    params: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class _Round:
    """A topic that somebody follows: the task that asks, and the newest message."""

    followers: list[Follower] = field(default_factory=list)
    newest: str | None = None
    task: "asyncio.Task[None] | None" = None


class Reader:
    """Follows topics on behalf of browsers. `client` is its own: what fails here is said on the page."""

    def __init__(self, client: ApiClient, sources: Mapping[str, Source] = SOURCES) -> None:
        self._client = client
        self._sources = sources
        self._rounds: dict[Topic, _Round] = {}

    def topic(self, message: Mapping[str, Any]) -> Topic:
        """The topic that a browser's message names. Raises ValueError saying what is wrong with it."""
        what, params = message.get("what"), message.get("params") or {}
        if not isinstance(what, str) or what not in self._sources:
            raise ValueError(f"unknown page; known: {', '.join(self._sources)}")
        if not isinstance(params, dict) or len(params) > MOST_PARAMS:
            raise ValueError(f"params is an object of at most {MOST_PARAMS} texts")
        if not all(isinstance(each, str) and len(each) <= MOST_CHARACTERS for each in params.values()):
            raise ValueError(f"a value of params is text of at most {MOST_CHARACTERS} characters")
        return Topic(what, tuple(sorted(params.items())))

    def follow(self, topic: Topic, follower: Follower) -> None:
        """Give the follower what is known now, and everything that comes. Raises ValueError for too many topics."""
        if topic not in self._rounds and len(self._rounds) >= MOST_TOPICS:
            raise ValueError(f"more than {MOST_TOPICS} pages are being followed")
        round_ = self._rounds.setdefault(topic, _Round())
        round_.followers.append(follower)
        if round_.newest is not None:
            follower(topic, round_.newest)
        if round_.task is None:
            round_.task = asyncio.create_task(self._ask(topic, round_))

    def unfollow(self, topic: Topic, follower: Follower) -> None:
        """The last one that leaves ends the asking."""
        round_ = self._rounds.get(topic)
        if round_ is None or follower not in round_.followers:
            return
        round_.followers.remove(follower)
        if not round_.followers:
            del self._rounds[topic]
            if round_.task is not None:
                round_.task.cancel()

    async def close(self) -> None:
        """End all tasks."""
        rounds, self._rounds = list(self._rounds.values()), {}
        for round_ in rounds:
            if round_.task is not None:
                round_.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await round_.task

    async def _ask(self, topic: Topic, round_: _Round) -> None:
        source = self._sources[topic.what]
        while True:
            began = time.monotonic()
            data = await self._data(source, dict(topic.params))
            message = {"type": "page", "what": topic.what, "params": dict(topic.params), "data": data}
            round_.newest = orjson.dumps(message).decode()
            for follower in list(round_.followers):
                follower(topic, round_.newest)
            await asyncio.sleep(max(source.seconds / 4, source.seconds - (time.monotonic() - began)))

    async def _data(self, source: Source, params: Params) -> dict[str, Any]:
        """The answers by name; one that failed is null, and `errors` says why."""
        names = list(source.fetches)
        found = await asyncio.gather(*(self._one(source.fetches[name], params) for name in names))
        errors = {name: error for name, (_, error) in zip(names, found, strict=True) if error is not None}
        answers = {name: answer for name, (answer, _) in zip(names, found, strict=True)}
        data = answers | {"errors": errors, "at_us": time.time_ns() // 1000}
        return data if source.view is None else data | {"view": _viewed(source.view, data)}

    async def _one(self, fetch: Fetch, params: Params) -> tuple[Any, str | None]:
        try:
            return await fetch(self._client, params), None
        except TickstreamError as error:
            return None, str(error)
        except Exception as error:  # a parameter that is missing, an answer of another shape: the others go on
            _log.warning("a figure could not be read", error=f"{type(error).__name__}: {error}")
            return None, "the answer could not be read"


def _viewed(view: Callable[[dict[str, Any]], Any], data: dict[str, Any]) -> Any:
    """What a page makes of the answers; null of an API that answers in another shape."""
    try:
        return view(data)
    except Exception as error:  # the raw answers still go out, and the next round may do
        _log.warning("the figures could not be shown", error=f"{type(error).__name__}: {error}")
        return None
