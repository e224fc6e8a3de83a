"""The last question: has everything come to rest, and does every store hold what it must?"""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import redis

from chaos import revisions, truth
from chaos.errors import ChaosError
from chaos.feed import Feed
from chaos.programs import environment
from chaos.truth import Database, Rows, Verdict, counted, held_against
from conf.settings import Settings
from core.errors import TickstreamError
from local.jars import ROOT

LOOK_SECONDS = 3.0
BATCH_SECONDS = 600
# The stack is only now mending itself.
_PASSING = (psycopg.Error, redis.RedisError, httpx.HTTPError, TickstreamError, KeyError, OSError)


class Checks:
    """Every comparison of a run. `feed` knows what has to come out."""

    def __init__(self, settings: Settings, feed: Feed, api_url: str, folder: Path) -> None:
        self._settings = settings
        self._feed = feed
        self._api_url = api_url
        self._folder = folder
        self._database = Database(settings)
        bars = feed.bars()
        self.bars = truth.of_bars(bars)
        self.indicators = truth.expected_indicators(bars, settings)
        self._said = feed.amended()
        self._keys = sorted({key[:2] for key in self.bars})

    def drain(self, seconds: float, say: Callable[[str], None]) -> Verdict:
        """Wait until the log is complete, every bar is there and right, and reconciling has nothing left to do."""
        deadline = time.monotonic() + seconds
        left = "nothing was looked at"
        while time.monotonic() < deadline:
            try:
                left = self._left()
            except psycopg.Error as error:
                left = f"the database: {str(error).strip().splitlines()[0]}"
            if not left:
                return Verdict("drained", len(self.bars))
            say(f"draining: {left}")
            time.sleep(LOOK_SECONDS)
        return Verdict("drained", len(self.bars), first=f"not within {seconds:.0f} s: {left}")

    def verdicts(self, seconds: float) -> Iterator[Verdict]:
        """One by one; what is not right at first is looked at again until `seconds` are over."""
        deadline = time.monotonic() + seconds
        for look in (self._log, self._amending, self._lake, self._refused, self._stored, self._revisions, self._topic,
                     self._redis, self._redis_values, self._stored_indicators, self._topic_indicators,
                     self._api):  # fmt: skip
            found = _looked(look)
            while not found.right and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS)
                found = _looked(look)
            yield found
        for source in ("table", "lake"):
            yield _looked(lambda source=source: self._batch(source))

    def _left(self) -> str:
        waiting = self._database.waiting()
        ticks = self._database.count("SELECT count(*) FROM ticks WHERE kind = 'trade'")
        stored = held_against("", self.bars, truth.values_of_rows(self._database.bars()))
        parts = [f"{count:,} {what}" for what, count in waiting.items()]
        parts += [f"{self._feed.sent - ticks:,} ticks to log"] if ticks != self._feed.sent else []
        wrong = stored.missing + stored.extra + stored.different
        return ", ".join(parts + ([f"{wrong:,} of {len(self.bars):,} bars not right"] if wrong else []))

    def _log(self) -> Verdict:
        found = self._database.count("SELECT count(DISTINCT (symbol, identity)) FROM ticks WHERE kind = 'trade'")
        return counted("ticks in the table", self._feed.sent, found)

    def _amending(self) -> Verdict:
        sql = "SELECT count(DISTINCT (symbol, identity)) FROM ticks WHERE kind IN ('correct', 'cancel')"
        return counted("corrections and cancels", self._feed.amendments.distinct, self._database.count(sql))

    def _lake(self) -> Verdict:
        return counted("ticks in the lake", self._feed.sent, truth.lake_ticks(self._settings))

    def _refused(self) -> Verdict:
        return counted("refused records", self._feed.refused, truth.dead_letters(self._settings))

    def _stored(self) -> Verdict:
        return held_against("bars in PostgreSQL", self.bars, truth.values_of_rows(self._database.bars()))

    def _revisions(self) -> Verdict:
        return revisions.explained(self._database, self._said)

    def _topic(self) -> Verdict:
        return held_against("bars in the topic", self._rows(), self._shown(truth.of_topic(self._settings)))

    def _redis(self) -> Verdict:
        found, _ = truth.of_redis(self._settings, self._keys)
        return held_against("bars in Redis", truth.newest(self._rows()), self._shown(found))

    def _redis_values(self) -> Verdict:
        _, found = truth.of_redis(self._settings, self._keys)
        return held_against("indicators in Redis", truth.newest(self.indicators, 1), found)

    def _stored_indicators(self) -> Verdict:
        return held_against("indicators in PostgreSQL", self.indicators, self._database.indicators())

    def _topic_indicators(self) -> Verdict:
        return held_against("indicators in the topic", self.indicators, truth.indicators_of_topic(self._settings))

    def _api(self) -> Verdict:
        expected = truth.newest(truth.answered(self._database.bars()), 1000)
        return held_against("bars of the API", expected, truth.of_api(self._api_url, self._keys))

    def _batch(self, source: str) -> Verdict:
        """`jobs/backfill.py` over the tick log, against the table `bars`."""
        out = self._folder / f"batch-{source}"
        command = ["./spark-submit.sh", "jobs/backfill.py", f"--{source}", "--out", str(out), "--overwrite"]
        done = subprocess.run(command, cwd=ROOT, env=dict(environment(self._settings)), capture_output=True, text=True,
                              timeout=BATCH_SECONDS)  # fmt: skip
        if done.returncode != 0:
            raise ChaosError(f"{' '.join(command[1:3])} failed: {done.stderr.strip()[-300:]}")
        return held_against(
            f"batch over the {source}", truth.of_parquet(out), truth.values_of_rows(self._database.bars())
        )

    def _rows(self) -> Rows:
        return self._shown(self._database.bars())

    @staticmethod
    def _shown(rows: Rows) -> Rows:
        return truth.values_of_rows(rows, "rev", "state", "reason")


def _looked(look: Callable[[], Verdict]) -> Verdict:
    try:
        return look()
    except _PASSING as error:
        name = getattr(look, "__name__", "batch").strip("_").replace("_", " ")
        return Verdict(name, 0, first=f"{type(error).__name__}: {error}")
