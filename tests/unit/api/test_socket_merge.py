"""Whatever is missed, conflated or told twice: a client ends with what Redis holds, over an unbroken chain."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.ws.books import NEWEST_BARS, Book, EventBook
from api.ws.client import Client, Counters, Limits, Subscription
from api.ws.frames import frame, payload_of
from api.ws.hub import fan_out
from api.ws.items import BARS, INDICATORS, BarItem, LastEvent, Snapshot
from core.errors import InputError
from stores.redis import live_rows
from tests.batches import make_bars
from tests.ws_bars import at, final, forming

BASE = 1_800_000_000_000_000


class Pipe:
    """A way out that is busy when told to be."""

    def __init__(self) -> None:
        self.idle = True
        self.on_idle: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        self.messages: list[dict] = []
        self.closed: int | None = None

    def write(self, frames: list[bytes]) -> None:
        self.messages += [msgspec.json.decode(payload_of(each)) for each in frames]

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002
        self.closed = code

    def abort(self) -> None:
        self.closed = -1

    def on_shutdown(self, call: Callable[[], None]) -> None: ...

    def block(self, client: Client) -> None:
        self.idle, client.busy = False, True

    def free(self) -> None:
        self.idle = True
        self.on_idle()


class Redis:
    """The script's rules on one stream: what is news, its number, and the tail."""

    def __init__(self) -> None:
        self.seq = BASE
        self.tail: dict[int, tuple[tuple[int, int], bytes]] = {}

    def write(self, minute: int, rev: int, offset: int) -> bytes | None:
        key = (rev, offset)
        held = self.tail.get(at(minute))
        if held is not None and key <= held[0]:
            return None
        if rev:
            state = "final" if rev == 1 else "amended"
            (row,) = live_rows(make_bars(final(minute, rev=rev, state=state, last_offset=offset)))
        else:
            row = forming(minute, offset)
        self.seq += 1
        payload = b'{"seq":%d,"relayed_us":1,%b' % (self.seq, row.payload[1:])
        self.tail[at(minute)] = (key, payload)
        return payload

    def bars(self) -> list[BarItem]:
        return [BarItem(payload) for _, payload in self.tail.values()]


writes = st.tuples(st.just("write"), st.integers(0, 4), st.integers(0, 2), st.integers(0, 6))
steps = st.lists(
    writes | st.tuples(st.sampled_from(["lose", "hear", "block", "free", "recover", "rejoin"]), *[st.just(0)] * 3),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_client_ends_with_what_redis_holds(script: list[tuple[str, int, int, int]]) -> None:
    store, book, pipe = Redis(), Book("AAPL", "1m"), Pipe()
    first = store.write(0, 0, 0)
    assert first is not None
    book.begin(store.seq, store.bars())
    client = Client(pipe, Limits(), Counters())
    subscription = Subscription(client, book.streams[BARS], book.last_seq)
    book.followers[BARS][client] = subscription
    pipe.messages.append(shown(book, "fresh"))
    hearing = True
    closed: set[tuple[int, int]] = set()

    def give(item: BarItem | Snapshot) -> None:
        dirty: list[Client] = []
        fan_out(book, item, dirty)
        for each in dirty:
            each.flush_out()

    def recover() -> None:
        missed = book.recover(store.seq, store.bars())
        if missed:
            give(Snapshot(book.last_seq, missed, "resync"))

    for what, minute, rev, offset in script:
        if what == "write":
            payload = store.write(minute, rev, offset)
            if payload is not None and hearing:
                item, missed = book.take(payload)
                if missed:
                    recover()
                if item is not None:
                    give(item)
                    if rev:
                        closed.add((at(minute), rev))
        elif what == "block":
            pipe.block(client)
        elif what == "free":
            pipe.free()
        elif what == "rejoin" and not client.busy:
            found = book.since_seq(subscription.seq)
            if found is not None:
                pipe.messages.append(shown(book, "resume", found))
                subscription.seq = book.last_seq
        else:
            hearing = what != "lose"
            if hearing:
                recover()
    recover()
    pipe.free()
    check(pipe.messages, {start: key for start, (key, _) in store.tail.items()}, closed)


def shown(book: Book, mode: str, bars: list[BarItem] | None = None) -> dict:
    snapshot = Snapshot(book.last_seq, book.since(0) if bars is None else bars, mode)
    return msgspec.json.decode(payload_of(snapshot.update(book.streams[BARS], 0)))


def check(messages: list[dict], truth: dict[int, tuple[int, int]], closed: set[tuple[int, int]]) -> None:
    held: dict[int, tuple[int, int]] = {}
    seen, seq = set(), 0
    for message in messages:
        rows = message["data"] if message["type"] == "snapshot" else [message["data"]]
        if message["type"] == "update":
            assert message["prev_seq"] == seq < message["seq"]
            (row,) = rows
            assert (row["rev"], row["last_offset"]) > held.get(row["start"], (-1, -1)), "nothing goes back or repeats"
        seq = message["seq"]
        for row in rows:
            held[row["start"]] = (row["rev"], row["last_offset"])
            seen.add((row["start"], row["rev"]))
    assert held == truth
    assert closed <= seen, "no final or amended bar that was heard is dropped"


def item(payload: bytes | None) -> BarItem:
    assert payload is not None
    return BarItem(payload)


def test_ring_is_bounded_and_knows_how_far_it_reaches() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE, [])
    for minute in range(400):
        book.take(store.write(minute, 1, 1) or b"")
    assert len(book.newest) == NEWEST_BARS
    assert book.since_seq(BASE) is None and book.since_seq(book.last_seq + 1) is None
    found = book.since_seq(book.last_seq - 200)
    assert found is not None and [each.start for each in found] == [at(minute) for minute in range(200, 400)]


