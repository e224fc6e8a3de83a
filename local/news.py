"""What `up` tells once: where everything answers, and that bars move."""

import contextlib
import threading
import time
from collections.abc import Callable

from conf.settings import Settings
from local.probe import Sample, answers_http, api_url, bar_sample, dashboard_url, moved, without_password

EVERY_SECONDS = 1.0


class News:
    """Asks in a thread of its own, so that a slow answer holds up nobody; a question is put until it is answered."""

    def __init__(self, settings: Settings, started: float, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._started = started
        self._say = say
        self._before: Sample | None = None
        self._open: list[Callable[[], bool]] = [
            self._api_answers,
            self._dashboard_answers,
            self._bars_move,
        ]
        self._asking: threading.Thread | None = None
        self._next = 0.0

    def tell(self) -> None:
        """Call it often; it asks once a second while something is open."""
        busy = self._asking is not None and self._asking.is_alive()
        if self._open and not busy and time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SECONDS
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()

    def _ask(self) -> None:
        for question in list(self._open):
            with contextlib.suppress(Exception):  # not there yet: asked again
                if question():
                    self._open.remove(question)

    def _api_answers(self) -> bool:
        if not answers_http(f"{api_url(self._settings)}/health"):
            return False
        for line in table(self._settings):
            self._say(line)
        return True

    def _dashboard_answers(self) -> bool:
        if not answers_http(f"{dashboard_url(self._settings)}/health/live"):
            return False
        self._say(f"dashboard: {dashboard_url(self._settings)}")
        return True

    def _bars_move(self) -> bool:
        now = bar_sample(self._settings)
        if self._before is None:
            self._before = now  # an earlier run's bars may still be there
        bar = moved(self._before, now)
        if bar is None:
            return False
        self._say(f"bars are moving, {time.monotonic() - self._started:.0f} s after the start: {bar}")
        return True


def table(settings: Settings) -> list[str]:
    """Where everything answers, one line each, without passwords."""
    api = api_url(settings)
    rows = {
        "API": f"{api}/docs",
        "health": f"{api}/health",
        "symbols": f"{api}/api/v1/symbols",
        "Kafka": settings.kafka_bootstrap,
        "PostgreSQL": without_password(settings.postgres_dsn.get_secret_value()),
        "Redis": without_password(settings.redis_url.get_secret_value()),
        "stop": "Ctrl-C here, or `python -m local down`",
    }
    return [f"{name:<11} {value}" for name, value in rows.items()]
