"""`python -m api`: the REST API on uvicorn (uvloop and httptools where installed), on loopback by default."""

import argparse
from collections.abc import Sequence

import uvicorn

from api.app import create_app
from conf.settings import load_settings
from core.errors import TickstreamError

SHUTDOWN_SECONDS = 10  # what running requests get after the first Ctrl-C or SIGTERM


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; exits with 2 and one line when the settings are wrong."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        settings = load_settings()
        app = create_app(settings)
    except TickstreamError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    uvicorn.run(
        app,
        host=options.host or settings.api_host,
        port=settings.api_port if options.port is None else options.port,
        log_level=options.log_level,
        access_log=options.access_log,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m api", description="Serve the REST API over PostgreSQL and Redis; /docs describes it."
    )
    parser.add_argument("--host", help="address to listen on (default: TICKSTREAM_API_HOST, 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 = a free one (default: TICKSTREAM_API_PORT, 8000)"
    )
    parser.add_argument("--log-level", default="info", choices=("critical", "error", "warning", "info", "debug"))
    parser.add_argument("--access-log", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    main()