def test_book_reaches_only_as_far_as_it_was_completed_and_not_evicted() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE, [item(store.write(minute, 1, 1)) for minute in range(10)])
    assert not book.reaches(at(5), BARS)
    book.completed(BARS, at(3))
    assert book.reaches(at(3), BARS) and not book.reaches(at(2), BARS) and not book.reaches(at(5), "indicators")
    for minute in range(10, 40):
        book.take(store.write(minute, 1, 1) or b"")
    assert not book.reaches(at(7), BARS) and book.reaches(at(8), BARS)
    book.doubt()
    assert not book.reaches(at(39), BARS)


def test_message_that_is_old_or_older_than_what_is_known_is_no_news() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(store.seq, [])
    final_row, amended = store.write(0, 1, 5), store.write(0, 2, 5)
    for payload in (final_row, amended, store.write(1, 0, 9)):
        assert book.take(payload or b"")[0] is not None
    for minute in range(2, 2 + NEWEST_BARS):
        book.take(store.write(minute, 1, 1) or b"")
    assert book.take(amended or b"") == (None, False), "its bar is forgotten, its number is not"
    forgetful = Redis()  # it has lost everything but the time
    forgetful.seq = store.seq
    again = forgetful.write(NEWEST_BARS, 0, 3)
    assert book.take(again or b"") == (None, False) and book.last_seq == store.seq + 1
    item, missed = book.take(b'{"seq":%d,' % (store.seq + 9) + (forgetful.write(90, 0, 1) or b"").partition(b",")[2])
    assert item is not None and missed


def test_dropped_ticks_are_counted_where_they_are_missing() -> None:
    book, pipe = EventBook("ticks", "AAPL"), Pipe()
    client = Client(pipe, Limits(frames=5), Counters())
    book.followers["ticks"][client] = Subscription(client, book.streams["ticks"], 0)
    dirty: list[Client] = []

    def publish(seq: int) -> None:
        tick, _ = book.take(b'{"stream_seq":%d,"relayed_us":1,"v":1,"event_us":2,"seq":0}' % (BASE + seq))
        assert tick is not None
        fan_out(book, tick, dirty)
        for each in dirty:
            each.flush_out()
        dirty.clear()

    publish(1)
    pipe.block(client)
    for seq in range(2, 20):
        publish(seq)
    pipe.free()
    publish(20)
    publish(21)
    told = [(each["seq"] - BASE, each.get("dropped")) for each in pipe.messages]
    assert told == [(1, None), (2, None), (3, None), (4, None), (5, None), (6, None), (20, 13), (21, None)]
    assert pipe.messages[6]["prev_seq"] == BASE + 6


