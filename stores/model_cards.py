"""Cards of the predictor's models on disk, as `ml.shelf` writes them: which version serves, and what a card says."""

import json
from pathlib import Path
from typing import Any

CARD = "card.json"
CHAMPION = "champion.json"


def champions(folder: Path) -> list[str]:
    """The versions that served, the last one serves now. Raises ValueError for a file that cannot be read."""
    try:
        return list(json.loads((folder / CHAMPION).read_text())["history"])
    except FileNotFoundError:
        return []
    except (KeyError, TypeError):
        raise ValueError(f"{CHAMPION} names no version") from None


def versions(folder: Path) -> list[str]:
    """All versions, the oldest first."""
    return sorted(path.parent.name for path in folder.glob(f"*/{CARD}"))


def read_card(folder: Path, version: str) -> dict[str, Any]:
    """The card of a version. Raises FileNotFoundError without one, ValueError for one that cannot be read."""
    card = json.loads((folder / version / CARD).read_text())
    if not isinstance(card, dict):
        raise ValueError(f"{CARD} is no object")
    return card
