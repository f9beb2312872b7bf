"""MathML tree -> LaTeX: presentation markup; content markup is read by `mining.html.content`.

Reads resiliparse elements and changes nothing. An unknown element gives what its children give.
"""

import re
import unicodedata
from collections.abc import Callable

from resiliparse.parse.html import ElementNode

from mining.html.content import CONTENT
from mining.html.symbols import FUNCTIONS, SYMBOLS, join

MAX_DEPTH = 80
"""Elements below this depth are read as plain text: no honest formula nests so deep."""

_ACCENTS = {
    "^": "hat", "ˆ": "hat", "~": "tilde", "˜": "tilde", "∼": "tilde", "→": "vec", "⃗": "vec", "˙": "dot", ".": "dot",
    "¨": "ddot", "⏞": "overbrace", "︷": "overbrace", "ˇ": "check", "˘": "breve", "´": "acute", "`": "grave",
    "⃛": "dddot", "...": "dddot", "..": "ddot", "\u0302": "hat", "\u0303": "tilde", "\u0307": "dot", "\u0308": "ddot",
    "˚": "mathring", "←": "overleftarrow", "↔": "overleftrightarrow", "·": "dot", "⋅": "dot",
    "\u030c": "check",
}  # fmt: skip
_WIDE = {"hat": "widehat", "tilde": "widetilde", "vec": "overrightarrow"}
_BARS = frozenset("¯‾_―–—ˉ\u0304\u0305−-")
_UNDER = {
    "⏟": "underbrace", "︸": "underbrace", "→": "underrightarrow", "←": "underleftarrow", "\u0332": "underline",
    **dict.fromkeys(_BARS, "underline"),
}  # fmt: skip
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
_TEXT_VARIANTS = {"bold": "textbf", "italic": "textit", "monospace": "texttt", "sans-serif": "textsf"}
_OPENING = frozenset(("(", "[", "\\{", "|", "\\|", "\\langle", "\\lfloor", "\\lceil", ""))
_CLOSING = frozenset((")", "]", "\\}", "|", "\\|", "\\rangle", "\\rfloor", "\\rceil", ""))
_BIG = frozenset(("\\sum", "\\prod", "\\coprod", "\\int", "\\iint", "\\iiint", "\\oint", "\\bigcup", "\\bigcap"))
_MATRIX = {("(", ")"): "pmatrix", ("[", "]"): "bmatrix", ("|", "|"): "vmatrix", ("\\|", "\\|"): "Vmatrix",
           ("\\{", "\\}"): "Bmatrix", ("\\{", ""): "cases"}  # fmt: skip
_INVISIBLE = str.maketrans(dict.fromkeys("\u2061\u2062\u2063\u2064\u200b\u200c\u200d\ufeff\ufe00\ufe0e\ufe0f\u00ad"))
_SPACE = re.compile(r"\s+")
# Letters that each carry their font, as KaTeX writes "\operatorname{rank}"; a script binds the last one alone.
_SPELT = re.compile(r"\\(math[a-z]+|boldsymbol)\{[A-Za-z]+\}(?:\\\1\{[A-Za-z]+\})+(?![_^'])")
_TALL = re.compile(r"\\(?:frac|sum|prod|i*nt|oint|begin|binom|overset|underset|(?:over|under)brace|atop|big)")


def mathml_to_latex(math: ElementNode) -> str:
    """The formula of a `<math>` element as LaTeX without delimiters; its TeX annotation where it carries one."""
    return tex_annotation(math) or _SPELT.sub(_one_word, _without_outer_space(_SPACE.sub(" ", _row(math, 0))))


def _without_outer_space(latex: str) -> str:
    """The formula without spacing commands at its ends: a last "\\ " would lose its space and eat the delimiter."""
    while latex.endswith("\\ ") and not latex.endswith("\\\\ "):
        latex = latex[:-2]
    return latex.removeprefix("\\ ").strip()


def _one_word(match: re.Match[str]) -> str:
    font = f"\\{match[1]}{{"
    return match[0].replace("}" + font, "")


def tex_annotation(element: ElementNode) -> str:
    """The TeX source that an element carries inside itself, empty where there is none."""
    for annotation in element.query_selector_all("annotation"):
        if "tex" in (annotation.getattr("encoding") or "").lower():
            return (annotation.text_content or "").strip()
    return ""


def _children(element: ElementNode) -> list[ElementNode]:
    return [child for child in element.children.values() if child.tag not in ("annotation", "annotation-xml")]


