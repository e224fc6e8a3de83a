"""The port on which a process shows its metrics."""

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from conf.settings import Settings, variable

# Each program has a port of its own, this far above TICKSTREAM_METRICS_PORT; the API one for each worker.
OFFSETS = {
    "live": 0,
    "stores": 1,
    "relay": 2,
    "ticks": 3,
    "feed": 4,
    "poll": 5,
    "predictor": 6,
    "alerts": 7,
    "api": 10,
}
MOST_WORKERS = 64
_log = structlog.get_logger("metrics")


def serve(program: str, settings: Settings, registry: CollectorRegistry = REGISTRY) -> int | None:
    """Show the metrics of this process from a thread of its own; the port, None where they are off or it is taken.

    A process never fails for want of its metrics: a port that is taken is one line in the log.
    """
    if not settings.metrics_port:
        return None
    problem: OSError | None = None
    for port in ports(program, settings.metrics_port):
        try:
            start_http_server(port, settings.metrics_host, registry)
        except OSError as error:
            problem = error
        else:
            return port
    _log.warning(
        "no metrics of this process",
        program=program,
        port=f"{settings.metrics_host}:{settings.metrics_port + OFFSETS[program]}",
        error=problem.strerror if problem is not None else "",
        help=f"set {variable('metrics_port')} to another first port, or to 0 for none",
    )
    return None


def ports(program: str, first: int) -> range:
    """Where a program may listen: one port, of the API as many as it may have workers."""
    start = first + OFFSETS[program]
    return range(start, start + (MOST_WORKERS if program == "api" else 1))
