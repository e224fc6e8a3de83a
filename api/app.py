"""`create_app(settings)`: the whole REST application, built from settings and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from api import errors
from api.params import Services
from api.routes import bars, health, indicators, latest, prices, symbols, ticks
from conf.settings import Settings
from core.clock import Clock, SystemClock
from stores.polling import PollingJobs
from stores.prices import Prices
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

VERSION = "0.1.0"
ABOUT = """Market bars, exact when final and milliseconds old while forming.

Times are RFC 3339 or epoch milliseconds on the way in, RFC 3339 UTC with microseconds on the way out; ranges are
half-open, `[start, end)`. Prices and volumes are exact decimal text; `numeric=float` gives JSON numbers, rounded to
doubles. Errors are problem+json. Write a `+` in a query as `%2B`.
"""


def create_app(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The application. It starts, and keeps answering what it can, while stores are down.

    Raises ConfigError for a DSN or URL that cannot be parsed. Connections are opened and closed by the lifespan.
    """
    dsn, redis_url = settings.postgres_dsn.get_secret_value(), settings.redis_url.get_secret_value()
    services = Services(
        settings=settings,
        clock=clock or SystemClock(),
        history=TimescaleReader(dsn),
        live=RedisReader(redis_url),
        polling=PollingJobs(dsn),
        prices=Prices(redis_url),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for store in (services.live, services.prices, services.history, services.polling):
                stack.push_async_callback(store.close)
                await store.open()
            yield

    app = FastAPI(title="tickstream", version=VERSION, description=ABOUT, lifespan=lifespan)
    app.state.services = services
    errors.install(app)
    for resource in (health, symbols, latest, ticks, bars, indicators, prices):
        app.include_router(resource.router)
    return app
