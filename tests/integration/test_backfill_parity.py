"""Backfill against bars that others published from the same ticks, against the stream, and on bad input."""

import os
from decimal import Decimal
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from psycopg.rows import dict_row

from conf.settings import Settings, load_settings
from core import rulesets
from jobs.backfill import batch_bars
from jobs.backfill import main as backfill
from jobs.indicator_topic import FinalStates
from jobs.recorded import read_files
from producers.publish import Publisher
from producers.reading import find_files
from producers.replay import Progress, Replay
from stores.schema import BAR_SCHEMA
from tests.indicator_rows import expected_values
from tests.integration.test_one_definition import START_US, content, micros
from tests.oracles import rolled_up
from tests.streaming import run_available
from tests.supervised import ROOT, SUBMIT, environment, run_to_end

pytestmark = pytest.mark.spark

DATA = ROOT.parent / "shared/data"
# What differs between reading a file and receiving it from a broker.
DELIVERY = ("kafka_partition", "first_offset", "last_offset", "received_us")
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the recorded market data (../shared/data) is not here")


def rows_of(path: Path) -> list[dict]:
    """The bars of a backfill's Parquet output, times in microseconds; its schema is that of the stores."""
    return micros(ds.dataset(path, format="parquet").to_table().cast(BAR_SCHEMA))


def agreement(rows: list[dict], published: Path, interval: str = "1m") -> tuple[int, int]:
    """How many bars equal the published ones in open, high, low, close and volume, and of how many in either."""
    fields = ("open", "high", "low", "close", "volume")
    chosen = [row for row in rows if row["interval"] == interval]
    own = {(row["symbol"], row["start"]): tuple(_float(row[field]) for field in fields) for row in chosen}
    table = ds.dataset(published, format="parquet").to_table()
    starts = table["bar_start"].cast(pa.int64()).to_pylist()
    values = zip(*(table[field].to_pylist() for field in fields), strict=True)
    theirs = dict(zip(zip(table["symbol"].to_pylist(), starts, strict=True), values, strict=True))
    keys = own.keys() | theirs.keys()
    return sum(own.get(key) == theirs.get(key) for key in keys), len(keys)


def _float(amount: Decimal | None) -> float | None:
    # One AIG minute holds nothing but prints that set no price.
    return None if amount is None else float(amount)


def assert_rolls_up(rows: list[dict]) -> None:
    longer = {key: bar for key, bar in content(rows).items() if key[1] != "1m"}
    assert longer and rolled_up(rows) == longer


