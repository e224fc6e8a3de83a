"""The providers, one file each, registered here."""

from core.errors import InputError
from producers.feeds.base import Can, Feed, HistoryBar, Parsed, Quota, SchemaChanged
from producers.feeds.coinbase import Coinbase

__all__ = ["FEEDS", "Can", "Feed", "HistoryBar", "Parsed", "Quota", "SchemaChanged", "feed_named"]

FEEDS: dict[str, type[Feed]] = {feed.name: feed for feed in (Coinbase,)}


def feed_named(name: str) -> type[Feed]:
    """The feed of this name or of one it also answers to. Raises InputError listing those there are."""
    wanted = name.lower()
    for feed in FEEDS.values():
        if wanted == feed.name or wanted in feed.also:
            return feed
    raise InputError(f"unknown provider {name!r}; known: {', '.join(sorted(FEEDS))}")
