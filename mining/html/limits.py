"""What stands between a hostile page and the parser, and the text of a page that goes no further."""

import html as entities
import re
import time
from dataclasses import dataclass

from mining.errors import RecordError


@dataclass(frozen=True)
class ExtractConfig:
    """Limits and choices of the text extraction."""

    max_bytes: int = 8_000_000
    """Longer pages are dropped (`too_large`); the other limits leave a page without markup."""
    max_nodes: int = 400_000
    """Most tags of a page (`too_many_nodes`)."""
    max_depth: int = 1_500
    """Deepest nesting (`too_deep`): parsing takes quadratic time in the depth."""
    max_attributes: int = 2_000
    """Most attributes of one tag (`too_many_attributes`): quadratic time again."""
    max_cpu_s: float = 10.0
    """CPU seconds for one page (`cpu_time`), looked at between the steps and within the longest."""
    max_text_chars: int = 1_000_000
    """Longer texts are cut at a line."""
    main_content: bool = True
    """Leave out navigation, cookie bars, footers and the like; false keeps all visible text."""
    min_main_share: float = 0.4
    """Where a short main content holds less of the body's text than this, the body without its boilerplate is taken."""
    min_formula_share: float = 0.8
    """Where it holds fewer of the page's signs of formulas than this, the whole page is read."""


_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_SHALLOW = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr", "p",
     "li", "td", "th", "tr", "option", "dt", "dd", "tbody", "thead", "tfoot", "path", "use", "rect", "circle", "line")
)  # fmt: skip
_SMALL_PAGE = 200_000
_DEPTH_STEP = 16_384
_MARKUP = re.compile(r"<[^<>]*+>?")
_BLANKS = re.compile(r"[ \t\r\f\v]+")


class Deadline:
    """The CPU time a page may take, counted from now."""

    def __init__(self, max_cpu_s: float) -> None:
        self._end = time.thread_time() + max_cpu_s
        self._max_cpu_s = max_cpu_s

    def check(self, place: str) -> None:
        """Raises RecordError("cpu_time") when it is over."""
        if time.thread_time() > self._end:
            raise RecordError("cpu_time", f"more than max_cpu_s={self._max_cpu_s} at {place}")


def text_without_markup(source: str) -> str:
    """What is left of a page when every tag is taken out, in time that grows with its length alone."""
    for opening, closing in (("<script", "</script>"), ("<style", "</style>"), ("<!--", "-->")):
        source = _without(source, opening, closing)
    lines = (_BLANKS.sub(" ", line).strip() for line in entities.unescape(_MARKUP.sub("\n", source)).split("\n"))
    return "\n".join(line for line in lines if line)


def _without(source: str, opening: str, closing: str) -> str:
    """The source without what stands between an opening and the next closing; what never closes stays."""
    parts = []
    done = 0
    while (start := source.find(opening, done)) >= 0 and (end := source.find(closing, start)) >= 0:
        parts.append(source[done:start])
        done = end + len(closing)
    return "".join((*parts, source[done:]))


def check_limits(html: str, url: str, cfg: ExtractConfig, *, num_tags: int | None = None) -> None:
    """Raises RecordError for what would hang or balloon the parser: too_many_nodes, too_deep, too_many_attributes.

    num_tags: the number of opening brackets, counted here where it is not known.
    """
    if num_tags is None:
        num_tags = html.count("<")
    if num_tags > cfg.max_nodes:
        raise RecordError("too_many_nodes", f"{url}: {num_tags} tags, the limit is max_nodes={cfg.max_nodes}")
    if num_tags > cfg.max_depth and (depth := _depth_bound(html, cfg.max_depth)) > cfg.max_depth:
        raise RecordError("too_deep", f"{url}: {depth} open elements, the limit is max_depth={cfg.max_depth}")
    if len(html) > _SMALL_PAGE and html.count("=") > 3 * num_tags + cfg.max_attributes:
        most = max((tag.count("=") for tag in html.split("<")[1:]), default=0)
        if most > cfg.max_attributes and any(_attributes(tag) > cfg.max_attributes for tag in html.split("<")):
            raise RecordError("too_many_attributes", f"{url}: a tag has more than max_attributes={cfg.max_attributes}")


def _attributes(tag: str) -> int:
    return tag.partition(">")[0].count("=") if tag[:1].isalpha() else 0


def _depth_bound(html: str, limit: int) -> int:
    """An upper bound of the nesting: by counting opened and closed tags, exactly only where that passes the limit."""
    depth = bound = 0
    for start in range(0, len(html), _DEPTH_STEP):
        part = html[start : start + _DEPTH_STEP]
        num_closed = part.count("</")
        num_opened = part.count("<") - num_closed
        bound = max(bound, depth + num_opened)
        depth = max(0, depth + num_opened - num_closed)
    return bound if bound <= limit else _deepest(html)


def _deepest(html: str) -> int:
    """The deepest nesting that the tags could give, elements that close themselves left out."""
    depth = deepest = 0
    for slash, name in _TAG.findall(_without(html, "<script", "</script")):
        if name.lower() in _SHALLOW:
            continue
        if slash:
            depth = max(0, depth - 1)
        else:
            depth += 1
            deepest = max(deepest, depth)
    return deepest
