"""Bars, their indicators, and points of any measurement, in InfluxDB 2.

A point is known by measurement, tags and time, so a repeated write changes nothing and an amended bar overwrites.
Three things InfluxDB cannot do for us: it keeps amounts as doubles; it does not compare revisions, so an older
revision that is written after a newer one replaces it (within a batch the newest is chosen here); and it knows no null,
so a value that a newer revision lacks stays as the older one wrote it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import structlog
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from conf.settings import Settings
from core.errors import ConfigError, InputError, StoreUnavailable
from core.records import BAR_KEY
from stores.schema import values_of

NAME = "influx"
TIMEOUT_MS = 5_000
LINES_PER_REQUEST = 5_000

Value = Decimal | float | int | bool | str | None

_FLOATS = ("open", "high", "low", "close", "volume", "notional", "vwap")
_INTEGERS = ("trade_count", "rev")
# In the words of older servers and of newer ones, which may name the policy at the end of other messages too.
_TOO_OLD = re.compile("partial write: .*(beyond|outside) retention policy")
_log = structlog.get_logger(__name__)

# Line protocol: what ends a token inside it. A line feed would end the line, and nothing escapes it.
_MEASUREMENT = str.maketrans({",": r"\,", " ": r"\ ", "\n": r"\ ", "\r": r"\ "})
_TAG = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\=", "\n": r"\ ", "\r": r"\ "})
_TEXT = str.maketrans({'"': r"\"", "\\": r"\\"})


@dataclass(frozen=True, slots=True)
class Point:
    """One point: `time_us` in microseconds since the epoch; fields that are None are left out."""

    time_us: int
    tags: Mapping[str, str]
    fields: Mapping[str, Value]


class InfluxStore:
    """A BarSink on an InfluxDB 2 server. Connects at the first write."""

    name = NAME

    def __init__(self, url: str, *, token: str, org: str, bucket: str) -> None:
        self._bucket = bucket
        self._org = org
        self._client: Any = InfluxDBClient(url=url, token=token, org=org, timeout=TIMEOUT_MS, retries=False)
        self._api: Any = self._client.write_api(write_options=SYNCHRONOUS)

    def __repr__(self) -> str:
        return f"InfluxStore(org={self._org!r}, bucket={self._bucket!r})"

    def setup(self) -> None:
        """Nothing to prepare: the bucket and how long it keeps are the server's own settings."""

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        self._send(bar_lines(bars) + ([] if indicators is None else indicator_lines(indicators)))

    def write_points(self, measurement: str, points: Iterable[Point]) -> None:
        """Write points of any measurement; tags and fields as they are given."""
        self._send([line for point in points if (line := point_line(measurement, point)) is not None])

    def close(self) -> None:
        self._api.close()
        self._client.close()

    def _send(self, lines: Sequence[str]) -> None:
        chunks = [lines[at : at + LINES_PER_REQUEST] for at in range(0, len(lines), LINES_PER_REQUEST)]
        kept = [self._write("\n".join(chunk).encode()) for chunk in chunks]
        if not all(kept):
            _log.warning("InfluxDB dropped points from before what its bucket keeps", bucket=self._bucket)

    def _write(self, body: bytes) -> bool:
        """Whether the server kept all of it; it drops what is older than the bucket keeps, and takes the rest."""
        try:
            self._api.write(self._bucket, self._org, body, write_precision=WritePrecision.US)
        except ApiException as error:
            if error.status == 422 and _TOO_OLD.search(str(error.body or error.message)):
                return False
            raise self._answered(error) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(NAME, f"no answer ({type(error).__name__})") from None
        return True

    def _answered(self, error: ApiException) -> Exception:
        if error.status == 429 or error.status is None or error.status >= 500:
            return StoreUnavailable(NAME, f"HTTP {error.status} {error.reason}", _retry_after(error))
        if error.status in (401, 403):
            return ConfigError(f"{NAME}: the server refuses INFLUX_TOKEN (HTTP {error.status})")
        if error.status == 404:
            return ConfigError(
                f"{NAME}: no organisation {self._org!r} with a bucket {self._bucket!r} at INFLUX_URL (HTTP 404)"
            )
        return InputError(f"{NAME}: HTTP {error.status}: {error.message or error.reason}")


