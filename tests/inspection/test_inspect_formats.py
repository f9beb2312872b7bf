"""formats.py: figures and foreign text."""

import pytest

from mining.inspect import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0"), (950, "950"), (999.6, "1.00k"), (12_345, "12.3k"), (4_560_000, "4.56M"), (120.2e9, "120B")],
)
def test_compact_has_three_digits_and_a_unit(value: float | None, shown: str) -> None:
    assert formats.compact(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.04, "0.0 s"), (99.96, "1 min 40 s"), (61 * 60, "1 h 01 min"), (12.34, "12.3 s")]
)
def test_seconds_have_the_units_that_matter(value: float, shown: str) -> None:
    assert formats.seconds(value) == shown


def test_signed_tells_no_change_from_no_last_round() -> None:
    assert [formats.signed(v) for v in (None, 0, 1200, -3)] == ["-", "0", "+1,200", "-3"]


def test_printable_takes_what_a_terminal_obeys() -> None:
    assert formats.printable("a\x1b[31m\u202eb\n\tc") == "a\ufffd[31m\ufffdb c"
    assert formats.printable("a\r\nb\tc\u2028d", keep_lines=True) == "a\nb c\nd"


def test_probability_has_no_overflow_at_either_end() -> None:
    assert formats.probability(0) == 0.5
    assert formats.probability(1000) == 1.0
    assert formats.probability(-1000) == 0.0


def test_interval_is_short_and_whole() -> None:
    assert formats.with_interval(0.8889, (0.5650, 0.9801)) == "0.889 (.56-.98)"
    assert formats.with_interval(1.0, (0.0, 1.0)) == "1.000 (.00-1.0)"
    assert formats.with_interval(0.5, None) == "0.500"
    assert formats.with_interval(None, None) == "-"
