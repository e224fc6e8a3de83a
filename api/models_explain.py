"""The answer on how one bar was made, as published in OpenAPI."""

from typing import Any, Literal

from pydantic import Field

from api.models import Amount, Answer, RevisionModel, TickModel, Time

Outcome = Literal["counted", "excluded", "duplicate", "cancelled", "correction", "cancel"]
LogState = Literal["complete", "gone", "partial", "behind"]
FieldGroup = Literal["open_close", "high_low", "volume"]
MadeField = Literal["open", "close", "high", "low", "volume"]


class RecomputedBar(Answer):
    """The bar that the tick log gives by the rules of the stored one."""

    start: Time
    end: Time
    open: Amount | None
    high: Amount | None
    low: Amount | None
    close: Amount | None
    volume: Amount
    notional: Amount
    vwap: Amount | None
    trade_count: int
    open_at: Time | None
    close_at: Time | None
    first_trade_id: str | None
    last_trade_id: str | None
    kafka_partition: int | None
    first_offset: int | None
    last_offset: int | None
    ruleset: str = Field(examples=["us-equity@2"])
    received_at: Time | None


class FieldDifference(Answer):
    """One field in which the stored bar is not what the log gives."""

    stored: Any = Field(examples=["64012"])
    recomputed: Any = Field(examples=["64013"])


class RecordRef(Answer):
    """Where a record stands in the topic `ticks`, and when it happened."""

    kafka_partition: int | None
    kafka_offset: int | None
    event_at: Time
    received_at: Time


class ExplainedTick(TickModel):
    """A record of the log, as it came, and what it was in this bar."""

    outcome: Outcome = Field(
        description="`counted`; `excluded`: its conditions keep it out of every field; `duplicate` of another record;"
        " `cancelled`; `correction` and `cancel` are records about a trade of this bar"
    )
    may_touch: list[FieldGroup] = Field(
        description="what the ruleset lets it touch", examples=[["open_close", "volume"]]
    )
    made: list[MadeField] = Field(
        description="fields of the bar that this very trade gave", examples=[["high", "volume"]]
    )
    because: str | None = Field(description="why it did not count, in words", examples=[None])
    by: RecordRef | None = Field(description="the record that took it away: the first copy, or the cancel")
    corrected_by: RecordRef | None = Field(description="the correction that holds")
    counted_price: Amount | None = Field(description="as it counted, after corrections; null where it did not")
    counted_size: Amount | None


class OffsetRange(Answer):
    """The records of one partition."""

    kafka_partition: int | None
    first_offset: int | None
    last_offset: int | None
    records: int = Field(examples=[87])


class Hashes(Answer):
    """SHA-256 of canonical text (docs/verify.md): equal hashes are equal to the last digit."""

    ticks: str | None = Field(description="of the trades that the bar is made of, by time", examples=["9f2c"])
    stored: str = Field(description="of the stored bar", examples=["51ab"])
    recomputed: str | None = Field(description="of the recomputed one", examples=["51ab"])


class CodeVersion(Answer):
    """The code that recomputed the bar."""

    version: str = Field(examples=["0.1.0"])
    definition: str = Field(description="of the files that define bars", examples=["3fa90c12d4e7"])


class ExplainAnswer(Answer):
    """One bar, recomputed from the tick log."""

    symbol: str
    interval: str
    start: Time
    end: Time
    numeric: Literal["text", "float"]
    equal: bool | None = Field(description="null where the log does not hold the whole bar", examples=[True])
    difference: dict[str, FieldDifference] | None = Field(
        description="field by field; empty when equal, null where the log does not hold the whole bar", examples=[{}]
    )
    log_complete: bool = Field(description="whether the log still holds, and already has, what the bar was made of")
    log: LogState = Field(
        description="`gone`: nothing of that time is kept; `partial`: fewer trades than the bar was made of;"
        " `behind`: the newest ones are not in the log yet"
    )
    log_note: str | None = Field(description="the same in words; null when complete", examples=[None])
    ruleset: str = Field(description="the rules by which it was recomputed", examples=["us-equity@2"])
    code: CodeVersion
    hashes: Hashes
    stored: RevisionModel = Field(description="the newest revision")
    revisions: list[RevisionModel] = Field(description="all of them, oldest first")
    recomputed: RecomputedBar | None
    offsets: list[OffsetRange] = Field(description="of the trades that counted, by partition")
    outcomes: dict[Outcome, int] = Field(description="how many records of each kind", examples=[{"counted": 87}])
    skip: int = Field(examples=[0])
    truncated: bool = Field(description="there are more records than are shown from `skip` on")
    ticks: list[ExplainedTick] = Field(description="by event time and seq; corrections and cancels at the end")
