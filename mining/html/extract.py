"""A page's HTML -> its title and main text, formulas as LaTeX: the order of the steps."""

import html as entities
import re
from collections import Counter
from dataclasses import dataclass, field

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from mining.errors import RecordError
from mining.html.cells import has_code_cells, with_code_cells
from mining.html.delimiters import (
    CLOSE,
    assemble_scripts,
    finish,
    mark_delimited,
    may_hold_delimiters,
    read_delimiters,
)
from mining.html.furniture import drop_link_lines
from mining.html.hints import ALL_HINTS, HINT_OF_CODE, formula_selector
from mining.html.limits import Deadline, ExtractConfig, check_limits, text_without_markup
from mining.html.lines import without_odd_characters
from mining.html.macros import read_macros
from mining.html.math import mark_formulas, mask_code
from mining.html.source import Cleaned, clean


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
    guard: str = ""
    """The limit that stopped the extraction, so that `text` is the page without its markup; empty for nearly all."""


_BOILERPLATE = (
    "nav", "footer", "aside", "form", "button", "dialog", '[role="navigation"]', '[role="contentinfo"]',
    '[aria-hidden="true"]', ".headerlink", ".skip-link", ".sr-only", ".visually-hidden", ".screen-reader-text",
    ".assistive", ".autopermalink", ".treebuttons", ".incontext",
)  # fmt: skip
"""Left out where the whole body is taken."""

_TITLE = re.compile(r"<title[^<>]*+>([^<]*+)", re.IGNORECASE)
# Without `alt_texts` resiliparse leaves out every <figure>, tables and code among them.
_DRAWN = ("img", "svg", "object", "video", "audio", "area", "canvas")
_SHORT_TEXT, _NO_TEXT = 250, 40
_MAX_NODES_AROUND = 4
"""Times `max_nodes` that a page may hold before its article is chosen."""
_SLIGHT_LOSS = 8
"""Signs of prose or formulas that may be left out without another look."""
_MAX_LIST_START = 200
# The parser writes two tabs after every cell, empty ones too. At the start of a line they are cells where more cells
# follow, else the indentation of code.
_CELL_GAP = re.compile(r"(?:(?<=\S)[ ]*+|^[ ]*+(?=\t[^\n\S]*\S[^\n]*\t\t))(\t\t(?:[ ]*+\t\t)*+)[ ]*+(?=\S)")


def extract(html: str, url: str, cfg: ExtractConfig) -> Extraction:
    """Title, main text and formula counts of one page.

    A page that goes beyond a limit (`Extraction.guard`) comes out as its text without markup. Raises RecordError:
    too_large.
    """
    if len(html) > cfg.max_bytes:
        raise RecordError("too_large", f"{url}: {len(html)} characters, the limit is max_bytes={cfg.max_bytes}")
    most_tags = _MAX_NODES_AROUND * cfg.max_nodes
    if len(html) > most_tags and html.count("<") > most_tags:
        return _unmarked(html, "too_many_nodes", cfg)
    deadline = Deadline(cfg.max_cpu_s)
    page = _chosen(html, cfg)
    if has_code_cells(page.scripts):
        html = with_code_cells(html)
        page = _chosen(html, cfg)
    title = title_of(html)
    try:
        deadline.check("choosing the article")
        text, found = _text_and_formulas(html, page, title, url, cfg, deadline)
        text, kept = finish(
            text, read_macros(html if page.defines_macros else "", page.scripts) if CLOSE in text else {}
        )
        deadline.check("the last step")
    except RecordError as error:
        return _unmarked(html, error.reason, cfg)
    except (ValueError, RecursionError):
        return _unmarked(html, "unparsable", cfg)
    found |= kept
    by_kind = {kind: (num, kept[kind]) for kind, num in found.items()}
    return Extraction(title, _clean(text, cfg.max_text_chars), found.total(), kept.total(), by_kind)


