"""MathJax 3 and 4 output without assistive MathML -> LaTeX, read from the tree that the glyphs stand in.

CHTML names its elements after MathML (`mjx-mfrac`) and the characters in classes (`mjx-c1D465`), SVG in attributes
(`data-mml-node`, `data-c`). Both are written down as MathML, and `mining.html.mathml` says that in LaTeX. What neither
notes is lost: widths of spaces and the alignment of columns in SVG, and, where SVG was drawn without shared glyphs
(`fontCache: 'none'`), the calligraphic alphabet.
"""

import re
import unicodedata
from collections.abc import Callable
from html import escape

from resiliparse.parse.html import ElementNode, HTMLTree

from mining.html.mathml import MAX_DEPTH, mathml_to_latex

_LEAVES = frozenset(("mi", "mn", "mo", "mtext", "ms"))
# Rules, struts and boxes that hold no part of the formula, and what stands beside it for screen readers.
_DRAWN = frozenset((
    "spacer", "tstrut", "nstrut", "dstrut", "line", "surd", "labels", "speech", "assistive-mml", "strut", "break",
    "rect", "path", "use", "defs", "style", "title", "desc",
))  # fmt: skip
_ALIGNED = ' columnalign="right left"'
_CODE = re.compile(r"(?:^|\s)mjx-c([0-9A-F]{2,5})(?=\s|$)")
# "TEX-C", "NCM-SC": the font that a glyph comes from, in the classes of CHTML and in the names that SVG refers to.
_FONT = re.compile(r"(?:^|[\s-])[A-Z]{3}-([A-Z]{1,2})(?=$|[\s-])")
_OFFSET = re.compile(r"translate\(\s*-?[\d.]+\s*,\s*(-?[\d.]+)")
_VARIANTS = {"C": "script", "CB": "bold-script", "SC": "script", "B": "bold", "SS": "sans-serif", "T": "monospace"}
_ALPHABETS = {"SANS-SERIF": "sans-serif", "MONOSPACE": "monospace", "BOLD": "bold", "ITALIC": "italic"}
_CLASS_VARIANTS = {"mjx-cal": "script", "mjx-ncal": "script", "mjx-scr": "script", "mjx-b": "bold",
                   "mjx-t": "monospace", "mjx-ss": "sans-serif", "mjx-tt": "monospace"}  # fmt: skip
# The left ends of horizontal braces, which MathJax 3 keeps in its private area.
_BRACES = {"\ue150": "⏞", "\ue152": "⏟"}
_ARROWS = frozenset("→←↔⇒⇐⇔↦")
# Tall brackets are put together from pieces.
PIECES = {
    **dict.fromkeys("⎛⎜⎝", "("), **dict.fromkeys("⎞⎟⎠", ")"), **dict.fromkeys("⎡⎢⎣", "["), **dict.fromkeys("⎤⎥⎦", "]"),
    **dict.fromkeys("⎧⎨⎩", "{"), **dict.fromkeys("⎫⎬⎭", "}"), "⎪": "", "⏐": "|",
}  # fmt: skip


def glyphs_to_latex(container: ElementNode) -> str:
    """The formula drawn inside an element, without delimiters; empty where it holds no MathJax glyphs."""
    roots = _roots(container)
    if not roots:
        return ""
    body = HTMLTree.parse(f"<math>{''.join(_row(root, 0) for root in roots)}</math>").body
    math = body.query_selector("math") if body is not None else None
    return mathml_to_latex(math) if math is not None else ""


def _roots(container: ElementNode) -> list[ElementNode]:
    """What holds the formula: several where MathJax 4 cut it at places that allow a line break."""
    if _name(container) == "math":
        return [container]
    roots: list[ElementNode] = []
    for root in container.query_selector_all('mjx-math, [data-mml-node="math"]').values():
        if not (roots and roots[-1].contains(root)):
            roots.append(root)
    return roots


def _is_chtml(element: ElementNode) -> bool:
    return (element.tag or "").startswith("mjx-")


def _name(element: ElementNode) -> str:
    """The MathML name of an element, of a CHTML helper what follows `mjx-`, else the plain tag."""
    tag = element.tag or ""
    if tag.startswith("mjx-"):
        return tag[4:]
    return (element.getattr("data-mml-node") or tag).lower()


def _parts(element: ElementNode) -> list[ElementNode]:
    return [
        child
        for child in element.children.values()
        if _name(child) not in _DRAWN and not child.has_attribute("data-labels")
    ]


def _markup(element: ElementNode, depth: int) -> str:
    """The MathML of one element."""
    name = _name(element)
    if name in _LEAVES:
        return _leaf(element, name)
    if depth > MAX_DEPTH:
        return f"<mtext>{escape(_characters(element))}</mtext>"
    return _ELEMENTS.get(name, _row)(element, depth + 1)


