"""The chart in a real browser under many hands: moved, zoomed, amended, given other bars and colours, all at once."""

import random
from collections.abc import Callable, Iterator

import pytest

from local.postgres import Postgres
from local.redis import Redis
from tests import charts
from tests.browser import Screen, chromium, needs_browser, screen
from tests.dashboard_process import Rig
from tests.tape import Tape

pytestmark = needs_browser

MINUTES, SPARSE_MINUTES = 3000, 1800
STEPS = 60
GO_TO = "(url) => { history.pushState(null, '', url); dispatchEvent(new PopStateEvent('popstate')); }"
TOGETHER = "dash_component_api.getLayout('chart').props.fullTimeScaleOptions?.enableConflation"


@pytest.fixture(scope="module")
def rig(postgres_server: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(postgres_server, redis_server, tmp_path_factory.mktemp("handling")) as made:
        yield made


@pytest.mark.parametrize("seed", [2, 3])
def test_chart_goes_on_whatever_is_done_to_it(rig: Rig, seed: int) -> None:
    """Older minutes are sparse: they change how many bars are shown together, and where all bars are in the library."""
    tape = rig.tape((f"A{seed}", f"B{seed}"), MINUTES, without=[n for n in range(SPARSE_MINUTES) if n % 6])
    hand = random.Random(seed)
    with chromium() as browser, screen(browser, rig.url) as shown:
        shown.open(f"/?symbol=A{seed}&interval=1m&range=1h")
        charts.loaded(shown, f"A{seed}")
        shown.mark()
        deeds = _deeds(shown, tape, hand)
        for _ in range(STEPS):
            hand.choice(deeds)()
            if hand.random() < 0.3:
                shown.page.wait_for_timeout(hand.choice([5, 20, 60, 200]))
        symbol = shown.until("tickstreamChart.shown()?.names.symbol")
        charts.shows(shown, tape.trade(symbol), "it follows")
        shown.until(TOGETHER, "bars are shown together again")
        assert shown.marked


def _deeds(shown: Screen, tape: Tape, hand: random.Random) -> list[Callable[[], object]]:
    def symbol() -> str:
        return hand.choice(tape.symbols)

    def amend() -> None:
        name = symbol()
        newest = tape.newest(name).start
        start = hand.choice([at for (n, i, at) in tape.bars if (n, i) == (name, "1m") and at < newest])
        tape.amend(name, start, high=tape.bars[name, "1m", start].high + 1)

    def key(name: str) -> Callable[[], object]:
        return lambda: shown.page.keyboard.press(name)

    return [
        *[lambda: charts.wheel(shown, 300, times=hand.randint(1, 6))] * 4,
        *[lambda: charts.wheel(shown, -300, times=hand.randint(1, 4))] * 2,
        *[lambda: charts.drag(shown, hand.choice([400, -300]))] * 2,
        *[lambda: tape.trade(symbol())] * 4,
        *[amend] * 3,
        *[tape.close_minute] * 2,
        lambda: shown.page.mouse.move(hand.randint(50, 1200), hand.randint(100, 700)),
        lambda: shown.page.click("#chart-overlays label:has-text('EMA 12') >> nth=0"),
        key("t"),
        key("+"),
        key("-"),
        key("ArrowLeft"),
        key("End"),
        lambda: shown.page.evaluate(GO_TO, f"/?symbol={symbol()}&interval=1m&range=6h"),
    ]
