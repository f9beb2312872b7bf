"""What each line of a page's text is, as far as its characters say: links, a sentence, code, maybe an aside.

The rules of `furniture` and `asides` decide by these facts. `facts` is the same function twice: here as the reference,
in `_lines.c` compiled (tests hold the two equal); where no compiler was found, this one serves.
"""

import re
from collections.abc import Set
from importlib import import_module
from types import ModuleType

from mining.html.marks import HEADING, LINK_END, LINK_START

try:
    compiled: ModuleType | None = import_module("mining.html._lines")
except ImportError:
    compiled = None

LINKED, HEADED, TABBED = 1, 2, 4
"""The line holds the start of a link, a heading, a tab."""
BARE = 8
"""Links and what stands between them, and nothing else."""
MOSTLY_LINKS = 16
"""Less than MIN_SHARE_OUTSIDE of the line stands outside its links."""
STRONG = 32
"""A sentence or a formula, whatever links the line holds."""
CODE = 64
"""It has signs of code."""
COLON = 128
"""It has a colon."""
OPENER = 256
"""Short, and its first word is one that lines beside an article open with."""
FIGURES = 512
"""Short enough for a date, and it has a digit or a round bracket."""
BLANK = 1024
"""Nothing, or blanks and ends of links."""
SIGN = 2048
"""Short, and it has a sign of a credit."""

MIN_SHARE_OUTSIDE = 0.4
MAX_ASIDE, MAX_DATE = 180, 80
_MIN_STRONG, _MIN_SENTENCE, _MIN_CJK = 60, 12, 24
_MAX_OPENING = 40

EDGES = f" \t•·|»«>/,;:.\\-–—*#()[]+!?…{LINK_START}{LINK_END}{HEADING}"
"""What may stand around the words of a line."""
BEFORE_WORDS = f"{EDGES}0123456789"
"""What may stand before them."""

LINK = re.compile(f"{LINK_START}[^{LINK_END}\n]*{LINK_END}?")
_CODE = re.compile(r"[={};\t]|\(\)")
_FILLER = r"[\s•·|»«>/,;:.\-–—\d()\[\]]*+"
_BARE = re.compile(f"{_FILLER}(?:{LINK_START}[^{LINK_END}]*+{LINK_END}?{_FILLER})+")
_FORMULA = re.compile(r"[=+<>^≤≥∈$\\\U0010f000-\U0010f0ff]")
_WORD_OUTSIDE = re.compile(r"[^\W\d_]{2}")
_ASCII_END = (".", "!", "?", ")", '"')
_CJK_END = tuple("。！？；：…”」）")
_CJK_LETTER = re.compile("[\u3041-\u9fff]")
_CJK = re.compile("[\u3041-\u9fff\uac00-\ud7a3]")
_ODD_SPACES = {"\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "", "\u00ad": "", "\r": ""}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufffe\uffff]")
_PLANE_16 = re.compile("[\U0010f000-\U0010f1ff]")
_FIGURE = re.compile(r"[\d()]")
_CAPITALS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def facts(text: str, openers: Set[str], signs: tuple[str, ...], *, is_prose: bool) -> list[int]:
    """The facts of every line of a text, or'ed.

    is_prose: asides are looked for; else no line has the facts OPENER and SIGN. openers: words that open asides, in
    lower case. signs: strings that asides hold, in lower case as far as ASCII goes.
    """
    if compiled:
        return compiled.facts(text, is_prose, openers, signs)
    return facts_in_python(text, openers, signs, is_prose=is_prose)


def facts_in_python(text: str, openers: Set[str], signs: tuple[str, ...], *, is_prose: bool) -> list[int]:
    """`facts` without a compiler."""
    lines = text.split("\n")
    known = [_facts(line) for line in lines]
    if is_prose:
        for index, line in enumerate(lines):
            if len(line) <= MAX_ASIDE:
                known[index] |= OPENER * _opens(line, openers) | SIGN * _has_sign(line, signs)
    return known


def holds_marks(text: str) -> bool:
    """Whether a text holds characters of `delimiters` that stand around formulas or in place of others."""
    return compiled.holds_marks(text) if compiled else holds_marks_in_python(text)


def holds_marks_in_python(text: str) -> bool:
    """`holds_marks` without a compiler."""
    return _PLANE_16.search(text) is not None


def without_marks(text: str) -> str:
    """A text without the marks of links and headings, and without a space after a heading's."""
    return compiled.without_marks(text) if compiled else without_marks_in_python(text)


def without_marks_in_python(text: str) -> str:
    """`without_marks` without a compiler."""
    text = text.replace(LINK_START, "").replace(LINK_END, "")
    return text.replace(f"{HEADING} ", "").replace(HEADING, "")


def without_odd_characters(text: str) -> str:
    """A text with plain spaces for odd ones, and without soft hyphens, controls, surrogates and private characters."""
    return compiled.without_odd_characters(text) if compiled else without_odd_characters_in_python(text)


def without_odd_characters_in_python(text: str) -> str:
    """`without_odd_characters` without a compiler."""
    for odd, plain in _ODD_SPACES.items():
        text = text.replace(odd, plain)
    return _CONTROL.sub("", text)


def _facts(line: str) -> int:
    is_linked = LINK_START in line
    is_date = len(line) <= MAX_DATE and _FIGURE.search(line) is not None
    return (
        LINKED * is_linked
        | HEADED * (HEADING in line)
        | TABBED * ("\t" in line)
        | BARE * (is_linked and _BARE.fullmatch(line) is not None)
        | MOSTLY_LINKS * (is_linked and len(LINK.sub("", line)) < MIN_SHARE_OUTSIDE * len(line))
        | STRONG * _is_strong(line, is_linked=is_linked)
        | CODE * (_CODE.search(line) is not None)
        | COLON * (":" in line or "：" in line)
        | FIGURES * is_date
        | BLANK * (not line.strip(f" {LINK_END}"))
    )


def _is_strong(line: str, *, is_linked: bool) -> bool:
    if is_linked:
        line = LINK.sub("", line)
        if line.rstrip().endswith((".", "。")) and _WORD_OUTSIDE.search(line):
            return True
    if len(line) >= _MIN_STRONG or _FORMULA.search(line):
        return True
    if line.isascii():
        return len(line) >= _MIN_SENTENCE and line.rstrip().endswith(_ASCII_END)
    is_end = line.rstrip().endswith(_CJK_END) and _CJK_LETTER.search(line) is not None
    return is_end or (len(line) >= _MIN_CJK and _CJK.search(line) is not None)


def _opens(line: str, openers: Set[str]) -> bool:
    words = line.lstrip(BEFORE_WORDS)[:_MAX_OPENING].split(None, 1)
    return bool(words) and words[0].partition(":")[0].rstrip(EDGES).lower() in openers


def _has_sign(line: str, signs: tuple[str, ...]) -> bool:
    lower = line.translate(_CAPITALS)  # one to one, as in C; str.lower makes two characters of some
    return any(sign in lower for sign in signs)
