"""The topic `bars` as the predictor reads it: from its end, each symbol's bars in order."""

import msgspec
import structlog
from confluent_kafka import KafkaException, Message

from conf.settings import Settings
from core.intervals import INTERVALS
from ml.serving import ClosedBar
from stores.kafka import follower, take
from stores.merging import Merge

BATCH = 5_000
ASK_SECONDS = 3.0
_bar = msgspec.json.Decoder(ClosedBar)
_log = structlog.get_logger("ml.feeding")


class BarFeed:
    """Follows a topic of bars. Raises StoreUnavailable where the broker does not answer for `store_retry_seconds`."""

    def __init__(self, settings: Settings, topic: str) -> None:
        patience = settings.store_retry_seconds
        self._consumer = follower(settings, topic, f"{topic}.predictor", patience, fetch_wait_max_ms=50)
        self._merge: Merge[ClosedBar | None] = Merge()
        for each in self._consumer.assignment():
            self._merge.begin((each.topic, each.partition), each.offset, each.offset)

    def take(self, seconds: float) -> list[ClosedBar]:
        """What came, in order of the ends of bars over all partitions; waits for as long as nothing has."""
        found = take(self._consumer, seconds, BATCH)
        for message in found:
            self._keep(message)
        if found:
            self._look_ahead()
        return [read.record for read in self._merge.ready() if read.record is not None]

    def close(self) -> None:
        self._consumer.close()

    def _keep(self, message: Message) -> None:
        place, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
        bar: ClosedBar | None = None
        try:
            bar = _bar.decode(message.value() or b"")
        except msgspec.DecodeError as error:
            _log.error("not a bar", partition=place[1], offset=offset, error=str(error))
        self._merge.put(place, offset, 0 if bar is None else _end(bar), bar)

    def _look_ahead(self) -> None:
        """How far each partition goes. While the broker does not say so, no more is held back than before."""
        try:
            self._merge.look_ahead(self._consumer, ASK_SECONDS)
        except KafkaException as error:
            _log.warning("partitions do not say how far they go", error=error.args[0].str())


def _end(bar: ClosedBar) -> int:
    interval = INTERVALS.get(bar.interval)
    return bar.start if interval is None else bar.start + interval.us
