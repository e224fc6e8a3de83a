"""Take the pictures of the dashboard in docs/images from a running one.

make up                                                               # in another terminal; an hour of bars looks best
.venv/bin/python -m benchmarks.screenshots http://127.0.0.1:8050 [--page chart] [--symbol AAPL]

Every page in both themes, on a desktop and on a phone: dashboard-PAGE-THEME[-phone].png.
"""

import argparse
import io
import itertools
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from benchmarks.browser import executable
from benchmarks.errors import BenchmarkError
from benchmarks.views import CONTENT

FOLDER = Path(__file__).parents[1] / "docs/images"
SIZES: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1440, "height": 900}},
    "-phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}
THEMES = ("light", "dark")
READY_MS = 120_000
SETTLE_MS = 6_000  # what is pushed comes every two seconds
SETTLED_LATER_MS = {"pipeline": 75_000}  # by then its own loading is no longer among what it times
DRAWN_LATER = {"market": ("#market-heat .slice",)}
NOT_YET = {"pipeline": ("#pipeline-word", "waiting"), "quality": ("#quality-sentence", "Asking")}
COLOURS = 256
LARGEST_BYTES = 150_000


def main() -> int:
    """Exit code: 0 when every picture was taken, 1 when a page had nothing to show or the API did not answer."""
    options = _parser().parse_args()
    try:
        _take_all(options)
    except (BenchmarkError, PlaywrightError) as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


def _take_all(options: argparse.Namespace) -> None:
    browser_path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        for name, theme, size in itertools.product(options.page or CONTENT, THEMES, SIZES):
            path = options.folder / f"dashboard-{name}-{theme}{size}.png"
            _take(browser, options.url.rstrip("/") + _path(name, options.symbol), name, theme, SIZES[size], path)
        browser.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("url", help="of the dashboard, such as http://127.0.0.1:8050")
    parser.add_argument("--page", action="append", choices=list(CONTENT), help="only this one; may be repeated")
    parser.add_argument("--symbol", default="AAPL", help="of the chart and of data quality (default: AAPL)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (default: docs/images)")
    return parser


def _path(page: str, symbol: str) -> str:
    if page == "chart":
        return "/?" + urlencode({"symbol": symbol, "interval": "1m", "range": "1h"})
    return f"/{page}" + ("?" + urlencode({"symbol": symbol}) if page == "quality" else "")


def _take(browser: Browser, url: str, name: str, theme: str, size: dict[str, Any], path: Path) -> None:
    context = browser.new_context(color_scheme=theme, **size)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(READY_MS)
    page.goto(url)
    for selector in (CONTENT[name], *DRAWN_LATER.get(name, ())):
        page.locator(selector).first.wait_for(state="attached")
    if name in NOT_YET:
        selector, text = NOT_YET[name]
        page.locator(selector).filter(has_not_text=text).wait_for()
    page.wait_for_timeout(SETTLED_LATER_MS.get(name, SETTLE_MS))
    if page.locator("#banner").is_visible():
        raise BenchmarkError(f"{name}: {page.locator('#banner').inner_text()}")
    written = _write(page, path)
    print(f"{path.name}: {written / 1000:.0f} kB", flush=True)
    context.close()


def _write(page: Page, path: Path) -> int:
    """The window as a PNG of few colours, fewer still while it is large; its bytes."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    colours = COLOURS
    while True:
        out = io.BytesIO()
        image.quantize(colours, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE).save(
            out, "PNG", optimize=True
        )
        if out.tell() <= LARGEST_BYTES or colours <= 16:
            break
        colours //= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue())
    return out.tell()


if __name__ == "__main__":
    sys.exit(main())
