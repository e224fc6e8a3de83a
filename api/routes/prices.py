"""`/api/v1/prices`: latest prices, as polled or as the pipeline has them, and the jobs that poll them."""

from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.errors import UnknownJob
from api.models import PROBLEMS, REFUSED, PollAccepted, PollJob, PollJobs, PriceAnswer
from api.params import DEFAULT_LIMIT, MAX_LIMIT, Configured, History, Live, Now, Polled, Polling
from api.polling import PollRequest, PriceQuery, check_possible, check_quota
from api.pricing import read_price
from api.render import Json, row_json, time_text
from core.intervals import SECOND_US
from stores.polling import PollingJob

router = APIRouter(prefix="/api/v1/prices", tags=["prices"])
JOBS = "/api/v1/prices/poll"
NO_JOB: dict[int | str, dict[str, Any]] = PROBLEMS | {404: PROBLEMS[404] | {"description": "There is no such job"}}
NO_PRICE: dict[int | str, dict[str, Any]] = PROBLEMS | {404: PROBLEMS[404] | {"description": "No price is known"}}
LOCATION: dict[int | str, dict[str, Any]] = {
    202: {"headers": {"Location": {"description": "of the job", "schema": {"type": "string"}}}}
}


class JobsQuery(BaseModel):
    """How many jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="how many jobs at most")


@router.post("/poll", status_code=202, response_model=PollAccepted, responses=REFUSED | LOCATION)
async def create(request: PollRequest, settings: Configured, jobs: Polling) -> Json:
    """Poll the latest prices of symbols from now on, until the job is deleted.

    The provider's quota is shared by all its jobs: one that would not fit is refused with the least interval that
    does. New prices go into the pipeline as ticks; the last ones are at `/api/v1/prices/latest`.
    """
    provider = check_possible(request, settings)
    fits = partial(check_quota, request, provider)
    job = await jobs.create(provider.name, request.symbols, request.interval, fits)
    answer = {"job_id": str(job.id), "status": "accepted", "config": _config(job), "links": _links(job)}
    return Json(answer, status_code=202, headers={"Location": f"{JOBS}/{job.id}"})


@router.get("/poll", response_model=PollJobs, responses=REFUSED)
async def listed(query: Annotated[JobsQuery, Query()], jobs: Polling) -> Json:
    """The newest jobs, newest first."""
    found = await jobs.newest(query.limit + 1)
    shown = [_job(job) for job in found[: query.limit]]
    return Json({"truncated": len(found) > len(shown), "jobs": shown})


@router.get("/poll/{job_id}", response_model=PollJob, responses=NO_JOB)
async def one(job_id: UUID, jobs: Polling) -> Json:
    """A job and how it fares."""
    job = await jobs.get(job_id)
    if job is None:
        raise UnknownJob(job_id)
    return Json(_job(job))


@router.delete("/poll/{job_id}", status_code=204, responses=NO_JOB)
async def delete(job_id: UUID, jobs: Polling) -> Response:
    """End a job. A poll under way may still bring a price."""
    if not await jobs.delete(job_id):
        raise UnknownJob(job_id)
    return Response(status_code=204)


@router.get("/latest", response_model=PriceAnswer, responses=NO_PRICE)
async def latest(
    query: Annotated[PriceQuery, Query()], prices: Polled, jobs: Polling, history: History, live: Live, clock: Now
) -> Json:
    """The latest price of a symbol.

    With `provider`, what its polling jobs brought last, from Redis; no provider is asked for this request. Without,
    the pipeline's own live price, then the newest of the polled ones, then that of the newest stored bar.
    """
    row, source, provider = await read_price(query.symbol, query.provider, prices, jobs, history, live)
    answer = {"symbol": query.symbol, "provider": provider, "source": source, "numeric": query.numeric}
    shown = row_json({name: row[name] for name in ("price", "event_us")}, query.numeric)
    more = {
        "event_ms": row["event_us"] // 1000,
        "age_seconds": max(0, clock.now_us() - row["event_us"]) / SECOND_US,
        "polled_at": time_text(row.get("polled_us")),
    }
    return Json(answer | shown | more)


def _config(job: PollingJob) -> dict[str, Any]:
    return {"symbols": job.symbols, "interval": job.interval_seconds, "provider": job.provider}


def _links(job: PollingJob) -> dict[str, Any]:
    def price(symbol: str) -> str:
        return f"/api/v1/prices/latest?{urlencode({'symbol': symbol, 'provider': job.provider})}"

    return {"self": f"{JOBS}/{job.id}", "latest": {symbol: price(symbol) for symbol in job.symbols}}


def _job(job: PollingJob) -> dict[str, Any]:
    return {
        "job_id": str(job.id),
        "state": job.state,
        "detail": job.detail,
        "config": _config(job),
        "polls": job.polls,
        "ticks": job.ticks,
        "created_at": time_text(job.created_us),
        "last_at": time_text(job.last_us),
        "next_at": time_text(job.next_us) if job.state == "active" else None,
        "links": _links(job),
    }
