"""Daily bars: the historical tier as it is loaded and read, and days rolled up from intraday bars."""

import csv
import io
import random
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from api.models_daily import DailyBarsAnswer
from conf.settings import Settings
from core import rulesets
from core.bars import fold_bars
from core.clock import ManualClock
from core.intervals import INTERVALS, Interval
from core.records import Bar, Tick
from core.trading_days import regular_days, trading_days
from jobs.load_daily import main as load
from stores.daily_bars import LOCK
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.factories import bar, tick
from tests.receivers import until
from tests.serving import serving, without_database

DATA = Path(__file__).parents[3] / "shared" / "data"
LEAN, FACTORS = (DATA / "daily" / f"us_equity_1998_2021{part}.parquet" for part in ("", "_factors"))
DAY = 86_400_000_000
MONDAY = 1_709_510_400_000_000  # 2024-03-04
NOW = MONDAY + 9 * DAY + 15 * 3_600_000_000  # Wednesday of the week after, 15:00 UTC, New York open since 13:30
EVER = Interval("1d", 10**18)


def answer(client: httpx.Client, symbol: str = "AAPL", **params: Any) -> dict[str, Any]:
    found = client.get(f"/api/v1/bars/{symbol}", params={"interval": "1d", **params})
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    DailyBarsAnswer.model_validate(body, strict=True)
    return body


def shown(body: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in names) for each in body["bars"]]


@pytest.fixture
def new_york(store_settings: Settings, database: TimescaleStore) -> Iterator[httpx.Client]:
    with serving(store_settings.model_copy(update={"calendar": "XNYS"}), ManualClock(NOW)) as client:
        yield client


