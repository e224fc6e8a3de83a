"""States beside Spark's own in a checkpoint: a file for each micro-batch that changed them.

Spark repeats a micro-batch that it did not commit; whoever goes on from the version before it then does the same again.
"""

from pathlib import Path

from core.errors import StoreUnavailable
from stores.files import write_atomically

KEPT = 5


class Versions:
    """The files of one folder. Every call raises StoreUnavailable when the disk does not take or give them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def before(self, batch_id: int) -> bytes | None:
        """The newest version of an earlier batch; None where there is none."""
        try:
            earlier = [number for number in self._numbers() if number < batch_id]
            return self._path(max(earlier)).read_bytes() if earlier else None
        except OSError as error:
            raise self._unavailable(error) from None

    def save(self, batch_id: int, content: bytes) -> None:
        try:
            write_atomically(self._path(batch_id), content)
            for number in sorted(self._numbers())[:-KEPT]:
                self._path(number).unlink(missing_ok=True)
        except OSError as error:
            raise self._unavailable(error) from None

    def clear(self) -> None:
        """Forget all of them."""
        try:
            for number in self._numbers():
                self._path(number).unlink(missing_ok=True)
        except OSError as error:
            raise self._unavailable(error) from None

    def _numbers(self) -> list[int]:
        return [int(path.stem) for path in self._folder.glob("*.state")]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.state"

    def _unavailable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable("checkpoint", f"{error.strerror or error}: {error.filename or self._folder}")
