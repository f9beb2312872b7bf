"""The pages that the benchmark reads: a sample of the real web, formula-heavy pages, and golden sets, split by host."""

import gzip
import hashlib
import heapq
import html as html_module
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mining.errors import RecordError
from mining.html.charset import decode
from mining.ingest import is_html
from mining.warc import read_responses

REPOSITORY = Path(__file__).resolve().parents[3]
MAX_BYTES = 4_000_000
# "Math-heavy": the page names a typesetter or holds MathML, and has so many marks of a formula.
MIN_FORMULA_MARKS = 30
_TYPESETTER = re.compile(rb"MathJax|katex|<math")
_INVISIBLE = re.compile(
    r"<!--.*?-->|<(script|style|head|noscript|template|textarea|svg)\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE
)
# Elements that stand on lines of their own; every other tag joins the text on its two sides.
_BREAKING_TAG = re.compile(
    r"</?(?:address|article|aside|blockquote|br|caption|center|dd|div|dl|dt|figcaption|figure|footer|form|h[1-6]|header|"
    r"hr|li|main|nav|ol|option|p|pre|section|table|tbody|td|tfoot|th|thead|tr|ul)\b[^>]*>",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_CANONICAL = re.compile(
    r"""<(?:link[^>]+rel=["']?canonical["']?|meta[^>]+(?:property|name)=["']og:url["'])[^>]*>""", re.IGNORECASE
)
_ADDRESS = re.compile(r"""(?:href|content)=["']?(https?://[^"'\s>]+)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WebPage:
    """A decoded page. Every extractor gets the same string."""

    url: str
    html: str

    @property
    def host(self) -> str:
        """Host of the address, as `is_held_out` takes it."""
        return host_of(self.url)


@dataclass(frozen=True, slots=True)
class Golden:
    """A page and what its text should be."""

    page: WebPage
    host: str
    expected: str = ""
    """The whole text, where the set gives it."""
    wanted: tuple[str, ...] = ()
    """Strings that the text must hold, where the set gives strings."""
    unwanted: tuple[str, ...] = ()
    """Strings that it must not hold."""


@dataclass
class WebSample:
    """Pages of the real web, each list in an order that depends on nothing but the addresses."""

    mixed: list[WebPage] = field(default_factory=list)
    """Random pages."""
    math: list[WebPage] = field(default_factory=list)
    """Math-heavy pages, a few of each host."""
    by_url: dict[str, WebPage] = field(default_factory=dict)
    """The pages that were asked for."""


def data_folder() -> Path | None:
    """The folder of real data: MOTHERLODE_DATA, else shared/data beside the checkout; None where it is absent."""
    folder = Path(os.environ.get("MOTHERLODE_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if (folder / "web").is_dir() else None


def host_of(url: str) -> str:
    """The address's host in lower case, `www.` and all."""
    return (urlsplit(url).hostname or "").lower()


def is_held_out(host: str) -> bool:
    """Whether the host's pages are for reporting only; the others are for development."""
    return hashlib.sha1(host.encode("utf-8", "surrogatepass")).digest()[0] < 128


def visible_text(html: str) -> str:
    """The page's text by plain removal of tags, scripts and styles: the measure of what an extractor could return."""
    text = _BREAKING_TAG.sub("\n", _INVISIBLE.sub(" ", html))
    return html_module.unescape(_TAG.sub("", text))


def is_math_heavy(payload: bytes) -> bool:
    """Whether the raw page has a typesetter or MathML and MIN_FORMULA_MARKS marks of formulas."""
    if not _TYPESETTER.search(payload):
        return False
    marks = payload.count(b"\\(") + payload.count(b"$") // 2 + payload.count(b"<math") + payload.count(b"math/tex")
    return marks >= MIN_FORMULA_MARKS


def read_web(folder: Path, *, num_mixed: int, num_math: int, per_host: int, urls: Iterable[str]) -> WebSample:
    """A sample of the WARC files in one pass: the pages whose addresses hash lowest, and those asked for by address."""
    asked = set(urls)
    seen: set[str] = set()
    lowest: list[tuple[int, str, bytes, str | None]] = []
    math: list[tuple[int, str, bytes, str | None]] = []
    sample = WebSample()
    for url, payload, content_type in _html_responses(folder):
        if url in seen:
            continue
        seen.add(url)
        rank = int.from_bytes(hashlib.sha1(url.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        if len(lowest) < num_mixed:
            heapq.heappush(lowest, (-rank, url, payload, content_type))
        elif num_mixed and -rank > lowest[0][0]:
            heapq.heapreplace(lowest, (-rank, url, payload, content_type))
        if num_math and is_math_heavy(payload):
            math.append((rank, url, payload, content_type))
        if url in asked and (page := _decoded(url, payload, content_type)):
            sample.by_url[url] = page
    chosen = (_decoded(url, payload, content_type) for _, url, payload, content_type in sorted(lowest, reverse=True))
    sample.mixed = [page for page in chosen if page]
    sample.math = _few_per_host(sorted(math), num_math, per_host)
    return sample


def articles(folder: Path) -> list[Golden]:
    """News articles with their body text (article-extraction-benchmark)."""
    return [
        Golden(WebPage(row["url"], row["html"]), host_of(row["url"]), expected=row["expected_text"])
        for row in _rows(folder, "article-extraction-benchmark")
    ]


def readability_pages(folder: Path) -> list[Golden]:
    """Pages with the article that Mozilla's Readability keeps, as plain text; hosts by the page's canonical link."""
    goldens = []
    for row in _rows(folder, "readability-test-pages"):
        link = _CANONICAL.search(row["html"])
        address = _ADDRESS.search(link.group()) if link else None
        # Pages of one site are numbered (bbc-1, medium-2): the name without the number stands for the host.
        host = host_of(address.group(1)) if address else re.sub(r"-\d+$", "", row["id"])
        url = address.group(1) if address else "https://example.org/"
        goldens.append(Golden(WebPage(url, row["html"]), host, expected=visible_text(row["expected_html"])))
    return goldens


def segment_rows(folder: Path) -> list[dict[str, Any]]:
    """Trafilatura's evaluation: {url, must_contain, must_not_contain}; the pages are in the web data."""
    return list(_rows(folder, "trafilatura-eval-segments"))


def with_segments(rows: Iterable[dict[str, Any]], pages: dict[str, WebPage]) -> list[Golden]:
    """The rows whose page is there."""
    return [
        Golden(
            pages[row["url"]],
            host_of(row["url"]),
            wanted=tuple(row["must_contain"]),
            unwanted=tuple(row["must_not_contain"]),
        )
        for row in rows
        if row["url"] in pages
    ]


def _rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(folder / "extraction-goldens" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _html_responses(folder: Path) -> Iterator[tuple[str, bytes, str | None]]:
    for path in sorted((folder / "web").glob("*.warc.gz")):
        for raw in read_responses(str(path), max_payload_bytes=MAX_BYTES):
            if raw.problem or raw.http_status != 200 or not raw.payload.strip():
                continue
            if is_html(raw.content_type, raw.payload):
                yield raw.url, raw.payload, raw.content_type


def _decoded(url: str, payload: bytes, content_type: str | None) -> WebPage | None:
    try:
        return WebPage(url, decode(payload, http_content_type=content_type)[0])
    except RecordError:
        return None


def _few_per_host(ranked: list[tuple[int, str, bytes, str | None]], num_pages: int, per_host: int) -> list[WebPage]:
    pages: list[WebPage] = []
    taken: Counter[str] = Counter()
    for _, url, payload, content_type in ranked:
        if len(pages) == num_pages:
            break
        if taken[host_of(url)] < per_host and (page := _decoded(url, payload, content_type)):
            taken[page.host] += 1
            pages.append(page)
    return pages
