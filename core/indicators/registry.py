"""Every indicator by name, found in the modules of this folder: a new one is a new file here, and nothing else."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType

from core.indicators.base import Indicator

_PACKAGE = "core.indicators"
_LEFT_OUT = {"batch"}  # brings pandas, which a process that has no frames should not wait for

INDICATORS: dict[str, type[Indicator]] = {}
"""Filled at the end of this module: modules of the folder that are imported for it may import this one."""


def discover() -> dict[str, type[Indicator]]:
    """The concrete subclasses of Indicator that have a `name`, by module in alphabetical order, then as defined.

    Raises TypeError for two with one name.
    """
    found: dict[str, type[Indicator]] = {}
    for module in _modules():
        for kind in _defined(module):
            if kind.name in found:
                both = f"{_place(found[kind.name])} and {_place(kind)}"
                raise TypeError(f"two indicators are named {kind.name!r}: {both}")
            found[kind.name] = kind
    return found


def _modules() -> Iterable[ModuleType]:
    folders = sys.modules[_PACKAGE].__path__
    names = {item.name for item in pkgutil.iter_modules(folders)} - _LEFT_OUT
    return [importlib.import_module(f"{_PACKAGE}.{name}") for name in sorted(names)]


def _defined(module: ModuleType) -> list[type[Indicator]]:
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Indicator)]
    here = [kind for kind in dict.fromkeys(kinds) if kind.__module__ == module.__name__]
    return [kind for kind in here if not inspect.isabstract(kind) and hasattr(kind, "name")]


def _place(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


INDICATORS.update(discover())
