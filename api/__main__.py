"""`python -m api`: the API on uvicorn (uvloop and httptools where installed), on loopback by default.

`python -m api keys …` looks after its keys, `python -m api openapi …` after its published contract.
"""

from conf.loading import loading

with loading():
    import argparse
    import os
    import sys
    from collections.abc import Sequence

    from api.security import commands
    from api.security.gate import always_closed, refuse_without_keys
    from conf.logs import configure_logs
    from conf.settings import Settings, load_settings, variable
    from core.errors import ConfigError, StoreUnavailable, TickstreamError
    from stores.access import KeyTable

MAX_WORKERS = 64


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; exits with 2 and one line when the settings are wrong."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["keys"]:
        sys.exit(commands.main(arguments[1:]))
    if arguments[:1] == ["openapi"]:
        from api import contract

        sys.exit(contract.main(arguments[1:]))
    _serve(arguments)


def _serve(arguments: Sequence[str]) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    with loading():  # not for the other commands, which need neither
        from api import metering
        from api.app import create_app
        from api.workers import serve
    try:
        settings = _settings(options)
        _check_keys(settings)
        app = create_app(settings)
    except TickstreamError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    configure_logs(settings.log_format)
    if options.workers == 1:  # else each worker shows its own
        metering.show(app, settings)
    serve(
        app,
        options.workers,
        host=settings.api_host,
        port=settings.api_port,
        log_form=settings.log_format,
        log_level=options.log_level,
        access_log=options.access_log,
    )


def _settings(options: argparse.Namespace) -> Settings:
    """Settings as the options change them; the environment too, which is what workers read."""
    for field, value in (("api_host", options.host), ("api_port", options.port)):
        if value is not None:
            os.environ[variable(field)] = str(value)
    return load_settings()


def _check_keys(settings: Settings) -> None:
    """Raise ConfigError where nobody could ever be let in, or anybody. A database that is down decides nothing."""
    if not always_closed(settings):
        return
    try:
        found = KeyTable(settings.postgres_dsn.get_secret_value()).any_keys()
    except StoreUnavailable:
        return  # closed until it answers
    except ConfigError:
        found = False  # not migrated, so without keys
    refuse_without_keys(settings, found)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MAX_WORKERS}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m api",
        description="Serve the API over PostgreSQL and Redis; /docs describes it.",
        epilog="More: `python -m api keys --help` (create, list, revoke), `python -m api openapi --help`.",
    )
    parser.add_argument("--host", help="address to listen on (default: TICKSTREAM_API_HOST, 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 = a free one (default: TICKSTREAM_API_PORT, 8000)"
    )
    parser.add_argument(
        "--workers", type=_workers, default=1, help="processes that share the port; one that dies is replaced (1)"
    )
    parser.add_argument("--log-level", default="info", choices=("critical", "error", "warning", "info", "debug"))
    parser.add_argument("--access-log", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    main()
