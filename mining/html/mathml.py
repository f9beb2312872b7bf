"""MathML tree -> LaTeX: presentation markup whole, and the content markup that pages use.

Reads resiliparse elements and changes nothing. An unknown element gives what its children give.
"""

import re
import unicodedata
from collections.abc import Callable

from resiliparse.parse.html import ElementNode

from mining.html.symbols import FUNCTIONS, SYMBOLS

MAX_DEPTH = 80
"""Elements below this depth are read as plain text: no honest formula nests so deep."""

_ACCENTS = {
    "^": "hat", "ˆ": "hat", "~": "tilde", "˜": "tilde", "∼": "tilde", "¯": "bar", "‾": "overline", "_": "overline",
    "→": "vec", "⃗": "vec", "˙": "dot", "¨": "ddot", "⏞": "overbrace", "︷": "overbrace", "ˇ": "check", "˘": "breve",
    "´": "acute", "`": "grave", "⃛": "dddot", "―": "overline", "ˉ": "bar", "\u0302": "hat", "\u0304": "bar",
}  # fmt: skip
_UNDER = {"⏟": "underbrace", "︸": "underbrace", "_": "underline", "¯": "underline", "―": "underline", "‾": "underline"}
_VARIANTS = {
    "bold": "mathbf", "double-struck": "mathbb", "script": "mathcal", "bold-script": "mathcal", "fraktur": "mathfrak",
    "bold-fraktur": "mathfrak", "sans-serif": "mathsf", "monospace": "mathtt", "bold-italic": "boldsymbol",
    "normal": "mathrm",
}  # fmt: skip
_ALPHABETS = {
    "BOLD SCRIPT": "mathcal", "BOLD FRAKTUR": "mathfrak", "BOLD ITALIC": "boldsymbol", "BOLD": "mathbf",
    "DOUBLE-STRUCK": "mathbb", "SCRIPT": "mathcal", "FRAKTUR": "mathfrak", "SANS-SERIF": "mathsf",
    "MONOSPACE": "mathtt", "ITALIC": "",
}  # fmt: skip
_BIG = frozenset(("\\sum", "\\prod", "\\coprod", "\\int", "\\iint", "\\iiint", "\\oint", "\\bigcup", "\\bigcap"))
_MATRIX = {("(", ")"): "pmatrix", ("[", "]"): "bmatrix", ("|", "|"): "vmatrix", ("\\|", "\\|"): "Vmatrix",
           ("\\{", "\\}"): "Bmatrix", ("\\{", ""): "cases"}  # fmt: skip
_INVISIBLE = str.maketrans(dict.fromkeys("\u2061\u2062\u2063\u2064\u200b\u200c\u200d\ufeff\ufe00\ufe0e\ufe0f\u00ad"))
_SPACE = re.compile(r"\s+")
_NEEDS_GAP = re.compile(r"\\[A-Za-z]+$")


def mathml_to_latex(math: ElementNode) -> str:
    """The formula of a `<math>` element as LaTeX without delimiters; its TeX annotation where it carries one."""
    return tex_annotation(math) or _SPACE.sub(" ", _row(math, 0)).strip()


def tex_annotation(element: ElementNode) -> str:
    """The TeX source that an element carries inside itself, empty where there is none."""
    for annotation in element.query_selector_all("annotation"):
        if "tex" in (annotation.getattr("encoding") or "").lower():
            return (annotation.text_content or "").strip()
    return ""


def _children(element: ElementNode) -> list[ElementNode]:
    return [child for child in element.children if child.tag not in ("annotation", "annotation-xml")]


def _text(element: ElementNode) -> str:
    return _SPACE.sub(" ", (element.text_content or "").translate(_INVISIBLE)).strip()


def join(parts: list[str]) -> str:
    """LaTeX pieces in one row, with a space only where a command would swallow the next letter."""
    out = ""
    for part in parts:
        if out and part[:1].isalpha() and _NEEDS_GAP.search(out[-40:]):
            out += " "
        out += part
    return out


def _row(element: ElementNode, depth: int) -> str:
    children = _children(element)
    if not children:
        return _symbols(_text(element))
    if depth > MAX_DEPTH:
        return _symbols(_text(element))
    parts: list[str] = []
    index = 0
    while index < len(children):
        fenced = _fenced_table(children[index : index + 3], depth)
        parts.append(fenced or latex_of(children[index], depth + 1))
        index += (2 if fenced.startswith("\\begin{cases}") else 3) if fenced else 1
    return join(parts)


def latex_of(element: ElementNode, depth: int = 0) -> str:
    """LaTeX of one MathML element."""
    if depth > MAX_DEPTH:
        return _symbols(_text(element))
    return _ELEMENTS.get(element.tag or "", _row)(element, depth)


