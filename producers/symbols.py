"""The symbol master: what is known of a symbol, under the names that people and providers use.

Data are `producers/symbols.json` and, over it, the file that TICKSTREAM_SYMBOL_FILE names, of the same layout:

    {"version": 1, "symbols": [{"symbol": "GC", "asset_class": "future", "calendar": "CMES", "tick_size": "0.1",
                                "aliases": {"yahoo": "GC=F"}}]}

An entry there replaces the shipped one of its symbol. How a provider writes symbols in general is its adapter's rule;
an alias says where the rule is wrong.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

from conf.settings import Settings, variable
from core.errors import InputError
from core.sessions import ALWAYS_OPEN
from core.validate import SYMBOL_PATTERN
from producers.feeds import Feed, feed_named
from producers.feeds.pairs import from_joined
from producers.feeds.rows import FIAT
from producers.feeds.tape import CALENDAR, is_pair
from producers.symbol_file import SymbolInfo, known_symbols

WEEKDAYS = "24/5"
SHOWN = 3
_TICKER = re.compile(r"[A-Z0-9]+([.-][A-Z0-9]+)?")


class SymbolMaster:
    """The symbols of the shipped file and of the user's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known = known_symbols(settings.symbol_file)
        self._aliases = {
            (provider, alias): info.symbol for info in self._known.values() for provider, alias in info.aliases.items()
        }
        self._feeds: dict[str, Feed] = {}

    def all(self) -> list[SymbolInfo]:
        """Every known symbol, in the order of the files."""
        return list(self._known.values())

    def resolve(self, text: str, strict: bool = True) -> SymbolInfo:
        """What is known of a symbol written in any usual way: `btc/usd`, `BTCUSD`, a provider's alias.

        Raises InputError naming near matches for an unknown one; not strict, it is guessed from how it is written.
        """
        for name in _spellings(text):
            if name in self._known:
                return self._known[name]
        meant = {symbol for (_, alias), symbol in self._aliases.items() if alias.upper() == text.upper()}
        if len(meant) == 1:
            return self._known[meant.pop()]
        if strict:
            raise InputError(self._unknown(text))
        return guessed(text)

    def _unknown(self, text: str) -> str:
        near = difflib.get_close_matches(text.upper(), self._known, n=SHOWN, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"unknown symbol {text!r}{hint} (more can be named in the file of {variable('symbol_file')})"

    def native(self, provider: str, symbol: str) -> str:
        """How a provider writes a canonical symbol. Raises InputError for an unknown provider."""
        return self._feed(provider).native(symbol)

    def canonical(self, provider: str, native: str) -> str:
        """The canonical symbol of a provider's own. Raises InputError for an unknown provider."""
        return self._feed(provider).symbol(native)

    def _feed(self, provider: str) -> Feed:
        if provider not in self._feeds:
            self._feeds[provider] = feed_named(provider)(self._settings)
        return self._feeds[provider]


def meant(texts: Sequence[str], settings: Settings) -> list[SymbolInfo]:
    """The symbols of what was typed, each once; commas separate, too.

    Raises InputError for what is none, and where settings list the symbols there are, for another one.
    """
    master, found = SymbolMaster(settings), dict[str, SymbolInfo]()
    for text in [part.strip() for one in texts for part in one.split(",") if part.strip()]:
        info = master.resolve(text, strict=False)
        if not re.fullmatch(SYMBOL_PATTERN, info.symbol):
            raise InputError(f"{text!r} is no symbol")
        if settings.known_symbols is not None and info.symbol not in settings.known_symbols:
            raise InputError(f"unknown symbol {info.symbol!r}: {variable('symbols')} lists {settings.symbols}")
        found[info.symbol] = info
    if not found:
        raise InputError("no symbol given, such as BTC-USD")
    return list(found.values())


def guessed(text: str) -> SymbolInfo:
    """What the way a symbol is written says: a pair of currencies, a ticker, or nothing."""
    symbol = text.upper().replace("/", "-")
    base, _, quote = symbol.partition("-")
    if base in FIAT and quote in FIAT:
        return SymbolInfo(symbol=symbol, asset_class="fx", calendar=WEEKDAYS)
    if is_pair(symbol) or (base and len(quote) > 1):  # one letter is a class of shares: BRK-B
        return SymbolInfo(symbol=symbol, asset_class="crypto", calendar=ALWAYS_OPEN)
    if _TICKER.fullmatch(symbol):
        return SymbolInfo(symbol=symbol, asset_class="stock", calendar=CALENDAR)
    return SymbolInfo(symbol=text, asset_class="unknown", calendar=ALWAYS_OPEN)


def _spellings(text: str) -> Iterable[str]:
    upper = text.strip().upper()
    yield from (upper, upper.replace("/", "-").replace("_", "-"), upper.replace("-", "."), from_joined(upper))
