"""Names that page furniture bears, and lines that are furniture: what a reader of the text would not miss."""

import re
from functools import lru_cache
from importlib.resources import files
from itertools import combinations

from mining.html.asides import CREDIT_SIGNS, OPENERS, heads_references, without_asides
from mining.html.lines import (
    BARE,
    BLANK,
    CODE,
    COLON,
    HEADED,
    LINKED,
    MOSTLY_LINKS,
    STRONG,
    TABBED,
    facts,
    without_marks,
)
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
_PAIRED = {word for pair in _WORDS["furniture pairs"] for word in pair.split("+")}
# A caption's words often stand in an element of their own: "wp-caption-text".
_CAPTIONS = frozenset(("caption", "captions", "figcaption"))
_HOLDER_WORDS_OF_CAPTIONS = _WORDS["holder words"] - {"text"}


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
    paired = sorted(words & _PAIRED)
    pairs = {f"{one}+{other}" for one, other in combinations(paired, 2)}
    if pairs & _WORDS["furniture pairs"] and not words & _WORDS["absence"]:
        return FURNITURE
    if words & _WORDS["furniture words"] and not words & _WORDS["text words"]:
        return FURNITURE
    holders = _HOLDER_WORDS_OF_CAPTIONS if words & _CAPTIONS else _WORDS["holder words"]
    return BESIDE if words & _WORDS["beside words"] and not words & holders else 0


_MIN_MIDDLE_SHARE = 0.4
_MIN_MIDDLE_CHARS = 400
_MIN_DENSE_SHARE = 0.6
_MAX_LINKS_AT_HEAD = 1
_MAX_LINKED_ITEMS = 4
_LINKED_LINE_COST, _WEAK_LINE_COST, _MAX_LINE_GAIN = 110, 90, 300
_MIN_LINE = 3
_MIN_TITLE, _MAX_SHARE_BEFORE_TITLE = 12, 0.5
_ITEM = re.compile(rf"\s*(?:•|\d+\.)\s*{LINK_START}?\w")
_NAVIGATION = re.compile(
    r"\s*(?:(?:next|prev(?:ious)?|up|goto chapter|nächste|vorherige|上一[篇章页]|下一[篇章页])"
    rf"(?: (?:page|chapter|section|post))?\s?[:：][^\w{LINK_START}]*)+{LINK_START}",
    re.IGNORECASE,
)


def drop_link_lines(text: str, title: str = "", *, is_prose: bool = False) -> str:
    """The text without runs of lines that are links and nothing else, and without the marks of links.

    title: the page's <title>. is_prose: the page has no formulas, so that what stands far from its long lines is no
    text either, nor what stands before the heading that is its title.
    """
    text = text.replace(LINK_START + LINK_END, "")
    lines = text.split("\n")
    known = facts(text, OPENERS, CREDIT_SIGNS, is_prose=is_prose)
    if LINK_START in text:
        kept = _without_link_runs(lines, known)
        lines, known = [lines[index] for index in kept], [known[index] for index in kept]
    if is_prose and (start := _title_line(lines, known, title)):
        lines, known = lines[start:], known[start:]
    first, last = _densest(lines, known) if is_prose else _ends(lines, known)
    if sum(map(len, lines[first:last])) >= max(_MIN_MIDDLE_CHARS, _MIN_MIDDLE_SHARE * sum(map(len, lines))):
        lines, known = lines[first:last], known[first:last]
    if is_prose:
        lines = without_asides(lines, known)
    return without_marks("\n".join(lines))


def _title_line(lines: list[str], known: list[int], title: str) -> int:
    """Where the heading stands that is the page's title, 0 where there is none or much text before it."""
    if len(title) < _MIN_TITLE:
        return 0
    for index, fact in enumerate(known):
        if not fact & HEADED:
            continue
        heading = " ".join(without_marks(lines[index]).split())
        # A title has the site's name beside the page's; a section's name can be a part of it, too.
        is_title = title.startswith(heading) or (heading in title and 2 * len(heading) >= len(title))
        if len(heading) >= _MIN_TITLE and is_title:
            before, after = _gain(lines[:index], known[:index]), _gain(lines[index:], known[index:])
            return index if before <= _MAX_SHARE_BEFORE_TITLE * after else 0
    return 0


def _gain(lines: list[str], known: list[int]) -> int:
    """What the lines of text score, whatever stands between them."""
    return sum(max(0, _score(len(line), fact)) for line, fact in zip(lines, known, strict=True))


