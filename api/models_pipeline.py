"""The answers on the queries, the stores they write to and what they refuse, as published in OpenAPI."""

from typing import Literal

from pydantic import Field

from api.models import Answer, Time


class QueryState(Answer):
    """How one query fares, inferred from offsets, checkpoints and rows."""

    query: str = Field(examples=["final"])
    what: str
    state: Literal["running", "idle", "behind", "stalled", "unknown"] = Field(
        description="`idle`: nothing to do; `behind`: records wait for longer than allowed; `stalled`: and nothing"
        " moves; `unknown`: it cannot be seen from here"
    )
    because: str = Field(description="what was seen", examples=["nothing waits for more than 10 s"])
    as_of: Time | None = Field(description="of when that is: a checkpoint, a row, a count")
    lag: int | None = Field(description="records it has not finished; of `live` null: its checkpoints say little")
    overdue: int | None = Field(description="those of them that are older than `allowed_seconds`")
    allowed_seconds: float = Field(description="how long it may take for a record")
    batch: int | None = Field(description="its last finished micro-batch")
    watermark: Time | None = Field(description="event time that `final` takes nothing older than")
    watermark_lag_seconds: float | None = Field(description="now less the watermark", examples=[11.2])
    watermark_allowed_seconds: float | None = Field(description="more than that, while ticks come, is behind")


class QueriesAnswer(Answer):
    """Every query in the order of the way that a tick takes."""

    at: Time
    queries: list[QueryState]


class StoreProbe(Answer):
    """Whether a store answers."""

    state: Literal["ok", "unavailable", "off"] = Field(description="`off`: it is not configured")
    latency_ms: float | None = Field(description="how long it took to answer")
    error: str | None


class StoresAnswer(Answer):
    """All that the pipeline writes to: `timescale`, `redis`, `kafka`, `influx`."""

    at: Time
    stores: dict[str, StoreProbe]


class DeadLetterModel(Answer):
    """A record that was refused."""

    at: Time = Field(description="when it was refused")
    reason: str = Field(examples=["price"])
    detail: str
    stage: str = Field(description="who refused it", examples=["archive"])
    symbol: str = Field(description="the record's key")
    payload: str = Field(description="its beginning, as text")


class DeadLettersAnswer(Answer):
    """The tail of `ticks.dead`."""

    at: Time
    records: int = Field(description="that the topic holds")
    minutes: int
    recent: int = Field(description="those of the last so many minutes")
    reasons: dict[str, int] = Field(description="how many of the newest (at most 100) by reason, most frequent first")
    letters: list[DeadLetterModel] = Field(description="newest first")


class GapCounts(Answer):
    """Gaps that feeds noticed, by what became of them."""

    at: Time
    hours: int
    open: int = Field(description="of any age: not filled yet")
    filled: int = Field(description="noticed in the last so many hours, and filled")
    lost: int = Field(description="noticed in the last so many hours; the provider cannot give them any more")
    ticks_filled: int = Field(description="ticks that came later, of gaps of the last so many hours")
    newest: Time | None = Field(description="when the newest gap was noticed")


class JobRunModel(Answer):
    """One run of a scheduled job."""

    due: Time = Field(description="when the schedule wanted it; of a run by hand, when it was asked for")
    began: Time
    ended: Time | None
    seconds: float | None = Field(description="how long it took; of one that runs, so far; null: nobody knows")
    state: Literal["running", "done", "failed", "lost"] = Field(description="`lost`: whoever ran it died")
    exit_code: int | None
    detail: str = Field(description="the last line that it wrote", examples=["wrote 3 files"])


class JobState(Answer):
    """A job of the scheduler."""

    job: str = Field(examples=["backup"])
    what: str = Field(examples=["a backup, older ones removed"])
    cron: str | None = Field(description="null: it is in no schedule, and runs by hand alone", examples=["0 3 * * *"])
    next: Time | None = Field(description="when it is due next")
    state: Literal["never", "running", "done", "failed", "lost"] = Field(description="how its newest run stands")
    overdue: bool = Field(description="it was due, and nothing ran: see whether the scheduler does")
    runs: list[JobRunModel] = Field(description="newest first")


class JobsAnswer(Answer):
    """The jobs of the scheduler, as this server's settings plan them."""

    at: Time
    time_zone: str = Field(description="that the cron forms are of", examples=["America/New_York"])
    problem: str | None = Field(description="why the schedule in the settings cannot be read; null: it can")
    jobs: list[JobState] = Field(description="all that there are, by name")
