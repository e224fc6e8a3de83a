"""What the pipeline page shows, from the API's answers: words, states and numbers. Pure functions of one push.

The one place of the page's own thresholds. Those of the queries are the API's (`/api/v1/metrics/queries` says them).

| part | look at it | broken |
|---|---|---|
| feed: age of the newest record of `ticks` | FEED_SECONDS | FEED_LOST_SECONDS |
| latency: tick to Redis, p95 | SLOW_MS | VERY_SLOW_MS |
| queries | one is behind or not known | one has stalled |
| stores: time to answer | SLOW_STORE_MS | one does not answer |
| losses | an open or lost gap, a refused record in the last hour | |
| sockets | a client was closed for being slow, ticks were dropped | the worker has lost Redis |
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from dashboard.pages.pipeline_words import ago, count, duration, millis, plural, rate

Row = Mapping[str, Any]
State = Literal["ok", "idle", "warn", "bad", "unknown"]

FEED_SECONDS, FEED_LOST_SECONDS = 5.0, 60.0
SLOW_MS, VERY_SLOW_MS = 60.0, 1000.0
SLOW_STORE_MS = 500.0
HOUR_US = 3_600_000_000
_WORST: tuple[State, ...] = ("ok", "idle", "unknown", "warn", "bad")
_QUERY_STATES: dict[str, State] = {"running": "ok", "idle": "idle", "behind": "warn", "stalled": "bad"}
STORE_NAMES = {"timescale": "TimescaleDB", "redis": "Redis", "kafka": "Kafka", "influx": "InfluxDB"}
# The API's stages by the page's own: each is named by where it ends.
STAGES = {"received": "event_to_received", "processed": "received_to_live", "relayed": "live_to_redis"}
LAGS = ("relay", "final", "archive", "lake")


def view(data: Row) -> dict[str, Any]:
    """The API's answers by name, each null where `errors` says why, as what the page paints.

    `blind`: there is none at all. `parts` is the strip on top, `overall` its title; `tiles` have a value, a note and a
    state by id; `stages` are milliseconds; `points` are what the lines get, `counters` (read at `counted_us`) what
    rates are made of.
    """
    parts = [part(data) for part in PARTS]
    return {
        "at_us": data["at_us"],
        "at": clock_text(data["at_us"]),
        "blind": all(data[name] is None for name in data.keys() - {"at_us", "errors"}),
        "overall": overall(parts),
        "parts": parts,
        "stages": stages(data),
        "tiles": {name: tile(data) for name, tile in TILES.items()},
        "queries": queries(data),
        "stores": stores(data),
        "topics": topics(data),
        "letters": letters(data),
        "points": points(data),
        **counters(data),
    }


def overall(parts: Iterable[Row]) -> dict[str, Any]:
    """The worst state of all, and a title that names where."""
    listed = list(parts)
    worst: State = max((part["state"] for part in listed), key=_WORST.index)
    named = [part["name"].lower() for part in listed if part["state"] == worst]
    titles = {"bad": "Broken", "warn": "Needs a look", "unknown": "Cannot be seen"}
    title = f"{titles[worst]}: {', '.join(named)}" if worst in titles else "All is well"
    return {"state": "ok" if worst == "idle" else worst, "title": title}


def feed_part(data: Row) -> dict[str, Any]:
    newest = _newest(data, "ticks")
    if data["kafka"] is None:
        return _blind("Feed", data, "kafka")
    if newest is None:
        return _part("Feed", "idle", "no tick has come yet")
    age = max(0.0, (data["at_us"] - newest) / 1e6)
    text = f"the feed is alive, newest {duration(age)} old" if age <= FEED_SECONDS else f"no record for {duration(age)}"
    return _part("Feed", "ok" if age <= FEED_SECONDS else "warn" if age <= FEED_LOST_SECONDS else "bad", text)


def latency_part(data: Row) -> dict[str, Any]:
    if data["latency"] is None:
        return _blind("Latency", data, "latency")
    stage = _stage(data, "received_to_redis")
    p95 = stage.get("p95_ms")
    if p95 is None:
        silent = "Redis does not answer" if data["latency"]["live"] != "ok" else "no bar moves"
        return _part("Latency", "unknown" if data["latency"]["live"] != "ok" else "idle", f"tick to Redis: {silent}")
    state: State = "ok" if p95 <= SLOW_MS else "warn" if p95 <= VERY_SLOW_MS else "bad"
    return _part("Latency", state, f"tick to Redis in {millis(p95)} (p95)")


def queries_part(data: Row) -> dict[str, Any]:
    if data["queries"] is None:
        return _blind("Queries", data, "queries")
    rows = queries(data)
    worst = _worst(row["state"] for row in rows)
    named = [f"{row['name']} is {row['word']}" for row in rows if row["state"] in ("warn", "bad", "unknown")]
    healthy = sum(row["state"] in ("ok", "idle") for row in rows)
    text = ", ".join(named) if named else f"all {healthy} queries run"
    return _part("Queries", worst, text)


def stores_part(data: Row) -> dict[str, Any]:
    if data["stores"] is None:
        return _blind("Stores", data, "stores")
    rows = stores(data)
    named = [f"{row['name']} {row['word']}" for row in rows if row["state"] in ("warn", "bad")]
    answering = sum(row["state"] == "ok" for row in rows)
    return _part("Stores", _worst(row["state"] for row in rows), ", ".join(named) or f"{answering} stores answer")


def losses_part(data: Row) -> dict[str, Any]:
    rows = [late_tile(data), dead_tile(data), gaps_tile(data)]
    worst = _worst(row["state"] for row in rows)
    texts = [row["text"] for row in rows if row["state"] in ("warn", "bad")]
    if worst == "unknown" and not texts:
        return _part("Losses", "unknown", "some counters could not be read")
    return _part("Losses", worst, ", ".join(texts) or "nothing lost")


def sockets_part(data: Row) -> dict[str, Any]:
    tile = sockets_tile(data)
    return _part("Sockets", tile["state"], tile["text"])


def stages(data: Row) -> dict[str, dict[str, Any]]:
    """Count and percentiles, in milliseconds, of the stages that the server measures, by the page's names."""
    found = {name: _stage(data, stage) for name, stage in STAGES.items()}
    return {
        name: {
            "count": row.get("count", 0),
            "p50": row.get("p50_ms"),
            "p95": row.get("p95_ms"),
            "p99": row.get("p99_ms"),
        }
        for name, row in found.items()
    }


