"""The whole error tree.

Foreign errors are translated into one of these once, at the boundary where they appear.
A `Retryable` carries `retry_after` in seconds; everything else is final for the input at hand.
"""


class TickstreamError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(TickstreamError):
    """A setting is missing, unknown or contradictory; the message says which and what to do."""


class InputError(TickstreamError):
    """The user named input that cannot be used: a missing file, a wrong column, an unknown ruleset."""


class InvalidTick(TickstreamError):
    """A record is not a tick. `reason` is one word of `core.validate.REASONS`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class PublishError(TickstreamError):
    """Records did not reach the broker after all retries, or are over its size limit."""


class Retryable(TickstreamError):
    """The same call may succeed later."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnavailable(Retryable):
    """A store did not answer. `store` is its name; the message never holds a password."""

    def __init__(self, store: str, message: str, retry_after: float = 1.0) -> None:
        super().__init__(f"{store}: {message}", retry_after)
        self.store = store
