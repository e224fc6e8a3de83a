"""A system of its own with a recorded history, for the notebook that asks an API and a lake."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from benchmarks.processes import python
from benchmarks.servers import bench
from conf.settings import Settings
from core.clock import SystemClock
from core.errors import InputError
from jobs.history import load_history
from jobs.local_session import local_session
from local.server import free_port
from notebooks.places import API, data_folder
from producers.reading import find_files

START_SECONDS = 60.0
SYMBOLS = ("AIG", "BAC", "IBM")


def us_equity_settings(**overrides: object) -> dict[str, str]:
    """The settings that a history of the US tape asks for."""
    return {"ruleset": "us-equity", "calendar": "XNYS", **{name: str(value) for name, value in overrides.items()}}


@contextlib.contextmanager
def recorded_system() -> Iterator[dict[str, str]]:
    """Servers, three recorded days of three symbols in them, and the API; gives the environment of who asks them.

    Raises InputError without recorded data. Takes about two minutes.
    """
    folder = data_folder()
    if folder is None:
        raise InputError("no recorded data here; set NOTEBOOK_API to ask a running API instead")
    with bench(us_equity_settings()) as servers, servers.system(api_port=free_port()) as settings:
        spark = local_session("tickstream history")
        try:
            load_history(spark, settings, find_files(recorded_ticks(folder)), SystemClock())
        finally:
            spark.stop()
        with python("api", "api", settings=settings, folder=settings.data_path):
            url = f"http://127.0.0.1:{settings.api_port}"
            _wait_until_up(url)
            yield asking(settings, url)


def recorded_ticks(folder: Path, symbols: Sequence[str] = SYMBOLS) -> list[Path]:
    """The files of these symbols of the US tape, in the folder of recorded data."""
    ticks = folder / "us_equity_2013" / "ticks"
    return [path for symbol in symbols for path in sorted(ticks.glob(f"{symbol}_*.parquet"))]


def asking(settings: Settings, url: str) -> dict[str, str]:
    """The environment in which a notebook asks this API, and the lake of these settings."""
    data = str(Path(settings.data_path).resolve())
    return {API: url, "TICKSTREAM_DATA_PATH": data, "TICKSTREAM_RULESET": settings.ruleset}


def _wait_until_up(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health/live", timeout=2).status_code == 200:
                return
        time.sleep(0.2)
    raise InputError("the API did not start")
