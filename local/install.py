"""`python -m local.install FILE`: pip, with one progress line instead of a page, and its whole log beside the packages.

Runs on a bare virtual environment: nothing but the standard library.
"""

import subprocess
import sys
from pathlib import Path

TAIL_LINES = 15


def install(requirements: str) -> int:
    """Install a requirements file into this interpreter's environment; pip's exit code."""
    log = Path(sys.prefix) / "pip.log"
    quiet = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
    patient = ("--retries", "8", "--timeout", "60")
    command = [sys.executable, "-m", "pip", "install", *quiet, *patient, "-r", requirements]
    with (
        log.open("w") as record,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip,
    ):
        assert pip.stdout is not None
        for line in pip.stdout:
            record.write(line)
            _show(line)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if pip.returncode != 0:
        tail = "".join(log.read_text().splitlines(keepends=True)[-TAIL_LINES:])
        print(f"{tail}error: pip failed; all it said is in {log}. The same command again goes on.", file=sys.stderr)
    return pip.returncode


def _show(line: str) -> None:
    """One line that overwrites itself; without a terminal, only the large steps."""
    words = line.split()
    if sys.stderr.isatty() and words[:1] == ["Downloading"]:
        text = f"  {words[1].rpartition('/')[2]} {' '.join(words[2:])}"
        print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)
    elif words[:2] == ["Installing", "collected"]:
        print(f"  installing {len(words) - 3} packages …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(install(sys.argv[1]))