@pytest.mark.parametrize("channel", ["predictions", "anomalies"])
def test_other_events_wait_where_ticks_would_be_dropped(channel: str) -> None:
    book, pipe = EventBook(channel, "AAPL"), Pipe()
    client = Client(pipe, Limits(frames=5), Counters())
    book.followers[channel][client] = Subscription(client, book.streams[channel], 0)
    dirty: list[Client] = []
    pipe.block(client)
    for seq in range(1, 10):
        event, _ = book.take(b'{"stream_seq":%d,"relayed_us":1,"event_us":2,"interval":"1m"}' % (BASE + seq))
        assert event is not None
        fan_out(book, event, dirty)
    pipe.free()
    assert [each["seq"] - BASE for each in pipe.messages] == list(range(1, 10))
    assert not any("dropped" in each for each in pipe.messages)


def test_last_events_are_by_interval_and_never_go_back() -> None:
    book = EventBook("anomalies", "AAPL")

    def kept(interval: str, event_us: int, rule: str) -> LastEvent:
        return LastEvent(b'{"event_us":%d,"interval":"%b","rule":"%b"}' % (event_us, interval.encode(), rule.encode()))

    first = [kept("15m", 5, "a"), kept("1m", 5, "a")]
    assert book.add(first) == first and book.add(first) == []
    book.take(b'{"stream_seq":%d,"relayed_us":1,"event_us":9,"interval":"1m","rule":"b"}' % BASE)
    assert [event.event_us for event in book.last()] == [9, 5]
    assert book.add([kept("1m", 5, "a")]) == [], "what was published stays newer"
    other = kept("1m", 9, "c")  # another rule of the same bar
    assert book.add([other]) == [other] and book.last()[0] is other


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frame_lengths(size: int) -> None:
    made = frame(b"x" * size)
    assert payload_of(made) == b"x" * size
    assert len(made) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"start":1}', b"\xff", b'{"seq":1,"relayed_us":2}'])
def test_garbage_from_redis_is_an_input_error(payload: bytes) -> None:
    with pytest.raises(InputError):
        BarItem(payload)


def test_quotes_in_a_bar_do_not_look_like_its_indicators() -> None:
    row = forming(0, 1, first_trade_id='x,"indicators":{"y":1}')
    payload = b'{"seq":%d,"relayed_us":1,%b,"indicators":{"z":2}}' % (BASE, row.payload[1:-1])
    bar = BarItem(payload)
    assert bar.indicators == b'{"z":2}'
    assert msgspec.json.decode(bar.bar)["first_trade_id"] == 'x,"indicators":{"y":1}'


# Indicators that are computed anew


def stored(minute: int) -> BarItem:
    """A final bar of the database."""
    (row,) = live_rows(make_bars(final(minute)))
    return BarItem(row.payload)


def with_values(store: Redis, minute: int, values: bytes) -> bytes:
    """A final bar as it is published, again and again at the same revision."""
    (row,) = live_rows(make_bars(final(minute)))
    store.seq += 1
    return b'{"seq":%d,"relayed_us":1,%b,"indicators":%b}' % (store.seq, row.payload[1:-1], values)


def followed(book: Book, channel: str) -> Pipe:
    pipe = Pipe()
    client = Client(pipe, Limits(), Counters())
    book.followers[channel][client] = Subscription(client, book.streams[channel], book.last_seq)
    return pipe


def publish(book: Book, payload: bytes) -> None:
    item, _ = book.take(payload)
    dirty: list[Client] = []
    if item is not None:
        fan_out(book, item, dirty)
    for each in dirty:
        each.flush_out()


