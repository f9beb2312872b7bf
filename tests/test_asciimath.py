"""AsciiMath becomes the LaTeX that sets the same formula."""

import pytest
from formula_match import same_formula

from mining.html.asciimath import asciimath_to_latex

CASES = [
    # scripts, fractions, roots
    ("sum_(i=1)^n i^3=((n(n+1))/2)^2", r"\sum_{i=1}^n i^3=(\frac{n(n+1)}{2})^2"),
    ("int_-1^1 f(x) dx", r"\int_{-1}^1 f(x) dx"),
    ("f^-1(x)", r"f^{-1}(x)"),
    ("x_1^2", r"x_1^2"),
    ("e^(i pi) = -1", r"e^{i\pi}=-1"),
    ("sqrt x + sqrt(x+1)", r"\sqrt{x}+\sqrt{x+1}"),
    ("frac(a)(b)", r"\frac{a}{b}"),
    ("frac{a+b}{c}", r"\frac{a+b}{c}"),
    ("root(3)(x)", r"\sqrt[3]{x}"),
    ("(a+b)/(c+d)", r"\frac{a+b}{c+d}"),
    ("dx/dy", r"\frac{dx}{dy}"),
    # a function takes what follows it
    ("sin x/2", r"\frac{\sin x}{2}"),
    ("sin(x)/x", r"\frac{\sin(x)}{x}"),
    ("f(x)/g(x)", r"\frac{f(x)}{g(x)}"),
    ("sin^2 theta", r"\sin^2 \theta"),
    ("log_2(x)", r"\log_2(x)"),
    ("f + g/2", r"f+\frac{g}{2}"),
    # matrices and cases
    ("[[a,b],[c,d]]", r"\begin{bmatrix}a&b\\c&d\end{bmatrix}"),
    ("((a,b),(c,d))", r"\begin{pmatrix}a&b\\c&d\end{pmatrix}"),
    ("((1),(42))", r"\begin{pmatrix}1\\42\end{pmatrix}"),
    ("|(a,b),(c,d)|", r"\begin{vmatrix}a&b\\c&d\end{vmatrix}"),
    ("{:(a,b),(c,d):}", r"\begin{matrix}a&b\\c&d\end{matrix}"),
    ("{(x,if x>=0),(-x,if x<0):}", r"\begin{cases}x&\text{if }x\ge0\\-x&\text{if }x<0\end{cases}"),
    ("{(1,2),(3,4)}", r"\{(1,2),(3,4)\}"),
    ("[[f(a,b),1],[2,3]]", r"\begin{bmatrix}f(a,b)&1\\2&3\end{bmatrix}"),
    # words and accents
    ('text(for all) x "if" y', r"\text{for all}x\text{if}y"),
    ("vec x + hat x + bar x + dot x + ddot x + tilde x", r"\vec{x}+\hat{x}+\bar{x}+\dot{x}+\ddot{x}+\tilde{x}"),
    ("vec(AB) + hat(ab) + ul(ab)", r"\overrightarrow{AB}+\widehat{ab}+\underline{ab}"),
    ("hat theta_1", r"\hat{\theta}_1"),
    ("overset(x)(=) underset(y)(=) stackrel(z)(=)", r"\overset{x}{=}\underset{y}{=}\overset{z}{=}"),
    ("ubrace(1+2) obrace(3)", r"\underbrace{1+2}\overbrace{3}"),
    ("bb x bbb R cc A fr g tt x sf x", r"\mathbf{x}\mathbb{R}\mathcal{A}\mathfrak{g}\mathtt{x}\mathsf{x}"),
    # relations, operators, logic
    ("x in A, y notin B, z !in C", r"x\in A,y\notin B,z\notin C"),
    ("A sube B sub C supe D sup E", r"A\subseteq B\subset C\supseteq D\supset E"),
    ("A subset B subseteq C", r"A\subset B\subseteq C"),
    ("a != b <= c >= d", r"a\ne b\le c\ge d"),
    ("a lt b gt c le d ge e", r"a<b>c\le d\ge e"),
    ("a -= b ~= c ~~ d prop e", r"a\equiv b\cong c\approx d\propto e"),
    ("x -> y to z |-> w", r"x\to y\to z\mapsto w"),
    ("p => q <=> r iff s implies t", r"p\Rightarrow q\Leftrightarrow r\Leftrightarrow s\Rightarrow t"),
    ("larr rarr harr lArr rArr hArr", r"\leftarrow\rightarrow\leftrightarrow\Leftarrow\Rightarrow\Leftrightarrow"),
    ("+-5 pm 2", r"\pm5\pm2"),
    ("a xx b -: c * d", r"a\times b\div c\cdot d"),
    ("f @ g o+ h ox k o. l", r"f\circ g\oplus h\otimes k\odot l"),
    ("p vv q ^^ r", r"p\vee q\wedge r"),
    ("p and q or not r", r"p\text{and}q\text{or}\neg r"),
    ("A nn B uu C cap D cup E", r"A\cap B\cup C\cap D\cup E"),
    ("nnn A uuu B vvv C ^^^ D", r"\bigcap A\bigcup B\bigvee C\bigwedge D"),
    ("AA x EE y forall z exists w", r"\forall x\exists y\forall z\exists w"),
    ("RR NN ZZ QQ CC", r"\mathbb{R}\mathbb{N}\mathbb{Z}\mathbb{Q}\mathbb{C}"),
    ("oo O/ del grad", r"\infty\emptyset\partial\nabla"),
    (":. x :' y /_ ABC", r"\therefore x\because y\angle ABC"),
    ("45^@ = 90^circ", r"45^\circ=90^\circ"),
    ("_|_ TT |-- |==", r"\perp\top\vdash\models"),
    # brackets
    ("abs(x) norm(vec x) floor(x) ceil(x)", r"|x|\|\vec{x}\|\lfloor x\rfloor\lceil x\rceil"),
    ("|x| + ||y||", r"|x|+\|y\|"),
    ("(:x,y:) <<u,v>>", r"\langle x,y\rangle\langle u,v\rangle"),
    ("{x in RR | x > 0}", r"\{x\in\mathbb{R}|x>0\}"),
    ("[0,1) + (0,1]", r"[0,1)+(0,1]"),
    ("x = (-b +- sqrt(b^2 - 4ac))/(2a)", r"x=\frac{-b\pm\sqrt{b^2-4ac}}{2a}"),
    ("lim_(N->oo) sum_(i=0)^N x...y", r"\lim_{N\to\infty}\sum_{i=0}^N x\dots y"),
    ("color(red)(x)", "x"),
    ("100% $5 x#y", r"100\%\$5x\#y"),
    # damaged sources
    (")x(", ")x("),
    ("x^", "x"),
    ("", ""),
]


@pytest.mark.parametrize(("source", "latex"), CASES)
def test_asciimath_is_set_alike_in_latex(source, latex):
    assert same_formula(asciimath_to_latex(source), latex), asciimath_to_latex(source)


@pytest.mark.parametrize("piece", ["(", "((", "[[a,", "sqrt ", "x^", "a/", "|", "{:", "vec ", "frac ", "sin "])
def test_nesting_bombs_are_read_in_linear_time(piece):
    assert len(asciimath_to_latex(piece * 5_000)) < 400_000
