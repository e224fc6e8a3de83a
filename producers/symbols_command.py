"""The command that shows what is known of symbols."""

import argparse

from conf.settings import Settings
from producers.symbols import SymbolInfo, SymbolMaster

HELP = "show what is known of symbols, and how a provider writes them"
EXAMPLES = """examples:
  python -m producers symbols
      every symbol of the master
  python -m producers symbols AAPL btc/usd
      these two, written in any usual way
  python -m producers symbols GC EUR-USD --provider yahoo
      with what this provider calls them; its own names are understood too"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m producers symbols`."""
    parser.add_argument("symbols", nargs="*", metavar="TEXT", help="symbols; all when there is none")
    parser.add_argument("--provider", metavar="NAME", help="also show what this provider calls them")


def run(args: argparse.Namespace, settings: Settings) -> str:
    """The table. Raises InputError for an unknown symbol or provider."""
    master = SymbolMaster(settings)
    found = [_one(master, text, args.provider) for text in args.symbols] or master.all()
    rows = [_row(info) + ([master.native(args.provider, info.symbol)] if args.provider else []) for info in found]
    return _table([["symbol", "class", "calendar", "tick"] + ([args.provider] if args.provider else []), *rows])


def _one(master: SymbolMaster, text: str, provider: str | None) -> SymbolInfo:
    return master.resolve(master.canonical(provider, text) if provider else text)


def _row(info: SymbolInfo) -> list[str]:
    return [info.symbol, info.asset_class, info.calendar, info.tick_size or "-"]


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
