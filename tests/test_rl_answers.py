from fractions import Fraction

import pytest

from rl.answers import final_answer, last_boxed, normalise, number

EXTRACTED = [
    ("so \\boxed{14}.", "14"),
    ("first \\boxed{3}, then \\boxed{4}", "4"),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("\\boxed{\\sqrt{\\frac{a}{b}}} is it", "\\sqrt{\\frac{a}{b}}"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    ("\\fbox{7}", "7"),
    ("\\boxed 9 and so on", "9"),
    ("good \\boxed{5} and cut \\boxed{6", "5"),
    ("The answer is 18.", "18"),
    ("The answer is: 3.5. Thank you", "3.5"),
    ("The final answer is $\\frac{3}{4}$. I hope it is correct.", "$\\frac{3}{4}$"),
    ("#### 72", "72"),
    ("答案是18元。", "18元"),
    ("答案为：２５", "25"),
    ("答：一共有36个。", "一共有36个"),
    ("the answer is 4, no: the answer is 5", "5"),
    ("12 + 7 = 19", "19"),
    ("it costs $1,234.50 in all", "1,234.50"),
    ("ratio 3/4 remains", "3/4"),
    ("nothing to see", None),
    ("", None),
]

NORMAL = [
    (" 18 ", "18"),
    ("$18$", "18"),
    ("\\$18", "18"),
    ("1,234,567", "1234567"),
    ("18元", "18"),
    ("18 apples", "18"),
    ("18\\text{ cm}", "18"),
    ("18 cm^2", "18"),
    ("２５个", "25"),
    ("－３", "-3"),
    ("50%", "50%"),
    ("50\\%", "50%"),
    ("90^\\circ", "90"),
    ("90°", "90"),
    ("\\dfrac{1}{2}", "\\frac{1}{2}"),
    ("\\frac12", "\\frac{1}{2}"),
    ("x = 5", "5"),
    ("3x", "3x"),
    ("3 m", "3"),
    ("\\left(1, 2\\right)", "(1, 2)"),
    ("十八个", "十八"),
    ("3和4", "3和4"),
    ("12。", "12"),
]

NUMBERS = [
    ("18", Fraction(18)),
    ("-3", Fraction(-3)),
    ("0.50", Fraction(1, 2)),
    (".5", Fraction(1, 2)),
    ("1/2", Fraction(1, 2)),
    ("\\frac{1}{2}", Fraction(1, 2)),
    ("-\\frac{1}{2}", Fraction(-1, 2)),
    ("1\\frac{1}{2}", Fraction(3, 2)),
    ("50%", Fraction(1, 2)),
    ("十八", Fraction(18)),
    ("两", Fraction(2)),
    ("一百零五", Fraction(105)),
    ("三千二百", Fraction(3200)),
    ("一万二千", Fraction(12000)),
    ("负三", Fraction(-3)),
    ("三点五", Fraction(7, 2)),
    ("二〇二四", Fraction(2024)),
    ("1/0", None),
    ("x", None),
    ("--3", None),
    ("1 2 3 a", None),
]


@pytest.mark.parametrize(("text", "expected"), EXTRACTED)
def test_final_answer(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected


@pytest.mark.parametrize(("written", "expected"), NORMAL)
def test_normal_form(written: str, expected: str) -> None:
    assert normalise(written) == expected


@pytest.mark.parametrize(("written", "expected"), NUMBERS)
def test_exact_value(written: str, expected: Fraction | None) -> None:
    assert number(written) == expected


def test_last_boxed_ignores_phrases_and_bare_numbers() -> None:
    assert last_boxed("the answer is 5") is None
