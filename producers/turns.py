"""Turns of requests, as all processes on one database share them."""

from conf.settings import Settings
from producers.http import exhausted
from stores.requests import SharedTurns


def shared_turns(settings: Settings) -> SharedTurns:
    """Turns counted in the database of the settings, for one event loop. To be closed."""
    dsn = settings.postgres_dsn.get_secret_value()
    return SharedTurns(dsn, exhausted, patience=settings.store_retry_seconds)
