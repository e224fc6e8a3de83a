"""What every feed must keep, whoever wrote it: the same checks over its own recorded messages."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conf.settings import Settings
from core.errors import InputError, InvalidTick
from core.records import Tick
from core.validate import check
from producers.feeds import FEEDS, Feed, SchemaChanged, feed_named
from tests.feeds import RECEIVED_US, encoded, files_of, needs_messages, records, settings_with_keys

FOLDER = Path(__file__).parents[4] / "producers" / "feeds"
SHARED = {"__init__", "base", "decoding", "paging", "pairs", "rows", "table", "tape", "yahoo_wire"}
# Fixtures that their authors broke on purpose: how many messages of a file may fail.
BROKEN: dict[str, int] = {
    "alpaca/ws_cancel_errors": 1,  # ten seconds into 1970 stand for a time
    "alpaca/ws_trades": 1,
    "binance_futures/ws_agg_trade_stream": 1,  # made-up times of 1970
    "binance_futures/ws_trade_stream": 1,
    "twelvedata/ws_price": 1,
}
# Recorded wire formats older than their provider's trade ids.
WITHOUT_IDS = {"kraken_v1"}

every_feed = pytest.mark.parametrize("feed", FEEDS.values(), ids=list(FEEDS))
every_file = pytest.mark.parametrize(
    ("feed", "path"),
    [
        pytest.param(feed, path, id=f"{path.parent.name}/{path.stem}")
        for feed in FEEDS.values()
        for path in files_of(feed)
    ],
)


def test_every_file_of_the_folder_is_registered() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - SHARED
    assert {feed.__module__.rsplit(".", 1)[-1] for feed in FEEDS.values()} == modules
    assert all(feed.name == name for name, feed in FEEDS.items())


def test_names_lead_to_one_feed_and_an_unknown_one_is_told() -> None:
    names = [name for feed in FEEDS.values() for name in (feed.name, *feed.also)]
    assert len(names) == len(set(names))
    assert all(feed_named(name.upper()).name in FEEDS for name in names)
    with pytest.raises(InputError, match=r"known: .*coinbase"):
        feed_named("coinbse")


@every_feed
def test_what_it_can_do_is_written(feed: type[Feed]) -> None:
    names = ("trades", "trades_by_id", "bars", "latest", "hello")
    written = {name for name in names if getattr(feed, name) is not getattr(Feed, name)}
    assert {"trades", "bars"} & written == set(feed.can.history)
    assert ("trades_by_id" in written) == (feed.can.counted_ids and "trades" in feed.can.history)
    assert bool(feed.socket_url) == feed.can.live == ("hello" in written)
    assert bool(feed.rest_url) == bool(feed.quota) == bool(feed.can.history or "latest" in written)
    assert inspect.getdoc(importlib.import_module(feed.__module__)), "a sample message belongs into the docstring"


@every_feed
def test_needs_a_key_exactly_when_it_says_so(feed: type[Feed]) -> None:
    assert feed.can.keyless == (not feed.keys)
    assert set(feed.keys) <= set(Settings.model_fields)
    if feed.keys:
        with pytest.raises(InputError, match=f"{feed.name} needs a key: set [A-Z]+"):
            feed(Settings()).key()
        made = feed(settings_with_keys())
        assert "-in-tests" not in repr(made)


@every_feed
def test_unknown_message_is_counted_and_not_fatal(feed: type[Feed]) -> None:
    made = feed(settings_with_keys())
    for message in ({"no": "such"}, {"type": "novelty"}, {"channel": "novelty"}, {"e": "novelty"}, [], [{"ev": "N"}]):
        parsed = made.parse(encoded(message), RECEIVED_US)
        assert parsed.ticks == []
        assert sum(parsed.ignored.values()) == (1 if message else sum(parsed.ignored.values()))


@every_feed
def test_half_a_message_is_a_clear_error(feed: type[Feed]) -> None:
    with pytest.raises(SchemaChanged, match=feed.name):
        feed(settings_with_keys()).parse(b'{"type":"match","trade', RECEIVED_US)


@needs_messages
@every_file
def test_recorded_messages_give_valid_ticks(feed: type[Feed], path: Path) -> None:
    made, failures = feed(settings_with_keys()), 0
    for record in records(path):
        received_us = int((record["recv_time"] or 0) * 1_000_000)
        try:
            if record["transport"] == "rest":
                parsed = made.parse_rest(record["channel"], record["message"], received_us)
            else:
                parsed = made.parse(record["message"], received_us)
            for tick in parsed.ticks:
                check(tick)
                assert_well_made(tick, feed, received_us)
                if feed.can.counted_ids and path.parent.name not in WITHOUT_IDS:
                    assert tick.trade_id is not None and tick.trade_id.isdigit()
            assert parsed.ticks or parsed.ignored or record["message"] in (b"[]", b"{}")
        except (SchemaChanged, InvalidTick):
            failures += 1
    assert failures == BROKEN.get(f"{path.parent.name}/{path.stem}", 0)


def assert_well_made(tick: Tick, feed: type[Feed], received_us: int) -> None:
    assert tick.source == feed.name
    assert tick.received_us == received_us
    assert tick.symbol == feed(settings_with_keys()).symbol(feed(settings_with_keys()).native(tick.symbol))
    if tick.kind == "trade":
        assert tick.price is not None and tick.size is not None
        assert not (("." in tick.price and tick.price.endswith("0")) or "e" in tick.price.lower())


@needs_messages
@every_feed
def test_same_messages_again_are_the_same_ticks(feed: type[Feed]) -> None:
    """A reconnect repeats messages; what they say must be known as said already."""
    for path in files_of(feed, "ws"):
        messages = [record["message"] for record in records(path)][:500]
        once, again = identities(feed, messages), identities(feed, messages)
        assert once == again
        assert len(set(once)) == len(once), "two trades of one file have one identity"


def identities(feed: type[Feed], messages: list[bytes]) -> list[tuple[Any, ...]]:
    made = feed(settings_with_keys())
    found: list[tuple[Any, ...]] = []
    for message in messages:
        try:
            ticks = made.parse(message, RECEIVED_US).ticks
        except SchemaChanged:
            continue
        for tick in ticks:
            own = (tick.venue, tick.trade_id) if tick.trade_id else (tick.source, tick.seq)
            found.append((tick.symbol, tick.event_us, tick.kind, *own))
    return found


@needs_messages
@every_feed
def test_field_that_is_gone_is_named(feed: type[Feed]) -> None:
    """Take each field of a recorded trade away: either the trade stays what it is, or the error names the provider."""
    message = first_trade(feed)
    if message is None:
        pytest.skip("no trade among its recorded messages")
    named = 0
    for poorer in without_each_field(msgspec.json.decode(message)):
        try:
            feed(settings_with_keys()).parse(encoded(poorer), RECEIVED_US)
        except SchemaChanged as error:
            assert feed.name in str(error)
            named += 1
    assert named >= 1


def first_trade(feed: type[Feed]) -> bytes | None:
    for path in files_of(feed, "ws"):
        for record in records(path):
            try:
                ticks = feed(settings_with_keys()).parse(record["message"], RECEIVED_US).ticks
            except SchemaChanged:
                continue
            if ticks:
                return bytes(record["message"])
    return None


def without_each_field(value: Any) -> list[Any]:
    """Copies of a JSON value, each without one of its fields or list items, at any depth."""
    if isinstance(value, dict):
        fewer = [{name: item for name, item in value.items() if name != gone} for gone in value]
        return fewer + [value | {name: poorer} for name, item in value.items() for poorer in without_each_field(item)]
    if isinstance(value, list):
        fewer = [[*value[:place], *value[place + 1 :]] for place in range(len(value))]
        return fewer + [
            [*value[:place], poorer, *value[place + 1 :]]
            for place, item in enumerate(value)
            for poorer in without_each_field(item)
        ]
    return []
