"""The small parts: pauses, what a server asks for, counted troubles, words without secrets, the way to a provider."""

import random
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import structlog
from pydantic import SecretStr

from conf.settings import Settings
from producers.http import retry_after
from producers.live.backoff import pause_before
from producers.live.route import NoRoute, check_route
from producers.live.troubles import MOST_KINDS, Troubles, without_secrets


def test_pauses_are_full_jitter_under_a_doubling_bound() -> None:
    random.seed(1)
    for failures, bound in ((0, 0.5), (1, 1.0), (4, 8.0), (6, 30.0), (10_000, 30.0)):
        found = [pause_before(failures, 0.5, 30.0) for _ in range(300)]
        assert 0 <= min(found) < 0.1 * bound and 0.9 * bound < max(found) <= bound


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("7") == 7 and retry_after("-3") == 0
    assert retry_after("") is None and retry_after("soon") is None
    ahead = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 57 < (retry_after(ahead) or 0) <= 60


def test_troubles_are_told_at_powers_of_ten_and_kinds_are_bounded() -> None:
    with structlog.testing.capture_logs() as logs:
        troubles = Troubles("coinbase")
        for _ in range(1234):
            troubles.note("match", "x" * 1000)
        assert [entry["count"] for entry in logs] == [1, 10, 100, 1000]
        assert all(len(entry["detail"]) == 200 for entry in logs)
        for number in range(5 * MOST_KINDS):
            troubles.note(str(number), "")
    assert len(troubles.counts) == MOST_KINDS + 1 and troubles.counts.total() == 1234 + 5 * MOST_KINDS
    assert troubles.counts["other"] == 5 * MOST_KINDS - (MOST_KINDS - 1)


def test_words_of_a_provider_lose_our_secrets() -> None:
    settings = Settings(finnhub_api_key=SecretStr("abc123"), finage_socket=SecretStr("wss://x/?token=t0k"))
    assert without_secrets("key abc123 is wrong, so is wss://x/?token=t0k", settings) == "key *** is wrong, so is ***"


@pytest.mark.parametrize("scheme", ["wss", "https"])
def test_route_is_to_the_proxy_where_one_is_set(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:word@127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        check_route("kraken", f"{scheme}://no-such-host.invalid/v2")
    with pytest.raises(NoRoute) as caught:
        check_route("kraken", f"{scheme}://no-such-host.invalid/v2")
    assert "word" not in str(caught.value)


def test_route_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that hangs, which no socket timeout bounds."""
    over = threading.Event()

    def hangs(*_: object, **__: object) -> None:
        over.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(socket, "create_connection", hangs)
    started = time.monotonic()
    with pytest.raises(NoRoute, match=r"no answer in 0\.2 s"):
        check_route("kraken", "ws://127.0.0.1:9", 0.2)
    assert time.monotonic() - started < 2
    over.set()
