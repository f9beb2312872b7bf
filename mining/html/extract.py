"""A page's HTML -> its title and main text, formulas as LaTeX: the order of the steps, and the limits."""

import html as entities
import re
from collections import Counter
from dataclasses import dataclass, field

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from mining.errors import RecordError
from mining.html.delimiters import (
    CLOSE,
    assemble_scripts,
    finish,
    mark_delimited,
    may_hold_delimiters,
    read_delimiters,
)
from mining.html.furniture import drop_link_lines
from mining.html.hints import formula_selector
from mining.html.math import mark_formulas, mask_code
from mining.html.source import clean


@dataclass(frozen=True)
class ExtractConfig:
    """Limits and choices of the text extraction."""

    max_bytes: int = 8_000_000
    """Longer pages are dropped (`too_large`); Common Crawl cuts at 1 MiB."""
    max_nodes: int = 400_000
    """Pages with more tags are dropped (`too_many_nodes`)."""
    max_depth: int = 1_500
    """Pages that nest deeper are dropped (`too_deep`): parsing takes quadratic time in the depth."""
    max_attributes: int = 2_000
    """Attributes of one tag; more are dropped with the page (`too_many_attributes`), quadratic time again."""
    max_text_chars: int = 1_000_000
    """Longer texts are cut at a line."""
    main_content: bool = True
    """Leave out navigation, cookie bars, footers and the like; false keeps all visible text."""
    min_main_share: float = 0.4
    """Where the main content holds less of the body's text than this, the body without its boilerplate is taken."""
    min_formula_share: float = 0.8
    """The same for the body's formulas."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """One page as text."""

    title: str
    text: str
    formulas_found: int
    """Formulas met in the page's markup and text."""
    formulas_kept: int
    """Formulas that stand as LaTeX in `text`."""
    formulas_by_kind: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(found, kept) for each kind of `delimiters.KINDS` that the page has."""


_BOILERPLATE = (
    "nav", "footer", "aside", "form", "button", "dialog", '[role="navigation"]', '[role="contentinfo"]',
    '[aria-hidden="true"]', ".headerlink", ".skip-link", ".sr-only", ".visually-hidden", ".screen-reader-text",
)  # fmt: skip
"""Left out where the whole body is taken."""

_TITLE = re.compile(r"<title[^>]*+>([^<]*+)", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_SHALLOW = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr", "p",
     "li", "td", "th", "tr", "option", "dt", "dd", "tbody", "thead", "tfoot", "path", "use", "rect", "circle", "line")
)  # fmt: skip
_TEXT_KINDS = ("delimited", "environment", "sup_sub")
_SHORT_TEXT = 250
_FORMULA_SIGNS = ("\\(", "\\[", "$$", "<math", "math/tex", "application/x-tex", "<mjx-container")
_FORMULA_HINTS = ("athJax", "<math", "atex")
_SLIGHT_LOSS = 8
"""Commas and the like that an article may leave out without another look."""
# A typesetter's own configuration names about so many delimiters.
_CONFIG_SIGNS = 8
_SMALL_PAGE = 200_000
_DEPTH_STEP = 16_384
_BLANK_LINES = re.compile(r"\n{3,}")
_TRAILING = re.compile(r"(?<![ \t])[ \t]++\n")
_CELL_GAP = re.compile(r"(?<=\S)\t\t+(?=\S)")
_ODD_SPACES = {"\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "", "\u00ad": "", "\r": ""}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufffe\uffff]")


def extract(html: str, url: str, cfg: ExtractConfig) -> Extraction:
    """Title, main text and formula counts of one page.

    Raises RecordError: too_large, too_many_nodes, too_deep, too_many_attributes, unparsable.
    """
    _check_limits(html, url, cfg)
    try:
        source, num_left_out = clean(html) if cfg.main_content else (html, 0)
        if num_left_out > _SLIGHT_LOSS and _loses_formulas(html, source, cfg.min_formula_share):
            source, num_left_out = html, 0
        text, found = _marked_text(source, html, whole=source is html)
        if num_left_out > _SLIGHT_LOSS and len(text) < _SHORT_TEXT:
            body, found_in_body = _marked_text(html, html, whole=True)
            if len(text) < cfg.min_main_share * len(body):
                text, found = body, found_in_body
    except (ValueError, RecursionError) as error:
        raise RecordError("unparsable", f"{url}: {error}") from error
    text, kept = finish(text)
    found |= kept
    by_kind = {kind: (num, kept[kind]) for kind, num in found.items()}
    return Extraction(title_of(html), _clean(text, cfg.max_text_chars), found.total(), kept.total(), by_kind)


def title_of(html: str) -> str:
    """The page's <title>, one line."""
    match = _TITLE.search(html)
    return _clean(" ".join(entities.unescape(match[1]).split())) if match else ""


