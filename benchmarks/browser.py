"""Chromium under measurement: driven over its own protocol with nothing switched on that would slow it down.

Headless, drawn by the CPU. A frame's time is that of the main thread's part (script, style, layout, paint, commit);
compositing on other threads and the next refresh of a screen, up to 16.7 ms at 60 Hz, come after it.
"""

import contextlib
import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from benchmarks.errors import BenchmarkError
from benchmarks.processes import Program
from conf.settings import Settings

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # its user namespaces are not to be had in a container; it only sees our own pages
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--remote-debugging-port=0",
)
WIDTH, HEIGHT = 1440, 900
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")


def executable() -> str:
    """The installed browser. Raises BenchmarkError when there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise BenchmarkError(f"none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    return found


class Browser:
    """One running browser, in a session of its own as every program under test. Use as a context manager."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        profile = folder / f"chromium.{time.time_ns()}"
        command = (executable(), *ARGUMENTS, f"--user-data-dir={profile}", "about:blank")
        self.program = Program("chromium", command, settings, folder)
        self.program.wait_for_line("DevTools listening on ws://", START_SECONDS)
        found = _LISTENING.search(self.program.log.read_text(errors="replace"))
        assert found is not None
        self._socket: ClientConnection = connect(found[1], max_size=None, compression=None)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(WebSocketException, OSError):
            self._socket.close()
        self.program.stop()

    @contextlib.contextmanager
    def tab(self, url: str, script: str = "") -> Iterator["Tab"]:
        """A window of its own with an empty cache, showing `url`; `script` runs in it before any other."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        asked = {"url": "about:blank", "browserContextId": context, "newWindow": True, "width": WIDTH, "height": HEIGHT}
        target = self.send("Target.createTarget", asked)["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(self, session)
        if script:
            tab.send("Page.enable")
            tab.send("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        tab.send("Page.navigate", {"url": url})
        try:
            yield tab
        finally:
            self.send("Target.disposeBrowserContext", {"browserContextId": context})

    @contextlib.contextmanager
    def tracing(self, categories: str) -> Iterator[list[dict[str, Any]]]:
        """The browser's trace events of these categories, there when the block has ended."""
        events: list[dict[str, Any]] = []
        wanted = {"transferMode": "ReturnAsStream", "traceConfig": {"includedCategories": categories.split(",")}}
        self.send("Tracing.start", wanted)
        yield events
        self.send("Tracing.end")
        stream, text = self._event("Tracing.tracingComplete")["stream"], ""
        while True:
            part = self.send("IO.read", {"handle": stream, "size": 1 << 22})
            text += part["data"]
            if part["eof"]:
                break
        events += json.loads(text)["traceEvents"]

    def _event(self, method: str) -> dict[str, Any]:
        """The parameters of the next event of that name."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (message := self._receive(deadline, method)).get("method") != method:
            pass
        found: dict[str, Any] = message["params"]
        return found

    def send(self, method: str, params: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """A command and its answer. Raises BenchmarkError when it is refused or does not come."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params or {}}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        deadline = time.monotonic() + ANSWER_SECONDS
        while (answer := self._receive(deadline, method)).get("id") != number:
            pass
        if "error" in answer:
            raise BenchmarkError(f"the browser refused {method}: {answer['error'].get('message')}")
        found: dict[str, Any] = answer["result"]
        return found

    def _receive(self, deadline: float, what: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._socket.recv(deadline - time.monotonic()))
        except (WebSocketException, OSError) as error:
            raise BenchmarkError(f"the browser did not answer {what}: {error or type(error).__name__}") from None
        return found


class Tab:
    """A page of the browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def send(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._browser.send(method, params, self._session)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited. Raises BenchmarkError for what it throws."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = self.send("Runtime.evaluate", asked)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {}).get("description", "an exception")
            raise BenchmarkError(f"the page threw {thrown.splitlines()[0]}")
        return answer["result"].get("value")

    def until(self, script: str, what: str, seconds: float = 60.0) -> Any:
        """The first truthy value of an expression. Raises BenchmarkError when there is none in time."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(script)):
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{what}: not within {seconds:.0f} s")
            time.sleep(0.1)
        return value

    def wheel(self, x: float, y: float, down: float) -> None:
        """Turn the mouse wheel by so many pixels."""
        place = {"x": x, "y": y, "deltaX": 0, "deltaY": down}
        self.send("Input.dispatchMouseEvent", {"type": "mouseWheel", **place})
