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


def trade(source: str, symbol: str, at_us: int, price: str) -> Tick:
    return Tick(symbol=symbol, event_us=at_us, price=price, size="1", source=source, received_us=at_us)


def counted(kinds: list[type[Feed]], symbol: str, alpaca_feed: str = "sip") -> list[str]:
    """The prices that count of a market that both providers report, when the first one is lost after the last trade."""
    delivered: list[Tick] = []
    settings = settings_with_keys(alpaca_feed=alpaca_feed)
    failover = Failover(kinds, [symbol], settings, deliver=lambda _, ticks: delivered.extend(ticks), gaps=MemoryGaps())
    lane, (first, second) = failover.lanes[symbol], (kind.name for kind in kinds)
    for number in range(5):
        at_us = START_US + number * SECOND_US
        delivered += lane.take(first, [trade(first, symbol, at_us, f"{100 + number}")], at_us)
        delivered += lane.take(second, [trade(second, symbol, at_us + APART_US, f"{100 + number}")], at_us)
    delivered += lane.mark_down(first, True, at_us)
    return [tick.price or "" for tick in delivered]


@pytest.mark.parametrize("kinds", [[Polygon, Alpaca], [Alpaca, Polygon]])
def test_trade_at_a_change_between_providers_of_one_tape_counts_once(kinds: list[type[Feed]]) -> None:
    assert counted(kinds, "AAPL") == ["100", "101", "102", "103", "104"]


@pytest.mark.parametrize(
    ("kinds", "symbol", "alpaca_feed"),
    [
        ([Polygon, Alpaca], "BTC-USD", "sip"),
        ([Polygon, Alpaca], "AAPL", "iex"),
        ([Polygon, Finnhub], "AAPL", "iex"),
    ],
)
def test_trade_at_a_change_between_other_providers_is_one_of_each(
    kinds: list[type[Feed]], symbol: str, alpaca_feed: str
) -> None:
    assert counted(kinds, symbol, alpaca_feed) == ["100", "101", "102", "103", "104", "104"]


def test_tape_is_that_of_stocks() -> None:
    symbols = ("AAPL", "BRK-B", "BTC-USD", "O:SPY251219C00650000")
    polygon, alpaca = (kind(settings_with_keys(alpaca_feed="sip")) for kind in (Polygon, Alpaca))
    assert [polygon.tape_of(symbol) for symbol in symbols] == [CONSOLIDATED, CONSOLIDATED, "", ""]
    assert [alpaca.tape_of(symbol) for symbol in symbols[:3]] == [CONSOLIDATED, CONSOLIDATED, ""]


def test_consolidated_tape_has_the_address_of_its_own_at_alpaca() -> None:
    addresses = [Alpaca(settings_with_keys(alpaca_feed=feed)).socket(["AAPL"]) for feed in ("iex", "sip")]
    assert addresses == [f"wss://stream.data.alpaca.markets/v2/{feed}" for feed in ("iex", "sip")]


def test_no_two_shipped_providers_are_of_one_tape_as_the_document_says() -> None:
    tapes = {name: kind(settings_with_keys()).tape_of("AAPL") for name, kind in FEEDS.items()}
    assert {name: tape for name, tape in tapes.items() if tape} == {"alpaca": "iex", "polygon": CONSOLIDATED}
