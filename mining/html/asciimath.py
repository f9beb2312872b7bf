"""AsciiMath -> LaTeX, for the pages that MathJax typesets from it.

Covers the names, scripts, fractions, brackets and matrices of asciimath.org's reference; colours and raw LaTeX
(`color`, `tex`) are left out.
"""

import re

MAX_DEPTH = 60

_NAMES = {
    "sum": "\\sum", "prod": "\\prod", "int": "\\int", "oint": "\\oint", "lim": "\\lim", "oo": "\\infty",
    "xx": "\\times",
    "-:": "\\div", "*": "\\cdot", "**": "*", "***": "\\star", "//": "/", "+-": "\\pm", "-+": "\\mp", "@": "\\circ",
    "o+": "\\oplus", "ox": "\\otimes", "o.": "\\odot", "nn": "\\cap", "uu": "\\cup", "^^": "\\wedge", "vv": "\\vee",
    "!=": "\\ne", "<=": "\\le", ">=": "\\ge", "lt": "<", "gt": ">", "le": "\\le", "ge": "\\ge", "-=": "\\equiv",
    "~=": "\\cong", "~~": "\\approx", "~": "\\sim", "prop": "\\propto", "in": "\\in", "!in": "\\notin",
    "sub": "\\subset",
    "sup": "\\supset", "sube": "\\subseteq", "supe": "\\supseteq", "and": "\\text{and}", "or": "\\text{or}",
    "not": "\\neg", "=>": "\\Rightarrow", "iff": "\\iff", "<=>": "\\iff", "AA": "\\forall", "EE": "\\exists",
    "_|_": "\\perp", "TT": "\\top", "|--": "\\vdash", "|==": "\\models", "->": "\\to", "to": "\\to", "|->": "\\mapsto",
    "larr": "\\leftarrow", "rarr": "\\rightarrow", "harr": "\\leftrightarrow", "lArr": "\\Leftarrow",
    "rArr": "\\Rightarrow", "hArr": "\\Leftrightarrow", "del": "\\partial", "grad": "\\nabla", "O/": "\\emptyset",
    "...": "\\ldots", "cdots": "\\cdots", "vdots": "\\vdots", "ddots": "\\ddots", ":.": "\\therefore",
    "/_": "\\angle", "CC": "\\mathbb{C}", "NN": "\\mathbb{N}", "QQ": "\\mathbb{Q}", "RR": "\\mathbb{R}",
    "ZZ": "\\mathbb{Z}", "quad": "\\quad", "qquad": "\\qquad", "mod": "\\bmod", "setminus": "\\setminus",
    "if": "\\text{if}",
    "&": "\\&", "%": "\\%", "#": "\\#", "$": "\\$", "dx": "dx", "dy": "dy", "dz": "dz", "dt": "dt", ":=": ":=",
}  # fmt: skip
_UPRIGHT = (
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan exp log ln det dim gcd max min sup ker deg arg "
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_NAMES |= {name: f"\\{name}" for name in re.findall(r"\w+", _UPRIGHT) if name not in _NAMES}
_UNARY = {
    "sqrt": "\\sqrt", "hat": "\\hat", "bar": "\\overline", "vec": "\\vec", "dot": "\\dot", "ddot": "\\ddot",
    "ul": "\\underline", "overline": "\\overline", "underline": "\\underline", "tilde": "\\tilde", "cancel": "\\cancel",
    "bb": "\\mathbf", "bbb": "\\mathbb", "cc": "\\mathcal", "tt": "\\mathtt", "fr": "\\mathfrak", "sf": "\\mathsf",
    "text": "\\text", "mbox": "\\text",
}  # fmt: skip
_AROUND = {
    "abs": ("|", "|"),
    "norm": ("\\|", "\\|"),
    "floor": ("\\lfloor ", "\\rfloor"),
    "ceil": ("\\lceil ", "\\rceil"),
}
_BINARY = {
    "frac": "\\frac",
    "root": "\\sqrt",
    "stackrel": "\\overset",
    "overset": "\\overset",
    "underset": "\\underset",
}
_OPEN = {"(": "(", "[": "[", "{": "\\{", "(:": "\\langle ", "{:": ""}
_CLOSE = {")": ")", "]": "]", "}": "\\}", ":)": "\\rangle", ":}": ""}
_WORDS = sorted((*_NAMES, *_UNARY, *_AROUND, *_BINARY, *_OPEN, *_CLOSE, "^", "_", "/"), key=len, reverse=True)
_TOKEN = re.compile(r'"[^"]*"|(?:text|mbox)\([^)]*\)|\d+(?:\.\d+)?|' + "|".join(map(re.escape, _WORDS)) + r"|\S")


def asciimath_to_latex(source: str) -> str:
    """The formula as LaTeX without delimiters."""
    tokens = _TOKEN.findall(source)
    parts: list[str] = []
    position = 0
    while position < len(tokens):
        latex, position = _expression(tokens, position, 0)
        # A bracket that closes nothing stands for itself.
        parts += (latex, *(_CLOSE[token] for token in tokens[position : position + 1]))
        position += 1
    return re.sub(r"\s+", " ", " ".join(parts)).strip()


def _expression(tokens: list[str], position: int, depth: int) -> tuple[str, int]:
    """LaTeX of everything up to an unmatched closing bracket, and where that stands."""
    parts: list[str] = []
    while position < len(tokens) and tokens[position] not in _CLOSE:
        top, position = _scripted(tokens, position, depth)
        if position < len(tokens) and tokens[position] == "/":
            bottom, position = _scripted(tokens, position + 1, depth)
            top = f"\\frac{{{_unwrap(top)}}}{{{_unwrap(bottom)}}}"
        parts.append(top)
    return " ".join(parts), position


def _scripted(tokens: list[str], position: int, depth: int) -> tuple[str, int]:
    latex, position = _simple(tokens, position, depth)
    for mark in "_^":
        if position < len(tokens) and tokens[position] == mark:
            script, position = _simple(tokens, position + 1, depth)
            latex += f"{mark}{{{_unwrap(script)}}}"
    return latex, position


def _simple(tokens: list[str], position: int, depth: int) -> tuple[str, int]:
    if position >= len(tokens) or depth > MAX_DEPTH:
        return "", position + 1
    token = tokens[position]
    position += 1
    if token in _OPEN:
        inner, position = _expression(tokens, position, depth + 1)
        close = _CLOSE.get(tokens[position], "") if position < len(tokens) else ""
        matrix = _matrix(tokens[position] if position < len(tokens) else "", token, inner)
        return matrix or f"{_OPEN[token]}{inner}{close}", position + 1
    if token in _UNARY or token in _AROUND:
        argument, position = _simple(tokens, position, depth + 1)
        if token in _AROUND:
            return f"{_AROUND[token][0]}{_unwrap(argument)}{_AROUND[token][1]}", position
        return f"{_UNARY[token]}{{{_unwrap(argument)}}}", position
    if token in _BINARY:
        first, position = _simple(tokens, position, depth + 1)
        second, position = _simple(tokens, position, depth + 1)
        first = f"[{_unwrap(first)}]" if token == "root" else f"{{{_unwrap(first)}}}"
        return f"{_BINARY[token]}{first}{{{_unwrap(second)}}}", position
    if token.startswith('"') and len(token) > 1:
        return f"\\text{{{token[1:-1]}}}", position
    if token.startswith(("text(", "mbox(")):
        return f"\\text{{{token[5:-1]}}}", position
    return _NAMES.get(token, token), position


def _unwrap(latex: str) -> str:
    """An argument without the one pair of brackets that only grouped it."""
    for left, right in (("(", ")"), ("[", "]"), ("\\{", "\\}")):
        if latex.startswith(left) and latex.endswith(right) and len(latex) > len(left):
            inner = latex[len(left) : len(latex) - len(right)]
            depth = 0
            for char in inner:
                depth += (char in "([") - (char in ")]")
                if depth < 0:
                    return latex
            return inner
    return latex


_ROWS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")


def _matrix(close: str, open_: str, inner: str) -> str:
    """`[[a,b],[c,d]]` as a matrix environment, empty for any other bracket."""
    rows = _ROWS.findall(inner)
    if len(rows) < 2 or _ROWS.sub("", inner).strip(" ,") or len({row.count(",") for row in rows}) != 1:
        return ""
    environment = {"[": "bmatrix", "(": "pmatrix", "{:": "matrix"}.get(open_) if close else None
    if environment is None or "," not in rows[0]:
        return ""
    body = " \\\\ ".join(" & ".join(cell.strip() for cell in row.split(",")) for row in rows)
    return f"\\begin{{{environment}}}{body}\\end{{{environment}}}"
