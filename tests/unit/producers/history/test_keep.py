"""A piece counts as kept only when the broker says so."""

import asyncio

import pytest

from conf.settings import Settings
from core.errors import PublishError
from producers.feeds import Quota
from producers.feeds.coinbase import Coinbase
from producers.history.keep import Kept, Ticks
from producers.history.plan import TICKS, Item
from producers.http import Http
from producers.publish import Publisher
from tests.history_server import HOUR_US, HistoryServer, made_up

START_US = 1_709_553_600_000_000


class Unhurried(Coinbase):
    """Coinbase with a quota that no test reaches."""

    quota = Quota(100_000, 1.0)


def test_nothing_is_kept_that_no_broker_acknowledged() -> None:
    nowhere = Settings(kafka_bootstrap="127.0.0.1:1")
    run = [Item("BTC-USD", TICKS, START_US + n * HOUR_US, START_US + (n + 1) * HOUR_US, 1) for n in range(3)]
    kept: list[Kept] = []

    async def keep(server: HistoryServer) -> None:
        publisher = Publisher(nowhere, delivery_timeout_seconds=1)
        async with Http(Unhurried(nowhere), base_url=server.url) as http:
            async for piece in Ticks(Unhurried, nowhere, http, publisher).keep(run):
                kept.append(piece)

    with HistoryServer({"BTC-USD": made_up(START_US, hours=4, an_hour=2_000)}) as server:
        with pytest.raises(PublishError, match="records not delivered"):
            asyncio.run(keep(server))
        # The first piece is as far as it gets.
        assert not any("after=6001" in path for _, path in server.requests)
    assert kept == []
