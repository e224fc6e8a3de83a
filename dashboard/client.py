"""`ApiClient`: the API's REST side for pages, over one pool of kept connections."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from pydantic import SecretStr

from core.errors import Retryable, TickstreamError

Row = dict[str, Any]
Params = Mapping[str, Any]

NO_KEY = SecretStr("")
SECONDS = 10.0
CONNECT_SECONDS = 2.0
CONNECTIONS = 32
RETRY_AFTER = 2.0
MAX_RETRY_AFTER = 60.0


class ApiDown(Retryable):
    """The API does not answer, or says that it cannot right now (429, 5xx). `retry_after` in seconds."""


class ApiRefused(TickstreamError):
    """The API answered no (4xx). `problem` is its problem+json, with `status`, `title` and `detail` always there."""

    def __init__(self, problem: Row) -> None:
        super().__init__(f"{problem['status']} {problem['title']}: {problem['detail']}")
        self.problem = problem

    @property
    def status(self) -> int:
        return int(self.problem["status"])

    @property
    def detail(self) -> str:
        """A sentence for people."""
        return str(self.problem["detail"])


class ApiClient:
    """Reads the API. Every method raises ApiDown or ApiRefused and nothing else; the key is in no message.

    Answers are the API's own JSON, parsed: times as RFC 3339 text in UTC, amounts as exact text unless
    `numeric="float"` is asked for. Parameters that are None are left out. It belongs to one event loop, until `close`.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr = NO_KEY,
        seconds: float = SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._transport = transport
        self._key = key
        self._seconds = seconds
        self._http: httpx.AsyncClient | None = None
        self.on_down: Callable[[ApiDown], None] | None = None
        """Hears of every ApiDown before the caller does."""

    def __repr__(self) -> str:
        return f"ApiClient({self.url!r})"

    async def close(self) -> None:
        client, self._http = self._http, None
        if client is not None:
            await client.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """The parsed JSON of any path of the API, `/health` or `/api/v1/…`."""
        return self._parsed(await self._request(path, params))

    async def symbols(self) -> list[str]:
        """Every symbol that was ever seen, sorted."""
        found = await self.get("/api/v1/symbols")
        return sorted(row["symbol"] for row in found["symbols"])

    async def bars(self, symbol: str, **params: Any) -> Row:
        """`{"bars": […], "next", "previous", "tail", …}`; interval, start, end, limit, order, cursor, fill, numeric…"""
        return await self._row(f"/api/v1/bars/{_part(symbol)}", params)

    async def revisions(self, symbol: str, interval: str, start: str) -> Row:
        """Everything that was ever final of one bar."""
        path = f"/api/v1/bars/{_part(symbol)}/{_part(interval)}/{_part(start)}/revisions"
        return await self._row(path, {})

    async def indicators(self, symbol: str, **params: Any) -> Row:
        """Indicators of bars; interval, start, end, limit, cursor, set…"""
        return await self._row(f"/api/v1/indicators/{_part(symbol)}", params)

    async def latest(self, symbol: str) -> Row:
        """The newest price of a symbol."""
        return await self._row(f"/api/v1/latest/{_part(symbol)}", {})

    async def overview(self, **params: Any) -> Row:
        """All symbols at a glance: `{"symbols": […], "truncated", …}`."""
        return await self._row("/api/v1/market/overview", params)

    async def quality(self, symbol: str, **params: Any) -> Row:
        """By day, how right a symbol's bars were; start, end."""
        return await self._row(f"/api/v1/quality/{_part(symbol)}", params)

    async def late_ticks(self, **params: Any) -> Row:
        """Runs of reconciling that found late ticks, newest first; limit."""
        return await self._row("/api/v1/metrics/late-ticks", params)

    async def metrics(self, name: str, **params: Any) -> Row:
        """`/api/v1/metrics/{name}`: latency, throughput, cache, kafka, late-ticks, sockets."""
        return await self._row(f"/api/v1/metrics/{_part(name)}", params)

    async def health(self) -> Row:
        """The page of `/health`, also when it says that no store answers (503)."""
        response = await self._send("/health", {})
        if response.status_code == 503:
            with contextlib.suppress(ValueError):
                page = orjson.loads(response.content)
                if isinstance(page, dict) and "stores" in page:
                    return page
        return dict(self._parsed(self._checked(response)))

    async def ready(self) -> bool:
        """Whether the API and its stores answer. Raises nothing."""
        try:
            return (await self._client().get("/health/ready")).status_code < 400
        except httpx.HTTPError:
            return False

    async def _row(self, path: str, params: Params) -> Row:
        found = self._parsed(await self._request(path, params))
        if not isinstance(found, dict):
            raise self._down(f"{path}: not an answer of this API")
        return found

    async def _request(self, path: str, params: Params) -> httpx.Response:
        return self._checked(await self._send(path, params))

    async def _send(self, path: str, params: Params) -> httpx.Response:
        given = {name: value for name, value in params.items() if value is not None}
        try:
            return await self._client().get(path, params=given)
        except httpx.HTTPError as error:
            raise self._down(f"The API does not answer ({type(error).__name__}).") from None

    def _checked(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        if status < 400:
            return response
        if status == 429 or status >= 500:
            raise self._down(_problem(response)["detail"], _retry_after(response))
        raise ApiRefused(_problem(response))

    def _parsed(self, response: httpx.Response) -> Any:
        try:
            return orjson.loads(response.content)
        except ValueError:
            raise self._down(f"{response.request.url.path}: not an answer of this API") from None

    def _down(self, message: str, retry_after: float = RETRY_AFTER) -> ApiDown:
        error = ApiDown(message, retry_after)
        if self.on_down is not None:
            self.on_down(error)
        return error

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(
                base_url=self.url,
                headers=self.headers(),
                timeout=httpx.Timeout(self._seconds, connect=CONNECT_SECONDS),
                limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
                transport=self._transport,
                trust_env=False,
            )
        return self._http

    def headers(self) -> dict[str, str]:
        """What lets a request in; empty without a key."""
        key = self._key.get_secret_value()
        return {"Authorization": f"Bearer {key}"} if key else {}


def _part(text: str) -> str:
    return quote(text, safe="")


def _problem(response: httpx.Response) -> Row:
    """The problem+json of an answer, made up where somebody else than the API has answered."""
    made = {"status": response.status_code, "title": response.reason_phrase, "detail": "no reason was given"}
    with contextlib.suppress(ValueError):
        found = orjson.loads(response.content)
        if isinstance(found, dict):
            return made | found
    return made


def _retry_after(response: httpx.Response) -> float:
    with contextlib.suppress(ValueError):
        return min(max(float(response.headers.get("retry-after", "")), 0.0), MAX_RETRY_AFTER)
    return RETRY_AFTER
