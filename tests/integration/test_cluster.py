"""The same jobs on a standalone cluster of PySpark's own scripts; a worker dies in mid-stream."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from conf.settings import Settings
from conf.topics import BARS_LIVE, TICKS
from local.server import HOST, free_port
from tests.integration.test_one_definition import arrivals, content, last_live
from tests.integration.test_stream_crash import LATENESS_SECONDS, Feed, stored, until_bars_move
from tests.oracles import oracle_bars
from tests.streaming import close_all, consume
from tests.supervised import SUBMIT, Supervised, wait_until


class Cluster:
    """A master and two workers, each with more declared cores than the machine has: slots, not speed."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        spec = find_spec("pyspark")
        assert spec is not None and spec.origin is not None
        self._home = Path(spec.origin).parent
        self._settings = settings
        self._folder = folder
        self._ui_port = free_port()
        port = free_port()
        self.url = f"spark://{HOST}:{port}"
        ports = ["--host", HOST, "--port", str(port), "--webui-port", str(self._ui_port)]
        self.master = self._daemon("master", "master.Master", *ports)
        self.workers = [self._worker(number) for number in range(2)]

    def _worker(self, number: int) -> Supervised:
        folder = self._folder / f"worker{number}"
        ports = ["--host", HOST, "--webui-port", str(free_port()), "--work-dir", str(folder)]
        return self._daemon(f"worker-{number}", "worker.Worker", "-c", "8", "-m", "1g", *ports, self.url)

    def _daemon(self, name: str, main: str, *arguments: str) -> Supervised:
        command = [str(self._home / "bin/spark-class"), f"org.apache.spark.deploy.{main}", *arguments]
        own = {"SPARK_HOME": str(self._home), "SPARK_LOCAL_IP": HOST, "SPARK_DAEMON_MEMORY": "256m"}
        return Supervised(command, self._settings, self._folder / name, PYSPARK_PYTHON=sys.executable, **own)

    def __enter__(self) -> "Cluster":
        daemons = [self.master, *self.workers]
        wait_until(lambda: self.alive_workers() == len(self.workers), 60, daemons, "the cluster")
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in (*self.workers, self.master):
            daemon.kill()

    def alive_workers(self) -> int:
        try:
            return int(httpx.get(f"http://{HOST}:{self._ui_port}/json/", timeout=5).json()["aliveworkers"])
        except (httpx.HTTPError, ValueError):
            return 0


@pytest.fixture
def cluster(settings: Settings, tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(settings, tmp_path) as running:
        yield running


@pytest.mark.timeout(600)
def test_worker_killed_in_mid_stream_leaves_every_bar_exact(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"lateness_seconds": LATENESS_SECONDS, "live_checkpoint_seconds": 10})
    command = [SUBMIT, "jobs/stream.py", "--queries", "live,final"]
    driver = Supervised(command, settings, tmp_path / "driver", SPARK_MASTER=cluster.url, SPARK_LOCAL_IP=HOST)
    try:
        with Feed(settings) as feed:
            until_bars_move(settings, [driver])
            cluster.workers[0].kill()
            until_bars_move(settings, [driver])
        close_all(settings, feed.last_us + 1_000_000 * (900 + LATENESS_SECONDS))
        expected = content(list(oracle_bars(arrivals(consume(settings, TICKS))).values()))
        wait_until(lambda: len(stored(settings)) >= len(expected), 90, [driver], "the last bars")
        assert content(stored(settings)) == expected
        wait_until(
            lambda: content(last_live(consume(settings, BARS_LIVE))) == expected, 60, [driver], "the last live rows"
        )
        # On one worker for some time by now: what died was part of it.
        wait_until(lambda: cluster.alive_workers() == 1, 90, [driver], "the master's notice")
    finally:
        driver.kill()