def _arg(element: ElementNode, depth: int) -> str:
    """A child as the argument of a command: one character, or braces."""
    return f"{{{latex_of(element, depth + 1)}}}"


def _base(element: ElementNode, depth: int) -> str:
    """A child as the thing that scripts hang on: braced only when it is more than one symbol."""
    latex = latex_of(element, depth + 1)
    if len(latex) <= 1 or element.tag in ("mi", "mn", "mo", "mtext", "mover", "msqrt", "mfenced"):
        return latex or "{}"
    return latex if re.fullmatch(r"\\[A-Za-z]+(\{[^{}]*\})?", latex) else f"{{{latex}}}"


def _symbols(text: str) -> str:
    """Characters as LaTeX: Greek and operators by command, mathematical alphabets by font command."""
    if text.isascii() and text.isalnum():
        return text
    parts: list[str] = []
    for char in text:
        if char in SYMBOLS:
            parts.append(SYMBOLS[char])
        elif "\U0001d400" <= char <= "\U0001d7ff" or "\u2102" <= char <= "\u2138":
            parts.append(_alphabet(char))
        else:
            parts.append(char)
    return join(parts)


def _alphabet(char: str) -> str:
    plain = unicodedata.normalize("NFKC", char)
    name = unicodedata.name(char, "")
    font = next((font for words, font in _ALPHABETS.items() if words in name), "")
    plain = SYMBOLS.get(plain, plain)
    return f"\\{font}{{{plain}}}" if font else plain


def _mi(element: ElementNode, depth: int) -> str:
    text = _text(element)
    if text in FUNCTIONS:
        return f"\\{text}"
    latex = _symbols(text)
    variant = _VARIANTS.get((element.getattr("mathvariant") or "").lower(), "")
    if variant == "mathrm" and not latex.isalpha():
        return latex
    if len(text) > 1 and text.isascii() and text.isalpha() and not variant:
        return f"\\mathrm{{{text}}}"
    return f"\\{variant}{{{latex}}}" if variant and latex else latex


def _mo(element: ElementNode, depth: int) -> str:
    text = _text(element)
    if text in FUNCTIONS:
        return f"\\{text}"
    if len(text) > 1 and text.isascii() and text.isalpha():
        return f"\\operatorname{{{text}}}"
    return _symbols(text)


def _mtext(element: ElementNode, depth: int) -> str:
    text = _SPACE.sub(" ", (element.text_content or "").translate(_INVISIBLE))
    if not text.strip():
        return "\\ " if text else ""
    return f"\\text{{{re.sub(r'([#$%&_{}])', lambda m: chr(92) + m[1], text)}}}"


def _mspace(element: ElementNode, depth: int) -> str:
    if element.getattr("linebreak") == "newline":
        return "\\\\ "
    width = element.getattr("width") or ""
    if width.startswith(("1em", "2em")):
        return "\\quad " if width.startswith("1") else "\\qquad "
    return "\\ " if width and not width.startswith(("0", "-")) else ""


def _mfrac(element: ElementNode, depth: int) -> str:
    top, bottom = _pad(_children(element), 2)
    thickness = (element.getattr("linethickness") or "").strip()
    command = "\\binom" if thickness and thickness.strip("0.") in ("", "px", "pt", "em", "ex") else "\\frac"
    return f"{command}{_opt(top, depth)}{_opt(bottom, depth)}"


def _pad(children: list[ElementNode], size: int) -> list[ElementNode | None]:
    return [*children, *[None] * size][:size]


def _opt(element: ElementNode | None, depth: int) -> str:
    return "{}" if element is None else _arg(element, depth)


def _msqrt(element: ElementNode, depth: int) -> str:
    return f"\\sqrt{{{_row(element, depth + 1)}}}"


def _mroot(element: ElementNode, depth: int) -> str:
    base, index = _pad(_children(element), 2)
    return f"\\sqrt[{latex_of(index, depth + 1) if index else ''}]{_opt(base, depth)}"


def _scripts(marks: str) -> Callable[[ElementNode, int], str]:
    def read(element: ElementNode, depth: int) -> str:
        base, *scripts = _pad(_children(element), len(marks) + 1)
        latex = _base(base, depth) if base else "{}"
        for mark, script in zip(marks, scripts, strict=True):
            text = latex_of(script, depth + 1) if script else ""
            if mark == "^" and text and not text.strip("'"):
                latex += text
            elif text:
                latex += f"{mark}{{{text}}}"
        return latex

    return read


def _munder(element: ElementNode, depth: int) -> str:
    base, script = _pad(_children(element), 2)
    command = _UNDER.get(_text(script)) if script else None
    if command:
        return f"\\{command}{_opt(base, depth)}"
    return _limits(_base(base, depth) if base else "{}", latex_of(script, depth + 1) if script else "", "")