def queries(data: Row) -> list[dict[str, Any]]:
    """The queries as rows: name, state, its word, why, of when."""
    rows = []
    for query in (data["queries"] or {}).get("queries", []):
        state = _QUERY_STATES.get(query["state"], "unknown")
        word = "not known" if query["state"] == "unknown" else query["state"]
        behind = "" if query["lag"] is None else f"{count(query['lag'])} to go"
        seen = "" if query["as_of"] is None else f"as of {query['as_of'][11:19]}"
        rows.append(
            {
                "name": query["query"],
                "state": state,
                "word": word,
                "title": query["what"].replace("`", ""),
                "text": query["because"].replace("`", ""),
                "aside": " · ".join(each for each in (behind, seen) if each),
            }
        )
    return rows


def stores(data: Row) -> list[dict[str, Any]]:
    """The stores as rows."""
    found = (data["stores"] or {}).get("stores", {})
    return [_store(STORE_NAMES.get(name, name), row) for name, row in found.items()]


def _store(name: str, row: Row) -> dict[str, Any]:
    shown = {"name": name, "title": "", "text": row["error"] or "", "aside": ""}
    if row["state"] == "off":
        return shown | {"state": "idle", "word": "off", "text": "not configured"}
    if row["state"] != "ok":
        return shown | {"state": "bad", "word": "does not answer"}
    slow = row["latency_ms"] > SLOW_STORE_MS
    return shown | {
        "state": "warn" if slow else "ok",
        "word": "answers slowly" if slow else "answers",
        "aside": f"in {millis(row['latency_ms'])}",
    }


def topics(data: Row) -> list[dict[str, str]]:
    """The topics: name, records kept, age of the newest."""
    rows = (data["kafka"] or {}).get("topics", [])
    return [
        {
            "name": row["topic"],
            "records": count(row["records"]),
            "newest": "" if row.get("newest") is None else ago((data["at_us"] - time_us(row["newest"])) / 1e6),
        }
        for row in rows
    ]


