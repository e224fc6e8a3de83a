"""Exported days: what is in a folder, the same bytes twice, what an amended day says, and the recipes of the docs."""

import json
import re
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from conf.settings import Settings
from core.clock import ManualClock
from core.records import Bar
from jobs.export import main, rfc3339
from stores.schema import bars_table
from stores.timescale import TimescaleReader, TimescaleStore
from tests.batches import make_tick, make_ticks
from tests.factories import bar, indicators, indicators_table

DAY_US = 86_400_000_000
MONDAY = 1_709_510_400_000_000  # 2024-03-04
NOW = MONDAY + 3 * DAY_US
ROOT = Path(__file__).parents[2]


@pytest.fixture
def out(database: TimescaleStore, postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with two days, and where the exports go."""
    monkeypatch.setenv("POSTGRES_DSN", postgres_dsn)
    monkeypatch.chdir(tmp_path)
    database.write_bars(
        bars_table(bars()), indicators_table(*(indicators(each, {"rsi_14": 50.5}, specs="rsi:14") for each in bars()))
    )
    database.write_ticks(make_ticks(*(make_tick(place, event_us=MONDAY + place) for place in range(5))))
    return tmp_path / "exports"


def bars() -> list[Bar]:
    """Of two symbols, the last and first minute of neighbouring days, and three between."""
    minutes = (-1, 0, 1, 2, 1439, 1440)
    return [
        bar(symbol=symbol, interval=interval, start=MONDAY + minute * 60_000_000 // length * length)
        for symbol in ("b", "A")
        for interval, length in (("1m", 60_000_000), ("5m", 300_000_000), ("15m", 900_000_000))
        for minute in minutes
        if interval == "1m" or minute in (-1, 0, 1439, 1440)
    ]


def export(*arguments: str) -> int:
    return main([*arguments, "--out", "exports"], ManualClock(NOW))


def manifest(day: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((day / "manifest.json").read_text())
    return found


def amended(database: TimescaleStore) -> Bar:
    changed = bar(symbol="A", start=MONDAY, rev=2, state="amended", reason="late", high=Decimal("195"))
    database.write_bars(bars_table([changed]))
    return changed


def test_a_day_holds_what_the_database_knows_and_nothing_of_its_neighbours(out: Path, database: TimescaleStore) -> None:
    amended(database)
    assert export("--day", "2024-03-04", "--ticks") == 0
    day = out / "date=2024-03-04"
    assert {path.name for path in day.iterdir()} == {
        *(f"{what}-{interval}.parquet" for what in ("bars", "indicators") for interval in ("1m", "5m", "15m")),
        *("bars-1d.parquet", "revisions-1m.parquet", "ticks.parquet", "manifest.json"),
    }
    minutes = pq.read_table(day / "bars-1m.parquet").to_pylist()
    assert [(row["symbol"], row["start"].minute, row["rev"]) for row in minutes] == [
        *(("A", 0, 2), ("A", 1, 1), ("A", 2, 1), ("A", 59, 1)),
        *(("b", 0, 1), ("b", 1, 1), ("b", 2, 1), ("b", 59, 1)),
    ]
    assert minutes[0]["high"] == Decimal("195.00000000")
    (before,) = pq.read_table(day / "revisions-1m.parquet").to_pylist()
    assert (before["rev"], before["high"], before["known_at"] < minutes[0]["known_at"]) == (1, bars()[0].high, True)
    values = pq.read_table(day / "indicators-1m.parquet")
    assert values["rsi_14"].to_pylist() == [50.5] * 8 and "values" not in values.column_names
    (first, second) = pq.read_table(day / "bars-1d.parquet").to_pylist()
    assert (first["symbol"], first["day"], first["session"]) == ("A", date(2024, 3, 4), "rth")
    assert (first["high"], first["volume"], first["trade_count"], first["rev"]) == (195, 400, 4, 2)
    assert (second["symbol"], second["vwap"], second["rev"]) == ("b", Decimal("190.25"), 1)
    assert pq.read_table(day / "ticks.parquet").num_rows == 5
    said = manifest(day)
    assert (said["day"], said["calendar"], said["revisions"], said["rulesets"]) == ("2024-03-04", "24/7", 1, ["all@1"])
    assert (said["start"], said["end"]) == ("2024-03-04T00:00:00Z", "2024-03-05T00:00:00Z")
    assert said["changes"] is None and {"tickstream", "definition"} == said["made_by"].keys()


def test_the_same_content_is_the_same_bytes_and_left_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("--from", "2024-03-03", "--to", "2024-03-05") == 0
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len({path.parent for path in first}) == 3
    assert export("--from", "2024-03-03", "--to", "2024-03-05") == 0
    assert capsys.readouterr().out.count("unchanged") == 3
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first
    moved = out.rename(out.with_name("moved"))
    assert export("--from", "2024-03-03", "--to", "2024-03-05") == 0
    for path in first:
        if path.suffix == ".parquet":
            assert (moved / path.relative_to(out)).read_bytes() == path.read_bytes()
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_an_amended_day_is_refused_until_forced_and_says_what_changed(
    out: Path, database: TimescaleStore, capsys: pytest.CaptureFixture[str]
) -> None:
    day = out / "date=2024-03-04"
    assert export("--day", "2024-03-04") == 0
    before = manifest(day)
    changed = amended(database)
    database.write_bars(bars_table([bar(symbol="c", start=MONDAY + DAY_US // 2)]))
    assert export("--day", "2024-03-04") == 1
    refused = capsys.readouterr().err
    assert "1 bars added, 1 bars amended" in refused and "--force" in refused
    assert manifest(day) == before and main(["--check", str(out)]) == 0
    assert export("--day", "2024-03-04", "--force") == 0
    after = manifest(day)["changes"]
    assert (after["since"], after["content"]) == (before["known_at"], before["content"])
    assert after["bars"] == {"added": 1, "removed": 0, "amended": 1}
    assert [(row["change"], row["symbol"], row["rev"]) for row in after["first"]] == [
        ("amended", "A", 2),
        ("added", "c", 1),
    ]
    assert after["files"] == ["bars-1d.parquet", "bars-1m.parquet", "revisions-1m.parquet"]
    assert after["first"][0]["start"] == datetime.fromtimestamp(changed.start / 1e6, UTC).isoformat()
    assert main(["--check", str(out)]) == 0


def test_what_the_database_has_no_more_is_not_taken_from_an_export(
    out: Path, database: TimescaleStore, postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ticks are kept for a month, and a day may be amended after that."""
    assert export("--day", "2024-03-04", "--ticks") == 0
    amended(database)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM ticks")
        assert export("--day", "2024-03-04", "--ticks", "--force") == 1
        assert "ticks.parquet, which this export would lose" in capsys.readouterr().err
        connection.execute("DELETE FROM bars WHERE symbol = 'b' AND \"interval\" = '1m'")
    assert export("--day", "2024-03-04", "--ticks", "--force") == 1
    assert "ticks.parquet, 4 bars, which" in capsys.readouterr().err
    assert main(["--check", str(out)]) == 0


def test_known_at_is_the_as_of_that_gives_the_same_bars(out: Path, database: TimescaleStore, postgres_dsn: str) -> None:
    import asyncio

    assert export("--day", "2024-03-04", "--interval", "1m") == 0
    amended(database)
    known_at = datetime.fromisoformat(manifest(out / "date=2024-03-04")["known_at"])

    async def read() -> list[dict[str, Any]]:
        reader = TimescaleReader(postgres_dsn, timeout=20)
        await reader.open()
        try:
            as_of = round(known_at.timestamp() * 1e6)
            return await reader.bars("A", "1m", MONDAY, MONDAY + DAY_US, 100, as_of_us=as_of)
        finally:
            await reader.close()

    rows = pq.read_table(out / "date=2024-03-04" / "bars-1m.parquet").to_pylist()
    exported = [(row["high"], row["rev"]) for row in rows if row["symbol"] == "A"]
    assert [(row["high"], row["rev"]) for row in asyncio.run(read())] == exported


def test_times_of_a_manifest_have_two_digits_for_the_hour_at_any_hour() -> None:
    for hour in range(24):
        moment = datetime(2024, 3, 5, hour, 7, 9, 36 * (hour % 2), tzinfo=UTC)
        text = rfc3339(int(moment.timestamp()) * 1_000_000 + moment.microsecond)
        assert datetime.fromisoformat(text) == moment and text.endswith("Z")


def test_check_names_what_is_missing_altered_or_strange(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("--day", "2024-03-04") == 0
    day = out / "date=2024-03-04"
    (day / "bars-5m.parquet").unlink()
    shutil.copy(day / "bars-15m.parquet", day / "bars-1m.parquet")
    (day / "mine.txt").write_text("?")
    assert main(["--check", str(day)]) == 1
    lines = capsys.readouterr().out
    assert "bars-5m.parquet: missing" in lines and "bars-1m.parquet: altered" in lines and "mine.txt: not in" in lines
    assert export("--day", "2024-03-04") == 1 and "damaged" in capsys.readouterr().err
    assert export("--day", "2024-03-04", "--force") == 0 == main(["--check", str(out)])


def test_a_crash_between_two_renames_is_repaired(out: Path) -> None:
    assert export("--day", "2024-03-04") == 0
    day = out / "date=2024-03-04"
    day.rename(out / ".date=2024-03-04.old")
    (out / ".date=2024-03-04.99999999").mkdir()  # of a process that is no more
    assert export("--day", "2024-03-04") == 0
    assert [path.name for path in out.iterdir()] == [day.name] and main(["--check", str(day)]) == 0


def test_what_cannot_be_exported_is_one_line(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(MONDAY + 2 * DAY_US + 3_600_000_000)
    refused = {
        ("--day", "2024-03-06"): "not final yet",
        ("--day", "2024-03-05", "--interval", "1h"): "unknown interval 1h",
        ("--from", "2024-03-05", "--to", "2024-03-04"): "in order",
        ("--check", "nowhere"): "no exported day",
    }
    for arguments, said in refused.items():
        assert main([*arguments, "--out", "exports"], clock) == 1
        assert said in capsys.readouterr().err
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://u:secret-word@127.0.0.1:1/x")
    assert main(["--day", "2024-03-04", "--out", "exports"], clock) == 1
    error = capsys.readouterr().err
    assert error.startswith("export: timescale: ") and "secret-word" not in error
    assert not out.exists()


def test_a_day_of_an_exchange_has_both_sessions(
    out: Path, monkeypatch: pytest.MonkeyPatch, database: TimescaleStore
) -> None:
    monkeypatch.setenv("TICKSTREAM_CALENDAR", "XNYS")
    morning, evening = MONDAY + 15 * 3_600_000_000, MONDAY + DAY_US + 1_800_000_000  # 19:30 of the same day there
    database.write_bars(bars_table([bar(symbol="N", start=start) for start in (morning, evening)]))
    assert export("--day", "2024-03-04", "--interval", "1m,1d") == 0
    rows = pq.read_table(out / "date=2024-03-04" / "bars-1d.parquet").to_pylist()
    assert [(row["session"], row["volume"]) for row in rows if row["symbol"] == "N"] == [("all", 200), ("rth", 100)]
    assert export("--day", "2024-03-03") == 1  # a Sunday


def test_recipes_of_the_docs_run(out: Path, database: TimescaleStore) -> None:
    duckdb = pytest.importorskip("duckdb")
    amended(database)
    assert export("--from", "2024-03-03", "--to", "2024-03-04") == 0
    joined, revised = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "history.md").read_text(), re.DOTALL)
    assert duckdb.sql(joined).fetchall() == [
        (date(2024, 3, 3), "A", 1, Decimal("190.25"), 50.5),
        (date(2024, 3, 3), "b", 1, Decimal("190.25"), 50.5),
        (date(2024, 3, 4), "A", 2, Decimal("190.25"), 50.5),
        (date(2024, 3, 4), "b", 2, Decimal("190.25"), 50.5),
    ]
    assert [row[0::2][:2] for row in duckdb.sql(revised).fetchall()] == [("A", 1), ("A", 2)]


def test_the_newest_days_that_are_over(out: Path) -> None:
    assert export("--last", "2", "--interval", "1m") == 0  # it is midnight, so yesterday's last bars may still come
    assert sorted(path.name for path in out.iterdir()) == ["date=2024-03-04", "date=2024-03-05"]


def test_settings_name_the_default_folder(out: Path, database: TimescaleStore) -> None:
    assert main(["--day", "2024-03-04", "--interval", "1m"], ManualClock(NOW)) == 0
    assert (Settings().data_path / "exports" / "date=2024-03-04" / "manifest.json").exists()
