"""The servers of a run, each at the end of a network that can be cut, in a folder of the run."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psutil

from chaos.errors import ChaosError
from chaos.network import Behind, Cable, Namespace
from chaos.proxy import Mode, Proxy
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from local.server import HOST, Server, free_port

NAMES = ("kafka", "postgres", "redis")


class Startable(Protocol):
    """A server, wherever its process is."""

    @property
    def pid(self) -> int | None: ...

    def start(self) -> object: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class Way(Protocol):
    """The network to a server: where it is found, and what it is."""

    host: str
    port: int
    how: str

    def set(self, mode: Mode) -> None: ...


class ReachedKafka(Kafka):
    """A broker that tells its clients to come by another address."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, heap="512m")
        self.shown = ""

    def _prepare(self) -> None:
        super()._prepare()
        path = self.folder / "server.properties"
        own = f"advertised.listeners=PLAINTEXT://{HOST}:{self.port}"
        path.write_text(path.read_text().replace(own, f"advertised.listeners=PLAINTEXT://{self.shown}"))


class Servers:
    """Broker, PostgreSQL and Redis, and the way to each.

    `problem`: why there are no namespaces, empty where there are.
    """

    def __init__(self, held: dict[str, Startable], ways: dict[str, Way], problem: str = "") -> None:
        self.held = held
        self.ways = ways
        self.problem = problem

    def urls(self) -> dict[str, str]:
        """The variables by which programs find them."""
        at = {name: f"{way.host}:{way.port}" for name, way in self.ways.items()}
        return {
            "KAFKA_BOOTSTRAP": at["kafka"],
            "POSTGRES_DSN": f"postgresql://postgres@{at['postgres']}/postgres",
            "REDIS_URL": f"redis://{at['redis']}/0",
        }

    def pause(self, name: str) -> list[psutil.Process]:
        """SIGSTOP a server and all its children; those that were."""
        stopped = []
        for process in _family(self.held[name].pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
                stopped.append(process)
        return stopped

    @staticmethod
    def resume(stopped: list[psutil.Process]) -> None:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Servers]:
    """The servers, running; stopped at the end."""
    broker = ReachedKafka(folder / "kafka")
    servers: dict[str, Server] = {
        "kafka": broker,
        "postgres": Postgres(folder / "postgres"),
        "redis": Redis(folder / "redis"),
    }
    with contextlib.ExitStack() as running:
        spaces, problem = _spaces(running)
        held: dict[str, Startable] = {}
        ways: dict[str, Way] = {}
        for name, server in servers.items():
            space = spaces.get(name)
            way = Proxy(free_port(), server.port) if space is None else Cable(space, server.port)
            ways[name] = running.enter_context(way)
            held[name] = server if space is None else Behind(server, space)
            broker.shown = f"{ways['kafka'].host}:{ways['kafka'].port}"
            running.callback(held[name].stop)
            held[name].start()
        yield Servers(held, ways, problem)


def _spaces(running: contextlib.ExitStack) -> tuple[dict[str, Namespace], str]:
    """A namespace for each server, or none and the reason."""
    with contextlib.ExitStack() as made:
        try:
            found = {name: made.enter_context(Namespace(number)) for number, name in enumerate(NAMES)}
        except ChaosError as error:
            return {}, str(error)
        running.push(made.pop_all())
    return found, ""


def _family(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
