"""The servers of a run, each behind a proxy, in a folder of the run."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from chaos.proxy import Proxy
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from local.server import HOST, Server, free_port

NAMES = ("kafka", "postgres", "redis")


class ProxiedKafka(Kafka):
    """A broker that tells its clients to come through the proxy."""

    def __init__(self, folder: Path, proxy_port: int) -> None:
        super().__init__(folder, heap="512m")
        self._proxy_port = proxy_port

    def _prepare(self) -> None:
        super()._prepare()
        path = self.folder / "server.properties"
        own, shown = (f"advertised.listeners=PLAINTEXT://{HOST}:{port}" for port in (self.port, self._proxy_port))
        path.write_text(path.read_text().replace(own, shown))


class Servers:
    """Broker, PostgreSQL and Redis, and the way to each."""

    def __init__(self, held: dict[str, Server], proxies: dict[str, Proxy]) -> None:
        self.held = held
        self.proxies = proxies

    def urls(self) -> dict[str, str]:
        """The variables by which programs find them, through the proxies."""
        at = {name: proxy.port for name, proxy in self.proxies.items()}
        return {
            "KAFKA_BOOTSTRAP": f"{HOST}:{at['kafka']}",
            "POSTGRES_DSN": f"postgresql://postgres@{HOST}:{at['postgres']}/postgres",
            "REDIS_URL": f"redis://{HOST}:{at['redis']}/0",
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
    ports = {name: free_port() for name in NAMES}
    held: dict[str, Server] = {
        "kafka": ProxiedKafka(folder / "kafka", ports["kafka"]),
        "postgres": Postgres(folder / "postgres"),
        "redis": Redis(folder / "redis"),
    }
    with contextlib.ExitStack() as running:
        proxies = {}
        for name, server in held.items():
            proxies[name] = running.enter_context(Proxy(ports[name], server.port))
            running.callback(server.stop)
            server.start()
        yield Servers(held, proxies)


def _family(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
