"""`create_app(settings)`: the whole REST application, built from settings and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from starlette_compress import CompressMiddleware

from api import contract, errors, metering
from api.caching import MIN_ENCODED_BYTES
from api.kafka import KafkaOffsets
from api.params import Services, stated_once
from api.routes import (
    alerts,
    aliases,
    analytics,
    anomalies,
    bars,
    explain,
    health,
    indicators,
    latest,
    market,
    metrics,
    predictions,
    prices,
    quality,
    symbols,
    ticks,
    udf,
)
from api.security import Security
from api.ws.route import Sockets
from conf.settings import Settings
from core.clock import Clock, SystemClock
from core.version import VERSION
from stores.alert_rules import AlertReads
from stores.anomalies import AnomalyReader
from stores.daily_reads import DailyReader
from stores.market_reads import MarketReader
from stores.polling import PollingJobs
from stores.prediction_reads import PredictionReader
from stores.prices import Prices
from stores.redis import RedisReader
from stores.redis_board import RedisBoard
from stores.timescale_reads import TimescaleReader

LONGER = 1.5  # what a read of many symbols or years may take, of what others may
LONGEST = 5.0  # a scorecard looks at each prediction of its days

ABOUT = """Market bars, exact when final and milliseconds old while forming.

Times are RFC 3339 or epoch milliseconds on the way in, RFC 3339 UTC with microseconds on the way out; ranges are
half-open, `[start, end)`. Prices and volumes are exact decimal text; `numeric=float` gives JSON numbers, rounded to
doubles. Errors are problem+json. Write a `+` in a query as `%2B`.
"""


def create_app(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The application. It starts, and keeps answering what it can, while stores are down.

    Raises ConfigError for a DSN or URL that cannot be parsed. Connections are opened and closed by the lifespan.
    """
    clock = clock or SystemClock()
    security = Security(settings, clock)
    patience = settings.api_store_seconds
    dsn, redis_url = settings.postgres_dsn.get_secret_value(), settings.redis_url.get_secret_value()
    services = Services(
        settings=settings,
        clock=clock,
        history=TimescaleReader(dsn, timeout=patience),
        live=RedisReader(redis_url, timeout=patience),
        polling=PollingJobs(dsn, timeout=patience),
        prices=Prices(redis_url, timeout=patience),
        market=MarketReader(dsn, timeout=patience * LONGER),
        board=RedisBoard(redis_url, timeout=patience),
        kafka=KafkaOffsets(settings),
        alerts=AlertReads(dsn, timeout=patience),
        predictions=PredictionReader(dsn, timeout=patience * LONGEST),
        days=DailyReader(dsn, timeout=patience * LONGER),
        anomalies=AnomalyReader(dsn, timeout=patience),
    )
    sockets = Sockets(settings, services.live, services.history)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for store in (
                services.live,
                services.prices,
                services.history,
                services.polling,
                services.market,
                services.board,
                services.alerts,
                services.predictions,
                services.days,
                services.anomalies,
                security,
                sockets,
            ):
                stack.push_async_callback(store.close)
                await store.open()
            yield

    # /docs and /redoc without a CDN.
    app = FastAPIOffline(
        title="tickstream", version=VERSION, description=ABOUT, lifespan=lifespan, static_url="/docs/static"
    )
    app.state.services = services
    errors.install(app)
    app.add_middleware(CompressMiddleware, minimum_size=MIN_ENCODED_BYTES, brotli=False)
    for resource in (
        health,
        symbols,
        latest,
        ticks,
        explain,  # before the bars, whose path takes any symbol
        bars,
        indicators,
        predictions,
        anomalies,
        prices,
        market,
        analytics,
        metrics,
        quality,
        alerts,
        udf,
        aliases,
    ):
        app.include_router(resource.router, dependencies=[] if resource in (health, udf) else [Depends(stated_once)])
    sockets.install(app)
    contract.install(app)
    security.install(app)  # its layers go around all others
    metering.install(app)
    return app