def _text(element: ElementNode) -> str:
    text = _SPACE.sub(" ", (element.text_content or "").translate(_INVISIBLE)).strip()
    # KaTeX writes \not as a combining stroke.
    return unicodedata.normalize("NFC", text) if "\u0338" in text else text


def _row(element: ElementNode, depth: int) -> str:
    children = _children(element)
    if not children or depth > MAX_DEPTH:
        return _symbols(_text(element))
    parts: list[str] = []
    index = 0
    while index < len(children):
        child = children[index]
        latex, num_read = _bracketed(children, index, depth) if child.tag == "mo" else ("", 0)
        parts.append(latex or latex_of(child, depth + 1))
        index += num_read or 1
    if len(parts) == len(children) and len(parts) > 1 and _is_fence(children):
        left, *inner, right = parts
        is_empty = not (left and right)
        if is_empty or (_is_stretched(children) and any(map(_TALL.search, inner))):
            parts = [f"\\left{left or '.'}", *inner, f"\\right{right or '.'}"]
    return join(parts)


def _is_fence(children: list[ElementNode]) -> bool:
    """Whether a row opens with a bracket that its last element closes; one side may be an empty `<mo>`."""
    if len(children) < 2 or children[0].tag != "mo" or children[-1].tag != "mo":
        return False
    left, right = (_symbols(_text(child)) for child in (children[0], children[-1]))
    if left not in _OPENING or right not in _CLOSING or not (left or right):
        return False
    if not (left and right):
        return True
    if left in ("|", "\\|"):
        return sum(child.tag == "mo" and _symbols(_text(child)) == left for child in children) == 2
    depth = 0
    for child in children[:-1]:
        text = _text(child) if child.tag == "mo" else ""
        depth += (text in ("(", "[", "{", "⟨", "⌊", "⌈")) - (text in (")", "]", "}", "⟩", "⌋", "⌉"))
        if depth == 0:
            return False
    return True


def _is_stretched(children: list[ElementNode]) -> bool:
    return "false" not in (children[0].getattr("stretchy"), children[-1].getattr("stretchy"))


def _bracketed(children: list[ElementNode], index: int, depth: int) -> tuple[str, int]:
    """A matrix or a binomial coefficient with its brackets, and how many elements that took; else nothing."""
    latex = _fenced_table(children[index : index + 3], depth)
    if latex:
        return latex, 2 if latex.startswith("\\begin{cases}") else 3
    if index + 2 < len(children) and _text(children[index]) == "(" and _text(children[index + 2]) == ")":
        inner = _only_child(children[index + 1])
        if inner.tag == "mfrac" and _is_ruleless(inner):
            return f"\\binom{''.join(_opt(part, depth) for part in _pad(_children(inner), 2))}", 3
    return "", 0


def _only_child(element: ElementNode) -> ElementNode:
    """What an element that only groups holds, as deep as it goes."""
    for _ in range(MAX_DEPTH):
        children = _children(element) if element.tag in ("mrow", "mstyle", "mpadded") else []
        if len(children) != 1:
            break
        element = children[0]
    return element


def latex_of(element: ElementNode, depth: int = 0) -> str:
    """LaTeX of one MathML element."""
    if depth > MAX_DEPTH:
        return _symbols(_text(element))
    tag = element.tag or ""
    content = CONTENT.get(tag)
    return content(element, depth, latex_of) if content is not None else _ELEMENTS.get(tag, _row)(element, depth)


def _arg(element: ElementNode, depth: int) -> str:
    """A child as the argument of a command: one character, or braces."""
    return f"{{{latex_of(element, depth + 1)}}}"


def _base(element: ElementNode, depth: int) -> str:
    """A child as the thing that scripts hang on: braced only when it is more than one symbol."""
    latex = latex_of(element, depth + 1)
    if len(latex) <= 1 or element.tag in ("mi", "mn", "mo", "mtext", "mover", "msqrt", "mfenced"):
        return latex or "{}"
    if _is_one_command(latex) or re.fullmatch(r"\\begin\{(\w+)\}.*\\end\{\1\}", latex):
        return latex
    # A bracket carries the script of its pair, as people write it.
    return latex if _is_fence(_children(_only_child(element))) else f"{{{latex}}}"