@pytest.fixture
def dsn(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Where the loader writes."""
    monkeypatch.setenv("POSTGRES_DSN", postgres_dsn)
    monkeypatch.chdir(tmp_path)
    return postgres_dsn


def write_csv(path: Path, rows: list[dict[str, Any]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def day_rows(closes: dict[str, str], symbol: str = "AAPL", **more: Any) -> list[dict[str, Any]]:
    prices = ("open", "high", "low", "close")
    return [
        {"symbol": symbol, "date": day, **dict.fromkeys(prices, close), "volume": "700", **more}
        for day, close in closes.items()
    ]


def test_years_of_history_by_adjustment_format_and_page(
    client: httpx.Client, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / path.name for path in (LEAN, FACTORS)]
    for source, path in zip((LEAN, FACTORS), files, strict=True):
        pq.write_table(pq.read_table(source, filters=[("symbol", "=", "AAPL")]), path)
    assert load([str(path) for path in files]) == 0
    assert "bars 5,849 new; corporate actions 39 new" in capsys.readouterr().out
    around = {"start": "2014-06-05", "end": "2014-06-11"}
    raw, split, both = (answer(client, **around, adjustment=kind) for kind in ("raw", "split", "all"))
    assert shown(raw, "day", "close", "price_factor", "volume_factor") == [
        ("2014-06-05", "647.35", 1.0, 1.0),
        ("2014-06-06", "645.57", 1.0, 1.0),
        ("2014-06-09", "93.7", 1.0, 1.0),
        ("2014-06-10", "94.25", 1.0, 1.0),
    ]
    first, second = split["bars"][1:3]
    assert (first["close"], second["close"]) == ("23.05607143", "23.425")  # 4:1 in 2020 is behind both
    assert float(first["volume"]) == float(raw["bars"][1]["volume"]) * 28
    (published,) = pq.read_table(files[1], filters=[("date", "=", date(2014, 6, 6))]).to_pylist()
    expected = published["price_factor"] * published["split_factor"]
    assert both["bars"][1]["price_factor"] == pytest.approx(expected, rel=1e-6)
    assert both["bars"][1]["volume"] == first["volume"]
    assert {each["source"] for each in raw["bars"]} == {"QuantConnect/Lean (unadjusted)"}
    newest = answer(client, limit=2, adjustment="all")
    assert shown(newest, "day", "price_factor") == [("2021-03-30", 1.0), ("2021-03-31", 1.0)]
    whole = answer(client, limit=10_000)
    pages, cursor = [], None
    while len(pages) < 3:
        page = answer(client, limit=2000, start="1998-01-01", **({"cursor": cursor} if cursor else {}))
        pages.append(page["bars"])
        cursor = page["next"]
    assert cursor is None and [*chain(*pages)] == whole["bars"]
    path, query = "/api/v1/bars/AAPL", {"interval": "1d", "adjustment": "all", **around}
    rows = list(csv.DictReader(io.StringIO(client.get(path, params=query | {"format": "csv"}).text)))
    table = pa.ipc.open_stream(client.get(path, params=query | {"format": "arrow"}).content).read_all()
    assert [row["close"] for row in rows] == [each["close"] for each in both["bars"]]
    assert [Decimal(each["close"]) for each in both["bars"]] == table["close"].to_pylist()
    assert table["day"].to_pylist()[0] == date(2014, 6, 5) and table.schema.metadata[b"adjustment"] == b"all"
    tag = client.get(path, params=query).headers["etag"]
    assert client.get(path, params=query, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(path, params=query | {"adjustment": "raw"}, headers={"If-None-Match": tag}).status_code == 200


def test_a_load_is_repeatable_revised_and_known_at_a_time(
    client: httpx.Client, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closes = {"2024-03-04": "70", "2024-03-05": "70", "2024-03-06": "10"}
    bars = write_csv(tmp_path / "bars.csv", day_rows(closes, source="A"))
    actions = tmp_path / "actions.csv"
    paid = {"symbol": "AAPL", "ex_date": "2024-03-06", "kind": "split", "ratio": "7:1", "amount": ""}
    coming = paid | {"ex_date": "2099-06-03", "ratio": "2"}
    write_csv(actions, [paid, coming])
    assert load([bars, str(actions)]) == 0 == load([bars, str(actions)])
    assert "bars 3 unchanged; corporate actions 2 unchanged" in capsys.readouterr().out
    then = datetime.now(UTC)
    assert [close for (close,) in shown(answer(client, adjustment="split"), "close")] == ["10", "10", "10"]
    write_csv(tmp_path / "bars.csv", day_rows(closes | {"2024-03-05": "77"}, source="A"))
    write_csv(actions, [paid | {"amount": "", "ratio": "7"}, coming, paid | {"kind": "dividend", "amount": "7.7"}])
    assert load([bars, str(actions)]) == 0
    assert "bars 1 amended, 2 unchanged; corporate actions 1 new, 2 unchanged" in capsys.readouterr().out
    now = answer(client, adjustment="all")
    assert shown(now, "close", "rev", "state") == [("9", 1, "final"), ("9.9", 2, "amended"), ("10", 1, "final")]
    before = answer(client, adjustment="all", as_of=then.isoformat().replace("+00:00", "Z"))
    assert shown(before, "close", "rev") == [("10", 1), ("10", 1), ("10", 1)]
    assert answer(client, as_of="2020-01-01T00:00:00Z")["bars"] == []
    other = write_csv(tmp_path / "other.csv", day_rows({"2024-03-04": "71"}, source="B"))
    assert load([other]) == 0 and "1 kept" in capsys.readouterr().out
    assert shown(answer(client, limit=1, start="2024-03-04"), "close", "source") == [("70", "A")]
    assert load(["--replace", other]) == 0
    assert shown(answer(client, limit=1, start="2024-03-04"), "close", "source", "rev") == [("71", "B", 2)]


def test_load_of_several_files_is_whole_or_nothing(
    database: TimescaleStore, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_csv(tmp_path / "first.csv", day_rows({"2024-03-04": "70", "2024-03-05": "71"}, source="A"))
    again = write_csv(tmp_path / "again.csv", day_rows({"2024-03-05": "71", "2024-03-06": "72"}, source="A"))
    wrong = write_csv(tmp_path / "wrong.csv", day_rows({"2024-03-06": "73"}, source="A"))
    unknown = tmp_path / "unknown.csv"
    write_csv(unknown, [{"symbol": "AAPL", "ex_date": "2024-03-06", "kind": "spin-off", "ratio": "1"}])
    with psycopg.connect(dsn, autocommit=True) as connection:
        for files, told in (((first, again, wrong), "AAPL 2024-03-06 is in both"), ((first, str(unknown)), "spin-off")):
            assert load([*files]) == 1
            error = capsys.readouterr().err.splitlines()
            assert error[-1].startswith("load_daily: ") and told in error[-1]
            assert connection.execute("SELECT count(*) FROM daily_bars").fetchone() == (0,)
        # Refused by the database itself, behind the bars of the same load.
        connection.execute("ALTER TABLE corporate_actions ADD CHECK (new_shares < 9)")
        write_csv(unknown, [{"symbol": "MSFT", "ex_date": "2024-03-06", "kind": "split", "ratio": "10"}])
        assert load([first, str(unknown)]) == 1
        assert connection.execute("SELECT count(*) FROM daily_bars").fetchone() == (0,)
    assert load([first, again]) == 0
    assert "bars 3 new, 1 unchanged" in capsys.readouterr().out


def test_what_a_load_writes_is_known_from_then_on_and_not_before(
    database: TimescaleStore, dsn: str, tmp_path: Path
) -> None:
    """A load that waits for another one began before it could write: `as_of` of meanwhile must stay what it was."""
    bars = write_csv(tmp_path / "bars.csv", day_rows({"2024-03-04": "70"}))
    with psycopg.connect(dsn) as other, psycopg.connect(dsn, autocommit=True) as watching:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        thread = threading.Thread(target=load, args=[[bars]])
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        until(lambda: watching.execute(waiting).fetchone() == (1,), "a load that waits")
        (then,) = watching.execute("SELECT clock_timestamp()").fetchone() or (None,)
        other.rollback()
        thread.join(60)
        assert watching.execute("SELECT known_at > %s FROM daily_bars", [then]).fetchall() == [(True,)]


def test_event_that_two_files_of_one_load_name_is_the_first_ones(
    database: TimescaleStore, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"symbol": "AAPL", "ex_date": "2024-03-06", "kind": "dividend"}
    one, same, other = (
        write_csv(tmp_path / f"{name}.csv", [event | {"amount": amount}, event | {"ex_date": day, "amount": "1"}])
        for name, amount, day in (("one", "7", "2024-06-05"), ("same", "7", "2024-06-05"), ("other", "8", "2024-09-04"))
    )
    bars = write_csv(tmp_path / "bars.csv", day_rows({"2024-03-05": "70"}))
    held = [(date(2024, 3, 6), 1, Decimal(7), "one"), (date(2024, 6, 5), 1, Decimal(1), "one"),
            (date(2024, 9, 4), 1, Decimal(1), "other")]  # fmt: skip
    query = "SELECT ex_date, rev, amount, source FROM corporate_actions ORDER BY ex_date, rev"
    assert load([bars, one, same, other]) == 0
    assert "corporate actions 3 new, 2 unchanged, 1 kept" in capsys.readouterr().out
    with psycopg.connect(dsn) as connection:
        assert connection.execute(query).fetchall() == held
    assert load(["--source", "one", one, other]) == 0
    assert "corporate actions 1 amended, 3 unchanged" in capsys.readouterr().out


def test_what_cannot_be_had_names_the_parameter(client: httpx.Client) -> None:
    refused: list[tuple[dict[str, str], str]] = [
        ({"interval": "5m", "adjustment": "split"}, "adjustment"),
        ({"interval": "1d", "adjustment": "none"}, "adjustment"),
        ({"interval": "1d", "fill": "prev"}, "fill"),
        ({"interval": "1d", "session": "pre"}, "session"),
        ({"interval": "1m", "start": "2024-03-04"}, "start"),
        ({"interval": "1d", "start": "2024-13-04"}, "start"),
        ({"interval": "1w"}, "interval"),
    ]
    for query, parameter in refused:
        answered = client.get("/api/v1/bars/AAPL", params=query)
        assert answered.status_code == 422
        assert [each["parameter"] for each in answered.json()["errors"]] == [parameter]


def test_unknown_symbol_and_empty_range(client: httpx.Client, dsn: str, tmp_path: Path) -> None:
    assert client.get("/api/v1/bars/NOPE", params={"interval": "1d"}).status_code == 404
    assert load([write_csv(tmp_path / "bars.csv", day_rows({"2024-03-04": "70"}))]) == 0
    assert answer(client, start="2001-01-01", end="2002-01-01")["bars"] == []


def random_ticks(seed: int) -> list[Tick]:
    """A symbol's trades over a fortnight, some at the edges of sessions, some that touch the volume only."""
    rng = random.Random(seed)
    edges = [
        edge + offset
        for day in regular_days(MONDAY, MONDAY + 12 * DAY, "XNYS")
        for edge in (day.start, day.end)
        for offset in (-1, 0)
    ]
    times = [rng.choice(edges) if rng.random() < 0.3 else MONDAY + rng.randrange(12 * DAY) for _ in range(60)]
    return [
        tick(
            symbol=f"S{seed}",
            event_us=at,
            received_us=at,
            seq=place,
            price=str(rng.randrange(1, 10**9) / 10**4),
            size=str(rng.randrange(1, 10**6) / 10**3),
        )
        for place, at in enumerate(times)
    ]


def direct(ticks: list[Tick], day: Any) -> Bar | None:
    """The bar of all ticks of a stretch, made from them at once."""
    within = [(each, None, None) for each in ticks if day.start <= each.event_us < day.end]
    made = fold_bars(within, [EVER], rulesets.load("all"))
    return made[0] if made else None


@pytest.mark.parametrize(("calendar", "session"), [("24/7", "rth"), ("XNYS", "rth"), ("XNYS", "all")])
def test_roll_up_equals_the_ticks_of_the_day(
    store_settings: Settings, database: TimescaleStore, calendar: str, session: str
) -> None:
    names = ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count")
    tapes = {f"S{seed}": random_ticks(seed) for seed in range(12)}
    intervals = INTERVALS.values()
    made = [fold_bars([(each, 0, 0) for each in tape], intervals, rulesets.load("all")) for tape in tapes.values()]
    database.write_bars(bars_table([*chain(*made)]))
    windows = (trading_days if session == "all" else regular_days)(MONDAY, MONDAY + 12 * DAY, calendar)
    end = (MONDAY + 12 * DAY) // 1000
    with serving(store_settings.model_copy(update={"calendar": calendar}), ManualClock(MONDAY + 30 * DAY)) as client:
        for symbol, tape in tapes.items():
            expected = {day.date.isoformat(): bar for day in windows if (bar := direct(tape, day)) is not None}
            body = answer(client, symbol, session=session, end=end)
            found = {each["day"]: each for each in body["bars"]}
            assert found.keys() == expected.keys()
            for day, bar in expected.items():
                texts = {name: found[day][name] for name in names}
                assert {name: Decimal(value) for name, value in texts.items()} == {n: getattr(bar, n) for n in names}
                assert (found[day]["source"], found[day]["state"], found[day]["rev"]) == ("intraday", "final", 1)


def published_minutes(symbol: str) -> list[Bar]:
    rows = pq.read_table(DATA / "us_equity_2013" / "bars_1m" / f"{symbol}.parquet").to_pylist()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    made = []
    for row in rows:
        start = (row["bar_start"] - epoch) // timedelta(microseconds=1)
        prices = {name: Decimal(str(row[name])) for name in ("open", "high", "low", "close")}
        volume = Decimal(str(row["volume"]))
        made.append(bar(symbol=symbol, start=start, volume=volume, notional=volume * prices["close"], **prices))
    return made


def test_roll_up_of_published_minutes_against_published_days(
    store_settings: Settings, database: TimescaleStore
) -> None:
    """Three shares over three days: every open and close equal; of the rest 7 of 9, for minutes and days take
    different prints."""
    days = {(row["symbol"], row["date"]): row for row in pq.read_table(LEAN).to_pylist() if row["date"].year == 2013}
    database.write_bars(bars_table([bar for symbol in ("BAC", "IBM", "SPY") for bar in published_minutes(symbol)]))
    equal = dict.fromkeys(("open", "high", "low", "close", "volume"), 0)
    with serving(store_settings.model_copy(update={"calendar": "XNYS"}), ManualClock(NOW)) as client:
        for symbol in ("BAC", "IBM", "SPY"):
            for each in answer(client, symbol)["bars"]:
                official = days[symbol, date.fromisoformat(each["day"])]
                for name in equal:
                    equal[name] += Decimal(each[name]) == Decimal(str(official[name]))
            whole = answer(client, symbol, session="all")["bars"]
            assert len(whole) == 3 and float(whole[0]["volume"]) > float(answer(client, symbol)["bars"][0]["volume"])
    assert equal == {"open": 9, "high": 7, "low": 7, "close": 9, "volume": 7}


def test_published_days_come_first_and_the_rest_is_rolled_up(
    new_york: httpx.Client, database: TimescaleStore, redis_url: str, dsn: str, tmp_path: Path
) -> None:
    """Two published days, one of which has intraday bars too; a day before, a day after, and one that forms."""
    nine_thirty = 14 * 3_600_000_000 + 30 * 60_000_000
    starts = [MONDAY + place * DAY + nine_thirty for place in (-3, 1, 2)]
    amended = bar(start=starts[2] + 60_000_000, rev=3, state="amended", reason="late", close=Decimal("191"))
    today = MONDAY + 9 * DAY + nine_thirty - 3_600_000_000  # summer time since Sunday
    early = bar(start=today - 60_000_000, high=Decimal("500"))
    stored = bar(start=today, close=Decimal("180"))
    fifteen = [bar(start=start, interval="15m") for start in starts]
    fifteen[2] = bar(start=starts[2], interval="15m", rev=3, state="amended", close=Decimal("191"))
    database.write_bars(bars_table([*(bar(start=start) for start in starts), amended, early, stored, *fifteen]))
    live = RedisStore(redis_url, 300)
    live.write_bars(
        bars_table(
            [
                stored,
                bar(start=today + 60_000_000, rev=0, state="forming", close=Decimal("200"), high=Decimal("201")),
            ]
        )
    )
    live.close()
    loaded = day_rows({"2024-03-04": "150", "2024-03-05": "151"}, source="published")
    actions = [{"symbol": "AAPL", "ex_date": "2024-03-11", "kind": "dividend", "amount": "19.1"}]
    actions.append({"symbol": "AAPL", "ex_date": "2024-03-14", "kind": "dividend", "amount": "50"})  # not yet
    assert load([write_csv(tmp_path / "b.csv", loaded), write_csv(tmp_path / "a.csv", actions)]) == 0
    body = answer(new_york)
    assert shown(body, "day", "close", "source", "state", "rev", "is_final") == [
        ("2024-03-01", "190.25", "intraday", "final", 1, True),
        ("2024-03-04", "150", "published", "final", 1, True),
        ("2024-03-05", "151", "published", "final", 1, True),
        ("2024-03-06", "191", "intraday", "amended", 3, True),
        ("2024-03-13", "200", "intraday", "forming", 0, False),
    ]
    assert (body["tail"], body["session"], body["calendar"]) == ("ok", "rth", "XNYS")
    last = body["bars"][-1]
    assert (last["high"], last["volume"], last["start"][:10]) == ("201", "200", "2024-03-13")
    # The dividend is a tenth of the close before it, which is the roll-up's.
    assert [factor for (factor,) in shown(answer(new_york, adjustment="all"), "price_factor")] == [0.9] * 4 + [1.0]
    whole = answer(new_york, session="all")
    assert shown(whole, "day", "source")[1] == ("2024-03-05", "intraday")
    assert whole["bars"][-1]["high"] == "500"
    page = answer(new_york, start="2024-03-01", limit=2)
    following = answer(new_york, start="2024-03-01", limit=2, cursor=page["next"])
    assert page["truncated"] and [day for (day,) in shown(following, "day")] == ["2024-03-05", "2024-03-06"]
    newest = answer(new_york, order="desc", limit=2)
    assert [day for (day,) in shown(newest, "day")] == ["2024-03-13", "2024-03-06"]
    refused = new_york.get("/api/v1/bars/AAPL", params={"interval": "1d", "session": "all", "cursor": page["next"]})
    assert refused.status_code == 422


def test_roll_ups_as_they_were_known(client: httpx.Client, database: TimescaleStore) -> None:
    first, later = bar(start=MONDAY), bar(start=MONDAY + 60_000_000)
    database.write_bars(bars_table([first, later]))
    then = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    amended = bar(start=MONDAY, rev=2, state="amended", reason="late", high=Decimal("200"))
    inserted = bar(start=MONDAY + 120_000_000, state="amended", reason="gap-fill")
    database.write_bars(bars_table([amended, inserted]))
    assert shown(answer(client), "high", "volume", "rev", "state") == [("200", "300", 3, "amended")]
    assert shown(answer(client, as_of=then), "high", "volume", "rev", "state") == [("190.25", "200", 1, "final")]
    assert answer(client, as_of="2024-01-01T00:00:00Z")["bars"] == []


def test_minutes_that_reach_further_back_than_longer_bars_are_days_too(
    client: httpx.Client, database: TimescaleStore
) -> None:
    """A provider's history may be of one length alone."""
    early, late = bar(start=MONDAY - 10 * DAY), bar(start=MONDAY)
    database.write_bars(bars_table([early, late, bar(start=MONDAY, interval="15m")]))
    assert [day for (day,) in shown(answer(client), "day")] == ["2024-02-23", "2024-03-04"]


def test_without_redis_the_day_forms_from_the_database(store_settings: Settings, database: TimescaleStore) -> None:
    database.write_bars(bars_table([bar(start=NOW - 120_000_000)]))
    down = store_settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with serving(down, ManualClock(NOW)) as client:
        body = answer(client)
    assert body["tail"] == "unavailable" and shown(body, "close", "state") == [("190.25", "forming")]


def test_without_database_it_is_a_503_that_names_the_store(store_settings: Settings) -> None:
    with serving(without_database(store_settings), ManualClock(NOW)) as client:
        refused = client.get("/api/v1/bars/AAPL", params={"interval": "1d"})
    assert refused.status_code == 503 and refused.json()["store"] == "timescale"
