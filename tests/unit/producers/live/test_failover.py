"""Which providers are of one tape, and what that does to a trade that two of them report at a change."""

import pytest

from core.intervals import SECOND_US
from core.records import Tick
from producers.feeds import FEEDS, Alpaca, Feed, Finnhub, Polygon
from producers.feeds.tape import CONSOLIDATED
from producers.live import MemoryGaps
from producers.live.failover import Failover
from tests.feeds import settings_with_keys

START_US = 1_700_000_000 * SECOND_US
APART_US = 7_000  # how far the two stamps of one trade differ


class Sip(Alpaca):
    """Alpaca with a plan for the consolidated tape."""

    tape = "sip"


def trade(source: str, symbol: str, at_us: int, price: str) -> Tick:
    return Tick(symbol=symbol, event_us=at_us, price=price, size="1", source=source, received_us=at_us)


def counted(kinds: list[type[Feed]], symbol: str) -> list[str]:
    """The prices that count of a market that both providers report, when the first one is lost after the last trade."""
    delivered: list[Tick] = []
    failover = Failover(
        kinds, [symbol], settings_with_keys(), deliver=lambda _, ticks: delivered.extend(ticks), gaps=MemoryGaps()
    )
    lane, (first, second) = failover.lanes[symbol], (kind.name for kind in kinds)
    for number in range(5):
        at_us = START_US + number * SECOND_US
        delivered += lane.take(first, [trade(first, symbol, at_us, f"{100 + number}")], at_us)
        delivered += lane.take(second, [trade(second, symbol, at_us + APART_US, f"{100 + number}")], at_us)
    delivered += lane.mark_down(first, True, at_us)
    return [tick.price or "" for tick in delivered]


@pytest.mark.parametrize("kinds", [[Polygon, Sip], [Sip, Polygon]])
def test_trade_at_a_change_between_providers_of_one_tape_counts_once(kinds: list[type[Feed]]) -> None:
    assert counted(kinds, "AAPL") == ["100", "101", "102", "103", "104"]


@pytest.mark.parametrize(
    ("kinds", "symbol"), [([Polygon, Sip], "BTC-USD"), ([Polygon, Alpaca], "AAPL"), ([Polygon, Finnhub], "AAPL")]
)
def test_trade_at_a_change_between_other_providers_is_one_of_each(kinds: list[type[Feed]], symbol: str) -> None:
    assert counted(kinds, symbol) == ["100", "101", "102", "103", "104", "104"]


def test_tape_is_that_of_stocks() -> None:
    symbols = ("AAPL", "BRK-B", "BTC-USD", "O:SPY251219C00650000")
    assert [Polygon.tape_of(symbol) for symbol in symbols] == [CONSOLIDATED, CONSOLIDATED, "", ""]
    assert [Sip.tape_of(symbol) for symbol in symbols[:3]] == [CONSOLIDATED, CONSOLIDATED, ""]


def test_consolidated_tape_has_the_address_of_its_own_at_alpaca() -> None:
    assert Sip(settings_with_keys()).socket(["AAPL"]) == "wss://stream.data.alpaca.markets/v2/sip"


def test_no_two_shipped_providers_are_of_one_tape_as_the_document_says() -> None:
    assert {kind.name: kind.tape for kind in FEEDS.values() if kind.tape} == {"alpaca": "iex", "polygon": CONSOLIDATED}
