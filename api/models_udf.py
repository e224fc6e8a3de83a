"""The answers of the UDF adapter: names and shapes are TradingView's."""

from typing import Literal

from pydantic import Field

from api.models import Answer


class UdfValue(Answer):
    value: str
    name: str
    desc: str = ""


class UdfType(Answer):
    value: str
    name: str


class UdfConfig(Answer):
    """What the datafeed can do."""

    supports_search: bool
    supports_group_request: bool
    supports_marks: bool
    supports_timescale_marks: bool
    supports_time: bool
    supported_resolutions: list[str] = Field(examples=[["1", "5", "15"]])
    exchanges: list[UdfValue]
    symbols_types: list[UdfType]


class UdfFound(Answer):
    """A symbol as a search shows it."""

    symbol: str = Field(examples=["BTC-USD"])
    full_name: str
    ticker: str
    description: str
    exchange: str = Field(description="the calendar", examples=["24/7"])
    type: str = Field(examples=["crypto"])


class UdfSymbol(UdfFound):
    """A symbol as a chart needs to know it."""

    name: str
    listed_exchange: str
    session: str = Field(description="usual hours, in the time zone", examples=["24x7", "0930-1600"])
    timezone: str = Field(examples=["Etc/UTC", "America/New_York"])
    format: Literal["price"]
    minmov: int
    pricescale: int = Field(description="a power of ten: as many decimals as the newest closes have", examples=[100])
    has_intraday: bool
    intraday_multipliers: list[str]
    supported_resolutions: list[str]
    has_daily: bool
    has_weekly_and_monthly: bool
    volume_precision: int
    data_status: Literal["streaming"]


class UdfBars(Answer):
    """Bars by column, ascending."""

    s: Literal["ok"]
    t: list[int] = Field(description="start, epoch seconds", examples=[[1714570200, 1714570260]])
    o: list[float] = Field(examples=[[64010.5, 64012.0]])
    h: list[float] = Field(examples=[[64020.0, 64013.5]])
    l: list[float] = Field(examples=[[64001.0, 63990.0]])  # noqa: E741
    c: list[float] = Field(examples=[[64012.0, 63991.5]])
    v: list[float] = Field(examples=[[12.5, 8.25]])


class UdfNoData(Answer):
    """No bar in the range."""

    s: Literal["no_data"]
    nextTime: int | None = Field(None, description="start of the newest bar before the range, epoch seconds")


class UdfError(Answer):
    s: Literal["error"]
    errmsg: str
