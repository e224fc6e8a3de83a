"""How each query fares, inferred from what it leaves behind: offsets, checkpoints and rows. Pure functions.

No query is asked: what is not to be seen from outside is `unknown`, and `because` says what was seen. The one place of
the thresholds:

| query | may be behind for | its sign of life |
|---|---|---|
| relay | RELAY_SECONDS: it commits once a second | its committed offsets |
| live | LIVE_SECONDS, its checkpoints STALLED_TIMES theirs | the newest row of `bars.live`, against archived trades |
| final | FINAL_TRIGGERS triggers, at least LEAST_SECONDS | the commit of a micro-batch |
| archive, lake | TRIGGERS triggers, at least LEAST_SECONDS | the commit of a micro-batch |
| reconcile | COUNT_SECONDS and TRIGGERS runs | its last count of checked bars |

One that is behind and without a sign of life for STALLED_TIMES as long, at least STALLED_SECONDS, has stalled. A
watermark is behind when it is later than the watermark delay and what `final` may take.
"""

from dataclasses import dataclass
from typing import Any, Literal

from api.kafka import Standing
from api.readers import Reader
from api.render import time_text
from conf.settings import Settings
from conf.topics import BARS_LIVE, TICKS
from core.intervals import SECOND_US

State = Literal["running", "idle", "behind", "stalled", "unknown"]
RELAY_SECONDS = 5.0
LIVE_SECONDS = 5.0
LEAST_SECONDS = 10.0
FINAL_TRIGGERS = 5
TRIGGERS = 3
COUNT_SECONDS = 300.0
STALLED_TIMES, STALLED_SECONDS = 3, 60.0
WHAT = {
    "live": "ticks to forming bars in real-time mode, into `bars.live`",
    "relay": "`bars.live` to Redis, which publishes",
    "final": "ticks to final bars and indicators, into the stores",
    "archive": "accepted ticks into the database, refused ones to `ticks.dead`",
    "lake": "accepted ticks into Parquet files",
    "reconcile": "final bars held against the tick log, and amended where they differ",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at one moment; times in epoch microseconds, None for what is not known."""

    now_us: int
    standing: Standing | None
    last_trade_us: int | None = None  # receipt of the newest archived trade
    checked_us: int | None = None  # last count of reconciling
    kafka_error: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, in a sentence why, and of when the evidence is."""

    state: State
    because: str
    as_of_us: int | None = None


def allowance(settings: Settings, query: str) -> float:
    """The seconds that a query may take for a record before it counts as behind."""
    if query.startswith("live"):
        return STALLED_TIMES * float(settings.live_checkpoint_seconds)
    triggers = {
        "relay": RELAY_SECONDS,
        "final": FINAL_TRIGGERS * settings.final_trigger_ms / 1000,
        "archive": TRIGGERS * settings.archive_trigger_ms / 1000,
        "lake": TRIGGERS * settings.lake_trigger_seconds,
        "reconcile": COUNT_SECONDS + TRIGGERS * settings.reconcile_seconds,
    }
    return triggers[query] if query == "relay" else max(LEAST_SECONDS, triggers.get(query, 0.0))


def watermark_allowance(settings: Settings) -> float:
    """The seconds that the watermark of `final` may be behind now while ticks come."""
    return settings.lateness_seconds + allowance(settings, "final")


def states_json(seen: Seen, settings: Settings) -> list[dict[str, Any]]:
    """Every query in the order of the way that a tick takes."""
    readers = {reader.name: reader for reader in seen.standing.readers} if seen.standing else {}
    return [_state_json(name, readers.get(name), seen, settings) for name in WHAT]


def _state_json(name: str, reader: Reader | None, seen: Seen, settings: Settings) -> dict[str, Any]:
    verdict = _verdict(name, reader, seen, settings)
    lags = seen.standing.offsets.lag(reader) if seen.standing and reader and reader.places else {}
    watermark_us = reader.watermark_us if reader and name == "final" else None
    return {
        "query": name,
        "what": WHAT[name],
        "state": verdict.state,
        "because": verdict.because,
        "as_of": time_text(verdict.as_of_us),
        "lag": sum(lags.values()) if lags else None,
        "overdue": seen.standing.overdue.get(name) if seen.standing and lags else None,
        "allowed_seconds": LIVE_SECONDS if name == "live" else allowance(settings, name),
        "batch": reader.batch if reader else None,
        "watermark": time_text(watermark_us),
        "watermark_lag_seconds": _age(watermark_us, seen.now_us),
        "watermark_allowed_seconds": watermark_allowance(settings) if name == "final" else None,
    }


def _verdict(name: str, reader: Reader | None, seen: Seen, settings: Settings) -> Verdict:
    if name == "reconcile":
        return _reconcile(seen, allowance(settings, name))
    if seen.standing is None:
        return Verdict("unknown", seen.kafka_error or "Kafka does not answer")
    if name == "live":
        return _live(seen, seen.standing, settings)
    if reader is None or not reader.places:
        return Verdict("unknown", "no committed offset" if name == "relay" else "no checkpoint on the API's machine")
    return _reader(reader, seen, seen.standing, settings)


def _reader(reader: Reader, seen: Seen, standing: Standing, settings: Settings) -> Verdict:
    """By what it has left undone for too long, and by when it last finished something."""
    allowed = allowance(settings, reader.name)
    overdue, age = standing.overdue[reader.name], _age(reader.as_of_us, seen.now_us)
    last = "committed" if reader.source == "group" else "finished a batch"
    since = "" if age is None else f"; {last} {_span(age)} ago"
    if overdue:
        stalled = age is not None and age > max(STALLED_SECONDS, STALLED_TIMES * allowed)
        text = f"{overdue:,} records are waiting for more than {allowed:g} s{since}"
        return Verdict("stalled" if stalled else "behind", text, reader.as_of_us)
    late = _watermark_lag(reader, seen, standing, settings)
    if late is not None:
        return Verdict("behind", f"its watermark is {late:.0f} s behind while ticks come", reader.as_of_us)
    if not sum(standing.offsets.lag(reader).values()):
        return Verdict("idle", f"has read all there is{since}", reader.as_of_us)
    return Verdict("running", f"nothing waits for more than {allowed:g} s{since}", reader.as_of_us)


def _watermark_lag(reader: Reader, seen: Seen, standing: Standing, settings: Settings) -> float | None:
    """Seconds behind now, where that is too much although ticks come."""
    lag, fresh = _age(reader.watermark_us, seen.now_us), _age(_newest(standing, TICKS, settings), seen.now_us)
    if reader.name != "final" or lag is None or fresh is None or fresh > LEAST_SECONDS:
        return None
    return lag if lag > watermark_allowance(settings) else None


def _live(seen: Seen, standing: Standing, settings: Settings) -> Verdict:
    """By its rows: in real-time mode its checkpoints are minutes apart, and say nothing of the meantime."""
    row_us, tick_us = _newest(standing, BARS_LIVE, settings), _newest(standing, TICKS, settings)
    if row_us is None:
        return Verdict("unknown", "`bars.live` has no row" if tick_us else "no tick has come yet")
    age = _age(row_us, seen.now_us) or 0.0
    if age <= LIVE_SECONDS:
        late = [name for name, count in standing.overdue.items() if name.startswith("live-") and count]
        if late:
            return Verdict("behind", f"rows come, but {' and '.join(late)} finished no checkpoint in time", row_us)
        return Verdict("running", f"its newest row is {_span(age)} old", row_us)
    trade_us = seen.last_trade_us
    if trade_us is not None and trade_us - row_us > LIVE_SECONDS * SECOND_US:
        later = (trade_us - row_us) / SECOND_US
        return Verdict("stalled", f"its newest row is {_span(age)} old; trades came {_span(later)} after it", row_us)
    if tick_us is None or tick_us - row_us <= LIVE_SECONDS * SECOND_US:
        return Verdict("idle", f"its newest row is {_span(age)} old, and no tick came since", row_us)
    text = f"its newest row is {_span(age)} old; what came since may be heartbeats, which make no row"
    return Verdict("unknown", text, row_us)


def _reconcile(seen: Seen, allowed: float) -> Verdict:
    age = _age(seen.checked_us, seen.now_us)
    if age is None:
        return Verdict("unknown", "it has not counted any checked bar yet")
    if age <= allowed:
        return Verdict("running", f"counted checked bars {_span(age)} ago", seen.checked_us)
    return Verdict("unknown", f"counted nothing for {_span(age)}: no bar closed, or it stands", seen.checked_us)


def _newest(standing: Standing, topic: str, settings: Settings) -> int | None:
    return standing.offsets.newest.get(settings.topic(topic))


def _age(at_us: int | None, now_us: int) -> float | None:
    return None if at_us is None else max(0.0, (now_us - at_us) / SECOND_US)


def _span(seconds: float) -> str:
    """A duration in words.

    >>> _span(0.42), _span(75), _span(7300)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
