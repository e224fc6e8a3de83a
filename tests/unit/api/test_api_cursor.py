"""Cursors: the place comes back, and nothing else than the text that was given out is taken."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursor import MAX_LENGTH, BadCursor, Place, read_cursor, write_cursor
from core.records import MAX_TEXT_LENGTH

longs = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
places = st.builds(Place, st.sampled_from(["older", "newer"]), longs, longs, texts)
QUERY = ("ticks", "A", ("order", "asc"))


@given(places, st.tuples(texts, longs))
def test_any_place_comes_back_and_the_text_is_url_safe(place: Place, query: object) -> None:
    text = write_cursor(place, query)
    assert read_cursor(text, query) == place
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(places)
def test_any_other_query_refuses_it(place: Place) -> None:
    with pytest.raises(BadCursor, match="another query"):
        read_cursor(write_cursor(place, QUERY), (*QUERY, None))


@given(places, st.data())
def test_any_damage_is_noticed(place: Place, data: st.DataObject) -> None:
    text = write_cursor(place, QUERY)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz012-_").filter(lambda char: char != text[at]))
    for damaged in (text[:at] + other + text[at + 1 :], text[:at], text + other):
        with pytest.raises(BadCursor):
            read_cursor(damaged, QUERY)


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_any_text_is_refused_and_never_an_error(text: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor(text, QUERY)


def test_longest_identity_fits() -> None:
    longest = "|".join(["S" * 32, "ä" * MAX_TEXT_LENGTH])
    assert len(write_cursor(Place("older", 0, 0, longest), QUERY)) <= MAX_LENGTH
