"""The lake as files: names, manifests, retries, crashes, and what other programs read."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.errors import InputError, StoreUnavailable
from core.intervals import DAY_US
from stores.lake import LakeStore
from tests.batches import START_US, make_bar, make_bars, make_tick, make_ticks, rows_of

FOREVER = (-(2**62), 2**62)


@pytest.fixture
def lake(tmp_path: Path) -> LakeStore:
    made = LakeStore(tmp_path)
    made.setup()
    return made


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_layout_is_date_and_quoted_symbol(lake: LakeStore, tmp_path: Path) -> None:
    lake.write_ticks(make_ticks(make_tick(0, symbol="XRP/ETH"), make_tick(1, event_us=START_US + DAY_US)), "q1-7")
    names = [name.rsplit("-", 1)[0] for name in files(tmp_path)]
    assert names == [
        "ticks/date=2024-03-01/_manifest/q1-7",
        "ticks/date=2024-03-01/symbol=XRP%2FETH/part-q1-7",
        "ticks/date=2024-03-02/_manifest/q1-7",
        "ticks/date=2024-03-02/symbol=AAPL/part-q1-7",
    ]


def test_path_like_symbols_stay_inside(lake: LakeStore, tmp_path: Path) -> None:
    lake.write_ticks(make_ticks(*(make_tick(0, symbol=symbol) for symbol in ("..", "../..", "/etc", "."))))
    day = tmp_path / "ticks" / "date=2024-03-01"
    assert sorted(path.name for path in day.iterdir()) == [
        "_manifest",
        "symbol=%2E",
        "symbol=%2E%2E",
        "symbol=%2E%2E%2F%2E%2E",
        "symbol=%2Fetc",
    ]


def test_retried_batch_replaces_whatever_its_row_order(lake: LakeStore, tmp_path: Path) -> None:
    ticks = [make_tick(n) for n in range(5)]
    lake.write_ticks(make_ticks(*ticks), batch_id="q1-7")
    before = files(tmp_path)
    lake.write_ticks(make_ticks(*reversed(ticks)), batch_id="q1-7")
    assert files(tmp_path) == before
    (path,) = lake.paths("ticks", *FOREVER)
    assert pq.ParquetFile(path).metadata.num_rows == 5
    assert lake.verify("ticks") == []


def test_new_checkpoint_with_old_batch_numbers_replaces_nothing(lake: LakeStore) -> None:
    lake.write_ticks(make_ticks(make_tick(0)), batch_id="0")
    lake.write_ticks(make_ticks(make_tick(50)), batch_id="0")
    assert lake.read_ticks(*FOREVER)["seq"].to_pylist() == [0, 50]


def test_slice_of_many_partitions_has_a_name_that_fits(lake: LakeStore, tmp_path: Path) -> None:
    slices = [
        "_".join(f"{number}-{first}-{first + 99_999}" for number in range(20)) for first in (123_456_789, 123_556_789)
    ]
    batch = make_ticks(make_tick(0), make_tick(0, symbol="MSFT"))
    lake.write_ticks(batch, slices[0])
    lake.write_ticks(batch, slices[0])
    assert len(files(tmp_path)) == 3
    assert rows_of(lake.read_ticks(*FOREVER)) == rows_of(batch)
    lake.write_ticks(batch, slices[1])
    assert len(files(tmp_path)) == 6 and lake.verify("ticks") == []


def test_slice_of_few_partitions_keeps_its_name(lake: LakeStore, tmp_path: Path) -> None:
    name = "x" * 224
    lake.write_ticks(make_ticks(make_tick(0)), name)
    lake.write_ticks(make_ticks(make_tick(0)), name + "x")
    kept, shortened = sorted((Path(each).name for each in files(tmp_path) if "part-" in each), key=len, reverse=True)
    assert kept.startswith(f"part-{name}-") and len(shortened) == len("part-.parquet") + 32 + 13


def test_part_is_zstd_and_complete_in_itself(lake: LakeStore) -> None:
    batch = make_ticks(make_tick(0, symbol="XRP/ETH"))
    lake.write_ticks(batch)
    (path,) = lake.paths("ticks", *FOREVER)
    part = pq.ParquetFile(path)
    assert part.metadata.row_group(0).column(0).compression == "ZSTD"
    assert part.read().equals(batch)


def test_manifest_names_rows_and_hashes(lake: LakeStore, tmp_path: Path) -> None:
    lake.write_ticks(make_ticks(make_tick(0), make_tick(1), make_tick(0, symbol="MSFT")))
    (manifest,) = tmp_path.rglob("_manifest/*.json")
    entries = json.loads(manifest.read_text())["files"]
    assert [(Path(entry["file"]).parent.name, entry["rows"]) for entry in entries] == [
        ("symbol=AAPL", 2),
        ("symbol=MSFT", 1),
    ]
    assert all(len(entry["sha256"]) == 64 for entry in entries)


def test_verify_finds_missing_and_altered_files(lake: LakeStore) -> None:
    lake.write_ticks(make_ticks(make_tick(0), make_tick(0, symbol="MSFT"), make_tick(0, symbol="XOM")))
    altered, missing, _ = lake.paths("ticks", *FOREVER)
    data = bytearray(Path(altered).read_bytes())
    data[len(data) // 2] ^= 1
    Path(altered).write_bytes(data)
    Path(missing).unlink()
    assert lake.verify("ticks") == [f"{altered}: altered", f"{missing}: missing"]


def test_unfinished_batch_is_invisible_until_it_is_retried(lake: LakeStore, tmp_path: Path) -> None:
    batch = make_ticks(make_tick(0), make_tick(0, symbol="MSFT"))
    lake.write_ticks(batch, "q1-1")
    (manifest,) = tmp_path.rglob("_manifest/*.json")
    manifest.unlink()  # the crash came after the files and before the manifest
    (tmp_path / "ticks/date=2024-03-01/symbol=AAPL/.part-x.parquet.tmp").write_bytes(b"half")
    assert lake.read_ticks(*FOREVER).num_rows == 0 and lake.paths("ticks", *FOREVER) == []
    lake.write_ticks(batch, "q1-1")
    assert lake.read_ticks(*FOREVER).num_rows == 2


def test_reads_are_half_open_and_by_symbol(lake: LakeStore) -> None:
    lake.write_ticks(make_ticks(*(make_tick(n, event_us=START_US + n * DAY_US // 4) for n in range(12))))
    lake.write_ticks(make_ticks(make_tick(0, symbol="MSFT")))
    found = lake.read_ticks(START_US + DAY_US // 4, START_US + DAY_US, ["AAPL"])
    assert found["seq"].to_pylist() == [1, 2, 3]
    assert lake.read_ticks(START_US, START_US + 1)["symbol"].to_pylist() == ["AAPL", "MSFT"]
    assert len(lake.paths("ticks", START_US, START_US + 1)) == 2
    assert lake.paths("ticks", START_US + 1, START_US + DAY_US // 8, ["MSFT"]) == []
    assert lake.read_ticks(*FOREVER, symbols=[]).num_rows == 0


def test_identity_is_read_once_across_batches_and_days(lake: LakeStore) -> None:
    lake.write_ticks(make_ticks(make_tick(0, kafka_offset=8, event_us=START_US + DAY_US)))
    lake.write_ticks(make_ticks(make_tick(0, kafka_offset=3)))
    lake.write_ticks(make_ticks(make_tick(0, kafka_offset=None)))
    assert rows_of(lake.read_ticks(*FOREVER)) == [make_tick(0, kafka_offset=3)]


def test_bars_are_read_in_their_newest_revision(lake: LakeStore) -> None:
    for rev in (1, 3, 2):
        lake.write_bars(make_bars(make_bar(0, rev=rev)), batch_id=f"q-{rev}")
    assert lake.read_bars(*FOREVER)["rev"].to_pylist() == [3]


def test_folder_that_cannot_be_written_is_store_unavailable(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the folder should be")
    lake = LakeStore(tmp_path / "lake")
    for call in (lake.setup, lambda: lake.write_ticks(make_ticks(make_tick(0)))):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert caught.value.store == "lake"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_is_store_unavailable_and_leaves_no_part(lake: LakeStore, tmp_path: Path) -> None:
    batch = make_ticks(make_tick(0))
    lake.write_ticks(batch, "q-1")
    (path,) = map(Path, lake.paths("ticks", *FOREVER))
    path.unlink()
    unfinished = path.with_name(f".{path.name}.tmp")
    os.symlink("/dev/full", unfinished)
    with pytest.raises(StoreUnavailable, match="No space left"):
        lake.write_ticks(batch, "q-1")
    assert not path.exists()
    unfinished.unlink()
    lake.write_ticks(batch, "q-1")
    assert lake.verify("ticks") == []


def test_broken_files_are_named(lake: LakeStore, tmp_path: Path) -> None:
    lake.write_ticks(make_ticks(make_tick(0)))
    (path,) = lake.paths("ticks", *FOREVER)
    Path(path).write_bytes(b"not parquet")
    with pytest.raises(InputError):
        lake.read_ticks(*FOREVER)
    (manifest,) = tmp_path.rglob("_manifest/*.json")
    manifest.write_text("{}")
    with pytest.raises(InputError, match=r"is not a manifest"):
        lake.read_ticks(*FOREVER)
