"""AsciiMath -> LaTeX, for the pages that MathJax typesets from it.

Reads the grammar of asciimath.org: the longest name wins, brackets that only group an argument go, a function takes
what follows it. Colours (`color`) keep the coloured formula alone; raw MathML and `tex` are left out.
"""

import re

MAX_DEPTH = 60

_NAMES = {
    "oo": "\\infty", "xx": "\\times", "-:": "\\div", "divide": "\\div", "*": "\\cdot", "**": "*", "***": "\\star",
    "//": "/", "\\\\": "\\setminus", "+-": "\\pm", "-+": "\\mp", "pm": "\\pm", "mp": "\\mp", "@": "\\circ",
    "o+": "\\oplus", "ox": "\\otimes", "o.": "\\odot", "|><": "\\ltimes", "><|": "\\rtimes", "|><|": "\\bowtie",
    "nn": "\\cap", "nnn": "\\bigcap", "uu": "\\cup", "uuu": "\\bigcup", "^^": "\\wedge", "^^^": "\\bigwedge",
    "vv": "\\vee", "vvv": "\\bigvee", "!=": "\\ne", "<=": "\\le", ">=": "\\ge", "lt": "<", "gt": ">", "lt=": "\\le",
    "gt=": "\\ge", "mlt": "\\ll", "mgt": "\\gg", "-<": "\\prec", ">-": "\\succ", "-<=": "\\preceq", ">-=": "\\succeq",
    "-=": "\\equiv", "~=": "\\cong", "~~": "\\approx", "~": "\\sim", "prop": "\\propto", "!in": "\\notin",
    "sub": "\\subset", "sup": "\\supset", "sube": "\\subseteq", "supe": "\\supseteq", "and": "\\text{ and }",
    "or": "\\text{ or }", "if": "\\text{ if }", "not": "\\neg", "=>": "\\Rightarrow", "implies": "\\Rightarrow",
    "iff": "\\Leftrightarrow", "<=>": "\\Leftrightarrow", "AA": "\\forall", "EE": "\\exists", "_|_": "\\perp",
    "bot": "\\perp", "TT": "\\top", "|--": "\\vdash", "|==": "\\models", "uarr": "\\uparrow", "darr": "\\downarrow",
    "larr": "\\leftarrow", "rarr": "\\rightarrow", "->": "\\to", "harr": "\\leftrightarrow", ">->": "\\rightarrowtail",
    "->>": "\\twoheadrightarrow", "|->": "\\mapsto", "lArr": "\\Leftarrow", "rArr": "\\Rightarrow",
    "hArr": "\\Leftrightarrow", "del": "\\partial", "grad": "\\nabla", "O/": "\\emptyset", "...": "\\ldots",
    ":.": "\\therefore", ":'": "\\because", "/_": "\\angle", "/_\\": "\\triangle", "\\ ": "\\ ", "'": "'",
    "CC": "\\mathbb{C}", "NN": "\\mathbb{N}", "QQ": "\\mathbb{Q}", "RR": "\\mathbb{R}", "ZZ": "\\mathbb{Z}",
    "mod": "\\bmod", "frown": "\\frown", "aleph": "\\aleph", "diamond": "\\diamond", "square": "\\square", "%": "\\%",
    "&": "\\&", "#": "\\#", "$": "\\$", "dx": "dx", "dy": "dy", "dz": "dz", "dt": "dt", ":=": ":=", "ast": "*",
    "|__": "\\lfloor", "__|": "\\rfloor", "|~": "\\lceil", "~|": "\\rceil", "lcm": "\\operatorname{lcm}",
    "lub": "\\operatorname{lub}", "glb": "\\operatorname{glb}", "\\": "\\setminus", "_": "", "^": "",
    "diam": "\\operatorname{diam}", "vdots": "\\vdots",
}  # fmt: skip
_SAME_NAMES = """
    sum prod int oint lim quad qquad cdots ddots ldots times circ oplus otimes odot cap cup bigcap bigcup wedge vee
    bigwedge bigvee ne le ge ll gg prec succ preceq succeq equiv cong approx sim propto in notin subset supset
    subseteq supseteq neg forall exists perp top vdash models uparrow downarrow leftarrow rightarrow to mapsto
    leftrightarrow Leftarrow Rightarrow Leftrightarrow partial nabla emptyset therefore because angle triangle
    setminus star div ltimes rtimes bowtie lfloor rfloor lceil rceil alpha beta gamma delta epsilon varepsilon zeta
    eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta
    Lambda Xi Pi Sigma Phi Psi Omega rightarrowtail twoheadrightarrow
"""
_NAMES |= {name: f"\\{name}" for name in _SAME_NAMES.split()}
_FUNCTION_NAMES = """
    sin cos tan sec csc cot sinh cosh tanh coth arcsin arccos arctan exp log ln det dim gcd deg ker arg min max
"""
_OWN_FUNCTION_NAMES = ("sech", "csch", "Sin", "Cos", "Tan", "Log", "Ln")
_FUNCTIONS = {name: f"\\{name}" for name in _FUNCTION_NAMES.split()}
_FUNCTIONS |= {name: f"\\operatorname{{{name}}}" for name in _OWN_FUNCTION_NAMES}
# A letter that is a function only where a bracket follows.
_LETTER_FUNCTIONS = frozenset("fg")
_UNARY = {
    "sqrt": "\\sqrt", "hat": "\\hat", "bar": "\\bar", "vec": "\\vec", "dot": "\\dot", "ddot": "\\ddot",
    "ul": "\\underline", "overline": "\\overline", "underline": "\\underline", "tilde": "\\tilde", "cancel": "\\cancel",
    "obrace": "\\overbrace", "overbrace": "\\overbrace", "ubrace": "\\underbrace", "underbrace": "\\underbrace",
    "overarc": "\\overset{\\frown}", "bb": "\\mathbf", "mathbf": "\\mathbf", "bbb": "\\mathbb", "mathbb": "\\mathbb",
    "cc": "\\mathcal", "mathcal": "\\mathcal", "tt": "\\mathtt", "mathtt": "\\mathtt", "fr": "\\mathfrak",
    "mathfrak": "\\mathfrak", "sf": "\\mathsf", "mathsf": "\\mathsf",
}  # fmt: skip
_WIDE = {"hat": "\\widehat", "vec": "\\overrightarrow", "tilde": "\\widetilde", "bar": "\\overline"}
_AROUND = {
    "abs": ("|", "|"), "Abs": ("|", "|"), "norm": ("\\|", "\\|"), "floor": ("\\lfloor ", "\\rfloor"),
    "ceil": ("\\lceil ", "\\rceil"),
}  # fmt: skip
_BINARY = {"frac": "\\frac", "root": "\\sqrt", "stackrel": "\\overset", "overset": "\\overset",
           "underset": "\\underset", "color": "", "class": "", "id": ""}  # fmt: skip
