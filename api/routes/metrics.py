"""`/api/v1/metrics`: how fast, how much, from which cache, how far behind."""

import asyncio
from typing import Any, TypeVar

from fastapi import APIRouter

from api.caching import cache_stats
from api.job_states import jobs_json
from api.models import PROBLEMS, REFUSED
from api.models_market import CacheAnswer, KafkaAnswer, LatencyAnswer, ThroughputAnswer
from api.models_pipeline import DeadLettersAnswer, GapCounts, JobsAnswer, QueriesAnswer, StoresAnswer
from api.params import Configured, History, Live, NoParams, Now
from api.params_market import Board, Brokers, DeadLettersParams, GapsParams, JobsParams, LatencyParams, Market
from api.probes import probe_writable
from api.query_states import Seen, allowance, states_json
from api.readers import Offsets, Reader
from api.render import Json, time_text
from api.stages import live_stages, stages_json
from conf.schedule import JOBS
from core.errors import StoreUnavailable
from core.intervals import MINUTE_US, SECOND_US
from stores.redis_board import RedisBoard, TailBar

router = APIRouter(prefix="/api/v1/metrics", tags=["metrics"])
T = TypeVar("T")
WINDOWS = (1, 5, 15)  # minutes
# Bars of a minute are final about the watermark delay after it; one that nobody finished counts as nothing.
LATEST_MINUTES = 2


@router.get("/latency", response_model=LatencyAnswer, responses=REFUSED)
async def latency(query: LatencyParams, settings: Configured, market: Market, board: Board, clock: Now) -> Json:
    """From tick to Redis and from tick to the stores, stage by stage, over the last minutes.

    Taken from the stamps that bars carry: final bars from the database, forming ones as Redis holds them, where each
    row has replaced the one before, so that their count is small.
    """
    now_us = clock.now_us()
    since_us = now_us - query.minutes * MINUTE_US
    names = [interval.name for interval in settings.bar_intervals]
    stored, tails = await asyncio.gather(market.stages(names, since_us, now_us), _tails(board, names))
    live = {} if tails is None else live_stages(tails, since_us)
    return Json(
        {
            "from": time_text(since_us),
            "to": time_text(now_us),
            "live": "unavailable" if tails is None else "ok",
            "stages": stages_json(stored | live),
        }
    )


@router.get("/throughput", response_model=ThroughputAnswer, responses=REFUSED)
async def throughput(_: NoParams, settings: Configured, market: Market, clock: Now) -> Json:
    """Ticks and bars per second over 1, 5 and 15 minutes, from final bars."""
    names = [interval.name for interval in settings.bar_intervals]
    ends = [row["last_bar_end"] for row in await market.seen() if row["last_bar_end"] is not None]
    minute = clock.now_us() // MINUTE_US * MINUTE_US
    to_us = max(min(max(ends, default=0), minute), minute - LATEST_MINUTES * MINUTE_US)
    counted = await market.counted(names, to_us, [minutes * MINUTE_US for minutes in WINDOWS])
    windows = [_rate(minutes, *counts) for minutes, counts in zip(WINDOWS, counted, strict=True)]
    return Json({"to": time_text(to_us), "windows": windows})


@router.get("/cache", response_model=CacheAnswer, responses=REFUSED)
async def cache(_: NoParams, board: Board) -> Json:
    """What Redis counts, and this worker's own store of rendered answers."""
    return Json({"redis": _redis_json(await board.info()), "responses": cache_stats()})


@router.get("/kafka", response_model=KafkaAnswer, responses=REFUSED)
async def kafka(_: NoParams, brokers: Brokers, clock: Now) -> Json:
    """Topics with their offsets, and how far their readers are behind.

    The relay commits to Kafka. Spark's queries keep their offsets in checkpoints, which are read where they are on
    this machine: of the live query the last checkpoint, which may be minutes old while it is not behind at all.
    """
    offsets, readers = await brokers.read()
    topics = sorted({topic for topic, _ in offsets.end})
    return Json(
        {
            "at": time_text(clock.now_us()),
            "topics": [_topic_json(topic, offsets) for topic in topics],
            "readers": [_reader_json(reader, offsets) for reader in readers],
        }
    )


@router.get("/queries", response_model=QueriesAnswer, responses={422: PROBLEMS[422]})
async def queries(_: NoParams, settings: Configured, brokers: Brokers, market: Market, clock: Now) -> Json:
    """How each query fares, as far as its offsets, its checkpoints on this machine and its rows tell.

    Nobody is asked: `because` says what was seen and `as_of` of when it is. Kafka or the database being down makes
    states `unknown`.
    """
    now_us = clock.now_us()
    found, signs = await asyncio.gather(
        brokers.standing(lambda name: allowance(settings, name), now_us), market.signs_of_life(), return_exceptions=True
    )
    standing = _or_none(found)
    trade_us, checked_us = _or_none(signs) or (None, None)
    seen = Seen(now_us, standing, trade_us, checked_us, "" if standing else str(found))
    return Json({"at": time_text(now_us), "queries": states_json(seen, settings)})


