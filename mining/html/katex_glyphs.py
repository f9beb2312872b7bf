"""Rendered KaTeX without its MathML half -> LaTeX, read from the boxes of the HTML half.

KaTeX sets scripts, fractions and limits as "vlists": boxes with a vertical shift each (`top:-3.1em`). What a box is
shows in its classes and in the order of the shifts; it is written down as MathML, and `mining.html.mathml` says that
in LaTeX. Stretched accents and brackets that are drawn as outlines are guessed from the size of the drawing.
"""

import re
import unicodedata
from html import escape

from resiliparse.parse.html import ElementNode, HTMLTree, Node

from mining.html.glyphs import PIECES
from mining.html.mathml import MAX_DEPTH, mathml_to_latex

_FONTS = {
    "mathbf": "bold", "textbf": "bold", "mathbb": "double-struck", "amsrm": "", "mathcal": "script", "boldsymbol":
    "bold-italic", "mathscr": "script", "mathfrak": "fraktur", "mathsf": "sans-serif", "textsf": "sans-serif",
    "mathtt": "monospace", "texttt": "monospace", "mathrm": "normal", "textrm": "normal",
}  # fmt: skip
_DRAWN = frozenset((
    "strut", "pstrut", "vlist-s", "arraycolsep", "frac-line", "nulldelimiter", "fix", "overline-line", "tag", "hline",
    "underline-line", "katex-version",
))  # fmt: skip
_TOP = re.compile(r"(?:^|;)\s*top:\s*(-?[\d.]+)em")
_HEIGHT = re.compile(r"(?:^|;)\s*height:\s*(-?[\d.]+)em")
_WIDTH = re.compile(r"margin-(?:right|left):\s*(-?[\d.]+)em")
_NEGATION = "\ue020"
# Our own sign for the stroke that KaTeX draws through the relation before it.
_STRUCK = "\ue021"
# Brackets drawn as outlines, by the width of the drawing in thousandths of an em.
_DRAWN_BRACKETS = {"875": "()", "667": "[]", "333": "||", "556": "‖‖"}
# The widths of KaTeX's drawings of wide hats; those of wide tildes are others.
_HAT_WIDTHS = frozenset(("1062", "2364"))


def katex_to_latex(element: ElementNode) -> str:
    """The formula drawn inside a `.katex` element, without delimiters; empty where no readable HTML half is in it."""
    root = element if "katex-html" in _classes(element) else element.query_selector(".katex-html")
    # Before version 0.8 boxes had no tables around them, and their order tells nothing here.
    if root is None or (root.query_selector(".vlist") is not None and root.query_selector(".vlist-t") is None):
        return ""
    body = HTMLTree.parse(f"<math>{_row(root, 0)}</math>").body
    math = body.query_selector("math") if body is not None else None
    return mathml_to_latex(math) if math is not None else ""


def _classes(element: ElementNode) -> frozenset[str]:
    """Classes by the names they had before newer versions put `katex-` in front of some."""
    return frozenset(
        name.removeprefix("katex-") if name != "katex-html" else name for name in (element.class_name or "").split()
    )


