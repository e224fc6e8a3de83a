"""Files of daily bars and actions: what they say, and what is refused because it would be wrong for years."""

import csv
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from core.adjustment import Action
from core.errors import InputError
from jobs.action_files import read_actions
from jobs.daily_cells import kind_of
from jobs.daily_files import DaysOfFiles, History, as_table, check_raw, read_histories, unexplained
from jobs.load_daily import main
from stores.daily_bars import DAILY_SCHEMA

DATA = Path(__file__).parents[4] / "shared" / "data" / "daily"
SPLIT = Action(date(2024, 3, 6), "split", Fraction(7))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.csv"


def write(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(day: str = "2024-03-05", close: str = "70", **more: Any) -> dict[str, Any]:
    return {"symbol": "A", "date": day, "open": close, "high": close, "low": close, "close": close} | more


def history(file: Path, *closes: str, **more: Any) -> History:
    rows = [row(f"2024-03-{4 + place:02}", close, **more) for place, close in enumerate(closes)]
    return read_histories(write(file, *rows))[0]


def test_cells_are_exact_and_absent_ones_null(file: Path) -> None:
    write(
        file, row(close="0.1", volume="", kind="trade"), row("2024-03-04", "123456789.12345678", volume="482.52182654")
    )
    table = as_table(read_histories(file, source="me"))
    assert table.schema == DAILY_SCHEMA and table["day"].to_pylist() == [date(2024, 3, 4), date(2024, 3, 5)]
    assert table["close"].to_pylist() == [Decimal("123456789.12345678"), Decimal("0.10000000")]
    assert table["volume"].to_pylist() == [Decimal("482.52182654"), None]
    assert table["source"].to_pylist() == ["me", "me"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(), row()], "there twice"),
        ([row(kind="bid"), row(kind="ask")], "several kinds of bars, ask, bid"),
        ([row(close="0")], "not above zero"),
        ([row(close="nan")], "not a number|not above zero"),
        ([row(close="abc")], "not a number: 'abc'"),
        ([row(close="")], "missing"),
        ([row(volume="-1")], "below zero"),
        ([row("1969-12-31")], "before 1970-01-01"),
        ([row("04/03/2024")], "not a date"),
        ([row(symbol="a\nb")], "not a symbol"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(file: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_histories(write(file, *rows))


def test_raw_prices_jump_with_a_split_and_adjusted_ones_are_refused(file: Path) -> None:
    check_raw(history(file, "70", "70", "10.4"), [SPLIT], declared=False)
    check_raw(history(file, "70", "70", "10.4", adj_close="10"), [SPLIT], declared=False)  # the jump is proof
    for declared in (False, True):
        with pytest.raises(InputError, match=r"a split of 7 for 1, and the close went from 10\.1.* adjusted already"):
            check_raw(history(file, "10", "10.1", "10.4"), [SPLIT], declared=declared)
    reverse = Action(date(2024, 3, 6), "split", Fraction(1, 10))
    with pytest.raises(InputError, match="adjusted already"):
        check_raw(history(file, "10", "10", "10"), [reverse], declared=True)
    check_raw(history(file, "1", "1", "10"), [reverse], declared=False)


def test_adjusted_close_without_proof_needs_a_promise(file: Path) -> None:
    closes = history(file, "70", "70", "70", adj_close="69")
    later = Action(date(2030, 1, 2), "split", Fraction(2))  # may well be in these prices
    for known in ([], [later], [Action(date(2024, 3, 6), "dividend", amount=Decimal(1))]):
        with pytest.raises(InputError, match="--prices raw"):
            check_raw(closes, known, declared=False)
        check_raw(closes, known, declared=True)
    stated = history(file, "70", "70", "70", adj_close="69", dividend="0", split_ratio="1")
    check_raw(stated, stated.actions, declared=False)


def test_jumps_without_a_split_are_told(file: Path) -> None:
    closes = history(file, "70", "70", "10.4", "10.5")
    (line,) = unexplained(closes, [])
    assert line.startswith("A 2024-03-06: the close went from 70")
    assert unexplained(closes, [SPLIT]) == []


def test_actions_beside_bars_and_in_files_of_their_own(file: Path) -> None:
    rows = [
        row("2024-03-04", "70", dividend="0", split_ratio="0"),
        row("2024-03-05", "10", dividend=".5", split_ratio="7"),
    ]
    (found,) = read_histories(write(file, *rows))
    assert found.actions == [
        Action(date(2024, 3, 5), "split", Fraction(7)),
        Action(date(2024, 3, 5), "dividend", amount=Decimal(".5")),
    ]
    same = {"symbol": "A", "ex_date": "2024-03-05"}
    write(
        file,
        *(same | {"kind": "dividend", "amount": amount} for amount in ("0.5", "1.25")),
        same | {"kind": "split", "ratio": "3:2"},
    )
    assert kind_of(file) == "actions"
    assert read_actions(file, "actions")["A"] == [
        Action(date(2024, 3, 5), "dividend", amount=Decimal("1.75")),  # a regular one and a special one
        Action(date(2024, 3, 5), "split", Fraction(3, 2)),
    ]
    for wrong in ({"kind": "spin-off"}, {"kind": "split", "ratio": "x"}, {"kind": "dividend", "amount": ""}):
        with pytest.raises(InputError):
            read_actions(write(file, same | wrong), "actions")


def test_ex_date_of_a_factor_is_the_weekday_after(file: Path) -> None:
    names = ("symbol", "date", "price_factor", "split_factor", "reference_price")
    rows = [("A", "2024-03-01", 0.99, 0.5, 100), ("A", "2024-03-05", 0.99, 1, 50), ("A", "2050-12-31", 1, 1, 0)]
    write(file, *(dict(zip(names, values, strict=True)) for values in rows))
    assert [(each.kind, each.ex_date.isoformat()) for each in read_actions(file, "factors")["A"]] == [
        ("split", "2024-03-04"),  # the 1st was a Friday
        ("dividend", "2024-03-06"),
    ]


def test_factors_of_a_weekend_are_of_one_event(file: Path) -> None:
    names = ("symbol", "date", "price_factor", "split_factor", "reference_price")
    days = [("2024-03-01", 0.9, 0.25, 100), ("2024-03-02", 0.95, 0.5, 100), ("2050-12-31", 1, 1, 0)]
    write(file, *(dict(zip(names, ("A", *values), strict=True)) for values in days))
    monday = date(2024, 3, 4)
    assert read_actions(file, "factors")["A"] == [
        Action(monday, "split", Fraction(4)),
        Action(monday, "dividend", amount=Decimal(10), reference=Decimal(100)),
    ]
    write(file, *(dict(zip(names, ("A", *values), strict=True)) for values in [*days, days[0]]))
    with pytest.raises(InputError, match="2024-03-01: the day is there twice"):
        read_actions(file, "factors")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["nasdaq9_2017_2023"], "AAPL: the file has adj_close"),
        (["nasdaq9_2017_2023", "us_equity_1998_2021_factors"], "AAPL 2020-08-31: a split of 4 for 1"),
        (["fx_EURUSD_daily"], "choose one with --kind"),
        (["nowhere"], "no such file"),
    ],
)
def test_command_refuses_published_files_in_one_line(
    names: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dry-run", *(str(DATA / f"{name}.parquet") for name in names)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[-1] and lines[-1].startswith("load_daily: ")


def test_command_accepts_the_raw_ones_and_warns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run", "--kind", "bid", str(DATA / "fx_EURUSD_daily.parquet")]) == 0
    assert "EURUSD: 3,7" in capsys.readouterr().out


def test_other_files_are_told_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="neither of these: bars: symbol, date, open"):
        kind_of(tmp_path / "x.csv")
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="neither CSV nor Parquet"):
        kind_of(tmp_path / "x.parquet")


def test_day_that_two_files_tell_differently_is_refused_and_one_they_agree_on_is_not(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", row("2024-03-04"), row("2024-03-05"))
    same = write(tmp_path / "b.csv", row("2024-03-05"), row("2024-03-06"))
    other = write(tmp_path / "c.csv", row("2024-03-06", "71"))
    days = DaysOfFiles()
    for path in (first, same):
        days.add(path, read_histories(path, source="me"))
    days.add(other, read_histories(other, source="somebody else"))
    with pytest.raises(InputError, match=r"b\.csv and .*c\.csv: A 2024-03-06 is in both, with other values.*from me"):
        days.add(other, read_histories(other, source="me"))
