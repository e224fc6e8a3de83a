"""Predictions over REST: outcomes as training has them, and a scorecard that equals the plain computation."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
from pydantic import SecretStr

from api.models_predictions import LatestPredictionsAnswer, ModelsAnswer, PredictionsAnswer, ScorecardAnswer
from conf.settings import Settings
from core.clock import ManualClock
from core.intervals import DAY_US, MINUTE_US
from core.skill import HOUR_US
from ml.dataset import Samples, every_horizon
from ml.features import NAMES
from ml.shelf import Bundle, Shelf
from ml.training import train_challenger
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, make_bar
from tests.serving import serving, without_database
from tests.unit.ml.histories import walk

HORIZONS = (1, 5, 15)
FIRST = BASE + 240 * MINUTE_US  # 17:30 UTC of a Monday; XNYS closes at 20:00
SECOND = BASE + DAY_US
NOW = SECOND + 200 * MINUTE_US
MODEL = "20130603T120000000Z"
INSERT = (
    'INSERT INTO predictions (symbol, "interval", "start", horizon, model, outcome_at, made_at, expected_return,'
    " rise_probability, volatility, abstains) VALUES (%s, '1m', %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


@pytest.fixture
def store_settings(postgres_dsn: str, redis_url: str, tmp_path: Path) -> Settings:
    stores = {"postgres_dsn": SecretStr(postgres_dsn), "redis_url": SecretStr(redis_url)}
    return Settings(**stores, data_path=tmp_path, calendar="XNYS")


def frame(symbol: str, seed: int) -> pd.DataFrame:
    """Minutes of the end of one session and the beginning of the next, with holes; some do not move at all."""
    random = np.random.default_rng(seed)
    starts = np.concatenate([FIRST + np.arange(150) * MINUTE_US, SECOND + np.arange(150) * MINUTE_US])
    starts = starts[random.random(len(starts)) > 0.05]
    steps = random.normal(0, 0.001, len(starts)) * (random.random(len(starts)) > 0.1)
    close = np.round(100 * np.exp(np.cumsum(steps)), 4)
    return pd.DataFrame({"symbol": symbol, "start": starts, "open": close, "high": close, "low": close,
                         "close": close, "volume": 3.0})  # fmt: skip


def stored(database: TimescaleStore, bars: pd.DataFrame) -> None:
    rows = [make_bar(0, symbol=row.symbol, start=row.start, end=row.start + MINUTE_US,
                     **{name: Decimal(str(row.close)) for name in ("open", "high", "low", "close")})
            for row in bars.itertuples()]  # fmt: skip
    database.write_bars(bars_table(rows))


def moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)


def predict(dsn: str, bars: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Predictions after every bar and of every horizon, written to the table."""
    random = np.random.default_rng(seed)
    rows = [
        {"symbol": bar.symbol, "start": bar.start, "horizon": horizon, "volatility": 0.001 * horizon**0.5,
         "expected_return": random.normal(0, 0.0004), "rise_probability": random.choice([0.5, random.normal(0.5, 0.1)])}
        for bar in bars.itertuples()
        for horizon in HORIZONS
    ]  # fmt: skip
    with psycopg.connect(dsn) as connection:
        connection.cursor().executemany(
            INSERT,
            [(row["symbol"], moment(row["start"]), row["horizon"], MODEL,
              moment(row["start"] + (1 + row["horizon"]) * MINUTE_US), moment(row["start"] + MINUTE_US + 300_000),
              row["expected_return"], row["rise_probability"], row["volatility"], ["rise"]) for row in rows],
        )  # fmt: skip
    return pd.DataFrame(rows)


