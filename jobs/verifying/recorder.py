"""The final query's sink while it is verified: every write a file, so that a process may be killed at any moment."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from core.records import BAR_COLUMNS
from jobs.verifying.comparing import Bars, bars_of_tables
from jobs.verifying.schedules import Crash
from stores.files import write_atomically
from stores.schema import BAR_SCHEMA, INDICATOR_SCHEMA, STATE_SCHEMA

_BARS, _INDICATORS = ".bars", ".indicators"


class Crashed(Exception):
    """The process of a schedule ends here."""


class Recorder:
    """`jobs.queries.FinalSinks` in a folder. Its crashes are due by number of write, over all restarts."""

    def __init__(self, folder: Path, crashes: Sequence[Crash] = ()) -> None:
        self._folder = folder
        self._crashes = list(crashes)
        self._count = 0
        self.turn = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def writes(self) -> int:
        """How many batches were written so far, whoever wrote them."""
        return len(list(self._folder.glob(f"*{_BARS}")))

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        """Indicators first: what has its bars is complete. Raises Crashed where that is due."""
        at, self._count = self._count, self._count + 1
        due = [crash for crash in self._crashes if crash[0] == at]
        if due:
            self._crashes.remove(due[0])
            self._count = at  # the repeat of this batch is the write of that number
        if due and due[0][1] == "before":
            raise Crashed
        name = f"{time.time_ns():020}"
        self._keep(name + _INDICATORS, INDICATOR_SCHEMA.empty_table() if indicators is None else indicators)
        self._keep(name + _BARS, bars.select(list(BAR_COLUMNS)).cast(BAR_SCHEMA))
        if due:
            raise Crashed

    def written(self) -> list[Bars]:
        """What every write held, in order."""
        names = sorted(path.name.removesuffix(_BARS) for path in self._folder.glob(f"*{_BARS}"))
        return [bars_of_tables(self._read(name + _BARS), self._read(name + _INDICATORS)) for name in names]

    def read_states(self) -> pa.Table:
        return STATE_SCHEMA.empty_table()

    def amended_since(self, number: int) -> Sequence[tuple[str, str, int]]:  # noqa: ARG002
        return ()

    def doubt(self, keys: Sequence[tuple[str, str]]) -> None:
        """Nobody reconciles here."""

    def state_before(self, symbol: str, interval: str, before_us: int) -> tuple[str, bytes] | None:  # noqa: ARG002
        return None

    def bars_of(self, symbol: str, interval: str, before_us: int, count: int) -> pa.Table:  # noqa: ARG002
        return BAR_SCHEMA.empty_table()

    def indicators_at(self, bars: pa.Table, interval: str, specs: str) -> pa.Table:  # noqa: ARG002
        return INDICATOR_SCHEMA.empty_table()

    def missed(self, series: Sequence[tuple[str, str, int]]) -> None:
        """Nothing is ever stored here."""

    def _keep(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        write_atomically(self._folder / name, sink.getvalue().to_pybytes())

    def _read(self, name: str) -> pa.Table:
        return pa.ipc.open_file((self._folder / name).read_bytes()).read_all()
