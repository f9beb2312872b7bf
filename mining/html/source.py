"""A page's source -> the source of its article: no scripts, no furniture, links marked; before anything is parsed.

What is cut here costs neither parsing nor a walk in Python. `clean` is the same function twice: here as the reference,
in `_source.c` compiled (tests hold the two equal on real pages); where no compiler was found, this one serves.
"""

import re
from importlib import import_module
from types import ModuleType

from mining.html.furniture import FURNITURE, HOLDER, LINK_END, LINK_START, judged

try:
    compiled: ModuleType | None = import_module("mining.html._source")
except ImportError:
    compiled = None

MAX_TAG_STEPS = 60
"""Steps a tag that the search for the ends of elements may take; unclosed elements beyond it stay."""

_MIN_ROOT_SHARE = 0.6
_MIN_ARTICLE_SHARE = 0.15
_MIN_ARTICLE_WEIGHT = 12
_MIN_OTHER_WEIGHT = 4
_MAX_OTHER_SHARE = 0.05
_MAX_TAG_SHARE = 0.9
_MAX_NAME_SHARE = 0.7

_TOKEN = re.compile(r"<(?:!--|(/?)([A-Za-z][A-Za-z0-9:-]*))")
_TAG_REST = re.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]{0,16384}+"|'[^']{0,16384}+')?+)*+>""", re.ASCII)
_ATTRIBUTE = re.compile(r"""([^\s=>/"']++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"']*+)))?+""", re.ASCII)
_SCRIPT_END = {name: re.compile(rf"</{name}[^>]*+>", re.IGNORECASE) for name in ("script", "style")}
_WEIGHTY = re.compile(r"[,\\$，、]")
_FURNITURE_TAGS = frozenset(("nav", "footer", "aside"))
_GUARDED_TAGS = frozenset(("form", "dialog"))
_FURNITURE_ROLES = frozenset(("navigation", "contentinfo", "search", "complementary", "banner", "dialog", "alert"))
# Pages fold away answers, solutions and proofs as others hide their pop-ups.
_FOLDED = re.compile("olution|nswer|roof|poiler|hint|ollaps|oggl|eveal|knowl|ontent|detail|ath")
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_OPTIONAL_END = frozenset(("p", "li", "td", "th", "tr", "dt", "dd", "option"))
_DRAWN = frozenset(("svg", "mjx-math"))


class _Tag:
    __slots__ = ("classes", "end", "is_link", "is_open", "is_root", "name", "named", "start", "sure", "weight")

    def __init__(self, name: str, is_open: bool, start: int, end: int, weight: int) -> None:
        self.name, self.is_open, self.start, self.end, self.weight = name, is_open, start, end, weight
        self.sure = self.named = self.is_root = self.is_link = False
        self.classes = ""


def clean(html: str) -> tuple[str, int]:
    """The source of the article in a page, of the whole page where no element stands out; and what that leaves out.

    What is left out is measured in signs of prose and formulas: commas, backslashes, dollars.
    """
    return compiled.clean(html, judged) if compiled else clean_in_python(html)


def clean_in_python(html: str) -> tuple[str, int]:
    """`clean` without a compiler."""
    drops, tags, whole = _scan(html)
    start, end, heading = _root(html, tags, whole)
    source, kept = _compose(html, tags, drops, start, end, heading)
    return source, whole - kept


def _scan(html: str) -> tuple[list[tuple[int, int]], list[_Tag], int]:
    """Scripts, styles and comments as spans; the tags; the weight of all text."""
    drops: list[tuple[int, int]] = []
    tags: list[_Tag] = []
    weight = position = 0
    last_bracket = html.rfind(">")
    drawn = ("katex-mathml" in html, "mjx-assistive-mml" in html)
    while match := _TOKEN.search(html, position):
        start = match.start()
        weight += len(_WEIGHTY.findall(html, position, start))
        if match[2] is None:
            end = html.find("-->", start + 2)
            position = len(html) if end < 0 else end + 3
            drops.append((start, position))
            continue
        rest = _TAG_REST.match(html, match.end()) if match.end() <= last_bracket else None
        if rest is None:
            position = match.end()
            continue
        position = rest.end()
        name = match[2].lower()
        tag = _Tag(name, not match[1], start, position, weight)
        if tag.is_open:
            if name in ("script", "style"):
                close = _SCRIPT_END[name].search(html, position)
                end = close.end() if close else len(html)
                if name == "style" or "math/" not in html[start:position]:
                    drops.append((start, end))
                else:
                    weight += len(_WEIGHTY.findall(html, position, end))
                position = end
                continue
            _read_attributes(tag, html, match.end(), position - 1, drawn)
        tags.append(tag)
    weight += len(_WEIGHTY.findall(html, position))
    return drops, tags, weight


