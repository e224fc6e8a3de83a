"""The first key, from settings: for a place where nobody can run a command before the API is up."""

import asyncio
import hmac

import structlog

from api.security.keys import stored
from api.security.principal import SCOPES
from conf.settings import Settings
from core.errors import ConfigError, TickstreamError
from stores.access import AccessStore, StoredKey

NAME = "bootstrap"
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0

_log = structlog.get_logger(__name__)


class Bootstrap:
    """Creates the key of TICKSTREAM_API_BOOTSTRAP_KEY when there is no key of its id; one that was revoked stays so.

    Raises ConfigError for text that is no key.
    """

    def __init__(self, settings: Settings, store: AccessStore) -> None:
        text = settings.api_bootstrap_key.get_secret_value()
        self._key = _checked(text) if text else None
        self._store = store
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start creating it, for as long as that takes the database to come up."""
        if self._key is not None:
            self._task = asyncio.create_task(self._create(self._key))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _create(self, key: StoredKey) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                if await self._store.add(key):
                    _log.info("first key created", key=key.id)
                elif not await self._same(key):
                    _log.error("TICKSTREAM_API_BOOTSTRAP_KEY is not used: its id belongs to another key", key=key.id)
                return
            except TickstreamError as error:
                _log.warning("first key not created yet", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _same(self, key: StoredKey) -> bool:
        held = await self._store.get(key.id)
        return held is not None and hmac.compare_digest(held.hash, key.hash)


def _checked(text: str) -> StoredKey:
    try:
        return stored(text, NAME, SCOPES)
    except ConfigError as error:
        raise ConfigError(f"TICKSTREAM_API_BOOTSTRAP_KEY: {error}") from None
