import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.answers import dress, final_answer, gold_answer, last_boxed, normalise, split_unit

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
    ("\\boxed{\\boxed{5}}", "5"),
    ("$x = \\boxed{1}$ or $x = \\boxed{-2}$", "1, -2"),
    ("\\boxed{1}. Now for the second part: \\boxed{2}", "2"),
    ("\\boxed{5} = \\boxed{5}", "5"),
    ("\\boxed{18", None),  # cut: it may have become 180
    ("the answer is 4:30 p.m. on Monday", "4:30 p.m"),
    ("The answer is 18, because 9 + 9 = 18.", "18"),
    ("**Final Answer**: $x^2$.", "$x^2$"),
    ("故选：B。", "B"),
    ("The correct answer is option (C).", "(C)"),
    ("Hence $f(x) = x^2 + 1$.", "f(x) = x^2 + 1"),
    ("答案是1；2。", "1;2"),
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
    ("50%", "1/2"),
    ("50\\%", "1/2"),
    ("90^\\circ", "90"),
    ("90°", "90"),
    ("\\dfrac{2}{4}", "1/2"),
    ("\\dfrac{x}{2}", "\\frac{x}{2}"),
    ("\\frac12", "1/2"),
    ("x = 5", "5"),
    ("3x", "3x"),
    ("3 m", "3 m"),  # metres, or the variable: the gold decides
    ("3\\,m", "3"),
    ("3 \\text{ m}", "3"),
    ("\\left(1, 2\\right)", "(1,2)"),
    ("十八个", "18"),
    ("3和4", "3和4"),
    ("12。", "12"),
    ("1 4/5", "9/5"),
    ("x²＋１", "x^2+1"),
    ("2½", "5/2"),
    ("2√3", "2\\sqrt{3}"),
    ("②③", "(2)(3)"),
    ("**73**", "73"),
    ("5!", "5!"),
    ("n!", "n!"),
    (".35", "7/20"),
    ("2ab", "2ab"),
    ("3 n", "3 n"),
    ("36\\sqrt{7}cm^{3}", "36\\sqrt{7}"),
    ("\\$1.25", "5/4"),
    ("y=2x+1", "2x+1"),
    ("x^2+y^2=1", "x^2+y^2=1"),
    ("['$2$', '$\\\\frac{1}{x}$']", "2;\\frac{1}{x}"),
    ("\\textbf{(B)}", "(B)"),
]


@pytest.mark.parametrize(("text", "expected"), EXTRACTED)
def test_final_answer(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected


@pytest.mark.parametrize(("written", "expected"), NORMAL)
def test_normal_form(written: str, expected: str) -> None:
    assert normalise(written) == expected


def test_last_boxed_ignores_phrases_and_bare_numbers() -> None:
    assert last_boxed("the answer is 5") is None


def test_boxed_only_sees_nothing_outside_a_box() -> None:
    assert final_answer("the answer is 5", boxed_only=True) is None
    assert final_answer("the answer is 5, or \\boxed{6}", boxed_only=True) == "6"


def test_gold_that_is_a_solution_is_reduced_to_its_answer() -> None:
    assert gold_answer("9 * 2 = <<9*2=18>>18\n#### 18") == "18"
    assert gold_answer("so \\boxed{\\frac{1}{2}}.") == "\\frac{1}{2}"
    assert gold_answer("1, 2 and 3") == "1, 2 and 3"


@pytest.mark.parametrize(
    ("written", "body", "unit"),
    [
        ("18元", "18", "元"),
        ("18 apples per day", "18", "apples per day"),
        ("20 $cm^{2}$", "20", "cm^2"),
        ("20 \\text{ cm}^2", "20", "cm^2"),
        ("\\$5", "5", "dollar"),
        ("90^{\\circ}", "90", "°"),
        ("十八个", "18", "个"),
        ("3x", "3x", ""),
        ("3 n", "3 n", ""),
        ("18 million", "18 million", ""),
        ("18元以上", "18元以上", ""),
        ("2 + 3\\mathrm{i}", "2 + 3 i", ""),
        ("\\text{even}", "even", ""),
    ],
)
def test_unit_is_split_off_and_algebra_stays_whole(written: str, body: str, unit: str) -> None:
    found, found_unit = split_unit(dress(written))
    assert (normalise(found), found_unit) == (normalise(body), unit)


PIECES = st.sampled_from(
    [
        *(
            "1",
            "23",
            ",",
            ".",
            " ",
            "x",
            "y",
            "=",
            "+",
            "-",
            "(",
            ")",
            "[",
            "{",
            "}",
            "<",
            ":",
            ";",
            "'",
            "!",
            "A",
            "am",
            "or",
        ),
        *(
            "\\frac",
            "\\{",
            "\\}",
            "\\text{",
            "\\sqrt",
            "^2",
            "^{",
            "_1",
            "\\pi",
            "\\left(",
            "\\right)",
            "\\,",
            "\\!",
            "\\le",
        ),
        *(
            "cm",
            "$",
            "%",
            "\\%",
            "元",
            "个",
            "十",
            "百",
            "分之",
            "和",
            "½",
            "²",
            "①",
            "**",
            "π",
            "°",
            "≤",
            "\\boxed{",
            "e5",
            "\\cdot",
        ),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(max_size=200))
def test_no_text_breaks_extraction(text: str) -> None:
    found = final_answer(text)
    normalise(found if found is not None else text)


def test_extraction_takes_time_in_proportion_to_the_text() -> None:
    for text in ("answer " * 20_000, "\\boxed{" * 20_000, "1," * 50_000, "$" * 50_000, "**" * 50_000, "答案" * 30_000):
        final_answer(text)
