"""What this machine lacks for `make up` and `make test`, and how to get it.

Nothing but the standard library is imported until the pinned packages are known to be there.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.errors import TickstreamError
from local.jars import ROOT, java, up_to_date

MIN_JAVA = 17
MIN_FREE_GB = 3.0
_PIN = re.compile(r'^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)(?:; python_version (<|>=) "3\.(\d+)")?$', re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """One look at the machine; `cure` is what to do when it is not well."""

    subject: str
    state: str
    well: bool = True
    cure: str = ""


def examine() -> list[Finding]:
    """All findings; the machine is ready when every one is well. Raises ConfigError when a setting is wrong."""
    checks: list[Callable[[], Finding]] = [_python, _java, _make, _packages, _jars, _disk]
    findings = [check() for check in checks]
    if any(_installed(name) is None for name, _ in _pins()):
        return findings
    if all(finding.well for finding in findings if finding.subject == "java"):
        findings.append(_classes())
    from local.stack import given_servers, status

    findings += [_port("api"), _port("dashboard")]
    findings += [Finding(name, state) for name, state in status()]
    return findings + [_server(name, url) for name, url in given_servers().items()]


def report(findings: list[Finding]) -> str:
    """The findings as lines, the cures under what they cure."""
    lines = []
    for finding in findings:
        lines.append(f"{'ok     ' if finding.well else 'MISSING'} {finding.subject:<10} {finding.state}")
        if finding.cure:
            lines.append(f"{'':<19}-> {finding.cure}")
    return "\n".join(lines)


def java_version(text: str) -> int:
    """The major version in the output of `java -version`; 0 when there is none.

    >>> java_version('openjdk version "17.0.15" 2025-04-15'), java_version('java version "1.8.0_402"')
    (17, 8)
    """
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else 0


def _python() -> Finding:
    well = (3, 11) <= sys.version_info[:2] <= (3, 14)
    cure = "" if well else "install Python 3.11 to 3.14 and run `make PYTHON=python3.12 up`"
    return Finding("python", f"{platform.python_version()} ({sys.executable})", well, cure)


def _java() -> Finding:
    cure = (
        f"install a JRE of version {MIN_JAVA} or newer (Debian: apt-get install default-jre-headless), or set JAVA_HOME"
    )
    try:
        program = java()
    except TickstreamError:
        return Finding("java", "not found", False, cure)
    text = subprocess.run([program, "-version"], capture_output=True, text=True).stderr
    vendor = next((line for line in text.splitlines() if "Runtime" in line), "of unknown vendor")
    major = java_version(text)
    well = major >= MIN_JAVA
    return Finding("java", f"{major}, {vendor} ({program})", well, "" if well else cure)


def _make() -> Finding:
    found = shutil.which("make")
    return Finding("make", found or "not found", found is not None, "" if found else "Debian: apt-get install make")


def _packages() -> Finding:
    pins = _pins()
    wrong = [f"{name} {wanted}" for name, wanted in pins if _installed(name) != wanted]
    if not wrong:
        return Finding("packages", f"all {len(pins)} of requirements.txt")
    shown = ", ".join(wrong[:4]) + (" …" if len(wrong) > 4 else "")
    return Finding("packages", f"not as pinned: {shown}", False, "pip install -r requirements.txt (`make up` does it)")


def _pins() -> list[tuple[str, str]]:
    """The packages that this Python is to have, and of which version."""
    found = _PIN.findall((ROOT / "requirements.txt").read_text())
    return [(name, wanted) for name, wanted, how, minor in found if not how or _meant(how, int(minor))]


def _meant(how: str, minor: int) -> bool:
    return sys.version_info[1] < minor if how == "<" else sys.version_info[1] >= minor


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _jars() -> Finding:
    if up_to_date():
        return Finding("jars", "as conf/ivy.xml asks")
    return Finding(
        "jars", "not fetched, or not those of conf/ivy.xml", False, "python -m local jars (`make up` does it)"
    )


def _classes() -> Finding:
    from local.classes import up_to_date as archived

    made = archived()
    return Finding("classes", "archived" if made else "not archived: `python -m local classes` makes starts shorter")


def _disk() -> Finding:
    data = Path(os.environ.get("TICKSTREAM_DATA_PATH") or "data")
    folder = next(path for path in (data.resolve(), *data.resolve().parents) if path.exists())
    free = shutil.disk_usage(folder).free / 1e9
    well = free >= MIN_FREE_GB
    cure = "" if well else f"free {MIN_FREE_GB:.0f} GB, or set TICKSTREAM_DATA_PATH to a folder on another disk"
    return Finding("disk", f"{free:.1f} GB free at {folder}", well, cure)


def _port(program: str) -> Finding:
    from conf.settings import load_settings, variable
    from local.server import port_is_free

    settings, field = load_settings(), f"{program}_port"
    port = getattr(settings, field)
    if port_is_free(port):
        return Finding(f"{program} port", f"{port} is free")
    asked = field in settings.model_fields_set
    cure = f"set {variable(field)} to another" if asked else "`up` will take another one"
    return Finding(f"{program} port", f"{port} is in use", not asked, cure)


def _server(name: str, url: str) -> Finding:
    from conf.settings import load_settings
    from local.probe import reach, without_password

    problem = reach(name, url, load_settings())
    if problem is None:
        return Finding(name, f"{without_password(url)} answers")
    cure = (
        f"start that server, or unset {name}: `up` then starts its own"
        if name != "INFLUX_URL"
        else "start it, or unset"
    )
    return Finding(name, f"{without_password(url)} does not answer: {problem}", False, cure)
