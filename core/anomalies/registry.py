"""Every rule by name, found in the modules of this folder: a rule is a member of some module's `RULES`."""

import importlib
import pkgutil
import sys

from core.anomalies.base import Rule

_PACKAGE = "core.anomalies"
_LEFT_OUT = {"judge", "registry"}


def discover() -> dict[str, Rule]:
    """The rules by module in alphabetical order, then as defined. Raises TypeError for two with one name."""
    found: dict[str, Rule] = {}
    names = {item.name for item in pkgutil.iter_modules(sys.modules[_PACKAGE].__path__)} - _LEFT_OUT
    for name in sorted(names):
        for rule in getattr(importlib.import_module(f"{_PACKAGE}.{name}"), "RULES", ()):
            if rule.name in found:
                raise TypeError(f"two rules are named {rule.name!r}, one of them in {name}")
            found[rule.name] = rule
    return found


RULES: dict[str, Rule] = discover()
