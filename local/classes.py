"""Archives of Java's classes (class data sharing): brokers and drivers start sooner, with less CPU.

They are made by running the main job once, on servers of its own, and lie beside the jars. A JVM looks whether an
archive fits its own build and the jars on its class path, and does without where it does not.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.errors import LocalError
from local.jars import FOLDER, ROOT, ensure_jars, java, locked, pyspark_jars, sizes

NAMES = ("broker", "driver")
TRAINING_SECONDS = 300
TAIL_LINES = 15
# What does not fit is no reason to say so at each start.
_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")
_TICKS = ("--start", "2024-03-01T14:30:00Z", "--seconds", "120", "--rate", "50", "--symbols", "3", "--seed", "1")
_QUERIES = ("--queries", "live,final,archive", "--available-now")
Say = Callable[[str], object]


def options(name: str, folder: Path = FOLDER) -> list[str]:
    """What makes a JVM use its archive: nothing where there is none."""
    archive = folder / f"{name}.jsa"
    return [f"-XX:SharedArchiveFile={archive}", *_QUIET] if archive.exists() else []


def up_to_date(folder: Path = FOLDER) -> bool:
    """Whether the archives are of this Java and these jars."""
    try:
        made_of: object = json.loads((folder / "classes.json").read_text())
    except (OSError, ValueError):
        return False
    return made_of == _made_of(folder) and all((folder / f"{name}.jsa").exists() for name in NAMES)


def ensure_classes(say: Say, folder: Path = FOLDER) -> None:
    """Make the archives, which takes a minute or two, unless they are there already.

    Raises LocalError when the run that makes them fails; nothing depends on them.
    """
    ensure_jars(folder)
    with locked(folder / "classes.lock"):
        if up_to_date(folder):
            return
        for name in NAMES:
            (folder / f"{name}.jsa").unlink(missing_ok=True)
        fresh = {name: folder / f"{name}.jsa.new" for name in NAMES}
        with tempfile.TemporaryDirectory(prefix="tickstream-classes-") as place:
            os.chmod(place, 0o711)  # PostgreSQL may run under an account of its own
            _train(Path(place), fresh, say)
        for name, archive in fresh.items():
            archive.rename(folder / f"{name}.jsa")
        (folder / "classes.json").write_text(json.dumps(_made_of(folder)))


def _made_of(folder: Path) -> dict[str, Any]:
    """The Java and the jars, as JSON has them."""
    program = Path(java()).resolve()
    facts = program.stat()
    jars = {path.name: path.stat().st_size for path in sorted(pyspark_jars().glob("*.jar"))}
    return {"java": [str(program), facts.st_size, int(facts.st_mtime)], "pyspark": jars, "jars": sizes(folder)}


def _train(place: Path, fresh: Mapping[str, Path], say: Say) -> None:
    """Run the main job over two minutes of ticks; both JVMs write their archives as they end."""
    from local.kafka import Kafka
    from local.postgres import Postgres
    from local.redis import Redis

    say("classes: servers of their own")
    with (
        Kafka(place / "kafka", heap="512m", classes_into=fresh["broker"]) as kafka,
        Postgres(place / "postgres") as postgres,
        Redis(place / "redis") as redis,
    ):
        own = {
            "KAFKA_BOOTSTRAP": kafka.url,
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "POSTGRES_DSN": postgres.url,
            "REDIS_URL": redis.url,
            "INFLUX_URL": "",
            "TICKSTREAM_DATA_PATH": str(place / "data"),
            "TICKSTREAM_METRICS_PORT": "0",
            "SUBMIT_PYTHON": sys.executable,
            "SUBMIT_ARGS": "--driver-memory 1g",
            # Nothing here runs long enough to be worth optimising.
            "SUBMIT_JAVA_OPTIONS": " ".join(
                ("-XX:TieredStopAtLevel=1", f"-XX:ArchiveClassesAtExit={fresh['driver']}", *_QUIET)
            ),
        }
        say("classes: a market of two minutes")
        _run([sys.executable, "-m", "producers", "simulate", *_TICKS], own)
        say("classes: its bars, live, final and archived")
        _run([str(ROOT / "spark-submit.sh"), "jobs/stream.py", *_QUERIES], own)
    for name, archive in fresh.items():
        if not archive.exists():
            raise LocalError(f"this Java wrote no archive of the {name}'s classes")
    say("classes: archived")


def _run(command: list[str], own: dict[str, str]) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TICKSTREAM_")}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=inherited | own,
            capture_output=True,
            text=True,
            timeout=TRAINING_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalError(f"classes: {command[1]} did not end within {TRAINING_SECONDS} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-TAIL_LINES:])
        raise LocalError(f"classes: {' '.join(command[1:3])} ended with {done.returncode}:\n{tail}")
