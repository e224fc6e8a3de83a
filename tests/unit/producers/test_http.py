"""Requests to a provider: how long it is left alone when it says so."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from conf.settings import Settings
from producers.feeds.binance import Binance
from producers.http import ProviderUnavailable, QuotaExhausted
from tests.rest import asking


@pytest.mark.parametrize("status", [418, 429, 503])
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_provider_that_wants_to_be_left_alone_for_long_is_asked_once(status: int, as_date: bool) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=1800), usegmt=True)
    headers = {"Retry-After": until if as_date else "1800"}
    asked: list[float] = []

    def refuse(_: object) -> tuple[int, dict[str, str], bytes]:
        asked.append(time.monotonic())
        return status, headers, b"{}"

    with pytest.raises(QuotaExhausted, match=f"HTTP {status}") as raised:
        asking(Binance(Settings()), {"/api/v3/trades": refuse}, lambda http: http.get("/api/v3/trades"))
    assert len(asked) == 1 and 1790 < raised.value.retry_after <= 1800


def test_provider_is_asked_again_after_as_short_a_pause_as_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.http.ATTEMPTS", 3)
    asked: list[float] = []

    def refuse(_: object) -> tuple[int, dict[str, str], bytes]:
        asked.append(time.monotonic())
        return 429, {"Retry-After": "0.05"}, b"{}"

    with pytest.raises(ProviderUnavailable, match="failed 3 times"):
        asking(Binance(Settings()), {"/x": refuse}, lambda http: http.get("/x"))
    assert len(asked) == 3 and asked[-1] - asked[0] < 0.5
