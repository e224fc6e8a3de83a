"""Recorded files read by the backfill, held against what a replay makes of them."""

from pathlib import Path

import pandas as pd
import pytest

from core import rulesets
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