def _is_one_command(latex: str) -> bool:
    """Whether a formula is a command with at most one argument."""
    match = re.match(r"\\[A-Za-z]+", latex)
    if match is None or match.end() == len(latex):
        return match is not None
    depth = 0
    for index in range(match.end(), len(latex)):
        depth += (latex[index] == "{") - (latex[index] == "}")
        if depth == 0:
            return index == len(latex) - 1
    return False


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
    # One step: the full normal form takes the symbol forms of phi, epsilon and theta for the plain letters.
    form = unicodedata.decomposition(char)
    plain = chr(int(form.split()[1], 16)) if form.startswith("<font>") else unicodedata.normalize("NFKC", char)
    name = unicodedata.name(char, "")
    font = next((font for words, font in _ALPHABETS.items() if words in name), "")
    plain = SYMBOLS.get(plain, plain)
    return f"\\{font}{{{plain}}}" if font else plain


def _mi(element: ElementNode, depth: int) -> str:
    if element.child_element_count:
        return _row(element, depth)
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
    if text in FUNCTIONS or text in ("lim sup", "lim inf"):
        return f"\\{text.replace(' ', '')}"
    if len(text) > 1 and text.isascii() and text.isalpha():
        return "\\bmod" if text == "mod" else f"\\operatorname{{{text}}}"
    return _symbols(text)


def _mtext(element: ElementNode, depth: int) -> str:
    text = _SPACE.sub(" ", (element.text_content or "").translate(_INVISIBLE))
    if not text.strip():
        return "\\ " if text else ""
    command = _TEXT_VARIANTS.get(element.getattr("mathvariant") or "", "text")
    return f"\\{command}{{{re.sub(r'([#$%&_{}])', lambda m: chr(92) + m[1], text)}}}"


def _mspace(element: ElementNode, depth: int) -> str:
    if element.getattr("linebreak") == "newline":
        return "\\\\ "
    width = element.getattr("width") or ""
    if width.startswith(("1em", "2em")):
        return "\\quad " if width.startswith("1") else "\\qquad "
    return "\\ " if width and not width.startswith(("0", "-")) else ""


def _mfrac(element: ElementNode, depth: int) -> str:
    top, bottom = _pad(_children(element), 2)
    if not _is_ruleless(element):
        return f"\\frac{_opt(top, depth)}{_opt(bottom, depth)}"
    above, below = (latex_of(part, depth + 1) if part else "" for part in (top, bottom))
    return join(["{", above, "\\atop ", below, "}"])


def _is_ruleless(fraction: ElementNode) -> bool:
    thickness = (fraction.getattr("linethickness") or "").strip()
    return bool(thickness) and thickness.strip("0.") in ("", "px", "pt", "em", "ex")


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
                # The degree sign brings its own script.
                latex += text if mark == "^" and text == "^{\\circ}" else f"{mark}{{{text}}}"
        return latex

    return read


def _munder(element: ElementNode, depth: int) -> str:
    base, script = _pad(_children(element), 2)
    command = _UNDER.get(_text(script)) if script else None
    if command:
        return f"\\{command}{_opt(base, depth)}"
    return _limits(_base(base, depth) if base else "{}", latex_of(script, depth + 1) if script else "", "")


def _stretch(script: ElementNode | None) -> str:
    return (_only_child(script).getattr("stretchy") or "") if script is not None else ""


def _mover(element: ElementNode, depth: int) -> str:
    base, script = _pad(_children(element), 2)
    mark = _text(script) if script else ""
    inner = latex_of(base, depth + 1) if base else ""
    if mark in _BARS and script is not None:
        is_short = (
            mark in "ˉ\u0304"
            or script.getattr("stretchy") == "false"
            or _only_child(script).getattr("stretchy") == "false"
        )
        is_short = is_short or (mark == "¯" and len(inner) == 1 and script.getattr("accent") != "false")
        return f"\\{'bar' if is_short else 'overline'}{{{inner}}}"
    if mark in _ACCENTS:
        command = _ACCENTS[mark]
        is_wide = base is not None and (len(_text(base)) > 1 or _stretch(script) == "true")
        return f"\\{_WIDE.get(command, command) if is_wide else command}{{{inner}}}"
    over = latex_of(script, depth + 1) if script else ""
    return _limits(_base(base, depth) if base else "{}", "", over) if over.strip("\\ ") else inner


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


def _cells(element: ElementNode, depth: int) -> list[list[str]]:
    """LaTeX of a table's cells; columns that are empty throughout are glue at the margins and go."""
    rows = []
    for row in element.children.values():
        cells = [cell for cell in row.children.values() if cell.tag == "mtd"]
        rows.append([_row(cell, depth + 2) for cell in (cells[1:] if row.tag == "mlabeledtr" else cells)])
    width = max(map(len, rows), default=0)
    if width > 2:
        used = [index for index in range(width) if any(row[index : index + 1] not in ([], [""]) for row in rows)]
        if used and (used[0] > 0 or used[-1] < width - 1):
            rows = [row[used[0] : used[-1] + 1] for row in rows]
    return rows


