"""What a late tick does to a bar, by the project's own rules of amendment, without servers."""

from dataclasses import dataclass

import pandas as pd

from core.bars import fold_bars
from core.intervals import INTERVALS, Interval
from core.records import Bar
from jobs.amend import Row, amendments, differing, key_of
from notebooks.tape import Day
from producers.frames import ticks_of
from stores.amending import Causes
from stores.reconciling import Due
from stores.schema import bars_table


@dataclass(frozen=True)
class Story:
    """`late`: the ticks that came when their bar was closed. `rows`: every revision of the bars that they touch."""

    late: pd.DataFrame
    rows: pd.DataFrame


def of_late_ticks(day: Day, lateness_us: int, now_us: int = 0) -> Story:
    """The 1-minute bars of a day as they were closed, and as reconciling amends them for the ticks that came later.

    A bar closes when event time has passed its end by `lateness_us`; `now_us` is when reconciling looks.
    """
    interval = INTERVALS["1m"]
    received_us = pd.Series([tick.received_us for tick in ticks_of(day.ticks)], index=day.ticks.index)
    end_us = day.ticks["event_us"] // interval.us * interval.us + interval.us
    is_late = (received_us - end_us > lateness_us).to_numpy()
    closed = _rows(day, day.ticks[~is_late], interval)
    whole = _rows(day, day.ticks, interval)
    late = day.ticks[is_late].assign(
        minute_us=end_us[is_late] - interval.us, late_us=(received_us - day.ticks["event_us"])[is_late]
    )
    due = {key_of(row): Due(*key_of(row), 1, False, False, "differs") for row in whole}
    pairs = differing({key_of(row): row for row in whole}, {key_of(row): row for row in closed}, due, day.ruleset.id)
    causes = [
        Causes(late.loc[late["minute_us"] == key_of(new)[2], "late_us"].tolist(), 0, False, False) for new, _ in pairs
    ]
    amended = amendments(pairs, causes, due, now_us)
    rows = [row for each in amended for row in (each.held, each.bar) if row is not None]
    return Story(late.drop(columns="minute_us"), _frame(rows))


def rolled_up(bars: list[Bar], interval: Interval) -> list[dict[str, object]]:
    """Longer bars added up from 1-minute bars in exact decimals: symbol, start (microseconds), the five fields,
    notional, trade_count. Open and close skip minutes without a price."""
    groups: dict[tuple[str, int], list[Bar]] = {}
    for bar in bars:
        if bar.interval == "1m":
            groups.setdefault((bar.symbol, interval.start_of(bar.start)), []).append(bar)
    return [_sum(symbol, start, members) for (symbol, start), members in sorted(groups.items())]


def equal(bar: Bar, row: dict[str, object]) -> bool:
    """Whether a bar has exactly these fields, decimals compared as they are."""
    return all(getattr(bar, field) == value for field, value in row.items())


def _sum(symbol: str, start: int, members: list[Bar]) -> dict[str, object]:
    ordered = sorted(members, key=lambda bar: bar.start)
    highs, lows = (
        [getattr(bar, name) for bar in ordered if getattr(bar, name) is not None] for name in ("high", "low")
    )
    return {
        "symbol": symbol,
        "start": start,
        "open": next((bar.open for bar in ordered if bar.open is not None), None),
        "high": max(highs, default=None),
        "low": min(lows, default=None),
        "close": next((bar.close for bar in reversed(ordered) if bar.close is not None), None),
        "volume": sum(bar.volume for bar in ordered),
        "notional": sum(bar.notional for bar in ordered),
        "trade_count": sum(bar.trade_count for bar in ordered),
    }


def _rows(day: Day, ticks: pd.DataFrame, interval: Interval) -> list[Row]:
    bars = fold_bars([(tick, None, None) for tick in ticks_of(ticks)], [interval], day.ruleset)
    return bars_table(bars).to_pylist()


def _frame(rows: list[Row]) -> pd.DataFrame:
    names = ["symbol", "start", "rev", "state", "reason", "open", "high", "low", "close", "volume", "trade_count"]
    frame = pd.DataFrame(rows, columns=names)
    amounts = ["open", "high", "low", "close", "volume"]
    frame[amounts] = frame[amounts].astype(float)
    return frame
