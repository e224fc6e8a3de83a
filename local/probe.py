"""Questions to running services: does it answer, where is the API, which bar moved."""

import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from conf.settings import Settings
from producers.topics import ask_broker

SECONDS = 5
SAMPLE = 20
_SECRETS = ("password", "sslpassword")

Sample = dict[str, dict[str, str]]


def reach(variable: str, url: str, settings: Settings) -> str | None:
    """Why the server of a variable (KAFKA_BOOTSTRAP, POSTGRES_DSN, …) does not answer; None if it does."""
    try:
        _ASK[variable](url, settings)
    except Exception as error:  # every client has errors of its own; here they all mean: no answer
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


def answers_http(url: str) -> bool:
    """Whether anything speaks HTTP there, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def api_url(settings: Settings) -> str:
    """The API's address as a browser on this machine writes it."""
    host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::", "") else settings.api_host
    return f"http://{host}:{settings.api_port}"


def dashboard_url(settings: Settings) -> str:
    """The dashboard's address, as `api_url`."""
    host = "127.0.0.1" if settings.dashboard_host in ("0.0.0.0", "::", "") else settings.dashboard_host
    return f"http://{host}:{settings.dashboard_port}"


def without_password(url: str) -> str:
    """A server's address with `***` for a password: before the host, in the query, or in a DSN of `name=value`."""
    if "://" not in url:
        return _dsn_without_password(url) if "=" in url else url
    parts = urlsplit(url)
    if parts.password is not None:
        user = f"{parts.username}:***@" if parts.username else ":***@"
        parts = parts._replace(netloc=user + parts.netloc.rpartition("@")[2])
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name in _SECRETS for name, _ in query):
        parts = parts._replace(query=urlencode(_masked(dict(query)), safe="*/:,"))
    return urlunsplit(parts)


def _dsn_without_password(dsn: str) -> str:
    try:
        return make_conninfo("", **_masked(conninfo_to_dict(dsn)))
    except psycopg.ProgrammingError:  # nobody can tell what of it is secret
        return "***"


def _masked(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: "***" if name in _SECRETS else value for name, value in fields.items()}


def bar_sample(settings: Settings) -> Sample:
    """A few forming bars of Redis, so that two looks tell whether they move."""
    with redis.Redis.from_url(
        settings.redis_url.get_secret_value(), decode_responses=True, socket_timeout=SECONDS
    ) as client:
        keys = []
        for key in client.scan_iter(match="bar:*", count=1000):
            keys.append(key)
            if len(keys) == SAMPLE:
                break
        return {key: client.hgetall(key) for key in keys}


def moved(before: Sample, now: Sample) -> str | None:
    """A bar that is new or has changed, in words; None while all stand still."""
    for key, fields in now.items():
        if fields and before.get(key) != fields:
            shown = ", ".join(f"{name} {fields[name]}" for name in ("close", "trade_count") if name in fields)
            return f"{key} {shown}".strip()
    return None


def _ask_kafka(url: str, settings: Settings) -> None:
    ask_broker(settings.model_copy(update={"kafka_bootstrap": url}), SECONDS)


def _ask_postgres(url: str, _: Settings) -> None:
    with psycopg.connect(url, connect_timeout=SECONDS) as connection:
        connection.execute("SELECT 1")


def _ask_redis(url: str, _: Settings) -> None:
    with redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS) as client:
        client.ping()


def _ask_influx(url: str, _: Settings) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 8086), timeout=SECONDS):
        pass


_ASK = {
    "KAFKA_BOOTSTRAP": _ask_kafka,
    "POSTGRES_DSN": _ask_postgres,
    "REDIS_URL": _ask_redis,
    "INFLUX_URL": _ask_influx,
}