_OPEN = {"(": "(", "[": "[", "{": "\\{", "(:": "\\langle", "<<": "\\langle", "langle": "\\langle", "{:": ""}
_CLOSE = {")": ")", "]": "]", "}": "\\}", ":)": "\\rangle", ">>": "\\rangle", "rangle": "\\rangle", ":}": ""}
_BARS = {"|": "|", "||": "\\|"}
_WORDS = sorted(
    {*_NAMES, *_FUNCTIONS, *_UNARY, *_AROUND, *_BINARY, *_OPEN, *_CLOSE, *_BARS, "/"}, key=len, reverse=True
)
_TOKEN = re.compile(
    r'"[^"]*"|(?:text|mbox)\s?\([^)]*\)|(?:text|mbox)\s?\{[^}]*\}|\d+(?:,\d{3}(?!\d))*(?:\.\d+)?|'
    + "|".join(map(re.escape, _WORDS))
    + r"|\S"
)
_ENVIRONMENTS = {("(", ")"): "pmatrix", ("[", "]"): "bmatrix", ("|", "|"): "vmatrix", ("{", ":}"): "cases",
                 ("{:", ":}"): "matrix", ("||", "||"): "Vmatrix"}  # fmt: skip

_Piece = tuple[str, str]
"""LaTeX of an expression, and the same without the brackets that only grouped it."""


def asciimath_to_latex(source: str) -> str:
    """The formula as LaTeX without delimiters."""
    tokens = _TOKEN.findall(source)
    latex = _Reader(tokens).expression(len(tokens))
    return re.sub(r"\s+", " ", latex).strip()


def _bracket_ends(tokens: list[str]) -> dict[int, int]:
    """For every bracket or bar that is closed, where; a bar left open when its surroundings close stands alone."""
    ends: dict[int, int] = {}
    stack: list[int] = []
    for index, token in enumerate(tokens):
        if token in _BARS:
            if stack and tokens[stack[-1]] == token:
                ends[stack.pop()] = index
            else:
                stack.append(index)
        elif token in _OPEN:
            stack.append(index)
        elif token in _CLOSE:
            while stack and tokens[stack[-1]] in _BARS:
                stack.pop()
            if stack:
                ends[stack.pop()] = index
    return ends


