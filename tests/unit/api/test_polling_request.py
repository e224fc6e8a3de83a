"""What a polling job may be: intervals, quotas, keys; all in words that name the field."""

import math
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import SecretStr, ValidationError

from api.polling import MAX_SECONDS, PollRequest, check_possible, check_quota, interval_seconds, least_interval
from conf.providers import PROVIDERS, Provider
from conf.settings import Settings

MINUTE = Provider("p", requests=60, seconds=59.75, latest=True)  # one a second with the margin of 0.25 s


def request(**changes: Any) -> PollRequest:
    return PollRequest(**{"symbols": ["BTC-USD"], "interval": 60, "provider": "coinbase"} | changes)


def problem(error: RequestValidationError) -> tuple[str, str]:
    (found,) = error.errors()
    return found["loc"][-1], found["msg"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(60, 60), (1, 1), (1.5, 1.5), ("60s", 60), ("5m", 300), ("2 h", 7200), ("1.5m", 90), ("7d", MAX_SECONDS)],
)
def test_interval_in_every_spelling(value: object, seconds: float) -> None:
    assert interval_seconds(value) == seconds
    assert request(interval=value).interval == seconds


@pytest.mark.parametrize(
    "value",
    [
        0,
        -60,
        0.999,
        "0.5s",
        "0s",
        "8d",
        1e300,
        10**400,
        math.nan,
        math.inf,
        True,
        None,
        "",
        "60",
        "5 minutes",
        "m",
        [60],
    ],
)
def test_interval_wrong_is_refused_naming_the_field(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        request(interval=value)
    assert [error["loc"] for error in caught.value.errors()] == [("interval",)]


def test_provider_is_known_by_any_of_its_names() -> None:
    assert request(provider="Coinbase_Exchange").provider == "coinbase"
    with pytest.raises(ValidationError, match=r"known: .*coinbase"):
        request(provider="coinbse")


@pytest.mark.parametrize("symbols", [[], ["A"] * 101, [""], ["A B"], ["A\n"], ["x" * 33], ["é"], "AAPL", [1], None])
def test_symbols_wrong_are_refused_naming_the_field(symbols: object) -> None:
    with pytest.raises(ValidationError) as caught:
        request(symbols=symbols)
    assert {error["loc"][0] for error in caught.value.errors()} == {"symbols"}


def test_symbol_named_twice_counts_once_and_order_stays() -> None:
    assert request(symbols=["B", "A", "B"]).symbols == ["B", "A"]
    assert len(request(symbols=[f"S{number}" for number in range(100)]).symbols) == 100


def test_provider_without_its_key_names_the_variable() -> None:
    asked = request(provider="alpaca")
    with pytest.raises(RequestValidationError) as caught:
        check_possible(asked, Settings(alpaca_api_key=SecretStr("the-key")))
    field, message = problem(caught.value)
    assert field == "provider" and "set ALPACA_SECRET_KEY" in message and "the-key" not in str(caught.value.errors())
    both = Settings(alpaca_api_key=SecretStr("x"), alpaca_secret_key=SecretStr("y"))
    assert check_possible(asked, both).name == "alpaca"


def test_provider_without_latest_prices_names_those_that_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "coinbase", Provider("coinbase"))
    with pytest.raises(RequestValidationError) as caught:
        check_possible(request(), Settings())
    field, message = problem(caught.value)
    assert field == "provider" and "cannot be asked" in message and "kraken" in message


def test_symbol_outside_a_strict_master_is_named() -> None:
    with pytest.raises(RequestValidationError) as caught:
        check_possible(request(symbols=["A", "B"]), Settings(symbols="A"))
    assert problem(caught.value) == ("symbols", "not in TICKSTREAM_SYMBOLS: B")


@pytest.mark.parametrize(
    ("symbols", "load", "least"),
    [
        (1, [], 1),
        (30, [], 30),
        (100, [], 100),
        (30, [(30, 60.0)], 60),  # half of the quota is taken
        (1, [(59, 60.0)], 60),
        (10, [(10, 20.0), (10, 40.0)], 40),
    ],
)
def test_least_interval_is_what_the_quota_leaves(symbols: int, load: list[tuple[int, float]], least: float) -> None:
    assert least_interval(MINUTE, symbols, load) == least
    names = [f"S{number}" for number in range(symbols)]
    check_quota(request(symbols=names, interval=least), MINUTE, load)
    if least > 1:
        with pytest.raises(RequestValidationError) as caught:
            check_quota(request(symbols=names, interval=least - 0.001), MINUTE, load)
        field, message = problem(caught.value)
        assert field == "interval" and f"the least that works is {least:g}s" in message
        assert caught.value.errors()[0]["ctx"]["least"] == least


@pytest.mark.parametrize("load", [[(60, 60.0)], [(600, 60.0)]])
def test_no_interval_works_where_others_use_it_up(load: list[tuple[int, float]]) -> None:
    with pytest.raises(RequestValidationError) as caught:
        check_quota(request(interval="7d"), MINUTE, load)
    field, message = problem(caught.value)
    assert field == "interval" and "delete other jobs" in message


def test_daily_quota_sets_the_least_interval() -> None:
    daily = Provider("p", requests=5, seconds=60.0, daily=25, latest=True)
    assert least_interval(daily, 1, []) == 3456
    assert least_interval(daily, 25, []) == 86_400
