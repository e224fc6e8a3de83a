"""Typed, frozen settings from the environment and `.env`.

Servers keep the names that everyone uses (`KAFKA_BOOTSTRAP`, `POSTGRES_DSN`, `REDIS_URL`, `INFLUX_URL`); all else
is `TICKSTREAM_…`, and an unknown `TICKSTREAM_…` is an error, not a typo that goes unnoticed.
Secrets are `SecretStr`: they do not show in logs or reprs.
"""

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from core.errors import ConfigError, TickstreamError
from core.intervals import Interval, parse_intervals

if TYPE_CHECKING:
    from core.indicators import Indicator

PREFIX = "TICKSTREAM_"
KEYS = ("polygon_api_key", "finnhub_api_key", "alpaca_api_key", "alpaca_secret_key", "twelvedata_api_key",
        "finage_api_key", "alphavantage_api_key", "fmp_api_key")  # fmt: skip
OWN_NAMES = {
    "KAFKA_BOOTSTRAP": "kafka_bootstrap",
    "KAFKA_SECURITY_PROTOCOL": "kafka_security_protocol",
    "KAFKA_SASL_MECHANISM": "kafka_sasl_mechanism",
    "KAFKA_SASL_USERNAME": "kafka_sasl_username",
    "KAFKA_SASL_PASSWORD": "kafka_sasl_password",
    "KAFKA_SSL_CA": "kafka_ssl_ca",
    "KAFKA_SSL_CERTIFICATE": "kafka_ssl_certificate",
    "KAFKA_SSL_KEY": "kafka_ssl_key",
    "POSTGRES_DSN": "postgres_dsn",
    "REDIS_URL": "redis_url",
    "INFLUX_URL": "influx_url",
    "INFLUX_TOKEN": "influx_token",
    "INFLUX_ORG": "influx_org",
    "INFLUX_BUCKET": "influx_bucket",
    **{name.upper(): name for name in KEYS},
}