def letters(data: Row) -> list[dict[str, str]]:
    """The newest refused records."""
    rows = (data["dead_letters"] or {}).get("letters", [])
    return [
        {
            "at": f"{row['at'][11:19]}",
            "date": row["at"][:10],
            "symbol": row["symbol"] or "no key",
            "reason": row["reason"],
            "title": f"{row['detail']} ({row['stage']}): {row['payload']}",
        }
        for row in rows
    ]


def ticks_tile(data: Row) -> dict[str, Any]:
    """Rates of the last whole minutes; the page itself shows the rate of the last seconds."""
    if data["throughput"] is None:
        return _unread(data, "throughput")
    windows = data["throughput"]["windows"]
    note = "final: " + ", ".join(f"{rate(row['ticks_per_second'])} in {row['minutes']} min" for row in windows)
    return _tile(rate(windows[0]["ticks_per_second"]), note)


def bars_tile(data: Row) -> dict[str, Any]:
    if data["throughput"] is None:
        return _unread(data, "throughput")
    windows = data["throughput"]["windows"]
    note = ", ".join(f"{count(row['bars'])} in {row['minutes']} min" for row in windows)
    return _tile(rate(windows[0]["bars_per_second"]), note)


def watermark_tile(data: Row) -> dict[str, Any]:
    final = _query(data, "final")
    if final is None:
        return _unread(data, "queries")
    lag, allowed = final["watermark_lag_seconds"], final["watermark_allowed_seconds"]
    if lag is None:
        return _tile("–", final["because"].replace("`", ""), "unknown")
    state: State = "ok" if lag <= allowed else _QUERY_STATES.get(final["state"], "unknown")
    return _tile(duration(lag), f"at {final['watermark'][11:19]} UTC; up to {duration(allowed)} is normal", state)


def late_tile(data: Row) -> dict[str, Any]:
    if data["late_ticks"] is None:
        return _unread(data, "late_ticks")
    runs = [run for run in data["late_ticks"]["runs"] if data["at_us"] - time_us(run["at"]) <= HOUR_US]
    ticks = sum(run["ticks"] for run in runs)
    if not ticks:
        return _tile("0", "none found behind the watermark")
    worst = max(run["max_us"] for run in runs) / 1e6
    return _tile(
        count(ticks), f"at most {duration(worst)} after their time", "ok", f"{plural(ticks, 'tick')} came late"
    )


def dead_tile(data: Row) -> dict[str, Any]:
    found = data["dead_letters"]
    if found is None:
        return _unread(data, "dead_letters")
    reasons = ", ".join(f"{reason} {number}" for reason, number in list(found["reasons"].items())[:3])
    note = f"{count(found['records'])} kept" + (f"; newest: {reasons}" if reasons else "")
    text = f"{plural(found['recent'], 'record')} refused in {found['minutes']} min"
    return _tile(count(found["recent"]), note, "warn" if found["recent"] else "ok", text)


def gaps_tile(data: Row) -> dict[str, Any]:
    found = data["gaps"]
    if found is None:
        return _unread(data, "gaps")
    note = f"{count(found['filled'])} filled, {count(found['lost'])} lost in {found['hours']} h"
    named = [f"{plural(found[state], f'{state} gap')}" for state in ("open", "lost") if found[state]]
    return _tile(count(found["open"]), note, "warn" if named else "ok", " and ".join(named))


def sockets_tile(data: Row) -> dict[str, Any]:
    found = data["sockets"]
    if found is None:
        return _unread(data, "sockets")
    note = f"{count(found['sent'])} sent, {count(found['conflated'])} conflated, {count(found['dropped'])} dropped"
    note += f", {count(found['slow_closes'])} closed for being slow"
    clients = plural(found["connections"], "client")
    if not found["redis_connected"] and found["streams"]:
        return _tile(count(found["connections"]), note, "bad", f"{clients}, but the API has lost Redis")
    troubled = found["dropped"] or found["slow_closes"]
    text = (
        f"{clients}; {count(found['dropped'])} dropped, {count(found['slow_closes'])} closed" if troubled else clients
    )
    return _tile(count(found["connections"]), note, "warn" if troubled else "ok", text)


