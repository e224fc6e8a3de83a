"""The baseline computes the same bars as the product: else its speed would prove nothing."""

import random
from decimal import Decimal

import msgspec

from benchmarks.plain import Plain
from benchmarks.watch import published
from core import rulesets
from core.bars import fold_bars
from core.intervals import INTERVALS
from core.records import BAR_COLUMNS
from producers.publish import encode
from tests.factories import MONDAY_US, heartbeat, tick

IGNORED = {"rev", "state", "reason", "ruleset", "processed_us"}


def test_plain_last_rows_equal_the_folded_bars() -> None:
    random.seed(3)
    sent = [
        tick(
            symbol=random.choice(("AAPL", "MSFT")),
            event_us=MONDAY_US + number * 700_000,
            price=f"{random.randint(1, 50_000) / 100:.2f}",
            size=str(random.randint(1, 900)),
            seq=number,
            trade_id=f"t{number}",
        )
        for number in range(300)
    ]
    plain = Plain(INTERVALS.values())
    rows = {}
    for offset, trade in enumerate(sent):
        for key, value in plain.rows(encode(trade), 0, offset):
            bar = msgspec.json.decode(value)
            assert tuple(bar) == BAR_COLUMNS
            assert key == f"{bar['symbol']}|{bar['interval']}".encode()
            rows[bar["symbol"], bar["interval"], bar["start"]] = bar
    given = [(trade, 0, offset) for offset, trade in enumerate(sent)]
    folded = fold_bars(given, INTERVALS.values(), rulesets.load("all"))
    assert len(folded) == len(rows)
    for bar in folded:
        mine = rows[bar.symbol, bar.interval, bar.start]
        for name in set(BAR_COLUMNS) - IGNORED:
            value = getattr(bar, name)
            assert (Decimal(mine[name]) if isinstance(value, Decimal) else mine[name]) == value, name


def test_plain_heartbeat_makes_no_row() -> None:
    assert Plain(INTERVALS.values()).rows(encode(heartbeat()), 0, 0) == []


def test_published_rows_are_read_as_the_one_minute_rows_that_they_are() -> None:
    sent = [tick(symbol=name, event_us=MONDAY_US + number, seq=number) for number, name in enumerate(("A", "B", "A"))]
    plain = Plain(INTERVALS.values())
    messages = b""
    for offset, trade in enumerate(sent):
        for key, value in plain.rows(encode(trade), 0, offset + 7):
            channel = b"bar:" + key.replace(b"|", b":")
            parts = (b"pmessage", b"bar:*:1m", channel, value)
            messages += b"*4\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    start = b"%d" % MONDAY_US
    assert published(messages) == [(b"A", start, b"1", b"7"), (b"B", start, b"1", b"8"), (b"A", start, b"2", b"9")]
