"""`/health`, `/health/live` and `/health/ready`: for people, for process managers, for load balancers.

Monitors ask with HEAD as well: the same answer without its body.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.errors import unavailable
from api.models import PROBLEMS, Alive, Health
from api.params import History, Live, Now
from api.probes import PROBE_SECONDS, probe_all
from api.render import Json, time_text
from core.clock import Clock
from core.errors import ConfigError, Retryable, StoreUnavailable
from core.intervals import SECOND_US
from stores.timescale_reads import TimescaleReader

router = APIRouter(prefix="/health", tags=["health"])
NOT_READY: dict[int | str, dict[str, Any]] = {503: PROBLEMS[503]}


@router.head("/live", include_in_schema=False)
@router.get("/live", response_model=Alive)
async def live() -> Json:
    """The process is up; says nothing about the stores."""
    return Json({"status": "ok"})


@router.head("/ready", include_in_schema=False)
@router.get("/ready", response_model=Alive, responses=NOT_READY)
async def ready(request: Request, history: History, live: Live) -> Response:
    """200 when every store answers, or else 503 naming those that do not."""
    failing = [probe for probe in await probe_all(history, live) if not probe.ok]
    if not failing:
        return Json({"status": "ok"})
    error = Retryable("; ".join(str(probe.error) for probe in failing))
    return unavailable(request, error, error.retry_after, stores=[probe.store for probe in failing])


@router.head("", include_in_schema=False)
@router.get("", response_model=Health, responses={503: {"model": Health, "description": "No store answers"}})
async def health(history: History, live: Live, clock: Now) -> Json:
    """Liveness, readiness and freshness in one page: 200 while any store answers."""
    probes, freshness = await asyncio.gather(probe_all(history, live), _freshness(history, clock))
    answering = sum(probe.ok for probe in probes)
    status = "ok" if answering == len(probes) else "degraded" if answering else "down"
    content = {
        "status": status,
        "live": True,
        "ready": status == "ok",
        "stores": {probe.store: probe.as_json() for probe in probes},
        "freshness": freshness,
    }
    return Json(content, status_code=503 if status == "down" else 200)


async def _freshness(history: TimescaleReader, clock: Clock) -> dict[str, Any]:
    """How new the data is; all null while the database cannot say."""
    newest: dict[str, Any] = {}
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            newest = await history.freshness()
    except (StoreUnavailable, ConfigError, TimeoutError):
        pass  # the probe says that the database does not answer
    received = newest.get("last_tick_received_us")
    return {
        "last_ingestion": time_text(received),
        "last_ingestion_age_seconds": None if received is None else (clock.now_us() - received) / SECOND_US,
        "last_event": time_text(newest.get("last_tick_event_us")),
        "last_bar_end": time_text(newest.get("last_bar_end_us")),
        "counts": {table: newest[table] for table in ("ticks", "bars")} if newest else None,
    }
