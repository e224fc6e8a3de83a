"""docs/feeds.md says what the code says: the capabilities, and what each parser was shown."""

from collections import Counter
from pathlib import Path

from producers.feeds import FEEDS, Can, Quota
from producers.feeds.coinbase import Coinbase
from producers.feeds.table import capability_table
from tests.feeds import files_of, needs_messages, records

PAGE = Path(__file__).parents[4] / "docs" / "feeds.md"
KINDS = {"capture": "recorded", "documentation": "from the documentation", "fixture": "of client libraries' tests"}


def marked(name: str) -> str:
    """The part of the page between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    return text.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- end of {name} -->")[0]


def test_capabilities_on_the_page_are_those_of_the_code() -> None:
    assert marked("capabilities") == capability_table(), "paste producers.feeds.table.capability_table()"


def test_a_row_says_what_a_feed_can() -> None:
    class Poor(Coinbase):
        name = "poor"
        can = Can(trades=True, aggregated=True, history=("bars",), conditions=True)
        keys = ("alpaca_api_key", "alpaca_secret_key")
        quota = Quota(5, 0.5, 1000)
        calendar = "XNYS"

    assert capability_table([Poor]).splitlines()[-1] == (
        "| poor | aggregated | no | bars | yes | no | no | `ALPACA_API_KEY`, `ALPACA_SECRET_KEY`"
        " | 5 in 0.5 s, 1,000 a day | XNYS |"
    )


@needs_messages
def test_messages_on_the_page_are_those_that_the_parsers_were_shown() -> None:
    assert marked("messages") == messages_table()


def messages_table() -> str:
    """Provider, messages by origin; a provider without any is said to have none."""
    lines = ["| provider | over the socket | over REST |", "| --- | --- | --- |"]
    for name in sorted(FEEDS):
        found = {side: Counter[str]() for side in ("ws", "rest")}
        for path in files_of(FEEDS[name]):
            for record in records(path):
                found[record["transport"]][record["authentic"]] += 1
        lines.append(f"| {name} | {_told(found['ws'])} | {_told(found['rest'])} |")
    return "\n".join(lines)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[kind]:,} {words}" for kind, words in KINDS.items() if counts[kind]) or "none"
