"""Sending what was decided: a thread for each target, so that one that hangs holds up no other.

What is due for a target at one moment goes out as one message. A target that does not take it is tried again, after
pauses that double, until the message is too old to be of use.
"""

import threading
from collections.abc import Callable, Sequence

import structlog

from alerts.conditions import RANKS
from alerts.messages import Message, digest
from alerts.sending import Receipt, Sender
from alerts.targets import Target
from core.errors import StoreUnavailable, TickstreamError
from stores.alert_outbox import Due, Outbox
from stores.retry import pause_before

LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 600.0
DRY_RUN = "dry run: would have been sent"
_log = structlog.get_logger("alerts.delivery")


class Courier:
    """Sends to one target until it is stopped. `patience_seconds` is how old a message may become."""

    def __init__(
        self, target: Target, dsn: str, *, timeout_seconds: float, patience_seconds: float, dry_run: bool = False
    ) -> None:
        self.target = target
        self._outbox = Outbox(dsn)
        self._send: Callable[[Message], Receipt] = Sender(target, timeout_seconds).send
        self._patience = patience_seconds
        self._dry_run = dry_run
        self._stopping = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"to {target.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._news.set()

    def stop(self, seconds: float) -> None:
        """What is being sent has so long to be finished; after that nobody knows whether it was."""
        self._stopping.set()
        self._news.set()
        self._thread.join(seconds)

    def direct(self, message: Message) -> Receipt:
        """Send without the outbox, for when the database is what the message is about."""
        return Receipt(True, DRY_RUN) if self._dry_run else self._send(message)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(LOOK_SECONDS)
            self._news.clear()
            try:
                while not self._stopping.is_set() and self.once():
                    pass
            except TickstreamError as error:
                _log.warning("outbox unavailable", target=self.target.name, error=str(error))
                self._stopping.wait(1.0)
        self._outbox.close()

    def once(self) -> int:
        """Send what is due now; how many messages that were."""
        due = self._outbox.claim(self.target.name)
        if due:
            message = digest([Message(each.title, each.body, _severity(each), each.crossings) for each in due])
            receipt = self.direct(message)
            self._patiently(lambda: self._keep(due, receipt))
        return len(due)

    def _keep(self, due: Sequence[Due], receipt: Receipt) -> None:
        seqs = [each.seq for each in due]
        if receipt.sent:
            self._outbox.sent(seqs, "dry_run" if self._dry_run else "sent", receipt.error)
            return
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** (min(each.attempts for each in due) - 1), LONGEST_PAUSE_SECONDS)
        self._outbox.failed(seqs, receipt.error, pause, self._patience, receipt.doubtful)
        _log.warning("not delivered", target=self.target.name, messages=len(due), error=receipt.error)

    def _patiently(self, call: Callable[[], None]) -> None:
        """A receipt is worth waiting for the database: without it the message would go out again."""
        attempt = 0
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                _log.warning("receipt waits", target=self.target.name, error=str(error))
                if self._stopping.wait(pause_before(attempt, error.retry_after)):
                    return None
                attempt += 1


def _severity(due: Due) -> str:
    return due.severity if due.severity in RANKS else "warning"
