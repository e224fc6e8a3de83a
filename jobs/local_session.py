"""A Spark session inside this process, without spark-submit: for notebooks and other explorers of the lake."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]


def local_session(name: str, cores: int = 2, log: Path | None = None) -> SparkSession:
    """The session of this process, started with the project's configuration where there is none; batch only, no Kafka.

    What the JVM says goes to `log`, nowhere by default, instead of into the cells of a notebook.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # a machine may not know its own name
    builder = SparkSession.builder.master(f"local[{cores}]").appName(name)
    for key, value in _configuration().items():
        builder = builder.config(key, value)
    with _stderr_to(log or Path(os.devnull)):
        return builder.getOrCreate()


def _configuration() -> dict[str, str]:
    lines = (ROOT / "conf/spark-defaults.conf").read_text().splitlines()
    held = dict(line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    own = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:-DontCompileHugeMethods"
        f" -Dlog4j2.configurationFile=file:{ROOT}/conf/log4j2.properties",
    }
    return {key: value.strip() for key, value in (held | own).items()}


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Programs started in the block inherit this file as their stderr; an own one is back afterwards."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
