"""The configured set, by interval."""

import pytest

from conf.settings import Settings, load_settings
from core.errors import ConfigError, InputError
from core.indicators import for_interval, parse_all, parse_configured
from core.intervals import DAILY, INTERVALS


def specs(text: str, interval: str) -> list[str]:
    return [each.spec for each in for_interval(text, interval)]


def test_plain_spec_holds_everywhere_and_a_prefixed_one_there_only() -> None:
    text = "sma:20 15m=sma:200;rsi:14 5m=rsi:9\n15m=obv"
    assert specs(text, "1m") == ["sma:20", "rsi:14"]
    assert specs(text, "5m") == ["sma:20", "rsi:14", "rsi:9"]
    assert specs(text, "15m") == ["sma:20", "sma:200", "rsi:14", "obv"]


def test_spec_given_plain_and_for_an_interval_is_there_once() -> None:
    assert specs("5m=rsi rsi:14 5m=rsi:14", "5m") == ["rsi:14"]
    assert specs("5m=rsi", "1m") == []


def test_text_without_prefixes_means_what_parse_all_says() -> None:
    text = Settings().indicators
    assert parse_configured(text) == dict.fromkeys([*INTERVALS, DAILY], parse_all(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2m=rsi", "unknown interval '2m' in 2m=rsi; known: 1m, 5m, 15m"),
        ("=rsi", "unknown interval '' in =rsi"),
        ("1m,5m=rsi", "unknown interval '1m,5m'"),
        ("1m=5m=rsi", "unknown interval '1m=5m'"),
        ("5m=", "unknown indicator ''"),
        ("5m=rsj", "unknown indicator 'rsj'; known: sma"),
        ("5m=rsi:0", "rsi: length must be"),
        ("rsi=5m", "unknown interval 'rsi' in rsi=5m"),
    ],
)
def test_wrong_configured_spec_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_configured(f"sma:5 {text}")
    with pytest.raises(ConfigError, match=f"TICKSTREAM_INDICATORS: .*{message}"):
        load_settings({"TICKSTREAM_INDICATORS": f"sma:5 {text}"}, env_file=None)


def test_for_unknown_interval_names_the_known() -> None:
    with pytest.raises(InputError, match="unknown interval '7m'; known: 1m, 5m, 15m"):
        for_interval("rsi", "7m")
    with pytest.raises(InputError, match="unknown interval '7m'"):
        Settings().indicators_of("7m")


def test_parse_all_takes_no_interval() -> None:
    with pytest.raises(InputError, match="5m=rsi: a spec for one interval only"):
        parse_all("sma:5 5m=rsi")


def test_settings_give_the_set_of_an_interval() -> None:
    made = load_settings({"TICKSTREAM_INDICATORS": "sma:20 15m=sma:200"}, env_file=None)
    assert [each.spec for each in made.indicators_of("15m")] == ["sma:20", "sma:200"]
    assert [each.spec for each in made.indicators_of("1m")] == ["sma:20"]