def _read_attributes(tag: _Tag, html: str, start: int, end: int, drawn: tuple[bool, bool]) -> None:
    tag.sure = tag.name in _FURNITURE_TAGS
    tag.named = tag.name in _GUARDED_TAGS
    tag.is_root = tag.name in ("main", "article")
    holds = hidden = folded = False
    for attribute in _ATTRIBUTE.finditer(html, start, end):
        name = attribute[1].lower()
        value = attribute[2] or attribute[3] or attribute[4] or ""
        if name == "class":
            tag.classes = value
            folded = folded or _FOLDED.search(value) is not None
            verdict = judged(value)
            holds = holds or verdict == HOLDER
            tag.named = tag.named or verdict == FURNITURE
            if drawn[0] and "katex-html" in value:
                tag.sure = True
        elif name == "id":
            tag.named = tag.named or judged(value) == FURNITURE
            folded = folded or _FOLDED.search(value) is not None
        elif name == "role":
            tag.is_root = tag.is_root or value == "main"
            tag.named = tag.named or value in _FURNITURE_ROLES
        elif name == "itemprop":
            tag.is_root = tag.is_root or value == "articleBody"
        elif name == "href":
            tag.is_link = tag.name == "a"
        elif name == "aria-hidden" and value == "true":
            if tag.name in _DRAWN:
                tag.sure = tag.sure or drawn[1]
            elif "katex" not in tag.classes:
                tag.named = True
        elif name == "hidden" or (name == "style" and _is_hidden(value)):
            hidden = True
    tag.named = (tag.named and not holds) or (hidden and not folded)


def _is_hidden(style: str) -> bool:
    return (
        "display:none" in style
        or "display: none" in style
        or "visibility:hidden" in style
        or "visibility: hidden" in style
    )


def _end_of(tags: list[_Tag], index: int, steps: list[int]) -> int:
    """The index of the tag that ends the element which tag `index` opens, -1 where none does."""
    name = tags[index].name
    depth = 1
    for at in range(index + 1, len(tags)):
        steps[0] -= 1
        if steps[0] < 0:
            return -1
        tag = tags[at]
        if tag.name != name:
            continue
        if name in _OPTIONAL_END:
            return at
        depth += 1 if tag.is_open else -1
        if depth == 0:
            return at
    return -1


def _root(html: str, tags: list[_Tag], whole: int) -> tuple[int, int, tuple[int, int]]:
    """First and last tag of the element that holds the article (all tags where there is none), and its heading."""
    steps = [MAX_TAG_STEPS * len(tags)]
    best = (-1, -1)
    articles: list[tuple[int, int, int]] = []
    for index, tag in enumerate(tags):
        if not tag.is_root or not tag.is_open or (end := _end_of(tags, index, steps)) < 0:
            continue
        weight = tags[end].weight - tag.weight
        if tag.name == "article":
            articles.append((weight, index, end))
        elif weight >= _MIN_ROOT_SHARE * whole:
            best = (index, end)
    # Among articles that stand side by side, as questions and answers do, none is the page's text.
    if articles:
        weight, first, last = max(articles, key=lambda article: article[0])
        most = max(_MIN_OTHER_WEIGHT, _MAX_OTHER_SHARE * weight)
        beside = any(size > most for size, start, end in articles if end < first or start > last)
        if not beside and weight >= max(_MIN_ARTICLE_WEIGHT, _MIN_ARTICLE_SHARE * whole):
            best = (first, last)
    if best[0] < 0:
        return -1, -1, (0, 0)
    return *best, _heading_before(tags, *best)


def _heading_before(tags: list[_Tag], start: int, end: int) -> tuple[int, int]:
    """The span of the last <h1> before the article, empty where the article has its own."""
    if any(tag.name == "h1" for tag in tags[start:end]):
        return 0, 0
    for index in range(start - 1, -1, -1):
        if tags[index].name == "h1" and tags[index].is_open:
            close = next((tag for tag in tags[index + 1 : start] if tag.name == "h1"), None)
            return (tags[index].start, close.end) if close else (0, 0)
    return 0, 0


def _by_place(edit: tuple[int, int, str]) -> tuple[int, int, bool]:
    """In the page's order; where a link ends and the next one starts, the end first."""
    return edit[0], edit[1], edit[2] == LINK_START


def _compose(
    html: str, tags: list[_Tag], drops: list[tuple[int, int]], first: int, last: int, heading: tuple[int, int]
) -> tuple[str, int]:
    if first < 0:
        begin, finish, low, high = 0, len(html), 0, len(tags)
    else:
        begin, finish, low, high = tags[first].start, tags[last].end, first + 1, last
    whole = (tags[last].weight - tags[first].weight) if first >= 0 else (tags[-1].weight if tags else 0)
    kept = whole
    steps = [MAX_TAG_STEPS * len(tags)]
    edits = [(start, end, "") for start, end in drops if start >= begin and end <= finish]
    index = low
    while index < high:
        tag = tags[index]
        if tag.is_open and (tag.sure or tag.named) and tag.name not in ("html", "body", "main"):
            end = index if tag.name in _VOID else _end_of(tags, index, steps)
            if 0 <= end < high or end == index:
                weight = tags[end].weight - tag.weight
                if weight <= (_MAX_TAG_SHARE if tag.sure else _MAX_NAME_SHARE) * whole:
                    kept -= weight
                    close = tags[end]
                    stop = close.end if not close.is_open or end == index else close.start
                    edits.append((tag.start, stop, ""))
                    index = end if close.is_open and end != index else end + 1
                    continue
        if tag.name == "a" and (tag.is_link or not tag.is_open):
            at = tag.start if tag.is_open else tag.end
            edits.append((at, at, LINK_START if tag.is_open else LINK_END))
        index += 1
    parts = [html[slice(*heading)]]
    position = begin
    for start, end, text in sorted(edits, key=_by_place):
        if start < position:
            continue
        parts += (html[position:start], text)
        position = end
    parts.append(html[position:finish])
    return "".join(parts), kept
