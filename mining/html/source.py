"""A page's source -> the source of its article: no scripts, no furniture, links marked; before anything is parsed.

What is cut here costs neither parsing nor a walk in Python. `clean` is the same function twice: here as the reference,
in `_source.c` compiled (tests hold the two equal on real pages); where no compiler was found, this one serves.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from mining.html.furniture import BESIDE, FURNITURE, FURNITURE_BY_NAME, HOLDER, judged
from mining.html.hints import hints_in
from mining.html.marks import HEADING, LINK_END, LINK_START

try:
    compiled: ModuleType | None = import_module("mining.html._source")
except ImportError:
    compiled = None

MAX_FAILED_TAGS = 64
"""Tags that a page may leave open before quotes stop to count: each is sought to the end of the page."""
MAX_TAG_STEPS = 60
"""Steps a tag that the search for the ends of elements may take; unclosed elements beyond it stay."""

MAX_PROSE_SIGNS = 8
"""Signs of formulas that a page without formulas may hold."""
_MAX_BESIDE_SOURCE = 600
"""Characters of the source of a caption; longer ones are the text of picture stories."""

_MIN_ROOT_SHARE = 0.6
_MIN_ARTICLE_SHARE = 0.15
_MIN_ARTICLE_WEIGHT = 12
_MAX_WEIGHT_BEFORE = 3
_MAX_WEIGHT_AFTER = 8
_MAX_SHARE_AFTER = 0.12
_MAX_TAG_SHARE = 0.9
_MAX_NAME_SHARE = 0.7
_SURE_WEIGHT, _NAMED_WEIGHT = 8, 4
"""Furniture that weighs no more is cut whatever its share: pages of few commas tell nothing."""

_TOKEN = re.compile(r"<(?:!--|(/?)([A-Za-z][A-Za-z0-9:-]*))")
_TAG_REST = re.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]{0,16384}+"|'[^']{0,16384}+')?+)*+>""", re.ASCII)
_ATTRIBUTE = re.compile(r"""([^\s=>/"']++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"']*+)))?+""", re.ASCII)
_SCRIPT_END = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style")}
_COMMA = re.compile("[,，、]")
_SIGN = re.compile(r"[\\$]")
_PRICE = re.compile("[$](?=[0-9])")
_DEFINITION = re.compile(r"\\(?=.{9})(?:newcomma|renewcom|providec|DeclareM|g?def)", re.DOTALL)
_FORMULA_SIGNS = 4
_FORMULA_TAGS = frozenset(("math", "mjx-container"))
_FURNITURE_TAGS = frozenset(("nav", "footer", "aside"))
_GUARDED_TAGS = frozenset(("form", "dialog"))
_FURNITURE_ROLES = frozenset(("navigation", "contentinfo", "search", "complementary", "banner", "dialog", "alert"))
# Pages fold away answers, solutions and proofs as others hide their pop-ups.
_FOLDED = re.compile("olution|nswer|roof|poiler|hint|ollaps|oggl|eveal|knowl|ontent|detail|ath")
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_OPTIONAL_END = frozenset(("p", "li", "td", "th", "tr", "dt", "dd", "option"))
_CELLS = frozenset(("td", "th"))
_WRAPPERS = frozenset(("p", "div"))
_BLOCKS = frozenset(("p", "div", "ul", "ol", "dl", "pre", "table", "td", "th", "tr", "br"))
_MAX_CELL_TAGS = 40
_SPACES = " \t\n\r\f"
_HIDING = ("display:none", "display: none", "visibility:hidden", "visibility: hidden")
_HEADINGS = frozenset(("h1", "h2", "h3", "h4"))
_NOT_BY_WORD = _HEADINGS | {"a", "span", "i", "em", "b", "strong", "code"}
_NEVER_FURNITURE = frozenset(("html", "body", "main", "pre", "code"))
_DRAWN = frozenset(("svg", "mjx-math"))
_TYPESETTER = re.compile("athJax|athjax|katex")


