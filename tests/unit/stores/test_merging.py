"""Records of several partitions in one order: however unevenly they are read."""

from hypothesis import given
from hypothesis import strategies as st

from stores.merging import Merge, Place


@given(st.lists(st.integers(0, 2), max_size=60), st.data())
def test_what_is_there_comes_in_order_however_it_is_read(partitions: list[int], data: st.DataObject) -> None:
    """Record n was written n-th, to its partition; all of it was there before the first look."""
    written: dict[Place, list[int]] = {("t", number): [] for number in range(3)}
    for moment, number in enumerate(partitions):
        written["t", number].append(moment)
    merge: Merge[int] = Merge()
    for place, moments in written.items():
        merge.begin(place, 0, len(moments))
    got: list[int] = []
    read = dict.fromkeys(written, 0)
    while left := [place for place, moments in written.items() if read[place] < len(moments)]:
        place = data.draw(st.sampled_from(left))
        for _ in range(data.draw(st.integers(1, len(written[place]) - read[place]))):
            merge.put(place, read[place], written[place][read[place]], written[place][read[place]])
            read[place] += 1
        got += [each.record for each in merge.ready()]
        assert merge.behind is (len(got) < len(partitions))
    assert got == list(range(len(partitions))) and not merge.behind
    assert merge.places == {place: len(moments) for place, moments in written.items()}


def test_nothing_waits_for_a_partition_that_has_nothing_until_it_is_seen_to_have_more() -> None:
    merge: Merge[str] = Merge()
    assert not merge and not merge.behind
    for number in (0, 1):
        merge.begin(("t", number), 5, 5)
    merge.put(("t", 0), 5, 60, "first")
    assert [each.record for each in merge.ready()] == ["first"]
    merge.reaches(("t", 1), 6)
    merge.put(("t", 0), 6, 120, "third")
    assert list(merge.ready()) == [] and merge.behind
    merge.reaches(("t", 1), 3)  # an older answer
    merge.put(("t", 1), 5, 60, "second")
    assert [each.record for each in merge.ready()] == ["second", "third"] and not merge.behind