def _loses_formulas(html: str, source: str, min_share: float) -> bool:
    """Whether the article chosen leaves out more formulas of the page than `min_share` allows."""
    if not any(hint in html for hint in _FORMULA_HINTS):
        return False
    num = sum(map(html.count, _FORMULA_SIGNS))
    return num > _CONFIG_SIGNS and sum(map(source.count, _FORMULA_SIGNS)) < min_share * (num - _CONFIG_SIGNS)


def _marked_text(source: str, html: str, *, whole: bool) -> tuple[str, Counter[str]]:
    """The text of a source with its formulas marked, and the formulas met; `html` is the page that declares them."""
    tree = HTMLTree.parse(source)
    found: Counter[str] = Counter()
    delimiters = read_delimiters(html)
    if selector := formula_selector(source):
        found = mark_formulas(tree, selector)
    if delimiters.declared:
        mask_code(tree)
    text = extract_plain_text(tree, alt_texts=False, skip_elements=_BOILERPLATE if whole else None)
    if not whole:
        text = drop_link_lines(text)
    text, _ = assemble_scripts(text)
    if may_hold_delimiters(text, delimiters):
        text = mark_delimited(text, delimiters)
    if CLOSE in text:
        found.update(_text_kinds(text))
    return text, found


def _text_kinds(text: str) -> Counter[str]:
    """Counts of the kinds that only the text shows, so that they are not counted twice."""
    _, kinds = finish(text)
    return Counter({kind: num for kind, num in kinds.items() if kind in _TEXT_KINDS})


def _check_limits(html: str, url: str, cfg: ExtractConfig) -> None:
    if len(html) > cfg.max_bytes:
        raise RecordError("too_large", f"{url}: {len(html)} characters, the limit is max_bytes={cfg.max_bytes}")
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
    for slash, name in _TAG.findall(_without_scripts(html)):
        if name.lower() in _SHALLOW:
            continue
        if slash:
            depth = max(0, depth - 1)
        else:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _without_scripts(html: str) -> str:
    parts = []
    position = 0
    while (start := html.find("<script", position)) >= 0 and (end := html.find("</script", start)) >= 0:
        parts.append(html[position:start])
        position = end + len("</script")
    return "".join((*parts, html[position:]))


def _clean(text: str, max_chars: int = 1_000) -> str:
    """The text with plain spaces, one blank line at most between paragraphs, and no more than `max_chars`."""
    # Odd spaces and control characters are what `isprintable` denies, and most pages have none.
    if not text.replace("\n", "").replace("\t", "").isprintable():
        for odd, plain in _ODD_SPACES.items():
            text = text.replace(odd, plain)
        text = _CONTROL.sub("", text)
    if "\t\t" in text:
        text = _CELL_GAP.sub("\t", text)
    if " \n" in text or "\t\n" in text:
        text = _TRAILING.sub("\n", text)
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    text = text.strip()
    if len(text) > max_chars:
        end = text.rfind("\n", max_chars // 2, max_chars)
        text = text[: end if end > 0 else max_chars].rstrip()
    return text
