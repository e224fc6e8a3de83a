"""The files of the symbol master: `producers/symbols.json`, and the user's own over it."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from core.errors import InputError

FILE = Path(__file__).with_name("symbols.json")
VERSION = 1
AssetClass = Literal["stock", "crypto", "fx", "future", "unknown"]


class SymbolInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One symbol. `calendar` is 24/7 or one of exchange_calendars; `tick_size` decimal text, None where not known."""

    symbol: str
    asset_class: AssetClass
    calendar: str
    tick_size: str | None = None
    aliases: dict[str, str] = {}
    """Provider -> its own symbol, where that is not what the adapter's rule makes."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    symbols: list[SymbolInfo]


@functools.lru_cache(maxsize=8)
def known_symbols(own: Path | None = None) -> Mapping[str, SymbolInfo]:
    """The symbols of the shipped file and, over them, those of `own`, in that order.

    Raises InputError for a file that cannot be read, and where a provider would write two symbols alike.
    """
    files = [FILE] if own is None else [FILE, own]
    known = {info.symbol: info for path in files for info in _load(path)}
    taken: dict[tuple[str, str], str] = {}
    for info in known.values():
        for provider, alias in info.aliases.items():
            other = taken.setdefault((provider, alias), info.symbol)
            if other != info.symbol:
                raise InputError(f"symbols: {provider} writes {alias!r} for both {other} and {info.symbol}")
    return known


@functools.lru_cache(maxsize=64)
def aliases_of(provider: str, own: Path | None = None) -> Mapping[str, str]:
    """Canonical symbol -> the provider's own, where an alias says so."""
    return {info.symbol: info.aliases[provider] for info in known_symbols(own).values() if provider in info.aliases}


def _load(path: Path) -> list[SymbolInfo]:
    """The entries of a file. Raises InputError for one that cannot be read or is laid out otherwise."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise InputError(f"symbols: {path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise InputError(f"symbols: {path}: {error}") from None
    if file.version != VERSION:
        raise InputError(f"symbols: {path} is of version {file.version}; this program reads version {VERSION}")
    return file.symbols
