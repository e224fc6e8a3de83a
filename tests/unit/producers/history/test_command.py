"""The command's own part: what is refused before anything is asked or connected to, and the plan for people."""

import argparse
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from conf.settings import Settings
from core.errors import InputError
from core.intervals import DAY_US
from producers import history_command
from producers.feeds import Quota
from producers.feeds.coinbase import Coinbase
from producers.history.plan import Item
from producers.symbols import meant

NOBODY = SecretStr("postgresql://nobody@127.0.0.1:1/none")


def parsed(*args: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    history_command.add_arguments(parser)
    return parser.parse_args(args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["BTC-USD", "--from", "2024-03-05", "--to", "2024-03-04"], "--from 2024-03-05T00:00:00Z is not before --to"),
        (["BTC-USD", "--from", "2024-03-04", "--to", "2024-03-04"], "is not before"),
        (["BTC-USD", "--from", "2200-03-04", "--to", "2200-03-05"], "--from 2200-03-04T00:00:00Z is in the future"),
        (["BTC-USD", "--from", "0001-01-01"], "there are no ticks before 1980-01-01"),
        (["BTC-USD", "--from", "0001-01-01", "--what", "bars"], "there are no bars:1m before 1900-01-01"),
        (["BTC-USD", "--from", "2024-03-04", "--around", "-1"], "--around"),
        (["BTC-USD", "--from", "2024-03-04", "--provider", "coinbse"], "unknown provider 'coinbse'; known: .*coinbase"),
        (["AAPL", "--from", "2024-03-04", "--provider", "finnhub"], "no history of bars; those .* alpaca,"),
        (
            ["AAPL", "--from", "2024-03-04", "--provider", "yahoo", "--what", "ticks"],
            "no history of trades; it has bars",
        ),
        (["AAPL", "--from", "2024-03-04", "--provider", "polygon"], "polygon needs a key: set POLYGON_API_KEY"),
        (["AAPL", "--from", "2024-03-04"], "say which provider with --provider: alpaca, "),
        (["BTC-USD,AAPL", "--from", "2024-03-04"], "say which provider"),
        (["BTC-USD", "--from", "2024-03-04", "--calendar", "MARS"], "unknown calendar 'MARS'"),
        (["B" * 40, "--from", "2024-03-04", "--provider", "coinbase"], "is no symbol"),
        ([",", "--from", "2024-03-04"], "no symbol given"),
    ],
)
def test_bad_input_is_refused_before_a_server_is_needed(args: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        history_command.run(parsed(*args), Settings(postgres_dsn=NOBODY))


def test_symbols_are_understood_as_written_and_held_against_a_strict_master() -> None:
    found = meant(["btc/usd,AAPL", "BTC-USD"], Settings())
    assert [info.symbol for info in found] == ["BTC-USD", "AAPL"]
    with pytest.raises(InputError, match="unknown symbol 'AAPL': TICKSTREAM_SYMBOLS lists BTC-USD,ETH-USD"):
        meant(["AAPL"], Settings(symbols="BTC-USD,ETH-USD"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-04", "2024-03-04T00:00:00"),
        ("2024-03-04T13:00", "2024-03-04T13:00:00"),
        ("2024-03-04T13:00:00.000001Z", "2024-03-04T13:00:00.000001"),
        ("2024-03-04T13:00:00+02:00", "2024-03-04T11:00:00"),
    ],
)
def test_times_are_utc_to_the_microsecond(text: str, expected: str) -> None:
    us = history_command.parse_time(text)
    whole = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert us == int(whole.timestamp()) * 1_000_000 + whole.microsecond


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="'yesterday' is not a time"):
        history_command.parse_time("yesterday")


def test_plan_for_people_is_cut_short_and_counts_all() -> None:
    class Scarce(Coinbase):
        quota = Quota(5, 60.0, daily=25)

    plan = [Item("AAPL", "bars:1d", day * DAY_US, (day + 1) * DAY_US, 2) for day in range(50)]
    lines = history_command.plan_table(plan, Scarce).splitlines()
    assert lines[1].split() == ["AAPL", "bars:1d", "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z", "2"]
    assert lines[-2:] == ["… and 10 more", "50 pieces, about 100 requests to coinbase, 4 days at 25 a day"]
    assert history_command.plan_table(plan[:10], Scarce).endswith("20 requests to coinbase, 0:04:00 at the least")
    assert history_command.plan_table([], Scarce) == "nothing is missing"
