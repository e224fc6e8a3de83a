"""Run the streaming queries: live, final, archive, together in one driver or each in its own; and reconciling."""

from conf.loading import loading

with loading():
    import argparse
    import signal
    import sys
    import threading
    from collections.abc import Sequence

    import structlog
    from pyspark.errors import StreamingQueryException
    from pyspark.sql.streaming.query import StreamingQuery

    from conf.logs import configure_logs
    from conf.settings import Settings, load_settings
    from core import rulesets
    from core.clock import SystemClock
    from core.errors import TickstreamError
    from jobs.checkpoint_topic import check_topic
    from jobs.pace import Pace
    from jobs.pacemaker import Pacemaker
    from jobs.progress import Reports
    from jobs.queries import LIVE_TRIGGERS, QUERIES, RECONCILE, names, start
    from jobs.reconciler import Reconciler
    from jobs.session import session
    from jobs.sinks import Sinks
    from metrics.machine import watch_disk, watch_jvm
    from metrics.serve import serve
    from producers.topics import ensure_topics
    from stores.influx_metrics import export_metrics
    from stores.retry import retrying

_log = structlog.get_logger("jobs.stream")

_EXAMPLES = """examples:
  ./spark-submit.sh jobs/stream.py                              all of them, until stopped
  ./spark-submit.sh jobs/stream.py --queries final --available-now
                                                                close what the topic holds, then end
  SPARK_MASTER=spark://host:7077 ./spark-submit.sh jobs/stream.py --queries live

Each query continues from its own checkpoint below TICKSTREAM_DATA_PATH/checkpoints. `reconcile` amends bars that
differ from the tick log and belongs into the driver of `final`; with --available-now it looks once, at the end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the queries ended or were stopped, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logs(settings.log_format)
        rulesets.load(settings.ruleset)
        return run(settings, options.queries, options.available_now, options.live_trigger)
    except TickstreamError as error:
        sys.stderr.write(f"stream: {error}\n")
        return 1


def run(settings: Settings, queries: Sequence[str], available_now: bool = False, live_trigger: str = "realtime") -> int:
    """Start the queries and stay until they end, one fails, or the process is asked to stop."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    _show_metrics(settings, queries)
    retrying("kafka", lambda: ensure_topics(settings), settings.store_retry_seconds)
    retrying("kafka", lambda: check_topic(settings, queries), settings.store_retry_seconds)
    sinks = Sinks(settings)
    if set(queries) - {"live"}:
        sinks.setup()
    pacemaker = Pacemaker(settings, SystemClock())
    if "final" in queries:
        (pacemaker.align if available_now else pacemaker.start)()
    pace = Pace(pacemaker.reach, settings)
    spark = session("tickstream " + ",".join(queries), streaming=True)
    try:
        running = [
            query
            for name in queries
            if name != RECONCILE
            for query in start(name, spark, settings, sinks, SystemClock(), available_now, live_trigger, pace)
        ]
        _log.info("started", queries=list(queries), kafka=settings.kafka_bootstrap, ruleset=settings.ruleset)
        reconciler = Reconciler(spark, settings, sinks, SystemClock(), final_here="final" in queries)
        if RECONCILE in queries and not available_now:
            reconciler.start()
        failure = _watch(running, stopping, Reports(settings.lateness_seconds), alone=not running and not available_now)
        pace.stop()
        reconciler.stop()
        if RECONCILE in queries and available_now and failure is None:
            reconciler.run_recent()
        if failure is None:
            # Spark reports each task that a stop interrupts as an error, with its stack.
            spark.sparkContext.setLogLevel("OFF")
        for query in running:
            query.stop()
    finally:
        pace.stop()
        pacemaker.stop()
        spark.stop()
        sinks.close()
    if failure is not None:
        sys.stderr.write(f"stream: {failure}\n")
    return 0 if failure is None else 1


def _show_metrics(settings: Settings, queries: Sequence[str]) -> None:
    watch_disk("checkpoints", settings.checkpoint_path)
    watch_disk("lake", settings.lake_path)
    watch_jvm()
    program = "live" if "live" in queries else "stores"
    serve(program, settings)
    export_metrics(program, settings)


def _watch(running: Sequence[StreamingQuery], stopping: threading.Event, reports: Reports, alone: bool) -> str | None:
    """Wait for the end; the first failure in words, or None. One failed query stops all: a supervisor restarts us.

    `alone`: reconciling goes on without any query.
    """
    while not stopping.wait(0.5):
        reports.look(running)
        failed = next((query for query in running if not query.isActive and query.exception() is not None), None)
        if failed is not None:
            return f"query {failed.name} failed: {_first_line(failed.exception())}"
        if not alone and not any(query.isActive for query in running):
            return None
    return None


def _first_line(error: StreamingQueryException | None) -> str:
    return str(error).strip().splitlines()[0] if error else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./spark-submit.sh jobs/stream.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--queries",
        type=_names,
        default=[*QUERIES, RECONCILE],
        help="comma-separated, of live, final, archive, reconcile (default: all)",
    )
    parser.add_argument("--available-now", action="store_true", help="process what the topic holds now, then end")
    parser.add_argument("--live-trigger", choices=LIVE_TRIGGERS, default=LIVE_TRIGGERS[0], help=argparse.SUPPRESS)
    return parser


def _names(text: str) -> Sequence[str]:
    try:
        return names(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
