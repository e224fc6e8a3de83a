"""A new indicator is one file: with it and nothing else changed it is in stores, live stream, API and its docs."""

import json
import re
import shutil
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from conf.settings import Settings
from tests.factories import MONDAY_US, tick
from tests.streaming import close_all, produce
from tests.supervised import ROOT, Supervised, environment, run_to_end, wait_until

MINUTE_US = 60_000_000
ROOMS = ("alerts", "api", "conf", "core", "jobs", "local", "metrics", "producers", "stores", "spark-submit.sh")
PAGE = (ROOT / "docs" / "indicators.md").read_text()
SPAN = re.findall(r"```python\n(.*?)```", PAGE.partition("## A new indicator is one file")[2], re.DOTALL)[0]
ASK = """
import json
from conf.settings import load_settings
from tests.serving import serving
with serving(load_settings()) as client:
    asked = {"type": "span", "period": 3, "end": "2024-03-04T12:30:00Z"}
    answers = [client.get("/api/v1/indicators/AAPL", params=asked if chosen else {}).json() for chosen in (0, 1)]
    print(json.dumps([*answers, client.get("/openapi.json").text]))
"""

pytestmark = pytest.mark.spark


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project with the page's example beside the indicators; jars and packages are those of the original."""
    folder = tmp_path / "project"
    for name in ROOMS:
        source = ROOT / name
        copied = shutil.copytree if source.is_dir() else shutil.copy
        folder.mkdir(exist_ok=True)
        copied(source, folder / name)
    (folder / ".jars").symlink_to(ROOT / ".jars")
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "serving.py", folder / "tests")
    (folder / "core" / "indicators" / "span.py").write_text(SPAN)
    return folder


def shown(client: redis.Redis) -> dict | None:
    """The indicators in the message of the newest bar."""
    return json.loads(client.hget("bar:AAPL:1m", "json") or b"{}").get("indicators")


def test_one_file_makes_it_appear_everywhere(settings: Settings, copy: Path, tmp_path: Path) -> None:
    chosen = {"TICKSTREAM_INTERVALS": "1m", "TICKSTREAM_INDICATORS": "span:2 sma:2"}
    environ = environment(settings) | chosen
    prices = ["10", "13", "12", "19"]
    produce(settings, [tick(event_us=MONDAY_US + n * MINUTE_US, price=price, seq=n) for n, price in enumerate(prices)])
    close_all(settings, MONDAY_US + 3 * MINUTE_US + 20_000_000)  # three bars are final, the fourth is forming
    command = [str(copy / "spark-submit.sh"), "jobs/stream.py", "--queries", "final,live", "--available-now"]
    done = run_to_end(command, environ, folder=copy)
    assert done.returncode == 0, done.stderr[-3000:]

    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        stored = connection.execute('SELECT "values" FROM indicators ORDER BY start').fetchall()
    assert [row[0]["span_2"] for row in stored] == [None, 3, 1]

    relay = Supervised([sys.executable, "-m", "jobs.relay"], settings, tmp_path / "relay", folder=copy, **chosen)
    try:
        with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
            live = {"span_2": 7, "sma_2": 15.5}
            wait_until(lambda: shown(client) == live, 30, [relay], "live values")
    finally:
        relay.kill()

    answer = run_to_end([sys.executable, "-c", ASK], environ, folder=copy)
    assert answer.returncode == 0, answer.stderr[-3000:]
    configured, asked, openapi = json.loads(answer.stdout)
    assert [row["values"]["span_2"] for row in configured["rows"]] == [None, 3, 1, 7]
    assert [row["values"]["span_3"] for row in asked["rows"]] == [None, None, 3, 7]
    assert "span" in openapi
