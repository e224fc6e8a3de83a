"""The market page: its rows are the API's rows after every message, its numbers are for people, its figure is pure."""

import random
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from api.figures import standing_json
from api.overview import Standing
from api.rollup import Rollup
from api.trading_days import TradingDay
from tests.javascript import run_javascript

MINUTE = 60_000_000
DAY_NUMBER = 20_000
DAY = TradingDay(DAY_NUMBER, DAY_NUMBER * 86_400_000_000, (DAY_NUMBER + 1) * 86_400_000_000)
MODEL = "market_model.js"
POINTS = 5
NAMES = (
    *("price", "prior_close", "change", "change_percent", "open", "high", "low", "volume", "notional", "vwap"),
    *("trade_count", "closes"),
)
PLAY = """
const {Standing} = globalThis.tickstreamMarket;
let standing = null;
return given.map(({row, bar}) => {
  if (row && standing) { standing.rebase(row); }
  if (row && !standing) { standing = new Standing(row, 5); }
  const said = bar ? standing.take(bar) : null;
  return {said, row: standing.exact(), shown: standing.shown()};
});
"""


@dataclass(frozen=True)
class Bar:
    """One revision of a minute, as it is published."""

    start: int
    rev: int = 0
    last_offset: int = 0
    trades: tuple[tuple[str, str], ...] = ()

    def rolled(self) -> Rollup:
        prices = [Decimal(price) for price, _ in self.trades]
        sizes = [Decimal(size) for _, size in self.trades]
        return Rollup(
            open=prices[0] if prices else None,
            high=max(prices, default=None),
            low=min(prices, default=None),
            close=prices[-1] if prices else None,
            volume=sum(sizes, Decimal(0)),
            notional=sum((price * size for price, size in zip(prices, sizes, strict=True)), Decimal(0)),
            trade_count=len(prices),
            close_us=self.start + len(prices) if prices else None,
        )

    def message(self) -> dict[str, Any]:
        """The `data` of an update, amounts with all their decimals."""
        rolled = self.rolled()
        texts = {name: _text(getattr(rolled, name)) for name in ("open", "high", "low", "close", "volume", "notional")}
        named = {"start": self.start, "rev": self.rev, "last_offset": self.last_offset, "close_us": rolled.close_us}
        return named | texts | {"trade_count": rolled.trade_count}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.8f}"


@dataclass
class World:
    """What the stores hold of one symbol: the newest revision of each minute."""

    bars: dict[int, Bar] = field(default_factory=dict)
    prior: str | None = "99.5"

    def row(self, apart: int) -> dict[str, Any]:
        """The overview's row, without the newest `apart` bars."""
        starts = sorted(self.bars)
        left = starts[-apart:] if apart else []
        until = left[0] if left else None
        shown = [self.bars[start].rolled() for start in starts if until is None or start < until]
        total = Rollup()
        for each in shown:
            total = total.then(each)
        closes = [each.close for each in shown if each.close is not None][-POINTS:]
        prior = None if self.prior is None else Decimal(self.prior)
        return standing_json(Standing("A", "live", DAY, total, prior, closes, until), "text", 60, DAY.end)


def trade(random: random.Random) -> tuple[str, str]:
    return f"{random.randint(9_000, 11_000) / 100:.2f}", f"{random.randint(1, 500) / 8:.3f}"


