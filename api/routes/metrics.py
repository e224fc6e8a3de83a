"""`/api/v1/metrics`: how fast, how much, from which cache, how far behind."""

import asyncio
from typing import Any

from fastapi import APIRouter

from api.caching import cache_stats
from api.kafka import Offsets, Reader
from api.models import PROBLEMS
from api.models_market import CacheAnswer, KafkaAnswer, LatencyAnswer, ThroughputAnswer
from api.params import Configured, Now
from api.params_market import Board, Brokers, LatencyParams, Market
from api.render import Json, time_text
from api.stages import live_stages, stages_json
from core.errors import StoreUnavailable
from core.intervals import MINUTE_US, SECOND_US
from stores.redis_board import RedisBoard, TailBar

router = APIRouter(prefix="/api/v1/metrics", tags=["metrics"])
WINDOWS = (1, 5, 15)  # minutes
# Bars of a minute are final about the watermark delay after it; one that nobody finished counts as nothing.
LATEST_MINUTES = 2
DOWN: dict[int | str, dict[str, Any]] = {503: PROBLEMS[503]}


@router.get("/latency", response_model=LatencyAnswer, responses={key: PROBLEMS[key] for key in (422, 503)})
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


@router.get("/throughput", response_model=ThroughputAnswer, responses=DOWN)
async def throughput(settings: Configured, market: Market, clock: Now) -> Json:
    """Ticks and bars per second over 1, 5 and 15 minutes, from final bars."""
    names = [interval.name for interval in settings.bar_intervals]
    ends = [row["last_bar_end"] for row in await market.seen() if row["last_bar_end"] is not None]
    minute = clock.now_us() // MINUTE_US * MINUTE_US
    to_us = max(min(max(ends, default=0), minute), minute - LATEST_MINUTES * MINUTE_US)
    counted = await market.counted(names, to_us, [minutes * MINUTE_US for minutes in WINDOWS])
    windows = [_rate(minutes, *counts) for minutes, counts in zip(WINDOWS, counted, strict=True)]
    return Json({"to": time_text(to_us), "windows": windows})


@router.get("/cache", response_model=CacheAnswer, responses=DOWN)
async def cache(board: Board) -> Json:
    """What Redis counts, and this worker's own store of rendered answers."""
    return Json({"redis": _redis_json(await board.info()), "responses": cache_stats()})


@router.get("/kafka", response_model=KafkaAnswer, responses=DOWN)
async def kafka(brokers: Brokers) -> Json:
    """Topics with their offsets, and how far their readers are behind.

    The relay commits to Kafka. Spark's queries keep their offsets in checkpoints, which are read where they are on
    this machine: of the live query the last checkpoint, which may be minutes old while it is not behind at all.
    """
    offsets, readers = await brokers.read()
    topics = sorted({topic for topic, _ in offsets.end})
    return Json(
        {
            "topics": [_topic_json(topic, offsets) for topic in topics],
            "readers": [_reader_json(reader, offsets) for reader in readers],
        }
    )


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
    return {"topic": topic, "partitions": partitions, "records": records}


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
