"""Keeps keys out of URLs, and out of logs where somebody put one into a URL all the same."""

import logging
import re
from typing import Any
from urllib.parse import parse_qsl

from conf.logs import Format, server_logs

SECRET_NAMES = frozenset(
    {"key", "token", "api_key", "apikey", "api-key", "x-api-key", "access_token", "auth", "authorization", "secret",
     "password", "bearer", "jwt"}
)  # fmt: skip
_NAMED = re.compile(rf"(?i)([?&;](?:{'|'.join(map(re.escape, sorted(SECRET_NAMES)))})=)[^&;#\s\"']*")
_KEY = re.compile(r"(ts_[a-z0-9]{6,32}_)[A-Za-z0-9_-]+")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_HINTS = (b"key", b"token", b"auth", b"secret", b"password", b"bearer", b"jwt", b"ts_", b"%")


def redacted(text: str) -> str:
    """The text without the values of keys, tokens and parameters that hold them.

    >>> redacted("/x?symbol=A&token=abc"), redacted("/ts_0a1b2c_S3cret-x")
    ('/x?symbol=A&token=***', '/ts_0a1b2c_***')
    """
    return _JWT.sub("***", _KEY.sub(r"\1***", _NAMED.sub(r"\1***", text)))


def secret_parameter(query: bytes) -> str | None:
    """The name of a query parameter that holds a key, None where there is none."""
    lowered = query.lower()
    if not any(hint in lowered for hint in _HINTS):
        return None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.strip().lower() in SECRET_NAMES or _KEY.search(value):
            return name[:40]
    return None


class Redact(logging.Filter):
    """A log filter that passes everything, redacted."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str):
            record.msg = redacted(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(redacted(each) if isinstance(each, str) else each for each in record.args)
        return True


def log_config(form: Format = "text") -> dict[str, Any]:
    """uvicorn's logging in this form, through the filter."""
    config = server_logs(form)
    config["filters"] = {"redact": {"()": "api.security.redact.Redact"}}
    for handler in config["handlers"].values():
        handler["filters"] = ["redact"]
    return config
