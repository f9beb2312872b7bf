from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.quantities import number, unit

NUMBERS = [
    ("18", Fraction(18)),
    ("-3", Fraction(-3)),
    ("+2", Fraction(2)),
    ("0.50", Fraction(1, 2)),
    (".5", Fraction(1, 2)),
    ("27.", Fraction(27)),
    ("1,234,567.5", Fraction("1234567.5")),
    ("1 000 000", Fraction(10**6)),
    ("1/2", Fraction(1, 2)),
    ("-1./3", Fraction(-1, 3)),
    ("\\frac{1}{2}", Fraction(1, 2)),
    ("-\\frac{-1}{2}", Fraction(1, 2)),
    ("1\\frac{1}{2}", Fraction(3, 2)),
    ("-1 1/2", Fraction(-3, 2)),
    ("2又3/5", Fraction(13, 5)),
    ("50%", Fraction(1, 2)),
    ("-2.5%", Fraction(-1, 40)),
    ("3.84\\cdot 10^{5}", Fraction(384000)),
    ("1.5e-3", Fraction(3, 2000)),
    ("2^{10}", Fraction(1024)),
    ("2^{-2}", Fraction(1, 4)),
    ("十八", Fraction(18)),
    ("两", Fraction(2)),
    ("一百零五", Fraction(105)),
    ("一百五", Fraction(150)),
    ("三千二百", Fraction(3200)),
    ("一万二", Fraction(12000)),
    ("一亿零五百万", Fraction(105_000_000)),
    ("负三", Fraction(-3)),
    ("三点一四", Fraction(157, 50)),
    ("二〇二四", Fraction(2024)),
    ("五分之三", Fraction(3, 5)),
    ("一又五分之四", Fraction(9, 5)),
    ("百分之二十", Fraction(1, 5)),
    ("3.5万", Fraction(35000)),
    ("forty-two", Fraction(42)),
    ("Seven", Fraction(7)),
]
NO_NUMBERS = [
    *(
        "",
        " ",
        "x",
        "--3",
        "+-3",
        "1 2 3",
        "1,23",
        "1/0",
        "1 2 3 a",
        "3x",
        "(1,2)",
        "1:2",
        "twenty-eleven",
        "分之",
        "点五",
    ),
    *("5%%", "0^0", "0^{-1}", "1\\frac{-1}{2}", "2^{x}"),
]


@pytest.mark.parametrize(("written", "expected"), NUMBERS)
def test_exact_value(written: str, expected: Fraction) -> None:
    assert number(written) == expected


@pytest.mark.parametrize("written", NO_NUMBERS)
def test_what_is_not_one_number_has_no_value(written: str) -> None:
    assert number(written) is None


@pytest.mark.parametrize(
    "written", ["9^{9^{9}}", "9^{999999999}", "1e999999999", "10^{10^{10}}", "7" * 5000, "1." * 3000]
)
def test_a_number_that_would_fill_the_memory_has_no_value(written: str) -> None:
    assert number(written) is None


@given(st.fractions(max_denominator=10**6))
def test_fractions_survive_writing(value: Fraction) -> None:
    assert number(str(value)) == value
    sign = "-" if value < 0 else ""
    assert number(f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}") == value


@given(st.integers(-(10**12), 10**12))
def test_integers_survive_writing(value: int) -> None:
    assert number(f"{value:,}") == number(str(value)) == value
    assert number(f"{value}%") == Fraction(value, 100)
    assert number(in_chinese(value)) == value


def in_chinese(value: int) -> str:
    """An integer in Chinese numerals, place by place: 105 -> 一百零五."""
    if value < 0:
        return "负" + in_chinese(-value)
    for size, mark in ((10**8, "亿"), (10**4, "万")):
        if value >= size:
            high, low = divmod(value, size)
            gap = "零" if 0 < low < size // 10 else ""
            return in_chinese(high) + mark + gap + (in_chinese(low) if low else "")
    text, gap = "", ""
    for size, mark in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // size % 10
        if digit:
            text += gap + "零一二三四五六七八九"[digit] + mark
        gap = "" if digit or not text else "零"
    return text or "零"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("cm", ("length", Fraction(1, 100))),
        ("厘米", ("length", Fraction(1, 100))),
        ("centimeters", ("length", Fraction(1, 100))),
        ("cm^2", ("length^2", Fraction(1, 10**4))),
        ("square centimeters", ("length^2", Fraction(1, 10**4))),
        ("平方厘米", ("length^2", Fraction(1, 10**4))),
        ("立方米", ("length^3", Fraction(1))),
        ("Hours", ("time", Fraction(3600))),
        ("cents", ("dollar", Fraction(1, 100))),
        ("角", ("yuan", Fraction(1, 10))),
        ("apples", None),
        ("km/h", None),
        ("", None),
    ],
)
def test_unit(written: str, expected: tuple[str, Fraction] | None) -> None:
    assert unit(written) == expected
