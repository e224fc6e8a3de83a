"""What every store promises, as checks that each store has to pass.

A check takes the store under test, as an `Opened` one, writes through the sink and looks at what is held.
"""

import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from stores.base import BarSink, TickSink
from stores.schema import BAR_SCHEMA, INDICATOR_SCHEMA, STATE_SCHEMA, TICK_SCHEMA
from tests.batches import Row, by_key, make_bar, make_bars, make_tick, make_ticks, rows_of
from tests.factories import indicators, indicators_table, state

HUGE = Decimal("9999999999.99999999")
TINY = Decimal("0.00000001")
# What CSV, JSON, line protocol and paths each have to escape.
ODD_TEXTS = ('a"b', "a,b", "a\\", "a\nb", "", " ", "\\N", "NULL", "%2F..", "naïve-中", "'; DROP TABLE bars; --")
ODD_SYMBOLS = ("XRP/ETH", "../../x", "A:1m", "a=b", 'a"b', "a,b", "a\\", "%41", "{x}", "~!@#$%^&*()", "..", "123")


@dataclass(frozen=True)
class OpenedBars:
    """A bar sink and a way to read all that it holds, as rows of BAR_COLUMNS with integer times."""

    sink: BarSink
    read: Callable[[], list[Row]]

    def holds(self, *expected: pa.Table) -> bool:
        rows = by_key(row for table in expected for row in rows_of(table))
        held = by_key(self.read())
        assert held == rows
        return True


@dataclass(frozen=True)
class OpenedTicks:
    """A tick sink and a way to read all that it holds, as rows of TICK_SCHEMA with integer times."""

    sink: TickSink
    read: Callable[[], list[Row]]

    def holds(self, *expected: pa.Table) -> bool:
        rows = by_key(row for table in expected for row in rows_of(table))
        assert by_key(self.read()) == rows
        return True


@dataclass(frozen=True)
class OpenedIndicators:
    """A bar sink and ways to read what it holds beside the bars.

    `read` gives rows of INDICATOR_SCHEMA without `state`, times as integers and `values` as a dict of doubles;
    `states` gives STATE_SCHEMA.
    """

    sink: BarSink
    read: Callable[[], list[Row]]
    states: Callable[[], pa.Table]

    def holds(self, *expected: Row) -> bool:
        rows = [{name: value for name, value in row.items() if name != "state"} for row in expected]
        assert by_key(self.read()) == by_key(row | {"values": json.loads(row["values"])} for row in rows)
        return True

    def continues_from(self, *expected: Row) -> bool:
        rows = [{name: row[name] for name in STATE_SCHEMA.names} for row in expected]
        held = self.states()
        assert held.schema == STATE_SCHEMA
        assert by_key(held.to_pylist()) == by_key(rows)
        return True


BarCheck = Callable[[OpenedBars], None]
TickCheck = Callable[[OpenedTicks], None]
IndicatorCheck = Callable[[OpenedIndicators], None]


def bar_sink_checks() -> Iterator[BarCheck]:
    yield bars_written_once_are_held
    yield bars_written_twice_are_held_once
    yield newer_revision_replaces
    yield older_revision_does_not_replace
    yield same_revision_does_not_replace
    yield revisions_in_one_batch_leave_the_newest
    yield empty_batch_changes_nothing
    yield absent_values_stay_absent
    yield extreme_amounts_are_exact
    yield odd_symbols_stay_apart
    yield odd_texts_come_back
    yield intervals_with_one_start_stay_apart
    yield five_thousand_bars_are_held
    yield setup_again_keeps_everything


def tick_sink_checks() -> Iterator[TickCheck]:
    yield ticks_written_once_are_held
    yield ticks_written_twice_are_held_once
    yield duplicate_in_a_batch_leaves_the_lowest_offset
    yield duplicate_in_a_later_batch_leaves_the_first
    yield overlapping_batches_add_only_the_new
    yield one_identity_on_two_symbols_is_two_ticks
    yield empty_tick_batch_changes_nothing
    yield absent_tick_values_stay_absent
    yield extreme_ticks_are_exact
    yield odd_tick_texts_come_back
    yield five_thousand_ticks_are_held


