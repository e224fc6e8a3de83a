"""What the benchmarks raise; a branch of `core.errors`."""

from core.errors import TickstreamError


class BenchmarkError(TickstreamError):
    """A benchmark could not be measured: a process ended, or what was awaited did not come in time."""
