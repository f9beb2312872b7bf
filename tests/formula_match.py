"""Whether two LaTeX formulas typeset the same, and which formulas a text holds: what tests and benchmarks count by.

`normalise` reads the formula into atoms (one character, command or script each), so that spelling falls away: spaces
and spacing commands, braces that group nothing, `\\left` and `\\big`, sizes (`\\dfrac`), synonyms (`\\le`, `\\leq`),
the order of `_` and `^`, `pmatrix` against `( matrix )`, `\\mathrm` against `\\text` and `\\operatorname`. Not
forgiven: another symbol, another font, another grouping, a lost script.
"""

import re
import unicodedata

from mining.html.symbols import FUNCTIONS, SYMBOLS

_TOKEN = re.compile(r"\\(?:[A-Za-z]+\*?|.)|\s+|.", re.DOTALL)
_SAME = {
    "leq": "le", "geq": "ge", "neq": "ne", "rightarrow": "to", "gets": "leftarrow", "land": "wedge", "lor": "vee",
    "lnot": "neg", "varnothing": "emptyset", "Longrightarrow": "implies", "Longleftrightarrow": "iff", "ast": "*",
    "Longleftarrow": "impliedby", "longrightarrow": "to", "longleftarrow": "leftarrow", "lt": "<", "gt": ">",
    "ldots": "dots", "cdots": "dots", "dotsc": "dots", "dotsb": "dots", "dotsm": "dots", "dotsi": "dots",
    "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "Vert": "parallel", "lVert": "parallel",
    "rVert": "parallel", "|": "parallel", "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "colon": ":",
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "stackrel": "overset",
    "bm": "boldsymbol", "pmb": "boldsymbol", "mathscr": "mathcal", "cr": "\\", "newline": "\\", "tabularnewline": "\\",
    "backslash": "setminus", "smallsetminus": "setminus", "owns": "ni", "triangleleft": "lhd", "triangleright": "rhd",
    "Box": "square", "bigstar": "star", "doteqdot": "Doteq", "thicksim": "sim", "thickapprox": "approx",
    "mathbold": "mathbf", "bold": "mathbf", "symbf": "mathbf", "Bbb": "mathbb", "frak": "mathfrak", "lim": "lim",
    "hslash": "hbar", "vartriangle": "triangle", "dag": "dagger", "ddag": "ddagger", "rm": "mathrm", "bf": "mathbf",
    "it": "mathit", "cal": "mathcal", "sf": "mathsf", "tt": "mathtt", "bmod": "mod", "And": "&", "lparen": "(",
    "rparen": ")", "cdotp": "cdot", "centerdot": "cdot", "long": "", "restriction": "upharpoonright",
    "degree": "circ", "bigtriangleup": "triangle", "framebox": "boxed", "lozenge": "Diamond", "fbox": "boxed",
}  # fmt: skip
_DROPPED = frozenset((
    "left", "right", "middle", "displaystyle", "textstyle", "scriptstyle", "scriptscriptstyle", "limits", "nolimits",
    "nonumber", "notag", "hline", "hfill", "quad", "qquad", ",", ";", ":", "!", ">", " ", "thinspace", "enspace",
    "medspace", "negthinspace", "thickspace", "strut", "mathstrut", "relax", "allowbreak", "nobreak", "protect",
    "null", "space", "smash",
    "mathop", "mathrel", "mathbin", "mathord", "mathopen", "mathclose", "mathpunct", "mathinner", "hbox", "/", "-",
    "nobreakspace", "normalsize", "small", "large", "Large", "boldmath", "unboldmath", "noindent", "displaylimits",
    *(f"{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")),
))  # fmt: skip
_DROPPED_WITH_ARGUMENT = frozenset(("hspace", "vspace", "phantom", "hphantom", "vphantom", "label", "tag", "color",
                                    "mspace", "hskip", "kern", "mkern", "class", "cssId"))  # fmt: skip
_FONTS = {
    "mathrm": "rm", "text": "rm", "textrm": "rm", "mbox": "rm", "operatorname": "rm", "textnormal": "rm",
    "operatornamewithlimits": "rm", "mathbf": "bf", "textbf": "bf", "mathbb": "bb", "mathds": "bb",
    "mathcal": "cal", "mathup": "rm",
    "mathfrak": "frak", "mathsf": "sf", "textsf": "sf", "mathtt": "tt", "texttt": "tt", "boldsymbol": "bs",
    "mathit": "", "textit": "", "mathnormal": "", "emph": "",
}  # fmt: skip
_TEXT = frozenset(("text", "textrm", "mbox", "textnormal", "textbf", "textsf", "texttt", "textit", "emph"))
_SWITCHES = frozenset(("rm", "bf", "it", "cal", "sf", "tt"))
_ONE = frozenset((
    "hat", "widehat", "bar", "overline", "tilde", "widetilde", "vec", "overrightarrow", "overleftarrow", "dot", "ddot",
    "dddot", "check", "breve", "acute", "grave", "mathring", "underline", "overbrace", "underbrace", "boxed", "cancel",
    "bcancel", "xcancel", "not", "underleftarrow", "underrightarrow", "overleftrightarrow", "widecheck",
))  # fmt: skip
_TWO = frozenset(("overset", "underset"))
_BRACKETED = {"pmatrix": ("(", ")"), "bmatrix": ("[", "]"), "vmatrix": ("|", "|"), "Bmatrix": ("\\{", "\\}"),
              "Vmatrix": ("\\parallel", "\\parallel"), "cases": ("\\{", ""), "dcases": ("\\{", ""),
              "rcases": ("", "\\}"), "smallmatrix": ("", ""), "array": ("", ""), "matrix": ("", ""),
              "subarray": ("", "")}  # fmt: skip