def indicator_checks() -> Iterator[IndicatorCheck]:
    yield indicators_are_held_with_their_bars
    yield bars_without_indicators_leave_them_alone
    yield indicators_written_twice_are_held_once
    yield newer_revision_of_indicators_replaces
    yield older_revision_of_indicators_does_not_replace
    yield same_revision_replaces_indicators_of_another_set_only
    yield indicator_revisions_in_one_batch_leave_the_first_of_the_newest
    yield any_double_comes_back_exactly
    yield odd_indicator_symbols_stay_apart
    yield states_of_a_batch_leave_the_newest
    yield older_state_does_not_replace
    yield state_of_one_start_goes_by_revision
    yield row_without_a_state_keeps_the_state
    yield states_of_intervals_and_symbols_stay_apart
    yield empty_indicators_change_nothing


def bars_written_once_are_held(store: OpenedBars) -> None:
    batch = make_bars(make_bar(0), make_bar(1), make_bar(0, symbol="MSFT"))
    store.sink.write_bars(batch)
    assert store.holds(batch)


def bars_written_twice_are_held_once(store: OpenedBars) -> None:
    batch = make_bars(make_bar(0), make_bar(1))
    store.sink.write_bars(batch)
    store.sink.write_bars(batch)
    assert store.holds(batch)


def newer_revision_replaces(store: OpenedBars) -> None:
    amended = make_bars(make_bar(0, rev=2, state="amended", reason="late tick", close=Decimal("1.00000001")))
    store.sink.write_bars(make_bars(make_bar(0), make_bar(1)))
    store.sink.write_bars(amended)
    assert store.holds(amended, make_bars(make_bar(1)))


def older_revision_does_not_replace(store: OpenedBars) -> None:
    newest = make_bars(make_bar(0, rev=3, close=None, reason="cancel", state="amended"))
    store.sink.write_bars(newest)
    store.sink.write_bars(make_bars(make_bar(0, rev=2), make_bar(1)))
    store.sink.write_bars(make_bars(make_bar(0, rev=1)))
    assert store.holds(newest, make_bars(make_bar(1)))


def same_revision_does_not_replace(store: OpenedBars) -> None:
    first = make_bars(make_bar(0))
    store.sink.write_bars(first)
    store.sink.write_bars(make_bars(make_bar(0, processed_us=1)))
    assert store.holds(first)


def revisions_in_one_batch_leave_the_newest(store: OpenedBars) -> None:
    store.sink.write_bars(make_bars(*(make_bar(0, rev=rev, trade_count=rev) for rev in (2, 10, 9, 1))))
    assert store.holds(make_bars(make_bar(0, rev=10, trade_count=10)))


def empty_batch_changes_nothing(store: OpenedBars) -> None:
    store.sink.write_bars(BAR_SCHEMA.empty_table())
    store.sink.write_bars(make_bars(make_bar(0)))
    store.sink.write_bars(BAR_SCHEMA.empty_table())
    assert store.holds(make_bars(make_bar(0)))


def absent_values_stay_absent(store: OpenedBars) -> None:
    nullable = [field.name for field in BAR_SCHEMA if field.nullable]
    batch = make_bars(make_bar(0, **dict.fromkeys(nullable)), make_bar(1))
    store.sink.write_bars(batch)
    assert store.holds(batch)


def extreme_amounts_are_exact(store: OpenedBars) -> None:
    prices = ("open", "high", "low", "close", "vwap")
    huge = {"volume": Decimal("99999999999999999999.99999999"), "notional": Decimal("9" * 22 + "." + "9" * 16)}
    tiny = {"volume": TINY, "notional": Decimal("0.0000000000000001")}
    none = {"volume": Decimal("0E-8"), "notional": Decimal("0E-16"), "trade_count": 0}
    batch = make_bars(
        make_bar(0, **dict.fromkeys(prices, HUGE), **huge, trade_count=2**62, last_offset=2**50),
        make_bar(1, **dict.fromkeys(prices, TINY), **tiny),
        make_bar(2, **dict.fromkeys(prices), **none),
        make_bar(3, open_us=-(2**53) + 1, close_us=2**53 - 1),
    )
    store.sink.write_bars(batch)
    assert store.holds(batch)


