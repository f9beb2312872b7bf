"""MathML trees become the LaTeX a person would write."""

import gzip
import json

import pytest
from formula_match import same_formula
from resiliparse.parse.html import HTMLTree

from mining.html.mathml import MAX_DEPTH, mathml_to_latex, tex_annotation


def convert(inner: str) -> str:
    tree = HTMLTree.parse(f"<body><math>{inner}</math></body>")
    return mathml_to_latex(tree.body.query_selector("math"))


PRESENTATION = [
    ("<mi>x</mi>", "x"),
    ("<mi>α</mi><mo>≤</mo><mi>b</mi>", "\\alpha\\le b"),
    ("<mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mn>1</mn></mrow></mfrac>", "\\frac{a}{b+1}"),
    ("<mo>(</mo><mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac><mo>)</mo>", "\\binom{n}{k}"),
    ("<mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac>", "{n\\atop k}"),
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
    # A bracket carries the script of its pair; brackets around what is tall stretch.
    (
        "<msup><mrow><mo>(</mo><mi>a</mi><mo>+</mo><mi>b</mi><mo>)</mo></mrow><mn>2</mn></msup>",
        "(a+b)^{2}",
    ),
    (
        "<msup><mrow><mo>(</mo><mfrac><mi>a</mi><mi>b</mi></mfrac><mo>)</mo></mrow><mi>n</mi></msup>",
        "\\left(\\frac{a}{b}\\right)^{n}",
    ),
    (
        "<msub><mrow><mo></mo><mfrac><mi>d</mi><mi>x</mi></mfrac><mo>|</mo></mrow><mn>0</mn></msub>",
        "\\left.\\frac{d}{x}\\right|_{0}",
    ),
    (
        "<mo>(</mo><mi>a</mi><mo>)</mo><mfrac><mn>1</mn><mn>2</mn></mfrac><mo>(</mo><mi>b</mi><mo>)</mo>",
        "(a)\\frac{1}{2}(b)",
    ),
    # The symbol forms of Greek letters are letters of their own.
    (
        "<mi>\U0001d719</mi><mi>\U0001d711</mi><mi>\U0001d716</mi><mi>\U0001d700</mi>",
        "\\phi\\varphi\\epsilon\\varepsilon",
    ),
    ("<mover><mi>y</mi><mo stretchy='false'>‾</mo></mover>", "\\bar{y}"),
    ("<mover><mi>y</mi><mo>‾</mo></mover>", "\\overline{y}"),
    ("<mover><mi>a</mi><mo stretchy='true'>→</mo></mover>", "\\overrightarrow{a}"),
    ("<munder><mi>x</mi><mo>_</mo></munder>", "\\underline{x}"),
    (
        "<munder><munder><mrow><mn>1</mn><mo>+</mo><mn>1</mn></mrow><mo>⏟</mo></munder><mi>n</mi></munder>",
        "\\underbrace{1+1}_{n}",
    ),
    ("<mover><mo>→</mo><mi>f</mi></mover>", "\\overset{f}{\\to}"),
    ("<msup><mn>90</mn><mo>°</mo></msup>", "90^{\\circ}"),
    ("<mi>a</mi><mo>=\u0338</mo><mi>b</mi>", "a\\ne b"),
    ("<mi>x</mi><mtext>\u00a0</mtext>", "x"),
    ("<mtext mathvariant='bold'>Case 1</mtext>", "\\textbf{Case 1}"),
    ("<mstyle mathvariant='bold'><mi>v</mi></mstyle>", "\\mathbf{v}"),
    (
        "<mi mathvariant='normal'>r</mi><mi mathvariant='normal'>a</mi><mi mathvariant='normal'>d</mi>",
        "\\mathrm{rad}",
    ),
    ("<menclose notation='box'><mi>x</mi></menclose>", "\\boxed{x}"),
    ("<menclose notation='updiagonalstrike'><mi>x</mi></menclose>", "\\cancel{x}"),
    ("<mi>x</mi><mphantom><mi>y</mi></mphantom>", "x"),
    ("<mi>a</mi><mo>mod</mo><mi>n</mi>", "a\\bmod n"),
    ("<mi>&alpha;</mi><mo>&rarr;</mo><mi>&infin;</mi>", "\\alpha\\to\\infty"),
    ("<mi>&#x3b1;</mi><mo>&InvisibleTimes;</mo><mi>x</mi>", "\\alpha x"),
    # Columns that are empty throughout are the margins of KaTeX's `align`.
    (
        "<mtable displaystyle='true'><mtr><mtd></mtd><mtd><mi>a</mi></mtd><mtd><mo>=</mo><mi>b</mi></mtd>"
        "<mtd></mtd></mtr><mtr><mtd></mtd><mtd></mtd><mtd><mo>=</mo><mi>c</mi></mtd><mtd></mtd></mtr></mtable>",
        "\\begin{aligned}a & =b \\\\ & =c\\end{aligned}",
    ),
    (
        "<mo>(</mo><mtable columnlines='none solid'><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd>"
        "<mtd><mn>5</mn></mtd></mtr></mtable><mo>)</mo>",
        "\\left(\\begin{array}{cc|c}1 & 0 & 5\\end{array}\\right)",
    ),
    (
        "<mtable><mlabeledtr><mtd><mtext>(1)</mtext></mtd><mtd><mi>x</mi></mtd></mlabeledtr></mtable>",
        "x",
    ),
    ("<mfenced open='[' close=')' separators=';'><mi>a</mi><mi>b</mi></mfenced>", "[a;b)"),
    ("<mfenced open='|' close='|'><mi>a</mi></mfenced>", "|a|"),
    (
        "<mfenced open='{' close=''><mtable><mtr><mtd><mi>a</mi></mtd></mtr>"
        "<mtr><mtd><mi>b</mi></mtd></mtr></mtable></mfenced>",
        "\\begin{cases}a \\\\ b\\end{cases}",
    ),
]
CONTENT = [
    ("<apply><plus/><ci>x</ci><cn>1</cn></apply>", "x+1"),
    ("<apply><eq/><apply><power/><ci>x</ci><cn>2</cn></apply><cn>4</cn></apply>", "x^{2}=4"),
    ("<apply><divide/><ci>a</ci><ci>b</ci></apply>", "\\frac{a}{b}"),
    ("<apply><sin/><ci>x</ci></apply>", "\\sin(x)"),
    ("<apply><times/><cn>2</cn><apply><plus/><ci>x</ci><cn>1</cn></apply></apply>", "2 (x+1)"),
    ("<apply><csymbol cd='arith1'>plus</csymbol><ci>x</ci><cn>1</cn></apply>", "x+1"),
    ("<apply><power/><apply><plus/><ci>x</ci><cn>1</cn></apply><cn>2</cn></apply>", "(x+1)^{2}"),
    ("<apply><minus/><ci>a</ci><apply><minus/><ci>b</ci><ci>c</ci></apply></apply>", "a-(b-c)"),
    ("<apply><minus/><ci>x</ci></apply>", "-x"),
    ("<apply><root/><degree><cn>3</cn></degree><ci>x</ci></apply>", "\\sqrt[3]{x}"),
    ("<apply><root/><ci>x</ci></apply>", "\\sqrt{x}"),
    ("<apply><log/><logbase><cn>2</cn></logbase><ci>x</ci></apply>", "\\log_{2}(x)"),
    ("<apply><abs/><ci>x</ci></apply>", "|x|"),
    ("<apply><factorial/><ci>n</ci></apply>", "n!"),
    ("<apply><in/><ci>x</ci><reals/></apply>", "x\\in\\mathbb{R}"),
    ("<apply><forall/><bvar><ci>x</ci></bvar><apply><gt/><ci>x</ci><cn>0</cn></apply></apply>", "\\forall x:x>0"),
    ("<apply><diff/><bvar><ci>x</ci></bvar><ci>f</ci></apply>", "\\frac{df}{dx}"),
    (
        "<apply><partialdiff/><bvar><ci>x</ci><degree><cn>2</cn></degree></bvar><ci>f</ci></apply>",
        "\\frac{\\partial^{2}f}{\\partial x^{2}}",
    ),
    (
        "<apply><int/><bvar><ci>x</ci></bvar><interval><cn>0</cn><cn>1</cn></interval><ci>x</ci></apply>",
        "\\int_{0}^{1}x\\,dx",
    ),
    (
        "<apply><limit/><bvar><ci>x</ci></bvar><lowlimit><cn>0</cn></lowlimit><ci>y</ci></apply>",
        "\\lim_{x\\to0}y",
    ),
    (
        "<piecewise><piece><cn>1</cn><apply><eq/><ci>x</ci><cn>0</cn></apply></piece><otherwise><cn>0</cn></otherwise></piecewise>",
        "\\begin{cases}1 & \\text{if }x=0 \\\\ 0 & \\text{otherwise}\\end{cases}",
    ),
    ("<matrix><matrixrow><ci>a</ci><ci>b</ci></matrixrow></matrix>", "\\begin{pmatrix}a & b\\end{pmatrix}"),
    ("<vector><ci>a</ci><ci>b</ci></vector>", "\\begin{pmatrix}a \\\\ b\\end{pmatrix}"),
    ("<set><ci>a</ci><ci>b</ci></set>", "\\{a,b\\}"),
    ("<interval closure='open-closed'><cn>0</cn><cn>1</cn></interval>", "(0,1]"),
    ("<lambda><bvar><ci>x</ci></bvar><ci>y</ci></lambda>", "x\\mapsto y"),
    ("<cn type='rational'>1<sep/>2</cn>", "\\frac{1}{2}"),
    ("<cn type='e-notation'>6.02<sep/>23</cn>", "6.02\\times10^{23}"),
    ("<apply><ci>f</ci><ci>x</ci><ci>y</ci></apply>", "f(x,y)"),
    ("<apply></apply>", ""),
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


def test_trailing_space_does_not_eat_the_closing_delimiter():
    assert convert("<mi>n</mi><mo>=</mo><mn>5</mn><mspace width='0.1667em'></mspace>") == "n=5"
    assert not convert("<mspace width='0.2em'></mspace><mi>n</mi><mtext> </mtext>").endswith("\\")


def test_pages_own_sources_agree_with_their_trees(real_data):
    path = real_data / "extraction-goldens" / "mathml-to-latex.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    wrong = []
    for pair in pairs:
        math = HTMLTree.parse(pair["mathml"]).body.query_selector("math")
        if not same_formula(mathml_to_latex(math), pair["expected_latex"]):
            wrong.append((pair["expected_latex"], mathml_to_latex(math)))
    assert len(pairs) == 240
    assert not wrong
