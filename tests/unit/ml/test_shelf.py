"""Models on the shelf: what was saved is what serves, damage is refused, the champion changes for a reason."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.clock import ManualClock
from ml.__main__ import main
from ml.dataset import every_horizon, samples
from ml.drift import reference, stability
from ml.features import NAMES
from ml.latest import predictions
from ml.shelf import Bundle, ModelError, Shelf
from ml.training import hold_against, shelve, train_challenger
from tests.unit.ml.histories import BEGIN_US, MINUTE_US, walk

HORIZONS = (1, 5)


def challenger(bars_seed: int = 5, echo: float = -0.5, now_us: int = BEGIN_US) -> Bundle:
    bars = walk(1500, bars_seed, echo)
    return train_challenger(bars, every_horizon(bars, horizons=HORIZONS), "1m", ManualClock(now_us), folds=2)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return challenger()


@pytest.fixture
def shelf(tmp_path: Path, bundle: Bundle) -> Shelf:
    shelf = Shelf(tmp_path, "1m")
    shelf.save(bundle)
    return shelf


def test_loaded_model_says_what_the_trained_one_said(shelf: Shelf, bundle: Bundle) -> None:
    bars = walk(300, 9, -0.5)
    again = shelf.load(bundle.version)
    assert predictions(again, bars) == predictions(bundle, bars)
    assert {row["horizon"] for row in predictions(again, bars)} == set(HORIZONS)


def test_prediction_says_from_what_it_abstains(bundle: Bundle) -> None:
    rows = predictions(bundle, walk(300, 9, -0.5))
    for row in rows:
        beaten = bundle.card["report"]["horizons"][str(row["horizon"])]["beats_baselines"]
        assert row["abstains"] == [kind for kind in ("return", "rise") if not beaten[kind]]
        assert 0 < row["rise_probability"] < 1 and row["volatility"] > 0


def test_too_short_a_history_gets_no_prediction(bundle: Bundle) -> None:
    assert predictions(bundle, walk(60)) == [] and len(predictions(bundle, walk(61))) == len(HORIZONS)


def test_folder_holds_no_pickle_and_no_leftovers(shelf: Shelf, bundle: Bundle) -> None:
    names = sorted(path.name for path in shelf.folder.rglob("*") if path.is_file())
    assert names == ["card.json", "h1.rise.ubj", "h1.value.ubj", "h5.rise.ubj", "h5.value.ubj"]
    assert [path.name for path in shelf.folder.iterdir()] == [bundle.version]


@pytest.mark.parametrize("name", ["h1.rise.ubj", "h5.value.ubj"])
def test_changed_or_missing_file_is_refused(shelf: Shelf, bundle: Bundle, name: str) -> None:
    path = shelf.folder / bundle.version / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match="not what its card says"):
        shelf.load(bundle.version)
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        shelf.promote(bundle.version)
    assert shelf.champion() is None


def test_model_of_other_features_is_refused(shelf: Shelf, bundle: Bundle) -> None:
    path = shelf.folder / bundle.version / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"features": ["rsi"]}))
    with pytest.raises(ModelError, match="train again"):
        shelf.load(bundle.version)


def test_version_is_never_overwritten(shelf: Shelf, bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="is there already"):
        shelf.save(bundle)


def test_champion_falls_to_the_better_one_only_and_comes_back(tmp_path: Path, bundle: Bundle) -> None:
    shelf, bars = Shelf(tmp_path, "1m"), walk(1500, 5, -0.5)
    first = hold_against(shelf, every_horizon(bars, horizons=HORIZONS))
    shelve(shelf, bundle, first)
    assert first.champion is None and shelf.champion() == bundle.version
    # On bars that echo the other way the champion is worse than knowing nothing.
    turned = walk(1500, 6, 0.5)
    duel = hold_against(shelf, every_horizon(turned, horizons=HORIZONS))
    assert duel.champion is not None and duel.won and duel.challenger < duel.champion - 0.05
    other = challenger(6, 0.5, BEGIN_US + 1_000_000)
    shelve(shelf, other, duel)
    assert shelf.champion() == other.version
    assert shelf.load(other.version).card["duel"]["won"]
    assert shelf.roll_back() == bundle.version == shelf.champion()
    with pytest.raises(ModelError, match="no earlier champion"):
        shelf.roll_back()


def test_drift_is_small_on_the_like_and_large_on_the_unlike() -> None:
    calm, alike = samples(walk(3000, 1), 1).features, samples(walk(3000, 2), 1).features
    then = reference(calm, NAMES)
    now = stability(then, alike, NAMES)
    assert now["return_1"] < 0.05 and now["body"] < 0.05
    wild = alike.copy()
    wild[:, NAMES.index("return_1")] *= 5
    wild[::2, NAMES.index("rsi")] = np.nan
    moved = stability(then, wild, NAMES)
    assert moved["return_1"] > 0.25 and moved["rsi"] > 0.25 and moved["body"] == now["body"]


def test_commands_train_predict_and_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = tmp_path / "bars.parquet"
    walk(1200, 5, -0.5).to_parquet(bars)
    common = ["--folder", str(tmp_path / "models")]
    few = ["--horizons", "1", "--folds", "2"]
    assert main(["predict", "--bars", str(bars), *common]) == 1
    assert "no model of 1m was trained yet" in capsys.readouterr().err
    assert main(["train", "--bars", str(bars), *common, *few]) == 0
    assert "there was no champion" in capsys.readouterr().out
    assert main(["predict", "--bars", str(bars), *common]) == 0
    assert json.loads(capsys.readouterr().out)["symbol"] == "AAA"
    assert main(["models", *common]) == 0
    assert capsys.readouterr().out.startswith("* ")
    out = tmp_path / "report.json"
    assert main(["evaluate", "--bars", str(bars), "--json", str(out), *few]) == 0
    assert json.loads(out.read_text())["horizons"]["1"]["skill_of_rise"]["zero"]["low"] > 0
    assert main(["evaluate", "--bars", str(tmp_path / "none.parquet")]) == 1


def test_folder_of_several_intervals_is_trained_of_the_one_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, models = tmp_path / "bars", tmp_path / "models"
    folder.mkdir()
    for interval, minutes in (("1m", 1), ("5m", 5)):
        bars = walk(1200, 5, -0.5)
        bars.assign(interval=interval, start=BEGIN_US + np.arange(1200) * minutes * MINUTE_US).to_parquet(
            folder / f"{interval}.parquet"
        )
    given = ["--bars", str(folder), "--folder", str(models)]
    assert main(["train", *given, "--interval", "5m", "--horizons", "1", "--folds", "2"]) == 0
    shelf = Shelf(models, "5m")
    champion = shelf.champion()
    assert champion is not None and shelf.load(champion).card["report"]["data"]["bar_seconds"] == 300
    capsys.readouterr()
    assert main(["predict", *given, "--interval", "5m"]) == 0
    assert json.loads(capsys.readouterr().out)["start"] == BEGIN_US + 1199 * 5 * MINUTE_US


@pytest.mark.parametrize("command", ["train", "predict"])
@pytest.mark.parametrize(("column", "why"), [({}, "the bars are of 300 seconds, not of 1m"),
                                             ({"interval": "5m"}, "has no bars of 1m; it has 5m")])  # fmt: skip
def test_bars_of_another_length_are_refused(
    command: str, column: dict[str, str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = walk(600).assign(start=BEGIN_US + np.arange(600) * 5 * MINUTE_US, **column)
    bars.to_parquet(tmp_path / "bars.parquet")
    for path in (tmp_path, tmp_path / "bars.parquet"):
        assert main([command, "--bars", str(path), "--interval", "1m", "--folder", str(tmp_path / "models")]) == 1
        told = capsys.readouterr().err
        assert why in told and told.count("\n") == 1
    assert not (tmp_path / "models").exists()
