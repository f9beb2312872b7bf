"""Formulas as the real typesetters put them on pages come out once, in the right mode, with the right LaTeX."""

import gzip
import json
import time
from pathlib import Path

import pytest
from formula_match import formulas_in, normalise, same_formula
from resiliparse.parse.html import HTMLTree

from mining.html.extract import ExtractConfig, extract
from mining.html.glyphs import glyphs_to_latex
from mining.html.katex_glyphs import katex_to_latex
from mining.html.mathml import MAX_DEPTH

FIXTURE = Path(__file__).parent / "fixtures" / "html" / "rendered.jsonl.gz"
with gzip.open(FIXTURE, "rt", encoding="utf-8") as rows:
    PAGES = {row["encoding"]: row for row in map(json.loads, rows)}

# Formulas that are not read as they were written, everything else is.
UNREAD = {
    # Glyphs drawn as bare outlines: a calligraphic letter has the code of an upright one.
    "mathjax_3_svg_cache_none": 1,
    "svg_alone": 1,
}


def read_page(encoding: str) -> list[tuple[dict, list[tuple[str, bool]] | None]]:
    """Each formula of a page with the formulas found between its two marker words; None where a marker is lost."""
    page = PAGES[encoding]
    text = extract(page["html"], "https://notes.example/", ExtractConfig()).text
    found = []
    for index, formula in enumerate(page["formulas"]):
        start = text.find(f"begin{index}x")
        end = text.find(f"end{index}x", start)
        found.append((formula, formulas_in(text[start:end]) if 0 <= start < end else None))
    return found


@pytest.mark.parametrize("encoding", PAGES)
def test_formulas_of_a_rendered_page_are_read_once_and_in_their_mode(encoding):
    wrong = [
        (formula, found)
        for formula, found in read_page(encoding)
        if found is None
        or len(found) != 1
        or found[0][1] != formula["display"]
        or not same_formula(found[0][0], formula["latex"])
    ]
    assert len(wrong) <= UNREAD.get(encoding, 0), wrong[:5]


def test_fixture_covers_the_encodings_with_varied_formulas():
    assert len(PAGES) >= 70
    assert sum(len(page["formulas"]) for page in PAGES.values()) > 3_500
    latex = [formula["latex"] for formula in PAGES["katex"]["formulas"]]
    assert len(set(map(normalise, latex))) == len(latex) == 66


@pytest.mark.parametrize(
    ("encoding", "num_read"), [("katex_0.7", 0), ("katex_0.10", 65), ("katex_0.13", 66), ("katex", 66)]
)
def test_html_half_of_katex_is_read_alone(encoding, num_read):
    page = PAGES[encoding]
    halves = HTMLTree.parse(page["html"]).body.query_selector_all(".katex-html").values()
    read = [
        formula["latex"]
        for formula, half in zip(page["formulas"], halves, strict=True)
        if same_formula(katex_to_latex(half), formula["latex"])
    ]
    # The boxes of version 0.7 do not tell what they are; nothing is read rather than something wrong.
    assert len(read) >= num_read
    if not num_read:
        assert not any(map(katex_to_latex, (half for half in halves if half.query_selector(".vlist") is not None)))


def test_nested_katex_boxes_are_read_as_text_below_the_limit():
    depth = 20 * MAX_DEPTH
    half = HTMLTree.parse(f"<span class='katex-html'>{'<span class=mord>' * depth}x{'</span>' * depth}</span>").body
    assert katex_to_latex(half) in ("x", r"\text{x}")


def convert(markup: str) -> str:
    return glyphs_to_latex(HTMLTree.parse(f"<body><div id='box'>{markup}</div></body>").body.query_selector("#box"))


def chtml(inner: str) -> str:
    return f"<mjx-container jax='CHTML'><mjx-math>{inner}</mjx-math></mjx-container>"


def svg(inner: str) -> str:
    return f"<mjx-container jax='SVG'><svg><g><g data-mml-node='math'>{inner}</g></g></svg></mjx-container>"


