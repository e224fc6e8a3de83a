"""The command's own part: what is refused before a provider or a server is needed."""

import argparse

import pytest
from pydantic import SecretStr

from conf.settings import Settings
from core.errors import InputError
from producers import live_command

NOBODY = Settings(
    kafka_bootstrap="127.0.0.1:1",
    postgres_dsn=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
    symbols="BTC-USD,AAPL",
)


def run(*args: str, settings: Settings = NOBODY) -> None:
    parser = argparse.ArgumentParser()
    live_command.add_arguments(parser)
    live_command.run(parser.parse_args(args), settings)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("coinbse", "BTC-USD"), "unknown provider 'coinbse'; known: .*coinbase"),
        (("fmp", "AAPL"), "fmp has no live stream; those that have: .*coinbase"),
        (("polygon", "AAPL"), "polygon needs a key: set POLYGON_API_KEY"),
        (("coinbase", "BTC-USD", "--backup", "nobody"), "unknown provider 'nobody'"),
        (("coinbase", "BTC-USD", "--backup", "Coinbase"), "its own backup"),
        (("coinbase", "BTC-USD", "--seconds", "0"), "--seconds"),
        (("coinbase", "BTC-USD", "--seconds", "nan"), "--seconds"),
        (("coinbase", "B T"), "'B T' is no symbol"),
        (("coinbase", ","), "no symbol given"),
        (("coinbase", "ETH-USD"), "unknown symbol 'ETH-USD': TICKSTREAM_SYMBOLS lists BTC-USD,AAPL"),
        (("binance_futures", "btcusd"), "'BTC-USD' is no contract"),
    ],
)
def test_bad_input_is_refused_before_anything_is_connected_to(args: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*args)
