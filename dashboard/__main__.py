"""`python -m dashboard`: the dashboard on uvicorn, on loopback by default."""

from conf.loading import loading

with loading():
    import argparse
    import os
    import socket
    from collections.abc import Sequence

    import uvicorn

    from conf.logs import configure_logs, server_logs
    from conf.settings import Settings, load_settings, variable
    from core.errors import TickstreamError
    from dashboard.app import create_app
    from dashboard.live import Live

SHUTDOWN_SECONDS = 5
MAX_MESSAGE_BYTES = 1 << 17


class Server(uvicorn.Server):
    """Says goodbye to browsers before their sockets are cut."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        live: Live = self.config.app.state.live  # type: ignore[union-attr]
        await live.close()
        await super().shutdown(sockets)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; exits with 2 and one line when the settings are wrong."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        settings = _settings(options)
        configure_logs(settings.log_format)
        app = create_app(settings)
    except TickstreamError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    Server(config(app, settings, log_level=options.log_level, access_log=options.access_log)).run()


def config(app: object, settings: Settings, **more: object) -> uvicorn.Config:
    """How uvicorn runs it."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # a window for each browser, and milliseconds
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        proxy_headers=False,
        server_header=False,
        log_config=server_logs(settings.log_format),
        **more,  # type: ignore[arg-type]
    )


def _settings(options: argparse.Namespace) -> Settings:
    given = {"dashboard_host": options.host, "dashboard_port": options.port}
    environ = dict(os.environ) | {variable(name): str(value) for name, value in given.items() if value is not None}
    return load_settings(environ)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dashboard",
        description="Serve the dashboard over the API at TICKSTREAM_DASHBOARD_API_URL.",
        epilog="Beyond loopback it wants TICKSTREAM_DASHBOARD_PASSWORD. More: docs/dashboard.md",
    )
    parser.add_argument("--host", help="address to listen on (default: TICKSTREAM_DASHBOARD_HOST, 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 = a free one (default: TICKSTREAM_DASHBOARD_PORT, 8050)"
    )
    parser.add_argument("--log-level", default="info", choices=("critical", "error", "warning", "info", "debug"))
    parser.add_argument("--access-log", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    main()