def chain(pipe: Pipe) -> list[tuple[int, int]]:
    return [(each["prev_seq"] - BASE, each["seq"] - BASE) for each in pipe.messages]


def test_indicators_published_again_at_the_same_revision_reach_who_follows_them() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE, [])
    bars, indicators = followed(book, BARS), followed(book, INDICATORS)
    for minute, values in ((0, b'{"x":1}'), (0, b'{"x":2}'), (0, b'{"x":2}'), (1, b'{"x":3}')):
        publish(book, with_values(store, minute, values))
    assert [each["data"]["values"]["x"] for each in indicators.messages] == [1, 2, 3]
    assert chain(indicators) == [(0, 1), (1, 2), (2, 4)]
    assert chain(bars) == [(0, 1), (1, 4)], "the bar itself has not changed"
    resumed = book.since_seq(BASE + 1)
    assert resumed is not None and [each.indicators for each in resumed] == [b'{"x":2}', b'{"x":3}']


def test_indicators_that_were_published_again_unheard_are_recovered_and_those_of_the_database_are_not() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE, [])
    book.take(with_values(store, 0, b'{"x":1}'))
    again = BarItem(with_values(store, 0, b'{"x":2}'))
    assert book.recover(again.seq, [again]) == [again] and book.recover(again.seq, [again]) == []
    other = stored(0)
    other.indicators = b'{"x":2.0}'
    assert book.recover(again.seq, [other]) == []


# The database ahead of Redis


def test_bar_that_a_snapshot_has_learned_is_late_for_others_unless_it_is_older_than_all_they_have() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(store.seq, [item(store.write(minute, 1, 1000)) for minute in (5, 6)])
    assert [each.start for each in book.learn([stored(minute) for minute in range(9)])] == [at(7), at(8)]
    assert book.learn([stored(minute) for minute in range(9)]) == []


def test_nobody_resumes_behind_a_bar_that_came_without_a_number() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE, [])
    book.take(store.write(0, 1, 1000) or b"")
    left = book.last_seq
    assert book.since_seq(left) == []
    assert len(book.recover(left, [stored(1)])) == 1
    assert book.since_seq(left) is None, "whoever is away would never hear of it"
    book.take(store.write(2, 1, 1000) or b"")
    assert book.since_seq(left) is None and book.since_seq(left + 1) == []


def test_amended_bar_older_than_the_tail_is_sent_on_and_not_counted_as_one_of_the_last() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE + 3, [item(store.write(minute, 1, 1000)) for minute in (120, 121, 122)])
    left = book.last_seq
    amended, missed = book.take(store.write(5, 2, 1000) or b"")
    assert amended is not None and not missed
    assert book.since_seq(left) == [amended]
    assert book.last(4) is None and [each.start for each in book.last(3) or ()] == [at(120), at(121), at(122)]
    assert book.learn([stored(minute) for minute in range(110, 123)]) == [], "followers have had these"
    assert book.since_seq(left) == [amended], "so who resumes needs no other"
    assert [each.start for each in book.last(13) or ()] == [at(minute) for minute in range(110, 123)]
    assert book.last(14) is None


def test_tail_of_redis_with_an_old_amended_bar_counts_from_the_next_one_on() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE, [item(store.write(5, 2, 1000))])
    assert book.last(1) is None and book.last(0) == []
    book.take(store.write(120, 1, 1000) or b"")
    assert [each.start for each in book.last(1) or ()] == [at(120)] and book.last(2) is None
    book.completed(BARS, at(0))
    assert [each.start for each in book.last(2) or ()] == [at(5), at(120)]


def test_amended_bar_older_than_all_that_is_known_does_not_widen_what_is_known() -> None:
    store, book = Redis(), Book("AAPL", "1m")
    book.begin(BASE, [])
    book.completed(BARS, at(0))
    for minute in range(60):
        book.take(store.write(minute, 1, 1) or b"")
    book.take(store.write(5, 2, 1) or b"")
    assert not book.reaches(at(20), BARS) and book.reaches(at(28), BARS)
