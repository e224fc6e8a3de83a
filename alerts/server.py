"""The alerter's process: topics and health in, decisions into the database, messages out.

A step is one transaction: the places in the topics, what is remembered of each rule and symbol, alerts and messages. So
nothing is decided twice or left out, whenever the process is killed. While the database or the broker is away nothing
is decided; afterwards everything is read from where it was left, and only how it stands at the end is told.
"""

import threading
import time

import structlog

from alerts.delivery import Courier
from alerts.direct import Direct
from alerts.feeding import Feed
from alerts.health import Watch
from alerts.session import LOOK_SECONDS, WAIT_SECONDS, Session
from alerts.targets import Target, parse_targets
from conf.settings import Settings
from core.clock import Clock, SystemClock
from core.errors import StoreUnavailable
from metrics.pulled import Row
from stores.alert_outbox import Outbox
from stores.alerts import AlertStore
from stores.retry import pause_before

_log = structlog.get_logger("alerts")


class Server:
    """Serves until told to stop. From the moment that it is `following`, no final bar passes unseen."""

    def __init__(self, settings: Settings, clock: Clock | None = None, *, deliver: bool = True) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._dsn = settings.postgres_dsn.get_secret_value()
        self.targets = parse_targets(settings.alert_targets.get_secret_value())
        self._couriers = [self._courier(target) for target in self.targets] if deliver else []
        self._watch = Watch(settings)
        self.direct = Direct(self._couriers)
        self._stopping = threading.Event()
        self._failed = 0
        self.following = threading.Event()
        self.told = 0

    def stop(self) -> None:
        self._stopping.set()

    def waiting(self) -> list[Row]:
        """What is not delivered yet by target, for metrics. Raises StoreUnavailable."""
        outbox = Outbox(self._dsn)
        try:
            found = dict.fromkeys((target.name for target in self.targets), (0, 0.0)) | outbox.waiting()
        finally:
            outbox.close()
        return [
            ((name,), {"waiting_messages": messages, "oldest_waiting_seconds": seconds})
            for name, (messages, seconds) in found.items()
        ]

    def run(self) -> None:
        """Until `stop`. A store or broker that is down is waited for."""
        for courier in self._couriers:
            courier.start()
        try:
            while not self._stopping.is_set():
                try:
                    self._session()
                except StoreUnavailable as error:
                    self.following.clear()
                    _log.warning("alerts wait", error=str(error))
                    self._wait(pause_before(self._failed, error.retry_after))
                    self._failed += 1
        finally:
            self._watch.close()
            for courier in self._couriers:
                courier.stop(self._settings.alert_timeout_seconds + 1)

    def _wait(self, seconds: float) -> None:
        """The rules on the database are judged meanwhile."""
        deadline = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            self.direct.step(self._watch.latest(), self.now_us())
            self._stopping.wait(min(left, WAIT_SECONDS))

    def _session(self) -> None:
        """From the stored state on, until something fails."""
        store = AlertStore(self._dsn)
        feed = None
        try:
            if not self._leading(store):
                return
            self._give_up_unknown()
            feed = Feed(self._settings, store.places())
            Session(self, store, feed).run()
        finally:
            if feed is not None:
                feed.close()
            store.close()

    def _leading(self, store: AlertStore) -> bool:
        """Wait until no other alerter decides; False when told to stop meanwhile."""
        said = False
        while not store.lead():
            if not said:
                _log.info("another alerter decides; standing by")
            said = True
            if self._stopping.wait(LOOK_SECONDS):
                return False
        return True

    def _give_up_unknown(self) -> None:
        """Messages for targets that were taken out of the settings will never be sent."""
        outbox = Outbox(self._dsn)
        try:
            outbox.forget([target.name for target in self.targets])
        finally:
            outbox.close()

    def _courier(self, target: Target) -> Courier:
        return Courier(
            target,
            self._dsn,
            timeout_seconds=self._settings.alert_timeout_seconds,
            patience_seconds=self._settings.alert_retry_hours * 3600,
            dry_run=self._settings.alert_dry_run,
        )

    # What a session asks its server

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def watch(self) -> Watch:
        return self._watch

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def now_us(self) -> int:
        return self._clock.now_us()

    def follows(self) -> None:
        if not self.following.is_set():
            _log.info("alerts follow the topics")
            self.following.set()

    def went_well(self, told: int) -> None:
        self._failed = 0
        self.told += told
        if told:
            for courier in self._couriers:
                courier.wake()
