"""Finding and reading files of ticks."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from core.errors import InputError
from producers.reading import find_files, read_days, suggested_ruleset

Written = Callable[[pd.Series], pd.Series]
COLUMNS = ["symbol", "event_time", "seq", "price", "size"]


def ticks(*times: str) -> pd.DataFrame:
    rows = [("A", pd.Timestamp(time, tz="UTC"), seq, 1.5 + seq, 2.0) for seq, time in enumerate(times)]
    return pd.DataFrame(rows, columns=COLUMNS)


def write(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_read_days_splits_and_joins_files_by_day(tmp_path: Path, suffix: str) -> None:
    write(
        tmp_path / f"ticks/a.{suffix}",
        ticks("2024-03-04 12:00:00.000001", "2024-03-05 00:00:00", "2024-03-07 01:00:00"),
    )
    write(tmp_path / f"ticks/b.{suffix}", ticks("2024-03-05 23:59:59.999999"))
    files = find_files([tmp_path])
    assert sum(file.rows for file in files) == 4
    days = {day: frame for day, frame in read_days(files)}
    assert {day: sorted(frame["source"]) for day, frame in days.items()} == {
        date(2024, 3, 4): ["replay:a"],
        date(2024, 3, 5): ["replay:a", "replay:b"],
        date(2024, 3, 7): ["replay:a"],
    }
    assert days[date(2024, 3, 4)]["event_time"].iloc[0] == pd.Timestamp("2024-03-04 12:00:00.000001", tz="UTC")


def test_read_days_follows_the_exchange_s_calendar(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ticks("2024-03-05 03:00:00", "2024-03-05 06:00:00"))
    assert [day for day, _ in read_days(find_files([tmp_path]), "America/New_York")] == [
        date(2024, 3, 4),
        date(2024, 3, 5),
    ]


def test_read_days_keeps_ids_and_conditions_of_a_csv_as_text(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ticks("2024-03-05 03:00:00").assign(trade_id="007", conditions="20", exchange=""))
    ((_, frame),) = read_days(find_files([tmp_path / "a.csv"]))
    assert (frame["trade_id"][0], frame["conditions"][0], frame["exchange"][0]) == ("007", "20", None)


@pytest.mark.parametrize("values", [[2**53 + 1, None], [2**53 + 1, 7]])
def test_read_days_whole_numbers_of_parquet_as_text_exactly(tmp_path: Path, values: list[int | None]) -> None:
    whole = pd.array(values, dtype="Int64")
    frame = ticks("2024-03-05 03:00:00", "2024-03-05 04:00:00").assign(
        symbol=[600519, 700], trade_id=whole, exchange=whole, conditions=whole
    )
    ((_, read),) = read_days(find_files([write(tmp_path / "a.parquet", frame)]))
    assert read["symbol"].tolist() == ["600519", "700"]
    for name in ("trade_id", "exchange", "conditions"):
        assert read[name].tolist() == [None if value is None else str(value) for value in values]


LATE, EARLY = "2024-03-04 23:59:59.999999", "2024-03-05 00:00:00"


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(
    "written",
    [
        lambda times: times,
        lambda times: times.dt.tz_localize(None),
        lambda times: times.dt.tz_localize(None).dt.as_unit("ns"),
        lambda times: times.dt.tz_convert("America/New_York"),
        lambda times: times.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        lambda times: times.dt.strftime("%Y-%m-%d %H:%M:%S.%f"),
        lambda times: times.map(lambda time: time.tz_convert("America/New_York").isoformat()),
    ],
    ids=["utc", "naive", "naive_ns", "new_york", "text", "naive_text", "offset_text"],
)
def test_read_days_splits_at_midnight_however_times_are_written(tmp_path: Path, suffix: str, written: Written) -> None:
    frame = ticks(LATE, EARLY)
    path = write(tmp_path / f"a.{suffix}", frame.assign(event_time=written(frame["event_time"])))
    beside = write(tmp_path / "b.parquet", ticks(LATE))
    days = {day: read for day, read in read_days(find_files([path, beside]))}
    assert {day: read["event_time"].tolist() for day, read in days.items()} == {
        date(2024, 3, 4): [pd.Timestamp(LATE, tz="UTC")] * 2,
        date(2024, 3, 5): [pd.Timestamp(EARLY, tz="UTC")],
    }


def test_find_files_passes_over_bars_and_quotes_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "ticks/a.parquet", ticks("2024-03-05"))
    write(
        tmp_path / "bars_1m/a.parquet",
        pd.DataFrame({"symbol": ["A"], "open": [1], "high": [1], "low": [1], "close": [1]}),
    )
    write(tmp_path / "quotes/q.parquet", pd.DataFrame({"symbol": ["A"], "bid": [1], "ask": [1]}))
    assert [file.path.name for file in find_files([tmp_path, tmp_path / "ticks"])] == ["a.parquet"]


def test_find_files_quotes_only_raises_and_says_so(tmp_path: Path) -> None:
    quotes = write(tmp_path / "q.parquet", pd.DataFrame({"symbol": ["A"], "bid": [1], "ask": [1]}))
    for path in (tmp_path, quotes):
        with pytest.raises(InputError, match=r"quotes \(bid and ask\)"):
            find_files([path])


def test_find_files_missing_path_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        find_files([tmp_path / "nowhere"])


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.txt"])
def test_find_files_rubbish_raises_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff rubbish")
    with pytest.raises(InputError) as error:
        find_files([tmp_path / name])
    assert "\n" not in str(error.value) and name in str(error.value)


def test_find_files_empty_folder_and_empty_file_raise(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of trade ticks"):
        find_files([tmp_path])
    write(tmp_path / "a.parquet", ticks("2024-03-05").iloc[:0])
    with pytest.raises(InputError, match="empty"):
        find_files([tmp_path])


def test_find_files_two_files_of_one_name_raise(tmp_path: Path) -> None:
    write(tmp_path / "x/a.parquet", ticks("2024-03-05"))
    write(tmp_path / "y/a.csv", ticks("2024-03-05"))
    with pytest.raises(InputError, match="share a name"):
        find_files([tmp_path])


@pytest.mark.parametrize(
    ("conditions", "venue", "ruleset"),
    [
        (["0", "1", "20000000"], "N", "us-equity"),
        (["0", "1", None], "N", "us-equity"),
        (["0", None, None], "N", "all"),
        (["@", "F", "T"], "N", "all"),
        (["0", "1", "20000000"], "XNYS", "all"),
        (None, "N", "all"),
    ],
)
def test_suggested_ruleset_knows_the_tape_by_masks_and_letters(tmp_path: Path, conditions, venue, ruleset) -> None:
    frame = ticks(*["2024-03-04 12:00:00"] * 3).assign(exchange=venue)
    if conditions is not None:
        frame["conditions"] = conditions
    write(tmp_path / "day.parquet", frame)
    assert suggested_ruleset(find_files([tmp_path])) == ruleset
    write(tmp_path / "other.parquet", ticks("2024-03-05 12:00:00"))
    assert suggested_ruleset(find_files([tmp_path])) == "all"


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (["03/01/2024 10:00", "2024-03-01T10:00:00Z"], "in 1 of 2 rows, the first of them '03/01/2024 10:00'"),
        (["2024-03-01T10:00:00Z", ""], "in 1 of 2 rows, the first of them empty"),
        (["1709287200000000", "1709287200000001"], "in 2 of 2 rows"),
        ([1709287200000000, 1709287200000001], "in 2 of 2 rows, the first of them '1709287200000000'"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_time_that_is_none_is_told(tmp_path: Path, suffix: str, times: list[object], told: str) -> None:
    frame = ticks("2024-03-05", "2024-03-06")
    frame["event_time"] = pd.Series([time or None for time in times])
    path = write(tmp_path / f"a.{suffix}", frame)
    with pytest.raises(InputError, match=f"a.{suffix}: event_time is neither .* {told}"):
        find_files([path])