def cache_tile(data: Row) -> dict[str, Any]:
    found = data["cache"]
    if found is None:
        return _unread(data, "cache")
    redis, own = found["redis"], found["responses"] or {}
    ratio = "–" if redis["hit_ratio"] is None else f"{redis['hit_ratio']:.1%}"
    asked = own.get("hits", 0) + own.get("misses", 0)
    answers = f"; answers kept: {own.get('hits', 0) / asked:.0%} of {count(asked)}" if asked else ""
    return _tile(ratio, f"{count(redis['operations_per_second'])} commands/s{answers}")


def points(data: Row) -> dict[str, float | None]:
    """What the lines get of this push, by series; None where it is not known."""
    final = _query(data, "final") or {}
    found: dict[str, float | None] = {"watermark": final.get("watermark_lag_seconds")}
    found["watermark_allowed"] = final.get("watermark_allowed_seconds")
    for reader in (data["kafka"] or {}).get("readers", []):
        if reader["reader"] in LAGS:
            found[f"lag.{reader['reader']}"] = reader["lag"]
    found["redis.p95"] = _stage(data, "received_to_redis").get("p95_ms")
    return found


def counters(data: Row) -> dict[str, Any]:
    """How many records each topic has had so far, and when that was read."""
    if data["kafka"] is None or data["kafka"].get("at") is None:
        return {"counters": {}, "counted_us": None}
    ends = {row["topic"]: sum(each["end"] for each in row["partitions"]) for row in data["kafka"]["topics"]}
    named = {name: _of_topic(ends, name) for name in ("ticks", "bars.live", "bars")}
    return {
        "counters": {name: number for name, number in named.items() if number is not None},
        "counted_us": time_us(data["kafka"]["at"]),
    }


PARTS: tuple[Callable[[Row], dict[str, Any]], ...] = (
    feed_part,
    latency_part,
    queries_part,
    stores_part,
    losses_part,
    sockets_part,
)
TILES: dict[str, Callable[[Row], dict[str, Any]]] = {
    "ticks": ticks_tile,
    "bars": bars_tile,
    "watermark": watermark_tile,
    "late": late_tile,
    "dead": dead_tile,
    "gaps": gaps_tile,
    "sockets": sockets_tile,
    "cache": cache_tile,
}


def time_us(text: str) -> int:
    """Epoch microseconds of RFC 3339 text.

    >>> time_us("2026-01-05T14:30:00.000001Z")
    1767623400000001
    """
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def clock_text(at_us: int) -> str:
    """The time of day, UTC."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%H:%M:%S")


def _part(name: str, state: State, text: str) -> dict[str, Any]:
    return {"name": name, "state": state, "text": text}


def _blind(name: str, data: Row, answer: str) -> dict[str, Any]:
    return _part(name, "unknown", data["errors"].get(answer, "no answer"))


def _tile(value: str, note: str, state: State = "ok", text: str = "") -> dict[str, Any]:
    return {"value": value, "note": note, "state": state, "text": text}


def _unread(data: Row, answer: str) -> dict[str, Any]:
    return _tile("–", data["errors"].get(answer, "no answer"), "unknown", "not known")


def _worst(states: Iterable[State]) -> State:
    return max(("ok", *(state for state in states if state != "idle")), key=_WORST.index)


def _stage(data: Row, name: str) -> Row:
    rows = (data["latency"] or {}).get("stages", [])
    return next((row for row in rows if row["stage"] == name), {})


def _query(data: Row, name: str) -> Row | None:
    rows = (data["queries"] or {}).get("queries", [])
    return next((row for row in rows if row["query"] == name), None)


def _newest(data: Row, topic: str) -> int | None:
    newest = {row["topic"]: row.get("newest") for row in (data["kafka"] or {}).get("topics", [])}
    text = _of_topic(newest, topic)
    return None if text is None else time_us(text)


def _of_topic(found: Mapping[str, Any], topic: str) -> Any:
    """By the topic's name, which may have a prefix in front that ends in a dot or a dash."""
    if topic in found:
        return found[topic]
    ending = [name for name in found if name.endswith(topic) and name[: -len(topic)][-1:] in (".", "-", "_")]
    return found[min(ending, key=len)] if ending else None
