"""The names of a ruleset's condition bits, for people who read a tape."""

import json
from collections.abc import Mapping
from pathlib import Path

from core.errors import ConfigError
from core.rulesets import names, parse_mask


def bits(ruleset: str) -> dict[str, int]:
    """Bit name -> mask, as the ruleset's file has them. Raises ConfigError for an unknown ruleset."""
    if ruleset not in names():
        raise ConfigError(f"unknown ruleset {ruleset!r}; known: {', '.join(names())}")
    held = json.loads((Path(__file__).parent / f"{ruleset}.json").read_text()).get("bits", {})
    return {name: int(mask, 16) for name, mask in held.items()}


def named(conditions: str | None, known: Mapping[str, int]) -> list[str]:
    """The names of the bits that are set; bits without a name as one hexadecimal number."""
    mask = parse_mask(conditions)
    found = [name for name, bit in known.items() if mask & bit]
    rest = mask & ~sum(known.values())
    return [*found, f"{rest:x}"] if rest else found
