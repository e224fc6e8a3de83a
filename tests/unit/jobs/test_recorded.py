"""Recorded files read by the backfill, held against what a replay makes of them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from core import rulesets
from core.errors import InputError
from core.records import SCALE
from jobs.recorded import read_files
from producers.normalise import normalise
from producers.reading import find_files, read_days

pytestmark = pytest.mark.spark

IDS = {
    "text": ["7", "12345678", None, "x"],
    "whole": [7, 12_345_678, 2**53 + 1, 0],
    "beside missing ones": [7.0, 12_345_678.0, None, 1e15],
}


@pytest.mark.parametrize("written", IDS)
def test_ids_and_codes_are_those_of_a_replay(spark, tmp_path: Path, written: str) -> None:
    times = pd.date_range("2024-03-04T14:30Z", periods=4, freq="s")
    frame = pd.DataFrame({"symbol": "AAA", "event_time": times, "seq": range(4), "price": 10.0, "size": 1.0})
    frame["trade_id"] = frame["exchange"] = IDS[written]
    frame.to_parquet(tmp_path / "ticks.parquet")
    files = find_files([tmp_path / "ticks.parquet"])
    ruleset = rulesets.load("all")
    replayed = pd.concat(normalise(day, ruleset) for _, day in read_days(files))
    names = ["seq", "trade_id", "venue"]
    batch = sorted(tuple(row) for row in read_files(spark, files, ruleset).select(*names).collect())
    assert batch == sorted(replayed[names].astype(object).itertuples(index=False, name=None))


TIMES = pd.date_range("2024-03-04T14:30Z", periods=3, freq="s")
MICROS = TIMES.as_unit("us")
LAYOUTS: dict[str, dict[str, Any]] = {
    "nanoseconds": {"event_time": TIMES.as_unit("ns")},
    "text": {"event_time": [each.isoformat() for each in TIMES]},
    "without ids and venues": {"trade_id": None, "exchange": None},
    "ids that are numbers": {"trade_id": [7, 8, 9]},
    "whole prices": {"price": [10, 11, 12]},
}


def recorded(symbol: str, **columns: Any) -> pd.DataFrame:
    usual = {"event_time": MICROS, "price": 10.5, "size": 1.0, "trade_id": ["7", "8", "9"], "exchange": "N"}
    chosen = {name: column for name, column in (usual | columns).items() if column is not None}
    return pd.DataFrame({"symbol": symbol, "seq": range(3), **chosen})


def check_alike(spark: SparkSession, folder: Path) -> None:
    """The files of a folder give as many ticks, and the same, in batch as in a replay."""
    files = find_files([folder])
    ruleset = rulesets.load("all")
    replayed = pd.concat(normalise(day, ruleset) for _, day in read_days(files))
    names = ["source", "seq", "event_us", "trade_id", "venue"]
    wanted = sorted(replayed[names].astype(object).itertuples(index=False, name=None))
    found = read_files(spark, files, ruleset).select(*names, "price").collect()
    assert sorted(tuple(row)[:-1] for row in found) == wanted and len(wanted) == sum(file.rows for file in files)
    assert sorted(row.price for row in found) == sorted(int(Decimal(text) * SCALE) for text in replayed["price"])


def test_files_of_several_layouts_are_each_read_by_their_own(spark: SparkSession, tmp_path: Path) -> None:
    for place, columns in enumerate([{}, *LAYOUTS.values(), {}]):
        recorded(f"S{place}", **columns).to_parquet(tmp_path / f"{place}.parquet")
    check_alike(spark, tmp_path)


def test_nanoseconds_are_told_from_microseconds_whichever_come_first(spark: SparkSession, tmp_path: Path) -> None:
    """Spark has one type for all files, and took the later ones' microseconds for nanoseconds."""
    recorded("A", **LAYOUTS["nanoseconds"]).to_parquet(tmp_path / "a.parquet")
    recorded("B").to_parquet(tmp_path / "b.parquet")
    check_alike(spark, tmp_path)


def test_csv_files_are_read_by_the_names_of_their_own_columns_beside_parquet(
    spark: SparkSession, tmp_path: Path
) -> None:
    recorded("A").to_csv(tmp_path / "a.csv", index=False)
    recorded("B")[["size", "price", "seq", "event_time", "symbol"]].to_csv(tmp_path / "b.csv", index=False)
    recorded("C").to_parquet(tmp_path / "c.parquet")
    check_alike(spark, tmp_path)


def test_names_of_files_are_no_patterns(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "{1,2}"
    folder.mkdir()
    recorded("A").to_parquet(folder / "a [1]*+.parquet")
    recorded("B").to_csv(folder / "b?%20.csv", index=False)
    check_alike(spark, folder)


def test_times_that_are_numbers_are_refused_with_column_and_type(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    recorded("A", recv_time=MICROS.astype("int64")).to_parquet(path)
    with pytest.raises(InputError, match=r"ticks\.parquet: recv_time is int64, which does not say its unit"):
        read_files(spark, find_files([path]), rulesets.load("all"))
    for kind in ("int64", "float64"):
        recorded("A", event_time=TIMES.as_unit("ns").astype("int64").astype(kind)).to_parquet(path)
        with pytest.raises(InputError, match=r"ticks\.parquet: event_time is (neither|" + kind + ")"):
            read_files(spark, find_files([path]), rulesets.load("all"))
