"""A recorded session as ticks at their effective time, and the parts of it that a schedule replays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from conf.settings import Settings
from core import rulesets
from core.clock import SystemClock
from core.errors import InputError
from core.intervals import DAY_US
from core.records import Tick
from core.rulesets import Ruleset
from producers.bulk import BODY_COLUMNS, refused
from producers.normalise import event_us, normalise, text_of
from producers.reading import TickFile, read_days

IDENTITY = ("symbol", "venue", "trade_id")
NUMBERED = ("symbol", "source", "event_us", "seq")


@dataclass(frozen=True)
class Recording:
    """`ticks` has the columns of `producers.normalise` by (event_us, seq), each trade once; `raw` are the frames as
    read, which the reference takes."""

    settings: Settings
    ruleset: Ruleset
    ticks: pd.DataFrame
    raw: list[pd.DataFrame]
    remarks: list[str] = field(default_factory=list)
    renumbered: bool = False
    """Whether `seq` is not the file's: then files cannot be read a second time as they are."""

    @property
    def window_us(self) -> int:
        """The longest interval: what starts and ends there has whole bars of every length."""
        return max(each.us for each in self.settings.bar_intervals)

    @property
    def lateness_us(self) -> int:
        return int(self.settings.lateness_seconds * 1_000_000)

    def whole(self) -> "Part":
        days = [str(pd.Timestamp(int(us), unit="us").date()) for us in self.ticks["event_us"].iloc[[0, -1]]]
        return Part(self, days[0] if days[0] == days[1] else "all", self.ticks)

    def parts(self, budget: int) -> list["Part"]:
        """The session cut into parts of at most so many ticks: days, symbols of a day, or stretches of one."""
        if len(self.ticks) <= budget:
            return [self.whole()]
        found: list[Part] = []
        for day, of_day in self.ticks.groupby(self.ticks["event_us"] // DAY_US, sort=True):
            name = str(pd.Timestamp(int(day) * DAY_US, unit="us").date())
            found += self._of_day(name, of_day, budget)
        return found

    def _of_day(self, name: str, ticks: pd.DataFrame, budget: int) -> list["Part"]:
        if len(ticks) <= budget:
            return [Part(self, name, ticks)]
        small, parts = [], []
        sizes = ticks["symbol"].value_counts()
        for symbol in sizes.index[::-1]:
            own = ticks[ticks["symbol"] == symbol]
            if len(own) > budget:
                parts += self._stretches(f"{name} {symbol}", own, budget)
            elif sum(map(len, small)) + len(own) <= budget:
                small.append(own)
            else:
                parts.append(self._joined(name, small))
                small = [own]
        return [*([self._joined(name, small)] if small else []), *parts]

    def _joined(self, name: str, ticks: Sequence[pd.DataFrame]) -> "Part":
        symbols = sorted(str(each["symbol"].iloc[0]) for each in ticks)
        told = ",".join(symbols) if len(symbols) < 4 else f"{len(symbols)} symbols"
        return Part(self, f"{name} {told}", pd.concat(ticks).sort_values(["event_us", "seq"]))

    def _stretches(self, name: str, ticks: pd.DataFrame, budget: int) -> list["Part"]:
        """Runs of whole windows; a single window may hold more than the budget."""
        windows = ticks["event_us"] // self.window_us
        counts = windows.value_counts().sort_index()
        groups = dict(zip(counts.index, np.maximum(0, np.cumsum(counts.to_numpy()) - 1) // budget, strict=True))
        return [Part(self, name, own) for _, own in ticks.groupby(windows.map(groups), sort=True)]


@dataclass(frozen=True)
class Part:
    """Ticks of some symbols over whole windows of the longest interval."""

    of: Recording
    name: str
    ticks: pd.DataFrame

    @property
    def label(self) -> str:
        """Its name and hours, UTC."""
        first, last = (pd.Timestamp(int(us), unit="us") for us in self.span)
        hours = f"{first:%H:%M}-{last:%H:%M}" if first.date() == last.date() else f"{first:%m-%d}..{last:%m-%d}"
        return f"{self.name} {hours}"

    @cached_property
    def span(self) -> tuple[int, int]:
        """Its first and last event time."""
        return int(self.ticks["event_us"].min()), int(self.ticks["event_us"].max())

    def holds(self, symbol: str, start_us: int) -> bool:
        """Whether a bar of that start is made of this part's ticks."""
        return self.window[0] <= start_us < self.window[1] and symbol in self.symbols

    @property
    def window(self) -> tuple[int, int]:
        """The half-open range of event time that its bars cover."""
        length = self.of.window_us
        return self.span[0] // length * length, self.span[1] // length * length + length

    @cached_property
    def symbols(self) -> frozenset[str]:
        return frozenset(self.ticks["symbol"].unique().tolist())


def load(
    files: Sequence[TickFile], settings: Settings, symbols: Sequence[str] | None = None, time_zone: str | None = None
) -> Recording:
    """Read recorded files. Raises InputError where nothing is left to replay, and for a tick log."""
    for file in files:
        if file.path.suffix == ".parquet" and "identity" in pq.read_schema(file.path).names:
            raise InputError(f"{file.path} is a tick log, whose trades were judged already: name files as recorded")
    ruleset = rulesets.load(settings.ruleset)
    zone = time_zone or (ruleset.session.time_zone if ruleset.session else "UTC")
    raw = [frame for _, frame in read_days(files, zone)]
    if symbols is not None:
        raw = [frame[frame["symbol"].isin(symbols)].reset_index(drop=True) for frame in raw]
    return recording_of([frame for frame in raw if len(frame)], settings)


def recording_of(raw: Sequence[pd.DataFrame], settings: Settings) -> Recording:
    """The session of frames as recorded, a whole trading day each, with `source`."""
    if not raw:
        raise InputError("no ticks of these symbols")
    ruleset, remarks = rulesets.load(settings.ruleset), []
    frames = [_numbered(frame) for frame in raw]
    renumbered = any(changed for _, changed in frames)
    if renumbered:
        remarks.append(
            "some trades share symbol, event time and seq, which leaves their order open: numbered in the files' order"
        )
    kept = []
    for frame, _ in frames:
        ticks = normalise(frame, ruleset)
        bad = list(refused(ticks, None, SystemClock(), 0))
        kept.append(ticks.drop(index=bad))
        if bad:
            remarks.append(f"{len(bad):,} rows are no ticks and were left out, as by every query")
    ticks = pd.concat(kept, ignore_index=True)
    named = ticks["trade_id"].notna()
    copies = (ticks.duplicated(list(IDENTITY)) & named) | (ticks.duplicated(list(NUMBERED)) & ~named)
    if copies.any():
        remarks.append(f"{int(copies.sum()):,} rows repeat a trade: the first counts")
        ticks = ticks[~copies]
    ticks = ticks.sort_values(["event_us", "seq"], kind="stable", ignore_index=True)
    if ticks.empty:
        raise InputError("none of the rows is a tick")
    return Recording(settings, ruleset, ticks, [frame for frame, _ in frames], remarks, renumbered)


def with_ids(recording: Recording) -> Recording:
    """The same with an id for every trade, so that corrections and cancels can name it."""
    raw, count = [], 0
    for frame in recording.raw:
        numbers = pd.Series([f"n{count + n}" for n in range(len(frame))], index=frame.index, dtype=object)
        given = pd.Series(text_of(frame, "trade_id"), index=frame.index)
        raw.append(frame.assign(trade_id=given.where(given.notna(), numbers)))
        count += len(frame)
    return recording_of(raw, recording.settings)


def ticks_of(frame: pd.DataFrame, received_us: np.ndarray | None = None) -> list[Tick]:
    """Rows of BODY_COLUMNS as ticks, received when they say or, without that, at their event time."""
    names = [name for name in BODY_COLUMNS if name in frame]
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in names}
    columns["received_us"] = (frame["event_us"].to_numpy() if received_us is None else received_us).tolist()
    return [Tick(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _numbered(frame: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """The frame with a `seq` that leaves no order open, and whether that had to change anything."""
    key = pd.DataFrame({"symbol": frame["symbol"], "event_us": event_us(frame["event_time"]), "seq": frame["seq"]})
    tied = key.duplicated(keep=False)
    # Without an id they are one trade, unless they come from different files.
    named = pd.DataFrame({**key, "id": text_of(frame, "trade_id"), "source": frame["source"]})
    if not tied.any() or not (tied & ~named.duplicated(keep=False)).any():
        return frame, False
    order = np.lexsort((np.arange(len(frame)), frame["source"].astype(str), frame["seq"], key["event_us"]))
    seq = np.empty(len(frame), np.int64)
    seq[order] = np.arange(len(frame))
    return frame.assign(seq=seq), True
