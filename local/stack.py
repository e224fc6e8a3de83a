"""`python -m local up`: the servers that are not given, then the processes, until Ctrl-C."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from dotenv import dotenv_values
from honcho.printer import Printer

from conf.settings import Settings, load_settings, variable
from local.errors import LocalError
from local.jars import ROOT, ensure_jars
from local.kafka import Kafka
from local.news import News
from local.postgres import Postgres
from local.probe import api_url, reach, without_password
from local.programs import Feed, programs
from local.record import StackRecord
from local.redis import Redis
from local.server import Server, free_port, port_is_free
from local.supervisor import Supervisor
from metrics.serve import OFFSETS, ports
from producers.topics import ensure_topics

SERVERS: dict[str, type[Server]] = {"KAFKA_BOOTSTRAP": Kafka, "POSTGRES_DSN": Postgres, "REDIS_URL": Redis}


ADDRESSES = "servers.env"
"""The file, for shells, that says where the servers of a running stack are."""
REPLAY = "replay"
"""The folder of a replay's servers and data, in the data folder."""


def up(feed: Feed, ruleset: str | None = None, servers_only: bool = False) -> int:
    """Run the stack in the foreground until a signal; the exit code.

    Raises LocalError when it cannot be started, StoreUnavailable when a given server does not answer.
    """
    feed.check()
    started = time.monotonic()
    settings = load_settings()
    record = StackRecord(settings.data_path)
    if count := record.reap(_own_servers(settings)):
        _say(f"ended {count} processes that an earlier stack left behind")
    addresses = settings.data_path / ADDRESSES
    with record.held(), contextlib.ExitStack() as servers:
        ensure_jars()
        stop = _stop_on_signals()
        settings = _place(feed, settings)
        env = _environment(settings, _chosen_ruleset(feed, ruleset, settings)) | _start_servers(settings, servers, stop)
        servers.callback(addresses.unlink, missing_ok=True)
        _tell_addresses(addresses, env)
        if stop.is_set():
            return 0
        settings = load_settings(env)
        ensure_topics(settings)
        if servers_only:
            return _hold(env, stop)
        _migrate(env)
        env |= _addresses(settings)
        return 0 if stop.is_set() or _run(feed, env, record, started, stop) else 1


def down() -> str:
    """Stop the stack that runs on the data folder, or what a killed one left behind; says what was done."""
    settings = load_settings()
    record = StackRecord(settings.data_path)
    if record.stop_leader():
        return "stopped"
    count = record.reap(_own_servers(settings))
    return f"ended {count} left-over processes" if count else "nothing runs here"


def status() -> list[tuple[str, str]]:
    """Name and state of the stack and of its own servers."""
    settings = load_settings()
    leader = StackRecord(settings.data_path).leader()
    rows = [("stack", f"process {leader.pid}" if leader else "not running")]
    for server in _own_servers(settings):
        process = server.running()
        name = server.folder.relative_to(settings.data_path.resolve()).as_posix()
        if process is not None or name == server.name:
            rows.append((name, f"process {process.pid} on {server.url}" if process else "not running"))
    return rows


def given_servers() -> dict[str, str]:
    """The URLs of servers named by the environment or .env."""
    merged = {**dotenv_values(".env"), **os.environ}
    return {name: url for name in (*SERVERS, "INFLUX_URL") if (url := merged.get(name))}


def _start_servers(settings: Settings, servers: contextlib.ExitStack, stop: threading.Event) -> dict[str, str]:
    """The URLs of the three: given ones are checked, the others started until `stop`, and stopped with `servers`."""
    given = given_servers()
    for name, url in given.items():
        problem = reach(name, url, settings)
        if problem is not None:
            raise LocalError(f"{name} is set to {without_password(url)}, which does not answer: {problem}")
        _say(f"{name}: using {without_password(url)}")
    if "KAFKA_BOOTSTRAP" not in given and settings.kafka_security_protocol != "PLAINTEXT":
        raise LocalError("KAFKA_SECURITY_PROTOCOL is for brokers of yours: set KAFKA_BOOTSTRAP too")
    urls = {name: given[name] for name in SERVERS if name in given}
    for name, kind in SERVERS.items():
        if name not in urls and not stop.is_set():
            server = servers.enter_context(kind(settings.data_path / kind.name))
            urls[name] = server.url
            _say(f"{kind.name}: started on {server.url}")
    return urls


def _tell_addresses(file: Path, env: dict[str, str]) -> None:
    """Write down where the servers are that were started; given ones are known to whoever gave them."""
    given = given_servers()
    started = [name for name in SERVERS if name not in given and name in env]
    if started:
        file.write_text("".join(f"export {name}={shlex.quote(env[name])}\n" for name in started))
        _say(f"commands beside it find these servers after: . {file}")


