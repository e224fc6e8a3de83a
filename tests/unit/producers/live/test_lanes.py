"""Changing over between providers: every trade once, whatever dies when."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from core.intervals import SECOND_US
from core.records import Tick
from producers.live.lanes import Lane, Seams

START_US = 1_700_000_000 * SECOND_US
SEAMS = Seams(lag_seconds=2, market_lag_seconds=6, steady_seconds=5, overlap_seconds=10, tolerance_seconds=0.2)
A, B = "polygon", "finnhub"


def trade(source: str, at_us: int, price: int = 100, size: int = 1, number: int = 0) -> Tick:
    return Tick(
        symbol="AAPL",
        event_us=START_US + at_us,
        price=str(price),
        size=str(size),
        trade_id=f"{source}{number}",
        source=source,
        received_us=START_US + at_us,
    )


def lane(tape: str = "sip") -> Lane:
    return Lane("AAPL", [(A, tape), (B, tape)], SEAMS)


def seconds(number: float) -> int:
    return int(number * SECOND_US)


def test_the_preferred_provider_alone_counts() -> None:
    made = lane()
    out = made.take(A, [trade(A, seconds(n), number=n) for n in range(10)], START_US)
    assert made.take(B, [trade(B, seconds(n), number=n) for n in range(10)], START_US) == []
    assert [tick.trade_id for tick in out] == [f"{A}{n}" for n in range(10)]
    assert made.changes == []


def test_lost_connection_hands_over_what_the_other_one_brought_meanwhile() -> None:
    made = lane()
    made.take(A, [trade(A, seconds(1))], START_US + seconds(1))
    made.take(B, [trade(B, seconds(1)), trade(B, seconds(2), 101), trade(B, seconds(3), 102)], START_US + seconds(3))
    out = made.mark_down(A, True, START_US + seconds(3))
    assert [(tick.source, tick.price) for tick in out] == [(B, "101"), (B, "102")]
    assert made.active == B
    assert [(change.before, change.after, change.cause) for change in made.changes] == [(A, B, "connection lost")]


def test_two_equal_trades_are_two() -> None:
    made = lane()
    made.take(A, [trade(A, seconds(1), number=0), trade(A, seconds(1), number=1)], START_US)
    made.take(B, [trade(B, seconds(1), number=n) for n in range(3)], START_US)
    out = made.mark_down(A, True, START_US + seconds(1))
    assert len(out) == 1, "the third one never came from the first provider"


def test_silence_while_the_other_one_trades_is_staleness_and_mutual_silence_is_not() -> None:
    made = lane()
    made.take(A, [trade(A, seconds(1))], START_US + seconds(1))
    assert made.check(START_US + seconds(60)) == []
    assert made.active == A
    out = made.take(B, [trade(B, seconds(61))], START_US + seconds(61))
    assert (made.active, len(out)) == (B, 1)
    assert made.changes[0].cause == "stale"


def test_provider_that_never_brings_anything_is_stale_too() -> None:
    made = lane()
    assert made.check(START_US) == []
    assert made.take(B, [trade(B, seconds(1))], START_US + seconds(1)) == []
    out = made.take(B, [trade(B, seconds(3), 101)], START_US + seconds(3))
    assert [tick.price for tick in out] == ["100", "101"]


def test_goes_back_only_when_the_better_one_has_kept_up_for_a_while() -> None:
    made = lane()
    made.take(A, [trade(A, 0)], START_US)
    made.mark_down(A, True, START_US + seconds(1))
    for n in range(2, 12):
        made.take(B, [trade(B, seconds(n), 100 + n)], START_US + seconds(n))
        made.take(A, [trade(A, seconds(n), 100 + n)], START_US + seconds(n))
        assert made.active == (B if n < 7 else A)
    assert [change.cause for change in made.changes] == ["connection lost", "healthy again"]


def test_another_market_takes_over_after_the_seam_only_and_later() -> None:
    made = lane(tape="")
    made.take(A, [trade(A, seconds(10))], START_US + seconds(10))
    other = [trade(B, seconds(n), 200 + n) for n in (9, 11, 15)]
    assert made.take(B, other, START_US + seconds(15)) == [], "rarer trades are no staleness yet"
    out = made.take(B, [trade(B, seconds(17), 217)], START_US + seconds(17))
    assert [tick.price for tick in out] == ["211", "215", "217"], (
        "what the first market traded until then stays its own"
    )


def test_another_market_counts_until_the_first_one_has_traded_again_for_a_while() -> None:
    made = lane(tape="")
    made.take(A, [trade(A, seconds(n)) for n in (0, 10)], START_US + seconds(10))
    made.take(B, [trade(B, seconds(17), 217)], START_US + seconds(17))
    assert made.active == B
    for at in (17.25, 20, 30, 60):  # connected, and heard once: no reason to go back
        made.check(START_US + seconds(at))
        assert len(made.take(B, [trade(B, seconds(at), number=int(at * 4))], START_US + seconds(at))) == 1
        assert made.active == B
    for at in (61, 64, 65.9):
        made.take(A, [trade(A, seconds(at))], START_US + seconds(at))
        assert made.active == B, "it trades again, but not for long enough"
    made.take(A, [trade(A, seconds(66))], START_US + seconds(66))
    assert made.active == A
    assert [change.cause for change in made.changes] == ["stale", "healthy again"]


def test_what_the_first_one_fills_in_later_is_not_counted_again() -> None:
    made = lane()
    made.take(A, [trade(A, seconds(1), 101)], START_US + seconds(1))
    assert len(made.take(B, [trade(B, seconds(n), 100 + n) for n in range(1, 6)], START_US + seconds(5))) == 4
    filled = [trade(A, seconds(n), 100 + n) for n in range(2, 6)]
    assert made.take(A, filled, START_US + seconds(6)) == []


def test_trades_that_rest_fills_in_do_not_make_a_lost_connection_well() -> None:
    made = lane(tape="")
    out = made.take(A, [trade(A, 0)], START_US)
    out += made.mark_down(A, True, START_US + seconds(1))
    for n in range(2, 200):
        out += made.take(B, [trade(B, seconds(n), number=n)], START_US + seconds(n))
        out += made.take(A, [trade(A, seconds(-n), number=n)], START_US + seconds(n), live=False)
    assert [tick.source for tick in out].count(A) == 199, "its own past is filled in all the same"
    assert [tick.trade_id for tick in out if tick.source == B] == [f"{B}{n}" for n in range(2, 200)]
    assert [(change.before, change.after) for change in made.changes] == [(A, B)]


def test_stamp_from_the_future_moves_no_seam() -> None:
    """Such a tick goes to the dead letters; what the backup brings must not wait for the time that it names."""
    made, tomorrow = lane(tape=""), 86_400 * SECOND_US
    made.take(A, [trade(A, 0)], START_US)
    ahead = structs.replace(trade(A, tomorrow, number=7), received_us=START_US + seconds(1))
    assert made.take(A, [ahead], START_US + seconds(1)) == [ahead], "somebody has to refuse it"
    made.mark_down(A, True, START_US + seconds(2))
    out = [tick for n in range(3, 9) for tick in made.take(B, [trade(B, seconds(n))], START_US + seconds(n))]
    assert len(out) == 6


def test_stamp_from_the_future_makes_nobody_stale() -> None:
    made = lane(tape="")
    made.take(A, [trade(A, 0)], START_US)
    ahead = structs.replace(trade(B, 86_400 * SECOND_US), received_us=START_US)
    assert made.take(B, [ahead], START_US) == [] == made.check(START_US + seconds(60))
    assert (made.active, made.changes) == (A, [])


def test_past_of_an_earlier_process_belongs_to_whom_it_counted_for() -> None:
    made = lane(tape="")
    changes = [(10, A, B), (20, B, A), (30, A, "gone")]
    made.begin_after(
        [(START_US + seconds(at), before, after) for at, before, after in changes], START_US + seconds(40), A
    )
    for at, owner in ((5, A), (15, B), (25, A), (39, A)):
        for name in (A, B):
            out = made.take(name, [trade(name, seconds(at), number=at)], START_US + seconds(50))
            assert len(out) == (name == owner), (at, name)
    assert made.active == A and len(made.take(A, [trade(A, seconds(41))], START_US + seconds(51))) == 1


def test_preferred_provider_counts_again_after_the_last_trade_of_a_backup() -> None:
    made = lane(tape="")
    made.begin_after([(START_US + seconds(10), A, B)], START_US + seconds(40), B)
    assert made.active == A
    assert made.take(A, [trade(A, seconds(n)) for n in (15, 40)], START_US + seconds(50)) == []
    assert len(made.take(B, [trade(B, seconds(15)), trade(B, seconds(40), number=1)], START_US + seconds(50))) == 2
    assert len(made.take(A, [trade(A, seconds(41))], START_US + seconds(51))) == 1


@dataclass(frozen=True)
class Tape:
    """Trades as they happened, when each provider's connection was down, and how late and askew each is."""

    times_us: tuple[int, ...]
    prices: tuple[int, ...]
    down_s: dict[str, tuple[int, int]]
    delay_us: dict[str, int]
    skew_us: int


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    steps = draw(st.lists(st.integers(0, 700_000), min_size=20, max_size=120))
    times, at = [], 0
    for step in steps:
        at += step
        times.append(at)
    length = at // SECOND_US + 1
    fall = draw(st.integers(0, length))
    return Tape(
        tuple(times),
        tuple(draw(st.lists(st.sampled_from([100, 101]), min_size=len(times), max_size=len(times)))),
        {A: (fall, fall + draw(st.integers(1, 15)))},
        {A: draw(st.integers(0, 50_000)), B: draw(st.integers(0, 50_000))},
        draw(st.integers(-900, 900)),
    )