def _mover(element: ElementNode, depth: int) -> str:
    base, script = _pad(_children(element), 2)
    mark = _text(script) if script else ""
    if mark in _ACCENTS:
        inner = latex_of(base, depth + 1) if base else ""
        wide = {"hat": "widehat", "tilde": "widetilde", "bar": "overline", "vec": "overrightarrow"}
        command = _ACCENTS[mark]
        return f"\\{wide.get(command, command) if base and len(_text(base)) > 1 else command}{{{inner}}}"
    return _limits(_base(base, depth) if base else "{}", "", latex_of(script, depth + 1) if script else "")


def _munderover(element: ElementNode, depth: int) -> str:
    base, under, over = _pad(_children(element), 3)
    return _limits(
        _base(base, depth) if base else "{}",
        latex_of(under, depth + 1) if under else "",
        latex_of(over, depth + 1) if over else "",
    )


def _limits(base: str, under: str, over: str) -> str:
    takes_limits = (
        base in _BIG or base.lstrip("\\") in FUNCTIONS or base.startswith(("\\under", "\\over", "\\operator"))
    )
    if takes_limits or base.startswith("\\big"):
        return base + (f"_{{{under}}}" if under else "") + (f"^{{{over}}}" if over else "")
    out = f"\\overset{{{over}}}{{{base}}}" if over else base
    return f"\\underset{{{under}}}{{{out}}}" if under else out


def _mmultiscripts(element: ElementNode, depth: int) -> str:
    children = _children(element)
    after: list[str] = []
    before: list[str] = []
    current = after
    for child in children[1:]:
        if child.tag == "mprescripts":
            current = before
        else:
            current.append("" if child.tag == "none" else latex_of(child, depth + 1))

    def run(scripts: list[str]) -> str:
        return "".join(f"{'_^'[i % 2]}{{{script}}}" for i, script in enumerate(scripts) if script)

    prefix = run(before)
    return (f"{{}}{prefix}" if prefix else "") + (_base(children[0], depth) if children else "{}") + run(after)


def _table_body(element: ElementNode, depth: int) -> str:
    rows = []
    for row in element.children:
        cells = [cell for cell in row.children if cell.tag == "mtd"]
        if row.tag == "mlabeledtr":
            cells = cells[1:]
        rows.append(" & ".join(_row(cell, depth + 2) for cell in cells))
    return " \\\\ ".join(rows)


def _mtable(element: ElementNode, depth: int) -> str:
    align = (element.getattr("columnalign") or "").split()
    environment = "aligned" if align[:2] == ["right", "left"] or element.has_attribute("displaystyle") else "matrix"
    return f"\\begin{{{environment}}}{_table_body(element, depth)}\\end{{{environment}}}"


def _fenced_table(children: list[ElementNode], depth: int) -> str:
    """A bracket, a table and its bracket as one matrix environment; empty for any other three elements."""
    if len(children) < 2 or children[0].tag != "mo":
        return ""
    table = children[1]
    while table.tag in ("mrow", "mstyle", "mpadded") and len(_children(table)) == 1:
        table = _children(table)[0]
    if table.tag != "mtable":
        return ""
    left = _symbols(_text(children[0]))
    right = _symbols(_text(children[2])) if len(children) == 3 and children[2].tag == "mo" else ""
    environment = _MATRIX.get((left, right))
    if environment is None and left == "\\{":
        environment = "cases"
    return f"\\begin{{{environment}}}{_table_body(table, depth + 1)}\\end{{{environment}}}" if environment else ""


def _mfenced(element: ElementNode, depth: int) -> str:
    children = _children(element)
    left, right = element.getattr("open"), element.getattr("close")
    left, right = _symbols("(" if left is None else left), _symbols(")" if right is None else right)
    if len(children) == 1 and children[0].tag == "mtable" and (left, right) in _MATRIX:
        environment = _MATRIX[left, right]
        return f"\\begin{{{environment}}}{_table_body(children[0], depth + 1)}\\end{{{environment}}}"
    separators = _SPACE.sub("", element.getattr("separators", ",") or "")
    out = ""
    for index, child in enumerate(children):
        if index and separators:
            out += separators[min(index - 1, len(separators) - 1)]
        out += latex_of(child, depth + 1)
    return f"\\left{left or '.'}{out}\\right{right or '.'}" if "\\frac" in out else f"{left}{out}{right}"


def _menclose(element: ElementNode, depth: int) -> str:
    notation = (element.getattr("notation") or "longdiv").split()[:1]
    command = {"box": "boxed", "updiagonalstrike": "cancel", "downdiagonalstrike": "bcancel", "radical": "sqrt",
               "top": "overline", "bottom": "underline"}.get(notation[0] if notation else "")  # fmt: skip
    inner = _row(element, depth + 1)
    return f"\\{command}{{{inner}}}" if command else inner


