"""Every web encoding of a formula comes out once, as LaTeX, inline and display told apart."""

import pytest

from mining.html.asciimath import asciimath_to_latex
from mining.html.delimiters import Delimiters, finish, mark, mark_delimited, read_delimiters
from mining.html.extract import ExtractConfig, extract
from mining.html.math import needs_formula_work, tex_in_address

MATHJAX = '<script src="https://cdn.example/mathjax/2.7.5/MathJax.js?config=TeX-AMS_HTML"></script>'
DOLLARS = (
    "<script>MathJax.Hub.Config({tex2jax: {inlineMath: [['$','$'],['\\\\(','\\\\)']], processEscapes: true}});</script>"
    + MATHJAX
)


def text_of(body: str, head: str = "") -> str:
    page = f"<html><head><title>t</title>{head}</head><body>{body}</body></html>"
    return extract(page, "https://example.org/", ExtractConfig()).text


def mathml(inner: str, *, display: bool = False, tex: str = "") -> str:
    annotation = f'<annotation encoding="application/x-tex">{tex}</annotation>' if tex else ""
    block = ' display="block"' if display else ""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"{block}><semantics>{inner}{annotation}</semantics></math>'


def katex(tex: str, glyphs: str) -> str:
    return (
        f'<span class="katex"><span class="katex-mathml">{mathml("<mrow><mi>e</mi></mrow>", tex=tex)}</span>'
        f'<span class="katex-html" aria-hidden="true"><span class="base">{glyphs}</span></span></span>'
    )


EULER = katex("e^{i\\pi}=-1", "eiπ=−1")
X_SQUARED = "<msup><mi>x</mi><mn>2</mn></msup>"
MATHJAX_2 = (
    '<span class="MathJax_Preview">x2</span><span class="MathJax" id="MathJax-Element-1-Frame"><nobr><span '
    'class="math"><span class="mi">x</span><span class="mn">2</span></span></nobr></span>'
    '<script type="math/tex" id="MathJax-Element-1">x^2</script>'
)
MATHJAX_2_DISPLAY = (
    '<span class="MathJax_Preview"></span><div class="MathJax_Display"><span class="MathJax" id="M2-Frame">x2'
    '</span></div><script type="math/tex; mode=display" id="M2">x^2</script>'
)
MATHJAX_3 = (
    '<mjx-container class="MathJax" jax="CHTML"{0}><mjx-math aria-hidden="true"><mjx-msup><mjx-mi><mjx-c '
    'class="mjx-c1D465"></mjx-c></mjx-mi></mjx-msup></mjx-math><mjx-assistive-mml unselectable="on">'
    + mathml(X_SQUARED)
    + "</mjx-assistive-mml></mjx-container>"
)
WIKIPEDIA = (
    '<span class="mwe-math-element"><span class="mwe-math-mathml-{0} mwe-math-mathml-a11y" style="display: none;">'
    + mathml("<mi>E</mi>", tex="{{\\displaystyle E=mc^{{2}}}}")
    + '</span><img src="https://wikimedia.org/api/rest_v1/media/math/render/svg/ab" '
    'class="mwe-math-fallback-image-{0}" alt="{{\\displaystyle E=mc^{{2}}}}"></span>'
)
LATEX_PHP = "https://s0.wp.com/latex.php?latex=%5Cfrac%7Ba%7D%7Bb%7D&bg=ffffff&fg=000&s=0"
CODECOGS = "https://latex.codecogs.com/gif.latex?\\dpi{{120}}&space;\\bg_white&space;\\int_0^1&space;x&space;dx"

