"""Lines that stand beside an article: dates, authors, credits of pictures, invitations, announcements of other pages.

For pages without formulas only: what is cut here by its words a worksheet may need.
"""

import re
from importlib.resources import files

from mining.html.marks import HEADING, LINK_END, LINK_START

_NUM_END_LINES = 15
_MAX_ANNOUNCING, _MAX_INVITING, _MAX_INVITING_SENTENCE, _MAX_LINE, _MAX_DATE = 120, 140, 60, 180, 80
_MAX_DATE_WORDS = 12
_MAX_OPENING_WORDS = 5
_FIGURES = re.compile(r"[\d()]+")
_DATE = re.compile(r"\d[-/:]\d|\d{1,2}\.\s?\d{1,2}\.\s?\d{2}")
_WORD = re.compile(r"[^\W\d_]+")
_MARKS = LINK_START + LINK_END + HEADING
_EDGES = f" \t•·|»«>/,;:.\\-–—*#()[]+!?…{_MARKS}"
_SENTENCE = re.compile(r"[.!?…。！？][”\"»)]?\s*$")
_LINK_MARKS = str.maketrans("", "", _MARKS)


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
)
_RIGHTS = re.compile(r"©|\bcopyright\W*(?:\(c\)\s*)?\d{4}|\b(?:photo|foto|image|bild|credit)s?:|\((?:photo|foto) by ")
_CREDIT_SIGNS = (
    *_PHRASES["agencies"], "/ap", "/afp", "/dpa", "/epa", "/pap", "©", "copyright", "photo", "foto", "image:",
    "images:",
    "bild:", "credit:", "credits:",
)  # fmt: skip
_OPENERS = frozenset(
    phrase.split()[0].rstrip(":")
    for kind in ("announcing", "inviting", "buttons", "credit", "authors", "tags")
    for phrase in _PHRASES[kind]
)
_BEFORE_OPENER = f"{_EDGES}0123456789"


def without_asides(lines: list[str]) -> list[str]:
    """The lines without those beside the article, and without the short ones that an announcement heads."""
    full = [index for index, line in enumerate(lines) if len(line) > 1]
    if not full:
        return lines
    head, tail = full[min(_NUM_END_LINES, len(full)) - 1], full[-min(_NUM_END_LINES, len(full))]
    joined = "\n".join(lines).lower()
    lower, signs = joined.split("\n"), _credit_signs(joined)
    kept: list[str] = []
    is_announced = False
    for index, line in enumerate(lines):
        # A heading that is a year or a name heads a section.
        is_end = (index <= head or index >= tail) and HEADING not in line
        is_short = 0 < len(line) <= _MAX_LINE
        if is_short and (is_announced or _may_be_aside(lower[index], signs, is_end=is_end)):
            plain = line.translate(_LINK_MARKS).strip()
            is_sentence = _SENTENCE.search(plain) is not None
            if kind := _kind(plain, is_sentence=is_sentence, is_end=is_end):
                is_announced = kind == "announcing"
                continue
            if is_announced and plain and not is_sentence and HEADING not in line:
                continue
            is_announced = is_announced and not plain
        elif line:
            is_announced = False
        kept.append(line)
    return kept


def heads_references(line: str) -> bool:
    """Whether a heading says that a list of the article's own sources and resources follows."""
    return line.translate(_LINK_MARKS).lower().strip(_BEFORE_OPENER) in _PHRASES["references"]


def _credit_signs(lower: str) -> tuple[str, ...]:
    """What of the signs of credits a page has at all; most have none, and no line of theirs is searched for them."""
    return tuple(sign for sign in _CREDIT_SIGNS if sign in lower)


def _may_be_aside(lower: str, signs: tuple[str, ...], *, is_end: bool) -> bool:
    """A quick look that lets most lines of text pass."""
    opening = lower.lstrip(_BEFORE_OPENER)[:40].split(None, 1)
    if opening and opening[0].partition(":")[0].rstrip(_EDGES) in _OPENERS:
        return True
    if is_end and len(lower) <= _MAX_DATE and _FIGURES.search(lower):
        return True
    return any(sign in lower for sign in signs)


def _kind(line: str, *, is_sentence: bool, is_end: bool) -> str:
    """Which list of phrases makes a line one beside the article, or nothing; is_end: it is one of the first or last."""
    lower = line.lower().strip(_EDGES)
    head, colon, _ = lower.partition(":")
    head = head.strip()
    if len(lower) <= _MAX_ANNOUNCING and head in _PHRASES["announcing"]:
        return "announcing"
    if len(lower) <= (_MAX_INVITING_SENTENCE if is_sentence else _MAX_INVITING) and _is_invitation(lower, line):
        return "inviting"
    if is_sentence:
        return ""
    if (colon and head in _PHRASES["credit"]) or _RIGHTS.search(lower) or _AGENCY.search(lower):
        return "credit"
    if is_end and len(lower) <= _MAX_DATE and (_is_date(lower) or _is_author(lower, line) or head in _PHRASES["tags"]):
        return "author"
    return ""


def _is_invitation(lower: str, line: str) -> bool:
    words = lower[:60].split()
    if any(" ".join(words[:size]) in _PHRASES["inviting"] for size in range(1, _MAX_OPENING_WORDS + 1)):
        return True
    return not line.endswith(":") and " ".join(_FIGURES.sub(" ", lower).split()) in _PHRASES["buttons"]


def _is_author(lower: str, line: str) -> bool:
    """Whether the line is `by` and a name."""
    words = lower.split()
    names = line.strip(_EDGES).split()
    for size in range(1, min(len(words), _MAX_OPENING_WORDS + 1)):
        if " ".join(words[:size]) in _PHRASES["authors"]:
            return names[size][:1].isupper() and not line.endswith(":")
    return False


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
