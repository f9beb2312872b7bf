"""A page's own TeX macros are written out in its formulas."""

import time

import pytest

from mining.html.extract import ExtractConfig, extract
from mining.html.macros import Macro, expand, read_macros, without_definitions

PREAMBLE = (
    r"\newcommand{\R}{\mathbb{R}} \newcommand\vc[1]{\mathbf{#1}} \renewcommand{\inner}[2]{\langle #1, #2\rangle}"
    r"\DeclareMathOperator{\tr}{tr} \DeclareMathOperator*{\argmin}{arg\,min} \def\half{\frac12}\def\pair#1#2{(#1,#2)}"
    r"\newcommand{\norm}[2][2]{\|#2\|_{#1}} \newcommand{\lt}{&lt;} \newcommand{\RR}{\R^n}"
)


@pytest.mark.parametrize(
    ("latex", "written_out"),
    [
        (r"x \in \R", r"x \in \mathbb{R}"),
        (r"\R x", r"\mathbb{R} x"),
        (r"\vc{v} + \vc u", r"\mathbf{v} + \mathbf{u}"),
        (r"\inner{x}{\vc{y}}", r"\langle x, \mathbf{y}\rangle"),
        (r"\tr A", r"\operatorname{tr} A"),
        (r"\argmin_x", r"\operatorname*{arg\,min}_x"),
        (r"\half+\pair ab", r"\frac12+(a,b)"),
        (r"\norm{x} \norm[1]{x}", r"\|x\|_{2} \|x\|_{1}"),
        (r"a\lt b", r"a< b"),
        (r"\RR", r"\mathbb{R}^n"),
        (r"\Real \Rn", r"\Real \Rn"),
        (r"\vc", r"\vc"),
        (r"{\vc}", r"{\vc}"),
        (r"\vc{open", r"\vc{open"),
    ],
)
def test_macro_is_written_out(latex, written_out):
    assert expand(latex, read_macros(PREAMBLE)) == written_out


def test_macros_of_a_configuration():
    page = """<script>MathJax = {tex: {macros: {
    RR: "\\\\mathbb{R}", bold: ["\\\\boldsymbol{#1}", 1], 'E': '{\\\\rm E}'}}};</script>
    <script>katexOptions = {"macros": {"\\\\eps": "\\\\varepsilon"}}</script>"""
    assert read_macros("", page) == {
        "RR": Macro(r"\mathbb{R}"), "bold": Macro(r"\boldsymbol{#1}", 1), "E": Macro(r"{\rm E}"),
        "eps": Macro(r"\varepsilon"),
    }  # fmt: skip


def test_definitions_print_nothing():
    assert without_definitions(r"\newcommand{\a}{x} \def\b{\c{y}} a+b") == "a+b"
    page = (
        r'<script src="MathJax.js"></script><div style="display:none">\(\newcommand{\Q}{\mathbb{Q}}\)</div>'
        r'<p>Let <span class="math inline">\(\newcommand{\Z}{\mathbb{Z}}\)</span> and \(q \in \Q\) over \(\Z\).</p>'
    )
    found = extract(page, "u", ExtractConfig())
    assert found.text == r"Let and $q \in \mathbb{Q}$ over $\mathbb{Z}$."
    assert found.formulas_found == found.formulas_kept


def test_macros_that_call_each_other_leave_the_formula():
    macros = read_macros(r"\newcommand{\a}{\b\b}\newcommand{\b}{\a\a}\newcommand{\c}{\c x}")
    assert expand(r"\a+1", macros) == r"\a+1"
    assert "c" not in macros


@pytest.mark.parametrize(
    "page", [r"\newcommand{\a}{" * 20_000, r"\def\a" * 50_000, "macros: {" * 30_000, r"\newcommand{\a}" * 9_000]
)
def test_unclosed_definitions_take_linear_time(page):
    started = time.process_time()
    read_macros(page, page)
    assert time.process_time() - started < 2


def test_macros_do_not_balloon_a_page():
    definitions = f"\\(\\def\\b{{{'x' * 390}}}\\def\\a{{{(chr(92) + 'b ') * 47}}}\\)"
    formulas = "$$\\a$$ and then " * 1_000
    page = f"<script src=MathJax.js></script><p>{definitions}</p><p>{formulas}</p>"
    found = extract(page, "u", ExtractConfig())
    assert 400_000 < len(found.text) < 500_000 and found.text.endswith("$$\\a$$\nand then")