# (name, body, head, the whole text that must come out)
CASES = [
    ("dollars", "<p>We have $a_1 < b$ here.</p>", DOLLARS, "We have $a_1 < b$ here."),
    ("double dollars", "<p>We have $$a_1 < b$$ here.</p>", DOLLARS, "We have\n$$a_1 < b$$\nhere."),
    ("parentheses", r"<p>Let \(a_1 &lt; a_2\) be.</p>", MATHJAX, "Let $a_1 < a_2$ be."),
    ("brackets", r"<p>Then \[ \sum_i x_i \] holds.</p>", MATHJAX, "Then\n$$\\sum_i x_i$$\nholds."),
    (
        "environment",
        r"<p>So \begin{align} a &amp;= b \\ c &amp;= d \end{align} holds.</p>",
        MATHJAX,
        "So\n$$\\begin{align} a &= b \\\\ c &= d \\end{align}$$\nholds.",
    ),
    ("script", '<p>If <script type="math/tex">x^2</script> then.</p>', "", "If $x^2$ then."),
    (
        "display script",
        '<p>If <script type="math/tex; mode=display">% <![CDATA[\nx < y %]]></script> then.</p>',
        "",
        "If\n$$x < y$$\nthen.",
    ),
    ("KaTeX", f"<p>So {EULER} holds.</p>", "", "So $e^{i\\pi}=-1$ holds."),
    (
        "KaTeX display",
        f'<p>So <span class="katex-display">{EULER}</span> holds.</p>',
        "",
        "So\n$$e^{i\\pi}=-1$$\nholds.",
    ),
    ("MathML", f"<p>The {mathml(X_SQUARED)} term.</p>", "", "The $x^{2}$ term."),
    ("MathML display", f"<p>The {mathml(X_SQUARED, display=True)} term.</p>", "", "The\n$$x^{2}$$\nterm."),
    (
        "MathML in cells",
        f"<table><tr><td>square</td><td>{mathml(X_SQUARED)}</td>"
        f"<td>{mathml('<mi>y</mi>', display=True)}</td></tr></table>",
        "",
        "square\t$x^{2}$\t$$y$$",
    ),
    ("Wikipedia", f"<p>Then {WIKIPEDIA.format('inline')} holds.</p>", "", "Then $E=mc^{2}$ holds."),
    ("Wikipedia display", f"<p>Then {WIKIPEDIA.format('display')} holds.</p>", "", "Then\n$$E=mc^{2}$$\nholds."),
    (
        "latex.php",
        f'<p>Now <img src="{LATEX_PHP}" alt="\\frac{{a}}{{b}}" class="latex"> it.</p>',
        "",
        "Now $\\frac{a}{b}$ it.",
    ),
    ("latex.php without alt", f'<p>Now <img src="{LATEX_PHP}" class="latex"> it.</p>', "", "Now $\\frac{a}{b}$ it."),
    ("codecogs", f'<p>The <img src="{CODECOGS.format()}"> is.</p>', "", "The $\\int_0^1 x dx$ is."),
    (
        "Zhihu image",
        '<p>其中 <img src="https://www.zhihu.com/equation?tex=%5Calpha+%2B+1" alt="公式"> 为常数</p>',
        "",
        "其中 $\\alpha + 1$ 为常数",
    ),
    (
        "Zhihu span",
        '<p>其中 <span class="ztext-math" data-tex="\\alpha+1">α+1</span> 为</p>',
        "",
        "其中 $\\alpha+1$ 为",
    ),
    ("sup", "<p>about 10<sup>-3</sup> and x<sup>2</sup></p>", "", "about $10^{-3}$ and $x^{2}$"),
    ("sub", "<p>the term a<sub>n</sub> grows</p>", "", "the term $a_{n}$ grows"),
    ("sup chain", "<p>a<sup>2</sup> + b<sup>2</sup> = c<sup>2</sup></p>", "", "$a^{2} + b^{2} = c^{2}$"),
    ("MathJax 3", f"<p>so {MATHJAX_3.format('')} holds</p>", "", "so $x^{2}$ holds"),
    ("MathJax 3 display", "<p>so " + MATHJAX_3.format(' display="true"') + " holds</p>", "", "so\n$$x^{2}$$\nholds"),
    ("MathJax 2 rendered", f"<p>so {MATHJAX_2} holds</p>", "", "so $x^2$ holds"),
    ("MathJax 2 display", f"<div>so {MATHJAX_2_DISPLAY} holds</div>", "", "so\n$$x^2$$\nholds"),
    (
        "AsciiMath",
        "<p>The sum `sum_(i=1)^n i^2` is.</p>",
        '<script src="MathJax.js?config=AM_HTMLorMML"></script>',
        "The sum $\\sum_{i = 1}^{n} i^{2}$ is.",
    ),
    (
        "MathJax 3 delimiters",
        "<p>Here @@x^2@@ and [[ y=1 ]] too</p>",
        "<script>MathJax = {tex: {inlineMath: [['@@', '@@']], displayMath: [['[[', ']]']]}};</script>" + MATHJAX,
        "Here $x^2$ and\n$$y=1$$\ntoo",
    ),
    (
        "KaTeX auto-render delimiters",
        "<p>Here ~x^2~ and ¤y=1¤ too</p>",
        "<script>renderMathInElement(document.body, {delimiters: [{left: '~', right: '~', display: false}, "
        "{left: '¤', right: '¤', display: true}]}); // katex</script>",
        "Here $x^2$ and\n$$y=1$$\ntoo",
    ),
    (
        "StackExchange",
        '<p>A <span class="math-container">$x&lt;y$</span> b <span class="math-container">$$z$$</span></p>',
        "",
        "A $x<y$ b\n$$z$$",
    ),
    (
        "LaTeXML",
        '<p>Let <math class="ltx_Math" alttext="L" display="inline"><mi>L</mi></math> be.</p>',
        "",
        "Let $L$ be.",
    ),
    ("Chinese", "<p>设函数 $f(x)=x^2$ 在区间上连续。</p>", DOLLARS, "设函数 $f(x)=x^2$ 在区间上连续。"),
    ("Pandoc", r'<p>So <span class="math inline">\(a^2\)</span> is.</p>', "", "So $a^2$ is."),
    ("Pandoc display", r'<p>So <span class="math display">\[a^2\]</span> is.</p>', "", "So\n$$a^2$$\nis."),
    ("Pandoc bare", r'<p>So <span class="math inline">a^2</span> is.</p>', "", "So $a^2$ is."),
    ("Pandoc HTML", '<p>So <span class="math inline"><em>x</em><sup>2</sup></span> is.</p>', "", "So $x^{2}$ is."),
    (
        "Sphinx",
        '<div class="math notranslate"><span class="eqno">(1)<a class="headerlink">¶</a></span>\\[a=b\\]</div>',
        "",
        "$$a=b$$",
    ),
    ("wp-katex", '<p>So <span class="wp-katex-eq" data-display="true">a^2</span> is.</p>', "", "So\n$$a^2$$\nis."),
    ("GitHub", '<p>So <math-renderer class="js-inline-math">$a^2$</math-renderer> is.</p>', "", "So $a^2$ is."),
    ("LaTeX2HTML", '<p>So <img src="img4.svg" alt="$\\sigma_n$"> is <math></math></p>', "", "So $\\sigma_n$ is"),
    ("macros print nothing", r"<p>\(\newcommand{\R}{\mathbb{R}}\)</p><p>In \(\R\).</p>", MATHJAX, "In $\\R$."),
]


