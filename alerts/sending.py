"""One target, through apprise: a message in, a receipt out. Nothing that apprise says may show what the URL holds."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import apprise

from alerts.messages import Message, fitted
from alerts.targets import Target
from core.errors import ConfigError

HIDDEN = "***"
LEAST_SECRET = 3
_TYPES = {
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "critical": apprise.NotifyType.FAILURE,
}
# Nothing of it comes from elsewhere: no pictures, no stored keys, no parsing of what it is given.
_ASSET: dict[str, Any] = {
    "app_id": "tickstream",
    "app_desc": "tickstream alerts",
    "app_url": "",
    "image_url_mask": "",
    "image_url_logo": "",
    "secure_logging": True,
    "pgp_autogen": False,
    "pem_autogen": False,
    "storage_mode": "memory",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a message fared. `doubtful`: it failed so late that it may have arrived all the same."""

    sent: bool
    error: str = ""
    doubtful: bool = False


class Sender:
    """Sends to one target. For one thread. Raises ConfigError for a URL that apprise does not know."""

    def __init__(self, target: Target, timeout_seconds: float) -> None:
        _HEARD.install()
        self._target = target
        self._timeout = timeout_seconds
        self._plugin: Any = apprise.Apprise.instantiate(target.url, asset=apprise.AppriseAsset(**_ASSET))
        if self._plugin is None:
            raise ConfigError(f"TICKSTREAM_ALERT_TARGETS: {target.name}: not a URL that apprise knows")
        self._plugin.socket_connect_timeout = self._plugin.socket_read_timeout = timeout_seconds
        self._room = int(self._plugin.body_maxlen)
        self._secrets = secrets(target.url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target.name})"

    def send(self, message: Message) -> Receipt:
        """Try once. Never raises: whatever goes wrong is in the receipt, without the URL."""
        began = time.monotonic()
        with _HEARD.listening() as said:
            try:
                sent = bool(
                    self._plugin.notify(
                        body=fitted(message.body, self._room - len(message.title)),
                        title=message.title,
                        notify_type=_TYPES[message.severity],
                        body_format=apprise.NotifyFormat.TEXT,
                    )
                )
            except Exception as error:  # a plugin of somebody else's: its faults are those of the target
                sent, said[:] = False, [f"{type(error).__name__}: {error}"]
        if sent:
            return Receipt(True)
        late = time.monotonic() - began >= 0.9 * self._timeout
        return Receipt(False, hidden("; ".join(said) or "the target did not take it", self._secrets), late)


class _Heard(logging.Handler):
    """What apprise logs goes to whoever is sending in the same thread, and nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._own = threading.local()

    def install(self) -> None:
        logger = logging.getLogger("apprise")
        logger.handlers[:] = [self]
        logger.propagate = False
        logger.setLevel(logging.WARNING)

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """What is logged in this thread from now on."""
        said: list[str] = []
        self._own.said = said
        try:
            yield said
        finally:
            self._own.said = None

    def emit(self, record: logging.LogRecord) -> None:
        said: list[str] | None = getattr(self._own, "said", None)
        if said is not None:
            said.append(record.getMessage())


_HEARD = _Heard()


def secrets(url: str) -> tuple[str, ...]:
    """Whatever of a URL may be a secret, as it stands there and decoded, the longest first: all but its scheme."""
    rest = url.partition("://")[2]
    place, _, query = rest.partition("?")
    host, _, path = place.partition("/")
    parts = [url, rest, place, host, path, query, *re.split(r"[/?&=:@,;#+]+", rest)]
    found = {text for part in parts for text in (part, unquote(part)) if len(text) >= LEAST_SECRET}
    return tuple(sorted(found, key=len, reverse=True))


def hidden(text: str, found: tuple[str, ...]) -> str:
    """A text on one line without these."""
    for secret in found:
        text = text.replace(secret, HIDDEN)
    return " ".join(text.split())
