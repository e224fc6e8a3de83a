"""Settings: unknown names refused, secrets kept, the environment over the file."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from conf.settings import OWN_NAMES, Settings, load_settings, variable
from core.errors import ConfigError


def test_load_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="TICKSTREAM_RULSET; did you mean TICKSTREAM_RULESET"):
        load_settings({"TICKSTREAM_RULSET": "all"}, env_file=None)


def test_load_foreign_variables_are_nobody_s_business() -> None:
    assert load_settings({"PATH": "/bin", "RULESET": "x"}, env_file=None) == Settings()


def test_load_wrong_value_names_the_variable_and_not_the_value() -> None:
    with pytest.raises(ConfigError) as error:
        load_settings({"TICKSTREAM_API_PORT": "hunter2"}, env_file=None)
    assert "TICKSTREAM_API_PORT" in str(error.value) and "hunter2" not in str(error.value)


def test_load_empty_value_means_the_default() -> None:
    assert load_settings({"TICKSTREAM_API_PORT": ""}, env_file=None).api_port == Settings().api_port


def test_load_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("KAFKA_BOOTSTRAP=file:1\nTICKSTREAM_RULESET=us-equity\nOTHER=1\n")
    made = load_settings({"KAFKA_BOOTSTRAP": "env:2"}, env_file=file)
    assert (made.kafka_bootstrap, made.ruleset) == ("env:2", "us-equity")


def test_load_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("TICKSTREAM_COLOUR=red\n")
    with pytest.raises(ConfigError, match="TICKSTREAM_COLOUR"):
        load_settings({}, env_file=file)


def test_settings_secrets_do_not_show() -> None:
    secret = "s3cr3t-p4ss"
    made = load_settings(
        {"POSTGRES_DSN": f"postgresql://u:{secret}@h/db", "REDIS_URL": f"redis://:{secret}@h", "INFLUX_TOKEN": secret},
        env_file=None,
    )
    assert secret not in repr(made) + str(made) + str(made.model_dump()) + made.model_dump_json()
    assert secret in made.postgres_dsn.get_secret_value()


def test_settings_are_frozen_and_refuse_unknown_keys() -> None:
    with pytest.raises(ValidationError):
        Settings().api_port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Settings(no_such_thing=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_field_has_a_variable_that_is_read_and_a_description(field: str) -> None:
    assert Settings.model_fields[field].description
    assert variable(field) in OWN_NAMES or variable(field).startswith("TICKSTREAM_")


def test_settings_symbol_master_and_topics() -> None:
    made = load_settings({"TICKSTREAM_SYMBOLS": "AAPL, MSFT,", "TICKSTREAM_TOPIC_PREFIX": "t1."}, env_file=None)
    assert made.known_symbols == {"AAPL", "MSFT"}
    assert made.topic("ticks") == "t1.ticks"
    assert Settings().known_symbols is None


def test_settings_unknown_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match="7m"):
        load_settings({"TICKSTREAM_INTERVALS": "7m"}, env_file=None)


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("TICKSTREAM_INDICATORS", "sma:5 rsj:14", "sma:5 rsi"),
        ("TICKSTREAM_CALENDAR", "WALLST", "XNYS"),
        ("TICKSTREAM_INTERVALS", "1m,2m", "5m"),
    ],
)
def test_load_names_that_do_not_exist_are_refused(name: str, wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_settings({name: wrong}, env_file=None)
    assert load_settings({name: right}, env_file=None) != Settings()
    assert load_settings({}, env_file=None) == Settings()


def test_default_indicators_and_calendar_are_valid() -> None:
    made = Settings()
    assert Settings(indicators=made.indicators, calendar=made.calendar) == made


@pytest.mark.parametrize(("text", "names"), [("none", []), ("", ["1m", "5m", "15m"]), ("5m", ["5m"])])
def test_intervals_of_anomalies_can_be_none_and_empty_is_the_default(text: str, names: list[str]) -> None:
    settings = load_settings({"TICKSTREAM_ANOMALY_INTERVALS": text}, env_file=None)
    assert [each.name for each in settings.anomaly_bar_intervals] == names


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_load_number_without_end_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="TICKSTREAM_LATENESS_SECONDS"):
        load_settings({"TICKSTREAM_LATENESS_SECONDS": value}, env_file=None)


def test_load_alpaca_s_plan_is_a_setting() -> None:
    assert load_settings({"TICKSTREAM_ALPACA_FEED": "sip"}, env_file=None).alpaca_feed == "sip"
    with pytest.raises(ConfigError, match="TICKSTREAM_ALPACA_FEED: Input should be 'iex' or 'sip'"):
        load_settings({"TICKSTREAM_ALPACA_FEED": "otc"}, env_file=None)
