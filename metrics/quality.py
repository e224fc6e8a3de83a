"""What was refused, and how right the bars are."""

from collections.abc import Sequence

from prometheus_client import Counter

from metrics.latency import LONG_BUCKETS, Latencies
from metrics.pulled import Pulled, Row

DEAD = Counter("tickstream_dead_letters", "Records sent to `ticks.dead`", ["stage", "reason"])
"""`stage` is producer or archive, `reason` one of `core.validate.REASONS`."""

RUNS = Counter("tickstream_reconcile_runs", "Runs of reconciling, by how they ended", ["outcome"])
RUN_SECONDS = Latencies("tickstream_reconcile_seconds", "Time of a run of reconciling", "outcome", ("done", "failed"),
                        bounds=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0))  # fmt: skip
CHECKED = Counter("tickstream_reconcile_checked_bars", "Bars held against the tick log")
AMENDED = Counter("tickstream_reconcile_amended_bars", "Bars amended, each a new revision", ["reason"])
BEHIND = Counter("tickstream_reconcile_behind_bars", "Bars left for later: the tick log lacks ticks of theirs")
LATENESS = Latencies("tickstream_late_tick_seconds", "How late the ticks came that were put into closed bars", "path",
                     ("reconcile",), bounds=LONG_BUCKETS)  # fmt: skip

MATCH = Pulled(
    "reconcile",
    {
        "match_ratio": "Share of the newest day's checked bars that were right as they were first made",
        "day_timestamp_seconds": "Begin of that day",
    },
)
SYMBOL_MATCH = Pulled(
    "reconcile", {"symbol_match_ratio": "The same of one symbol; the worst TICKSTREAM_METRICS_SYMBOLS"}, ["symbol"]
)


class _NewestDay:
    """The last counts of reconciling."""

    def __init__(self) -> None:
        self.begin = 0.0
        self.counts: Sequence[tuple[str, int, int]] = ()
        self.most = 0

    def total(self) -> list[Row]:
        checked = sum(count for _, count, _ in self.counts)
        if not checked:
            return []
        ratio = sum(matched for _, _, matched in self.counts) / checked
        return [((), {"match_ratio": ratio, "day_timestamp_seconds": self.begin})]

    def by_symbol(self) -> list[Row]:
        ratios = sorted((matched / checked, symbol) for symbol, checked, matched in self.counts if checked)
        return [([symbol], {"symbol_match_ratio": ratio}) for ratio, symbol in ratios[: self.most]]


_newest = _NewestDay()
MATCH.watch(_newest.total)
SYMBOL_MATCH.watch(_newest.by_symbol)


def set_match(begin: float, counts: Sequence[tuple[str, int, int]], most: int) -> None:
    """Show the newest day: its begin in epoch seconds, and of each symbol the bars checked and those that matched.

    `most` symbols at most get a series of their own.
    """
    _newest.begin, _newest.counts, _newest.most = begin, counts, most
