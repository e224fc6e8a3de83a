"""Problems that do not end a stream: each kind is logged when it first comes, and then at 10, 100, 1,000 …"""

from collections import Counter

import structlog
from pydantic import SecretStr

from conf.settings import Settings

MOST_KINDS = 100
LONGEST_TEXT = 200
_log = structlog.get_logger("producers.live")


class Troubles:
    """Counts by kind; texts of more than MOST_KINDS kinds count as one more kind, "other"."""

    def __init__(self, provider: str) -> None:
        self.counts: Counter[str] = Counter()
        self._provider = provider

    def note(self, kind: str, detail: str) -> None:
        known = kind in self.counts or len(self.counts) < MOST_KINDS
        kind = kind if known else "other"
        self.counts[kind] += 1
        count = self.counts[kind]
        if str(count).strip("0") == "1":  # 1, 10, 100 …
            _log.warning(
                "message not understood", provider=self._provider, kind=kind, detail=detail[:LONGEST_TEXT], count=count
            )


def without_secrets(text: str, settings: Settings) -> str:
    """The text with every credential in it made unreadable."""
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr) and value.get_secret_value():
            text = text.replace(value.get_secret_value(), "***")
    return text