def odd_symbols_stay_apart(store: OpenedBars) -> None:
    batch = make_bars(*(make_bar(0, symbol=symbol, trade_count=n) for n, symbol in enumerate(ODD_SYMBOLS, 1)))
    store.sink.write_bars(batch)
    assert store.holds(batch)


def odd_texts_come_back(store: OpenedBars) -> None:
    batch = make_bars(
        *(make_bar(n, first_trade_id=text, last_trade_id=text, reason=text) for n, text in enumerate(ODD_TEXTS))
    )
    store.sink.write_bars(batch)
    assert store.holds(batch)


def intervals_with_one_start_stay_apart(store: OpenedBars) -> None:
    batch = make_bars(
        *(make_bar(0, interval=interval, trade_count=n) for n, interval in enumerate(("1m", "5m", "15m"), 1))
    )
    store.sink.write_bars(batch)
    assert store.holds(batch)


def five_thousand_bars_are_held(store: OpenedBars) -> None:
    batch = make_bars(*(make_bar(n % 25, symbol=f"S{n // 25:03d}", trade_count=n + 1) for n in range(5_000)))
    store.sink.write_bars(batch)
    assert store.holds(batch)


def setup_again_keeps_everything(store: OpenedBars) -> None:
    batch = make_bars(make_bar(0))
    store.sink.write_bars(batch)
    store.sink.setup()
    assert store.holds(batch)


def ticks_written_once_are_held(store: OpenedTicks) -> None:
    batch = make_ticks(make_tick(0), make_tick(1), make_tick(0, symbol="MSFT"))
    store.sink.write_ticks(batch)
    assert store.holds(batch)


def ticks_written_twice_are_held_once(store: OpenedTicks) -> None:
    batch = make_ticks(*(make_tick(n) for n in range(10)))
    store.sink.write_ticks(batch)
    store.sink.write_ticks(batch)
    assert store.holds(batch)


def duplicate_in_a_batch_leaves_the_lowest_offset(store: OpenedTicks) -> None:
    again = make_tick(0, kafka_offset=9, received_us=9)
    store.sink.write_ticks(make_ticks(again, make_tick(1), make_tick(0, kafka_offset=3), make_tick(0, kafka_offset=10)))
    assert store.holds(make_ticks(make_tick(0, kafka_offset=3), make_tick(1)))


def duplicate_in_a_later_batch_leaves_the_first(store: OpenedTicks) -> None:
    store.sink.write_ticks(make_ticks(make_tick(0), make_tick(1)))
    store.sink.write_ticks(make_ticks(make_tick(2), make_tick(0, kafka_offset=7, source="second feed")))
    assert store.holds(make_ticks(make_tick(0), make_tick(1), make_tick(2)))


def overlapping_batches_add_only_the_new(store: OpenedTicks) -> None:
    for first in range(0, 100, 5):
        store.sink.write_ticks(make_ticks(*(make_tick(n) for n in range(first, first + 10))))
    assert store.holds(make_ticks(*(make_tick(n) for n in range(105))))


def one_identity_on_two_symbols_is_two_ticks(store: OpenedTicks) -> None:
    batch = make_ticks(make_tick(0), make_tick(0, symbol="MSFT"), make_tick(0, symbol="XRP/ETH"))
    store.sink.write_ticks(batch)
    assert store.holds(batch)


def empty_tick_batch_changes_nothing(store: OpenedTicks) -> None:
    store.sink.write_ticks(TICK_SCHEMA.empty_table())
    store.sink.write_ticks(make_ticks(make_tick(0)))
    store.sink.write_ticks(TICK_SCHEMA.empty_table())
    assert store.holds(make_ticks(make_tick(0)))


def absent_tick_values_stay_absent(store: OpenedTicks) -> None:
    nullable = [field.name for field in TICK_SCHEMA if field.nullable]
    batch = make_ticks(make_tick(0, **dict.fromkeys(nullable), kind="cancel"), make_tick(1))
    store.sink.write_ticks(batch)
    assert store.holds(batch)