class Cleaned(NamedTuple):
    """A page's source made ready for the parser."""

    source: str
    """The source of the article, of the whole page where no element stands out."""
    scripts: str
    """The scripts that were cut, which tell what a typesetter is to do; empty where the page has no sign of a formula
    and names no typesetter."""
    num_left_out: int
    """Signs of prose and formulas (commas, backslashes, dollars) that `source` leaves out."""
    num_signs: int
    """Signs of formulas in the page: backslashes and dollars of its text, elements of mathematics four times.

    Prices are none: dollars before a digit, in pages that name no typesetter."""
    num_signs_kept: int
    """Those in `source`."""
    defines_macros: bool
    """Whether the page's text holds a definition of a TeX macro."""
    num_tags: int
    """Opening brackets in `source`."""
    has_code: bool
    """Whether an element of preformatted text stands in `source`."""
    hints: int
    """What of `hints.hints_in` the `source` has."""


@dataclass(slots=True)
class _Tag:
    name: str
    is_open: bool
    start: int
    end: int
    weight: int
    signs: int
    sure: bool = False
    named: bool = False
    beside: bool = False
    is_root: bool = False
    is_link: bool = False
    is_unwrapped: bool = False
    classes: str = ""


class _Scan:
    """What one pass over a page finds: spans to cut, tags, and the weight of all text."""

    def __init__(self, html: str) -> None:
        # A dollar before a digit is a price where nothing typesets formulas.
        self.typesets = _TYPESETTER.search(html) is not None
        self.drops: list[tuple[int, int]] = []
        self.scripts: list[tuple[int, int]] = []
        self.tags: list[_Tag] = []
        self.weight = self.signs = 0
        self.defines_macros = False

    def weigh(self, html: str, start: int, end: int) -> None:
        num_signs = len(_SIGN.findall(html, start, end))
        self.weight += num_signs + len(_COMMA.findall(html, start, end))
        # Definitions print nothing that could be lost.
        num_prices = 0 if self.typesets or not num_signs else len(_PRICE.findall(html[start:end]))
        defines = bool(num_signs) and _DEFINITION.search(html, start, end) is not None
        self.signs += 0 if defines else num_signs - num_prices
        self.defines_macros = self.defines_macros or defines


def clean(html: str) -> Cleaned:
    """The source of the article in a page, without scripts, furniture and rendered copies of formulas."""
    if compiled is None:
        return clean_in_python(html)
    try:
        return Cleaned(*compiled.clean(html, judged))
    except UnicodeEncodeError:  # lone surrogates
        return Cleaned(*compiled.clean(html.encode("utf-8", "replace").decode(), judged))


def clean_in_python(html: str) -> Cleaned:
    """`clean` without a compiler."""
    scan = _scan(html)
    return _compose(html, scan, *_root(scan.tags, scan.weight))


def _scan(html: str) -> _Scan:
    scan = _Scan(html)
    position = 0
    num_failed = 0
    last_bracket = html.rfind(">")
    drawn = ("katex-mathml" in html, "mjx-assistive-mml" in html)
    while match := _TOKEN.search(html, position):
        start = match.start()
        scan.weigh(html, position, start)
        if match[2] is None:
            end = html.find("-->", start + 2)
            position = len(html) if end < 0 else end + 3
            scan.drops.append((start, position))
            continue
        end = _tag_end(html, match.end(), num_failed) if match.end() <= last_bracket else -1
        if end < 0:
            num_failed += 1
            position = match.end()
            continue
        position = end
        name = match[2].lower()
        tag = _Tag(name, not match[1], start, position, scan.weight, scan.signs)
        if tag.is_open and name in ("script", "style"):
            close = _SCRIPT_END[name].search(html, position)
            bracket = html.find(">", close.start()) if close else -1
            end = bracket + 1 if bracket >= 0 else len(html)
            if name == "style" or "math/" not in html[start:position]:
                (scan.drops if name == "style" else scan.scripts).append((start, end))
            else:
                scan.weigh(html, position, end)
                scan.signs += _FORMULA_SIGNS
            position = end
            continue
        if tag.is_open:
            scan.signs += _FORMULA_SIGNS * (name in _FORMULA_TAGS)
            _read_attributes(tag, html, match.end(), position - 1, drawn)
        scan.tags.append(tag)
    scan.weigh(html, position, len(html))
    return scan


