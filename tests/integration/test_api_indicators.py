"""Indicators on request, on a real PostgreSQL and a real Redis: warm-up, flags, parameters, the forming bar."""

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import talib

from api.models import IndicatorsAnswer
from conf.settings import Settings
from core.clock import ManualClock
from core.indicators import compute, parse_all
from core.records import Bar
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving

COUNT = 700


def history() -> list[Bar]:
    """A walk of `COUNT` final minutes and one that is forming."""
    rng = random.Random(4)
    bars, price = [], Decimal(100)
    for minute in range(COUNT + 1):
        price += Decimal(rng.randrange(-50, 51)) / 100
        high, low = price + Decimal(rng.randrange(30)) / 100, price - Decimal(rng.randrange(30)) / 100
        volume = Decimal(rng.randrange(1, 500))
        amounts = {"open": price, "high": high, "low": low, "close": price, "vwap": price}
        forming = {"rev": 0, "state": "forming"} if minute == COUNT else {}
        bars.append(make_bar(minute, volume=volume, notional=price * volume, **amounts, **forming))
    return bars


BARS = history()
CLOSES = np.array([float(bar.close or 0) for bar in BARS])


@pytest.fixture
def client(store_settings: Settings, database: TimescaleStore, live: RedisStore) -> Iterator[httpx.Client]:
    database.write_bars(bars_table(BARS[:COUNT]))
    live.write_bars(bars_table(BARS[COUNT:]))
    with serving(store_settings, ManualClock(BASE + (COUNT + 1) * MINUTE)) as client:
        yield client


def ask(client: httpx.Client, path: str = "A", **params: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/indicators/{path}", params=params)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = IndicatorsAnswer.model_validate(answer.json(), strict=True).model_dump()["rows"]
    return rows


def between(first: int, last: int) -> dict[str, int]:
    return {"start": (BASE + first * MINUTE) // 1000, "end": (BASE + last * MINUTE) // 1000}


def test_range_in_the_middle_has_its_warm_up(client: httpx.Client) -> None:
    rows = ask(client, type="rsi", period=14, **between(600, 610))
    assert len(rows) == 10
    assert all(row["ready"] and row["stable"] and row["is_final"] for row in rows)
    expected = talib.RSI(CLOSES, 14)[600:610]
    assert [row["values"]["rsi_14"] for row in rows] == pytest.approx(expected.tolist(), rel=1e-8)
    assert ask(client, type="rsi:14", **between(600, 610)) == rows


def test_window_indicators_are_exact_wherever_the_range_begins(client: httpx.Client) -> None:
    rows = ask(client, type="bbands:20,2;sma:200", **between(250, 260))
    whole = compute(frame(), ["bbands:20,2", "sma:200"])[250:260]
    assert [row["values"] for row in rows] == whole.to_dict("records")


def test_session_vwap_counts_from_the_start_of_the_day(client: httpx.Client) -> None:
    whole = compute(frame(), ["vwap"])["vwap"].tolist()
    for minute in (3, 620, 640):  # BASE is 13:30: the day changes at minute 630
        row = ask(client, type="vwap", **between(minute, minute + 1))[0]
        assert row["values"]["vwap"] == pytest.approx(whole[minute], rel=1e-12)


def test_young_series_says_what_it_is_not(client: httpx.Client) -> None:
    rows = ask(client, type="rsi:14", **between(0, 400))
    assert [row["ready"] for row in rows] == [n >= 14 for n in range(400)]
    assert [row["values"]["rsi_14"] is not None for row in rows] == [n >= 14 for n in range(400)]
    assert [row["stable"] for row in rows] == [n >= 294 for n in range(400)]


def test_latest_is_of_the_forming_bar(client: httpx.Client) -> None:
    (row,) = ask(client, "A/latest", type="ema:20")
    assert not row["is_final"]
    assert row["values"]["ema_20"] == pytest.approx(talib.EMA(CLOSES, 20)[-1], rel=1e-9)


def test_configured_set_is_answered_without_a_type(client: httpx.Client) -> None:
    (row,) = ask(client, "A/latest")
    configured = parse_all(Settings().indicators)
    assert len(configured) == 18
    assert all(value is not None for value in row["values"].values())
    assert {"macd_12_26_9_hist", "stoch_14_3_3_k", "bbands_20_2_upper", "obv"} < set(row["values"])


def test_newest_come_first_when_asked_for(client: httpx.Client) -> None:
    rows = ask(client, type="sma:5", limit=3, order="desc")
    expected = talib.SMA(CLOSES, 5)[-1:-4:-1]
    assert [row["values"]["sma_5"] for row in rows] == pytest.approx(expected.tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("params", "parameter", "says"),
    [
        ({"type": "rsj"}, "type", "known: sma, ema"),
        ({"type": "macd:26,12,9"}, "type", "fast must be below slow"),
        ({"type": " ; "}, "type", "names no indicator"),
        ({"type": "rsi", "period": 0}, "period", "between 1 and 5000"),
        ({"type": "rsi:14", "period": 14}, "period", "no parameters of its own"),
        ({"period": 14}, "period", "no parameters of its own"),
        ({"type": "vwap", "period": 3}, "period", "vwap takes no parameters"),
        ({"type": "rsi", "length": 3}, "length", ""),
        ({"type": "rsi", "interval": "2m"}, "interval", "unknown interval"),
    ],
)
def test_wrong_parameters_are_named_with_their_limit(client: httpx.Client, params, parameter, says) -> None:
    answer = client.get("/api/v1/indicators/A", params=params)
    assert answer.status_code == 422
    assert parameter in answer.text
    assert says in answer.text


def test_unknown_symbol_is_not_found(client: httpx.Client) -> None:
    assert client.get("/api/v1/indicators/NONE").status_code == 404
    assert client.get("/api/v1/indicators/NONE/latest").status_code == 404


def frame() -> pd.DataFrame:
    rows = [{name: getattr(bar, name) for name in ("start", "open", "high", "low", "close")} for bar in BARS]
    amounts = {name: [float(getattr(bar, name)) for bar in BARS] for name in ("volume", "notional")}
    return pd.DataFrame(rows).assign(**amounts)
