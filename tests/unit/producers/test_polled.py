"""What of a poll is news, and how long a provider is left alone."""

import pytest

from core.records import Tick
from producers.polled import news
from producers.polling import pause_after
from stores.prices import price_of

AT = 1_700_000_000_000_000


def tick(**changes: object) -> Tick:
    fields = {
        "symbol": "A",
        "event_us": AT,
        "price": "1.5",
        "size": "0",
        "seq": 7,
        "source": "p",
        "received_us": AT + 9,
    }
    return Tick(**fields | changes)  # type: ignore[arg-type]


def test_first_price_of_a_symbol_is_news() -> None:
    assert news(tick(), None) == tick()


def test_repeat_is_no_news_whenever_it_was_received() -> None:
    assert news(tick(received_us=AT + 60_000_000), price_of(tick())) is None
    assert news(tick(trade_id="t1", received_us=AT + 60_000_000), price_of(tick(trade_id="t1"))) is None


@pytest.mark.parametrize("price", ["1.5", "1.6"])
def test_later_event_is_news_as_it_is_at_any_price(price: str) -> None:
    later = tick(event_us=AT + 1, price=price)
    assert news(later, price_of(tick())) is later


def test_earlier_event_is_no_news() -> None:
    assert news(tick(event_us=AT - 1, price="9"), price_of(tick())) is None


def test_other_price_at_one_time_without_ids_gets_the_next_seq() -> None:
    first = tick()
    second = news(tick(price="1.6"), price_of(first))
    assert second is not None and (second.price, second.seq) == ("1.6", 8)
    back = news(tick(price="1.5"), price_of(second))
    assert back is not None and (back.price, back.seq) == ("1.5", 9)
    assert news(tick(price="1.5"), price_of(back)) is None
    numbered = news(tick(price="1.6", seq=50), price_of(first))
    assert numbered is not None and numbered.seq == 50


def test_other_price_asked_again_by_a_forgetful_worker_has_the_same_identity() -> None:
    """Killed after publishing, before Redis knew: the next worker must say the very same."""
    held = price_of(tick())
    assert news(tick(price="1.6"), held) == news(tick(price="1.6"), held)


def test_trade_with_an_id_is_told_by_it_at_one_time_and_price() -> None:
    held = price_of(tick(trade_id="8", seq=8))
    newer = tick(trade_id="9", seq=9)
    assert news(newer, held) is newer
    assert news(tick(trade_id="7", seq=7), held) is None


def test_pause_doubles_up_to_five_minutes_and_heeds_the_provider() -> None:
    pauses = [pause_after(count, 0) for count in range(1, 12)]
    assert pauses[:4] == [1, 2, 4, 8] and pauses[-1] == 300
    assert pauses == sorted(pauses)
    assert pause_after(10_000, 0) == 300
    assert pause_after(1, 40_000) == 40_000
