"""How patient a stream is: deadlines, and the pauses before it tries again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """All in seconds but `fill_attempts`; the defaults suit providers, tests take small ones."""

    trade_silence_seconds: float = 300.0
    """How long a session may bring no trade of any symbol."""
    silence_seconds: float | None = None
    """How long it may bring no frame at all; None takes the feed's own."""
    connect_seconds: float = 10.0
    ping_seconds: float = 20.0
    """How often the socket is pinged, so that proxies keep it open; in a session the answers count for nothing."""
    ping_answer_seconds: float = 20.0
    """Between sessions, how long a ping may go unanswered by anything at all."""
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    refused_wait_seconds: float = 60.0
    """Between attempts where the provider does not accept the credentials."""
    longest_asked_seconds: float = 900.0
    """The most that a provider's Retry-After is obeyed."""
    steady_seconds: float = 10.0
    """A connection that brought data for so long has lived: the next pause is a short one again."""
    quiet_seconds: float = 10.0
    """After a reconnect, how long to wait for a symbol's next trade before REST is asked what was missed."""
    fill_delay_seconds: float = 1.0
    """A gap is given so long to close by itself: by trades out of order, and by REST catching up."""
    fill_wait_seconds: float = 5.0
    fill_longest_wait_seconds: float = 300.0
    fill_attempts: int = 3
    """How often REST may answer without all that is missing before the rest counts as lost."""


def pause_before(failures: int, first: float, longest: float) -> float:
    """Full jitter: anything between nothing and `first` doubled with each failure, at most `longest`.

    >>> 0 <= pause_before(50, 0.5, 30.0) <= 30
    True
    """
    return random.uniform(0.0, min(longest, first * 2.0 ** min(failures, 32)))
