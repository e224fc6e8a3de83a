"""`create_app(settings)`: the dashboard as one FastAPI application, with Dash inside."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import structlog
from dash import Dash
from fastapi import FastAPI, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_compress import CompressMiddleware

from conf.settings import Settings
from dashboard import guard, layout
from dashboard.client import ApiClient, ApiDown
from dashboard.live import Live
from dashboard.pages import PAGES
from dashboard.reader import Reader

FOLDER = Path(__file__).parent
ASSETS = FOLDER / "assets"
EARLY = ("paint.js", "wire.js", "live.js", "shell.js", "parts.js")
"""Loaded before the scripts of components and pages, in this order."""
BOOTSTRAP = "/vendor/bootstrap.css"
OWN_PATHS = ("/_", "/assets/", "/vendor/", "/health/", "/live")
METRICS_SECONDS = 5.0
LEAST_BYTES = 500

_log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The application. It starts, and shows what it can, while the API is down.

    Raises ConfigError for settings with which everybody could see it.
    """
    guard.check_settings(settings)
    client = ApiClient(settings.dashboard_api_url, settings.dashboard_api_key)
    figures = ApiClient(settings.dashboard_api_url, settings.dashboard_api_key, METRICS_SECONDS)
    reader = Reader(figures)
    live = Live(client, reader)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await live.close()
        await reader.close()
        await figures.close()
        await client.close()

    app = FastAPI(title="tickstream dashboard", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.live = live
    _own_routes(app, live)
    dash = _dash(app, client)
    app.add_middleware(Pages)
    app.add_middleware(CompressMiddleware, minimum_size=LEAST_BYTES, brotli=False)
    app.add_middleware(guard.Guard, password=settings.dashboard_password, scripts=_script_sources(dash))
    return app


def _own_routes(app: FastAPI, live: Live) -> None:
    @app.get(guard.ALIVE)
    async def alive() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(BOOTSTRAP)
    async def bootstrap() -> Response:
        return FileResponse(_bootstrap(), media_type="text/css")

    @app.websocket("/live")
    async def socket(websocket: WebSocket) -> None:
        await live.serve(websocket)


def _dash(app: FastAPI, client: ApiClient) -> Dash:
    made: Any = Dash  # it has types, for Flask
    dash: Dash = made(
        "dashboard",
        server=app,
        assets_folder=str(ASSETS),
        assets_ignore=rf"^({'|'.join(map(_escaped, EARLY))})$|\.svg$",
        external_scripts=[f"/assets/{name}?m={_stamp(ASSETS / name)}" for name in EARLY],
        external_stylesheets=[f"{BOOTSTRAP}?m={_stamp(_bootstrap())}"],
        index_string=layout.index_string(),
        suppress_callback_exceptions=True,  # a page's elements are there while the page is
        title="tickstream",
        update_title=None,
        add_log_handler=False,
        enable_mcp=False,
        on_error=on_error,
    )
    dash.backend.websocket_capability = False  # or every browser opens another socket, for callbacks that we have not
    dash.layout = layout.shell()
    layout.register(dash)
    for page in PAGES.values():
        page.register(dash, client)
    dash._setup_server()  # else the first request does it, and only one of Dash's own paths
    return dash


def on_error(error: Exception) -> None:
    """What becomes of a callback that failed: with the API away the page stays as it is, and the banner says why.

    Anything else is in the log, which Dash would leave empty, and 500 for the browser.
    """
    if isinstance(error, ApiDown):
        return
    _log.error("a callback failed", exc_info=error)
    raise error


def _script_sources(dash: Dash) -> list[str]:
    """The inline scripts of the page, as a content security policy names them."""
    digest = hashlib.sha256(layout.THEME_SCRIPT.encode()).digest()
    return [*dash.csp_hashes(), f"'sha256-{base64.b64encode(digest).decode()}'"]


def _bootstrap() -> Path:
    """Bootstrap's style sheet, out of a package that has it on disk; that package is not imported."""
    found = find_spec("flask_bootstrap")
    assert found is not None and found.submodule_search_locations, "Bootstrap-Flask is in requirements.txt"
    return Path(found.submodule_search_locations[0]) / "static" / "bootstrap5" / "css" / "bootstrap.min.css"


def _stamp(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _escaped(name: str) -> str:
    return name.replace(".", r"\.")


class Pages:
    """Every page is the same document, which Dash knows as `/` only; a path without a page is 404, and says so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].startswith(OWN_PATHS):
            await self._app(scope, receive, send)
            return
        status = 404 if layout.page_of(scope["path"]) is None else 200

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message["status"] = status
            await send(message)

        await self._app({**scope, "path": "/", "raw_path": b"/"}, receive, answer)