def _row(element: ElementNode, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"<mtext>{escape(_characters(element))}</mtext>"
    return "".join(_markup(child, depth + 1) for child in _parts(element))


def _pad(parts: list[ElementNode]) -> tuple[ElementNode | None, ElementNode | None]:
    first, second = [*parts, None, None][:2]
    return first, second


def _group(element: ElementNode | None, depth: int) -> str:
    """An element as one argument."""
    if element is None:
        return "<mrow></mrow>"
    markup = _markup(element, depth)
    return markup if _name(element) in _LEAVES else f"<mrow>{markup}</mrow>"


def _leaf(element: ElementNode, name: str) -> str:
    text = _characters(element)
    # Letters outside ASCII are those of their alphabet already.
    variant = _variant(element) if text.isascii() and text.isalnum() else ""
    if name == "mtext" and not text.isascii():
        text, variant = _plain_text(text)
    if name == "mi" and not variant and len(text) == 1 and text.isascii() and text.isalpha():
        variant = "normal"
    if text == "¯":
        # A line over several letters is drawn from dashes.
        return '<mo stretchy="false">¯</mo>'
    attribute = f' mathvariant="{variant}"' if variant else ""
    return f"<{name}{attribute}>{escape(text)}</{name}>"


def _plain_text(text: str) -> tuple[str, str]:
    """Words drawn in a mathematical alphabet as plain letters, and the name of that alphabet."""
    styled = [char for char in text if "\U0001d400" <= char <= "\U0001d7ff"]
    if not styled:
        return text, ""
    alphabet = unicodedata.name(styled[0], "")
    variant = next((variant for words, variant in _ALPHABETS.items() if words in alphabet), "")
    return "".join(unicodedata.normalize("NFKC", char) if char in styled else char for char in text), variant


def _variant(element: ElementNode) -> str:
    """The alphabet that MathJax draws plain letters in, empty for the usual one."""
    for name in (element.class_name or "").split():
        if name in _CLASS_VARIANTS:
            return _CLASS_VARIANTS[name]
    glyph = element.first_element_child
    if glyph is None:
        return ""
    match = _FONT.search(glyph.class_name or glyph.getattr("xlink:href") or glyph.getattr("href") or "")
    return _VARIANTS.get(match[1], "") if match else ""


def _characters(element: ElementNode) -> str:
    """The characters that the glyphs of an element stand for, pieces of a tall one put together."""
    text = "".join(_glyphs(element, 0))
    if text.isascii():
        return text
    brace = next((char for char in "⏞⏟⎴⎵" if char in text), "") or _BRACES.get(text[0], "")
    if brace:
        return brace
    arrow = next((char for char in text if char in _ARROWS), "") if len(text) > 1 else ""
    if arrow and not text.strip(f"{arrow}−=–"):
        return arrow
    if any(char in PIECES for char in text):
        return "".join(dict.fromkeys(PIECES.get(char, char) for char in text))
    return text


def _glyphs(element: ElementNode, depth: int) -> list[str]:
    code = element.getattr("data-c")
    if code is None and (match := _CODE.search(element.class_name or "")):
        code = match[1]
    if code is not None:
        return [chr(int(code, 16))] if re.fullmatch(r"[0-9A-Fa-f]{2,5}", code) else []
    if element.tag in ("mjx-utext", "text", "mjx-c"):
        return [element.text_content or ""]
    if depth > MAX_DEPTH:
        return []
    return [char for child in element.children.values() for char in _glyphs(child, depth + 1)]


def _scripts(element: ElementNode, depth: int) -> str:
    """A base with scripts beside it or limits above and below."""
    base, lower, upper, beside = (_chtml_scripts if _is_chtml(element) else _svg_scripts)(element)
    kinds = ("msub", "msup", "msubsup") if beside else ("munder", "mover", "munderover")
    name = kinds[2] if lower and upper else kinds[0] if lower else kinds[1]
    return f"<{name}>{_group(base, depth)}{''.join(_group(mark, depth) for mark in (lower, upper) if mark)}</{name}>"


_Scripts = tuple[ElementNode | None, ElementNode | None, ElementNode | None, bool]


def _chtml_scripts(element: ElementNode) -> _Scripts:
    """Base, lower, upper, and whether they stand beside the base: those do in `mjx-script`, the upper first."""
    parts = _parts(element)
    script = next((part for part in parts if _name(part) == "script"), None)
    if script is None:
        return _inside(element, "base"), _inside(element, "under"), _inside(element, "over"), False
    base = next((part for part in parts if _name(part) != "script"), None)
    marks = _parts(script)
    if len(marks) > 1:
        return base, marks[-1], marks[0], True
    mark = marks[0] if marks else None
    return (base, mark, None, True) if _name(element) in ("msub", "munder") else (base, None, mark, True)


def _svg_scripts(element: ElementNode) -> _Scripts:
    own = _name(element)
    parts: list[ElementNode | None] = [*_parts(element), None, None, None]
    base, marks = parts[0], parts[1:]
    beside = own.startswith("msu")
    if own in ("msubsup", "munderover"):
        # Limits come lower first, scripts upper first, and limits beside a sign are scripts: the place decides.
        lower, upper = sorted(marks[:2], key=_height)
        return base, lower, upper, beside
    return (base, marks[0], None, beside) if own in ("msub", "munder") else (base, None, marks[0], beside)


def _height(element: ElementNode | None) -> float:
    match = _OFFSET.search(element.getattr("transform") or "") if element is not None else None
    return float(match[1]) if match else 0.0


def _inside(element: ElementNode, helper: str, depth: int = 0) -> ElementNode | None:
    """The helper element (`base`, `under`, `num` ...) that belongs to this element and not to one inside it."""
    for part in element.children.values():
        name = _name(part)
        if name == helper:
            return part
        if name in ("row", "box", "munder", "frac", "dbox", "dtable", "table", "itable", "sqrt") and depth < 6:
            found = _inside(part, helper, depth + 1)
            if found is not None:
                return found
    return None


def _fraction(element: ElementNode, depth: int) -> str:
    if _is_chtml(element):
        top, bottom = _inside(element, "num"), _inside(element, "den")
        frac = _inside(element, "frac")
        has_rule = frac is None or not frac.has_attribute("atop")
    else:
        top, bottom = _pad(_parts(element))
        has_rule = any(child.tag == "rect" for child in element.children.values())
    thickness = "" if has_rule else ' linethickness="0"'
    return f"<mfrac{thickness}>{_group(top, depth)}{_group(bottom, depth)}</mfrac>"


def _root_sign(element: ElementNode, depth: int) -> str:
    """A square root or, with an index, another; in both forms the sign itself is a part of its own."""
    if _is_chtml(element):
        index, inner = _inside(element, "root"), _inside(element, "box")
    else:
        parts = [part for part in _parts(element) if _name(part) != "mo"]
        # The radicand stands in a group of its own without a name; the index comes after it, in version 4 before.
        inner, index = _pad(sorted(parts, key=lambda part: _name(part) != "g"))
    if _name(element) == "msqrt":
        return f"<msqrt>{_group(inner, depth)}</msqrt>"
    return f"<mroot>{_group(inner, depth)}{_group(index, depth)}</mroot>"


def _table(element: ElementNode, depth: int) -> str:
    rows = [[part for part in _parts(row) if _name(part) == "mtd"] for row in _rows(element, 0)]
    is_aligned = _is_aligned(rows, is_chtml=_is_chtml(element))
    cells = "".join(f"<mtr>{''.join(f'<mtd>{_row(cell, depth + 1)}</mtd>' for cell in row)}</mtr>" for row in rows)
    return f"<mtable{_ALIGNED if is_aligned else ''}>{cells}</mtable>"


def _rows(element: ElementNode, depth: int) -> list[ElementNode]:
    rows: list[ElementNode] = []
    for part in _parts(element):
        if _name(part) in ("mtr", "mlabeledtr"):
            rows.append(part)
        elif depth < 6 and _name(part) in ("table", "itable", "g", "svg"):
            rows += _rows(part, depth + 1)
    return rows


def _is_aligned(rows: list[list[ElementNode]], *, is_chtml: bool) -> bool:
    """Whether a table sets equations; SVG tells no alignment, and two columns without brackets are nearly always so."""
    if not is_chtml:
        return max(map(len, rows), default=0) == 2 or any(len(row) > 1 and _starts_empty(row[1]) for row in rows)
    styles = [cell.getattr("style") or "" for row in rows[:1] for cell in row[:2]]
    return len(styles) == 2 and "text-align: right" in styles[0] and "text-align: left" in styles[1]


def _starts_empty(cell: ElementNode) -> bool:
    """Whether a cell opens with the empty element that TeX's `&=` leaves before the relation."""
    for _ in range(3):
        cell = next(iter(_parts(cell)), cell)
        if _name(cell) not in ("mstyle", "mrow"):
            break
    return _name(cell) == "mi" and not _characters(cell)


def _enclosed(element: ElementNode, depth: int) -> str:
    drawn = {_name(child) for child in element.children.values()}
    is_box = "rect" in drawn or any("border" in (child.getattr("style") or "") for child in element.children.values())
    strike = "updiagonalstrike" if drawn & {"ustrike", "line"} else "downdiagonalstrike" if "dstrike" in drawn else ""
    notation = "box" if is_box else strike
    return f'<menclose notation="{notation or "none"}">{_row(element, depth)}</menclose>'


def _space(element: ElementNode, depth: int) -> str:
    width = re.search(r"width:\s*(-?[\d.]+em)", element.getattr("style") or "")
    # SVG tells no width.
    return f'<mspace width="{width[1] if width else "0.2em"}"></mspace>' if width or not _is_chtml(element) else ""


def _nothing(element: ElementNode, depth: int) -> str:
    return ""


_ELEMENTS: dict[str, Callable[[ElementNode, int], str]] = {
    "mfrac": _fraction, "msqrt": _root_sign, "mroot": _root_sign, "mtable": _table, "menclose": _enclosed,
    "mspace": _space, "mphantom": _nothing,
    **dict.fromkeys(("msub", "msup", "msubsup", "munder", "mover", "munderover"), _scripts),
}  # fmt: skip
