"""Runs the dashboard's own JavaScript files in the Node.js that Playwright brings, for tests of their pure parts."""

import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from playwright._impl._driver import compute_driver_executable

ASSETS = Path(__file__).parent.parent / "dashboard" / "assets"
SECONDS = 60


def run_javascript(files: Sequence[str], code: str, given: Any = None) -> Any:
    """What `code`, the body of a function of `given`, returns after these assets were loaded, over JSON."""
    loaded = [f"require({json.dumps(str(ASSETS / name))});" for name in files]
    read = 'const given = JSON.parse(require("fs").readFileSync(0, "utf8"));'
    program = "\n".join([*loaded, read, "const found = ((given) => {", code, "})(given);", _WRITE])
    done = subprocess.run(
        [_node(), "-e", program], input=json.dumps(given), capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


_WRITE = "process.stdout.write(JSON.stringify(found === undefined ? null : found));"


@cache
def _node() -> str:
    return str(compute_driver_executable()[0])
