"""Requests out of records: all covered, the cheapest gaps first, never beyond the bounds."""

from hypothesis import given
from hypothesis import strategies as st

from mining.crawl.ranges import Extent, coalesce


def spans(extents, **bounds):
    return [(one.start, one.end, one.members) for one in coalesce(extents, **bounds)]


def test_the_smallest_gaps_are_bridged_first():
    # 400 wanted bytes allow 80 of waste: the gaps are 50, 20 and 40; 20 and 40 fit, 20 + 40 + 50 do not.
    extents = [Extent("a", 0, 100), Extent("a", 150, 100), Extent("a", 270, 100), Extent("a", 410, 100)]
    assert spans(extents, max_waste=0.2, max_bytes=10_000) == [(0, 100, (0,)), (150, 510, (1, 2, 3))]


def test_neighbours_are_joined_for_nothing_up_to_the_longest_range():
    extents = [Extent("a", 100 * n, 100) for n in range(5)]
    assert spans(extents, max_waste=0.0, max_bytes=250) == [(0, 200, (0, 1)), (200, 400, (2, 3)), (400, 500, (4,))]


def test_a_record_longer_than_the_bound_is_asked_for_alone():
    extents = [Extent("a", 0, 500), Extent("a", 500, 10)]
    assert spans(extents, max_waste=0.2, max_bytes=100) == [(0, 500, (0,)), (500, 510, (1,))]


def test_files_are_apart_and_order_does_not_matter():
    extents = [Extent("b", 0, 10), Extent("a", 10, 10), Extent("a", 0, 10)]
    assert [(one.warc_file, one.members) for one in coalesce(extents, max_waste=1, max_bytes=100)] == [
        ("a", (2, 1)),
        ("b", (0,)),
    ]


extents = st.lists(
    st.builds(Extent, st.sampled_from(["a", "b"]), st.integers(0, 5000), st.integers(1, 400)), max_size=40
)


@given(extents, st.floats(0, 0.5), st.integers(1, 2000))
def test_every_record_is_in_one_range_and_the_waste_is_bounded(extents, max_waste, max_bytes):
    ranges = coalesce(extents, max_waste=max_waste, max_bytes=max_bytes)
    members = sorted(place for one in ranges for place in one.members)
    assert members == list(range(len(extents)))
    for one in ranges:
        for place in one.members:
            extent = extents[place]
            assert extent.warc_file == one.warc_file
            assert one.start <= extent.offset and extent.offset + extent.length <= one.end
        assert len(one.members) == 1 or one.end - one.start <= max_bytes
    asked = sum(one.end - one.start for one in ranges)
    assert asked <= (1 + max_waste) * sum(extent.length for extent in extents) + 1e-6
