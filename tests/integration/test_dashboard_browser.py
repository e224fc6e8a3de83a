"""The dashboard in a real browser: an API and a dashboard of its own, bars written as the relay and final query do."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from core.anomalies import Finding
from core.intervals import MINUTE_US
from local.postgres import Postgres
from local.redis import Redis
from stores.anomalies import AnomalyStore
from stores.redis_predictions import PredictionBoard, Said
from tests import charts
from tests.browser import DESKTOP, PHONE, SECONDS, Screen, chromium, differing, needs_browser, screen, until
from tests.dashboard_process import Rig
from tests.tape import Tape

pytestmark = needs_browser

SYMBOLS = ("AAPL", "MSFT", "QUIET")
MINUTES = 420
SILENT = 400
LATE_SECONDS = 0.7  # more than the socket takes to its first message
OLDER_AT = 35  # bars left of what is visible; below it the page asks for more
PAGES = {"chart": "/?symbol=AAPL&interval=1m&range=1h", "market": "/market", "pipeline": "/pipeline",
         "quality": "/quality?symbol=AAPL", "predictions": "/predictions", "alerts": "/alerts"}  # fmt: skip
FRAMES = """async () => {
  for (let frame = 0; frame < 10; frame += 1) { await new Promise((done) => requestAnimationFrame(done)); }
}"""
HEAR_KEYS = """() => {
  window.pressed ??= (addEventListener("keydown", (event) => window.pressed.push(event.timeStamp), true), []);
}"""
AWAY_AND_BACK = """async () => {
  const until = async (test) => { while (!test()) { await new Promise((done) => setTimeout(done, 5)); } };
  const page = () => document.querySelector("#market-page");
  document.querySelector("#nav-chart").click();
  await until(() => page() === null);
  history.back();
  await until(() => page() !== null);
}"""
CUT_OFF = """(grid) => {
  const within = (what) => [...document.querySelectorAll(`#${grid} ${what}`)];
  const titles = within(".ag-header-cell-text").filter((each) => each.scrollWidth > each.clientWidth);
  const cells = within(".ag-cell").filter((each) => {
    const text = document.createRange();
    text.selectNodeContents(each);
    const {width, right} = text.getBoundingClientRect();
    const style = getComputedStyle(each);
    const [before, after] = [style.paddingLeft, style.paddingRight].map(parseFloat);
    return right > each.getBoundingClientRect().right - after || width > each.clientWidth - before - after;
  });
  return [...titles, ...cells].map((each) => each.textContent);
}"""
CONNECTED = "document.querySelector('#connection')?.dataset.state === 'up'"
THEME = "document.documentElement.dataset.bsTheme"
Opened = Callable[..., Screen]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def rig(postgres_server: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(postgres_server, redis_server, tmp_path_factory.mktemp("dashboard")) as made:
        yield made


@pytest.fixture(scope="module")
def tape(rig: Rig) -> Tape:
    return rig.tape(SYMBOLS, MINUTES, without=(SILENT,))


@pytest.fixture
def show(browser: Browser, rig: Rig, tape: Tape) -> Iterator[Opened]:
    """Opens a path of the dashboard in a context of its own; a problem on a console fails the test."""
    with ExitStack() as shown:

        def opened(path: str, **options: Any) -> Screen:
            made = shown.enter_context(screen(browser, rig.url, **options))
            made.open(path)
            made.until(CONNECTED, "connected to the API")
            return made

        yield opened


# --- the shell ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_page_is_no_wider_than_its_window(show: Opened, name: str, viewport: dict[str, int]) -> None:
    shown = show(PAGES[name], viewport=viewport)
    shown.until("document.querySelector('#page').children.length")
    shown.page.wait_for_timeout(500)
    assert shown.overflow() <= 0


def test_theme_is_the_systems_until_one_is_chosen_and_then_kept(show: Opened) -> None:
    shown = show("/market", color_scheme="dark")
    assert shown.page.evaluate(THEME) == "dark"
    shown.page.click("#theme-switch")
    shown.until(f"{THEME} === 'light'")
    background = "getComputedStyle(document.body).backgroundColor"
    light = shown.page.evaluate(background)
    shown.page.reload()
    shown.until(f"{THEME} === 'light'")
    assert shown.page.evaluate(background) == light
    shown.page.keyboard.press("t")
    shown.until(f"{THEME} === 'dark' && {background} !== {json.dumps(light)}")


@pytest.mark.parametrize("script", ["live.js", "shell.js"])
def test_script_that_comes_after_the_first_message_misses_nothing(
    browser: Browser, rig: Rig, tape: Tape, script: str
) -> None:
    def late(route: Route) -> None:
        time.sleep(LATE_SECONDS)
        route.continue_()

    with screen(browser, rig.url) as shown:
        shown.page.route(f"**/assets/{script}*", late)
        shown.open(PAGES["chart"])
        shown.until(CONNECTED)
        charts.loaded(shown, "AAPL")
        charts.shows(shown, tape.trade("AAPL"))


def test_prediction_appears_as_it_is_said_and_grey_where_the_model_abstains(show: Opened, rig: Rig) -> None:
    def say(minutes_ago: int, rise: float) -> None:
        start = time.time_ns() // 1000 // MINUTE_US * MINUTE_US - minutes_ago * MINUTE_US
        horizon = {"horizon": 5, "outcome_us": start + 6 * MINUTE_US, "expected_return": 1e-4, "rise_probability": rise,
                   "volatility": 1e-3, "abstains": ["rise"]}  # fmt: skip
        board.write([Said(symbol="MSFT", interval="1m", start=start, end=start + MINUTE_US, event_us=start + MINUTE_US,
                          close=1.0, model="m1", horizons=[horizon])])  # fmt: skip

    board = PredictionBoard(rig.settings.redis_url.get_secret_value(), 300)
    shown = show(PAGES["predictions"])
    shown.until("document.querySelector('#predictions-page').dataset.state === 'empty'")
    say(2, 0.4821)
    shown.until("document.querySelector('#predictions-page').dataset.state === 'live'")
    cell = 'document.querySelector(\'#predictions-grid [row-id="MSFT|5"] [col-id="rise_probability"]\')'
    shown.until(f"{cell}?.textContent === '48.2 %' && {cell}.classList.contains('predictions-abstains')")
    say(1, 0.5)
    shown.until(f"{cell}?.textContent === '50.0 %'")
    assert "by model m1" in shown.page.locator("#predictions-notice").inner_text()
    shown.page.set_viewport_size(PHONE)
    shown.until("!document.querySelector('#predictions-grid .ag-header-cell[col-id=\"reason\"]')")
    shown.until(f"({CUT_OFF})('predictions-grid').length === 0", "titles and numbers are whole on a phone")
    board.close()


def test_price_of_seven_digits_and_an_age_of_minutes_are_whole_on_a_phone(show: Opened) -> None:
    shown = show(PAGES["market"], viewport=PHONE)
    price, age = (
        f'document.querySelector(\'#market-grid [row-id="AAPL"] [col-id="{name}"]\')' for name in ("price", "age")
    )
    shown.until(f"{price}?.textContent")
    shown.until("!document.querySelector('#market-grid .ag-header-cell[col-id=\"volume\"]')")
    longest = f"""() => {{
      {price}.textContent = "62,131.68";
      {age}.textContent = "23 min";
      return ({CUT_OFF})("market-grid");
    }}"""
    assert shown.page.evaluate(longest) == []


def test_keys_switch_pages_and_show_themselves(show: Opened) -> None:
    shown = show(PAGES["chart"])
    for key, path in (("m", "/market"), ("p", "/pipeline"), ("q", "/quality"), ("r", "/predictions"), ("c", "/")):
        press_chord(shown, "g", key)
        shown.until(f"location.pathname === {json.dumps(path)}", f"g {key} leads to {path}")
    shown.page.keyboard.press("?")
    shown.page.locator("#keys, .modal-content").first.wait_for(state="visible")
    assert "go to Market" in shown.page.locator(".modal-content").inner_text()
    shown.page.keyboard.press("Escape")
    shown.page.locator(".modal-content").wait_for(state="hidden")


def press_chord(shown: Opened, *keys: str) -> None:
    """The keys within a second, as a person presses them: again where the machine was too busy for that."""
    shown.page.evaluate(HEAR_KEYS)
    for _ in range(10):
        for key in keys:
            shown.page.keyboard.press(key)
        first, *_, last = shown.page.evaluate("pressed.splice(0)")
        if last - first < 1000:
            return
        shown.page.wait_for_timeout(1600)  # no chord is open any more
    raise AssertionError("this machine does not press two keys within a second")


def test_chord_on_a_busy_page_counts_from_when_its_keys_were_pressed(show: Opened) -> None:
    shown = show(PAGES["chart"])
    shown.page.evaluate("""
        const keys = [..."gm"].map(key => new KeyboardEvent("keydown", {key, bubbles: true}));
        document.body.dispatchEvent(keys[0]);
        for (const handled = performance.now(); performance.now() < handled + 2000;);
        document.body.dispatchEvent(keys[1]);
    """)
    shown.until("location.pathname === '/market'", "g m leads to /market")


def test_link_of_a_page_leads_back_to_it_as_it_was_left(show: Opened) -> None:
    shown = show("/?symbol=MSFT&interval=5m&range=6h")
    shown.page.click("#nav-market")
    shown.until("location.pathname === '/market'")
    shown.page.click("#nav-chart")
    shown.until("location.search.includes('symbol=MSFT') && location.search.includes('interval=5m')")
    shown.page.go_back()
    shown.until("location.pathname === '/market'")
    shown.until("document.title.startsWith('Market')")


def test_unknown_path_says_so_and_leads_on(show: Opened) -> None:
    shown = show("/nowhere")
    shown.console.expect(r"404 .*/nowhere$|status of 404 .*/nowhere")
    assert "no such page" in shown.page.locator("#page").inner_text()
    shown.page.click("#page a[href='/market']")
    shown.until("location.pathname === '/market' && document.title.startsWith('Market')")


# --- the chart ---------------------------------------------------------------------------------------------------


def test_candles_move_without_a_reload(show: Opened, tape: Tape) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    shown.mark()
    before = shown.pixels("#chart")
    charts.shows(shown, tape.trade("AAPL", tape.newest("AAPL").close + 2), "a new bar forms")
    charts.shows(shown, tape.trade("AAPL", tape.newest("AAPL").close - 5), "it falls")
    shown.until("document.querySelector('#chart-legend-bar').innerText.includes('forming')")
    after = shown.pixels("#chart")
    assert differing(before, after) > 200
    (ended,) = (bar for bar in tape.close_minute() if (bar.symbol, bar.interval) == ("AAPL", "1m"))
    charts.shows(shown, ended, "it is final")
    charts.shows(shown, tape.trade("AAPL"), "the next one forms")
    assert "AAPL" in shown.page.title()
    assert shown.marked


def test_amended_bar_changes_in_place_and_is_marked(show: Opened, tape: Tape) -> None:
    tape.trade("AAPL")
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    shown.mark()
    past = tape.bars["AAPL", "1m", tape.newest("AAPL").start - 30 * MINUTE_US]
    charts.shows(shown, past)
    slots, before = len(charts.rows(shown)), shown.pixels("#chart")
    charts.shows(shown, tape.amend("AAPL", past.start, high=past.high + 3), "the past candle is higher")
    assert len(charts.rows(shown)) == slots
    assert [row["time"] for row in charts.rows(shown) if row["state"] == charts.AMENDED] == [past.start // 1_000_000]
    until(lambda: differing(before, shown.pixels("#chart")) > 20, "it is drawn")
    # So far out that bars are shown together: there the library takes no change of the past.
    until(
        lambda: charts.wheel(shown, 400, times=4) or width(shown) > 2 * DESKTOP["width"], "bars are less than a pixel"
    )
    charts.shows(shown, tape.amend("AAPL", past.start, high=past.high + 5), "amended where bars are shown together")
    assert shown.marked


def width(shown: Screen) -> float:
    """How many bars are visible."""
    start, end = charts.visible(shown)
    return end - start


def test_minute_without_trades_is_an_empty_slot(show: Opened, tape: Tape) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    found = charts.rows(shown)
    assert {after["time"] - before["time"] for before, after in itertools.pairwise(found)} == {60}
    silent = [row["time"] for row in found if row["close"] is None]
    assert silent == [tape.start_us // 1_000_000 + SILENT * 60]
    assert charts.candle(shown, silent[0]) is None


def test_zoom_stays_while_data_flows_and_now_leads_back(show: Opened, tape: Tape) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    full = charts.visible(shown)
    charts.wheel(shown, -200, times=3)
    charts.drag(shown, 500)
    until(lambda: charts.visible(shown)[1] < full[1] - 5, "the chart was moved")
    held = until_still(shown, lambda: charts.span(shown))
    for _ in range(3):
        tape.close_minute()
        charts.shows(shown, tape.trade("AAPL"))
    assert charts.span(shown) == pytest.approx(held, abs=0.01)
    shown.page.click("#chart-overlays label:has-text('EMA 12') >> nth=0")
    shown.until("document.querySelector('#chart-legend-lines').innerText.includes('EMA 12')")
    shown.page.keyboard.press("t")
    assert until_still(shown, lambda: charts.span(shown)) == pytest.approx(held, abs=0.01)
    shown.page.click("#chart-now")
    until(lambda: charts.visible(shown)[1] >= len(charts.rows(shown)) - 1, "at the newest bar")
    assert not shown.page.locator("#chart-now").is_visible()
    held = until_still(shown, lambda: charts.visible(shown))
    tape.close_minute()
    tape.trade("AAPL")
    until(lambda: charts.visible(shown)[1] == pytest.approx(held[1] + 1, abs=0.01), "it follows the newest bar")


def test_older_bars_load_on_scroll_and_nothing_jumps(show: Opened, tape: Tape) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    first = charts.rows(shown)[0]["time"]
    assert first > tape.start_us // 1_000_000
    charts.wheel(shown, 300, times=12)
    while charts.visible(shown)[0] > OLDER_AT and charts.rows(shown)[0]["time"] == first:
        charts.drag(shown, 300)
    until(lambda: charts.rows(shown)[0]["time"] == tape.start_us // 1_000_000, "all older bars")
    times = [row["time"] for row in charts.rows(shown)]
    assert times == sorted(set(times))
    held = until_still(shown, lambda: charts.span(shown))
    assert first - 1800 < held[0] < first + OLDER_AT * 60, "what was on screen is still there"
    while charts.visible(shown)[0] > 0:
        charts.drag(shown, 300)
    shown.until("document.querySelector('#chart-hint').innerText === 'start of history'")


def test_pickers_are_in_the_url_and_the_back_button_works(show: Opened, tape: Tape) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    shown.mark()
    shown.page.click("#chart-interval label:has-text('5m') >> nth=0")
    charts.loaded(shown, "AAPL", "5m")
    assert "interval=5m" in shown.page.url
    shown.page.click("#chart-symbol")
    charts.pick(shown, "MSFT")
    charts.loaded(shown, "MSFT", "5m")
    assert "symbol=MSFT" in shown.page.url
    charts.shows(shown, tape.newest("MSFT", "5m"))
    shown.page.go_back()
    charts.loaded(shown, "AAPL", "5m")
    shown.page.go_back()
    charts.loaded(shown, "AAPL", "1m")
    charts.shows(shown, tape.newest("AAPL"))
    assert shown.page.locator("#chart-interval input[value='1m']").is_checked()
    assert shown.marked


def test_chart_obeys_the_keyboard(show: Opened) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    held = until_still(shown, lambda: charts.visible(shown))
    shown.page.keyboard.press("ArrowLeft")
    until(lambda: charts.visible(shown)[0] < held[0] - 1, "moved back")
    shown.page.keyboard.press("End")
    until(lambda: charts.visible(shown)[1] == pytest.approx(held[1], abs=1), "at the newest bar")
    shown.page.keyboard.press("+")
    until(lambda: charts.visible(shown)[0] > held[0] + 1, "zoomed in")
    for key, interval in (("5", "5m"), ("f", "15m"), ("1", "1m")):
        shown.page.keyboard.press(key)
        charts.loaded(shown, "AAPL", interval)
    shown.page.keyboard.press("/")
    shown.until(f"document.querySelector('{charts.SEARCH}') !== null", "the list is open")
    shown.page.keyboard.type("QUI", delay=30)
    shown.page.keyboard.press("Enter")
    charts.loaded(shown, "QUIET")


def test_symbol_without_bars_says_so(show: Opened) -> None:
    shown = show("/?symbol=NOBODY&interval=1m&range=1h")
    notice = shown.page.locator("#chart-notice")
    until(lambda: notice.is_visible() and "NOBODY" in notice.inner_text(), "a word about it")


def test_frame_is_called_painted_only_after_the_chart_has_drawn_it(show: Opened, tape: Tape) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    shown.page.evaluate(NOTE_DRAWING)
    for _ in range(10):
        charts.shows(shown, tape.trade("AAPL"))
    samples = shown.until("(() => { const all = tickstream.samples().filter((each) => each.channel === 'bars'); "
                          "return all.length >= 10 ? all : null; })()")  # fmt: skip
    drawn = shown.page.evaluate("window.__drawn")
    for sample in samples[-9:]:
        assert any(sample["browser"] <= at <= sample["painted"] for at in drawn), "called painted before it was drawn"
        assert sample["event"] <= sample["received"] <= sample["relayed"] <= sample["sent"] <= sample["painted"]


NOTE_DRAWING = """(() => {
  const drawn = window.__drawn = [];
  const plain = CanvasRenderingContext2D.prototype.fillRect;
  CanvasRenderingContext2D.prototype.fillRect = function (...box) {
    if (this.canvas.closest("#chart")) { drawn.push(tickstream.nowUs()); }
    return plain.apply(this, box);
  };
})()"""


def until_still(shown: Screen, read: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """A range that has stopped to move: scrolling goes on for a while, and a busy page is late with its input."""
    last = read()

    def still() -> bool:
        nonlocal last
        shown.page.evaluate(FRAMES)
        before, last = last, read()
        return before == last

    for _ in range(3):
        until(still, "the chart stands still")
    return last


# --- market ------------------------------------------------------------------------------------------------------


def test_market_rows_equal_the_overview_after_whatever_happens_to_bars(show: Opened, rig: Rig, tape: Tape) -> None:
    shown = show("/market")
    shown.mark()
    wait_for_rows(shown, rig, "as loaded")
    past = tape.newest("AAPL")
    for _ in range(5):
        tape.trade("AAPL")
        tape.trade("MSFT")
    wait_for_rows(shown, rig, "bars form")
    tape.close_minute()
    wait_for_rows(shown, rig, "bars are final")
    tape.trade("AAPL", Decimal(150))
    tape.trade("MSFT", Decimal(80))
    wait_for_rows(shown, rig, "new extremes in the next bar")
    tape.amend("AAPL", past.start, high=Decimal(160), volume=past.volume + 100, notional=past.notional + 15_500)
    wait_for_rows(shown, rig, "a final bar was amended")
    cell = shown.page.locator("#market-grid [row-id='AAPL'] [col-id='price']")
    until(lambda: cell.inner_text() == "150.00", "the price in its cell")
    assert shown.marked


def test_market_row_opens_the_chart_and_the_search_narrows(show: Opened) -> None:
    shown = show("/market")
    rows = shown.page.locator("#market-grid .ag-center-cols-container .ag-row")
    until(lambda: rows.count() == len(SYMBOLS), "all rows")
    shown.page.fill("#market-search", "qui")
    until(lambda: rows.count() == 1, "one row is left")
    assert "q=qui" in shown.page.url
    rows.first.locator("[col-id='price']").click()
    shown.until("location.pathname === '/' && location.search.includes('symbol=QUIET')")


def test_market_that_is_come_back_to_at_once_has_its_rows(show: Opened) -> None:
    shown = show("/market")
    rows = shown.page.locator("#market-grid .ag-center-cols-container .ag-row")
    until(lambda: rows.count() == len(SYMBOLS), "all rows")
    shown.mark()
    shown.page.evaluate(AWAY_AND_BACK)
    until(lambda: rows.count() == len(SYMBOLS), "all rows of the new grid")
    shown.until("document.querySelector('#market-page').dataset.state === 'filled'")
    assert shown.marked


def wait_for_rows(shown: Screen, rig: Rig, what: str) -> None:
    """Every row of the page is what the API says now."""
    names = ("price", "open", "high", "low", "volume", "notional", "vwap", "trade_count", "change", "closes")

    def differing() -> dict[str, Any]:
        mine = {row["symbol"]: row for row in shown.page.evaluate("tickstream.market.rows()")}
        answer = rig.get("/api/v1/market/overview?points=30")["symbols"]
        told = {row["symbol"]: {name: row[name] for name in names} for row in answer}
        held = {symbol: {name: row[name] for name in names} for symbol, row in mine.items()}
        return {} if told == held else {"told": told, "held": held}

    deadline = time.monotonic() + SECONDS
    while problem := differing():
        assert time.monotonic() < deadline, f"{what}: {problem}"
        time.sleep(0.1)


# --- alerts --------------------------------------------------------------------------------------------------------


def test_finding_shows_on_the_alerts_page_without_a_reload(show: Opened, rig: Rig, tape: Tape) -> None:
    shown = show("/alerts?symbol=AAPL")
    shown.until("document.querySelector('#alerts-anomalies')?.innerText.includes('No rule found anything')")
    shown.mark()
    start = tape.newest("AAPL").start
    finding = Finding(
        symbol="AAPL", interval="1m", start=start, end=start + MINUTE_US, rev=1, event_us=start + MINUTE_US,
        rule="price_move", severity="warning", state="firing", value=-5.4, threshold=5.0, score=1.08, since=start,
        text="AAPL fell by 5.4 %",
    )  # fmt: skip
    AnomalyStore(rig.settings.postgres_dsn.get_secret_value()).write([finding])
    shown.until("document.querySelector('#alerts-anomalies')?.innerText.includes('AAPL fell by 5.4 %')")
    shown.until("document.querySelector('#alerts-sentence')?.innerText.includes('1 anomaly lasts')")
    assert shown.marked


# --- an API that goes and comes ------------------------------------------------------------------------------------


def test_killed_api_shows_the_banner_and_its_return_clears_it_without_a_reload(
    show: Opened, rig: Rig, tape: Tape
) -> None:
    shown = show(PAGES["chart"])
    charts.loaded(shown, "AAPL")
    shown.mark()
    assert not shown.page.locator("#banner").is_visible()
    rig.kill_api()
    shown.page.locator("#banner").wait_for(state="visible")
    assert "does not answer" in shown.page.locator("#banner").inner_text()
    shown.until("document.querySelector('#connection').dataset.state === 'down'")
    while_away = tape.trade("AAPL")
    rig.start_api()
    shown.page.locator("#banner").wait_for(state="hidden")
    shown.until(CONNECTED)
    charts.shows(shown, while_away, "what was missed")
    charts.shows(shown, tape.trade("AAPL"), "data flow again")
    assert shown.marked
