"""The latest price, from whoever has it: Redis with the polled prices, the pipeline, the database."""

from decimal import Decimal
from typing import Literal

from api.errors import NoPrice, NotPolled, UnknownSymbol
from api.merge import Row
from api.reading import read_latest
from conf.providers import with_latest
from core.errors import ConfigError, StoreUnavailable
from stores.polling import PollingJobs
from stores.prices import Price, Prices
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

Found = tuple[Row, Literal["poll", "live", "database"], str | None]


async def read_price(
    symbol: str,
    provider: str | None,
    prices: Prices,
    jobs: PollingJobs,
    history: TimescaleReader,
    live: RedisReader,
) -> Found:
    """A row with `price event_us polled_us`, who said so, and the provider where it was polled.

    Raises NotPolled, or StoreUnavailable when the store that would know does not answer.
    """
    if provider is not None:
        held = await prices.prices([(provider, symbol)])
        if not held:
            raise NotPolled(await _what_to_do(symbol, provider, jobs))
        return _polled(held[0])
    return await _of_anyone(symbol, prices, history, live)


async def _of_anyone(symbol: str, prices: Prices, history: TimescaleReader, live: RedisReader) -> Found:
    try:
        held = await live.latest(symbol)
        polled = [] if held else await prices.prices([(name, symbol) for name in with_latest()])
    except StoreUnavailable:
        held, polled = None, []
    if held is not None:
        return held, "live", None
    if polled:
        return _polled(max(polled, key=lambda price: price.event_us))
    try:
        row, source = await read_latest(symbol, history, live)
    except (UnknownSymbol, NoPrice) as error:
        raise NotPolled(f"{error}; POST /api/v1/prices/poll polls prices of providers") from None
    return row, source, None


def _polled(price: Price) -> Found:
    row = {"price": Decimal(price.price), "event_us": price.event_us, "polled_us": price.polled_us}
    return row, "poll", price.provider


async def _what_to_do(symbol: str, provider: str, jobs: PollingJobs) -> str:
    """Why no price is held, as far as the jobs tell."""
    nothing = f"no price of {symbol} from {provider}"
    try:
        job = await jobs.of_symbol(provider, symbol)
    except (StoreUnavailable, ConfigError):
        job = None
    if job is None:
        return f"{nothing}: nothing polls it; POST /api/v1/prices/poll makes a job, or leave provider out"
    if job.detail:
        return f"{nothing}: the polling job {job.id} is {job.state}: {job.detail}"
    if not job.polls:
        return f"{nothing}: the polling job {job.id} waits for a worker: is `python -m producers poll` running?"
    return f"{nothing}: the polling job {job.id} will bring one again; GET /api/v1/prices/poll/{job.id} says when"
