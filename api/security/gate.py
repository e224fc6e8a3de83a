"""Whether a caller needs a key: always, or, on loopback with nothing configured, once a key exists."""

import asyncio
import time
from typing import Protocol

import structlog

from conf.addresses import is_loopback
from conf.settings import Settings
from core.errors import ConfigError, StoreUnavailable

REFRESH_SECONDS = 2.0
OLDEST_SECONDS = 4.0

_log = structlog.get_logger(__name__)


class Keys(Protocol):
    """What the gate asks of `stores.access.AccessStore`."""

    async def any_keys(self) -> bool: ...


def always_closed(settings: Settings) -> bool:
    """Whether every caller needs a key whatever the database says. Raises ConfigError for `off` beyond loopback."""
    public = not is_loopback(settings.api_host)
    if settings.api_auth == "off":
        if public:
            raise ConfigError(
                f"TICKSTREAM_API_AUTH=off is for loopback only, and the API is to listen on {settings.api_host}: "
                "leave it out and create a key with `python -m api keys create`"
            )
        return False
    return public or settings.api_auth == "required" or bool(_credentials(settings))


def _credentials(settings: Settings) -> bool:
    """Whether settings themselves let somebody in: a first key, or tokens."""
    return bool(
        settings.api_bootstrap_key.get_secret_value()
        or settings.api_jwt_secret.get_secret_value()
        or settings.api_jwt_public_key_file
    )


def refuse_without_keys(settings: Settings, any_keys: bool) -> None:
    """Raise ConfigError where the API would be public and nobody could have a key to it."""
    if not is_loopback(settings.api_host) and not any_keys and not _credentials(settings):
        raise ConfigError(
            f"no key exists, and the API is to listen on {settings.api_host}, which others can reach: create one with "
            "`python -m api keys create NAME`, or set TICKSTREAM_API_BOOTSTRAP_KEY"
        )


class Gate:
    """Open or closed. Closes within seconds of the first key, and stays closed."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.closed = always_closed(settings)
        self._asks = not self.closed and settings.api_auth == "auto"
        self._keys = keys
        self._read_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def is_open(self) -> bool:
        """Whether nobody needs a key. Raises StoreUnavailable while that has never been known."""
        if self.closed or not self._asks:
            return not self.closed
        now = time.monotonic()
        age = OLDEST_SECONDS if self._read_at is None else now - self._read_at
        if age >= OLDEST_SECONDS:
            await asyncio.shield(self._ask())
        elif age >= REFRESH_SECONDS:
            self._ask()
        return not self.closed

    def _ask(self) -> "asyncio.Task[None]":
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
            self._task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._task

    def note_key(self) -> None:
        """A key exists, whoever found it."""
        if self._asks and not self.closed:
            self.closed = True
            _log.info("a key exists: access is closed from now on")

    async def _read(self) -> None:
        try:
            if await self._keys.any_keys():
                self.note_key()
        except ConfigError:
            pass  # a database without the table has no keys
        except StoreUnavailable as error:
            if self._read_at is None:
                raise StoreUnavailable(error.store, _CANNOT_TELL, error.retry_after) from None
            _log.warning("existence of keys not read again", error=str(error))
        self._read_at = time.monotonic()


_CANNOT_TELL = "no answer, so nobody can tell yet whether keys are needed"