def extreme_ticks_are_exact(store: OpenedTicks) -> None:
    batch = make_ticks(
        make_tick(0, price=HUGE, size=HUGE, seq=2**33 - 1, kafka_offset=2**62),
        make_tick(1, price=TINY, size=TINY, seq=-(2**33) + 1),
        make_tick(2, size=Decimal("0E-8"), event_us=315_532_800_000_001, reported_us=315_532_800_000_000),
        make_tick(3, event_us=START_OF_2100 + 999_999),
    )
    store.sink.write_ticks(batch)
    assert store.holds(batch)


def odd_tick_texts_come_back(store: OpenedTicks) -> None:
    batch = make_ticks(
        *(
            make_tick(n, trade_id=text, venue=text, conditions=text, source=text, identity=f"id|{text}|{n}")
            for n, text in enumerate(ODD_TEXTS)
        ),
        *(make_tick(100 + n, symbol=symbol) for n, symbol in enumerate(ODD_SYMBOLS)),
    )
    store.sink.write_ticks(batch)
    assert store.holds(batch)


def five_thousand_ticks_are_held(store: OpenedTicks) -> None:
    batch = make_ticks(*(make_tick(n, symbol=f"S{n % 7}") for n in range(5_000)))
    store.sink.write_ticks(batch)
    assert store.holds(batch)


def write(store: OpenedIndicators, *rows: Row) -> None:
    """The rows, with the bars they belong to."""
    named = ({name: row[name] for name in ("symbol", "interval", "start", "rev")} for row in rows)
    store.sink.write_bars(make_bars(*(make_bar(**name) for name in named)), indicators_table(*rows))


def indicators_are_held_with_their_bars(store: OpenedIndicators) -> None:
    rows = [
        indicators(make_bar(0), {"sma_5": 101.25, "rsi_14": None}),
        indicators(make_bar(1), {"sma_5": None}, ready=True, specs="sma:5"),
        indicators(make_bar(0, symbol="MSFT"), {}, ready=True, stable=True, processed_us=None),
        indicators(make_bar(0, interval="5m"), {"vwap": 7.0}),
    ]
    write(store, *rows)
    last = indicators(make_bar(3))
    store.sink.write_bars(make_bars(make_bar(2), make_bar(3)), indicators_table(last))  # a bar may be without
    rows.append(last)
    assert store.holds(*rows)
    assert store.continues_from()


def bars_without_indicators_leave_them_alone(store: OpenedIndicators) -> None:
    row = indicators(make_bar(0), state=state(1.5))
    write(store, row)
    store.sink.write_bars(make_bars(make_bar(0, rev=2), make_bar(1)))
    assert store.holds(row)
    assert store.continues_from(row)


def indicators_written_twice_are_held_once(store: OpenedIndicators) -> None:
    rows = [indicators(make_bar(0)), indicators(make_bar(1), state=state(2.0))]
    write(store, *rows)
    write(store, *rows)
    assert store.holds(*rows)
    assert store.continues_from(rows[1])


def newer_revision_of_indicators_replaces(store: OpenedIndicators) -> None:
    amended = indicators(make_bar(0, rev=2), {"rsi_14": 50.5}, specs="rsi:14", ready=True, stable=True, processed_us=9)
    write(store, indicators(make_bar(0)), indicators(make_bar(1)))
    write(store, amended)
    assert store.holds(amended, indicators(make_bar(1)))


def older_revision_of_indicators_does_not_replace(store: OpenedIndicators) -> None:
    newest = indicators(make_bar(0, rev=3), {"sma_5": 3.0})
    write(store, newest)
    write(store, indicators(make_bar(0, rev=2), {"sma_5": 2.0}))
    assert store.holds(newest)


def same_revision_replaces_indicators_of_another_set_only(store: OpenedIndicators) -> None:
    first = indicators(make_bar(0))
    write(store, first)
    write(store, indicators(make_bar(0), {"sma_5": 9.0, "rsi_14": 9.0}, ready=True, processed_us=7))
    assert store.holds(first)
    other = indicators(make_bar(0), {"ema_9": 1.0}, specs="ema:9", ready=True, processed_us=7)
    write(store, other)
    assert store.holds(other)


