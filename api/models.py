"""The answers, as published in OpenAPI. Rendering goes through `api.render`; tests hold the two together."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[str | float, Field(description="exact decimal text, or a JSON number with `numeric=float`")]
Time = Annotated[str, Field(description="RFC 3339, UTC, microseconds", examples=["2024-05-01T13:30:00.000000Z"])]


class Answer(BaseModel):
    """What every answer shares: no field that is not named here."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """problem+json (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:tickstream:problem:unknown-symbol"])
    title: str
    status: int
    detail: str
    instance: str


NextCursor = Annotated[
    str | None, Field(description="`cursor` of the page that comes next in the order asked for; null where it ends")
]
PreviousCursor = Annotated[str | None, Field(description="`cursor` of the page before this one; null where none is")]


class BarModel(Answer):
    """One bar of `[start, end)`. Prices are null where no trade was allowed to touch them, or in a `fill=null` row."""

    start: Time
    end: Time
    open: Amount | None
    high: Amount | None
    low: Amount | None
    close: Amount | None
    volume: Amount
    notional: Amount = Field(description="sum of price times size")
    vwap: Amount | None = Field(description="notional / volume")
    trade_count: int
    open_at: Time | None = Field(description="event time of the opening trade")
    close_at: Time | None = Field(description="event time of the closing trade")
    first_trade_id: str | None
    last_trade_id: str | None
    kafka_partition: int | None
    first_offset: int | None
    last_offset: int | None
    rev: int = Field(description="revision: a higher one replaces a lower one; 0 in a synthetic row")
    state: Literal["forming", "final", "amended", "synthetic"]
    reason: str | None = Field(description="why the bar was amended")
    ruleset: str | None = Field(description="which sale conditions count, with version")
    received_at: Time | None
    processed_at: Time | None
    is_final: bool = Field(description="true for final and amended bars")
    synthetic: bool = Field(description="made up by `fill`: no trade happened")


class RevisionModel(BarModel):
    """One revision of a bar."""

    known_at: Time = Field(description="since when it was known")


class RevisionsAnswer(Answer):
    """What was ever final of one bar."""

    symbol: str
    interval: str
    start: Time
    numeric: Literal["text", "float"]
    revisions: list[RevisionModel] = Field(description="oldest first")


class BarsAnswer(Answer):
    """Bars of one symbol, with the request as it was understood."""

    symbol: str
    interval: str
    start: Time | None
    end: Time | None
    order: Literal["asc", "desc"]
    session: Literal["all", "pre", "rth", "post"]
    fill: Literal["none", "null", "prev"]
    as_of: Time | None = Field(description="when the bars were known so; null: now")
    numeric: Literal["text", "float"]
    tail: Literal["ok", "unavailable"] = Field(description="`unavailable`: bars still forming could not be read")
    truncated: bool = Field(description="there are more than `limit` bars from here on")
    next: NextCursor
    previous: PreviousCursor
    bars: list[BarModel]


class IndicatorRow(Answer):
    """The values at one bar, by column; null until ready."""

    start: Time
    end: Time
    is_final: bool
    rev: int
    source: Literal["stored", "live", "computed"] = Field(
        description="`stored`: kept with the final bar; `live`: published with the bar, which a tick may still change;"
        " `computed`: for this request, from the bar and those before it"
    )
    ready: bool = Field(
        description="every indicator asked for has had enough bars for a value; of `live` values, and of a part of the"
        " stored set that as a whole is not ready: none of them is null"
    )
    stable: bool = Field(
        description="and so many that what came before them weighs less than 1e-9; of `stored` and `live` values it is"
        " the whole stored set that must be so, unless only windows were asked for, which are when they are ready"
    )
    values: dict[str, float | None]


class IndicatorsAnswer(Answer):
    """Indicators of one symbol's bars, with the request as it was understood."""

    symbol: str
    interval: str
    start: Time | None
    end: Time | None
    order: Literal["asc", "desc"]
    indicators: list[str] = Field(description="with all parameters")
    tail: Literal["ok", "unavailable"] = Field(description="`unavailable`: bars still forming could not be read")
    truncated: bool = Field(description="there are more than `limit` bars from here on")
    next: NextCursor
    previous: PreviousCursor
    rows: list[IndicatorRow]


class TickModel(Answer):
    """One accepted tick; `event_at` places it in its bar, `reported_at` is the venue's stamp where they differ."""

    event_at: Time
    seq: int
    price: Amount | None
    size: Amount | None
    trade_id: str | None
    source: str
    venue: str | None
    conditions: str | None
    kind: Literal["trade", "correct", "cancel", "heartbeat"]
    reported_at: Time | None
    received_at: Time
    kafka_partition: int | None
    kafka_offset: int | None


class TicksAnswer(Answer):
    """Ticks of one symbol, with the request as it was understood."""

    symbol: str
    start: Time | None
    end: Time | None
    order: Literal["asc", "desc"]
    session: Literal["all", "pre", "rth", "post"]
    numeric: Literal["text", "float"]
    truncated: bool = Field(description="there are more than `limit` ticks from here on")
    next: NextCursor
    previous: PreviousCursor
    ticks: list[TickModel]


class LatestAnswer(Answer):
    """The newest price of a symbol, and the 1-minute bar that it belongs to."""

    symbol: str
    source: Literal["live", "database"]
    numeric: Literal["text", "float"]
    price: Amount
    event_at: Time = Field(description="event time of the trade that set the price")
    received_at: Time | None
    start: Time = Field(description="start of the 1-minute bar")
    volume: Amount | None = Field(description="of the 1-minute bar so far")
    rev: int = Field(description="revision of the bar; 0 while it is forming")
    is_final: bool


class PriceAnswer(Answer):
    """The latest price of a symbol: as polled from a provider, or as the pipeline has it."""

    symbol: str
    provider: str | None = Field(description="who was polled; null where the price is the pipeline's own")
    source: Literal["poll", "live", "database"] = Field(
        description="`poll`: a polling job's; `live`: the pipeline's, from Redis; `database`: the newest stored bar's"
    )
    numeric: Literal["text", "float"]
    price: Amount
    event_at: Time = Field(description="event time of the trade that set the price")
    event_ms: int = Field(description="the same as epoch milliseconds", examples=[1714570200000])
    age_seconds: float = Field(description="since the event")
    polled_at: Time | None = Field(description="when the provider last said so; null where it was not polled")


class PollConfig(Answer):
    """A job as it was understood."""

    symbols: list[str] = Field(examples=[["BTC-USD", "ETH-USD"]])
    interval: float = Field(description="seconds", examples=[60.0])
    provider: str = Field(examples=["coinbase"])


class PollLinks(Answer):
    """`self` is the job; `latest` the price of each of its symbols."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    own: str = Field(alias="self", examples=["/api/v1/prices/poll/0b8d7d5e-9a52-4d0e-a2f9-3ff6c1f2a7f1"])
    latest: dict[str, str] = Field(examples=[{"BTC-USD": "/api/v1/prices/latest?symbol=BTC-USD&provider=coinbase"}])


class PollAccepted(Answer):
    """A new job, which a worker takes up within about a second."""

    job_id: str = Field(examples=["0b8d7d5e-9a52-4d0e-a2f9-3ff6c1f2a7f1"])
    status: Literal["accepted"]
    config: PollConfig
    links: PollLinks


class PollJob(Answer):
    """A polling job and how it fares."""

    job_id: str = Field(examples=["0b8d7d5e-9a52-4d0e-a2f9-3ff6c1f2a7f1"])
    state: Literal["active", "failed"] = Field(
        description="`failed`: the provider refused it, and it is asked no more; delete it and make another"
    )
    detail: str = Field(description="what was wrong with the last poll; empty for nothing", examples=[""])
    config: PollConfig
    polls: int = Field(description="polls so far, failed ones too", examples=[12])
    ticks: int = Field(description="new prices that were published to the pipeline", examples=[9])
    created_at: Time
    last_at: Time | None = Field(description="the last poll; null before the first")
    next_at: Time | None = Field(description="the next poll, or while one runs when it counts as lost; null if failed")
    links: PollLinks


class PollJobs(Answer):
    """The newest jobs, newest first."""

    truncated: bool = Field(description="there are more than `limit`")
    jobs: list[PollJob]


class SymbolModel(Answer):
    symbol: str
    first_seen: Time | None = Field(description="event time of the first trade; null while only seen live")
    last_seen: Time | None


class SymbolsAnswer(Answer):
    live: Literal["ok", "unavailable"] = Field(description="`unavailable`: symbols only seen live could not be read")
    symbols: list[SymbolModel]


class StoreState(Answer):
    state: Literal["ok", "unavailable"]
    latency_ms: float | None = Field(description="how long the store took to answer")
    error: str | None


class Freshness(Answer):
    """How new the data is. Null where the database does not answer or is empty."""

    last_ingestion: Time | None = Field(description="newest receipt of an archived tick")
    last_ingestion_age_seconds: float | None
    last_event: Time | None = Field(description="newest event time of an archived tick")
    last_bar_end: Time | None
    counts: dict[str, int] | None = Field(description="rows per table")


class Health(Answer):
    """`ok`: all stores answer; `degraded`: some do not; `down`: none does."""

    status: Literal["ok", "degraded", "down"]
    live: bool
    ready: bool
    stores: dict[str, StoreState]
    freshness: Freshness


class Alive(Answer):
    status: Literal["ok"]


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text, "content": {"application/problem+json": {}}}
    for status, text in (
        (404, "No store has seen the symbol"),
        (422, "A parameter is wrong; `errors` names it and the limit that it broke"),
        (503, "A store does not answer; try again after `Retry-After` seconds"),
    )
}

REFUSED: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (422, 503)}
"""Of what needs no symbol."""
_LINKS = {
    "Link": {"description": "the pages `next` and `prev`, RFC 8288", "schema": {"type": "string"}},
    "X-Truncated": {"description": "there is more than `limit` from here on", "schema": {"type": "string"}},
    "X-Tail": {"description": "`unavailable`: bars still forming could not be read", "schema": {"type": "string"}},
}
_VALIDATOR = {"ETag": {"description": "of a closed range", "schema": {"type": "string"}}}
TABLES: dict[int | str, dict[str, Any]] = PROBLEMS | {
    200: {
        "description": "By `Accept` or `format`: JSON, the rows as CSV, or as an Arrow stream",
        "headers": _LINKS | _VALIDATOR,
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    304: {"description": "The client has it: `If-None-Match` is the validator of the range", "headers": _VALIDATOR},
    406: {
        "model": Problem,
        "description": "None of the media types of `Accept` can be had",
        "content": {"application/problem+json": {}},
    },
}
