"""What a message's values may be: a bad one costs its own trade at most, and says which provider it is of."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from producers.feeds import FEEDS, Feed, SchemaChanged
from producers.parse import Outcome, take
from tests.feeds import RECEIVED_US, encoded, files_of, needs_messages, records, settings_with_keys

STRANGE = (None, "", "x", "NaN", "inf", "1e400", "1_000", "٣", "\x00", -1, 10**30, 1.5, 1e308, True, [], {},
           "2021-13-45T99:99:99Z", 253402300800000)  # fmt: skip
MESSAGES_A_FILE, ROWS = 2, 2
# Messages of many trades, in which each stands for itself.
POLYGON = {"ev": "T", "sym": "MSFT", "x": 4, "i": "1", "p": 114.125, "s": 100, "t": 1536036818784, "q": 3681328}
ALPACA = {"T": "t", "S": "AAPL", "i": 6142, "x": "V", "p": 177.79, "s": 90, "t": "2021-02-22T15:51:44.208Z"}
FINNHUB = {"p": 122.1, "s": "TSLA", "t": 1672348887195, "v": 1}


@needs_messages
@pytest.mark.parametrize("feed", FEEDS.values(), ids=list(FEEDS))
def test_value_of_another_kind_is_no_error_but_a_clear_one(feed: type[Feed]) -> None:
    for path in files_of(feed):
        for record in list(records(path))[:MESSAGES_A_FILE]:
            made = feed(settings_with_keys())
            for strange in with_strange_values(shortened(msgspec.json.decode(record["message"]))):
                line = encoded({"message": strange, "transport": record["transport"], "channel": record["channel"]})
                take(made, line, Outcome())


def shortened(value: Any) -> Any:
    """A JSON value with the first ROWS of its lists of objects or lists."""
    if isinstance(value, dict):
        return {name: shortened(item) for name, item in value.items()}
    if isinstance(value, list) and all(isinstance(item, dict | list) for item in value):
        return [shortened(item) for item in value[:ROWS]]
    return [shortened(item) for item in value] if isinstance(value, list) else value


def with_strange_values(value: Any) -> Iterator[Any]:
    """Copies of a JSON value, each with one of its scalars replaced."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from (value | {name: strange} for strange in with_strange_values(item))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from ([*value[:place], strange, *value[place + 1 :]] for strange in with_strange_values(item))
    else:
        yield from STRANGE


def message(provider: str, *trades: object) -> bytes:
    return encoded({"type": "trade", "data": trades} if provider == "finnhub" else trades)


@pytest.mark.parametrize(("provider", "trade"), [("polygon", POLYGON), ("alpaca", ALPACA), ("finnhub", FINNHUB)])
def test_bad_trade_costs_none_of_those_beside_it(provider: str, trade: dict[str, Any]) -> None:
    bad, last = trade | {"p": None}, trade | {"p": 2.5}
    parsed = FEEDS[provider](settings_with_keys()).parse(message(provider, trade, bad, last, bad), RECEIVED_US)
    assert [tick.price for tick in parsed.ticks] == [str(trade["p"]), "2.5"]
    assert [f"{provider}: a message of type" in str(problem) for problem in parsed.problems] == [True, True]
    with pytest.raises(SchemaChanged, match=provider):
        FEEDS[provider](settings_with_keys()).parse(message(provider, bad, bad), RECEIVED_US)


def test_bad_trade_beside_good_ones_is_counted() -> None:
    outcome = Outcome()
    found = take(FEEDS["polygon"](settings_with_keys()), message("polygon", POLYGON, POLYGON | {"s": "?"}), outcome)
    assert (len(found), outcome.ticks, outcome.errors.total()) == (1, 1, 1)