def _densest(lines: list[str], known: list[int]) -> tuple[int, int]:
    """The run of lines with the greatest sum of scores, and its heading: long lines gain, short or linked ones cost."""
    scores = [_score(len(line), fact) for line, fact in zip(lines, known, strict=True)]
    best, first, last = 0, 0, len(lines)
    total = start = gained_in_all = 0
    for index, score in enumerate(scores):
        if total <= 0:
            total, start = 0, index
        total += score
        if score > 0:
            gained_in_all += score
            if total > best:
                best, first, last = total, start, index + 1
    if sum(score for score in scores[first:last] if score > 0) < _MIN_DENSE_SHARE * gained_in_all:
        return 0, len(lines)
    return _head_of(lines, known, first), _tail_of(lines, known, last)


def _score(length: int, fact: int) -> int:
    if length < _MIN_LINE or fact & HEADED:
        return 0
    if fact & MOSTLY_LINKS:
        return -_LINKED_LINE_COST
    return min(_MAX_LINE_GAIN, length) if fact & (CODE | STRONG) else -_WEAK_LINE_COST


def _ends(lines: list[str], known: list[int]) -> tuple[int, int]:
    """Where the text starts and ends without the weak lines around it: short, no sentence, no formula."""
    first = next((index for index, fact in enumerate(known) if fact & STRONG), None)
    if first is None:
        return 0, len(lines)
    last = next(index for index in range(len(lines) - 1, -1, -1) if known[index] & STRONG)
    return _head_of(lines, known, first), _tail_of(lines, known, last + 1)


def _tail_of(lines: list[str], known: list[int], last: int) -> int:
    """Where the text ends: what follows its last strong line without a link is the end of a list or of code.

    Links under a heading of references belong to the text.
    """
    end = next((index for index in range(last, len(lines)) if known[index] & LINKED), len(lines))
    if end == len(lines):
        return end
    above = next((index for index in range(end - 1, -1, -1) if lines[index].strip()), -1)
    if above < 0 or not known[above] & HEADED or not heads_references(lines[above]):
        return end
    return next((index for index in range(end, len(lines)) if known[index] & HEADED), len(lines))


def _head_of(lines: list[str], known: list[int], first: int) -> int:
    """Where the headings of the first line of text start: the line before it, or the first heading below the links."""
    head = next((index for index in range(first - 1, -1, -1) if lines[index].strip()), first)
    num_links = 0
    for index in range(first - 1, -1, -1):
        if known[index] & HEADED:
            head = min(head, index)
        elif known[index] & BARE:
            num_links += 1
            if num_links > _MAX_LINKS_AT_HEAD:
                break
    return head


def _without_link_runs(lines: list[str], known: list[int]) -> list[int]:
    """The indices of the lines to keep."""
    out: list[int] = []
    run: list[int] = []
    num_run = 0
    for index, fact in enumerate(known):
        if fact & LINKED and not fact & HEADED:
            if fact & COLON and _NAVIGATION.match(lines[index]):
                continue
            if fact & BARE and not fact & TABBED:
                run.append(index)
                num_run += 1
                continue
        if run:
            if fact & BLANK:
                run.append(index)
                continue
            if num_run < 2 or _announces(lines, out) or _is_inside_list(lines, out, run, index):
                out += run
            run, num_run = [], 0
        out.append(index)
    if num_run == 1 or _announces(lines, out):
        out += run
    return out


def _is_inside_list(lines: list[str], before: list[int], run: list[int], after: int) -> bool:
    """Whether a few links are items of a list whose other items are text."""
    if len(run) > _MAX_LINKED_ITEMS:
        return False
    items = [lines[index] for index in (*run, after) if index == after or lines[index].strip()]
    return all(map(_ITEM.match, (_last_line(lines, before), *items)))


def _announces(lines: list[str], before: list[int]) -> bool:
    """Whether the last line of text says that a list follows: by a colon, or as the heading of references."""
    last = _last_line(lines, before)
    return last.rstrip(f" {LINK_END}").endswith((":", "：")) or (HEADING in last and heads_references(last))


def _last_line(lines: list[str], indices: list[int]) -> str:
    """The last of the lines at the indices that is not blank."""
    return next((lines[index] for index in reversed(indices) if lines[index].strip()), "")
