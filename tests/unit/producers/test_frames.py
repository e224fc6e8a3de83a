"""Frames of ticks and back."""

from collections import Counter

import pandas as pd

from core import rulesets
from core.bars import fold_bars
from core.intervals import INTERVALS
from producers.frames import simulated_frame, ticks_of
from producers.normalise import normalise
from producers.simulator import SimulatorConfig, simulate

START_US = 1_709_551_800_000_000


def recorded(**columns: object) -> pd.DataFrame:
    row = {
        "symbol": "IBM",
        "event_time": pd.Timestamp("2013-10-08T15:00:00Z"),
        "seq": 3,
        "price": 182.01,
        "size": 100.0,
    }
    return pd.DataFrame([row | {"exchange": "N", "conditions": None, "source": "replay:x"} | columns])


def test_ticks_of_normalised_rows_are_exact_ticks() -> None:
    (tick,) = ticks_of(normalise(recorded(), rulesets.load("us-equity")))
    assert (tick.price, tick.size, tick.venue, tick.seq) == ("182.01", "100", "N", 3)
    assert tick.conditions is None and tick.trade_id is None and tick.reported_us is None
    assert tick.received_us == tick.event_us == 1_381_244_400_000_000


def test_ticks_of_a_moved_print_are_received_when_reported() -> None:
    closing = recorded(event_time=pd.Timestamp("2013-10-08T20:01:00Z"), conditions="80")
    (tick,) = ticks_of(normalise(closing, rulesets.load("us-equity")))
    assert tick.event_us == 1_381_262_399_999_999  # the last microsecond of 15:59 in New York
    assert tick.received_us == tick.reported_us == 1_381_262_460_000_000


def test_simulated_frame_is_what_the_simulator_sends() -> None:
    config = SimulatorConfig(("AAPL", "BTC-USD"), rate=50, seconds=130, seed=5, start_us=START_US, out_of_order=0.1)
    frame = simulated_frame(config)
    assert len(frame) == 6500 and frame["event_us"].is_monotonic_increasing
    sent = {bytes(record.body) for record in simulate(config)}
    ticks = ticks_of(frame)
    for tick in ticks[::500]:
        (body,) = (body for body in sent if f'"trade_id":"{tick.trade_id}"'.encode() in body)
        told = (tick.price, tick.size, tick.event_us, tick.received_us, tick.seq)
        assert body.decode().count(f'"price":"{told[0]}","size":"{told[1]}"') == 1
        assert all(f":{number}" in body.decode() for number in told[2:])
    assert Counter(tick.symbol for tick in ticks).keys() == {"AAPL", "BTC-USD"}


def test_simulated_frame_has_every_tick_of_the_rate() -> None:
    config = SimulatorConfig(("AAPL",), rate=20, seconds=120, seed=1, start_us=START_US)
    placed = [(tick, None, None) for tick in ticks_of(simulated_frame(config))]
    bars = fold_bars(placed, [INTERVALS["1m"]], rulesets.load("all"))
    assert [bar.trade_count for bar in bars] == [1200, 1200]