def indicator_revisions_in_one_batch_leave_the_first_of_the_newest(store: OpenedIndicators) -> None:
    revs = (2, 10, 9, 10, 1)
    rows = [indicators(make_bar(0, rev=rev), {"sma_5": float(n)}) for n, rev in enumerate(revs)]
    write(store, *rows)
    assert store.holds(rows[1])


def any_double_comes_back_exactly(store: OpenedIndicators) -> None:
    edges = [0.1 + 0.2, 1e-300, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.0, 1.0, 2.0**53, 2.0**63]
    chosen = random.Random(5)
    some = (struct.unpack("<d", chosen.randbytes(8))[0] for _ in range(2_000))
    values = [sign * edge for edge in edges for sign in (1, -1)] + [x for x in some if abs(x) < float("inf")]
    rows = [indicators(make_bar(n), {"x": value, "none": None}) for n, value in enumerate(values)]
    write(store, *rows)
    assert store.holds(*rows)
    assert {type(row["values"]["x"]) for row in store.read()} == {float}


def odd_indicator_symbols_stay_apart(store: OpenedIndicators) -> None:
    rows = [indicators(make_bar(0, symbol=symbol), {"x": float(n)}) for n, symbol in enumerate(ODD_SYMBOLS)]
    rows = [row | {"state": state(n)} for n, row in enumerate(rows)]
    write(store, *rows)
    assert store.holds(*rows)
    assert store.continues_from(*rows)


def states_of_a_batch_leave_the_newest(store: OpenedIndicators) -> None:
    minutes = ((4, 1), (9, 1), (9, 2), (9, 1), (10, 1), (2, 7))
    rows = [indicators(make_bar(at, rev=rev), state=state(at, rev)) for at, rev in minutes]
    write(store, *rows)
    assert store.continues_from(rows[4])


def older_state_does_not_replace(store: OpenedIndicators) -> None:
    newest = indicators(make_bar(10), state=bytes(range(256)) * 20)
    write(store, newest)
    write(store, indicators(make_bar(9, rev=5), state=state(9.0)))
    assert store.continues_from(newest)
    later = indicators(make_bar(11), state=b"", specs="ema:9")
    write(store, later)
    assert store.continues_from(later)


def state_of_one_start_goes_by_revision(store: OpenedIndicators) -> None:
    for rev, kept in ((2, 2), (1, 2), (2, 2), (3, 3)):
        write(store, indicators(make_bar(0, rev=rev), state=state(rev)))
        assert store.continues_from(indicators(make_bar(0, rev=kept), state=state(kept)))
    again = indicators(make_bar(0, rev=3), state=state(3.5), specs="ema:9")
    write(store, again)
    assert store.continues_from(again)


def row_without_a_state_keeps_the_state(store: OpenedIndicators) -> None:
    held = indicators(make_bar(0), state=state(-0.0, 1e300))
    write(store, held)
    write(store, indicators(make_bar(0, rev=2)), indicators(make_bar(1)))
    assert store.continues_from(held)


def states_of_intervals_and_symbols_stay_apart(store: OpenedIndicators) -> None:
    keys = [(symbol, interval) for symbol in ("AAPL", "MSFT") for interval in ("1m", "5m", "15m")]
    rows = [indicators(make_bar(0, symbol=s, interval=i), state=state(n)) for n, (s, i) in enumerate(keys)]
    write(store, *rows)
    assert store.continues_from(*rows)


def empty_indicators_change_nothing(store: OpenedIndicators) -> None:
    row = indicators(make_bar(0), state=state(1.0))
    store.sink.write_bars(make_bars(), INDICATOR_SCHEMA.empty_table())
    write(store, row)
    store.sink.write_bars(make_bars(make_bar(0)), INDICATOR_SCHEMA.empty_table())
    assert store.holds(row)
    assert store.continues_from(row)


START_OF_2100 = 4_102_444_800_000_000
