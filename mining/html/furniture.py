"""Names that page furniture bears, and lines that are furniture: what a reader of the text would not miss."""

import re
from functools import lru_cache
from importlib.resources import files

from mining.html.asides import heads_references, without_asides
from mining.html.marks import HEADING, LINK_END, LINK_START

BESIDE, FURNITURE, HOLDER, FURNITURE_BY_NAME = 1, 2, 3, 4
"""Verdicts of `judged` beside 0: furniture of pages without formulas only, furniture by a word in a name, a holder of
the page's text, furniture by the whole name."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_MEANINGLESS_PREFIXES = ("js-", "elementor-")
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
    """What a class or id attribute says: one of the verdicts, or 0."""
    plain = names.split()
    if not _WORDS["holders"].isdisjoint(plain) or _FORMULA_NAME.search(names):
        return HOLDER
    verdicts = [_verdict(name) for name in plain if _NAME.fullmatch(name)]
    return max(verdicts, default=0)


def _verdict(name: str) -> int:
    if name in _WORDS["furniture names"]:
        return FURNITURE_BY_NAME
    if name.startswith(_MEANINGLESS_PREFIXES) or name in _WORDS["text names"]:
        return 0
    words = {word.lower() for word in _WORD.findall(name)}
    if words & _WORDS["furniture words"] and not words & _WORDS["text words"]:
        return FURNITURE
    return BESIDE if words & _WORDS["beside words"] and not words & _WORDS["holder words"] else 0


_MIN_MIDDLE_SHARE = 0.4
_MIN_MIDDLE_CHARS = 400
_MIN_DENSE_SHARE = 0.6
_MAX_LINKS_AT_HEAD = 1
_MAX_LINKED_ITEMS = 4
_LINKED_LINE_COST, _WEAK_LINE_COST, _MAX_LINE_GAIN = 110, 90, 300
_CODE = re.compile(r"[={};\t]|\(\)")
_LINKED = re.compile(f"{LINK_START}[^{LINK_END}\n]*{LINK_END}?")
_FILLER = r"[\s•·|»«>/,;:.\-–—\d()\[\]]*+"
_BARE_LINKS = re.compile(f"{_FILLER}(?:{LINK_START}[^{LINK_END}]*+{LINK_END}?{_FILLER})+")
_ITEM = re.compile(rf"\s*(?:•|\d+\.)\s*{LINK_START}?\w")
_NAVIGATION = re.compile(
    r"\s*(?:(?:next|prev(?:ious)?|up|goto chapter|nächste|vorherige|上一[篇章页]|下一[篇章页])"
    rf"(?: (?:page|chapter|section|post))?\s?[:：][^\w{LINK_START}]*)+{LINK_START}",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"[=+<>^≤≥∈$\\\U0010f000-\U0010f0ff]")
_WORD_OUTSIDE = re.compile(r"[^\W\d_]{2}")
_SENTENCE_END = re.compile(r"[.!?…)”\"]\s*$")
_CJK = re.compile("[\u3041-\u9fff\uac00-\ud7a3]")
_CJK_SENTENCE_END = re.compile(r"[\u3041-\u9fff].*[。！？；：…”」）]\s*$")


def drop_link_lines(text: str, *, is_prose: bool = False) -> str:
    """The text without runs of lines that are links and nothing else, and without the marks of links.

    is_prose: the page has no formulas, so that what stands far from its long lines is no text either.
    """
    lines = text.replace(LINK_START + LINK_END, "").split("\n")
    if LINK_START in text:
        lines = _without_link_runs(lines)
    first, last = _densest(lines) if is_prose else _ends(lines)
    if sum(map(len, lines[first:last])) >= max(_MIN_MIDDLE_CHARS, _MIN_MIDDLE_SHARE * sum(map(len, lines))):
        lines = lines[first:last]
    if is_prose:
        lines = without_asides(lines)
    return (
        "\n".join(lines).replace(LINK_START, "").replace(LINK_END, "").replace(f"{HEADING} ", "").replace(HEADING, "")
    )


def _densest(lines: list[str]) -> tuple[int, int]:
    """The run of lines with the greatest sum of scores, and its heading: long lines gain, short or linked ones cost."""
    scores = [_score(line) for line in lines]
    best = (0.0, 0, len(lines))
    total = 0.0
    start = 0
    for index, score in enumerate(scores):
        if total <= 0:
            total, start = 0.0, index
        total += score
        if total > best[0]:
            best = (total, start, index + 1)
    _, first, last = best
    gained = sum(score for score in scores[first:last] if score > 0)
    if gained < _MIN_DENSE_SHARE * sum(score for score in scores if score > 0):
        return 0, len(lines)
    return _head_of(lines, first), _tail_of(lines, last)


def _score(line: str) -> float:
    if len(line) < 3 or HEADING in line:
        return 0
    if LINK_START in line and len(_LINKED.sub("", line)) < 0.4 * len(line):
        return -_LINKED_LINE_COST
    return min(_MAX_LINE_GAIN, len(line)) if _CODE.search(line) or _is_strong(line) else -_WEAK_LINE_COST


def _ends(lines: list[str]) -> tuple[int, int]:
    """Where the text starts and ends without the weak lines around it: short, no sentence, no formula."""
    first = next((index for index, line in enumerate(lines) if _is_strong(line)), None)
    if first is None:
        return 0, len(lines)
    last = next(index for index in range(len(lines) - 1, -1, -1) if _is_strong(lines[index]))
    return _head_of(lines, first), _tail_of(lines, last + 1)


def _tail_of(lines: list[str], last: int) -> int:
    """Where the text ends: what follows its last strong line without a link is the end of a list or of code.

    Links under a heading of references belong to the text.
    """
    end = next((index for index in range(last, len(lines)) if LINK_START in lines[index]), len(lines))
    above = next((line for line in reversed(lines[:end]) if line.strip()), "")
    if end == len(lines) or HEADING not in above or not heads_references(above):
        return end
    return next((index for index in range(end, len(lines)) if HEADING in lines[index]), len(lines))


def _head_of(lines: list[str], first: int) -> int:
    """Where the headings of the first line of text start: the line before it, or the first heading below the links."""
    head = next((index for index in range(first - 1, -1, -1) if lines[index].strip()), first)
    num_links = 0
    for index in range(first - 1, -1, -1):
        if HEADING in lines[index]:
            head = min(head, index)
        elif LINK_START in lines[index] and _BARE_LINKS.fullmatch(lines[index]):
            num_links += 1
            if num_links > _MAX_LINKS_AT_HEAD:
                break
    return head


def _is_strong(line: str) -> bool:
    """Whether a line is a sentence or a formula, whatever links it holds."""
    if LINK_START in line:
        line = _LINKED.sub("", line)
        if line.rstrip().endswith((".", "。")) and _WORD_OUTSIDE.search(line):
            return True
    if len(line) >= 60 or _FORMULA.search(line):
        return True
    if line.isascii():
        return len(line) >= 12 and _SENTENCE_END.search(line) is not None
    return (len(line) >= 24 and _CJK.search(line) is not None) or _CJK_SENTENCE_END.search(line) is not None


def _without_link_runs(lines: list[str]) -> list[str]:
    out: list[str] = []
    run: list[str] = []
    num_run = 0
    for line in lines:
        if LINK_START in line and HEADING not in line:
            if (":" in line or "：" in line) and _NAVIGATION.match(line):
                continue
            if "\t" not in line and _BARE_LINKS.fullmatch(line):
                run.append(line)
                num_run += 1
                continue
        if not line.strip(f" {LINK_END}") and run:
            run.append(line)
            continue
        if run:
            if num_run < 2 or _announces(out) or _is_inside_list(out, run, line):
                out += run
            run, num_run = [], 0
        out.append(line)
    if num_run == 1 or _announces(out):
        out += run
    return out


def _is_inside_list(before: list[str], run: list[str], after: str) -> bool:
    """Whether a few links are items of a list whose other items are text."""
    above = next((line for line in reversed(before) if line.strip()), "")
    return len(run) <= _MAX_LINKED_ITEMS and all(_ITEM.match(line) for line in (above, *filter(str.strip, run), after))


def _announces(lines: list[str]) -> bool:
    """Whether the last line of text says that a list follows: by a colon, or as the heading of references."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last.rstrip(f" {LINK_END}").endswith((":", "：")) or (HEADING in last and heads_references(last))