def got(client: httpx.Client, path: str, **params: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/predictions{path}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def start_of(row: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(row["start"]).timestamp() * 1e6)


def targets(found: dict[int, Samples]) -> dict[tuple[int, int], float]:
    """What training learns, by start and horizon."""
    return {
        (int(start), horizon): float(target)
        for horizon, each in found.items()
        for start, target in zip(each.start_us, each.target, strict=True)
    }


def test_outcomes_are_the_targets_of_training(
    client: httpx.Client, database: TimescaleStore, postgres_dsn: str
) -> None:
    bars = frame("A", 1)
    stored(database, pd.concat([bars, frame("B", 2)]))
    predict(postgres_dsn, bars)
    found = got(client, "/A", limit=1000)
    PredictionsAnswer.model_validate(found, strict=True)
    rows = found["predictions"]
    assert len(rows) == 3 * len(bars) and found["truncated"] is False
    assert [start_of(row) for row in rows] == sorted((start_of(row) for row in rows), reverse=True)
    assert [row["horizon"] for row in rows[:6]] == [1, 5, 15, 1, 5, 15]
    wanted = targets(every_horizon(bars, "XNYS", HORIZONS))
    first = min(start for start, _ in wanted)  # features need 60 bars before they are ready, outcomes none
    known = {(start_of(row), row["horizon"]): row["outcome"] for row in rows if row["outcome_state"] == "known"}
    assert {key for key in known if key[0] >= first} == wanted.keys()
    assert {key: known[key] for key in wanted} == pytest.approx(wanted, rel=1e-12)
    states = {state: [row for row in rows if row["outcome_state"] == state] for state in ("other-session", "pending")}
    assert {len(each) for each in states.values()} == {1 + 5 + 15}
    assert all(start_of(row) < FIRST + DAY_US / 2 for row in states["other-session"])
    assert all(row["outcome"] is None for each in states.values() for row in each)
    assert rows[0]["made_at"] < rows[0]["outcome_at"] and rows[0]["abstains"] == ["rise"]


def test_newest_ones_are_cut_by_limit_and_those_of_all_symbols_are_one_per_horizon(
    client: httpx.Client, database: TimescaleStore, postgres_dsn: str
) -> None:
    one, two = frame("A", 1).tail(4), frame("B", 2).tail(3)
    stored(database, pd.concat([one, two]))
    predict(postgres_dsn, pd.concat([one, two]))
    few = got(client, "/A", limit=4)
    assert few["truncated"] is True
    assert [(start_of(row), row["horizon"]) for row in few["predictions"]] == [
        *((int(one["start"].iloc[-1]), horizon) for horizon in HORIZONS),
        (int(one["start"].iloc[-2]), 1),
    ]
    assert [row["outcome_state"] for row in few["predictions"]] == ["pending", "pending", "pending", "known"]
    every = got(client, "")
    LatestPredictionsAnswer.model_validate(every, strict=True)
    assert [(row["symbol"], row["horizon"]) for row in every["predictions"]] == [
        (symbol, horizon) for symbol in "AB" for horizon in HORIZONS
    ]
    assert {start_of(row) for row in every["predictions"]} == {int(each["start"].iloc[-1]) for each in (one, two)}
    assert got(client, "", interval="5m")["predictions"] == []


@pytest.mark.parametrize("limit", [1, 2, 4, 7])
def test_pages_hold_every_prediction_once_whatever_is_said_meanwhile(
    client: httpx.Client, database: TimescaleStore, postgres_dsn: str, limit: int
) -> None:
    bars = frame("A", 1).tail(6)
    stored(database, bars)
    predict(postgres_dsn, bars.head(5))
    with psycopg.connect(postgres_dsn) as connection:  # another model said something of the same bars at the same time
        connection.execute(
            """INSERT INTO predictions SELECT symbol, "interval", "start", horizon, 'other', outcome_at, made_at,
                      expected_return, rise_probability, volatility, abstains FROM predictions"""
        )
    whole = got(client, "/A", limit=1000)
    assert whole["next"] is None and len(whole["predictions"]) == 2 * 5 * len(HORIZONS)
    page, rows = got(client, "/A", limit=limit), []
    predict(postgres_dsn, bars.tail(1))
    while True:
        rows += page["predictions"]
        assert page["truncated"] is (page["next"] is not None)
        if page["next"] is None:
            break
        assert len(page["predictions"]) == limit
        page = got(client, "/A", limit=limit, cursor=page["next"])
    assert [(row["start"], row["horizon"], row["model"]) for row in rows] == [
        (row["start"], row["horizon"], row["model"]) for row in whole["predictions"]
    ]


def test_cursor_of_another_query_is_refused(client: httpx.Client, database: TimescaleStore, postgres_dsn: str) -> None:
    bars = frame("A", 1).tail(3)
    stored(database, pd.concat([bars, frame("B", 1).tail(3)]))
    predict(postgres_dsn, bars)
    cursor = got(client, "/A", limit=1)["next"]
    for path, asked in (("/B", cursor), ("/A", cursor[:-1]), ("/A", "x")):
        assert client.get(f"/api/v1/predictions{path}", params={"cursor": asked}).status_code == 422


def expected_score(rows: pd.DataFrame, horizon: int) -> dict[str, float]:
    """Direction, Brier score, skills and the interval against a coin, by samples."""
    held = rows[rows["horizon"] == horizon]
    outcome, unit = held["outcome"].to_numpy(), held["volatility"].to_numpy()
    error, plain = ((held["expected_return"] - outcome) / unit) ** 2, (outcome / unit) ** 2
    moved = held[outcome != 0]
    rose = (moved["outcome"] > 0).to_numpy().astype(float)
    said = moved["rise_probability"].to_numpy()
    brier, block = (said - rose) ** 2, moved["start"].to_numpy() // HOUR_US
    hours = np.unique(block)
    without = np.array([1 - brier[block != hour].mean() / 0.25 for hour in hours])
    spread = np.sqrt((len(hours) - 1) / len(hours) * ((without - without.mean()) ** 2).sum())
    return {
        "moved": len(moved),
        "blocks": len(hours),
        "right": float(np.where(said == 0.5, 0.5, (said > 0.5) == (rose > 0)).mean()),
        "brier": float(brier.mean()),
        "coin": float(1 - brier.mean() / 0.25),
        "prior": float(1 - brier.mean() / ((rose.mean() - rose) ** 2).mean()),
        "zero": float(1 - error.sum() / plain.sum()),
        "half": float(spread),
    }


def test_scorecard_equals_the_computation_over_samples(
    client: httpx.Client, database: TimescaleStore, postgres_dsn: str
) -> None:
    bars = pd.concat([frame("A", 1), frame("B", 2)])
    stored(database, bars)
    made = predict(postgres_dsn, bars)
    outcomes = {
        (row["symbol"], start_of(row), row["horizon"]): row["outcome"]
        for symbol in "AB"
        for row in got(client, f"/{symbol}", limit=1000)["predictions"]
    }
    made["outcome"] = [outcomes[row.symbol, row.start, row.horizon] for row in made.itertuples()]
    known = made.dropna(subset="outcome")
    assert (known["outcome"] == 0).any() and len(known) < len(made)
    found = got(client, "/scorecard", hours=30)
    ScorecardAnswer.model_validate(found, strict=True)
    assert [row["horizon"] for row in found["scores"]] == [1, 5, 15]
    for score in found["scores"]:
        horizon, wanted = score["horizon"], expected_score(known, score["horizon"])
        assert score["made"] == score["abstained_rise"] == len(bars) and score["abstained_return"] == 0
        assert score["other_session"] == 2 * horizon and score["known"] == len(bars) - 4 * horizon
        assert (score["moved"], score["blocks"]) == (wanted["moved"], wanted["blocks"])
        assert score["direction_right"]["value"] == pytest.approx(wanted["right"])
        assert score["brier"] == pytest.approx(wanted["brier"])
        skills = score["skill_of_rise"] | score["skill_of_return"]
        assert {name: skills[name]["value"] for name in skills} == pytest.approx(
            {name: wanted[name] for name in ("coin", "prior", "zero")}
        )
        if wanted["blocks"] >= 6:
            coin = skills["coin"]
            assert coin["high"] - coin["value"] == pytest.approx(2.5706 * wanted["half"], rel=5e-3)
        assert sum(each["samples"] for each in score["calibration"]) == wanted["moved"]
        assert [each["said"] for each in score["calibration"]] == sorted(each["said"] for each in score["calibration"])
    assert all(score["verdict"].startswith("Direction: ") for score in found["scores"])
    later = got(client, "/scorecard", hours=3)
    assert 0 < later["scores"][0]["made"] < found["scores"][0]["made"]


def test_card_of_the_model_that_serves_is_read_from_its_folder(client: httpx.Client, store_settings: Settings) -> None:
    nothing = got(client, "/models")
    ModelsAnswer.model_validate(nothing, strict=True)
    assert nothing["champion"] is None and "none was trained yet" in nothing["because"]
    bars = walk(600, 5, -0.5)
    shelf = Shelf(store_settings.models_path, "1m")
    bundle = train_challenger(bars, every_horizon(bars, horizons=(1, 5)), "1m", ManualClock(BASE), folds=1)
    for version in (bundle.version, "20130604T133000000Z"):
        shelf.save(Bundle(version, bundle.models, bundle.card))
        shelf.promote(version)
    found = got(client, "/models")
    ModelsAnswer.model_validate(found, strict=True)
    card = found["champion"]
    assert found["versions"] == [card["version"], "20130603T133000000Z"] and card["version"] == "20130604T133000000Z"
    assert (card["bars"], card["histories"], card["features"]) == (600, 1, len(NAMES))
    report = bundle.card["report"]["horizons"]
    for horizon in card["horizons"]:
        wanted = report[str(horizon["horizon"])]
        assert set(horizon["abstains"]) == {kind for kind, beats in wanted["beats_baselines"].items() if not beats}
        skills = {(each["of"], each["baseline"]): each["low"] for each in horizon["skills"]}
        assert skills["rise", "prior"] == wanted["skill_of_rise"]["prior"]["low"] and len(skills) == 8
    assert [each["horizon"] for each in card["horizons"]] == [1, 5]
    assert got(client, "/models", interval="5m")["champion"] is None
    (shelf.folder / card["version"] / "card.json").write_text("{}")
    assert got(client, "/models")["because"] == "the card of the model that serves cannot be read"


def test_nothing_has_an_answer_and_what_makes_no_sense_is_refused(
    client: httpx.Client, database: TimescaleStore
) -> None:
    stored(database, frame("A", 1).head(2))
    nothing = {"truncated": False, "next": None, "predictions": []}
    assert got(client, "/A") == {"symbol": "A", "interval": "1m"} | nothing
    assert got(client, "")["predictions"] == [] and got(client, "/scorecard")["scores"] == []
    missing = client.get("/api/v1/predictions/NOPE")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:tickstream:problem:unknown-symbol")
    for path, params in (
        ("/A", {"limit": 0}),
        ("/A", {"interval": "2w"}),
        ("/scorecard", {"hours": 0}),
        ("", {"x": 1}),
    ):
        answer = client.get(f"/api/v1/predictions{path}", params=params)
        assert answer.status_code == 422 and answer.json()["errors"][0]["parameter"] == next(iter(params))


def test_database_that_is_down_is_said_to_be_so(redis_url: str) -> None:
    with serving(without_database(Settings(redis_url=SecretStr(redis_url)))) as client:
        answer = client.get("/api/v1/predictions/scorecard")
        assert (answer.status_code, answer.json()["store"]) == (503, "timescale")
        assert int(answer.headers["Retry-After"]) >= 1