def c(name: str, *codes: str) -> str:
    glyphs = "".join(f"<mjx-c class='mjx-c{code}'></mjx-c>" for code in codes)
    return f"<mjx-{name}>{glyphs}</mjx-{name}>"


def g(name: str, *codes: str, place: str = "") -> str:
    glyphs = "".join(f"<path data-c='{code}'/>" for code in codes)
    return f"<g data-mml-node='{name}' {place}>{glyphs}</g>"


CASES = [
    (chtml(c("mi", "1D465") + c("mo", "2264") + c("mn", "31", "30")), r"x\le10"),
    (
        chtml("<mjx-msup>" + c("mi", "1D465") + "<mjx-script>" + c("mn", "32") + "</mjx-script></mjx-msup>"),
        "x^{2}",
    ),
    # The upper script is drawn first in both forms.
    (
        chtml(
            "<mjx-msubsup>"
            + c("mi", "1D465")
            + f"<mjx-script>{c('mn', '32')}<mjx-spacer></mjx-spacer>{c('mi', '1D456')}</mjx-script></mjx-msubsup>"
        ),
        "x_{i}^{2}",
    ),
    (
        svg(
            "<g data-mml-node='msubsup'>"
            + g("mi", "1D465")
            + g("mn", "32", place="transform='translate(605,363) scale(0.7)'")
            + g("mi", "1D456", place="transform='translate(605,-247) scale(0.7)'")
            + "</g>"
        ),
        "x_{i}^{2}",
    ),
    (
        svg(
            "<g data-mml-node='munderover'>"
            + g("mo", "2211")
            + g("mi", "1D456", place="transform='translate(148,-1087)'")
            + g("mi", "1D45B", place="transform='translate(509,1150)'")
            + "</g>"
        ),
        r"\sum_{i}^{n}",
    ),
    (svg(f"<g data-mml-node='mfrac'>{g('mi', '1D44E')}{g('mi', '1D44F')}<rect/></g>"), r"\frac{a}{b}"),
    (svg(f"<g data-mml-node='mfrac'>{g('mi', '1D44E')}{g('mi', '1D44F')}</g>"), r"{a\atop b}"),
    # A bracket as tall as a matrix is drawn from pieces, a letter in another font by that font's name.
    (svg(g("mo", "239B", "239C", "239D")), "("),
    (svg(g("mo", "23A7", "23A8", "23A9", "23AA")), r"\{"),
    (svg("<g data-mml-node='mi'><use data-c='46' xlink:href='#MJX-1-TEX-C-46'/></g>"), r"\mathcal{F}"),
    (chtml("<mjx-mi><mjx-c class='mjx-c46 TEX-C'></mjx-c></mjx-mi>"), r"\mathcal{F}"),
    (chtml("<mjx-mi class='mjx-n'><mjx-c class='mjx-c64'></mjx-c></mjx-mi>"), r"\mathrm{d}"),
    (chtml("<mjx-mtext><mjx-utext>若</mjx-utext></mjx-mtext>"), r"\text{若}"),
    (svg("<g data-mml-node='mtext'><text data-variant='normal'>若 &lt; 1</text></g>"), r"\text{若 < 1}"),
    (svg(g("mi", "1D719") + g("mi", "1D711") + g("mi", "1D716")), r"\phi\varphi\epsilon"),
    # Equation numbers stand in a part of their own.
    (
        chtml(
            "<mjx-mtable><mjx-table><mjx-itable><mjx-mlabeledtr><mjx-mtd>"
            + c("mi", "1D465")
            + "</mjx-mtd></mjx-mlabeledtr></mjx-itable></mjx-table><mjx-labels><mjx-mtd>"
            + c("mtext", "28", "31", "29")
            + "</mjx-mtd></mjx-labels></mjx-mtable>"
        ),
        "x",
    ),
    # Version 4 cuts a formula where a line may break.
    (svg(g("mi", "1D44E")) + "<mjx-break></mjx-break>" + svg(g("mo", "3D") + g("mn", "31")), "a=1"),
    ("<p>no formula</p>", ""),
]


