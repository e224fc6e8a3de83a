"""The table of providers says of each what its feed says."""

import dataclasses

import pytest
from pydantic import SecretStr

from conf.providers import PROVIDERS, Provider, provider_named, with_latest
from conf.settings import Settings
from core.errors import InputError
from producers.feeds import FEEDS, Feed


def row_of(feed: type[Feed]) -> Provider:
    """The feed's row; how many symbols a request answers is the table's own knowledge."""
    row = Provider(feed.name, feed.also, feed.keys, latest=feed.latest is not Feed.latest)
    if feed.name in PROVIDERS:
        row = dataclasses.replace(row, symbols_per_request=PROVIDERS[feed.name].symbols_per_request)
    if feed.quota is None:
        return row
    quota = feed.quota
    return dataclasses.replace(row, requests=quota.requests, seconds=quota.seconds, daily=quota.daily)


def test_table_equals_the_registry() -> None:
    rows = {feed.name: row_of(feed) for feed in FEEDS.values()}
    wrong = [str(row) for name, row in rows.items() if PROVIDERS.get(name) != row]
    assert not wrong, "conf/providers.py should have\n" + "\n".join(wrong)
    assert PROVIDERS.keys() == FEEDS.keys(), "rows of no feed"


def test_names_and_their_aliases_lead_to_the_row() -> None:
    for feed in FEEDS.values():
        assert all(provider_named(name.upper()).name == feed.name for name in (feed.name, *feed.also))
    with pytest.raises(InputError, match=r"known: .*coinbase"):
        provider_named("coinbse")


def test_quota_for_ever_is_the_scarcer_of_window_and_day() -> None:
    assert Provider("a", requests=60, seconds=60.0).requests_a_second() == 1
    assert Provider("a", requests=5, seconds=60.0, daily=25).requests_a_second() == 25 / 86_400
    assert Provider("a", requests=1, seconds=60.0, daily=86_400).requests_a_second() == 1 / 60
    assert Provider("a", requests=4, seconds=1.0).requests_a_second(margin_seconds=1.0) == 2


def test_requests_of_a_poll_are_rounded_up() -> None:
    batched = Provider("a", symbols_per_request=50)
    assert [batched.requests_for(count) for count in (1, 50, 51, 100)] == [1, 1, 2, 2]
    assert Provider("a").requests_for(100) == 100


def test_missing_names_the_variables_that_are_not_set() -> None:
    provider = Provider("a", keys=("alpaca_api_key", "alpaca_secret_key"))
    assert provider.missing(Settings()) == ["ALPACA_API_KEY", "ALPACA_SECRET_KEY"]
    assert provider.missing(Settings(alpaca_api_key=SecretStr("x"))) == ["ALPACA_SECRET_KEY"]
    assert Provider("a").missing(Settings()) == []


def test_with_latest_lists_exactly_those_that_can_be_asked() -> None:
    assert with_latest() == sorted(name for name, feed in FEEDS.items() if feed.latest is not Feed.latest)
