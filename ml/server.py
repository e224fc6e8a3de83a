"""The predictor's process: follows the topic `bars`, and trains anew when the champion has grown old.

It holds nothing that others need. While it is away nobody waits for it; what it would have said then is never said
afterwards.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import structlog
from confluent_kafka import Producer

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import BARS, PREDICTIONS
from core.clock import Clock, SystemClock
from core.intervals import SECOND_US
from ml.feeding import BarFeed
from ml.scoring import Scoring
from ml.serving import Answer, Predictor, read_back
from ml.shelf import Bundle, Shelf
from stores.prediction_scores import PredictionScores
from stores.predictions import PredictionStore
from stores.redis_predictions import PredictionBoard
from stores.retry import retrying

WAIT_SECONDS = 0.5
LOOK_SECONDS = 10.0
TRAINING_NICE = 19
RETRY_US = 10 * 60 * SECOND_US
"""Until there is a champion it is tried so often: a young system has too few bars."""
T = TypeVar("T")
_log = structlog.get_logger("ml.server")


class Server:
    """Serves until told to stop. `made` counts predictions that are in the database.

    From the moment that it is `following`, no final bar passes unseen.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = PredictionStore(settings.postgres_dsn.get_secret_value())
        self._board = PredictionBoard(settings.redis_url.get_secret_value(), settings.redis_ttl_seconds)
        self._producer = Producer(
            {**kafka_client(settings), "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )
        names = settings.ml_interval_names
        self._predictors = {
            name: Predictor(name, Shelf(settings.models_path, name), settings.calendar) for name in names
        }
        self._trainings = {name: Training(settings, name, SystemClock()) for name in names}
        self._scoring = Scoring(settings, PredictionScores(settings.postgres_dsn.get_secret_value()))
        self._stopping = threading.Event()
        self._looked_at = float("-inf")
        self.following = threading.Event()
        self.made = 0

    def stop(self) -> None:
        self._stopping.set()

    def champions(self) -> list[tuple[str, float | None]]:
        """By interval, when the model that serves was made, in epoch seconds; None while there is none."""
        bundles = {name: predictor.bundle for name, predictor in self._predictors.items()}
        return [(name, None if found is None else found.card["made_us"] / 1e6) for name, found in bundles.items()]

    def run(self) -> None:
        """Until `stop`. A store or broker that is down is waited for."""
        topic = self._settings.topic(BARS)
        feed = BarFeed(self._settings, topic)
        try:
            for name in self._predictors:
                self._warm_up(name, None)
            self._scoring.start()
            self.following.set()
            _log.info("predictor started", intervals=list(self._predictors))
            while not self._stopping.is_set():
                self._look()
                bars = feed.take(WAIT_SECONDS)
                for predictor in self._predictors.values():
                    if amended := predictor.amended(bars):
                        self._warm_up(predictor.interval, sorted(amended))
                    self._say(predictor.answer(bars, time.time_ns() // 1000))
        finally:
            self._scoring.stop()
            feed.close()
            self._producer.flush(5)
            self._store.close()
            self._board.close()
            for training in self._trainings.values():
                training.stop()

    def _say(self, answer: Answer) -> None:
        """To the database first: what was published was stored before its outcome."""
        if not answer.predictions:
            return
        self.made += self._patiently("timescale", lambda: self._store.write(answer.predictions))
        self._patiently("redis", lambda: self._board.write(answer.said))
        topic = self._settings.topic(PREDICTIONS)
        for each in answer.said:
            self._producer.produce(topic, msgspec.json.encode(each), key=f"{each.symbol}|{each.interval}")
        self._producer.poll(0)

    def _patiently(self, name: str, call: Callable[[], T]) -> T:
        return retrying(name, call, self._settings.store_retry_seconds)

    def _warm_up(self, interval: str, symbols: Sequence[str] | None) -> None:
        def read(count: int, some: Sequence[str] | None) -> list[dict[str, Any]]:
            return self._patiently("timescale", lambda: self._store.last_bars(interval, count, some))

        read_back(self._predictors[interval], read, symbols, time.time_ns() // 1000)

    def _look(self) -> None:
        """From time to time: is there another champion, is it time to train?"""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        for name, predictor in self._predictors.items():
            if predictor.reload() and predictor.bundle is not None:
                _log.info("champion", interval=name, version=predictor.bundle.version)
            self._trainings[name].look(predictor.bundle)


class Training:
    """Trains in a process of its own that stands back, once the champion is older than the settings allow."""

    def __init__(self, settings: Settings, interval: str, clock: Clock) -> None:
        self._interval = interval
        self._every_us = int(settings.ml_retrain_hours * 3600 * SECOND_US)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._tried_us: int | None = None

    def look(self, champion: Bundle | None) -> None:
        """Begin a training that is due; tell the end of one that runs."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            _log.info("training ended", interval=self._interval, exit_code=code)
        if self.due(champion):
            self.tried()
            command = [sys.executable, "-m", "ml", "train", "--interval", self._interval]
            _log.info("training", interval=self._interval)
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=_stand_back)

    def due(self, champion: Bundle | None) -> bool:
        """Whether the champion is too old, or there is none, and the last try is long enough ago."""
        if not self._every_us:
            return False
        pause_us = RETRY_US if champion is None else min(self._every_us, _covered_us(champion))
        since = [] if self._tried_us is None else [self._tried_us + pause_us]
        since += [] if champion is None else [int(champion.card["made_us"]) + pause_us]
        return self._clock.now_us() >= max(since, default=0)

    def tried(self) -> None:
        """Count the pause to the next try from now on."""
        self._tried_us = self._clock.now_us()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def _covered_us(champion: Bundle) -> int:
    """How long a time the bars cover that it was trained on: a young system's champion soon knows half of them."""
    data = champion.card["report"]["data"]
    first, last = (np.datetime64(data[edge].removesuffix("Z"), "us").astype(np.int64) for edge in ("from", "to"))
    return int(last - first)


def _stand_back() -> None:
    os.nice(TRAINING_NICE)
