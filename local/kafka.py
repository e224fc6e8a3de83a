"""Apache Kafka, one KRaft node, from the broker jars of conf/ivy.xml."""

import base64
import os
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka.admin import AdminClient

from local.classes import options as class_options
from local.errors import LocalError
from local.jars import ensure_jars, java, pyspark_jars
from local.server import HOST, Server

# The session timeout is how long a broker restarted after a crash waits for its own ghost to expire: 9 s by default.
# Where nothing happens, a controller writes two records a second for its followers to see it: there are none.
# The cleaner of `bars.live`, unthrottled, takes a core in bursts and makes G1 stop the broker: it was the tail of live
# (docs/decisions/0004).
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=5000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
metadata.max.idle.interval.ms=0
log.cleaner.io.max.bytes.per.second=16777216
log.cleaner.dedupe.buffer.size=33554432
num.network.threads=2
num.io.threads=4
"""

# Half of the heap is for what is new, from the start: a collection stops the broker, and with it live, about as long
# whatever its size, so fewer are better (docs/decisions/0004). What is there after two of them stays.
_COLLECTING = ("-XX:+UseParallelGC", "-XX:NewRatio=1", "-XX:MaxTenuringThreshold=2", "-XX:MetaspaceSize=96m")

_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class Kafka(Server):
    """A broker and its controller in one process. `url` is host:port, as `bootstrap.servers` wants it."""

    name = "kafka"
    stop_signal = signal.SIGTERM

    def __init__(
        self, folder: Path, port: int | None = None, heap: str = "1g", classes_into: Path | None = None
    ) -> None:
        """`classes_into`: where to write an archive of its classes as it ends, instead of using one."""
        super().__init__(folder, port)
        self._heap = heap
        self._classes = [f"-XX:ArchiveClassesAtExit={classes_into}"] if classes_into else class_options("broker")

    @property
    def url(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def controller_port(self) -> int:
        return self._remembered("controller_port", None)

    def _prepare(self) -> None:
        self._refuse_taken(self.controller_port)
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        logs = self.folder / "logs"
        text = _PROPERTIES.format(host=HOST, port=self.port, controller=self.controller_port, logs=logs)
        (self.folder / "server.properties").write_text(text)
        if not (logs / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        options = ("-t", cluster, "-c", "server.properties", *self._format_options())
        command = self._java("kafka.tools.StorageTool", "format", *options, options=class_options("broker"))
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise LocalError(f"kafka: formatting {self.folder} failed: {(done.stderr or done.stdout).strip()}")

    def _format_options(self) -> list[str]:
        return []

    def _command(self) -> list[str]:
        return self._java("kafka.Kafka", "server.properties", options=self._classes)

    def _java(self, main: str, *args: str, options: Sequence[str] = ()) -> list[str]:
        return [
            *(java(), f"-Xms{self._heap}", f"-Xmx{self._heap}", *_COLLECTING, *options),
            "-Dlog4j2.configurationFile=log4j2.properties",
            *("-cp", _classpath(), main, *args),
        ]

    def _answers(self) -> bool:
        # librdkafka would write each refused connection to stderr.
        admin = AdminClient({"bootstrap.servers": self.url, "log_level": 0, "socket.timeout.ms": 2000})
        return bool(admin.list_topics(timeout=2).brokers)


def _classpath() -> str:
    """The broker's jars after PySpark's log4j: the set has no logger of its own, and errors would go nowhere."""
    jars = pyspark_jars()
    names = ("slf4j-api-*.jar", "log4j-slf4j2-impl-*.jar", "log4j-api-*.jar", "log4j-core-*.jar")
    logging = [str(path) for name in names for path in sorted(jars.glob(name))]
    return os.pathsep.join([*logging, str(ensure_jars().broker / "*")])