def _tag_end(html: str, start: int, num_failed: int) -> int:
    """Where a tag ends, -1 where its quotes leave it open; on a page of such tags, at the next bracket."""
    if num_failed >= MAX_FAILED_TAGS:
        return html.find(">", start) + 1 or -1
    rest = _TAG_REST.match(html, start)
    return rest.end() if rest else -1


def _read_attributes(tag: _Tag, html: str, start: int, end: int, drawn: tuple[bool, bool]) -> None:
    tag.sure = tag.name in _FURNITURE_TAGS
    tag.named = tag.name in _GUARDED_TAGS
    tag.beside = tag.name == "figcaption"
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
            tag.named = tag.named or _names_furniture(tag, verdict)
            tag.beside = tag.beside or verdict == BESIDE
            tag.is_unwrapped = value.startswith("ptx-footnote")
            if drawn[0] and "katex-html" in value:
                tag.sure = True
        elif name == "id":
            tag.named = tag.named or _names_furniture(tag, judged(value))
            folded = folded or _FOLDED.search(value) is not None
        elif name == "role":
            tag.is_root = tag.is_root or value == "main"
            tag.named = tag.named or value in _FURNITURE_ROLES
        elif name == "itemprop":
            tag.is_root = tag.is_root or value == "articleBody"
        elif name == "href":
            tag.is_link = tag.name == "a"
        elif name == "rel":
            tag.named = tag.named or (tag.name == "a" and value in ("prev", "next"))
        elif name == "aria-hidden" and value == "true":
            if tag.name in _DRAWN:
                tag.sure = tag.sure or drawn[1]
            elif "katex" not in tag.classes:
                tag.named = True
        elif name == "hidden" or (name == "style" and any(rule in value for rule in _HIDING)):
            hidden = True
    tag.named = (tag.named and not holds) or (hidden and not folded)


def _names_furniture(tag: _Tag, verdict: int) -> bool:
    """Whether a verdict makes an element furniture: words that name it elsewhere name the kinds of tokens in code."""
    return verdict == FURNITURE_BY_NAME or (verdict == FURNITURE and tag.name not in _NOT_BY_WORD)


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


def _root(tags: list[_Tag], whole: int) -> tuple[int, int, tuple[int, int, int]]:
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
        most = max(_MAX_WEIGHT_AFTER, _MAX_SHARE_AFTER * weight)
        beside = any(
            (end < first and size > _MAX_WEIGHT_BEFORE)
            or (start > last and size > (_MAX_WEIGHT_BEFORE if _same_kind(tags[start], tags[first]) else most))
            for size, start, end in articles
        )
        if not beside and weight >= max(_MIN_ARTICLE_WEIGHT, _MIN_ARTICLE_SHARE * whole):
            best = (first, last)
    if best[0] < 0:
        return -1, -1, (0, 0, 0)
    return *best, _heading_before(tags, *best)


def _same_kind(one: _Tag, other: _Tag) -> bool:
    """Whether two elements have the same first class, as the posts of a list have."""
    kind = one.classes.partition(" ")[0]
    return bool(kind) and kind == other.classes.partition(" ")[0]


def _heading_before(tags: list[_Tag], start: int, end: int) -> tuple[int, int, int]:
    """Start, end of the opening tag and end of the last <h1> before the article; 0 where it has its own."""
    # One heading of its own is the article's title; several are its sections'.
    if sum(tag.name == "h1" and tag.is_open for tag in tags[start:end]) == 1:
        return 0, 0, 0
    for index in range(start - 1, -1, -1):
        if tags[index].name == "h1" and tags[index].is_open:
            close = next((tag for tag in tags[index + 1 : start] if tag.name == "h1"), None)
            # The name of the site is a heading that is a link.
            is_text = close is not None and tags[index + 1].name != "a"
            return (tags[index].start, tags[index].end, close.end) if close and is_text else (0, 0, 0)
    return 0, 0, 0


