"""States beside a checkpoint: a batch that is repeated goes on from the one before it."""

from pathlib import Path

import pytest

from core.errors import StoreUnavailable
from jobs.versions import KEPT, Versions


def test_a_batch_goes_on_from_the_newest_one_before_it(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "states")
    assert versions.before(7) is None
    for number in (2, 10, 9):
        versions.save(number, str(number).encode())
    assert [versions.before(number) for number in (2, 3, 9, 10, 11)] == [None, b"2", b"2", b"9", b"10"]
    versions.save(10, b"again")
    assert Versions(tmp_path / "states").before(11) == b"again"


def test_old_versions_go_and_clear_forgets_all(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    for number in range(20):
        versions.save(number, b"x")
    assert len(list(tmp_path.iterdir())) == KEPT and versions.before(15) is None
    versions.clear()
    assert versions.before(100) is None


def test_disk_that_does_not_take_it_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"checkpoint: .*file"):
        Versions(tmp_path / "file" / "states").save(1, b"x")
