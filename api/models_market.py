"""The answers on the market as a whole, on sessions, and on how the system fares, as published in OpenAPI."""

from typing import Annotated, Literal

from pydantic import Field

from api.models import Amount, Answer, Time

Day = Annotated[str, Field(description="date of a session", examples=["2024-05-01"])]
Percent = Annotated[str | float, Field(description="percent at four decimals", examples=["1.25"])]
Live = Literal["ok", "unavailable"]
Numeric = Literal["text", "float"]
NUMERIC = "as asked for"


class OverviewRow(Answer):
    """A symbol in its newest session. Null: not known, or no bar yet."""

    symbol: str = Field(examples=["BTC-USD"])
    source: Literal["live", "database"] = Field(
        description="`live`: with what Redis holds; `database`: stored bars only"
    )
    session: Day | None = Field(description="by the calendar of the settings; UTC days for 24/7")
    session_start: Time | None = Field(description="bars from here on count to the session")
    session_end: Time | None = Field(description="and from here on to the next one")
    until: Time | None = Field(description="bars that start from here on are not in the row; null without `apart`")
    price: Amount | None = Field(description="the last one")
    price_at: Time | None = Field(description="event time of the last trade")
    age_seconds: float | None = Field(description="since the last trade", examples=[0.4])
    stale: bool = Field(description="no trade for `stale_after` seconds, or none at all")
    prior_close: Amount | None = Field(description="the last close before the session")
    change: Amount | None = Field(description="price less prior close")
    change_percent: Percent | None
    open: Amount | None
    high: Amount | None
    low: Amount | None
    volume: Amount
    notional: Amount
    vwap: Amount | None
    trade_count: int = Field(examples=[41_236])
    closes: list[Amount] = Field(description="of the newest `points` bars, oldest first; the last may be forming")


class OverviewAnswer(Answer):
    """Every symbol, or those asked for."""

    calendar: str = Field(examples=["24/7"])
    interval: Literal["1m", "5m"] = Field(description="of `closes`")
    numeric: Numeric
    sort: Literal["symbol", "change", "volume"]
    live: Live = Field(description="`unavailable`: Redis does not answer; stored bars only")
    truncated: bool = Field(description="there are more than `limit`")
    symbols: list[OverviewRow]


class PriceBucket(Answer):
    """What traded at bars whose VWAP lies in `[low, high)`; the last one holds `high` too."""

    low: Amount
    high: Amount
    volume: Amount
    trade_count: int


class TimeBucket(Answer):
    """What traded in `[start, end)`."""

    start: Time
    end: Time
    volume: Amount
    trade_count: int


class LargeBar(Answer):
    """A bar with much volume."""

    start: Time
    end: Time
    close: Amount | None
    vwap: Amount | None
    volume: Amount
    trade_count: int
    rev: int
    is_final: bool


class SessionFigures(Answer):
    """A session rolled up from its bars: exact, notional over volume for the VWAP."""

    day: Day
    start: Time = Field(description="bars from here on count to the session")
    end: Time = Field(description="and from here on to the next one")
    is_final: bool = Field(description="the session is over; a late trade may still amend it")
    rev: int = Field(description="the highest revision among its bars")
    bars: int
    open: Amount | None
    high: Amount | None
    low: Amount | None
    close: Amount | None
    volume: Amount
    notional: Amount
    vwap: Amount | None
    trade_count: int
    range: Amount | None = Field(description="high less low")
    prior_close: Amount | None = Field(description="the last close before the session")
    change: Amount | None = Field(description="close less prior close")
    change_percent: Percent | None
    realised_volatility: float | None = Field(
        description="root of the summed squares of the log returns between the bars' closes; not annualised",
        examples=[0.0213],
    )
    revisions: int = Field(description="bars that were amended")


class IntradayAnswer(SessionFigures):
    """One session of one symbol."""

    symbol: str
    calendar: str
    interval: str
    numeric: Numeric
    tail: Live = Field(description="`unavailable`: bars still forming could not be read")
    forming: int = Field(description="bars that are not final yet")
    range_percent: Percent | None = Field(description="range in percent of the low")
    volume_profile: list[PriceBucket] = Field(description="by price, lowest first")
    volume_by_time: list[TimeBucket]
    largest_bars: list[LargeBar] = Field(description="most volume first")


class DailyAnswer(Answer):
    """Sessions of one symbol, from final bars."""

    symbol: str
    calendar: str
    interval: str = Field(description="of the bars that were added up")
    start: str | None
    end: str | None
    order: Literal["asc", "desc"]
    numeric: Numeric
    truncated: bool = Field(description="the range holds more than `limit` sessions")
    days: list[SessionFigures]


class Stage(Answer):
    """How long one stage took, in milliseconds; null where no bar had both stamps."""

    stage: str = Field(examples=["received_to_redis"])
    what: str = Field(description="from which stamp to which")
    count: int = Field(description="bars that it was taken from")
    p50_ms: float | None = Field(examples=[4.1])
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class LatencyAnswer(Answer):
    """Latencies by the stamps that bars carry. Clocks of venues and of this machine may differ."""

    from_: Time = Field(alias="from")
    to: Time
    live: Live = Field(description="`unavailable`: stages of forming bars could not be read")
    stages: list[Stage]


class Rate(Answer):
    """Per second, over so many whole minutes up to `to`."""

    minutes: int
    ticks: int = Field(description="trades that count in 1-minute bars")
    ticks_per_second: float
    bars: int = Field(description="final bars, of all intervals")
    bars_per_second: float


class ThroughputAnswer(Answer):
    """How much went through, by final bars: a minute counts when its bars are final."""

    to: Time = Field(description="end of the newest final minute, at most two minutes ago")
    windows: list[Rate]


class RedisCounters(Answer):
    """As Redis counts since it started. Null for what it does not tell."""

    version: str | None
    uptime_seconds: int | None
    clients: int | None
    used_memory_bytes: int | None
    max_memory_bytes: int | None = Field(description="0: no limit")
    hits: int | None
    misses: int | None
    hit_ratio: float | None = Field(description="hits of hits and misses; null before the first read")
    evicted_keys: int | None
    expired_keys: int | None
    operations_per_second: int | None
    channels: int | None = Field(description="that somebody listens to")


class CacheAnswer(Answer):
    """The caches between a reader and the database."""

    redis: RedisCounters
    responses: dict[str, float] | None = Field(
        description="rendered answers on closed ranges, in this worker; null where it keeps none"
    )


class PartitionOffsets(Answer):
    partition: int
    first: int = Field(description="the oldest record that is kept")
    end: int = Field(description="of the next record")


class TopicOffsets(Answer):
    topic: str
    partitions: list[PartitionOffsets]
    records: int = Field(description="end less first, over all partitions; compaction may have taken some of them")
    newest: Time | None = Field(description="stamp of the newest record; null: none yet, or the broker did not tell")


class ReaderLag(Answer):
    """How far a reader is behind. Null where it has not said yet how far it is."""

    reader: str = Field(examples=["relay"])
    topic: str
    lag: int | None = Field(description="records it has not finished")
    partitions: dict[str, int] = Field(description="lag by partition")
    source: Literal["group", "checkpoint"] = Field(
        description="`group`: committed to Kafka; `checkpoint`: of the last finished batch, as this machine's files say"
    )
    as_of: Time | None = Field(
        description="when a checkpoint was written; of a group, since when this worker sees these offsets"
    )


class KafkaAnswer(Answer):
    """Topics and who reads them."""

    at: Time = Field(description="when the offsets were read")
    topics: list[TopicOffsets]
    readers: list[ReaderLag]
