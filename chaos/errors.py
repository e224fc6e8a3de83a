"""What the chaos suite raises; a branch of `core.errors`."""

from core.errors import TickstreamError


class ChaosError(TickstreamError):
    """The suite itself could not go on; says nothing about the system under test."""
