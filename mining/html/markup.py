"""HTML -> the same HTML in a form that main-content extraction does not cut down.

resiliparse 2.0 with `main_content=True` drops every `<ul>` and every text node that is one character of three bytes
(a Chinese word between two formulas, a full stop after one). Navigation wants the first rule, text does not. Rewriting
the source costs a few string scans; editing the tree costs a Python object a node.
"""

import re

BULLET = "\U0010f106"
"""Stands at the head of an item of a list that was `<ul>`; `restore_bullets` takes it out again."""

_MAX_NESTING = 8
_SAMPLE_CHARS = 1_500
_MAX_LINK_SHARE = 0.5
_LINK_ITEM_CHARS = 200
"""Markup of an item that is a link and little else."""

# Without IGNORECASE, which would cost the search its literal prefix (0.2 ms a page).
_LIST_TAG = re.compile(r"<(/?)(?:ul|UL)(?=[\s>])")
_ITEM = re.compile(r"(<li(?:\s[^>]*)?>\s*(?:<(?:p|div)(?:\s[^>]*)?>)?)", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_LINK = re.compile(r"<a\s[^>]*>(.*?)</a", re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(rf"\d+\. {BULLET}[ ]?")
_LONE = re.compile(
    "(>\\s*[\u2014\u2026\u2018-\u201d\u2100-\u214f\u2190-\u22ff\u3001-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff01-\uff5e])(?=\\s*<)"
)


def protect(html: str) -> str:
    """The page with its text lists as `<ol>` of marked items and its one-character texts padded by U+200B."""
    if not html.isascii():
        html = _LONE.sub("\\1\u200b", html)
    return _protect_lists(html) if "<ul" in html or "<UL" in html else html


def restore_bullets(text: str) -> str:
    """Extracted text with the items of protected lists bulleted as they were."""
    if BULLET not in text:
        return text
    return _NUMBERED.sub("• ", text).replace(BULLET, "")


def _protect_lists(html: str) -> str:
    opened: list[int] = []
    texts: list[tuple[int, int]] = []
    for tag in _LIST_TAG.finditer(html):
        if not tag[1]:
            opened.append(tag.start())
        elif opened:
            start = opened.pop()
            if len(opened) < _MAX_NESTING and _is_text(html, start, tag.start()):
                while texts and texts[-1][0] > start:
                    texts.pop()
                texts.append((start, tag.start() + len("</ul")))
    parts: list[str] = []
    done = 0
    for start, end in texts:
        parts += (html[done:start], _ITEM.sub(rf"\1{BULLET}", _LIST_TAG.sub(r"<\1ol", html[start:end] + ">")[:-1]))
        done = end
    return "".join((*parts, html[done:]))


def _is_text(html: str, start: int, end: int) -> bool:
    """Whether the list at `start:end` holds text rather than links to other pages."""
    num_items = html.count("<li", start, end)
    num_links = html.count("<a ", start, end)
    if not num_items:
        return False
    if not num_links:
        return True
    if num_links >= num_items and end - start < _LINK_ITEM_CHARS * num_items:
        return False
    sample = html[start : min(end, start + _SAMPLE_CHARS)]
    num_linked = sum(len(_TAG.sub("", text)) for text in _LINK.findall(sample))
    return num_linked <= _MAX_LINK_SHARE * len("".join(_TAG.sub(" ", sample).split()))
