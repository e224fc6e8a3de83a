"""Where a notebook finds recorded data, the API and the lake, wherever it is opened."""

import os
from pathlib import Path

import httpx

from conf.settings import Settings, load_settings
from stores.lake import make_lake

ROOT = Path(__file__).resolve().parents[1]  # a notebook comes here by way of ".."
DATA, API, API_KEY = "NOTEBOOK_DATA", "NOTEBOOK_API", "NOTEBOOK_API_KEY"
ANSWER_SECONDS = 5.0
START = "Start it with `make up FEED=replay DATA=../shared/data/us_equity_2013 SPEED=max`, or plain `make up`."


def data_folder() -> Path | None:
    """The folder of recorded market data: `NOTEBOOK_DATA`, or ../shared/data beside the project; None without it."""
    folder = Path(os.environ.get(DATA) or ROOT.parent / "shared" / "data")
    return folder if (folder / "us_equity_2013").is_dir() else None


def settings() -> Settings:
    """The project's settings, with the lake where `make up` has it although a notebook runs in its own folder."""
    found = load_settings(env_file=ROOT / ".env")
    return found.model_copy(update={"data_path": ROOT / found.data_path})


class NotRunning(Exception):
    """Something that a notebook needs is not there; in a notebook it shows as the one line that says how to get it."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def api() -> httpx.Client:
    """A client of the API at `NOTEBOOK_API`, the one of `make up` unless set; sends `NOTEBOOK_API_KEY` if there is one.

    Raises NotRunning where no API answers, where it wants a key, and where it has no symbol yet.
    """
    key = os.environ.get(API_KEY)
    client = httpx.Client(
        base_url=os.environ.get(API) or f"http://127.0.0.1:{settings().api_port}",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=60,
    )
    problem = _problem(client)
    if problem is not None:
        raise NotRunning(problem)
    return client


def lake() -> Settings:
    """Settings whose lake holds ticks. Raises NotRunning where it does not."""
    found = settings()
    if not make_lake(found).paths("ticks", 0, 1 << 62):
        raise NotRunning(
            "The lake of these settings holds no ticks: `make up` fills the one in data/ within a minute or two;"
            " TICKSTREAM_DATA_PATH names another."
        )
    return found


def _problem(client: httpx.Client) -> str | None:
    where = str(client.base_url).rstrip("/")
    try:
        answer = client.get("/api/v1/symbols", timeout=ANSWER_SECONDS)
    except httpx.HTTPError:
        return f"No API answers at {where}. {START}"
    if answer.status_code in (401, 403):
        return f"The API at {where} wants a key: set {API_KEY} (`python -m api keys create NAME` makes one)."
    if answer.status_code != 200:
        return f"The API at {where} answers {answer.status_code}; `GET /health` says what is wrong."
    if not answer.json()["symbols"]:
        return f"The API at {where} has seen no symbol yet. {START}"
    return None
