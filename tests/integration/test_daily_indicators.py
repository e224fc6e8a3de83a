"""Indicators of daily bars in batch: the command on real history, and histories that must not run into one another."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from core.errors import InputError
from core.indicators import compute
from core.intervals import DAY_US
from jobs.daily import main, read_bars, with_indicators
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
