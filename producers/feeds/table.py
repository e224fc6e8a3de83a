"""What each provider can, as the table of docs/feeds.md."""

from collections.abc import Iterable

from conf.settings import variable
from producers.feeds import FEEDS
from producers.feeds.base import Feed, Quota

_HEAD = (
    "provider", "trades", "live", "history", "conditions", "corrections", "counted ids", "keys", "requests", "calendar",
)  # fmt: skip


def capability_table(feeds: Iterable[type[Feed]] | None = None) -> str:
    """Markdown: a row for each provider, in order of their names."""
    rows = [_row(feed) for feed in sorted(FEEDS.values() if feeds is None else feeds, key=lambda feed: feed.name)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (_HEAD, ["---"] * len(_HEAD), *rows))


def _row(feed: type[Feed]) -> list[str]:
    can = feed.can
    keys = ", ".join(f"`{variable(key)}`" for key in feed.keys) or "none"
    return [
        feed.name,
        "aggregated" if can.aggregated else _yes(can.trades),
        _yes(can.live),
        ", ".join(can.history) or "no",
        _yes(can.conditions),
        _yes(can.corrections),
        _yes(can.counted_ids),
        keys,
        _limit(feed.quota),
        feed.calendar,
    ]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _limit(quota: Quota | None) -> str:
    if quota is None:
        return "no REST"
    day = "" if quota.daily is None else f", {quota.daily:,} a day"
    return f"{quota.requests:,} in {quota.seconds:g} s{day}"
