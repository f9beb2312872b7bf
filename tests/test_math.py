"""Every web encoding of a formula comes out once, as LaTeX, inline and display told apart."""

import contextlib
import re
import time
from collections import Counter

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.parse.html import HTMLTree

from mining.errors import RecordError
from mining.html.asciimath import asciimath_to_latex
from mining.html.charset import decode
from mining.html.delimiters import Delimiters, finish, mark, mark_delimited, read_delimiters
from mining.html.extract import ExtractConfig, extract
from mining.html.hints import formula_selector
from mining.html.images import tex_in_address
from mining.html.math import mark_formulas

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
    ("macros print nothing", r"<p>\(\newcommand{\R}{\mathbb{R}}\)</p><p>In \(\R\).</p>", MATHJAX, "In $\\mathbb{R}$."),
]


@pytest.mark.parametrize(("body", "head", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_encoding(body, head, expected):
    assert text_of(body, head) == expected


WP = "https://s0.wp.com/latex.php?latex="
WIKI = "/media/math/render/svg/ab"
WIRIS = "«math xmlns=¨http://www.w3.org/1998/Math/MathML¨»«msup»«mi»x«/mi»«mn»2«/mn»«/msup»«/math»"
MATHML_ALT = "&lt;math&gt;&lt;mi&gt;x&lt;/mi&gt;&lt;mo&gt;&amp;lt;&lt;/mo&gt;&lt;mn&gt;1&lt;/mn&gt;&lt;/math&gt;"

# (name, the image's attributes, the inline formula)
IMAGES = [
    ("WordPress", f'src="{WP}a%2Bb&amp;bg=ffffff&amp;fg=000&amp;s=0" alt="a+b" class="latex"', "a+b"),
    ("WordPress, no alt", 'src="http://l.wordpress.com/latex.php?latex=%5Cdisplaystyle+x%5E2&bg=fff&s=1"', "x^2"),
    ("codecogs svg", r'src="https://latex.codecogs.com/svg.latex?\inline&space;\large&space;x^2&plus;1"', "x^2+1"),
    ("codecogs gif", 'src="//latex.codecogs.com/gif.latex?%5Cdpi%7B120%7D%20%5Cfn_phv%20%5Cpi" title="pi"', r"\pi"),
    ("codecogs png", r'src="https://latex.codecogs.com/png.image?\dpi{110}\bg{white}\sqrt{x}"', r"\sqrt{x}"),
    ("codecogs private", r'src="https://private.codecogs.com/gif.latex?%5Calpha_i" alt="\alpha_i"', r"\alpha_i"),
    ("codecogs, no command", 'src="https://latex.codecogs.com/gif.latex?x&plus;y=z" alt', "x+y=z"),
    ("mimetex", r'src="/cgi-bin/mimetex.cgi?\Large x=\frac{-b}{2a}" border=0', r"x=\frac{-b}{2a}"),
    ("mathtex", r'src="http://www.forkosh.com/mathtex.cgi?\int_0^1 f(x) dx"', r"\int_0^1 f(x) dx"),
    ("old Wikipedia", 'class="tex" alt="x^2" src="//upload.wikimedia.org/math/a/b/c/abc.png"', "x^2"),
    ("Wikimedia", f'src="https://wikimedia.org/api/rest_v1{WIKI}" alt="{{\\displaystyle p_{{i}}}}"', "p_{i}"),
    ("Zhihu", 'src="//www.zhihu.com/equation?tex=a%5E2" alt="a^2" eeimg="1"', "a^2"),
    ("Zhihu, alt of words", 'src="//www.zhihu.com/equation?tex=%5Cpi+%2B+1" alt="[公式]" eeimg="1"', r"\pi + 1"),
    ("Zhihu, lazy", 'src="data:image/svg+xml;utf8," data-original="//www.zhihu.com/equation?tex=n%21"', "n!"),
    ("Juejin", 'class="equation" src="https://juejin.cn/equation?tex=x_1" alt=""', "x_1"),
    ("CSDN", r'alt="\beta" class="mathcode" src="https://latex.csdn.net/eq?%5Cbeta"', r"\beta"),
    ("CSDN, no alt", 'src="https://latex.csdn.net/eq?%5Cbeta%5E2"', r"\beta^2"),
    ("Jianshu", 'class="math-inline" src="https://math.jianshu.com/math?formula=x%5E2" mathimg="1"', "x^2"),
    ("Bilibili", 'src="//api.bilibili.com/x/web-frontend/mathjax/tex?formula=%5Cmu%3D0"', r"\mu=0"),
    ("Yuque", 'src="https://cdn.nlark.com/yuque/__latex/a1.svg#card=math&code=x%5E2&id=q"', "x^2"),
    ("GitHub", 'src="https://render.githubusercontent.com/render/math?math=%5Cpi%20-1&mode=inline"', r"\pi -1"),
    ("upmath", 'src="https://i.upmath.me/svg/%5Cfrac%7Ba%7D%7Bb%7D"', r"\frac{a}{b}"),
    ("math.now.sh", 'src="https://math.now.sh?from=%5Clog%20x"', r"\log x"),
    ("Google charts", r'src="//chart.apis.google.com/chart?cht=tx&amp;chl=\sqrt{2}&amp;chf=bg,s,FFF"', r"\sqrt{2}"),
    ("Brainly", 'src="https://tex.z-dn.net/?f=x%20%3D%203" alt="x = 3" class="latex-formula"', "x = 3"),
    ("Canvas", 'class="equation_image" src="/equation_images/x%255E2" alt="LaTeX: x^2"', "x^2"),
    ("Canvas, no alt", 'class="equation_image" src="/equation_images/%255Csqrt%257Bx%257D"', r"\sqrt{x}"),
    ("QuickLaTeX", 'src="/ql-cache/quicklatex.com-1_l3.svg" alt="&#92;&#112;&#105;" title="Rendered"', r"\pi"),
    ("AoPS", 'class="latex" alt="$n^2$" src="//latex.artofproblemsolving.com/a/b.png" width="9"', "n^2"),
    ("Moodle", 'class="texrender" alt="a_n" title="a_n" src="https://m.test/filter/tex/pix.php/1.gif"', "a_n"),
    ("Habr", r'src="https://habrastorage.org/a.svg" alt="$inline$\rho_1$inline$" data-tex="inline"', r"\rho_1"),
    ("Habr's editor", r'class="formula inline" source="\rho_1" src="https://habrastorage.org/b.svg"', r"\rho_1"),
    ("imgmath", 'class="math" src="_images/math/5a93.png" alt="O(n)"', "O(n)"),
    ("MathWorld", 'src="/images/equations/A/Inline1.gif" class="inlineformula" alt="x^2+y_1"', "x^{2} + y_{1}"),
    ("WIRIS", f'class="Wirisformula" alt="x squared" src="data:image/svg+xml" data-mathml="{WIRIS}"', "x^{2}"),
    ("MathML in alt", f'src="f.png" alt="{MATHML_ALT}"', "x<1"),
    ("delimiters in alt", r'src="eq1.png" alt="\(x_1\)"', "x_1"),
]


@pytest.mark.parametrize(("attributes", "latex"), [case[1:] for case in IMAGES], ids=[case[0] for case in IMAGES])
def test_image(attributes, latex):
    assert text_of(f"<p>So <img {attributes}> is.</p>", MATHJAX) == f"So ${latex}$ is."


@pytest.mark.parametrize(
    "image",
    [
        r'<p><img class="latex" alt="\pi"></p>',
        r'<p>So <img class="latexcenter" alt="\[\pi\]"> is</p>',
        '<p>So <img src="//www.zhihu.com/equation?tex=%5Cpi%5C%5C" alt="[公式]" eeimg="2"> is</p>',
        r'<p>So <img src="a.svg" alt="$$display$$\pi$$display$$" data-tex="display"> is</p>',
        r'<div class="math"><p><span class="eqno">(1)</span><img src="_images/math/5a.png" alt="\pi"></p></div>',
    ],
)
def test_image_of_a_displayed_formula(image):
    assert "$$\\pi$$" in text_of(image, MATHJAX).split("\n")


@pytest.mark.parametrize(
    "image",
    [
        '<img src="/latex-logo.png" alt="The LaTeX logo">',
        '<img src="/img/math/cat.jpg" alt="A cat">',
        '<img src="a.png" alt="C:\\temp\\plot.png">',
        '<img src="a.png" alt="$5 off">',
        '<img src="/chart?cht=p3&chl=a|b" alt="a-b">',
        '<img src="generated/latex-image/f.svg" alt="graph-2">',
    ],
)
def test_picture_is_no_formula(image):
    assert text_of(f"<p>So {image} is.</p>", MATHJAX) == "So is."


CSDN = (
    '<span class="katex"><span class="katex-mathml">\n  x\n  2\n  \n x^2\n </span>'
    '<span class="katex-html">x2</span></span>'
)
WIKIPEDIA_IMAGE = f'<img src="{WIKI}" class="mwe-math-fallback-image-inline" alt="{{\\displaystyle E_1}}">'
LATEXML_ROW = (
    '<tr class="ltx_eqn_row"><td><math alttext="\\displaystyle {0}"></math></td><td><math alttext="\\displaystyle={1}">'
    '</math></td><td><span class="ltx_tag ltx_tag_equation">({2})</span></td></tr>'
)
# (name, an element in "So .. is.", what comes out between)
ELEMENTS = [
    ("Zhihu", '<span class="ztext-math" data-eeimg="1" data-tex="a=b">a=b</span>', "$a=b$"),
    ("Zhihu display", r'<span class="ztext-math" data-eeimg="1" data-tex="a=b\\">a=b</span>', "$$a=b$$"),
    ("mdnice", '<span class="span-inline-equation" data-formula="a=b"><svg><g></g></svg></span>', "$a=b$"),
    ("mdnice display", '<span class="span-block-equation" data-formula="a=b"><svg></svg></span>', "$$a=b$$"),
    ("CSDN", f'<span class="katex--inline">{CSDN}</span>', "$x^2$"),
    ("CSDN display", f'<span class="katex--display"><span class="katex-display">{CSDN}</span></span>', "$$x^2$$"),
    (
        "KaTeX without annotation",
        f'<span class="katex"><span class="katex-mathml">{mathml(X_SQUARED)}</span>'
        '<span class="katex-html">x2</span></span>',
        "$x^{2}$",
    ),
    ("KaTeX as MathML", f'<span class="katex">{mathml(X_SQUARED, tex="x^2")}</span>', "$x^2$"),
    ("KaTeX error", r'<span class="katex-error" title="ParseError">\foo{x}</span>', r"$\foo{x}$"),
    ("Juejin", f'<span class="math math-inline">{EULER}</span>', r"$e^{i\pi}=-1$"),
    (
        "Docusaurus",
        f'<span class="math math-display"><span class="katex-display">{EULER}</span></span>',
        r"$$e^{i\pi}=-1$$",
    ),
    ("Quill", '<span class="ql-formula" data-value="x^2"></span>', "$x^2$"),
    ("Quill rendered", f'<span class="ql-formula" data-value="e"><span>{EULER}</span></span>', r"$e$"),
    ("MathLive", "<math-field>x^2</math-field>", "$x^2$"),
    ("KaTeX for WordPress", '<span class="katex-eq" data-katex-display="true">a^2</span>', "$$a^2$$"),
    ("Temml", f'<math class="tml-display" style="display:block math;">{X_SQUARED}</math>', "$$x^{2}$$"),
    ("Wikipedia image", f'<span class="mwe-math-element">{WIKIPEDIA_IMAGE}</span>', "$E_1$"),
    (
        "Wikipedia mobile",
        f'<span class="mwe-math-element"><noscript>{WIKIPEDIA_IMAGE}</noscript><span class="lazy-image-placeholder" '
        'data-alt="{\\displaystyle E_1}">&nbsp;</span></span>',
        "$E_1$",
    ),
    (
        "Wikipedia block",
        '<span class="mwe-math-element mwe-math-element-block">'
        + mathml("<mi>E</mi>", tex=r"{\displaystyle E}")
        + f'<img src="{WIKI}" alt="E"></span>',
        "$$E$$",
    ),
    ("texhtml", '<span class="texhtml"><i>x</i><sup>2</sup> ≤ <var>y</var></span>', r"$x^{2} \le y$"),
    (
        "lazy image",
        f'<img class="latex" src="data:image/gif;base64,R0" data-src="{WP}x%5E2"><noscript><img class="latex" '
        f'src="{WP}x%5E2" alt="x^2"></noscript>',
        "$x^2$",
    ),
    ("image for want of scripts", f'<noscript><img src="{WP}%5Cbeta" alt="\\beta"></noscript>', r"$\beta$"),
    (
        "prefixed MathML",
        "<mml:math><mml:msup><mml:mi>x</mml:mi><mml:mn>2</mml:mn></mml:msup></mml:math>",
        "$x^{2}$",
    ),
    (
        "JATS",
        "<inline-formula><tex-math>$x^2$</tex-math><mml:math><mml:mi>x</mml:mi></mml:math></inline-formula>",
        "$x^2$",
    ),
    ("JATS display", "<disp-formula><tex-math>x^2</tex-math></disp-formula>", "$$x^2$$"),
    ("Distill", "<d-math>x^2</d-math>", "$x^2$"),
    ("Distill display", "<d-math block>x^2</d-math>", "$$x^2$$"),
    ("markdown-it-texmath", f"<eq>{EULER}</eq>", r"$e^{i\pi}=-1$"),
    ("Springer", r'<span class="mathjax-tex">\(x^2\)</span>', "$x^2$"),
    ("CKEditor", r'<span class="math-tex">\(x^2\)</span>', "$x^2$"),
    ("Arithmatex", r'<span class="arithmatex">\(x\)</span>', "$x$"),
    ("GitHub display", '<math-renderer class="js-display-math">$$a^2$$</math-renderer>', "$$a^2$$"),
    ("GitLab", '<code class="code math js-render-math" data-math-style="inline">a^2</code>', "$a^2$"),
    (
        "GitLab display",
        '<pre class="code math js-render-math" data-math-style="display"><code><span>a^2</span></code></pre>',
        "$$a^2$$",
    ),
    ("Discourse", '<span class="math">a^2</span>', "$a^2$"),
    ("Discourse display", '<div class="math">a^2\n</div>', "$$a^2$$"),
    ("Sphinx inline", r'<span class="math notranslate nohighlight">\(a^2\)</span>', "$a^2$"),
    ("texinfo", "<em class='math'>N+1</em>", "$N+1$"),
    ("class of TeX", r'<span class="latex">\frac{1}{2}</span>', r"$\frac{1}{2}$"),
    ("LaTeX's name", '<span class="latex">L<sup>A</sup>TeX</span>', "LaTeX"),
    ("MathML script", f'<script type="math/mml">{mathml(X_SQUARED, display=True)}</script>', "$$x^{2}$$"),
    ("AsciiMath script", '<script type="math/asciimath">x^2</script>', "$x^{2}$"),
    ("AsciiMath class", '<span class="asciimath">`x^2`</span>', "$x^{2}$"),
    ("upper case", "x<SUP>2</SUP>", "$x^{2}$"),
    (
        "LaTeXML equation",
        f'<table class="ltx_eqn_table">{LATEXML_ROW.format("a", "b", 1)}</table>',
        r"$$\begin{align} a & =b \tag{1} \end{align}$$",
    ),
    (
        "LaTeXML group",
        f'<table class="ltx_eqn_table">{LATEXML_ROW.format("a", "b", 1)}{LATEXML_ROW.format("c", "d", 2)}</table>',
        r"$$\begin{align} a & =b \tag{1} \\ c & =d \tag{2} \end{align}$$",
    ),
    (
        "MathJax 2 CHTML",
        f'<span class="MathJax_CHTML" data-mathml=\'{mathml(X_SQUARED)}\'><span class="mjx-chtml">x2</span></span>',
        "$x^{2}$",
    ),
    (
        "MathJax 2 SVG display",
        '<div class="MathJax_SVG_Display"><span class="MathJax_SVG"><svg></svg><span class="MJX_Assistive_MathML">'
        f"{mathml(X_SQUARED, display=True)}</span></span></div>",
        "$$x^{2}$$",
    ),
]


@pytest.mark.parametrize(("element", "formula"), [case[1:] for case in ELEMENTS], ids=[case[0] for case in ELEMENTS])
def test_element(element, formula):
    # Real pages have a backslash in some script; without one, only the commonest encodings are looked for.
    text = text_of(f"<p>So {element} is.</p>", r'<script>document.write("<\/a>")</script>').replace("\n\n", "\n")
    assert text == (f"So\n{formula}\nis." if formula.startswith("$$") else f"So {formula} is.")


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
    assert not formula_selector("<html><body><p>Plain words, $5, and a table.</p></body></html>")
    assert formula_selector("<p>x<sup>2</sup></p>")


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


@pytest.mark.parametrize(
    "page",
    [
        "<html><body><p>Plain words, $5, and a table of <b>text</b> in context.</p></body></html>",
        '<a class="mathjax-link" href="https://www.mathjax.org"><img src="https://www.mathjax.org/badge.gif"></a>',
        '<script>$(\'script[type^="math/tex"]\').each(f); x = {"greedy":1,"math":1};</script>',
        '<p class="text-tex-t">Discrete math and <a href="/math/">sets</a> <span class="process-math">so</span></p>',
    ],
)
def test_page_without_formula_elements_is_not_queried(page):
    assert formula_selector(page) == ""


@pytest.mark.parametrize(
    "page",
    [
        "<img " * 200_000,
        '<img alt="$' * 90_000,
        "<script id=" * 90_000,
        "<span class=" * 80_000,
        '<span style="' * 80_000,
        "math" * 250_000,
        '<table class="ltx_eqn_table"><tr><td>' * 700,
        '<span class="math">' * 1_400,
        '<span data-tex="x"><sup>' * 700,
    ],
    ids=["img", "alt", "script", "class", "style", "math", "LaTeXML", "span", "data"],
)
def test_hostile_page_is_searched_in_linear_time(page):
    started = time.process_time()
    selector = formula_selector(f"\\{page}")
    if page.count("<") < 10_000:
        mark_formulas(HTMLTree.parse(page), selector)
    assert time.process_time() - started < 1


# Pairs of equal formulas side by side: two hearts in a row on one page of probability, no other in 3,000 pages.
_TWICE = re.compile(r"(?<!\$)(\$\$?)([^$\n]{3,200})\1 ?\$\$?\2\$\$?(?!\$)")
# The share of each kind that must survive; what is lost stands in navigation and tables of contents.
_FLOORS = {"script": 0.99, "katex": 0.99, "mathml": 0.98, "mathjax": 0.95, "image": 0.9, "element": 0.95}


@pytest.mark.real
def test_real_pages_keep_their_formulas_once(real_data):
    found: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    num_twice = 0
    for path in sorted((real_data / "web").glob("part-*.warc.gz"))[:2]:
        for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
            headers = record.http_headers
            if headers is None or headers.status_code != 200 or "html" not in (headers.get("Content-Type") or ""):
                continue
            html, _ = decode(record.reader.read(), http_content_type=headers.get("Content-Type"))
            if not formula_selector(html):
                continue
            with contextlib.suppress(RecordError):
                page = extract(html, record.headers["WARC-Target-URI"], ExtractConfig())
                found.update({kind: counts[0] for kind, counts in page.formulas_by_kind.items()})
                kept.update({kind: counts[1] for kind, counts in page.formulas_by_kind.items()})
                num_twice += len(_TWICE.findall(page.text))
    assert sum(found.values()) > 5_000
    assert num_twice <= 3
    assert {kind: kept[kind] / found[kind] for kind in _FLOORS if kept[kind] < _FLOORS[kind] * found[kind]} == {}
