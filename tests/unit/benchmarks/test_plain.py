"""The baseline computes the same bars as the product: else its speed would prove nothing."""

import random
from decimal import Decimal

import msgspec

from benchmarks.plain import Plain
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
