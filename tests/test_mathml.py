"""MathML trees become the LaTeX a person would write."""

import pytest
from resiliparse.parse.html import HTMLTree

from mining.html.mathml import MAX_DEPTH, mathml_to_latex, tex_annotation


def convert(inner: str) -> str:
    tree = HTMLTree.parse(f"<body><math>{inner}</math></body>")
    return mathml_to_latex(tree.body.query_selector("math"))


PRESENTATION = [
    ("<mi>x</mi>", "x"),
    ("<mi>α</mi><mo>≤</mo><mi>b</mi>", "\\alpha\\le b"),
    ("<mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mn>1</mn></mrow></mfrac>", "\\frac{a}{b+1}"),
    ("<mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac>", "\\binom{n}{k}"),
    ("<msup><mi>x</mi><mn>2</mn></msup>", "x^{2}"),
    ("<msup><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></msup>", "{a+b}^{2}"),
    ("<msup><mi>f</mi><mo>′</mo></msup>", "f'"),
    ("<msubsup><mi>a</mi><mi>i</mi><mn>2</mn></msubsup>", "a_{i}^{2}"),
    ("<msqrt><mi>x</mi><mo>−</mo><mn>1</mn></msqrt>", "\\sqrt{x-1}"),
    ("<mroot><mi>x</mi><mn>3</mn></mroot>", "\\sqrt[3]{x}"),
    (
        "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi>",
        "\\sum_{i=1}^{n}i",
    ),
    ("<munder><mo>lim</mo><mrow><mi>x</mi><mo>→</mo><mn>0</mn></mrow></munder>", "\\lim_{x\\to0}"),
    ("<mover><mi>x</mi><mo>^</mo></mover>", "\\hat{x}"),
    ("<mover><mi>v</mi><mo>→</mo></mover>", "\\vec{v}"),
    ("<mover><mrow><mi>A</mi><mi>B</mi></mrow><mo>¯</mo></mover>", "\\overline{AB}"),
    ("<mi mathvariant='double-struck'>R</mi>", "\\mathbb{R}"),
    ("<mi>ℝ</mi><mi>𝒜</mi><mi>𝑥</mi>", "\\mathbb{R}\\mathcal{A}x"),
    ("<mi>sin</mi><mo>\u2061</mo><mi>x</mi>", "\\sin x"),
    ("<mtext>if </mtext><mi>x</mi>", "\\text{if }x"),
    ("<mfenced><mi>x</mi><mi>y</mi></mfenced>", "(x,y)"),
    ("<mmultiscripts><mi>C</mi><mi>k</mi><none/><mprescripts/><mi>n</mi><none/></mmultiscripts>", "{}_{n}C_{k}"),
    (
        "<mo>[</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr>"
        "<mtr><mtd><mn>0</mn></mtd><mtd><mn>1</mn></mtd></mtr></mtable><mo>]</mo>",
        "\\begin{bmatrix}1 & 0 \\\\ 0 & 1\\end{bmatrix}",
    ),
    (
        "<mo>{</mo><mtable><mtr><mtd><mi>a</mi></mtd></mtr><mtr><mtd><mi>b</mi></mtd></mtr></mtable>",
        "\\begin{cases}a \\\\ b\\end{cases}",
    ),
    ("<mn>50</mn><mo>%</mo>", "50\\%"),
]
CONTENT = [
    ("<apply><plus/><ci>x</ci><cn>1</cn></apply>", "x+1"),
    ("<apply><eq/><apply><power/><ci>x</ci><cn>2</cn></apply><cn>4</cn></apply>", "x^{2}=4"),
    ("<apply><divide/><ci>a</ci><ci>b</ci></apply>", "\\frac{a}{b}"),
    ("<apply><sin/><ci>x</ci></apply>", "\\sin(x)"),
    ("<apply><times/><cn>2</cn><apply><plus/><ci>x</ci><cn>1</cn></apply></apply>", "2 (x+1)"),
]


@pytest.mark.parametrize(("markup", "latex"), PRESENTATION)
def test_presentation_markup(markup, latex):
    assert convert(markup) == latex


@pytest.mark.parametrize(("markup", "latex"), CONTENT)
def test_content_markup(markup, latex):
    assert convert(markup) == latex


def test_annotation_is_taken_over_the_tree():
    markup = '<semantics><mi>x</mi><annotation encoding="application/x-tex">x_{0}</annotation></semantics>'
    assert convert(markup) == "x_{0}"


def test_annotation_of_another_language_is_not_tex():
    tree = HTMLTree.parse(
        '<math><semantics><mi>y</mi><annotation encoding="Mathematica">Y</annotation></semantics></math>'
    )
    math = tree.body.query_selector("math")
    assert (tex_annotation(math), mathml_to_latex(math)) == ("", "y")


def test_nesting_bomb_is_read_as_text_below_the_limit():
    depth = 20 * MAX_DEPTH
    assert convert("<mrow>" * depth + "<mi>x</mi>" + "</mrow>" * depth) == "x"


def test_missing_arguments_leave_empty_braces():
    assert convert("<mfrac><mi>a</mi></mfrac>") == "\\frac{a}{}"
    assert convert("<msup></msup>") == "{}"
