"""Formulas as the web encodes them, one page each: is the formula kept exactly once, and shown as it was meant?

The formula stands between two marker words, so that rendered twins, previews and glued cells beside it are seen.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

BEFORE, AFTER = "alphaword", "omegaword"
_MATHJAX = '<script src="https://cdn.example.org/mathjax/2.7.9/MathJax.js?config=TeX-MML-AM_CHTML"></script>'
_DOLLARS = (
    '<script type="text/x-mathjax-config">MathJax.Hub.Config({tex2jax: {inlineMath: [["$","$"], ["\\\\(","\\\\)"]], '
    "processEscapes: true}});</script>" + _MATHJAX
)
_KATEX_STYLE = '<link rel="stylesheet" href="https://cdn.example.org/katex/dist/katex.min.css">'
_FILLER = (
    "<p>Anyone who reads a page like this one meets a few sentences before the first formula turns up, and those "
    "sentences say what the letters stand for and why the result is of interest at all.</p>",
    "<p>After it come some more sentences, long enough that no extractor takes the paragraph for a menu, which tell "
    "how the statement is used later and what happens when one of its conditions is dropped.</p>",
)
_CHINESE_FILLER = (
    "<p>这一页先用几句话说明各个字母的含义，以及我们为什么关心这个结论，然后才写出第一个公式。</p>",
    "<p>公式之后还有几句话，说明这个结论以后怎样使用，以及去掉其中一个条件会发生什么事情。</p>",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One encoding."""

    name: str
    body: str
    """HTML in which the formula stands between the two marker words."""
    latex: str
    """The formula; empty where the words between the markers are no formula and must stay as `plain`."""
    display: bool = False
    head: str = ""
    plain: str = ""
    before: str = BEFORE
    after: str = AFTER

    @property
    def html(self) -> str:
        """The whole page."""
        first, last = _CHINESE_FILLER if self.before != BEFORE else _FILLER
        return (
            f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>Notes</title>{self.head}</head><body>'
            '<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About</a></li></ul></nav>'
            f"<main><article><h1>Notes</h1>{first}{self.body}{last}</article></main></body></html>"
        )


def _paragraph(formula: str) -> str:
    return f"<p>In this line the {BEFORE} {formula} {AFTER} close the formula in from both sides.</p>"


def _mathml(inner: str, tex: str = "", attributes: str = "") -> str:
    if tex:
        inner = (
            f'<semantics><mrow>{inner}</mrow><annotation encoding="application/x-tex">{tex}</annotation></semantics>'
        )
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"{attributes}>{inner}</math>'


_SQUARE = "<msup><mi>x</mi><mn>2</mn></msup>"
_SQUARE_PLUS_ONE = f"<mrow>{_SQUARE}<mo>+</mo><mn>1</mn></mrow>"
_KATEX = (
    '<span class="katex"><span class="katex-mathml">'
    + _mathml("<msup><mi>e</mi><mrow><mi>i</mi><mi>π</mi></mrow></msup><mo>=</mo><mo>−</mo><mn>1</mn>", "e^{i\\pi}=-1")
    + '</span><span class="katex-html" aria-hidden="true"><span class="base"><span class="strut"></span>'
    '<span class="mord"><span class="mord mathnormal">e</span><span class="msupsub"><span class="vlist">'
    '<span class="mord mtight">iπ</span></span></span></span><span class="mrel">=</span></span><span class="base">'
    '<span class="mord">−</span><span class="mord">1</span></span></span></span>'
)
_WIKIPEDIA = (
    '<span class="mwe-math-element"><span class="mwe-math-mathml-inline mwe-math-mathml-a11y" style="display: none;">'
    + _mathml("<mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup>", "{\\displaystyle E=mc^{2}}")
    + '</span><img src="https://wikimedia.org/api/rest_v1/media/math/render/svg/9f73" aria-hidden="true" '
    'class="mwe-math-fallback-image-inline" alt="{\\displaystyle E=mc^{2}}"></span>'
)
_MATHJAX_3 = (
    '<mjx-container class="MathJax" jax="CHTML"><mjx-math class="MJX-TEX" aria-hidden="true"><mjx-msup><mjx-mi>'
    '<mjx-c class="mjx-c1D465 TEX-I"></mjx-c></mjx-mi><mjx-script><mjx-mn size="s"><mjx-c class="mjx-c32"></mjx-c>'
    '</mjx-mn></mjx-script></mjx-msup></mjx-math><mjx-assistive-mml unselectable="on" display="inline">'
    + _mathml(_SQUARE)
    + "</mjx-assistive-mml></mjx-container>"
)
_MATHJAX_2 = (
    '<span class="MathJax_Preview" style="color: inherit;">x2</span><span class="MathJax" id="MathJax-Element-1-Frame">'
    '<nobr><span class="math" id="MathJax-Span-1"><span class="mrow"><span class="msubsup"><span class="mi">x</span>'
    '<span class="mn">2</span></span></span></span></nobr></span>'
    '<script type="math/tex" id="MathJax-Element-1">x^2</script>'
)
_IN_TABLE = (
    "<table><tr><th>name</th><th>value</th><th>remark</th></tr><tr><td>first</td><td>one</td><td>none</td></tr>"
    f"<tr><td>{BEFORE}</td><td>{_mathml(_SQUARE_PLUS_ONE)}</td><td>{AFTER}</td></tr></table>"
)