@pytest.mark.parametrize(("markup", "latex"), CASES)
def test_glyphs_are_read_from_their_tree(markup, latex):
    assert convert(markup) == latex


def test_a_bomb_of_nested_glyphs_is_read_as_text_below_the_limit():
    depth = 20 * MAX_DEPTH
    bomb = "<mjx-mrow>" * depth + c("mi", "1D465") + "</mjx-mrow>" * depth
    assert convert(chtml(bomb)) in ("", "x", r"\text{𝑥}", r"\text{x}")
    assert convert(svg("<g data-mml-node='mrow'>" * depth + g("mi", "1D465") + "</g>" * depth)) is not None


def test_a_long_row_takes_linear_time():
    row = c("mi", "1D465") * 20_000
    start = time.process_time()
    assert convert(chtml(row)) == "x" * 20_000
    # 0.5 s measured; a walk that asks the parser for one child at a time takes minutes.
    assert time.process_time() - start < 10


def test_a_damaged_code_is_left_out():
    assert convert(svg("<g data-mml-node='mi'><path data-c='zz'/><path data-c='1D465'/></g>")) == "x"
    assert convert(svg("<g data-mml-node='mi'><path data-c='FFFFF'/></g>")) is not None


SAME = [
    (r"x^2_1", r"x_{1}^{2}"),
    (r"\left( \dfrac ab \right)", r"(\frac{a}{b})"),
    (r"f''(x)", r"f^{\prime\prime}(x)"),
    (r"\begin{pmatrix}a&b\\c&d\end{pmatrix}", r"\left(\begin{array}{cc}a & b \\ c & d\end{array}\right)"),
    (r"\text{if } x", r"\mathrm{if}x"),
    (r"\sin x", r"\operatorname{sin}x"),
    (r"{a \over b}", r"\frac{a}{b}"),
    (r"\binom nk", r"\left({n \atop k}\right)"),
    (r"≤ℝ", r"\leq\mathbb R"),
    (r"{(a+b)}^2", r"(a+b)^2"),
]
DIFFERENT = [
    (r"x^{12}", r"x^12"),
    (r"x_2", r"x^2"),
    (r"{a+b}^2", r"a+b^2"),
    (r"\frac{a}{b}", r"\frac{b}{a}"),
    (r"\frac{a}{b}", r"ab"),
    (r"\mathbf{x}", r"x"),
    (r"\mathbb{R}", r"\mathcal{R}"),
    (r"\phi", r"\varphi"),
    (r"\epsilon", r"\varepsilon"),
    (r"\sum_{i=1}^{n}", r"\sum_{i=1}n"),
    (r"\hat{x}", r"\bar{x}"),
    (r"\sqrt[3]{x}", r"\sqrt{x}"),
    (r"\begin{pmatrix}a&b\\c&d\end{pmatrix}", r"\begin{bmatrix}a&b\\c&d\end{bmatrix}"),
    (r"\begin{pmatrix}a&b\\c&d\end{pmatrix}", r"\begin{pmatrix}a&b&c&d\end{pmatrix}"),
    (r"\binom{n}{k}", r"\frac{n}{k}"),
    (r"x \le y", r"x < y"),
    (r"\int_0^1", r"\int_1^0"),
    (r"sin", r"\sin"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_spellings_of_one_formula_match(first, second):
    assert same_formula(first, second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_formulas_do_not_match(first, second):
    assert not same_formula(first, second)


def test_formulas_in_a_text_are_told_apart_by_mode():
    text = r"a $x$ for \$5, $$y \text{if $z$}$$ then \(q\), \[r\] and \begin{align}a&b\end{align}."
    assert formulas_in(text) == [
        ("x", False),
        (r"y \text{if $z$}", True),
        ("q", False),
        ("r", True),
        (r"\begin{align}a&b\end{align}", True),
    ]