def _row(element: ElementNode, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"<mtext>{escape(element.text_content or '')}</mtext>"
    parts: list[str] = []
    negated = False
    for node in element.child_nodes.values():
        if node.tag == "#text":
            part = _token(node, element)
        elif isinstance(node, ElementNode):
            is_script = "msupsub" in _classes(node)
            part = _scripts("".join(parts), node, depth) if is_script else _markup(node, depth + 1)
            if is_script:
                parts.clear()
        else:
            continue
        if _NEGATION in part:
            negated, part = True, ""
        elif _STRUCK in part and parts:
            last = parts.pop().removesuffix("</mo>")
            part = f"{last[:-1]}{unicodedata.normalize('NFC', last[-1:] + chr(0x338))}</mo>"
        elif negated and (match := re.search(r"(?<=>)[^<]", part)):
            sign = unicodedata.normalize("NFC", match[0] + "\u0338")
            negated, part = False, part[: match.start()] + sign + part[match.end() :]
        if part:
            parts.append(part)
    # The stroke may stand in a box of its own, before the box of what it strikes.
    return "".join(parts) + (f"<mo>{_NEGATION}</mo>" if negated else "")


def _token(node: Node, element: ElementNode) -> str:
    text = (node.value or "").replace("\u200b", "")
    if not text.strip():
        return ""
    text = "".join(dict.fromkeys(PIECES.get(char, char) for char in text)) if text[0] in PIECES else text
    classes = _classes(element)
    variant = next((_FONTS[name] for name in classes if name in _FONTS), None)
    if not classes.isdisjoint(("mathnormal", "mathdefault")):
        return "".join(f"<mi>{escape(char)}</mi>" for char in text)
    if text.isalpha() or (variant and text.isalnum()):
        if variant is None and "mop" not in classes and "mathit" not in classes:
            variant = "normal" if text.isascii() and len(text) == 1 else None
        attribute = f' mathvariant="{variant}"' if variant and (len(text) == 1 or variant != "normal") else ""
        return f"<mi{attribute}>{escape(text)}</mi>"
    name = "mn" if text.replace(".", "").isdigit() else "mo"
    return f"<{name}>{escape(text)}</{name}>"


def _markup(element: ElementNode, depth: int) -> str:
    """The MathML of one box."""
    classes = _classes(element)
    if classes & _DRAWN or (element.tag == "svg"):
        return "<mo></mo>" if "nulldelimiter" in classes and _is_bracket_side(element) else ""
    if "mspace" in classes:
        width = _WIDTH.search(element.getattr("style") or "")
        is_wide = width is not None and float(width[1]) >= 1
        return f'<mspace width="{2 if width and float(width[1]) >= 2 else 1}em"></mspace>' if is_wide else ""
    if "newline" in classes:
        return '<mspace linebreak="newline"></mspace>'
    if "text" in classes:
        return _text(element, depth)
    if "mult" in classes and "delimsizing" in classes:
        return f"<mo>{escape(_tall_bracket(element))}</mo>"
    if "llap" in classes and (element.text_content or "").strip("\u200b \n") == "/":
        return f"<mo>{_STRUCK}</mo>"
    for name, read in _READERS.items():
        if name in classes:
            return read(element, depth)
    notation = _notation(element)
    if notation:
        drawn, box = notation
        return f'<menclose notation="{drawn}">{_row(box, depth)}</menclose>'
    inner = _row(element, depth)
    return f"<mrow>{inner}</mrow>" if "minner" in classes or "mord" in classes else inner


def _tall_bracket(element: ElementNode) -> str:
    """The bracket that a stack of pieces or an outline stands for."""
    text = (element.text_content or "").replace("\u200b", "").strip()
    if text:
        return "".join(dict.fromkeys("".join(PIECES.get(char, char) for char in text)))
    drawing = element.query_selector("svg")
    if drawing is None:
        return ""
    pair = _DRAWN_BRACKETS.get(_width(drawing), "")
    parent = element.parent_element
    is_closing = parent is not None and "mclose" in _classes(parent)
    return pair[is_closing : is_closing + 1]


def _width(drawing: ElementNode) -> str:
    """The third number of a drawing's view box."""
    numbers = (drawing.getattr("viewBox") or drawing.getattr("viewbox") or "").split()
    return numbers[2] if len(numbers) == 4 else ""


def _notation(element: ElementNode) -> tuple[str, ElementNode] | None:
    """A frame or a stroke drawn around or over a box, and that box."""
    boxes = [box for _, box in _boxes(element)] if element.first_element_child is not None else []
    framed = next((box for box in boxes if _holds(box, "boxpad")), None)
    if framed is not None:
        return "box", framed
    stroke = next(
        (box for box in boxes if "svg-align" in _classes(box) and box.query_selector("line") is not None), None
    )
    struck = next((box for box in boxes if box is not stroke), None)
    return ("updiagonalstrike", struck) if stroke is not None and struck is not None else None


def _is_bracket_side(element: ElementNode) -> bool:
    parent = element.parent_element
    return parent is not None and "minner" in _classes(parent)


def _operator(element: ElementNode, depth: int) -> str:
    """The name of an operator, which may be cut between letters for kerning."""
    text = (element.text_content or "").replace("\u200b", "")
    is_name = len(text) > 1 and text.isascii() and text.isalpha() and element.query_selector(".vlist") is None
    return f"<mi>{text}</mi>" if is_name else _row(element, depth)


def _text(element: ElementNode, depth: int) -> str:
    """Words; formulas between dollars inside them are boxes with fonts of their own."""
    if element.query_selector(".mathnormal, .msupsub, .mfrac") is not None:
        return f"<mrow>{_row(element, depth)}</mrow>"
    inner = element.query_selector(".textbf, .textit, .texttt, .textsf")
    style = {"textbf": "bold", "textit": "italic", "texttt": "monospace", "textsf": "sans-serif"}
    variant = next((style[name] for name in _classes(inner) if name in style), "") if inner is not None else ""
    attribute = f' mathvariant="{variant}"' if variant else ""
    return f"<mtext{attribute}>{escape((element.text_content or '').replace(chr(0x200B), ''))}</mtext>"


def _boxes(element: ElementNode) -> list[tuple[float, ElementNode]]:
    """The boxes of an element's own vlist with their shifts in em, lowest first."""
    table = next((child for child in element.children.values() if "vlist-t" in _classes(child)), None)
    found = table.query_selector(".vlist") if table is not None else None
    boxes = []
    for child in found.children.values() if found is not None else ():
        top = _TOP.search(child.getattr("style") or "")
        strut = child.first_element_child
        height = _HEIGHT.search(strut.getattr("style") or "") if strut is not None else None
        boxes.append(((float(top[1]) if top else 0.0) + (float(height[1]) if height else 0.0), child))
    return sorted(boxes, key=lambda box: -box[0])


def _holds(box: ElementNode, *names: str) -> bool:
    """Whether a child of the box has one of the classes."""
    return any(not _classes(child).isdisjoint(names) for child in box.children.values())


def _scripts(base: str, element: ElementNode, depth: int) -> str:
    boxes = _boxes(element)
    marks = [f"<mrow>{_row(box, depth + 1)}</mrow>" for _, box in boxes]
    base = f"<mrow>{base}</mrow>"
    if len(boxes) > 1:
        return f"<msubsup>{base}{marks[0]}{marks[-1]}</msubsup>"
    if not boxes:
        return base
    # A single script: pushed down from the line it is a lower one.
    name = "msub" if boxes[0][0] > 0 else "msup"
    return f"<{name}>{base}{marks[0]}</{name}>"


def _fraction(element: ElementNode, depth: int) -> str:
    boxes = _boxes(element)
    parts = [box for _, box in boxes if not _holds(box, "frac-line")]
    has_rule = len(parts) < len(boxes)
    if len(parts) < 2:
        return _row(element, depth)
    thickness = "" if has_rule else ' linethickness="0"'
    return f"<mfrac{thickness}><mrow>{_row(parts[-1], depth)}</mrow><mrow>{_row(parts[0], depth)}</mrow></mfrac>"


def _root(element: ElementNode, depth: int) -> str:
    inner = next((box for _, box in _boxes(element) if not _holds(box, "hide-tail")), None)
    radicand = f"<mrow>{_row(inner, depth)}</mrow>" if inner is not None else "<mrow></mrow>"
    index = next((child for child in element.children.values() if "root" in _classes(child)), None)
    boxes = _boxes(index) if index is not None else []
    return (
        f"<mroot>{radicand}<mrow>{_row(boxes[0][1], depth)}</mrow></mroot>" if boxes else f"<msqrt>{radicand}</msqrt>"
    )


def _limits(element: ElementNode, depth: int) -> str:
    """An operator with limits: those stand in smaller boxes above and below it."""
    boxes = [box for _, box in _boxes(element)]
    is_limit = [_holds(box, "sizing") for box in boxes]
    middle = is_limit.index(False) if False in is_limit else min(1, len(boxes) - 1)
    lower = [_row(box, depth) for box in boxes[:middle]]
    upper = [_row(box, depth) for box in boxes[middle + 1 :]]
    base = f"<mrow>{_row(boxes[middle], depth)}</mrow>" if boxes else "<mrow></mrow>"
    return _stack(base, "".join(lower), "".join(upper))


def _stack(base: str, lower: str, upper: str) -> str:
    marks = "".join(f"<mrow>{mark}</mrow>" for mark in (lower, upper) if mark)
    name = "munderover" if lower and upper else "munder" if lower else "mover"
    return f"<{name}>{base}{marks}</{name}>" if marks else base


def _brace(element: ElementNode, depth: int) -> str:
    """`.mover` and `.munder`: a brace drawn over or under its base, or a label at such a brace."""
    boxes = [box for _, box in _boxes(element)]
    is_over = "mover" in _classes(element)
    if len(boxes) < 2:
        return _row(element, depth)
    base, mark = (boxes[0], boxes[-1]) if is_over else (boxes[-1], boxes[0])
    is_brace = mark.query_selector(".brace-left, .brace-center") is not None and "svg-align" in _classes(mark)
    label = f"<mo>{'⏞' if is_over else '⏟'}</mo>" if is_brace else _row(mark, depth) or "<mo>―</mo>"
    return _stack(f"<mrow>{_row(base, depth)}</mrow>", "" if is_over else label, label if is_over else "")


def _accent(element: ElementNode, depth: int) -> str:
    boxes = [box for _, box in _boxes(element)]
    if len(boxes) < 2:
        return _row(element, depth)
    marks = [box for box in boxes if _holds(box, "accent-body")]
    marks += [box for box in boxes if "svg-align" in _classes(box)]
    mark = marks[0] if marks else boxes[-1]
    base = next((box for box in boxes if box is not mark), boxes[0])
    char = (mark.text_content or "").strip("\u200b \n") or _drawn_accent(mark)
    stretchy = ' stretchy="true"' if "svg-align" in _classes(mark) else ""
    return f"<mover><mrow>{_row(base, depth)}</mrow><mo{stretchy}>{escape(char)}</mo></mover>"


def _drawn_accent(mark: ElementNode) -> str:
    """The accent that an outline stands for: an arrow keeps one end where it is cut, hats have set widths."""
    drawing = mark.query_selector("svg")
    if drawing is None:
        return "―"
    ratio = drawing.getattr("preserveAspectRatio") or drawing.getattr("preserveaspectratio") or ""
    width = _width(drawing)
    if "slice" in ratio or not width:
        return "←" if ratio.startswith("xMin") else "→"
    return "→" if width == "471" else "^" if width in _HAT_WIDTHS else "~"


def _line(char: str, is_over: bool):
    def read(element: ElementNode, depth: int) -> str:
        boxes = [box for _, box in _boxes(element) if not _holds(box, "overline-line", "underline-line")]
        base = f"<mrow>{_row(boxes[0], depth)}</mrow>" if boxes else "<mrow></mrow>"
        return f"<mover>{base}<mo>‾</mo></mover>" if is_over else f"<munder>{base}<mo>{char}</mo></munder>"

    return read


def _arrow(element: ElementNode, depth: int) -> str:
    boxes = _boxes(element)
    drawn = next((index for index, (_, box) in enumerate(boxes) if "svg-align" in _classes(box)), 0)
    lower = "".join(_row(box, depth) for _, box in boxes[:drawn])
    upper = "".join(_row(box, depth) for _, box in boxes[drawn + 1 :])
    char = _drawn_accent(boxes[drawn][1]) if boxes else "→"
    return _stack(f"<mo>{char}</mo>", lower, upper)


def _table(element: ElementNode, depth: int) -> str:
    """A table, which KaTeX sets column by column."""
    columns, aligns = [], ""
    for child in element.children.values():
        align = next((name[-1] for name in _classes(child) if name.startswith("col-align-")), "")
        if align:
            columns.append([_row(box, depth) for _, box in reversed(_boxes(child))])
            aligns += align
    height = max(map(len, columns), default=0)
    rows = [[column[index] if index < len(column) else "" for column in columns] for index in range(height)]
    body = "".join(f"<mtr>{''.join(f'<mtd>{cell}</mtd>' for cell in row)}</mtr>" for row in rows)
    columnalign = "right left" if aligns.startswith("rl") else "center"
    return f'<mtable columnalign="{columnalign}">{body}</mtable>'


_READERS = {
    "mfrac": _fraction, "sqrt": _root, "op-limits": _limits, "accent": _accent, "overline": _line("‾", True),
    "underline": _line("_", False), "x-arrow": _arrow, "mtable": _table, "mover": _brace, "munder": _brace,
    "mop": _operator,
}  # fmt: skip