class _Reader:
    """Reads tokens from left to right; each method takes what it reads."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.ends = _bracket_ends(tokens)
        self.position = 0
        self.depth = 0

    def peek(self, end: int) -> str:
        return self.tokens[self.position] if self.position < end else ""

    def expression(self, end: int) -> str:
        """Everything before `end`, fractions made of what stands on both sides of a stroke."""
        parts = []
        while self.position < end:
            latex, bare = self.scripted(end)
            if self.peek(end) == "/":
                self.position += 1
                latex = f"\\frac{{{bare}}}{{{self.scripted(end)[1]}}}"
            parts.append(latex)
        return " ".join(parts)

    def scripted(self, end: int) -> _Piece:
        """One thing with its scripts; a function with its argument too."""
        token = self.peek(end)
        self.depth += 1
        latex, bare = self.simple(end)
        is_function = token in _FUNCTIONS or (token in _LETTER_FUNCTIONS and self.peek(end) in ("(", "^", "_", "["))
        for mark in "_^":
            if self.peek(end) == mark and self.position + 1 < end:
                self.position += 1
                latex += f"{mark}{{{self.script(end)}}}"
                bare = latex
        takes_argument = token in _FUNCTIONS or self.peek(end) in ("(", "[")
        if (
            is_function
            and takes_argument
            and self.depth < MAX_DEPTH
            and self.peek(end) not in ("", "/", "|", ",", "^", "_")
        ):
            latex = bare = f"{latex} {self.scripted(end)[0]}"
        self.depth -= 1
        return latex, bare

    def script(self, end: int) -> str:
        """A script's content, a sign in front of it included."""
        sign = self.peek(end)
        if sign in ("-", "+", "+-") and self.position + 1 < end:
            self.position += 1
            return f"{_NAMES.get(sign, sign)}{self.simple(end)[1]}"
        return self.simple(end)[1]

    def simple(self, end: int) -> _Piece:
        """One symbol, one bracket with what it holds, or a command with its arguments."""
        if self.position >= end:
            return "", ""
        token = self.tokens[self.position]
        close = self.ends.get(self.position, end)
        self.position += 1
        if self.depth > MAX_DEPTH:
            return _symbol(token), _symbol(token)
        self.depth += 1
        piece = self.group(token, close) if close < end else self.command(token, end)
        self.depth -= 1
        return piece

    def group(self, token: str, close: int) -> _Piece:
        """What stands between a bracket and the one at `close`, as a matrix where its rows are brackets themselves."""
        right = self.tokens[close]
        latex = self.matrix(token, close)
        if not latex:
            inner = self.expression(close)
            sides = (_OPEN | _BARS)[token], (_CLOSE | _BARS)[right]
            latex, bare = (
                f"{sides[0]} {inner} {sides[1]}" if "\\langle" in sides else f"{sides[0]}{inner}{sides[1]}",
                inner,
            )
        else:
            bare = latex
        self.position = close + 1
        return latex, latex if token in _BARS else bare

    def matrix(self, token: str, close: int) -> str:
        """`[[a,b],[c,d]]` as an environment, empty where the bracket holds no rows of one length."""
        environment = _ENVIRONMENTS.get((token, self.tokens[close]))
        rows: list[list[tuple[int, int]]] = []
        index = self.position
        while environment and index < close and self.tokens[index] in ("(", "[") and index in self.ends:
            rows.append(self.cells(index))
            index = self.ends[index] + 1
            if index < close and self.tokens[index] != ",":
                return ""
            index += 1
        if not environment or index != close + 1 or len(rows) < 2 or len(set(map(len, rows))) != 1:
            return ""
        body = " \\\\ ".join(" & ".join(self.cell(*cell) for cell in row) for row in rows)
        return f"\\begin{{{environment}}}{body}\\end{{{environment}}}"

    def cells(self, index: int) -> list[tuple[int, int]]:
        """Where the parts between a row's own commas start and end."""
        end = self.ends[index]
        cells, start, index = [], index + 1, index + 1
        while index < end:
            if self.tokens[index] == ",":
                cells.append((start, index))
                start = index + 1
            index = self.ends.get(index, index) + 1
        return [*cells, (start, end)]

    def cell(self, start: int, end: int) -> str:
        self.position = start
        return self.expression(end)

    def command(self, token: str, end: int) -> _Piece:
        if token in _UNARY or token in _AROUND:
            argument = self.simple(end)[1]
            if token in _AROUND:
                latex = argument.join(_AROUND[token])
            else:
                is_wide = token in _WIDE and re.fullmatch(r"\\?[A-Za-z]+|\d", argument) is None
                latex = f"{_WIDE[token] if is_wide else _UNARY[token]}{{{argument}}}"
            return latex, latex
        if token in _BINARY:
            first, second = self.simple(end)[1], self.simple(end)[1]
            latex = f"\\sqrt[{first}]{{{second}}}" if token == "root" else f"{_BINARY[token]}{{{first}}}{{{second}}}"
            return (latex, latex) if _BINARY[token] else (second, second)
        latex = _symbol(token)
        return latex, latex


def _symbol(token: str) -> str:
    if len(token) > 1 and token[0] == token[-1] == '"':
        return f"\\text{{{token[1:-1]}}}"
    if token.startswith(("text", "mbox")) and len(token) > 5:
        return f"\\text{{{token[5:-1].lstrip('({')}}}"
    for table in (_NAMES, _FUNCTIONS, _OPEN, _CLOSE, _BARS):
        if token in table:
            return table[token]
    return token
