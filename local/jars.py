"""The JVM jars of conf/ivy.xml, fetched once with the Ivy that ships inside PySpark.

Ivy verifies the repository's checksums. Its download cache is shared by all clones of this machine
(`~/.cache/tickstream/ivy`, or `IVY_CACHE`), so a second clone copies instead of downloading.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from local.errors import LocalError

ROOT = Path(__file__).resolve().parent.parent
IVY_FILE = ROOT / "conf" / "ivy.xml"
FOLDER = ROOT / ".jars"
SETS = ("connector", "broker")
ATTEMPTS = 5
SILENCE_SECONDS = 20  # by default a connection that hangs would hang for ever

_COMPLAINT = re.compile(r"error|exception|failed|not found", re.IGNORECASE)
_CAUSE = re.compile(r"HttpClientHandler: (.+?)(?: url=.*)?$")  # what stood between Ivy and a module "not found"
_FETCHED = re.compile(r"\[SUCCESSFUL \] \S+?#(\S+?);(\S+?)!\S+")


@dataclass(frozen=True)
class Jars:
    """The two folders of jars."""

    connector: Path
    broker: Path


def ensure_jars(folder: Path = FOLDER, attempts: int = ATTEMPTS) -> Jars:
    """Fetch what conf/ivy.xml names unless it is all there already.

    Raises LocalError when Java is missing or the network stays down.
    """
    if not up_to_date(folder):
        with locked(folder / "lock"):
            if not up_to_date(folder):
                _fetch(folder, attempts)
    return Jars(**{name: folder / name for name in SETS})


def up_to_date(folder: Path = FOLDER) -> bool:
    """Whether the folder holds exactly what conf/ivy.xml asks for, judged by the stamp and by file sizes."""
    try:
        stamp = json.loads((folder / "stamp.json").read_text())
        return bool(stamp["ivy"] == _ivy_hash() and stamp["files"] == sizes(folder))
    except (OSError, ValueError, KeyError):
        return False


def java() -> str:
    """The `java` to use: that of JAVA_HOME, else the one on PATH. Raises LocalError when there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise LocalError("Java is missing: install a JRE of version 17 or newer (Debian: apt-get install default-jre)")
    return found


def pyspark_jars() -> Path:
    """The folder of jars inside the installed pyspark, found without importing it."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise LocalError("pyspark is missing: pip install -r requirements.txt")
    return Path(spec.origin).parent / "jars"


def _fetch(folder: Path, attempts: int) -> None:
    """Replace the sets as a whole, so that no jar of an older version stays on a classpath."""
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    with locked(_cache() / "lock"):
        _retry(fresh, attempts)
    for name in SETS:
        shutil.rmtree(folder / name, ignore_errors=True)
        (fresh / name).rename(folder / name)
    shutil.rmtree(fresh)
    (folder / "stamp.json").write_text(json.dumps({"ivy": _ivy_hash(), "files": sizes(folder)}, indent=1))


def _retry(folder: Path, attempts: int) -> None:
    """Run Ivy until it succeeds; what one attempt downloaded, the next finds in the cache."""
    problem: str | None = ""
    for attempt in range(1, attempts + 1):
        problem = _run_ivy(folder)
        if problem is None:
            return
        if attempt < attempts:
            wait = 2**attempt
            _say(f"jars: attempt {attempt} of {attempts} failed ({problem}); again in {wait} s")
            time.sleep(wait)
    raise LocalError(
        f"the jars of conf/ivy.xml could not be fetched, attempts: {attempts} ({problem}); "
        "check the network, a proxy, and that Java trusts its certificate, then run `python -m local jars` again: "
        "what was fetched is kept"
    )


def _run_ivy(folder: Path) -> str | None:
    """One run of Ivy into `folder`/<set>/; returns None, or the problem in a few words."""
    patience = SILENCE_SECONDS * 1000
    command = [
        *(java(), "-Xmx256m"),
        f"-Dsun.net.client.defaultConnectTimeout={patience}",
        f"-Dsun.net.client.defaultReadTimeout={patience}",
        *("-cp", f"{pyspark_jars()}/*", "org.apache.ivy.Main"),
        *("-ivy", str(IVY_FILE), "-settings", os.environ.get("IVY_SETTINGS") or str(ROOT / "conf" / "ivysettings.xml")),
        *("-cache", str(_cache()), "-confs", *SETS),
        *("-retrieve", f"{folder}/[conf]/[artifact]-[revision](-[classifier]).[ext]"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            problem = _follow(process.stdout)
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0 and all(any((folder / name).glob("*.jar")) for name in SETS):
        return None
    return problem or f"Ivy ended with {process.returncode}"


def _follow(lines: Iterator[str]) -> str | None:
    """Show one progress line; return why a download failed, or else Ivy's own first complaint."""
    problem: str | None = None
    cause: str | None = None
    count = 0
    for line in lines:
        if fetched := _FETCHED.search(line):
            count += 1
            _progress(f"jars: {count} fetched, {fetched[1]} {fetched[2]}")
        elif cause is None and (told := _CAUSE.search(line)):
            cause = told[1][:160]
        elif problem is None and _COMPLAINT.search(line):
            problem = " ".join(line.split())[:160]
    if count and sys.stderr.isatty():
        _say("")
    return cause or problem


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        _say(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _cache() -> Path:
    own = os.environ.get("IVY_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(own).resolve() if own else base / "tickstream" / "ivy"


def _ivy_hash() -> str:
    return hashlib.sha256(IVY_FILE.read_bytes()).hexdigest()


def sizes(folder: Path) -> dict[str, int]:
    """Of each jar of the two sets in a folder, in bytes."""
    return {
        f"{name}/{path.name}": path.stat().st_size for name in SETS for path in sorted((folder / name).glob("*.jar"))
    }


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time: two clones, or `up` beside the tests, may want the jars at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