@needs_data
def test_us_equity_bars_equal_the_published_ones(tmp_path: Path) -> None:
    out = tmp_path / "bars"
    command = [SUBMIT, "jobs/backfill.py", "--ticks", str(DATA / "us_equity_2013"), "--ruleset", "us-equity"]
    done = run_to_end([*command, "--out", str(out)], os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "of 1,684,116 ticks" in done.stdout
    rows = rows_of(out)
    assert agreement(rows, DATA / "us_equity_2013/bars_1m") == (6766, 6768)
    assert {row["ruleset"] for row in rows} == {rulesets.load("us-equity").id}
    assert_rolls_up(rows)


@needs_data
def test_gold_and_xrpeth_bars_equal_the_published_ones(spark, tmp_path: Path) -> None:
    gold, xrp = tmp_path / "gold", tmp_path / "xrp"
    assert backfill(["--ticks", str(DATA / "gold_futures_2013"), "--out", str(gold)]) == 0
    assert backfill(["--ticks", str(DATA / "crypto_binance_xrpeth_2019"), "--out", str(xrp)]) == 0
    assert agreement(rows_of(gold), DATA / "gold_futures_2013/bars_1m") == (3024, 3037)
    assert agreement(rows_of(xrp), DATA / "crypto_binance_xrpeth_2019/bars_1m") == (2469, 2469)
    assert agreement(rows_of(xrp), DATA / "crypto_binance_xrpeth_2019/bars_5m", "5m") == (706, 706)
    assert_rolls_up(rows_of(gold))
    assert_rolls_up(rows_of(xrp))


@needs_data
def test_streamed_replay_equals_the_batch(spark, settings: Settings) -> None:
    ruleset = rulesets.load("us-equity")
    settings = settings.model_copy(update={"ruleset": "us-equity"})
    files = find_files([DATA / "us_equity_2013/ticks/IBM_2013-10-07.parquet"])
    progress = Progress()
    with Publisher(settings) as publisher:
        replay = Replay(publisher, settings, ruleset, files, None)
        replay.publish(progress)
        replay.close_bars(progress)
    streamed = without_delivery(content(micros(run_available("final", spark, settings).bars)))
    table = batch_bars(read_files(spark, files, ruleset), settings.bar_intervals, "us-equity", 1).toArrow()
    batch = without_delivery(content(micros(table.cast(BAR_SCHEMA))))
    assert len(batch) > 400 and streamed == batch


def without_delivery(bars: dict[tuple, dict]) -> dict[tuple, dict]:
    return {key: {name: value for name, value in bar.items() if name not in DELIVERY} for key, bar in bars.items()}


def recorded(path: Path, **columns: object) -> Path:
    """A file of 50 trades over 50 minutes, with further columns."""
    numbers = range(50)
    times = [START_US + n * 60_000_000 for n in numbers]
    frame = pd.DataFrame(
        {
            "symbol": "AAA",
            "event_time": pd.to_datetime(times, unit="us", utc=True).as_unit("us"),
            "seq": list(numbers),
            "price": [10 + n / 100 for n in numbers],
            "size": [1.5 + n for n in numbers],
        }
    ).assign(**columns)
    frame.to_parquet(path)
    return path


def test_repeated_rows_of_files_count_once(spark, tmp_path: Path) -> None:
    by_seq = recorded(tmp_path / "a.parquet")
    by_id = recorded(tmp_path / "b.parquet", trade_id=[f"t{n}" for n in range(50)])
    for number, path in enumerate((by_seq, by_id)):
        assert backfill(["--ticks", str(path), "--out", str(tmp_path / f"once{number}")]) == 0
        table = pq.read_table(path)
        pq.write_table(pa.concat_tables([table, table.slice(7, 20), table.slice(9, 1)]), path)
        assert backfill(["--ticks", str(path), "--out", str(tmp_path / f"twice{number}")]) == 0
        once, twice = (content(rows_of(tmp_path / f"{name}{number}")) for name in ("once", "twice"))
        assert twice == once and sum(row["trade_count"] for row in once.values()) == 150
    # The same trade ids in two files are one trade each; the same seq in two files is not.
    copied = recorded(tmp_path / "c.parquet", trade_id=[f"t{n}" for n in range(50)])
    assert backfill(["--ticks", str(by_id), str(copied), "--out", str(tmp_path / "files")]) == 0
    assert content(rows_of(tmp_path / "files")) == content(rows_of(tmp_path / "once1"))


def test_bars_go_into_the_stores_and_a_second_time_changes_nothing(
    spark, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    path = recorded(tmp_path / "a.parquet")
    counts = []
    for _ in range(2):
        assert backfill(["--ticks", str(path), "--intervals", "1m"]) == 0
        with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
            counts += connection.execute("SELECT count(*), sum(trade_count), max(rev) FROM bars").fetchall()
    assert counts == [(50, 50, 1)] * 2


def test_indicators_come_with_the_bars_and_are_warmed_up_by_those_before(
    spark, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (environment(settings) | {"TICKSTREAM_INDICATORS": "sma:5 rsi:3 obv ema:4"}).items():
        monkeypatch.setenv(name, value)
    whole = pd.read_parquet(recorded(tmp_path / "whole.parquet", price=[10 + n * 7 % 11 / 10 for n in range(50)]))
    for number, part in enumerate((whole[:30], whole[30:])):
        part.to_parquet(tmp_path / f"{number}.parquet")
        assert backfill(["--ticks", str(tmp_path / f"{number}.parquet"), "--intervals", "1m"]) == 0
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), row_factory=dict_row) as connection:
        micros_of_start = "(extract(epoch FROM start) * 1000000)::bigint AS start"
        bars = connection.execute(
            f"SELECT symbol, interval, {micros_of_start}, open, high, low, close, volume, notional FROM bars"
        ).fetchall()
        rows = connection.execute(f'SELECT symbol, interval, {micros_of_start}, "values" FROM indicators').fetchall()
        states = connection.execute(f"SELECT {micros_of_start} FROM indicator_states").fetchall()
    found = {(row["symbol"], row["interval"], row["start"]): row["values"] for row in rows}
    assert len(found) == 50 and found == expected_values(bars, load_settings())
    assert [row["start"] for row in states] == [max(start for *_, start in found)]
    # A stream's relay goes on from the newest state of the topic: those of old bars are not for it.
    reader = FinalStates(settings)
    assert list(reader.read_all()) == []
    reader.close()


def test_bad_input_is_one_line_and_exit_code_1(spark, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    ticks = recorded(tmp_path / "ticks.parquet")
    quotes = tmp_path / "quotes.parquet"
    pd.DataFrame({"symbol": ["A"], "event_time": [pd.Timestamp.now("UTC")], "bid": [1.0], "ask": [2.0]}).to_parquet(
        quotes
    )
    (tmp_path / "folder").mkdir()
    there = tmp_path / "there"
    there.mkdir()
    (there / "part-0.parquet").write_bytes(b"of somebody")
    cases = {
        "no such file": [str(tmp_path / "missing")],
        "missing seq, price, size": [str(quotes)],
        "no file of trade ticks": [str(tmp_path / "folder")],
        "neither Parquet nor CSV": [str(there)],
        "there exists": [str(ticks), "--out", str(there)],
        "unknown ruleset": [str(ticks), "--ruleset", "us-equities", "--out", str(tmp_path / "o")],
        "unknown interval 2m": [str(ticks), "--intervals", "2m", "--out", str(tmp_path / "o")],
    }
    for words, arguments in cases.items():
        assert backfill(["--ticks", *arguments]) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("backfill: ") and captured.err.count("\n") == 1
        assert words in captured.err
    assert (there / "part-0.parquet").read_bytes() == b"of somebody" and not (tmp_path / "o").exists()
