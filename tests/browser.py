"""Chromium for tests: found on this machine, one for a module of tests, a fresh context for each test.

Playwright's synchronous API occupies the thread's event loop, so no test of such a module may use `asyncio.run`, and
the browser ends with the module rather than with the session.
"""

import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, sync_playwright
from playwright.sync_api import Error as PlaywrightError

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SECONDS = 30.0  # a loaded machine; what is there is seen at once
SHOWN_CHARACTERS = 1500
NOT_THERE_YET = "Cannot read properties of null"

Viewport = dict[str, int]


def executable() -> str | None:
    """The path of an installed Chromium or Chrome."""
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(
    executable() is None, reason=f"none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Console:
    """What went wrong in the pages of a context: console errors and warnings, exceptions, requests without an answer.

    `expect` a pattern for what a test provokes itself.
    """

    def __init__(self, context: BrowserContext) -> None:
        self._problems: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        context.on("console", self._said)
        context.on("weberror", lambda error: self._problems.append(f"exception: {error.error.stack or error.error}"))
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    def expect(self, pattern: str) -> None:
        self._expected.append(re.compile(pattern))

    @property
    def problems(self) -> list[str]:
        """Those that nobody expected."""
        return [line for line in self._problems if not any(each.search(line) for each in self._expected)]

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            place = message.location
            self._problems.append(f"{message.type}: {message.text} ({place.get('url')}:{place.get('lineNumber')})")

    def _failed(self, request: Request) -> None:
        # A page that is left takes its open requests with it.
        if request.failure != "net::ERR_ABORTED":
            self._problems.append(f"request: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._problems.append(f"answer: {response.status} {response.url}")


class Screen:
    """A page in a context of its own, with a clean console at the end unless the test failed before."""

    def __init__(self, browser: Browser, url: str, viewport: Viewport | None = None, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(viewport=viewport or DESKTOP, **context)  # type: ignore[arg-type]
        self.console = Console(self.context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path, wait_until="domcontentloaded")
        return self.page

    def until(self, script: str, what: str = "", seconds: float = SECONDS) -> Any:
        """The first truthy value of a JavaScript expression; fails with what the page and its console say.

        An element that the expression looks into may come later than the page does.
        """
        try:
            return until(lambda: self._value(script), what or script, seconds)
        except AssertionError as error:
            shown = self.page.locator("body").inner_text()[:SHOWN_CHARACTERS]
            raise AssertionError(f"{error}\n{self.page.url}\n{self.console.problems}\n{shown}") from None

    def _value(self, script: str) -> Any:
        try:
            return self.page.evaluate(script)
        except PlaywrightError as error:
            if NOT_THERE_YET in error.message:
                return None
            raise

    def mark(self) -> None:
        """Leave a mark in the page that a reload would lose."""
        self.page.evaluate("window.__marked = true")

    @property
    def marked(self) -> bool:
        return bool(self.page.evaluate("window.__marked === true"))

    def pixels(self, selector: str) -> np.ndarray:
        """What an element looks like: height x width x RGB."""
        image = Image.open(io.BytesIO(self.page.locator(selector).first.screenshot(animations="disabled")))
        return np.asarray(image.convert("RGB"), np.int16)

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth"))

    def prop(self, element: str, name: str) -> Any:
        """A property of a Dash component as the browser holds it now."""
        script = f"dash_component_api.getLayout({json.dumps(element)})?.props?.[{json.dumps(name)}] ?? null"
        return self.page.evaluate(script)

    def close(self) -> None:
        self.context.close()


@contextmanager
def screen(browser: Browser, url: str, **options: Any) -> Iterator[Screen]:
    """A page of a dashboard; a problem on its console fails the test."""
    shown = Screen(browser, url, **options)
    try:
        yield shown
        assert not shown.console.problems, shown.console.problems
    finally:
        shown.close()


def until(condition: Callable[[], Any], what: str = "condition", seconds: float = SECONDS) -> Any:
    """Its first truthy value; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.03)
    return value


def differing(before: np.ndarray, after: np.ndarray, least: int = 24) -> int:
    """How many pixels differ by at least so much in a colour; all of them when the sizes differ."""
    if before.shape != after.shape:
        return int(max(before.size, after.size) // 3)
    return int((np.abs(before - after).max(axis=2) >= least).sum())
