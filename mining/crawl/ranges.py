"""Which byte ranges to ask for: near records of a WARC file in one request, within a bound on the bytes between."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Extent(NamedTuple):
    """Where a wanted record lies."""

    warc_file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One request: bytes [start, end) of a WARC file, and the records in them."""

    warc_file: str
    start: int
    end: int
    members: tuple[int, ...]
    """Places of the records in the list that the ranges were made of, by offset."""


def coalesce(extents: Sequence[Extent], *, max_waste: float, max_bytes: int) -> list[ByteRange]:
    """Ranges that cover every record, the fewest that a waste of max_waste times the wanted bytes buys.

    A gap between two neighbours of a file costs its bytes and saves one request, so the smallest gaps are bridged
    first, as long as all bridged gaps together stay within the bound. No range of several records is longer than
    max_bytes. Ranges come by file and offset, whatever the order of the records.
    """
    order = sorted(range(len(extents)), key=lambda place: extents[place])
    budget = max_waste * sum(extents[place].length for place in order)
    gaps = []
    for left, right in pairwise(order):
        before, after = extents[left], extents[right]
        if before.warc_file == after.warc_file:
            gaps.append((max(0, after.offset - before.offset - before.length), right))
    bridged = set()
    for gap, right in sorted(gaps):
        budget -= gap
        if budget < 0:
            break
        bridged.add(right)
    ranges: list[ByteRange] = []
    for place in order:
        extent = extents[place]
        end = extent.offset + extent.length
        last = ranges[-1] if ranges else None
        if last and place in bridged and max(last.end, end) - last.start <= max_bytes:
            ranges[-1] = ByteRange(last.warc_file, last.start, max(last.end, end), (*last.members, place))
        else:
            ranges.append(ByteRange(extent.warc_file, extent.offset, end, (place,)))
    return ranges
