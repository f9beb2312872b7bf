"""Names that page furniture bears, and lines that are furniture: what a reader of the text would not miss."""

import re
from functools import lru_cache
from importlib.resources import files

FURNITURE, HOLDER = 1, 2
"""Verdicts of `judged` beside 0."""

LINK_START, LINK_END = "\x01", "\x02"
"""Stand around every link from the cleaned source to `drop_link_lines`."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_NAME = re.compile(r"[A-Za-z_][\w-]{1,59}")
_FORMULA_NAME = re.compile("mjx|katex|math", re.IGNORECASE)


def _word_lists() -> dict[str, frozenset[str]]:
    text = files("mining.html").joinpath("furniture.txt").read_text(encoding="utf-8")
    parts = re.split(r"^\[(.+?)\].*\n", text, flags=re.MULTILINE)[1:]
    return {name: frozenset(words.split()) for name, words in zip(parts[::2], parts[1::2], strict=True)}


# "site-footer" is furniture; "has-sidebar" and "post-content" are not.
_WORDS = _word_lists()


@lru_cache(maxsize=1 << 17)
def judged(names: str) -> int:
    """What a class or id attribute says: FURNITURE, HOLDER of the page's text, or 0."""
    plain = names.split()
    if not _WORDS["holders"].isdisjoint(plain) or _FORMULA_NAME.search(names):
        return HOLDER
    return FURNITURE if any(_NAME.fullmatch(name) and _is_furniture(name) for name in plain) else 0


def _is_furniture(name: str) -> bool:
    if name in _WORDS["furniture names"]:
        return True
    words = {word.lower() for word in _WORD.findall(name)}
    return bool(words & _WORDS["furniture words"]) and not words & _WORDS["text words"]


_MIN_MIDDLE_SHARE = 0.4
_MIN_MIDDLE_CHARS = 400
_LINKED = re.compile(f"{LINK_START}[^{LINK_END}\n]*{LINK_END}?")
_FILLER = r"[\s•·|»«>/,;:.\-–—\d()\[\]]*+"
_BARE_LINKS = re.compile(f"{_FILLER}(?:{LINK_START}[^{LINK_END}]*+{LINK_END}?{_FILLER})+")
_FORMULA = re.compile(r"[=+<>^≤≥∈$\\\U0010f000-\U0010f0ff]")
_SENTENCE_END = re.compile(r"[.!?…)”\"]\s*$")
_CJK_SENTENCE_END = re.compile(r"[\u3041-\u9fff].*[。！？；：…”」）]\s*$")


def drop_link_lines(text: str) -> str:
    """The text without runs of lines that are links and nothing else, and without the marks of links."""
    lines = text.split("\n")
    if LINK_START in text:
        lines = _without_link_runs(lines)
    first, last = _ends(lines)
    if sum(map(len, lines[first:last])) >= max(_MIN_MIDDLE_CHARS, _MIN_MIDDLE_SHARE * sum(map(len, lines))):
        lines = lines[first:last]
    return "\n".join(lines).replace(LINK_START, "").replace(LINK_END, "")


def _ends(lines: list[str]) -> tuple[int, int]:
    """Where the text starts and ends without the weak lines around it: short, no sentence, no formula."""
    first = next((index for index, line in enumerate(lines) if _is_strong(line)), None)
    if first is None:
        return 0, len(lines)
    last = next(index for index in range(len(lines) - 1, -1, -1) if _is_strong(lines[index]))
    # The line before the first strong one is a heading as a rule.
    head = next((index for index in range(first - 1, -1, -1) if lines[index].strip()), first)
    return head, last + 1


def _is_strong(line: str) -> bool:
    """Whether a line is a sentence or a formula, whatever links it holds."""
    if LINK_START in line:
        line = _LINKED.sub("", line)
    if len(line) >= 60 or _FORMULA.search(line):
        return True
    if line.isascii():
        return len(line) >= 12 and _SENTENCE_END.search(line) is not None
    return len(line) >= 24 or _CJK_SENTENCE_END.search(line) is not None


def _without_link_runs(lines: list[str]) -> list[str]:
    out: list[str] = []
    run: list[str] = []
    num_run = 0
    for line in lines:
        if LINK_START in line and _BARE_LINKS.fullmatch(line):
            run.append(line)
            num_run += 1
            continue
        if not line.strip(" \x02") and run:
            run.append(line)
            continue
        if run:
            if num_run < 2:
                out += run
            run, num_run = [], 0
        out.append(line)
    if num_run == 1:
        out += run
    return out
