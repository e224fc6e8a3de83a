"""Models in a folder: XGBoost's own format and a card each, which one is champion, and the way back.

`<folder>/<interval>/<version>/` holds `h1.value.ubj`, `h1.rise.ubj` … and `card.json`; `champion.json` beside the
versions names the one that serves and those that did. Nothing is ever unpickled, and a file that is not the one of its
card is refused.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xgboost

from core.errors import TickstreamError
from ml.features import NAMES
from ml.model import Model
from stores.model_cards import CARD, CHAMPION, champions, read_card, versions


class ModelError(TickstreamError):
    """A model that is not there, or is not what its card says."""


@dataclass(frozen=True)
class Bundle:
    """A version: a model of each horizon, and the card that says where they come from and what they are worth."""

    version: str
    models: dict[int, Model]
    card: dict[str, Any]

    def trusted(self, horizon: int, kind: str) -> bool:
        """Whether the horizon beat every baseline in `return` or `rise`; otherwise it abstains."""
        report = self.card["report"]["horizons"][str(horizon)]
        return bool(report["beats_baselines"][kind])


class Shelf:
    """The models of one interval."""

    def __init__(self, folder: Path, interval: str) -> None:
        self.folder = folder / interval

    def save(self, bundle: Bundle) -> None:
        """Write a version, whole or not at all. Raises ModelError where it is there already."""
        target = self.folder / bundle.version
        if target.exists():
            raise ModelError(f"{target} is there already")
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as scratch:
            made = Path(scratch) / "version"
            made.mkdir()
            files = _write_models(bundle, made)
            _write(made / CARD, bundle.card | {"version": bundle.version, "features": list(NAMES), "files": files})
            made.rename(target)

    def load(self, version: str) -> Bundle:
        """Read a version. Raises ModelError for one that is missing, damaged or of other features."""
        folder = self.folder / version
        try:
            card = read_card(self.folder, version)
        except FileNotFoundError:
            raise ModelError(f"no model {version}; there are: {', '.join(self.versions()) or 'none'}") from None
        except ValueError:
            raise ModelError(f"{folder / CARD} cannot be read") from None
        if card["features"] != list(NAMES):
            raise ModelError(f"{version} was trained on other features than this program has: train again")
        for name, digest in card["files"].items():
            if _digest(folder / name) != digest:
                raise ModelError(f"{folder / name} is not what its card says")
        return Bundle(version, {int(horizon): _read(folder, int(horizon), card) for horizon in card["models"]}, card)

    def versions(self) -> list[str]:
        """All versions, the oldest first."""
        return versions(self.folder)

    def champion(self) -> str | None:
        """The version that serves, None where none was chosen yet."""
        history = champions(self.folder)
        return history[-1] if history else None

    def promote(self, version: str) -> None:
        """Let a version serve. Raises ModelError when it cannot be loaded."""
        self.load(version)
        self._write_history([*champions(self.folder), version])

    def roll_back(self) -> str:
        """Let the version serve that did before; which one it is. Raises ModelError when there was none."""
        history = champions(self.folder)
        if len(history) < 2:
            raise ModelError("there is no earlier champion to go back to")
        self.load(history[-2])
        self._write_history(history[:-1])
        return history[-2]

    def _write_history(self, history: list[str]) -> None:
        _write(self.folder / CHAMPION, {"champion": history[-1], "history": history})


def _write_models(bundle: Bundle, folder: Path) -> dict[str, str]:
    files = {}
    for horizon, model in bundle.models.items():
        for kind, booster in (("value", model.value), ("rise", model.rise)):
            path = folder / f"h{horizon}.{kind}.ubj"
            booster.save_model(path)
            files[path.name] = _digest(path)
    return files


def _read(folder: Path, horizon: int, card: dict[str, Any]) -> Model:
    value, rise = (xgboost.Booster(model_file=folder / f"h{horizon}.{kind}.ubj") for kind in ("value", "rise"))
    calibration = card["models"][str(horizon)]["calibration"]
    return Model(horizon, value, rise, calibration["slope"], calibration["level"])


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise ModelError(f"{path} is missing") from None


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file as a whole: whoever reads it sees the old one or the new one."""
    scratch = path.with_name(f".{path.name}.new")
    with scratch.open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
