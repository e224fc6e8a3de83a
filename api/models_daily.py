"""Daily bars as published in OpenAPI."""

from typing import Literal

from pydantic import Field

from api.models import Amount, Answer, NextCursor, PreviousCursor, Time
from api.models_market import Day


class DailyBarModel(Answer):
    """The bar of one session. What a source does not say is null."""

    day: Day
    start: Time = Field(description="midnight UTC of the day: a label, not a time of trading")
    end: Time = Field(description="midnight UTC of the next day")
    open: Amount | None
    high: Amount | None
    low: Amount | None
    close: Amount | None
    volume: Amount | None
    notional: Amount | None = Field(description="sum of price times size, as it was paid: never adjusted")
    vwap: Amount | None
    trade_count: int | None
    open_at: Time | None = Field(description="event time of the opening trade")
    close_at: Time | None = Field(description="event time of the closing trade")
    rev: int = Field(description="0 while it forms; then 1, and one more for each change of it or of a bar in it")
    state: Literal["forming", "final", "amended"]
    is_final: bool = Field(description="true for final and amended bars")
    source: str = Field(description="`intraday`: rolled up from our own bars; else who published it")
    price_factor: float = Field(description="what raw prices were multiplied by", examples=[1.0])
    volume_factor: float = Field(description="what the raw volume was multiplied by", examples=[1.0])


class DailyBarsAnswer(Answer):
    """Daily bars of one symbol, with the request as it was understood."""

    symbol: str
    interval: Literal["1d"]
    start: Time | None
    end: Time | None
    order: Literal["asc", "desc"]
    session: Literal["all", "rth"]
    adjustment: Literal["raw", "split", "all"]
    as_of: Time | None = Field(description="when bars and corporate actions were known so; null: now")
    numeric: Literal["text", "float"]
    calendar: str = Field(description="whose sessions intraday bars are rolled up to")
    tail: Literal["ok", "unavailable"] = Field(description="`unavailable`: what is still forming could not be read")
    truncated: bool = Field(description="there are more than `limit` bars from here on")
    next: NextCursor
    previous: PreviousCursor
    bars: list[DailyBarModel]
