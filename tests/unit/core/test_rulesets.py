"""The shipped rulesets, verdict by verdict, as the data's own README words them."""

from datetime import UTC, datetime

import exchange_calendars
import pytest

from core import rulesets
from core.errors import ConfigError
from core.rulesets import FIELDS, from_dict, parse_mask

US = rulesets.load("us-equity")
NOON = int(datetime(2013, 10, 8, 16, 0, tzinfo=UTC).timestamp()) * 1_000_000  # 12:00 in New York
DAWN = int(datetime(2013, 10, 8, 9, 0, tzinfo=UTC).timestamp()) * 1_000_000  # 05:00 in New York

ALL, VOLUME, NONE = FIELDS, frozenset({"volume"}), frozenset[str]()
X = 0x20000000

# mask -> what it may touch in the session, and outside of it
VERDICTS = [
    (0x1, ALL, ALL),
    (0x20, VOLUME, ALL),
    (0x40, NONE, NONE),
    (0x80, NONE, NONE),
    (0x40 | 0x200000000, ALL, ALL),
    (0x80 | 0x400000000, ALL, ALL),
    (0x1000000, NONE, NONE),
    (0x4000000, NONE, NONE),
    (0x1000000 | 0x80 | 0x400000000, NONE, NONE),
    (0x100000000, VOLUME, VOLUME),
    (X, ALL, ALL),
    (0x8, ALL, ALL),
    (X | 0x8, VOLUME, ALL),
    (0x200, ALL, ALL),
    (X | 0x200, VOLUME, VOLUME),
    (X | 0x2000, VOLUME, ALL),
    (0x2000, ALL, ALL),
    (X | 0x40000, VOLUME, ALL),
    (X | 0x100000, VOLUME, VOLUME),
    (X | 0x100000 | 0x2000, VOLUME, ALL),
    (X | 0x200 | 0x2000, VOLUME, VOLUME),
    (0x200000, ALL, ALL),
]


@pytest.mark.parametrize(
    ("mask", "session", "extended"), VERDICTS, ids=lambda value: f"{value:x}" if isinstance(value, int) else ""
)
def test_us_equity_verdict_is_as_published(mask: int, session: frozenset[str], extended: frozenset[str]) -> None:
    assert US.touches(f"{mask:x}", NOON) == session
    assert US.touches(f"{mask:X}", DAWN) == extended


@pytest.mark.parametrize(
    ("clock", "expected"),
    [((13, 29, 59), "extended"), ((13, 30, 0), "regular"), ((19, 59, 59), "regular"), ((20, 0, 0), "extended")],
)
def test_us_equity_session_edges_in_summer(clock: tuple[int, int, int], expected: str) -> None:
    at = int(datetime(2013, 10, 8, *clock, tzinfo=UTC).timestamp()) * 1_000_000
    assert US.session is not None and US.session.at(at) == expected


def test_us_equity_session_follows_daylight_saving() -> None:
    assert US.session is not None
    winter = int(datetime(2013, 12, 9, 13, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert US.session.at(winter) == "extended"
    assert US.session.at(winter + 3_600_000_000) == "regular"


def test_us_equity_early_closes_are_those_of_the_exchange() -> None:
    assert US.session is not None
    calendar = exchange_calendars.get_calendar("XNYS", start="2000-01-01", end="2037-12-31")
    assert sorted(US.session.early_days) == [day.date() for day in calendar.early_closes]
    for day in calendar.sessions[::5].union(calendar.early_closes):
        close_us = int(calendar.closes[day].timestamp()) * 1_000_000
        assert (US.session.at(close_us - 1), US.session.at(close_us)) == ("regular", "extended"), day


def test_us_equity_primary_venue_is_by_symbol() -> None:
    assert (US.primary("SPY"), US.primary("IBM")) == ("P", "N")


def test_all_ruleset_counts_everything_whatever_the_conditions() -> None:
    everything = rulesets.load("all")
    assert everything.touches("ffffffff", NOON) == everything.touches("no mask", NOON) == FIELDS
    assert everything.id == "all@1"


@pytest.mark.parametrize(
    ("text", "mask"), [(None, 0), ("", 0), ("20", 32), ("fF", 255), ("MARKET", 0), ("-1", 0), ("8" + "0" * 15, 0)]
)
def test_parse_mask_text_that_is_none_counts_as_no_condition(text: str | None, mask: int) -> None:
    assert parse_mask(text) == mask


def test_load_unknown_name_raises_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="known: all, us-equity"):
        rulesets.load("../all")


@pytest.mark.parametrize("name", rulesets.names())
def test_shipped_ruleset_names_itself_as_its_file_does(name: str) -> None:
    loaded = rulesets.load(name)
    assert loaded.name == name and loaded.version >= 1 and loaded.summary


def test_from_dict_rule_needs_some_of_any_all_of_all_and_none_of_none() -> None:
    made = from_dict(
        {
            "name": "t", "version": 3, "summary": "s", "bits": {"a": "1", "b": "2", "c": "4"},
            "rules": [{"why": "w", "any": ["a"], "all": ["b"], "none": ["c"], "excludes": ["volume"]}],
        }
    )  # fmt: skip
    excluded = {mask for mask in range(8) if "volume" not in made.touches(f"{mask:x}", NOON)}
    assert excluded == {0b011}
