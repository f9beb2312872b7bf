"""Page text as markup: paragraphs and formulas, the formulas as MathML, everything a page wrote escaped.

latex2mathml reads the LaTeX; its tree, never its text, is written out here, elements and attributes from fixed lists,
because its own output carries a page's `<img>` and `href` through.
"""

import html
import re
from collections.abc import Iterator
from functools import lru_cache
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter
from markupsafe import Markup, escape

from mining.inspect import formats

_FORMULA = re.compile(r"(?<!\\)\$\$(.+?)(?<!\\)\$\$|(?<!\\)\$(?!\s)([^$\n]{1,1500}?)(?<![\\\s])\$", re.DOTALL)
_MAX_LATEX = 1500
_MAX_ELEMENTS = 1200
_MAX_DEPTH = 60
# Macros can double their own length at every step.
_DEFINES = re.compile(r"\\(?:re)?newcommand|\\def\b|\\let\b|\\DeclareMathOperator|\\newenvironment")
# Readers know them; pages define them where extraction does not look (KaTeX has them built in).
_NUMBER_SETS = re.compile(r"\\([RNZQC])(?![A-Za-z])")
_NUMBERED = re.compile(r"\\(begin|end)\{(align|equation|gather|alignat|eqnarray|multline)\}")
_ELEMENTS = re.compile(
    "math|mrow|mi|mn|mo|mtext|mspace|msup|msub|msubsup|mover|munder|munderover|mfrac|msqrt|mroot|mtable|mtr|mtd|"
    "mstyle|mpadded|mphantom|menclose|mmultiscripts|mprescripts|none"
)
_ATTRIBUTES = re.compile(
    "display|displaystyle|scriptlevel|stretchy|fence|largeop|movablelimits|symmetric|form|separator|accent|"
    "accentunder|linethickness|width|height|depth|lspace|rspace|minsize|maxsize|columnalign|columnlines|rowlines|"
    "columnspacing|rowspacing|notation"
)
_VALUE = re.compile(r"[\w.%+\-]+(?: [\w.%+\-]+)*", re.ASCII)
# MathML Core knows no mathvariant but normal: letters are written in their own Unicode block instead.
_BLOCKS = {
    "bold": (0x1D400, 0x1D41A, 0x1D7CE),
    "italic": (0x1D434, 0x1D44E, None),
    "bold-italic": (0x1D468, 0x1D482, None),
    "script": (0x1D49C, 0x1D4B6, None),
    "fraktur": (0x1D504, 0x1D51E, None),
    "double-struck": (0x1D538, 0x1D552, 0x1D7D8),
    "sans-serif": (0x1D5A0, 0x1D5BA, 0x1D7E2),
    "monospace": (0x1D670, 0x1D68A, 0x1D7F6),
}
_HOLES = {
    "italic": {"h": "ℎ"},
    "script": dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ", strict=True)),
    "fraktur": dict(zip("CHIRZ", "ℭℌℑℜℨ", strict=True)),
    "double-struck": dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)),
}


def page_markup(text: str, *, max_chars: int) -> Markup:
    """The beginning of a page's text with its formulas as MathML; line ends stay (the style sheet keeps them)."""
    cut = text[:max_chars]
    if len(text) > max_chars and cut.count("$") % 2:
        cut = cut[: cut.rindex("$")]
    parts: list[Markup] = []
    last = 0
    for found in _FORMULA.finditer(cut):
        parts += [_plain(cut[last : found.start()]), formula_markup(found[1] or found[2], display=bool(found[1]))]
        last = found.end()
    parts.append(_plain(cut[last:]))
    if len(text) > len(cut):
        parts.append(Markup("…"))
    return Markup("").join(parts)


def _plain(text: str) -> Markup:
    return escape(re.sub(r"\n{3,}", "\n\n", formats.printable(text.replace(r"\$", "$"), keep_lines=True)))


@lru_cache(maxsize=4096)
def formula_markup(latex: str, *, display: bool) -> Markup:
    """A formula as MathML; its LaTeX source as code where it is too long, defines macros or cannot be read."""
    fence = "$$" if display else "$"
    source = Markup('<code class="latex">{}</code>').format(formats.printable(f"{fence}{latex}{fence}"))
    if len(latex) > _MAX_LATEX or _DEFINES.search(latex):
        return source
    readable = _NUMBER_SETS.sub(r"\\mathbb{\1}", _NUMBERED.sub(r"\\\1{\2*}", latex))
    try:
        tree = Converter(display="block" if display else "inline").convert_to_element(readable)
        return Markup("").join(_write(tree, depth=0, count=[0]))
    except Exception:  # a foreign parser on hostile input: whatever it trips over, the source is shown
        return source


def _write(element: Element, *, depth: int, count: list[int]) -> Iterator[Markup]:
    """The markup of a tree, from the fixed lists; ValueError for one that is too large."""
    count[0] += 1
    if depth > _MAX_DEPTH or count[0] > _MAX_ELEMENTS:
        raise ValueError("too large a formula")
    known = _ELEMENTS.fullmatch(element.tag) is not None
    if known:
        yield Markup("<{}{}>").format(element.tag, _attributes(element))
    if element.text:
        # latex2mathml leaves its own character references for its serialiser to undo.
        text = formats.printable(html.unescape(element.text))
        yield escape(_in_block(text, element.get("mathvariant", "")))
    for child in element:
        yield from _write(child, depth=depth + 1, count=count)
    if known:
        yield Markup("</{}>").format(element.tag)


def _attributes(element: Element) -> Markup:
    kept = [(name, value) for name, value in element.items() if _ATTRIBUTES.fullmatch(name) and _VALUE.fullmatch(value)]
    if element.get("mathvariant") == "normal":
        kept.append(("mathvariant", "normal"))
    return Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in kept)


def _in_block(text: str, variant: str) -> str:
    starts = _BLOCKS.get(variant)
    if starts is None:
        return text
    holes = _HOLES.get(variant, {})
    return "".join(holes.get(letter) or _shifted(letter, starts) for letter in text)


def _shifted(letter: str, starts: tuple[int, int, int | None]) -> str:
    for first, last, start in (("A", "Z", starts[0]), ("a", "z", starts[1]), ("0", "9", starts[2])):
        if start is not None and first <= letter <= last:
            return chr(start + ord(letter) - ord(first))
    return letter
