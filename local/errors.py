"""What the local stack raises; a branch of `core.errors`."""

from core.errors import TickstreamError


class LocalError(TickstreamError):
    """Something this machine lacks or a server that does not start; the message says what to do."""