def arrivals(tape: Tape) -> Iterator[tuple[int, str, Tick | None]]:
    """(wall clock, provider, its tick or None for the loss of its connection), in order."""
    events: list[tuple[int, str, Tick | None]] = []
    for source in (A, B):
        skew = tape.skew_us if source == B else 0
        begin, end = (second * SECOND_US for second in tape.down_s.get(source, (-1, -1)))
        for number, (at_us, price) in enumerate(zip(tape.times_us, tape.prices, strict=True)):
            arrival = at_us + tape.delay_us[source]
            if begin <= arrival < end:
                continue
            events.append((START_US + arrival, source, trade(source, at_us + skew, price, number=number)))
        if begin >= 0:
            events.append((START_US + begin, source, None))
    return iter(sorted(events, key=lambda event: event[0]))


@settings(max_examples=300, deadline=None)
@given(tapes())
def test_every_trade_of_the_tape_is_published_once(tape: Tape) -> None:
    """One provider is always up, so nothing may be missing; both report the same tape, so nothing may be double."""
    made, published = lane(), []
    for now_us, source, tick in arrivals(tape):
        published += made.take(source, [tick], now_us) if tick else made.mark_down(source, True, now_us)
    numbers = Counter(int((tick.trade_id or "").removeprefix(tick.source)) for tick in published)
    values = Counter(tick.price for tick in published)
    assert values == Counter(str(price) for price in tape.prices)
    assert sum(numbers.values()) == len(tape.times_us)
