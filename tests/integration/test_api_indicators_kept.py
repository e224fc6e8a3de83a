"""Indicators that were kept with the bars are the ones answered, on a real PostgreSQL and a real Redis.

What is written to the stores is deliberately not what the bars would give, so that a value tells where it came from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
from pydantic import SecretStr

from api.models import IndicatorsAnswer
from conf.settings import Settings
from core.clock import ManualClock
from core.indicators import INDICATORS, compute
from core.records import Bar
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.factories import indicators, indicators_table
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving

SPECS = "sma:2 ema:3 obv"
FINAL = 10  # final minutes; minute 10 is closed and not final, minute 11 is forming
NOWHERE = "redis://127.0.0.1:1/0"

Row = dict[str, Any]
Values = Mapping[str, float | None]


def bar(minute: int, **changes: Any) -> Bar:
    close = Decimal(100 + minute * minute)
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close, "vwap": close}
    live = {"rev": 0, "state": "forming"} if minute >= FINAL else {}
    return make_bar(minute, **prices, **(live | changes))


def wrong(minute: int) -> dict[str, float | None]:
    """Values that no computation gives."""
    return {"sma_2": minute + 0.25, "ema_3": minute + 0.5, "obv": -1e6 - minute}


def right() -> list[dict[str, float | None]]:
    """What the bars give, by minute."""
    bars = [bar(minute) for minute in range(FINAL + 2)]
    columns = {name: [float(getattr(each, name)) for each in bars] for name in ("open", "high", "low", "close")}
    more = {name: [float(getattr(each, name)) for each in bars] for name in ("volume", "notional")}
    frame = pd.DataFrame(columns | more).assign(start=[each.start for each in bars])
    found = compute(frame, SPECS).to_dict("records")
    return [{name: value if np.isfinite(value) else None for name, value in row.items()} for row in found]


RIGHT = right()


@dataclass(frozen=True)
class World:
    """The stores and an API over them, in which the final minutes of symbol A and its two live ones are bars."""

    history: TimescaleStore
    live: RedisStore
    client: httpx.Client

    def store(self, minutes: Sequence[int], values: Callable[[int], Values] = wrong, **changes: Any) -> None:
        """Write indicators of final bars, of the configured set unless told otherwise."""
        rows = [indicators(bar(n), values(n), **({"specs": SPECS} | changes)) for n in minutes]
        self.history.write_bars(bars_table([]), indicators_table(*rows))

    def show(self, minute: int, values: Values | None, **changes: Any) -> None:
        """Write a bar to Redis, with indicators or without."""
        shown = bar(minute, **({"last_offset": 1_000 + minute} | changes))
        rows = [] if values is None else [indicators(shown, values)]
        self.live.write_bars(bars_table([shown]), indicators_table(*rows))

    def ask(self, path: str = "A", **params: Any) -> list[Row]:
        return self.answer(path, **params)["rows"]  # type: ignore[no-any-return]

    def answer(self, path: str = "A", **params: Any) -> Row:
        answer = self.client.get(f"/api/v1/indicators/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return IndicatorsAnswer.model_validate(answer.json(), strict=True).model_dump()


@pytest.fixture
def settings(postgres_dsn: str, redis_url: str) -> Settings:
    return Settings(
        postgres_dsn=SecretStr(postgres_dsn), redis_url=SecretStr(redis_url), indicators=f"{SPECS} 5m=sma:3"
    )


@pytest.fixture
def stores(settings: Settings) -> Iterator[tuple[TimescaleStore, RedisStore]]:
    history = TimescaleStore(settings.postgres_dsn.get_secret_value())
    live = RedisStore(settings.redis_url.get_secret_value(), 300)
    history.setup()
    history.write_bars(bars_table([bar(minute) for minute in range(FINAL)]))
    live.write_bars(bars_table([bar(FINAL), bar(FINAL + 1)]))
    yield history, live
    history.close()
    live.close()


@pytest.fixture
def world(settings: Settings, stores: tuple[TimescaleStore, RedisStore]) -> Iterator[World]:
    with serving(settings, ManualClock(BASE + 12 * MINUTE)) as client:
        yield World(*stores, client)


def minute_of(row: Row) -> int:
    return int(row["start"][14:16]) - 30


def sources(rows: list[Row]) -> list[tuple[int, str]]:
    return [(minute_of(row), row["source"]) for row in rows]


def flags(rows: list[Row]) -> list[tuple[bool, bool]]:
    return [(row["ready"], row["stable"]) for row in rows]


def at(first: int, last: int | None = None) -> dict[str, int]:
    """The range from one minute to before another, or of one minute."""
    end = first + 1 if last is None else last
    return {"start": (BASE + first * MINUTE) // 1000, "end": (BASE + end * MINUTE) // 1000}


def check_values(rows: list[Row]) -> None:
    """Computed values are those of the whole history, all others the wrong ones that were written."""
    for row in rows:
        minute = minute_of(row)
        if row["source"] == "computed":
            assert row["values"] == pytest.approx({name: RIGHT[minute][name] for name in row["values"]})
        else:
            assert row["values"] == {name: wrong(minute)[name] for name in row["values"]}


def test_stored_values_win_over_computed_ones_in_any_range(world: World) -> None:
    world.store(range(FINAL))
    for first, last in ((0, FINAL), (4, 7), (9, 10)):
        rows = world.ask(**at(first, last))
        assert sources(rows) == [(minute, "stored") for minute in range(first, last)]
        assert all(set(row["values"]) == {"sma_2", "ema_3", "obv"} for row in rows)
        check_values(rows)


def test_range_of_all_kinds_says_of_each_row_what_it_is(world: World) -> None:
    world.store(range(4, FINAL))
    world.show(FINAL + 1, wrong(FINAL + 1))
    kinds = ["computed"] * 4 + ["stored"] * 6 + ["computed", "live"]  # minute 10 came to Redis without indicators
    expected = list(enumerate(kinds))
    rows = world.ask()
    assert sources(rows) == expected
    check_values(rows)
    assert world.ask(order="desc") == rows[::-1]
    for params, kept in (
        ({"limit": 3}, rows[-3:]),
        ({"limit": 3, "order": "desc"}, rows[:-4:-1]),
        ({"limit": 6, "start": BASE // 1000}, rows[:6]),
        ({"limit": 5, "start": BASE // 1000, "order": "desc"}, rows[:-6:-1]),
    ):
        answer = world.answer(**params)
        assert sources(answer["rows"]) == sources(kept) and answer["truncated"]
        check_values(answer["rows"])
    assert not world.answer(limit=12)["truncated"]


def test_values_of_another_revision_are_not_those_of_the_bar(world: World) -> None:
    world.store(range(FINAL))
    world.history.write_bars(bars_table([bar(6, rev=2, state="amended", reason="late")]))
    rows = world.ask(**at(5, 8))
    assert sources(rows) == [(5, "stored"), (6, "computed"), (7, "stored")]
    assert [row["rev"] for row in rows] == [1, 2, 1]
    check_values(rows)
    world.store([6], rev=2)
    assert sources(world.ask(**at(6))) == [(6, "stored")]


def test_live_values_are_those_that_redis_shows(world: World) -> None:
    world.show(FINAL, wrong(FINAL))
    world.show(FINAL + 1, wrong(FINAL + 1))
    rows = world.ask(**at(FINAL - 1, FINAL + 2))
    assert sources(rows) == [(9, "computed"), (10, "live"), (11, "live")]
    assert [row["is_final"] for row in rows] == [True, False, False]
    check_values(rows)


def test_final_bar_that_the_database_has_not_yet_shows_its_live_values(world: World) -> None:
    world.show(FINAL, wrong(FINAL), rev=1, state="final")
    (row,) = world.ask(**at(FINAL))
    assert (row["source"], row["is_final"], row["values"]) == ("live", True, wrong(FINAL))


def test_bar_that_is_final_by_now_has_no_use_for_live_values(world: World) -> None:
    world.show(FINAL, wrong(FINAL))
    world.history.write_bars(bars_table([bar(FINAL, rev=1, state="final")]))
    (row,) = world.ask(**at(FINAL))
    assert (row["source"], row["is_final"]) == ("computed", True)
    check_values([row])


@pytest.mark.parametrize("type_", ["sma:2", "obv", "ema:3;sma:2", "sma:2 sma:2", " obv ; ema:3"])
def test_part_of_the_set_is_answered_from_what_was_kept(world: World, type_: str) -> None:
    world.store(range(FINAL))
    world.show(FINAL, wrong(FINAL))
    world.show(FINAL + 1, wrong(FINAL + 1))
    rows = world.ask(type=type_, **at(8, 12))
    assert sources(rows) == [(8, "stored"), (9, "stored"), (10, "live"), (11, "live")]
    names = [spec.replace(":", "_") for spec in dict.fromkeys(type_.replace(";", " ").split())]
    assert all(list(row["values"]) == names for row in rows)
    check_values(rows)


def test_name_alone_means_its_defaults_and_period_its_parameter(world: World) -> None:
    world.store(range(FINAL))
    assert world.ask(type="ema", period=3, **at(8))[0]["source"] == "stored"
    assert world.ask(type="ema", **at(8))[0]["source"] == "computed"  # ema:20


@pytest.mark.parametrize("type_", ["sma:3", "sma:2;sma:3", "mom:1"])
def test_other_types_are_computed_altogether(world: World, type_: str) -> None:
    more = {"sma_3": 7.0, "mom_1": 7.0}  # stored while it was configured
    world.store(range(FINAL), lambda minute: wrong(minute) | more, specs=f"{SPECS} sma:3 mom:1")
    world.show(FINAL + 1, wrong(FINAL + 1) | more)
    rows = world.ask(type=type_, **at(6, 12))
    assert {row["source"] for row in rows} == {"computed"}
    closes = [100 + minute**2 for minute in range(12)]
    for minute, row in zip(range(6, 12), rows, strict=True):
        expected = {
            "sma_2": sum(closes[minute - 1 : minute + 1]) / 2,
            "sma_3": sum(closes[minute - 2 : minute + 1]) / 3,
            "mom_1": closes[minute] - closes[minute - 1],
        }
        assert row["values"] == pytest.approx({name: expected[name] for name in row["values"]})


def test_set_is_that_of_the_interval_and_intervals_do_not_mix(world: World) -> None:
    world.store(range(FINAL), lambda minute: wrong(minute) | {"sma_3": 7.0})
    five = bar(0, interval="5m", end=BASE + 5 * MINUTE)
    row = indicators(five, wrong(40) | {"sma_3": 8.0}, specs=f"{SPECS} sma:3")
    world.history.write_bars(bars_table([five]), indicators_table(row))
    assert world.ask(type="sma:3", **at(5))[0]["source"] == "computed"  # configured for five minutes only
    (row,) = world.ask(type="sma:3", interval="5m")
    assert (row["source"], row["values"]) == ("stored", {"sma_3": 8.0})
    (row,) = world.ask(interval="5m")
    assert (row["source"], row["values"]) == ("stored", wrong(40) | {"sma_3": 8.0})


def test_stored_and_live_sets_that_lack_a_column_are_computed(world: World) -> None:
    lacking = {"sma_2": 3.0, "obv": 4.0}
    world.store([8, 9], lambda _: lacking, specs="sma:2 obv")
    world.show(FINAL + 1, lacking)
    rows = world.ask(**at(8, 12))
    assert {row["source"] for row in rows} == {"computed"}
    check_values(rows)
    rows = world.ask(type="obv;sma:2", **at(8, 12))
    assert sources(rows) == [(8, "stored"), (9, "stored"), (10, "computed"), (11, "live")]
    assert rows[0]["values"] == rows[-1]["values"] == lacking


def test_flags_of_a_stored_row_are_the_stored_ones(world: World) -> None:
    values: dict[str, float | None] = {"sma_2": 1.0, "ema_3": None, "obv": 2.0}
    world.store([4], lambda _: values)
    world.store([5], lambda _: values, ready=True)  # null, and not for want of bars
    world.store([6], ready=True)
    world.store([7], ready=True, stable=True)
    rows = world.ask(**at(4, 8))
    assert {row["source"] for row in rows} == {"stored"}
    assert flags(rows) == [(False, False), (True, False), (True, False), (True, True)]


def test_flags_of_a_part_of_the_set_hold_wherever_it_must_be_so(world: World) -> None:
    world.store([4], lambda _: {"sma_2": 1.0, "ema_3": None, "obv": 2.0})
    world.store([5], ready=True)
    world.store([6], ready=True, stable=True)
    assert flags(world.ask(type="sma:2", **at(4, 7))) == [(True, True)] * 3  # a window is stable when it is ready
    assert flags(world.ask(type="ema:3", **at(4, 7))) == [(False, False), (True, False), (True, True)]
    assert flags(world.ask(type="ema:3;sma:2", **at(4, 7))) == [(False, False), (True, False), (True, True)]


@pytest.mark.parametrize("stable", [True, False])
def test_flags_of_a_live_row_do_not_depend_on_where_the_range_begins(world: World, stable: bool) -> None:
    world.store(range(FINAL), ready=True, stable=stable)
    world.show(FINAL + 1, wrong(FINAL + 1))
    ranges = [at(11), at(9, 12), at(0, 12) | {"order": "desc"}, {"limit": 1}, {"limit": 5}]
    for rows in [*(world.ask(**params) for params in ranges), world.ask("A/latest")]:
        assert flags([row for row in rows if row["source"] == "live"]) == [(True, stable)]


def test_amended_bar_of_redis_is_not_as_stable_as_a_later_stored_one(world: World) -> None:
    world.store(range(8), ready=True)
    world.store([8, 9], ready=True, stable=True)
    world.show(5, wrong(5), rev=2, state="amended")
    (row,) = world.ask(**at(5))
    assert (row["source"], row["rev"], row["stable"]) == ("live", 2, False)
    rows = world.ask(**at(5, 9))
    assert [(row["source"], row["stable"]) for row in rows] == [("live", False)] + [("stored", False)] * 2 + [
        ("stored", True)
    ]


def test_live_row_with_a_null_is_not_ready(world: World) -> None:
    world.show(FINAL + 1, {"sma_2": 1.0, "ema_3": None, "obv": 2.0})
    assert flags(world.ask("A/latest")) == [(False, False)]
    assert flags(world.ask("A/latest", type="sma:2")) == [(True, True)]
    assert flags(world.ask("A/latest", type="ema:3")) == [(False, False)]


def test_latest_is_live_while_it_trades_and_stored_afterwards(world: World) -> None:
    world.store(range(FINAL))
    world.show(FINAL + 1, wrong(FINAL + 1))
    rows = world.ask("A/latest")
    assert (sources(rows), rows[0]["values"]) == ([(11, "live")], wrong(11))
    assert world.ask("A/latest", type="sma:7")[0]["source"] == "computed"
    world.show(FINAL + 1, None, last_offset=2_000)
    rows = world.ask("A/latest")
    assert sources(rows) == [(11, "computed")]
    check_values(rows)
    quiet = [bar(minute, symbol="Q") for minute in range(3)]
    world.history.write_bars(
        bars_table(quiet), indicators_table(*(indicators(each, wrong(n)) for n, each in enumerate(quiet)))
    )
    rows = world.ask("Q/latest")
    assert (sources(rows), rows[0]["values"]) == ([(2, "stored")], wrong(2))


def test_symbols_do_not_mix(world: World) -> None:
    world.store(range(FINAL))
    world.history.write_bars(bars_table([bar(minute, symbol="B") for minute in range(3)]))
    rows = world.ask("B")
    assert sources(rows) == [(minute, "computed") for minute in range(3)]
    check_values(rows)


def test_without_redis_stored_values_are_answered_and_it_is_said(
    settings: Settings, stores: tuple[TimescaleStore, RedisStore]
) -> None:
    alone = settings.model_copy(update={"redis_url": SecretStr(NOWHERE)})
    with serving(alone, ManualClock(BASE + 12 * MINUTE)) as client:
        world = World(*stores, client)
        world.store(range(4, FINAL))
        answer = world.answer()
    assert answer["tail"] == "unavailable"
    assert sources(answer["rows"]) == [(n, "computed") for n in range(4)] + [(n, "stored") for n in range(4, FINAL)]
    check_values(answer["rows"])


def test_database_without_the_table_computes(world: World, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE indicators")
    world.show(FINAL + 1, wrong(FINAL + 1))
    for params in ({}, at(11), at(0, 12)):
        rows = world.ask(**params)
        assert {row["source"] for row in rows[:-1]} <= {"computed"} and rows[-1]["source"] == "live"
        check_values(rows)
    assert world.client.get("/api/v1/indicators/NONE").status_code == 404


def test_contract_lists_every_registered_indicator_with_its_defaults(world: World) -> None:
    contract = world.client.get("/openapi.json").json()
    for path in ("/api/v1/indicators/{symbol}", "/api/v1/indicators/{symbol}/latest"):
        (text,) = (
            parameter["description"]
            for parameter in contract["paths"][path]["get"]["parameters"]
            if parameter["name"] == "type"
        )
        entries = [line.split("`")[1] for line in text.splitlines() if line.startswith("- `")]
        assert entries == [kind().spec for kind in INDICATORS.values()]
        assert "- `macd:12,26,9` (fast=12, slow=26, signal=9): MACD: EMA(fast)" in text
        assert "- `bbands:20,2` (length=20, k=2): " in text and "- `obv`: On-balance volume" in text