@router.get("/stores", response_model=StoresAnswer, responses={422: PROBLEMS[422]})
async def stores(_: NoParams, settings: Configured, history: History, live: Live, brokers: Brokers, clock: Now) -> Json:
    """Whether all that the pipeline writes to answers, and how fast: Kafka and InfluxDB too, without which we serve."""
    probes = await probe_writable(settings, history, live, brokers.ping)
    return Json({"at": time_text(clock.now_us()), "stores": {probe.store: probe.as_json() for probe in probes}})


@router.get("/dead-letters", response_model=DeadLettersAnswer, responses=REFUSED)
async def dead_letters(query: DeadLettersParams, brokers: Brokers, clock: Now) -> Json:
    """Records that were refused, newest first, and how many there are."""
    now_us = clock.now_us()
    peek = await brokers.dead_letters(now_us - query.minutes * MINUTE_US)
    return Json(
        {
            "at": time_text(now_us),
            "records": peek.records,
            "minutes": query.minutes,
            "recent": peek.recent,
            "reasons": peek.reasons,
            "letters": [
                {"at": time_text(letter.at_us)}
                | {name: getattr(letter, name) for name in ("reason", "detail", "stage", "symbol", "payload")}
                for letter in peek.letters[: query.limit]
            ],
        }
    )


@router.get("/gaps", response_model=GapCounts, responses=REFUSED)
async def gaps(query: GapsParams, market: Market, clock: Now) -> Json:
    """How many gaps feeds noticed, by what became of them."""
    now_us = clock.now_us()
    found = await market.gap_counts(now_us - query.hours * 60 * MINUTE_US)
    return Json({"at": time_text(now_us), "hours": query.hours} | found | {"newest": time_text(found["newest"])})


@router.get("/jobs", response_model=JobsAnswer, responses=REFUSED)
async def jobs(query: JobsParams, settings: Configured, market: Market, clock: Now) -> Json:
    """The scheduler's jobs: when each is due, how it went, and whether it was missed.

    Runs are those of everybody: of the scheduler, by hand, of Airflow. When they are due is what this server's
    settings say, which are the scheduler's where both are started alike.
    """
    return Json(jobs_json(await market.job_runs(list(JOBS), query.runs), settings, clock.now_us()))


def _or_none(found: T | BaseException) -> T | None:
    """What a question gave; None where a store does not answer."""
    if isinstance(found, BaseException):
        if not isinstance(found, StoreUnavailable):
            raise found
        return None
    return found


async def _tails(board: RedisBoard, names: list[str]) -> list[list[TailBar]] | None:
    try:
        symbols = await board.symbols()
        return [tail for name in names for tail in (await board.tails(symbols, name)).values()]
    except StoreUnavailable:
        return None


def _rate(minutes: int, ticks: int, bars: int) -> dict[str, Any]:
    seconds = minutes * MINUTE_US / SECOND_US
    return {
        "minutes": minutes,
        "ticks": ticks,
        "ticks_per_second": ticks / seconds,
        "bars": bars,
        "bars_per_second": bars / seconds,
    }


def _redis_json(info: dict[str, Any]) -> dict[str, Any]:
    hits, misses = info["keyspace_hits"], info["keyspace_misses"]
    reads = (hits or 0) + (misses or 0)
    return {
        "version": info["redis_version"],
        "uptime_seconds": info["uptime_in_seconds"],
        "clients": info["connected_clients"],
        "used_memory_bytes": info["used_memory"],
        "max_memory_bytes": info["maxmemory"],
        "hits": hits,
        "misses": misses,
        "hit_ratio": hits / reads if reads else None,
        "evicted_keys": info["evicted_keys"],
        "expired_keys": info["expired_keys"],
        "operations_per_second": info["instantaneous_ops_per_sec"],
        "channels": info["pubsub_channels"],
    }


def _topic_json(topic: str, offsets: Offsets) -> dict[str, Any]:
    partitions = [
        {"partition": number, "first": offsets.first[topic, number], "end": offsets.end[topic, number]}
        for number in offsets.partitions(topic)
    ]
    records = sum(each["end"] - each["first"] for each in partitions)
    newest = time_text(offsets.newest.get(topic))
    return {"topic": topic, "partitions": partitions, "records": records, "newest": newest}


def _reader_json(reader: Reader, offsets: Offsets) -> dict[str, Any]:
    lags = offsets.lag(reader) if reader.places else {}
    return {
        "reader": reader.name,
        "topic": reader.topic,
        "lag": sum(lags.values()) if lags else None,
        "partitions": {str(number): lag for number, lag in lags.items()},
        "source": reader.source,
        "as_of": time_text(reader.as_of_us),
    }
