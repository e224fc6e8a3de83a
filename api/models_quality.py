"""The answers on how right the bars are, as published in OpenAPI."""

from typing import Literal

from pydantic import Field

from api.models import Amount, Answer, Time

GapState = Literal["open", "filled", "lost"]


class QualityDay(Answer):
    """A UTC day of a symbol, over all intervals."""

    day: str = Field(description="UTC", examples=["2024-05-01"])
    checked: int = Field(description="closed bars held against the tick log", examples=[432])
    matched: int = Field(description="those that were right as they were first made", examples=[431])
    amended: int = Field(description="those that were not", examples=[1])
    match_ratio: float | None = Field(description="matched / checked; null where nothing was checked", examples=[0.998])
    at: Time = Field(description="of the last check")


class QualityAnswer(Answer):
    """How right a symbol's bars were when they first became final."""

    symbol: str
    days: list[QualityDay] = Field(description="oldest first")


class SymbolDay(QualityDay):
    """A UTC day of one symbol among others."""

    symbol: str


class DayTotal(QualityDay):
    """A UTC day over all symbols."""

    symbols: int = Field(description="symbols that were checked", examples=[20])


class QualityDaysAnswer(Answer):
    """How right the bars of all symbols were, by day."""

    first: str = Field(description="UTC day", examples=["2024-04-18"])
    last: str = Field(description="UTC day", examples=["2024-05-01"])
    totals: list[DayTotal] = Field(description="oldest first; of all symbols, whatever `limit` says")
    days: list[SymbolDay] = Field(description="newest day first, then by symbol")
    truncated: bool = Field(description="there are more than `limit`")


class BarValues(Answer):
    """What a bar says; null where no trade was allowed to touch a price."""

    open: Amount | None
    high: Amount | None
    low: Amount | None
    close: Amount | None
    volume: Amount
    notional: Amount
    vwap: Amount | None
    trade_count: int


class Amendment(Answer):
    """A bar that was amended: its newest revision, and the one before."""

    symbol: str
    interval: str
    start: Time
    rev: int = Field(examples=[2])
    reason: str | None = Field(description="late, gap-fill, correction, cancel, rule-change", examples=["late"])
    known_at: Time
    was: BarValues | None = Field(description="the revision before; null: there was no such bar")
    now: BarValues


class AmendmentsAnswer(Answer):
    """Bars that were amended, of one symbol or of all."""

    since: Time
    symbol: str | None
    numeric: Literal["text", "float"]
    reasons: dict[str, int] = Field(
        description="how many bars by reason, whatever `limit` says", examples=[{"late": 2, "cancel": 1}]
    )
    truncated: bool = Field(description="there are more than `limit`")
    amendments: list[Amendment] = Field(description="the last one first")


class Gap(Answer):
    """Ticks of a symbol that a feed did not bring, between the last one before and the first one after."""

    symbol: str
    source: str = Field(examples=["coinbase"])
    cause: str = Field(description="ids, silence, disconnect, switch", examples=["disconnect"])
    start: Time = Field(description="event time of the last tick before")
    end: Time = Field(description="event time of the first tick after")
    seconds: float = Field(description="end less start", examples=[12.5])
    missing: int | None = Field(description="trade ids that did not come, where ids are counted", examples=[41])
    state: GapState = Field(description="`lost`: the provider cannot give it any more")
    filled: int = Field(description="ticks that came later")
    detail: str
    noticed_at: Time
    settled_at: Time | None


class GapsAnswer(Answer):
    """Gaps of feeds, of one symbol or of all."""

    since: Time | None = Field(description="gaps that end at that event time or later")
    symbol: str | None
    states: dict[GapState, int] = Field(
        description="how many by state, whatever `limit` says", examples=[{"open": 1, "filled": 4}]
    )
    truncated: bool = Field(description="there are more than `limit`")
    gaps: list[Gap] = Field(description="newest first")


class LateTicks(Answer):
    """The late ticks that one run of reconciling found."""

    at: Time
    ticks: int = Field(examples=[3])
    p50_us: int = Field(description="receipt after event time, microseconds", examples=[12_400_000])
    p90_us: int = Field(examples=[15_100_000])
    p99_us: int = Field(examples=[15_900_000])
    max_us: int = Field(examples=[16_000_000])


class LateTicksAnswer(Answer):
    """Runs that found ticks behind the watermark; those are in their bars by now."""

    runs: list[LateTicks] = Field(description="newest first")