def _chosen(html: str, cfg: ExtractConfig) -> Cleaned:
    """The part of a page to read: its article, or all of it where that would lose too many formulas."""
    if not cfg.main_content:
        return _whole(html)
    page = clean(html)
    num_lost = page.num_signs - page.num_signs_kept
    is_lossy = num_lost > _SLIGHT_LOSS and page.num_signs_kept < cfg.min_formula_share * page.num_signs
    return _whole(html) if is_lossy else page


def _whole(html: str) -> Cleaned:
    return Cleaned(html, html, 0, 0, 0, True, html.count("<"), "<pre" in html, ALL_HINTS)


def _unmarked(html: str, guard: str, cfg: ExtractConfig) -> Extraction:
    return Extraction(title_of(html), _clean(text_without_markup(html), cfg.max_text_chars), 0, 0, {}, guard)


def _text_and_formulas(
    html: str, page: Cleaned, title: str, url: str, cfg: ExtractConfig, deadline: Deadline
) -> tuple[str, Counter[str]]:
    """The text to keep with its formulas marked, and the formulas met in its elements."""
    check_limits(page.source, url, cfg, num_tags=page.num_tags)
    is_prose = page.num_signs <= _SLIGHT_LOSS and not page.has_code and not page.defines_macros
    text, found = _marked_text(page, title, deadline, is_whole=page.source is html, is_prose=is_prose)
    if len(text) < (_SHORT_TEXT if page.num_left_out > _SLIGHT_LOSS else _NO_TEXT) and page.num_left_out:
        check_limits(html, url, cfg)
        body, found_in_body = _marked_text(_whole(html), title, deadline, is_whole=True)
        if len(text) < cfg.min_main_share * len(body):
            return body, found_in_body
    return text, found


def title_of(html: str) -> str:
    """The page's <title>, one line."""
    match = _TITLE.match(html, html.find("<title")) or _TITLE.search(html)
    return _clean(" ".join(entities.unescape(match[1]).split())) if match else ""


def _marked_text(
    page: Cleaned, title: str, deadline: Deadline, *, is_whole: bool, is_prose: bool = False
) -> tuple[str, Counter[str]]:
    tree = HTMLTree.parse(page.source)
    found: Counter[str] = Counter()
    delimiters = read_delimiters(page.scripts)
    if page.hints and (selector := formula_selector(page.source, page.hints)):
        found = mark_formulas(tree, selector, deadline)
    if delimiters.declared and page.hints & HINT_OF_CODE:
        mask_code(tree)
    if "start=" in page.source:
        _number_lists(tree)
    deadline.check("the elements of formulas")
    text = extract_plain_text(tree, skip_elements=(*_DRAWN, *_BOILERPLATE) if is_whole else _DRAWN)
    if not is_whole:
        text = drop_link_lines(text, title, is_prose=is_prose and not found)
    text, _ = assemble_scripts(text)
    if may_hold_delimiters(text, delimiters):
        text = mark_delimited(text, delimiters)
    return text, found


def _number_lists(tree: HTMLTree) -> None:
    """Give lists that start late empty items before their first: the parser counts them and prints nothing."""
    if tree.body is None:
        return
    for one in tree.body.query_selector_all("ol[start]").values():
        start = one.getattr("start") or ""
        first = one.first_element_child
        if first is None or not (start.isascii() and start.isdecimal() and 1 < int(start) <= _MAX_LIST_START):
            continue
        for _ in range(int(start) - 1):
            if (empty := tree.create_element("li")) is not None:
                one.insert_before(empty, first)


def _row(line: str) -> str:
    """A line with one tab between the cells of a table."""
    return _CELL_GAP.sub(lambda gap: "\t" * (gap[1].count("\t") // 2), line)


def _clean(text: str, max_chars: int = 1_000) -> str:
    """The text with plain spaces, one blank line at most between paragraphs, and no more than `max_chars`."""
    text = without_odd_characters(text)
    if "\t\t" in text:
        text = "\n".join(_row(line) if "\t\t" in line else line for line in text.split("\n"))
    if " \n" in text or "\t\n" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    text = text.strip()
    if len(text) > max_chars:
        end = text.rfind("\n", max_chars // 2, max_chars)
        text = text[: end if end > 0 else max_chars].rstrip()
    return text
