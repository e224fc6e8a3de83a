"""Which turns a process takes: those that all processes on the database share, or its own where there is none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from conf.settings import Settings
from producers.http import ProcessTurns, Turns, exhausted
from stores.requests import SharedTurns

_log = structlog.get_logger("producers.history")


def shared_turns(settings: Settings) -> SharedTurns:
    """Turns counted in the database of the settings, for one event loop. To be closed."""
    dsn = settings.postgres_dsn.get_secret_value()
    return SharedTurns(dsn, exhausted, patience=settings.store_retry_seconds)


@asynccontextmanager
async def turns_for(settings: Settings) -> AsyncIterator[Turns]:
    """Shared turns where the database answers, else this process's own, which says so."""
    async with shared_turns(settings) as shared:
        if await shared.reachable():
            yield shared
        else:
            _log.warning("no database: quotas are kept by this process alone and forgotten when it ends")
            yield ProcessTurns()