def _first(element: ElementNode, depth: int) -> str:
    children = _children(element)
    return latex_of(children[0], depth + 1) if children else ""


def _nothing(element: ElementNode, depth: int) -> str:
    return ""


def _cn(element: ElementNode, depth: int) -> str:
    if element.getattr("type") == "rational":
        parts = [(node.value or "").strip() for node in element.child_nodes if node.tag == "#text"]
        if len(parts) == 2:
            return f"\\frac{{{parts[0]}}}{{{parts[1]}}}"
    return _symbols(_text(element))


_INFIX = {
    "eq": "=", "neq": "\\ne", "lt": "<", "gt": ">", "leq": "\\le", "geq": "\\ge", "in": "\\in", "subset": "\\subseteq",
    "union": "\\cup", "intersect": "\\cap", "and": "\\wedge", "or": "\\vee", "implies": "\\implies", "plus": "+",
    "minus": "-", "times": " ", "equivalent": "\\equiv", "approx": "\\approx", "setdiff": "\\setminus",
}  # fmt: skip
_BOUNDS = ("bvar", "lowlimit", "uplimit")
_LOOSE = ("plus", "minus")


def _apply(element: ElementNode, depth: int) -> str:
    """Content markup `<apply>`: an operator and its operands."""
    children = [
        child for child in _children(element) if child.tag not in ("bvar", "lowlimit", "uplimit", "domainofapplication")
    ]
    if not children:
        return ""
    operator, operands = children[0], children[1:]
    name = operator.tag or ""
    tight = name in ("times", "power", "minus")
    args = [
        f"({latex})" if tight and _head(child) in _LOOSE and not (name == "minus" and index == 0) else latex
        for index, child in enumerate(operands)
        if (latex := latex_of(child, depth + 1)) or True
    ]
    if name == "minus" and len(args) == 1:
        return f"-{args[0]}"
    if name in _INFIX:
        return join([piece for index, arg in enumerate(args) for piece in ((_INFIX[name], arg) if index else (arg,))])
    if name == "divide" and len(args) == 2:
        return f"\\frac{{{args[0]}}}{{{args[1]}}}"
    if name == "power" and len(args) == 2:
        return f"{args[0]}^{{{args[1]}}}"
    if name == "root" and args:
        return f"\\sqrt{{{args[-1]}}}"
    if name in ("sum", "product", "int", "limit"):
        return _big_operator(element, name, args, depth)
    head = f"\\{name}" if name in FUNCTIONS else latex_of(operator, depth + 1) or f"\\operatorname{{{name}}}"
    return f"{head}({','.join(args)})"


def _head(element: ElementNode) -> str:
    child = element.first_element_child if element.tag == "apply" else None
    return (child.tag or "") if child else ""


def _big_operator(element: ElementNode, name: str, args: list[str], depth: int) -> str:
    part = {
        child.tag: _row(child, depth + 1) for child in element.children if child.tag in ("bvar", "lowlimit", "uplimit")
    }
    command = {"sum": "\\sum", "product": "\\prod", "int": "\\int", "limit": "\\lim"}[name]
    variable, low, high = (part.get(tag, "") for tag in ("bvar", "lowlimit", "uplimit"))
    under = low if name == "int" else f"{variable}{'→' if name == 'limit' else '='}{low}".replace("→", "\\to ")
    out = command + (f"_{{{under}}}" if low else "") + (f"^{{{high}}}" if high else "")
    return join([out, " ".join(args), f"\\,d{variable}" if name == "int" and variable else ""])


_ELEMENTS: dict[str, Callable[[ElementNode, int], str]] = {
    "mi": _mi, "mn": lambda element, depth: _symbols(_text(element)), "mo": _mo, "mtext": _mtext, "ms": _mtext,
    "mspace": _mspace, "mfrac": _mfrac, "msqrt": _msqrt, "mroot": _mroot, "msup": _scripts("^"), "msub": _scripts("_"),
    "msubsup": _scripts("_^"), "munder": _munder, "mover": _mover, "munderover": _munderover,
    "mmultiscripts": _mmultiscripts, "mtable": _mtable, "mfenced": _mfenced, "menclose": _menclose,
    "semantics": _first, "maction": _first, "mphantom": _nothing, "maligngroup": _nothing, "malignmark": _nothing,
    "ci": _mi, "cn": _cn, "csymbol": _mi, "apply": _apply, "pi": lambda element, depth: "\\pi",
    "infinity": lambda element, depth: "\\infty", "exponentiale": lambda element, depth: "e",
    "imaginaryi": lambda element, depth: "i", "emptyset": lambda element, depth: "\\emptyset",
    "reals": lambda element, depth: "\\mathbb{R}", "integers": lambda element, depth: "\\mathbb{Z}",
}  # fmt: skip
