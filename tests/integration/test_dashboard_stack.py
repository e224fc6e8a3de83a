"""The dashboard in a browser on the whole running stack, as `make up` starts it, Spark included."""

import json
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from benchmarks.views import CONTENT
from conf.settings import Settings
from core.records import Tick
from local.server import free_port
from producers.publish import Publisher
from tests import charts
from tests.browser import chromium, needs_browser, screen, until
from tests.integration.test_local_up import Up, left_in, up

pytestmark = [needs_browser, pytest.mark.slow, pytest.mark.timeout(900)]

START_SECONDS = 240.0
FINAL_SECONDS = 150.0  # a minute, the lateness, and a JVM that compiles
AMENDED_SECONDS = 60.0
Row = dict[str, Any]


class Stack:
    """What `up` runs, as a user reaches it. `moving` is the symbol that traded first."""

    def __init__(self, running: Up, api_port: int, dashboard_port: int) -> None:
        self.running, self.url = running, f"http://127.0.0.1:{dashboard_port}"
        self.moving = running.wait_for(r"bars are moving, \d+ s after the start: bar:(\S+?):\d+m", START_SECONDS)[1]
        self._api = f"http://127.0.0.1:{api_port}/api/v1"
        self._settings = Settings(kafka_bootstrap=running.wait_for(r"kafka: started on (\S+)")[1])

    def final(self, symbol: str) -> Row | None:
        """The newest final 1-minute bar."""
        asked = {"interval": "1m", "limit": 10, "order": "desc"}
        answer = httpx.get(f"{self._api}/bars/{symbol}", params=asked, timeout=30).raise_for_status().json()
        return next((bar for bar in answer["bars"] if bar["is_final"]), None)

    def send(self, tick: Tick) -> None:
        with Publisher(self._settings, on_invalid="raise") as publisher:
            publisher.send(tick)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def stack(servers_folder: Path) -> Iterator[Stack]:
    api_port, dashboard_port = free_port(), free_port()
    wanted = {
        "TICKSTREAM_API_PORT": str(api_port),
        "TICKSTREAM_DASHBOARD_PORT": str(dashboard_port),
        "TICKSTREAM_LATENESS_SECONDS": "2",
        "TICKSTREAM_RECONCILE_SECONDS": "2",
    }
    with up(servers_folder / "up-dashboard", **wanted) as running:
        running.wait_for("health +http://127.0.0.1", 120)
        yield Stack(running, api_port, dashboard_port)


def test_candles_move(browser: Browser, stack: Stack) -> None:
    with screen(browser, stack.url) as shown:
        shown.open(f"/?symbol={stack.moving}&interval=1m&range=1h")
        charts.loaded(shown, stack.moving)
        shown.mark()
        newest = charts.rows(shown)[-1]["time"]
        first = charts.candle(shown, newest)
        until(lambda: charts.candle(shown, newest) != first, "the candle moves")
        assert shown.marked


@pytest.mark.alone
def test_late_trade_changes_a_past_candle_in_place(browser: Browser, stack: Stack) -> None:
    """Final and reconciling stand back for whatever else runs: beside other parts of the suite they starve."""
    symbol = stack.moving
    with screen(browser, stack.url) as shown:
        shown.open(f"/?symbol={symbol}&interval=1m&range=1h")
        charts.loaded(shown, symbol)
        shown.mark()
        bar = until(lambda: stack.final(symbol), "a final bar", FINAL_SECONDS)
        start, high = datetime.fromisoformat(bar["start"]), Decimal(bar["high"]) + 1
        seconds = int(start.timestamp())
        stack.send(late_trade(symbol, seconds, high))
        until(lambda: high_of(charts.candle(shown, seconds)) == float(high), "the late trade shows", AMENDED_SECONDS)
        states = {row["time"]: row["state"] for row in charts.rows(shown)}
        assert states[seconds] == charts.AMENDED
        assert shown.marked


@pytest.mark.parametrize("page", [name for name in CONTENT if name != "chart"])
def test_every_page_has_something_to_show(browser: Browser, stack: Stack, page: str) -> None:
    with screen(browser, stack.url) as shown:
        shown.open(f"/{page}")
        shown.page.locator(CONTENT[page]).first.wait_for(state="visible")
        shown.until("document.querySelector('#connection')?.dataset.state === 'up'")


def test_interrupt_ends_the_stack_and_leaves_no_process(stack: Stack) -> None:
    sessions = json.loads((stack.running.folder / "stack.json").read_text())["sessions"]
    assert len(sessions) >= 5
    assert stack.running.end(signal.SIGINT) == 0
    assert stack.running.survivors() == []
    assert left_in(sessions) == []


def late_trade(symbol: str, start: int, price: Decimal) -> Tick:
    """In the middle of the minute that starts then, in epoch seconds."""
    return Tick(
        symbol=symbol,
        event_us=start * 1_000_000 + 30_000_000,
        price=str(price),
        size="100",
        seq=1,
        source="late",
        trade_id=f"late-{start}",
        received_us=time.time_ns() // 1000,
    )


def high_of(candle: charts.Candle | None) -> float | None:
    return None if candle is None else candle["high"]