def life(seed: int, steps: int = 120) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a browser gets of one symbol, and after each of it the row that the API would answer.

    Bars grow, close, come again, come late, are amended and lose their trades; the browser asks the API again when
    what changed lies behind `until`, as the page does, and now and then without need.
    """
    dice = random.Random(seed)
    world = World(prior=dice.choice(["99.5", None, "100"]))
    for minute in range(6):
        trades = tuple(trade(dice) for _ in range(dice.randint(1, 4)))
        world.bars[DAY.start + minute * MINUTE] = Bar(DAY.start + minute * MINUTE, 1, len(trades), trades)
    until = sorted(world.bars)[-3]
    steps_of, expected = [{"row": world.row(3)}], [{}]
    steps_of += [{"bar": world.bars[start].message()} for start in sorted(world.bars)[-3:]]
    expected += [{}, {}, world.row(0)]
    for _ in range(steps):
        bar, fresh = _next(world, dice)
        if fresh:
            world.bars[bar.start] = bar
        steps_of.append({"bar": bar.message()})
        expected.append({} if bar.start < until else world.row(0))
        if bar.start < until or dice.random() < 0.05:
            until = sorted(world.bars)[-3]
            steps_of.append({"row": world.row(3)})
            expected.append(world.row(0))
    return steps_of, expected


def _next(world: World, dice: random.Random) -> tuple[Bar, bool]:
    """A message, and whether it is news."""
    newest = world.bars[max(world.bars)]
    what = dice.choice(["grow", "grow", "grow", "next", "close", "repeat", "amend", "void"])
    if what == "next":
        return Bar(newest.start + MINUTE, 0, 1, (trade(dice),)), True
    if what == "grow" and newest.rev == 0:
        return replace(newest, trades=(*newest.trades, trade(dice)), last_offset=newest.last_offset + 1), True
    place = max(0, len(world.bars) - dice.choice([1, 2, 2, 3, 3, 5]))
    held = world.bars[sorted(world.bars)[place]]
    if what == "repeat" and held.rev:
        return replace(held, rev=held.rev - 1, trades=held.trades[:1]), False  # an older revision, out of a snapshot
    if what == "repeat" and len(held.trades) > 1:
        return replace(held, trades=held.trades[:-1], last_offset=held.last_offset - 1), False  # one trade ago
    if what == "amend" and held.rev:
        return replace(held, rev=held.rev + 1, trades=(trade(dice), *held.trades)), True
    if what == "void" and held.rev and dice.random() < 0.3:
        return replace(held, rev=held.rev + 1, trades=()), True
    if held.rev == 0:
        return replace(held, rev=1), True
    return held, False


@pytest.mark.parametrize("seed", range(6))
def test_row_equals_the_overview_after_every_message(seed: int) -> None:
    given, expected = life(seed)
    played = run_javascript([MODEL], PLAY, given)
    compared = 0
    for place, (step, want) in enumerate(zip(played, expected, strict=True)):
        if want:
            got = {name: step["row"][name] for name in NAMES}
            assert got == {name: want[name] for name in NAMES}, f"after message {place}: {given[place]}"
            compared += 1
        else:
            assert place < 3 or step["said"] == "ask"
    assert compared > 60


def test_a_forming_bar_counts_once_however_often_it_comes() -> None:
    """The mistake to make: adding the volume of every update."""
    world = World()
    first, second = (Bar(DAY.start, 1, 1, (("100", "3"),)), Bar(DAY.start + MINUTE, 0, 2, (("101", "2"),)))
    world.bars = {first.start: first, second.start: second}
    grown = replace(second, trades=(*second.trades, ("102", "5")), last_offset=3)
    final = replace(grown, rev=1)
    steps = [{"row": world.row(2)}, *({"bar": bar.message()} for bar in (first, second, second, grown, grown, final))]
    played = run_javascript([MODEL], PLAY, steps)
    assert [step["row"]["volume"] for step in played] == ["0", "3", "5", "5", "10", "10", "10"]
    assert played[-1]["row"]["trade_count"] == 3 and played[-1]["row"]["vwap"] == "101.2"
    assert played[-1]["row"]["high"] == "102" and played[-1]["row"]["change"] == "2.5"


def test_a_bar_behind_the_rollup_or_of_another_session_asks_the_api() -> None:
    world = World(
        bars={DAY.start + at * MINUTE: Bar(DAY.start + at * MINUTE, 1, 1, (("100", "1"),)) for at in range(4)}
    )
    late = Bar(DAY.start, 2, 5, (("100", "1"), ("90", "7")))
    tomorrow = Bar(DAY.end, 0, 1, (("500", "1"),))
    steps = [{"row": world.row(2)}, {"bar": late.message()}, {"bar": tomorrow.message()}]
    played = run_javascript([MODEL], PLAY, steps)
    assert [step["said"] for step in played] == [None, "ask", "ask"]
    assert {step["row"]["volume"] for step in played} == {"2"} and played[-1]["row"]["high"] == "100"


def test_an_older_answer_of_the_api_does_not_undo_a_newer_one() -> None:
    world = World(
        bars={DAY.start + at * MINUTE: Bar(DAY.start + at * MINUTE, 1, 1, (("100", "1"),)) for at in range(6)}
    )
    newer, older = world.row(2), world.row(4)
    played = run_javascript([MODEL], PLAY, [{"row": newer}, {"row": older}])
    assert [step["row"]["volume"] for step in played] == ["4", "4"]


def test_without_a_close_before_the_session_change_is_since_its_open_and_says_so() -> None:
    world = World(bars={DAY.start: Bar(DAY.start, 1, 2, (("100", "1"), ("101", "1")))}, prior=None)
    (step,) = run_javascript([MODEL], PLAY, [{"row": world.row(0)}])
    assert (step["row"]["change"], step["row"]["change_percent"]) == (None, None)  # as the API has it
    assert (step["shown"]["change"], step["shown"]["change_percent"], step["shown"]["since"]) == (1, 1, "open")
    world.prior = "100.5"
    (step,) = run_javascript([MODEL], PLAY, [{"row": world.row(0)}])
    assert (step["shown"]["change"], step["shown"]["since"]) == (0.5, "prior")


def test_a_symbol_without_bars_has_a_row_of_nothing() -> None:
    row = standing_json(Standing("A", "database", None, Rollup(), None), "text", 60, DAY.end)
    (step,) = run_javascript([MODEL], PLAY, [{"row": row}])
    assert {step["row"][name] for name in ("price", "open", "high", "vwap", "change")} == {None}
    assert step["shown"]["volume"] == 0 and step["shown"]["decimals"] == 2


FORMAT = (
    "const {format} = globalThis.tickstreamMarket; return given.map(([name, ...values]) => format[name](...values));"
)
FORMATS = [
    (["price", 1234.5, 2], "1,234.50"),
    (["price", 0.00012345, 8], "0.00012345"),
    (["price", None, 2], "–"),
    (["signed", 1.234, 2, "%"], "+1.23%"),
    (["signed", -1.236, 2], "−1.24"),
    (["signed", -0.0004, 2, "%"], "0.00%"),
    (["short", 31249199], "31.2 M"),
    (["short", 999_960], "1.00 M"),
    (["short", 164_572], "165 k"),
    (["short", 7], "7"),
    (["short", 2_500_000_000], "2.50 B"),
    (["age", 0.0583], "0.1 s"),
    (["age", 75.2], "75 s"),
    (["age", 3700], "61 min"),
    (["age", None], "–"),
]


def test_numbers_are_written_for_people() -> None:
    assert run_javascript([MODEL], FORMAT, [given for given, _ in FORMATS]) == [text for _, text in FORMATS]


def test_staleness_by_the_seconds_since_the_last_trade() -> None:
    code = "return given.map((seconds) => globalThis.tickstreamMarket.freshness(seconds, 60));"
    ages = [0, 15, 15.1, 60, 60.1, None]
    assert run_javascript([MODEL], code, ages) == ["ok", "ok", "slow", "slow", "stale", "stale"]


def test_sparkline_spans_its_box_and_survives_flat_and_short_lines() -> None:
    code = "return given.map((closes) => globalThis.tickstreamMarket.sparkline(closes, 60, 20));"
    rising, flat, single = run_javascript([MODEL], code, [[1, 2, 3], [5, 5], [7]])
    assert rising == "M0.0,18.0L30.0,10.0L60.0,2.0"
    assert flat == "M0.0,10.0L60.0,10.0"
    assert single == ""