class Settings(BaseModel):
    """Everything that can be set, with the default that suits one machine.

    A field `x_y` is read from `TICKSTREAM_X_Y`, servers from the names in `OWN_NAMES`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="host:port[,host:port…] of the Kafka brokers")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = Field(
        "PLAINTEXT", description="how the brokers are spoken to: SSL and SASL_SSL are encrypted"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how SASL_SSL and SASL_PLAINTEXT log in"
    )
    kafka_sasl_username: str = Field("", description="who logs in to the brokers")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="and by which password")
    kafka_ssl_ca: Path | None = Field(
        None,
        description="PEM of the authorities that sign brokers' certificates; not set: those of the system",
    )
    kafka_ssl_certificate: Path | None = Field(None, description="PEM of our certificate, for brokers that want one")
    kafka_ssl_key: Path | None = Field(None, description="PEM of its key: PKCS 8, without a password")
    postgres_dsn: SecretStr = Field(
        SecretStr("postgresql://postgres@127.0.0.1:5432/postgres"), description="PostgreSQL or TimescaleDB"
    )
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Redis 6.2 or newer")
    influx_url: str | None = Field(None, description="InfluxDB 2; not set = the sink is off")
    influx_token: SecretStr = Field(SecretStr(""), description="InfluxDB 2 token")
    influx_org: str = Field("tickstream", description="InfluxDB 2 organisation")
    influx_bucket: str = Field("market", description="InfluxDB 2 bucket")

    polygon_api_key: SecretStr = Field(SecretStr(""), description="Polygon (now Massive)")
    finnhub_api_key: SecretStr = Field(SecretStr(""), description="Finnhub")
    alpaca_api_key: SecretStr = Field(SecretStr(""), description="Alpaca, the key's id")
    alpaca_secret_key: SecretStr = Field(SecretStr(""), description="Alpaca, the key's secret")
    alpaca_feed: Literal["iex", "sip"] = Field(
        "iex", description="Alpaca's trades of stocks: iex alone, or sip, the consolidated tape, which needs a plan"
    )
    twelvedata_api_key: SecretStr = Field(SecretStr(""), description="Twelve Data")
    finage_api_key: SecretStr = Field(SecretStr(""), description="Finage")
    alphavantage_api_key: SecretStr = Field(SecretStr(""), description="Alpha Vantage")
    fmp_api_key: SecretStr = Field(SecretStr(""), description="Financial Modeling Prep")
    finage_socket: SecretStr = Field(
        SecretStr(""), description="address of the customer's own Finage socket, with its key: wss://…/?token=…"
    )

    data_path: Path = Field(Path("data"), description="folder of checkpoints, the lake and the local servers")
    intervals: str = Field("1m,5m,15m", description="bar intervals to compute")
    ruleset: str = Field("all", description="which trades count: a name of core/rulesets")
    indicators: str = Field(
        "sma:5 sma:20 sma:50 sma:200 ema:12 ema:20 ema:26 rsi:14 macd:12,26,9 bbands:20,2 vwap mom:10 roc:10 atr:14 obv"
        " stoch:14,3,3 rvol:20 zscore:20",
        description="the indicators that bars carry, and that the API shows unless asked for others;"
        " 15m=sma:200 is for bars of 15 minutes only",
    )
    calendar: str = Field(
        "24/7", description="sessions of VWAP: 24/7, or a calendar of exchange_calendars such as XNYS"
    )
    lateness_seconds: float = Field(10, gt=0, description="watermark delay: how long a bar waits for late ticks")
    future_tolerance_seconds: float = Field(5, ge=0, description="how far a tick may be ahead of the broker's clock")
    symbols: str = Field("", description="comma-separated symbol master; empty = any symbol is accepted")
    symbol_file: Path | None = Field(None, description="more symbols, laid out as producers/symbols.json")

    topic_prefix: str = Field("", description="put before every topic name, to run two systems on one broker")
    ticks_partitions: int = Field(2, ge=1, description="partitions of `ticks` when it is created")
    bars_partitions: int = Field(2, ge=1, description="partitions of `bars.live` and `bars` when they are created")
    shuffle_partitions: int = Field(2, ge=1, description="state partitions of the final query")
    live_checkpoint_seconds: int = Field(300, ge=5, description="real-time mode: seconds between checkpoints")
    live_linger_ms: int = Field(3, ge=0, description="linger of the live Kafka sink")
    final_trigger_ms: int = Field(200, ge=0, description="micro-batch trigger of the final query")
    final_rest_seconds: float = Field(
        5, ge=0, description="how long the final query may let ticks wait while no bar can close; 0 = it never rests"
    )
    archive_trigger_ms: int = Field(5000, ge=0, description="micro-batch trigger of the archive query")
    lake_trigger_seconds: float = Field(60, ge=0, description="how often the lake gets new files; fewer are larger")
    max_ticks_per_batch: int = Field(400_000, ge=1000, description="how much of a backlog one micro-batch reads")

    reconcile_seconds: float = Field(60, gt=0, description="how often bars are held against the tick log")
    reconcile_minutes: int = Field(
        120, ge=1, description="how far back that is done by itself; for more, jobs/reconcile.py --from"
    )

    redis_ttl_seconds: int = Field(300, ge=1, description="lifetime of Redis keys")
    retention_ticks_days: int = Field(30, ge=1, description="how long raw ticks are kept in the database")
    retention_bars_days: int = Field(365, ge=1, description="how long bars are kept in the database")
    retention_daily_years: int = Field(
        100, ge=10, le=1000, description="how long daily bars of the historical tier are kept"
    )
    store_retry_seconds: float = Field(30, ge=0, description="how long a store may be down before a batch fails")

    backup_path: Path | None = Field(None, description="folder of backups; not set: backups in TICKSTREAM_DATA_PATH")
    backup_keep: int = Field(7, ge=0, description="how many backups are kept; older ones are removed; 0 = all")
    schedule: str = Field(
        "retention=17 2 * * *",
        description="what jobs/schedule.py runs when, as name=cron separated by ;, for example"
        " export=30 0 * * *; retention=17 2 * * *; backup=0 3 * * *; names: python -m jobs.schedule --list",
    )
    schedule_time_zone: str = Field("UTC", description="time zone of TICKSTREAM_SCHEDULE: UTC, America/New_York, …")
    schedule_missed_hours: float = Field(
        48, ge=0, description="a run that was missed, because the machine was off, is made up for within so many hours"
    )

    api_host: str = Field("127.0.0.1", description="address the API listens on")
    api_port: int = Field(8000, ge=0, le=65535, description="port the API listens on")
    api_auth: Literal["auto", "required", "off"] = Field(
        "auto",
        description="keys of the API: auto = required beyond loopback, or as soon as a key exists; off = loopback only",
    )
    api_bootstrap_key: SecretStr = Field(
        SecretStr(""), description="a key ts_<id>_<secret> with every scope, created at the start when it is absent"
    )
    api_jwt_secret: SecretStr = Field(SecretStr(""), description="accept JWTs signed with HS256 and this secret")
    api_jwt_public_key_file: Path | None = Field(None, description="accept JWTs of RS256 or ES256: the public key, PEM")
    api_jwt_audience: str = Field("", description="`aud` that a JWT must have")
    api_jwt_issuer: str = Field("", description="`iss` that a JWT must have")
    api_jwt_leeway_seconds: float = Field(10, ge=0, le=300, description="how far clocks may differ for a JWT")
    api_rate: float | None = Field(
        None, ge=0, description="requests a second of a key; 0 = no limit; not set: 200, on open loopback no limit"
    )
    api_burst: float = Field(400, ge=1, description="requests a key may make at once")
    api_write_rate: float | None = Field(
        None, ge=0, description="changes a second of a key; 0 = no limit; not set: 5, on open loopback no limit"
    )
    api_write_burst: float = Field(20, ge=1, description="changes a key may make at once")
    api_cors_origins: str = Field("", description="comma-separated origins of web pages that may call the API")
    api_trusted_proxies: str = Field("", description="comma-separated addresses whose X-Forwarded-For is believed")
    api_max_body_bytes: int = Field(65_536, ge=1024, description="largest body of a request")
    api_max_url_bytes: int = Field(8192, ge=256, description="longest URL of a request")
    api_max_header_bytes: int = Field(16_384, ge=1024, description="largest headers of a request")
    api_read_seconds: float = Field(10, gt=0, description="how long the headers or the body of a request may take")
    api_request_seconds: float = Field(30, gt=0, description="how long a request may take in all")
    api_store_seconds: float = Field(2, gt=0, description="how long a request waits for a store before it is 503")
    api_sockets_per_key: int | None = Field(
        None, ge=1, description="WebSockets of a key, in each worker; not set: 50, on open loopback no limit"
    )
    api_sockets_per_address: int | None = Field(
        None, ge=1, description="WebSockets of an address, in each worker; not set: 50, on open loopback no limit"
    )
    api_socket_rate: float | None = Field(
        None, ge=0, description="messages a second from a WebSocket's key; not set: 20, on open loopback no limit"
    )
    api_socket_subscriptions: int = Field(500, ge=1, description="symbols that one WebSocket may subscribe to")
    api_socket_message_bytes: int = Field(65_536, ge=256, description="largest message from a WebSocket")
    api_socket_since_bars: int = Field(10_000, ge=1, description="how many bars back a WebSocket may catch up")
    api_socket_queue_frames: int = Field(
        10_000, ge=1, description="messages that may wait for a busy WebSocket; more ticks are dropped"
    )
    api_socket_queue_bytes: int = Field(
        8_000_000, ge=1000, description="bytes that may wait for a busy WebSocket before it is closed"
    )
    api_socket_stall_seconds: float = Field(30, gt=0, description="how long a WebSocket may read nothing")
    api_socket_drain_seconds: float = Field(3, gt=0, description="how long a stopping worker waits for its WebSockets")

    dashboard_host: str = Field("127.0.0.1", description="address the dashboard listens on")
    dashboard_port: int = Field(8050, ge=0, le=65535, description="port the dashboard listens on")
    dashboard_api_url: str = Field(
        "http://127.0.0.1:8000", pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", description="the API that it reads"
    )
    dashboard_api_key: SecretStr = Field(SecretStr(""), description="a key of the API with the scopes read and stream")
    dashboard_password: SecretStr = Field(
        SecretStr(""), description="what a browser has to know (user name: any); required beyond loopback"
    )

    ml_intervals: str = Field("1m", description="intervals whose bars the predictor follows; none: no bars")
    ml_retrain_hours: float = Field(24, ge=0, description="age at which a champion is challenged; 0: never")
    ml_train_bars: int = Field(20_000, ge=500, description="how many of the newest bars of a symbol it is trained on")

    metrics_host: str = Field("127.0.0.1", description="address on which processes show their metrics to Prometheus")
    metrics_port: int = Field(
        9100, ge=0, le=65_400, description="first of the ports of metrics, one for each process; 0 = no metrics"
    )
    metrics_symbols: int = Field(
        100, ge=0, le=10_000, description="how many symbols may be label values of metrics, those that are worst off"
    )
    metrics_influx_seconds: float = Field(
        10, ge=0, description="how often latencies and Kafka's figures go to InfluxDB, where it is set; 0 = never"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="logs as lines for people, or as one JSON object a line"
    )

    anomaly_intervals: str = Field("1m,5m,15m", description="intervals whose bars are judged; none: no bars")
    anomaly_move_percent: float = Field(5, gt=0, description="price_move: change of the close from bar to bar")
    anomaly_volume_ratio: float = Field(3, gt=1, description="volume_spike: volume over the mean of 20 bars before")
    anomaly_rsi_high: float = Field(70, gt=50, lt=100, description="rsi_overbought: RSI 14 above")
    anomaly_rsi_low: float = Field(30, gt=0, lt=50, description="rsi_oversold: RSI 14 below")
    anomaly_return_mad: float = Field(10, gt=0, description="return_mad: robust standard deviations of 60 returns")
    anomaly_return_ewma: float = Field(6, gt=0, description="return_ewma: times the EWMA volatility")
    anomaly_return_percent: float = Field(
        0.5, ge=0, description="percent of the price below which return_mad, return_ewma and close_zscore keep silent"
    )
    anomaly_zscore: float = Field(4.5, gt=0, lt=7.7, description="close_zscore: standard deviations of 60 closes")
    anomaly_profile_ratio: float = Field(
        8, gt=1, description="volume_profile: volume over what is usual at this time of the session"
    )
    anomaly_silence_seconds: float = Field(300, ge=1, description="silent_feed: seconds of a session without a trade")
    anomaly_latency_ms: float = Field(100, gt=0, description="latency: receipt of a tick to Redis")
    anomaly_release: float = Field(
        0.9, gt=0, le=1, description="a rule that fires is over below this share of its threshold's distance"
    )
    anomaly_warning: float = Field(1.5, ge=1, description="times the threshold's distance from which it is a warning")
    anomaly_critical: float = Field(2, ge=1, description="times the threshold's distance from which it is critical")

    alert_targets: SecretStr = Field(
        SecretStr(""),
        description="who is told of alerts: name=URL or name[warning,critical]=URL of apprise, separated by spaces",
    )
    alert_dry_run: bool = Field(False, description="decide on alerts and keep receipts, but send nothing")
    alert_timeout_seconds: float = Field(10, gt=0, le=120, description="how long a target may take for a message")
    alert_retry_hours: float = Field(24, gt=0, description="how long a message that is not taken is tried again")

    @field_validator("intervals", "indicators", "calendar")
    @classmethod
    def _known_names(cls, value: str, info: ValidationInfo) -> str:
        try:
            _CHECKS[str(info.field_name)](value)
        except TickstreamError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _kafka_is_whole(self) -> Self:
        login = self.kafka_sasl_username, self.kafka_sasl_password.get_secret_value()
        if self.kafka_sasl and not all(login):
            raise ValueError("KAFKA_SECURITY_PROTOCOL with SASL needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
        if not self.kafka_sasl and any(login):
            raise ValueError("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD need KAFKA_SECURITY_PROTOCOL=SASL_SSL")
        if (self.kafka_ssl_certificate is None) != (self.kafka_ssl_key is None):
            raise ValueError("KAFKA_SSL_CERTIFICATE and KAFKA_SSL_KEY belong together")
        files = {name: getattr(self, name) for name in ("kafka_ssl_ca", "kafka_ssl_certificate", "kafka_ssl_key")}
        for name, path in files.items():
            if path is not None and not self.kafka_encrypted:
                raise ValueError(f"{variable(name)} needs KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
            if path is not None:
                _check_readable(variable(name), path)
        return self

    @property
    def kafka_encrypted(self) -> bool:
        return self.kafka_security_protocol in ("SSL", "SASL_SSL")

    @property
    def kafka_sasl(self) -> bool:
        return self.kafka_security_protocol in ("SASL_SSL", "SASL_PLAINTEXT")

    @property
    def bar_intervals(self) -> tuple[Interval, ...]:
        return parse_intervals(self.intervals)

    @property
    def ml_interval_names(self) -> tuple[str, ...]:
        """Raises ConfigError for an unknown one."""
        if self.ml_intervals.strip() in ("", "none"):  # an empty variable means the default
            return ()
        return tuple(each.name for each in parse_intervals(self.ml_intervals))

    @property
    def anomaly_bar_intervals(self) -> tuple[Interval, ...]:
        """Those of `intervals` that are judged. Raises ConfigError for an unknown one."""
        if self.anomaly_intervals.strip() in ("", "none"):  # an empty variable means the default
            return ()
        asked = parse_intervals(self.anomaly_intervals)
        return tuple(each for each in self.bar_intervals if each in asked)

    def indicators_of(self, interval: str) -> "tuple[Indicator, ...]":
        """The indicators of the bars of one interval. Raises InputError for an unknown one."""
        from core.indicators import for_interval  # brings NumPy, which few processes need

        return for_interval(self.indicators, interval)

    @property
    def known_symbols(self) -> frozenset[str] | None:
        """The strict symbol master, or None when any symbol is accepted."""
        names = frozenset(name.strip() for name in self.symbols.split(",") if name.strip())
        return names or None

    @property
    def future_tolerance_us(self) -> int:
        """`future_tolerance_seconds` in microseconds, the unit of all stamps."""
        return int(self.future_tolerance_seconds * 1_000_000)

    def topic(self, name: str) -> str:
        """The full name of a topic of `conf.topics`."""
        return self.topic_prefix + name

    @property
    def lake_path(self) -> Path:
        return self.data_path / "lake"

    @property
    def checkpoint_path(self) -> Path:
        return self.data_path / "checkpoints"

    @property
    def models_path(self) -> Path:
        return self.data_path / "models"

    @property
    def backups_path(self) -> Path:
        return self.backup_path or self.data_path / "backups"


def _check_indicators(text: str) -> None:
    from core.indicators import parse_configured

    parse_configured(text)


def _check_calendar(name: str) -> None:
    import numpy as np

    from core.sessions import session_ids

    session_ids(np.zeros(0, np.int64), name)


# Each raises TickstreamError for a name that does not exist.
_CHECKS: dict[str, Callable[[str], object]] = {
    "intervals": parse_intervals,
    "indicators": _check_indicators,
    "calendar": _check_calendar,
}


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """Settings from `.env` overridden by the environment; an empty value means the default.

    Raises ConfigError naming the variable that is unknown or wrong, never its value.
    """
    merged: dict[str, str] = {}
    if env_file is not None and env_file.exists():
        merged.update({key: value or "" for key, value in dotenv_values(env_file).items()})
    merged.update(os.environ if environ is None else environ)
    fields = {_field(name): value for name, value in merged.items() if value and _is_ours(name)}
    try:
        settings = Settings.model_validate(fields)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(problem) for problem in error.errors(include_input=False))) from None
    _check_certificates(settings)
    return settings


def _check_certificates(settings: Settings) -> None:
    """Raise ConfigError where every client would fail, each in its own words."""
    if settings.kafka_ssl_ca is None and settings.kafka_ssl_certificate is None:
        return
    import ssl  # few need it

    if (authority := settings.kafka_ssl_ca) is not None:
        try:
            ssl.create_default_context(cafile=authority)
        except ssl.SSLError as error:
            raise ConfigError(f"KAFKA_SSL_CA: {authority} holds no certificate in PEM ({error.reason})") from None
    if (certificate := settings.kafka_ssl_certificate) is not None and (key := settings.kafka_ssl_key) is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            why = getattr(error, "reason", None) or "a key with a password cannot be used"
            said = f"{certificate} and {key} are no certificate and its key in PEM, without a password ({why})"
            raise ConfigError(f"KAFKA_SSL_CERTIFICATE, KAFKA_SSL_KEY: {said}") from None


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise ValueError(f"{name}: there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be read: {error.strerror}") from None


def variable(field: str) -> str:
    """The environment variable of a field."""
    own = {field_: name for name, field_ in OWN_NAMES.items()}
    return own.get(field, PREFIX + field.upper())


def _is_ours(name: str) -> bool:
    return name in OWN_NAMES or name.startswith(PREFIX)


def _field(name: str) -> str:
    field = OWN_NAMES.get(name) or name.removeprefix(PREFIX).lower()
    if field not in Settings.model_fields:
        known = [variable(known_field) for known_field in Settings.model_fields]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see conf/.env.example"
        raise ConfigError(f"unknown setting {name}{hint}")
    return field


def _explain(problem: Any) -> str:
    # What is wrong of several says which.
    return f"{variable(str(problem['loc'][0]))}: {problem['msg']}" if problem["loc"] else str(problem["msg"])
