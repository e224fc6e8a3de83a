"""The broker that tests share, and how the JVMs of tests run."""

from collections.abc import Iterator
from contextlib import contextmanager

from local.classes import options as class_options
from local.kafka import Kafka

# Tests are over before the optimising compiler of their JVMs has earned what it costs: without it brokers and Spark
# need a third less CPU. It would take most of the room for code along, which the one Spark session of a run fills.
# Classes are not verified, as in spark-submit.sh, and come from an archive, those of Spark's workers too.
_OPTIONS = (
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
    " -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)


def java_options() -> tuple[str, str]:
    """The variable with the options of every JVM, and its value."""
    return "JDK_JAVA_OPTIONS", " ".join([_OPTIONS, *class_options("driver")])


class RunningKafka(Kafka):
    """A broker on its folder that another process started and will end."""

    @property
    def pid(self) -> int | None:
        process = self.running()
        return None if process is None else process.pid


@contextmanager
def lent(server: Kafka) -> Iterator[Kafka]:
    """Start it; at the end it is killed, since nobody reads again what it holds and a goodbye takes seconds."""
    try:
        yield server.start()
    finally:
        server.kill()