@pytest.mark.parametrize(("body", "head", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_encoding(body, head, expected):
    assert text_of(body, head) == expected


LEFT_ALONE = [
    ("currency", "<p>It cost $5 and then $7 more, or US$12.</p>", DOLLARS),
    ("ranges of money", "<p>Pay $3,000-$5,000 a year; $1.5 million or $2 million.</p>", DOLLARS),
    ("escaped dollars", "<p>Pay \\$5 or \\$7 for x.</p>", DOLLARS),
    ("inline code", "<p>Set <code>$HOME</code> and <code>$PATH</code> first.</p>", DOLLARS),
    ("shell variables", "<p>Set $HOME and $PATH first.</p>", ""),
    ("regular expression", "<p>Use s/\\([a-z]*\\)/x/ here.</p>", ""),
    ("prose between dollars", "<p>The US$ and the Canadian dollar and the $ sign.</p>", DOLLARS),
    ("ordinal", "<p>the 4<sup>th</sup> one</p>", ""),
    ("footnote", "<p>as shown<sup>3</sup> above</p>", ""),
    ("chemistry", "<p>CO<sub>2</sub> and H<sub>2</sub>O</p>", ""),
    ("year", "<p>in 1995<sup>2</sup> it</p>", ""),
]


@pytest.mark.parametrize(("body", "head"), [case[1:] for case in LEFT_ALONE], ids=[case[0] for case in LEFT_ALONE])
def test_left_alone(body, head):
    plain = body
    for tag in ("p", "code", "sup", "sub"):
        plain = plain.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    assert text_of(body, head) == plain


def test_code_block_keeps_its_dollars_and_backslashes():
    body = "<p>Math $x^2$.</p><pre>for f in $A; do sed 's/\\(a\\)/$B/' $f; done</pre>"
    assert text_of(body, DOLLARS) == "Math $x^2$.\n\nfor f in $A; do sed 's/\\(a\\)/$B/' $f; done"


def test_counts_by_kind_tell_found_from_kept():
    svg = '<mjx-container class="MathJax" jax="SVG"><svg><g data-mml-node="math"></g></svg></mjx-container>'
    body = f"<p>One {mathml(X_SQUARED)}, two {MATHJAX_2}, three $y=1$, four {svg}, five x<sup>2</sup>.</p>"
    page = extract(f"<html><head>{DOLLARS}</head><body>{body}</body></html>", "u", ExtractConfig())
    assert page.formulas_by_kind == {
        "mathml": (1, 1), "script": (1, 1), "delimited": (1, 1), "mathjax": (1, 0), "sup_sub": (1, 1),
    }  # fmt: skip
    assert (page.formulas_found, page.formulas_kept) == (5, 4)


def test_page_without_formulas_is_told_by_its_bytes():
    assert not needs_formula_work("<html><body><p>Plain words, $5, and a table.</p></body></html>")
    assert needs_formula_work("<p>x<sup>2</sup></p>")


def test_fragment_without_its_script_is_converted_where_one_formula_is_beyond_doubt():
    assert text_of(r"<p>Let \(V\) be a space with \(V \subset \mathbb{R}^n\).</p>") == (
        "Let $V$ be a space with $V \\subset \\mathbb{R}^n$."
    )


@pytest.mark.parametrize(
    ("config", "inline", "display"),
    [
        ("tex2jax: {inlineMath: [ ['$','$'], [\"\\\\(\",\"\\\\)\"] ]}", ("$", "$"), ("$$", "$$")),
        ("tex: {inlineMath: {'[+]': [['%%', '%%']]}}", ("%%", "%%"), ("\\[", "\\]")),
        ('"inlineMath": [["$","$"]], "displayMath": [["\\\\begin*", "\\\\end*"]]', ("$", "$"), ("\\begin*", "\\end*")),
    ],
)
def test_delimiters_are_read_from_the_page(config, inline, display):
    delimiters = read_delimiters(f"<script>MathJax = {{{config}}}</script>")
    assert delimiters.declared
    assert inline in delimiters.inline
    assert display in delimiters.display


def test_display_formula_keeps_its_punctuation_and_its_own_line():
    x, y = (mark(name, "mathml", display=True) for name in "xy")
    assert finish(f"so {x}, and {y} {mark('z', 'script', display=False)}")[0] == "so\n$$x$$,\nand\n$$y$$\n$z$"


def test_braces_decide_where_a_formula_ends():
    delimiters = Delimiters(inline=(("$", "$"),), declared=True, dollar_declared=True)
    marked = mark_delimited("Take $x = \\text{if $y$ holds}$ now.", delimiters)
    assert finish(marked) == ("Take $x = \\text{if $y$ holds}$ now.", {"delimited": 1})


@pytest.mark.parametrize(
    ("address", "latex"),
    [
        ("https://latex.codecogs.com/svg.latex?\\inline&space;x^2", "x^2"),
        ("https://latex.codecogs.com/gif.latex?%5Cfrac%7B1%7D%7B2%7D", "\\frac{1}{2}"),
        ("http://www.forkosh.com/mimetex.cgi?c=\\sqrt{a^2+b^2}", "c=\\sqrt{a^2+b^2}"),
        ("https://chart.googleapis.com/chart?cht=tx&chl=x%5E2%2B1", "x^2+1"),
        ("https://www.zhihu.com/equation?tex=a%3Db", "a=b"),
        ("https://example.org/texture.png?tex=wood", ""),
        ("http://[broken", ""),
    ],
)
def test_tex_in_an_image_address(address, latex):
    assert tex_in_address(address) == latex


@pytest.mark.parametrize(
    ("source", "latex"),
    [
        ("x=(-b+-sqrt(b^2-4ac))/(2a)", "x = \\frac{- b \\pm \\sqrt{b^{2} - 4 a c}}{2 a}"),
        ("[[a,b],[c,d]]", "\\begin{bmatrix}a & b \\\\ c & d\\end{bmatrix}"),
        ("lim_(x->oo) 1/x = 0", "\\lim_{x \\to \\infty} \\frac{1}{x} = 0"),
        ("root(3)(x) <= abs(y)", "\\sqrt[3]{x} \\le |y|"),
        (")x(", ") x ("),
    ],
)
def test_asciimath(source, latex):
    assert asciimath_to_latex(source) == latex