_OPEN = frozenset(("(", "[", "\\{", "|", "\\parallel", "\\langle", "\\lfloor", "\\lceil"))
_CLOSE = frozenset((")", "]", "\\}", "|", "\\parallel", "\\rangle", "\\rfloor", "\\rceil"))
_MAX_DEPTH = 150


def same_formula(first: str, second: str) -> bool:
    """Whether two formulas are set alike."""
    return normalise(first) == normalise(second)


def normalise(latex: str) -> str:
    """The formula's atoms, one spelling for each, separated by spaces."""
    tokens = [token for token in _TOKEN.findall(latex) if not token.startswith("%")]
    return " ".join(_Reader(tokens).group(""))


class _Reader:
    """Reads tokens into lists of atoms; unbalanced input is read as far as it goes."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    def peek(self) -> str:
        while self.position < len(self.tokens) and (
            self.tokens[self.position].isspace() or self.tokens[self.position] == "~"
        ):
            self.position += 1
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def group(self, font: str, closes: tuple[str, ...] = ("}",)) -> list[str]:
        """Atoms up to a closing token, which is taken."""
        atoms: list[str] = []
        self.depth += 1
        while (token := self.peek()) and token not in closes and self.depth < _MAX_DEPTH:
            name = token[1:]
            if name in _SWITCHES and token[0] == "\\":
                self.take()
                font = _FONTS[_SAME[name]]
            elif token in ("\\over", "\\choose", "\\atop"):
                self.take()
                lower = self.group(font, closes)
                self.depth -= 1
                return _fraction(name, _braced(atoms), _braced(lower))
            else:
                self.scripted(atoms, font)
        self.take()
        self.depth -= 1
        return atoms

    def scripted(self, atoms: list[str], font: str) -> None:
        """Adds one base with its scripts, the lower first."""
        is_script = self.peek() in ("_", "^", "'")
        # Braces make one base of many atoms only where a script hangs on them.
        base = [] if is_script else self.atom(font)
        scripts: dict[str, list[str]] = {"_": [], "^": []}
        while (mark := self.peek()) in ("_", "^", "'") or mark in ("\\limits", "\\nolimits"):
            self.take()
            if mark == "'":
                scripts["^"].append("\\prime")
            elif mark in scripts:
                scripts[mark] += self.atom(font)
        if not (scripts["_"] or scripts["^"]):
            atoms += base
            return
        # A script on a bracketed group hangs on the closing bracket.
        if len(base) > 2 and base[0] in _OPEN and base[-1] in _CLOSE:
            atoms += base[:-1]
            base = base[-1:]
        head = " ".join(base) if len(base) == 1 else _braced(base)
        tail = "".join(f"{mark}{_braced(scripts[mark])}" for mark in "_^" if scripts[mark])
        atoms.append(head + tail)

    def argument(self, font: str = "") -> str:
        return _braced(self.atom(font))

    def optional(self) -> list[str]:
        if self.peek() != "[":
            return []
        self.take()
        return self.group("", ("]",))

    def raw(self) -> str:
        """The text of a braced argument as it stands."""
        if self.peek() != "{":
            return self.take()
        self.take()
        start, depth = self.position, 1
        while self.position < len(self.tokens) and depth:
            depth += {"{": 1, "}": -1}.get(self.tokens[self.position], 0)
            self.position += 1
        return "".join(self.tokens[start : self.position - 1])

    def atom(self, font: str) -> list[str]:
        """The atoms of the next token, with its arguments; none for what sets nothing."""
        token = self.take()
        if token == "{":
            return self.group(font)
        if len(token) < 2 or token[0] != "\\":
            return _characters(token, font)
        name = token[1:].rstrip("*") or token[1:]
        if name == "begin":
            return self.environment(font)
        if name in _DROPPED:
            if name in ("left", "right") and self.peek() == ".":
                self.take()
            return []
        if name in _DROPPED_WITH_ARGUMENT:
            self.raw()
            return []
        name = _SAME.get(name, name)
        if name == "\\":
            self.optional()
            return ["\\\\"]
        return self.command(name, font)

    def command(self, name: str, font: str) -> list[str]:
        if name in _TEXT:
            return [atom for part in _text_parts(self.raw()) for atom in part(_FONTS[name])]
        if name in _FONTS:
            return self.atom(_FONTS[name])
        if name == "textcolor":
            self.raw()
            return self.atom(font)
        if name == "sqrt":
            index = self.optional()
            return [f"\\sqrt{'[' + ' '.join(index) + ']' if index else ''}{self.argument(font)}"]
        if name in ("xrightarrow", "xleftarrow"):
            under, over = self.optional(), self.argument(font)
            return _stacked(
                f"\\{'to' if name == 'xrightarrow' else 'leftarrow'}", over, _braced(under) if under else ""
            )
        if name in ("pmod", "mod", "pod"):
            inner = [*("" if name == "pod" else _characters("mod", "rm"))]
            return ["(", *inner, *self.atom(font), ")"] if name != "mod" else inner
        if name == "substack":
            return ["\\begin{matrix}", *self.atom(font), "\\end{matrix}"]
        if name == "not":
            return ["\\not" + " ".join(self.atom(font))] if self.peek() not in ("=", "\\in") else self.negated()
        if name in ("frac", "binom"):
            return _fraction(name, self.argument(font), self.argument(font))
        if name in _TWO or name in _ONE:
            return [f"\\{name}" + "".join(self.argument(font) for _ in range(2 if name in _TWO else 1))]
        if name in FUNCTIONS:
            return _characters(name, "rm")
        return [f"\\{name}"] if len(name) > 1 or name in "{}" else _characters(name, font)

    def negated(self) -> list[str]:
        return ["\\ne" if self.take() == "=" else "\\notin"]

    def environment(self, font: str) -> list[str]:
        name = self.raw().rstrip("*")
        if name in ("array", "subarray", "alignat", "alignedat"):
            self.optional()
            self.raw()
        inner = self.group(font, ("\\end",))
        self.raw()
        if inner[-1:] == ["\\\\"]:
            inner.pop()
        if name in ("equation", "displaymath", "math"):
            return inner
        if _BRACKETED.get(name, ("", "")) == ("", "") and not {"&", "\\\\"} & set(inner):
            return inner
        left, right = _BRACKETED.get(name, ("", ""))
        kind = "matrix" if name in _BRACKETED or "&" not in inner else "aligned"
        return [*filter(None, (left,)), f"\\begin{{{kind}}}", *inner, f"\\end{{{kind}}}", *filter(None, (right,))]


def _text_parts(text: str):
    """The words of a text argument, and the formulas that stand between dollars inside it."""
    for index, part in enumerate(re.split(r"(?<!\\)\$", text)):
        if index % 2:
            yield lambda font, part=part: normalise(part).split()
        else:
            plain = re.sub(r"\\(?:([#$%&_{}])|[ ,;!])", r"\1", part)
            yield lambda font, plain=plain: [atom for char in plain for atom in _characters(char, font)]


def _fraction(name: str, upper: str, lower: str) -> list[str]:
    """A fraction; without its rule a binomial coefficient is that between brackets."""
    if name in ("frac", "over"):
        return [f"\\frac{upper}{lower}"]
    bare = f"\\atop{upper}{lower}"
    return [bare] if name == "atop" else ["(", bare, ")"]


def _stacked(base: str, over: str, under: str) -> list[str]:
    out = f"\\overset{over}{{{base}}}" if over != "{}" else base
    return [f"\\underset{under}{{{out}}}" if under else out]


def _braced(atoms: list[str]) -> str:
    return f"{{{' '.join(atoms)}}}"


def _characters(text: str, font: str) -> list[str]:
    out = []
    for char in text:
        latex = SYMBOLS.get(char, char)
        if char.isspace():
            continue
        if latex != char and latex.startswith("\\") and len(latex) > 2:
            out += normalise(latex).split() if char not in "\\" else [latex]
        elif char.isascii() and char.isalpha() and font:
            out.append(f"{font}:{char}")
        elif char.isascii():
            out.append(char if char not in "{}" else f"\\{char}")
        else:
            out.append(unicodedata.normalize("NFC", latex))
    return out


_ENVIRONMENT = r"(?:equation|align|alignat|eqnarray|gather|multline|displaymath|flalign)\*?"
_FORMULA = re.compile(
    r"(?<!\\)\$\$(?P<dollars>(?:\\.|[^\\$]|\$(?!\$))+)\$\$|\\\[(?P<brackets>.+?)\\\]|\\\((?P<round>.+?)\\\)"
    rf"|(?P<environment>\\begin\{{(?P<name>{_ENVIRONMENT})\}}.+?\\end\{{(?P=name)\}})"
    r"|(?<!\\)\$(?P<dollar>(?:\\.|[^\\$])+)\$",
    re.DOTALL,
)  # fmt: skip


def formulas_in(text: str) -> list[tuple[str, bool]]:
    """The delimited formulas of a text in order, each with whether it is displayed."""
    found = []
    for match in _FORMULA.finditer(text):
        groups = match.groupdict()
        latex = next(groups[name] for name in ("dollars", "brackets", "environment", "round", "dollar") if groups[name])
        found.append((latex.strip(), not (groups["round"] or groups["dollar"])))
    return found
