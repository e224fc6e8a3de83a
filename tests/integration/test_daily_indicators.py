"""Indicators of daily bars in batch: the command on real history, and histories that must not run into one another."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from core.errors import InputError
from core.indicators import compute
from core.intervals import DAY_US
from jobs.daily import main, with_indicators
from jobs.daily_frames import read_bars
from tests.integration.test_backfill_parity import DATA, needs_data

pytestmark = pytest.mark.spark
SPECS = "sma:3 rsi:4 macd:3,6,2 obv vwap"


def history(symbol: str, days: int, seed: int, **columns: str) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, days))), 2)
    frame = pd.DataFrame({"symbol": symbol, "date": pd.date_range("2020-01-01", periods=days).date})
    frame = frame.assign(open=close, high=close + 1, low=close - 1, close=close)
    return frame.assign(volume=rng.integers(1, 1000, days).astype(float), **columns)


def test_values_are_those_of_compute_whatever_the_order_and_the_files(spark: SparkSession, tmp_path: Path) -> None:
    first, second = history("A", 40, 1, kind="bid"), history("A", 40, 2, kind="ask")
    third = history("B", 30, 3, kind="bid")
    pd.concat([first, third]).sample(frac=1, random_state=1).to_parquet(tmp_path / "one.parquet")
    second.sample(frac=1, random_state=2).to_csv(tmp_path / "two.csv", index=False)
    found = with_indicators(read_bars(spark, [tmp_path / "one.parquet", tmp_path / "two.csv"]), SPECS).toPandas()
    assert len(found) == 110
    for expected in (first, second, third):
        own = found[(found.symbol == expected.symbol[0]) & (found.kind == expected.kind[0])].sort_values("date")
        starts = pd.Series(np.arange(len(expected)) * DAY_US + 18262 * DAY_US)
        wanted = compute(expected.assign(start=starts), SPECS)
        for name in wanted.columns:
            np.testing.assert_array_equal(own[name].to_numpy(), wanted[name].to_numpy(), err_msg=name)


def test_column_that_would_be_overwritten_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    history("A", 5, 1).assign(sma_3=1.0).to_parquet(tmp_path / "one.parquet")
    with pytest.raises(InputError, match="sma_3"):
        with_indicators(read_bars(spark, [tmp_path / "one.parquet"]), SPECS)


@needs_data
def test_command_on_real_history(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = DATA / "daily" / "us_equity_1998_2021.parquet"
    assert main(["--bars", str(source), "--out", str(tmp_path / "out"), "--indicators", "sma:50 rsi:14"]) == 0
    assert "27,579 bars" in capsys.readouterr().out
    found = pd.read_parquet(tmp_path / "out").query("symbol == 'SPY'").sort_values("date")
    oracle = found["close"].rolling(50).mean()
    np.testing.assert_allclose(found["sma_50"], oracle, rtol=1e-12)
    assert found["rsi_14"].isna().sum() == 14
    assert main(["--bars", str(source), "--out", str(tmp_path / "out")]) == 1
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("drop", "options", "message"),
    [
        ("volume", [], "lacks volume"),
        ("date", [], "lacks date or start"),
        ("kind", ["--indicators", "sma:0"], "sma: length must be"),
    ],
)
def test_what_is_wrong_is_one_line(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], drop: str, options: list[str], message: str
) -> None:
    path = tmp_path / "bars.parquet"
    history("A", 5, 1, kind="bid").drop(columns=drop).to_parquet(path)
    assert main(["--bars", str(path), "--out", str(tmp_path / "out"), *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def run(out: Path, *bars: Path, overwrite: bool = False) -> int:
    more = ["--overwrite"] if overwrite else []
    return main(["--bars", *map(str, bars), "--out", str(out), "--indicators", "sma:3", *more])


def written(path: Path, **columns: Any) -> Path:
    """Five days of A, with columns of a test's own."""
    frame = history("A", 5, 1).assign(**columns)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def test_day_that_two_files_hold_is_named_and_nothing_is_lost(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, out = written(tmp_path / "a.parquet"), tmp_path / "b.csv", tmp_path / "out"
    history("A", 6, 1).iloc[3:].to_csv(second, index=False)
    assert run(out, first) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert run(out, first, second, overwrite=True) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"daily: {first} and {second}: A 2020-01-04 is there twice: leave one out")
    assert error.count("\n") == 1 and {path: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.csv", "out"]


@pytest.mark.parametrize(
    ("name", "columns", "told"),
    [
        ("x.parquet", {"date": [None, *pd.date_range("2020-01-02", periods=4).date]}, "A has a row without a time"),
        ("x.csv", {"date": "03/05/2024"}, "A has the time '03/05/2024', which is not one such as 2024-03-05"),
        ("x.parquet", {"date": range(5)}, "date is bigint, which does not say its unit"),
        ("x.csv", {"date": range(20240301, 20240306)}, "date is int, which does not say its unit"),
        ("x.parquet", {"symbol": ["A", "A", None, "A", "A"]}, "a row without a symbol, of 2020-01-03"),
        ("x.csv", {"volume": [1, 2, "n/a", 4, 5]}, "A 2020-01-03: volume is 'n/a', which is not a number"),
        ("x.parquet", {"close": pd.Timestamp("2020-01-01").date()}, "close is date, which is not a number"),
    ],
)
def test_rows_that_cannot_be_right_are_refused_with_their_file(
    spark: SparkSession,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    columns: dict[str, Any],
    told: str,
) -> None:
    path = written(tmp_path / name, **columns)
    assert run(tmp_path / "out", path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"daily: {path}: ") and told in error and error.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_file_that_is_no_table_is_one_line(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no")
    assert run(tmp_path / "out", tmp_path / "x.parquet") == 1
    assert capsys.readouterr().err == f"daily: {tmp_path}/x.parquet is neither CSV nor Parquet\n"


def test_nanoseconds_as_pandas_writes_them_and_files_with_start_or_date(spark: SparkSession, tmp_path: Path) -> None:
    days = history("A", 8, 1)
    moments = pd.to_datetime(days["date"])
    days[:3].assign(date=moments[:3].astype("datetime64[ns]")).to_parquet(tmp_path / "a.parquet")
    days[3:5].assign(start=moments[3:5].dt.as_unit("us")).drop(columns="date").to_parquet(tmp_path / "b.parquet")
    days[5:].to_csv(tmp_path / "c.csv", index=False)
    paths = sorted(tmp_path.iterdir())
    assert run(tmp_path / "out", *paths) == 0
    found = pd.read_parquet(tmp_path / "out").sort_values("sma_3")
    wanted = compute(days.assign(start=moments), "sma:3")["sma_3"].sort_values()
    np.testing.assert_array_equal(found["sma_3"].to_numpy(), wanted.to_numpy())
    times = pd.to_datetime(pd.read_parquet(tmp_path / "out", columns=["date"])["date"].dropna(), utc=True)
    assert {each.date() for each in times} == set(days["date"]) - set(days["date"][3:5])


def test_symbols_of_csv_files_stay_text(spark: SparkSession, tmp_path: Path) -> None:
    """000001 is a share of Shenzhen, TRUE one of New York."""
    paths = [written(tmp_path / f"{symbol}.csv", symbol=symbol) for symbol in ("000001", "TRUE", "1E5")]
    for path in paths:
        assert run(tmp_path / "out", path, overwrite=True) == 0
        assert set(pd.read_parquet(tmp_path / "out")["symbol"]) == {path.stem}


def test_notional_in_one_file_takes_none_from_another(spark: SparkSession, tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", notional=1000.0)
    other = history("B", 5, 2)
    other.to_parquet(tmp_path / "b.parquet")
    found = with_indicators(read_bars(spark, sorted(tmp_path.iterdir())), "vwap").toPandas()
    own = found[found.symbol == "B"].sort_values("date")
    wanted = compute(other.assign(start=pd.to_datetime(other["date"])), "vwap")
    np.testing.assert_array_equal(own["vwap"].to_numpy(), wanted["vwap"].to_numpy())


def test_what_is_read_is_never_replaced(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    path = written(folder / "a.parquet")
    for given in (path, folder):
        assert run(folder, given, overwrite=True) == 1
        assert "which is read: choose another path" in capsys.readouterr().err
    assert path.exists()


def test_crash_between_two_renames_is_repaired_and_a_bad_place_is_one_line(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = written(tmp_path / "a[1].parquet"), tmp_path / "out"
    assert run(out, path) == 0
    out.rename(tmp_path / ".out.old")
    assert run(out, path) == 1 and "--overwrite" in capsys.readouterr().err
    assert run(out, path, overwrite=True) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a[1].parquet", "out"]
    assert run(path / "out", path) == 1
    assert capsys.readouterr().err.count("\n") == 1