def _run(feed: Feed, env: dict[str, str], record: StackRecord, started: float, stop: threading.Event) -> bool:
    """Start the processes and watch them; False when one failed for good."""
    settings = load_settings(env)
    supervisor = Supervisor(programs(feed, settings.ruleset), env, ROOT, Printer(sys.stdout))
    news = News(settings, started, supervisor.say)

    def on_tick() -> None:
        news.tell()
        record.note_sessions(supervisor.sessions())

    try:
        supervisor.start()
        return supervisor.watch(stop, on_tick)
    finally:
        supervisor.say("stopping the processes, then the servers")
        supervisor.stop()


def _hold(env: dict[str, str], stop: threading.Event) -> int:
    for name in SERVERS:
        print(f"export {name}={env[name]}", flush=True)
    _say("the servers run until Ctrl-C; next: python -m stores migrate")
    stop.wait()
    return 0


def _place(feed: Feed, settings: Settings) -> Settings:
    """Where the stack keeps its data: a replay starts empty, in a folder of its own.

    Recorded ticks are older than whatever an earlier run has seen, so to its watermark all of them would be late.
    A data folder that was set is used as it is.
    """
    if feed.name != "replay" or "data_path" in settings.model_fields_set:
        return settings
    folder = settings.data_path / REPLAY
    if folder.exists():
        _say(f"emptying {folder}: a replay starts from nothing")
        shutil.rmtree(folder)
    return settings.model_copy(update={"data_path": folder})


def _chosen_ruleset(feed: Feed, ruleset: str | None, settings: Settings) -> str | None:
    """The ruleset asked for; for a replay without one, and none in the settings, the one that its files ask for."""
    if ruleset is not None or feed.name != "replay" or "ruleset" in settings.model_fields_set:
        return ruleset
    from producers.reading import find_files, suggested_ruleset  # pandas: a second that only a replay needs

    found = suggested_ruleset(find_files(feed.data))
    _say(f"ruleset: {found}, by the look of the data (RULESET=NAME sets another)")
    return found


def _environment(settings: Settings, ruleset: str | None) -> dict[str, str]:
    """What the children see: this Python, and an absolute data folder, since they run in the repository's."""
    env = os.environ | {"TICKSTREAM_DATA_PATH": str(settings.data_path.resolve()), "SUBMIT_PYTHON": sys.executable}
    return env | {"TICKSTREAM_RULESET": ruleset} if ruleset else env


def _migrate(env: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-m", "stores", "migrate"], env=env, cwd=ROOT, start_new_session=True)
    if done.returncode != 0:
        raise LocalError("the migrations of the database failed, see above")


def _addresses(settings: Settings) -> dict[str, str]:
    """Ports of API, dashboard and metrics, and the API that the dashboard reads unless another one was named."""
    env = {variable(field): str(_port(settings, field)) for field in ("api_port", "dashboard_port")}
    env |= {variable("metrics_port"): str(_metrics_port(settings))}
    if "dashboard_api_url" in settings.model_fields_set:
        return env
    api = api_url(settings.model_copy(update={"api_port": env[variable("api_port")]}))
    return env | {variable("dashboard_api_url"): api}


def _port(settings: Settings, field: str) -> int:
    """The port of a setting, or another one when the default is taken and nobody asked for it."""
    port: int = getattr(settings, field)
    if port_is_free(port):
        return port
    if field in settings.model_fields_set:
        raise LocalError(f"port {port} is in use: set {variable(field)} to another")
    other = free_port()
    _say(f"{field.removesuffix('_port')}: port {port} is in use, taking {other} instead")
    return other


def _metrics_port(settings: Settings) -> int:
    """The first port of metrics, or another one when a default is taken; one that was asked for is kept."""
    first = settings.metrics_port
    if not first or "metrics_port" in settings.model_fields_set or _all_free(first):
        return first
    other = next(port for port in iter(free_port, 0) if _all_free(port))
    _say(f"metrics: ports from {first} on are in use, taking those from {other} on instead")
    return other


def _all_free(first: int) -> bool:
    return all(port_is_free(ports(program, first)[0]) for program in OFFSETS)


def _stop_on_signals() -> threading.Event:
    """An event that Ctrl-C, SIGTERM and a closed terminal set. They only set it: nothing is left half started."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _own_servers(settings: Settings) -> list[Server]:
    """Those of the stack, and those of a replay."""
    folders = (settings.data_path, settings.data_path / REPLAY)
    return [kind(folder / kind.name) for folder in folders for kind in SERVERS.values()]


def _say(text: str) -> None:
    print(text, flush=True)