def _table_body(element: ElementNode, depth: int) -> str:
    return " \\\\ ".join(" & ".join(row) for row in _cells(element, depth))


def _mtable(element: ElementNode, depth: int) -> str:
    align = (element.getattr("columnalign") or "").split()
    if "solid" in (element.getattr("columnlines") or ""):
        return _ruled_table(element, depth)
    body = _table_body(element, depth)
    is_aligned = align[:2] == ["right", "left"] or (element.getattr("displaystyle") == "true" and "&" in body)
    if not is_aligned and "&" not in body and "\\\\" not in body:
        return body
    environment = "aligned" if is_aligned else "matrix"
    return f"\\begin{{{environment}}}{body}\\end{{{environment}}}"


def _ruled_table(element: ElementNode, depth: int) -> str:
    """A table with lines between its columns: an augmented matrix, long division."""
    rows = _cells(element, depth)
    lines = (element.getattr("columnlines") or "").split()
    width = max(map(len, rows), default=1)
    columns = "".join(
        "c|" if index < width - 1 and lines[min(index, len(lines) - 1)] == "solid" else "c" for index in range(width)
    )
    body = " \\\\ ".join(" & ".join(row) for row in rows)
    return f"\\begin{{array}}{{{columns}}}{body}\\end{{array}}"


def _fenced_table(children: list[ElementNode], depth: int) -> str:
    """A bracket, a table and its bracket as one matrix environment; empty for any other three elements."""
    if len(children) < 2 or children[0].tag != "mo":
        return ""
    table = _only_child(children[1])
    if table.tag != "mtable" or "solid" in (table.getattr("columnlines") or ""):
        return ""
    left = _symbols(_text(children[0]))
    right = _symbols(_text(children[2])) if len(children) == 3 and children[2].tag == "mo" else ""
    environment = _MATRIX.get((left, right))
    if environment is None and left == "\\{" and not right:
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
    return f"\\left{left or '.'}{out}\\right{right or '.'}" if _TALL.search(out) else join([left, out, right])


def _menclose(element: ElementNode, depth: int) -> str:
    notation = element.getattr("notation") or ""
    command = {"box": "boxed", "updiagonalstrike": "cancel", "downdiagonalstrike": "bcancel", "radical": "sqrt",
               "top": "overline", "bottom": "underline", "roundedbox": "boxed", "horizontalstrike": "cancel",
               "updiagonalstrike downdiagonalstrike": "xcancel"}.get(notation)  # fmt: skip
    inner = _row(element, depth + 1)
    return f"\\{command}{{{inner}}}" if command else inner


def _first(element: ElementNode, depth: int) -> str:
    children = _children(element)
    return latex_of(children[0], depth + 1) if children else ""


def _nothing(element: ElementNode, depth: int) -> str:
    return ""


def _mrow(element: ElementNode, depth: int) -> str:
    latex = _row(element, depth)
    variant = _VARIANTS.get(element.getattr("mathvariant") or "", "")
    if variant and latex:
        return f"\\{variant}{{{latex}}}"
    # Temml draws \boxed as a border.
    return f"\\boxed{{{latex}}}" if "border:1px solid" in (element.getattr("style") or "") else latex


def _glyph(element: ElementNode, depth: int) -> str:
    return _symbols(element.getattr("alt") or "")


_ELEMENTS: dict[str, Callable[[ElementNode, int], str]] = {
    "mi": _mi, "mn": lambda element, depth: _symbols(_text(element)), "mo": _mo, "mtext": _mtext, "ms": _mtext,
    "mspace": _mspace, "mfrac": _mfrac, "msqrt": _msqrt, "mroot": _mroot, "msup": _scripts("^"), "msub": _scripts("_"),
    "msubsup": _scripts("_^"), "munder": _munder, "mover": _mover, "munderover": _munderover,
    "mmultiscripts": _mmultiscripts, "mtable": _mtable, "mfenced": _mfenced, "menclose": _menclose,
    "semantics": _first, "maction": _first, "mphantom": _nothing, "maligngroup": _nothing, "malignmark": _nothing,
    "ci": _mi, "csymbol": _mi, "mrow": _mrow, "mstyle": _mrow, "mglyph": _glyph,
}  # fmt: skip