def _only_paragraph(html: str, tags: list[_Tag], cell: int) -> int:
    """The tag that ends the one paragraph which a table's cell holds, 0 where it holds anything else."""
    # A paragraph would end the cell's line in the text, and tear the row.
    inner = cell + 1
    if inner >= len(tags) or tags[inner].name not in _WRAPPERS or not tags[inner].is_open:
        return 0
    for end in range(inner + 1, min(len(tags) - 1, inner + _MAX_CELL_TAGS)):
        tag = tags[end]
        if tag.name == tags[inner].name:
            close = tags[end + 1]
            is_only = (
                not tag.is_open
                and close.name == tags[cell].name
                and not close.is_open
                and not html[tags[cell].end : tags[inner].start].strip(_SPACES)
                and not html[tag.end : close.start].strip(_SPACES)
            )
            return end if is_only else 0
        if tag.name in _BLOCKS:
            return 0
    return 0


def _by_place(edit: tuple[int, int, str]) -> tuple[int, int, int]:
    """In the page's order; at one place a heading's mark, the end of a link, the start of the next."""
    return edit[0], edit[1], -ord(edit[2] or "\0")


def _compose(html: str, scan: _Scan, first: int, last: int, heading: tuple[int, int, int]) -> Cleaned:
    tags = scan.tags
    begin, finish, low, high, whole, signs = 0, len(html), 0, len(tags), scan.weight, scan.signs
    if first >= 0:
        begin, finish, low, high = tags[first].start, tags[last].end, first + 1, last
        whole, signs = tags[last].weight - tags[first].weight, tags[last].signs - tags[first].signs
    kept = whole
    is_prose = scan.signs <= MAX_PROSE_SIGNS and not any(tag.name == "pre" and tag.is_open for tag in tags)
    steps = [MAX_TAG_STEPS * len(tags)]
    edits = [(start, end, "") for start, end in (*scan.drops, *scan.scripts)]
    index = low
    while index < high:
        tag = tags[index]
        if tag.is_open and (tag.sure or tag.named or (tag.beside and is_prose)) and tag.name not in _NEVER_FURNITURE:
            end = index if tag.name in _VOID else _end_of(tags, index, steps)
            weight = tags[end].weight - tag.weight
            least, share = (_SURE_WEIGHT, _MAX_TAG_SHARE) if tag.sure else (_NAMED_WEIGHT, _MAX_NAME_SHARE)
            is_short = tag.sure or tag.named or tags[end].end - tag.start <= _MAX_BESIDE_SOURCE
            if 0 <= end < high and is_short and weight <= max(least, share * whole):
                close = tags[end]
                is_next = close.is_open and end != index
                kept -= weight
                signs -= close.signs - tag.signs
                edits.append((tag.start, close.start if is_next else close.end, ""))
                index = end if is_next else end + 1
                continue
        if tag.is_open and tag.is_unwrapped and (end := _end_of(tags, index, steps)) >= 0:
            edits += ((tag.start, tag.start, " "), (tag.start, tag.end, ""), (tags[end].start, tags[end].end, ""))
        elif tag.is_open and tag.name in _CELLS and (end := _only_paragraph(html, tags, index)):
            edits += ((tags[index + 1].start, tags[index + 1].end, ""), (tags[end].start, tags[end].end, ""))
        if tag.is_open and tag.classes == "classifier":
            edits.append((tag.start, tag.start, " "))
        if tag.name == "a" and (tag.is_link or not tag.is_open):
            at = tag.start if tag.is_open else tag.end
            edits.append((at, at, LINK_START if tag.is_open else LINK_END))
        if tag.is_open and tag.name in _HEADINGS:
            edits.append((tag.end, tag.end, HEADING))
        index += 1
    parts = [html[heading[0] : heading[1]], HEADING * bool(heading[2]), html[heading[1] : heading[2]]]
    position = begin
    for start, end, text in sorted(edits, key=_by_place):
        if start < position or end > finish:
            continue
        parts += (html[position:start], text)
        position = end
    parts.append(html[position:finish])
    source = "".join(parts)
    scripts = [html[start:end] for start, end in scan.scripts] if scan.typesets or scan.signs else []
    return Cleaned(
        source, "".join(scripts), scan.weight - kept, scan.signs, signs, scan.defines_macros,
        source.count("<"), "<pre" in source, hints_in(source),
    )  # fmt: skip
