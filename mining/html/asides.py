"""Lines that stand beside an article: dates, authors, credits of pictures, invitations, announcements of other pages.

For pages without formulas only: what is cut here by its words a worksheet may need.
"""

import re
from importlib.resources import files

from mining.html.lines import (
    BEFORE_WORDS,
    EDGES,
    FIGURES,
    HEADED,
    MAX_ASIDE,
    MAX_DATE,
    OPENER,
    SIGN,
    STRONG,
    without_marks,
)
from mining.html.marks import HEADING, LINK_END, LINK_START

_NUM_END_LINES = 15
_MAX_ANNOUNCING, _MAX_INVITING, _MAX_INVITING_SENTENCE = 120, 140, 60
_MAX_DATE_WORDS = 12
_MAX_OPENING, _MAX_OPENING_WORDS = 60, 5
_FIGURES = re.compile(r"[\d()]+")
_DATE = re.compile(r"\d[-/:]\d|\d{1,2}\.\s?\d{1,2}\.\s?\d{2}")
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"[.!?…。！？][”\"»)]?\s*$")
_LINK_MARKS = str.maketrans("", "", LINK_START + LINK_END + HEADING)


def _phrases() -> dict[str, frozenset[str]]:
    text = files("mining.html").joinpath("asides.txt").read_text(encoding="utf-8")
    parts = re.split(r"^\[(.+?)\].*\n", text, flags=re.MULTILINE)[1:]
    kinds = {
        name: frozenset(filter(None, body.split("\n"))) for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
    return kinds | {"dates": frozenset(" ".join(kinds["dates"]).split())}


_PHRASES = _phrases()
_AGENCY = re.compile(
    r"(?:[/|(©:–,-]|\b(?:by|via|from|of))\s*(?:"
    + "|".join(map(re.escape, sorted(_PHRASES["agencies"])))
    + r")\b|/(?:ap|afp|dpa|epa|pap)\b"
    r"|\b(?:adobe stock|alamy|ap photo|getty images|istockphoto|picture alliance|shutterstock)$"
)
_RIGHTS = re.compile(r"©|\bcopyright\W*(?:\(c\)\s*)?\d{4}|\b(?:photo|foto|image|bild|credit)s?:|\((?:photo|foto) by ")
CREDIT_SIGNS = (
    *_PHRASES["agencies"], "/ap", "/afp", "/dpa", "/epa", "/pap", "©", "copyright", "photo", "foto", "image:",
    "images:",
    "bild:", "credit:", "credits:",
)  # fmt: skip
"""What lines that name who made a picture hold."""
_FIRST_WORDS = {kind: frozenset(phrase.split()[0] for phrase in _PHRASES[kind]) for kind in ("inviting", "authors")}
OPENERS = frozenset(
    phrase.split()[0].rstrip(":")
    for kind in ("announcing", "inviting", "buttons", "credit", "authors", "tags")
    for phrase in _PHRASES[kind]
)
"""First words of lines beside an article, in lower case."""


def without_asides(lines: list[str], known: list[int]) -> list[str]:
    """The lines without those beside the article, and without the short ones that an announcement heads.

    known: the lines' facts (`mining.html.lines`), which let most lines of text pass.
    """
    full = [index for index, line in enumerate(lines) if len(line) > 1]
    if not full:
        return lines
    head, tail = full[min(_NUM_END_LINES, len(full)) - 1], full[-min(_NUM_END_LINES, len(full))]
    kept: list[int] = []
    is_announced = False
    for index, (line, fact) in enumerate(zip(lines, known, strict=True)):
        # A heading that is a year or a name heads a section.
        is_end = (index <= head or index >= tail) and not fact & HEADED
        if (is_announced or fact & (OPENER | SIGN) or (is_end and fact & FIGURES)) and 0 < len(line) <= MAX_ASIDE:
            plain = line.translate(_LINK_MARKS).strip()
            is_sentence = _SENTENCE.search(plain) is not None
            if kind := _kind(plain, fact, is_sentence=is_sentence, is_end=is_end):
                is_announced = kind == "announcing"
                continue
            if is_announced and plain and not is_sentence and not fact & HEADED:
                continue
            is_announced = is_announced and not plain
        elif line:
            is_announced = False
        kept.append(index)
    return [lines[index] for index in _without_last_heading(lines, known, kept)]


def _without_last_heading(lines: list[str], known: list[int], kept: list[int]) -> list[int]:
    """The indices without the last one where it is a lone heading under a text: it announces what was cut."""
    full = (place for place in range(len(kept) - 1, -1, -1) if without_marks(lines[kept[place]]).strip())
    last, before = next(full, -1), next(full, -1)
    if before < 0 or not known[kept[last]] & HEADED or known[kept[before]] & HEADED:
        return kept
    has_text = any(known[index] & (STRONG | HEADED) == STRONG for index in kept)
    return kept[:last] if has_text else kept


def heads_references(line: str) -> bool:
    """Whether a heading says that a list of the article's own sources and resources follows."""
    return line.translate(_LINK_MARKS).lower().strip(BEFORE_WORDS) in _PHRASES["references"]


def _kind(line: str, fact: int, *, is_sentence: bool, is_end: bool) -> str:
    """Which list of phrases makes a line one beside the article, or nothing; is_end: it is one of the first or last."""
    lower = line.lower().strip(EDGES)
    head, colon, _ = lower.partition(":")
    head = head.strip()
    if len(lower) <= _MAX_ANNOUNCING and head in _PHRASES["announcing"]:
        return "announcing"
    if len(lower) <= (_MAX_INVITING_SENTENCE if is_sentence else _MAX_INVITING) and _is_invitation(lower, line):
        return "inviting"
    if is_sentence:
        return ""
    if (colon and head in _PHRASES["credit"]) or (fact & SIGN and (_RIGHTS.search(lower) or _AGENCY.search(lower))):
        return "credit"
    if is_end and len(lower) <= MAX_DATE:
        is_date = fact & FIGURES and _is_date(lower)
        return "author" if is_date or _is_author(lower, line) or head in _PHRASES["tags"] else ""
    return ""


def _opening_phrase(words: list[str], kind: str) -> int:
    """How many of the first words are a phrase of a kind, 0 where they are none."""
    if not words or words[0] not in _FIRST_WORDS[kind]:
        return 0
    sizes = range(1, min(len(words), _MAX_OPENING_WORDS) + 1)
    return next((size for size in sizes if " ".join(words[:size]) in _PHRASES[kind]), 0)


def _is_invitation(lower: str, line: str) -> bool:
    if _opening_phrase(lower[:_MAX_OPENING].split(), "inviting"):
        return True
    if line.endswith(":"):
        return False
    return " ".join(_FIGURES.sub(" ", lower).split()) in _PHRASES["buttons"]


def _is_author(lower: str, line: str) -> bool:
    """Whether the line is `by` and a name."""
    words = lower.split()
    size = _opening_phrase(words, "authors")
    names = line.strip(EDGES).split()
    return 0 < size < len(words) and names[size][:1].isupper() and not line.endswith(":")


def _is_date(lower: str) -> bool:
    """Whether the line is figures and the words around a date; bare numbers are none."""
    names = _WORD.findall(lower)
    return (
        len(names) <= _MAX_DATE_WORDS
        and "\t" not in lower
        and _FIGURES.search(lower) is not None
        and all(name in _PHRASES["dates"] for name in names)
        and (len(names) > 0 or _DATE.search(lower) is not None)
    )