CASES = (
    Case("$..$", _paragraph("$a_1 &lt; b$"), "a_1 < b", head=_DOLLARS),
    Case("\\(..\\)", _paragraph("\\(a_1 &lt; a_2\\)"), "a_1 < a_2", head=_MATHJAX),
    Case("\\[..\\]", _paragraph("\\[\\sum_k x_k = 1\\]"), "\\sum_k x_k = 1", display=True, head=_MATHJAX),
    Case(
        "align environment",
        _paragraph("\\begin{align} a &amp;= b \\\\ c &amp;= d \\end{align}"),
        "\\begin{align} a &= b \\\\ c &= d \\end{align}",
        display=True,
        head=_MATHJAX,
    ),
    Case("script math/tex", _paragraph('<script type="math/tex">x^2+1</script>'), "x^2+1", head=_MATHJAX),
    Case(
        "script math/tex; mode=display",
        _paragraph('<script type="math/tex; mode=display">\\int_0^1 x\\,dx</script>'),
        "\\int_0^1 x\\,dx",
        display=True,
        head=_MATHJAX,
    ),
    Case("KaTeX", _paragraph(_KATEX), "e^{i\\pi}=-1", head=_KATEX_STYLE),
    Case(
        "KaTeX display",
        _paragraph(f'<span class="katex-display">{_KATEX}</span>'),
        "e^{i\\pi}=-1",
        display=True,
        head=_KATEX_STYLE,
    ),
    Case("MathML inline", _paragraph(_mathml(_SQUARE_PLUS_ONE)), "x^2+1"),
    Case("MathML block", _paragraph(_mathml(_SQUARE_PLUS_ONE, attributes=' display="block"')), "x^2+1", display=True),
    Case("MathML in a table cell", _IN_TABLE, "x^2+1"),
    Case("Wikipedia", _paragraph(_WIKIPEDIA), "E=mc^2"),
    Case(
        "WordPress latex.php, alt",
        _paragraph(
            '<img src="https://s0.wp.com/latex.php?latex=%5Cfrac%7Ba%7D%7Bb%7D" alt="\\frac{a}{b}" class="latex">'
        ),
        "\\frac{a}{b}",
    ),
    Case(
        "WordPress latex.php, no alt",
        _paragraph('<img src="https://s0.wp.com/latex.php?latex=%5Cfrac%7Ba%7D%7Bb%7D&amp;bg=ffffff" class="latex">'),
        "\\frac{a}{b}",
    ),
    Case(
        "codecogs",
        _paragraph('<img src="https://latex.codecogs.com/gif.latex?\\dpi{120}&amp;space;\\sqrt{n+1}">'),
        "\\sqrt{n+1}",
    ),
    Case("sup and sub", _paragraph("10<sup>-3</sup>"), "10^{-3}"),
    Case("MathJax 3, assistive MathML", _paragraph(_MATHJAX_3), "x^2"),
    Case("MathJax 2, preview + spans + script", _paragraph(_MATHJAX_2), "x^2", head=_MATHJAX),
    Case("AsciiMath", _paragraph("`sum_(i=1)^n i^2`"), "\\sum_{i=1}^n i^2", head=_MATHJAX),
    Case(
        "currency on a MathJax page",
        _paragraph("cost went from $5 in May to $7 in June"),
        "",
        head=_DOLLARS,
        plain="cost went from $5 in May to $7 in June",
    ),
    Case(
        "MathJax 3, own delimiters",
        _paragraph("@@x^2+1@@"),
        "x^2+1",
        head="<script>MathJax = {tex: {inlineMath: [['@@', '@@']]}};</script>"
        '<script src="https://cdn.example.org/mathjax@3/es5/tex-chtml.js"></script>',
    ),
    Case("StackExchange", _paragraph('<span class="math-container">$x &lt; y^2$</span>'), "x < y^2", head=_DOLLARS),
    Case(
        "LaTeXML alttext",
        _paragraph(
            '<math alttext="\\mathcal{L}^{2}" class="ltx_Math" display="inline"><msup><mi>ℒ</mi><mn>2</mn>'
            "</msup></math>"
        ),
        "\\mathcal{L}^{2}",
    ),
    Case(
        "Chinese with MathJax",
        "<p>在下面这一行里，开始处 $f(x)=x^2$ 结束处 把公式夹在中间。</p>",
        "f(x)=x^2",
        head=_DOLLARS,
        before="开始处",
        after="结束处",
    ),
)

KEPT, WRONG_KIND, BARE, LOST = "ok", "other kind", "no delimiters", "lost or doubled"
_DISPLAY = (
    re.compile(r"\$\$(.+?)\$\$", re.DOTALL),
    re.compile(r"\\\[(.+?)\\\]", re.DOTALL),
    re.compile(r"(\\begin\{align\*?\}.+?\\end\{align\*?\})", re.DOTALL),
)
_INLINE = (re.compile(r"\$([^$]+?)\$"), re.compile(r"\\\((.+?)\\\)", re.DOTALL))
_SEPARATORS = " \t\n|\u00a0\u3000"


def verdict(case: Case, text: str, same: Callable[[str, str], bool]) -> str:
    """KEPT, WRONG_KIND (there once, but display for inline or the reverse), BARE (once, without delimiters) or LOST."""
    # The title repeats no marker, so the last pair is the page's own.
    start, end = text.find(case.before), text.rfind(case.after)
    if start < 0 or end < start:
        return LOST
    between = text[start + len(case.before) : end]
    if case.plain:
        unescaped = between.replace("\\$", "$")
        return KEPT if " ".join(unescaped.split()) == case.plain else LOST
    if not between or between[0] not in _SEPARATORS or between[-1] not in _SEPARATORS:
        return LOST
    between = between.strip(_SEPARATORS)
    for display, patterns in ((True, _DISPLAY), (False, _INLINE)):
        for pattern in patterns:
            if (match := pattern.fullmatch(between)) and same(match.group(1), case.latex):
                return KEPT if display is case.display else WRONG_KIND
    return BARE if same(between, case.latex) else LOST