def make_influx(settings: Settings) -> InfluxStore | None:
    """The sink, or None when INFLUX_URL is not set."""
    if settings.influx_url is None:
        _log.info("INFLUX_URL is not set: the InfluxDB sink is off")
        return None
    return InfluxStore(
        settings.influx_url,
        token=settings.influx_token.get_secret_value(),
        org=settings.influx_org,
        bucket=settings.influx_bucket,
    )


def bar_lines(bars: pa.Table) -> list[str]:
    """A batch of BAR_SCHEMA as line protocol in microseconds, each bar once in its newest revision."""
    names = (*BAR_KEY, *_FLOATS, *_INTEGERS, "state")
    columns = [bars["start"].cast(pa.int64()) if name == "start" else bars[name] for name in names]
    newest: dict[tuple[str, str, int], tuple[int, str]] = {}
    for symbol, interval, start, *values in zip(*(column.to_pylist() for column in columns), strict=True):
        amounts, (count, rev, state) = values[: len(_FLOATS)], values[len(_FLOATS) :]
        held = newest.get((symbol, interval, start))
        if held is None or held[0] < rev:
            fields = [f"{name}={value:f}" for name, value in zip(_FLOATS, amounts, strict=True) if value is not None]
            fields += [f"trade_count={count}i", f"rev={rev}i", f"is_final={'false' if state == 'forming' else 'true'}"]
            tags = f"symbol={_tag(symbol)},interval={_tag(interval)}"
            newest[symbol, interval, start] = rev, f"bars,{tags} {','.join(fields)} {start}"
    return [line for _, line in newest.values()]


def indicator_lines(indicators: pa.Table) -> list[str]:
    """A batch of INDICATOR_SCHEMA as line protocol in microseconds, each bar's newest revision; no null, no state."""
    names = (*BAR_KEY, "rev", "values")
    columns = [indicators["start"].cast(pa.int64()) if name == "start" else indicators[name] for name in names]
    newest: dict[tuple[str, str, int], tuple[int, str]] = {}
    for symbol, interval, start, rev, values in zip(*(column.to_pylist() for column in columns), strict=True):
        held = newest.get((symbol, interval, start))
        if held is None or held[0] <= rev:
            newest[symbol, interval, start] = rev, values
    return [_indicator_line(*key, rev, values) for key, (rev, values) in newest.items()]


def _indicator_line(symbol: str, interval: str, start: int, rev: int, values: str) -> str:
    fields: dict[str, Value] = {**values_of(values), "rev": rev}
    line = point_line("indicators", Point(start, {"symbol": symbol, "interval": interval}, fields))
    assert line is not None  # there is always a revision
    return line


def point_line(measurement: str, point: Point) -> str | None:
    """A point as line protocol in microseconds; None when it has no field with a value."""
    fields = ",".join(f"{_tag(name)}={_value(value)}" for name, value in point.fields.items() if value is not None)
    tags = "".join(f",{_tag(name)}={_tag(value)}" for name, value in sorted(point.tags.items()) if value)
    return f"{measurement.translate(_MEASUREMENT)}{tags} {fields} {point.time_us}" if fields else None


def _tag(text: str) -> str:
    escaped = text.translate(_TAG)
    # A backslash at the end would escape the separator that follows, and line protocol has no way to say it.
    return escaped + "_" if escaped.endswith("\\") else escaped


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value.translate(_TEXT)}"'
    if isinstance(value, int):
        return f"{value}i"
    return f"{value:f}" if isinstance(value, Decimal) else repr(value)


def _retry_after(error: ApiException) -> float:
    """Seconds that the server asks us to wait; 1 when it does not say or says a date."""
    try:
        headers: Mapping[str, str] = error.headers or {}
        return float(headers.get("Retry-After", "1"))
    except ValueError:
        return 1.0
