"""How long each stage of a tick's way takes. Stages have the names of `/api/v1/metrics/latency`."""

import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from metrics.latency import Latencies

WHAT = {
    "event_to_received": "event time of a trade to its receipt by the producer; live feeds, the newest of each message",
    "received_to_live": "receipt of a forming bar's newest tick to Kafka's stamp of the row that live sent",
    "live_to_redis": "that stamp to Redis having the row",
    "received_to_redis": "the two together, of rows that were not replaced on the way; a sample where they are many",
    "received_to_tick": "receipt of a tick to its being published to those who listen to ticks",
    "received_to_log": "receipt of a tick to its row in the tick log; a sample of each batch",
    "received_to_final": "receipt of a final bar's newest tick to the final query making it",
    "close_to_final": "end of a bar to the final query making it, the watermark delay included; up to a day",
}
"""Every stage, in the order of the way that a tick takes."""

STAGES = Latencies("tickstream_stage_seconds", "Time that a stage of the pipeline takes", "stage", WHAT)
DAY_SECONDS = 86_400.0
LOG_SAMPLE = 200


def to_redis(stamps: Sequence[tuple[int, int]], now_us: int) -> None:
    """Rows that Redis has now: of each, receipt of its newest tick and when live sent it, in microseconds."""
    STAGES.of("received_to_live").record_us([sent - received for received, sent in stamps])
    STAGES.of("live_to_redis").record_us([now_us - sent for _, sent in stamps])
    STAGES.of("received_to_redis").record_us([now_us - received for received, _ in stamps])


def final_bars(bars: Iterable[tuple[int | None, int, int]]) -> None:
    """Bars as they were made: receipt of the newest tick, end, and when they were made, in microseconds.

    A bar of a replayed past closes long after its end; what took more than a day says nothing of the pipeline.
    """
    received, closed = STAGES.of("received_to_final"), STAGES.of("close_to_final")
    for received_us, end_us, made_us in bars:
        if received_us is not None:
            received.record_us([made_us - received_us])
        if 0 <= made_us - end_us <= DAY_SECONDS * 1e6:
            closed.record_us([made_us - end_us])


def logged(received_us: NDArray[np.int64]) -> None:
    """Ticks that the log has now, by their receipt in microseconds: a sample of them, evenly spread over the batch."""
    sample = received_us[:: max(1, len(received_us) // LOG_SAMPLE)]
    STAGES.of("received_to_log").record_us((time.time_ns() // 1000 - sample).tolist())
