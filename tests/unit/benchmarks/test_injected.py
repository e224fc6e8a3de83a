"""Anomalies put into bars are where they are said to be, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.anomalies import Limits, alarms, known, score
from benchmarks.injected import APART, KINDS, SILENT_MINUTES, WARM_UP, Kind, Tape, caught, spoiled
from core.intervals import MINUTE_US
from tests.unit.core.anomalies.series import BEGIN_US, quiet

BARS = 600
START = BEGIN_US + np.arange(BARS) * MINUTE_US
TAPE = Tape("AAA", "made", "24/7", START, np.array(quiet(BARS)), np.full(BARS, 100.0), (BEGIN_US, int(START[-1]) + 1))
each = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@each
def test_only_the_events_differ_and_all_of_them_do(kind: Kind) -> None:
    made = spoiled(TAPE, kind, kind.sizes[-1], seed=3)
    assert len(made.events) > 5
    inside = np.zeros(BARS, bool)
    for begin, end in made.events:
        inside |= (begin <= START) & (end > START)
        assert begin >= BEGIN_US + WARM_UP * MINUTE_US
    held = np.isin(START, made.tape.start)
    assert held[~inside].all()
    if kind.name == "silence":
        assert (~held).sum() == SILENT_MINUTES * len(made.events)
    elif kind.name == "burst":
        assert (made.tape.volume[~inside] == 100).all() and (made.tape.volume != 100).sum() == 3 * len(made.events)
    else:
        moves = np.abs(np.diff(np.log(made.tape.close)) - np.diff(np.log(TAPE.close))) > 1e-9
        assert not moves[~inside[1:]].any() and moves.sum() == len(made.events) * (2 if kind.name == "spike" else 1)


@each
def test_a_seed_gives_the_same_again_and_one_place_for_all_sizes(kind: Kind) -> None:
    first, again = (spoiled(TAPE, kind, kind.sizes[0], seed=1) for _ in range(2))
    assert first.events == again.events and (first.tape.close == again.tape.close).all()
    assert spoiled(TAPE, kind, kind.sizes[-1], seed=1).events == first.events
    assert spoiled(TAPE, kind, kind.sizes[0], seed=2).events != first.events
    begins = np.diff([begin for begin, _ in first.events])
    assert (begins >= APART * MINUTE_US).all()


def test_nothing_is_injected_out_of_hours() -> None:
    market = replace(TAPE, calendar="XNYS", start=START - 30 * MINUTE_US, counted=(0, 1 << 60))  # 11:00 to 21:00 UTC
    opens = BEGIN_US + 3 * 3600 * 1_000_000  # 14:30 UTC
    events = spoiled(market, KINDS[0], 1.0, seed=1).events
    assert events and all(opens <= begin < end <= opens + 390 * MINUTE_US for begin, end in events)


def test_caught_counts_each_event_once_and_every_other_alarm() -> None:
    minutes = [MINUTE_US * minute for minute in range(100)]
    events = [(minutes[10], minutes[13]), (minutes[50], minutes[52]), (minutes[80], minutes[82])]
    alarms = [minutes[place] for place in (9, 11, 12, 51, 52, 60)]
    assert caught(events, alarms) == ([1, 1, None], 3)
    assert caught([], alarms) == ([], 6) and caught(events, []) == ([None] * 3, 0)


def test_spikes_of_six_percent_are_found_and_of_two_are_not() -> None:
    copies = [spoiled(TAPE, KINDS[0], size, seed=1) for size in (2.0, 6.0)]
    found = alarms(copies, known(copies), Limits())
    small, large = (score("price_move", [(place, copies[place])], found) for place in (0, 1))
    assert (small.recall, large.recall) == (0.0, 1.0)
    assert large.false == small.alarms == 0 and large.hits == large.alarms == len(copies[1].events)
