"""The contracts of a store: what every sink promises, whatever it writes to."""

from typing import Protocol

import pyarrow as pa


class BarSink(Protocol):
    """Keeps bars and their indicators. A write is idempotent, and a stored bar is replaced only by a newer `rev`.

    Where one batch holds a bar twice, its greatest `rev` wins, and of equal ones the first. The same holds of
    indicators, but those of another set replace those of an equal revision.
    Every call raises StoreUnavailable while the store does not answer; the same call may then be repeated.
    """

    name: str

    def setup(self) -> None:
        """Make the store ready to be written to (tables, folders); may be called at every start."""
        ...

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        """Write a batch of `stores.schema.BAR_SCHEMA`, and of `INDICATOR_SCHEMA` for some or all of its bars."""
        ...

    def close(self) -> None: ...


class TickSink(Protocol):
    """Keeps ticks. A write is idempotent: of ticks with one (symbol, identity, event_time) the first is kept.

    Within a batch, first means the lowest Kafka offset. Raises StoreUnavailable as a BarSink does.
    """

    name: str

    def setup(self) -> None: ...

    def write_ticks(self, ticks: pa.Table) -> None:
        """Write a batch of `stores.schema.TICK_SCHEMA`."""
        ...

    def close(self) -> None: ...
