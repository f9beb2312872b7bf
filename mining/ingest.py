"""One raw record to a Page or a reason to drop it: the order of the steps, shared by every engine."""

import hashlib
import re
from base64 import b32encode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import xxhash

from mining.crawl.pointers import Pointer, with_pointer
from mining.errors import RecordError
from mining.html.charset import decode
from mining.html.extract import ExtractConfig, extract
from mining.language import LanguageConfig, identify, language_gate
from mining.page import Page, estimate_tokens
from mining.url import canonical_url, host_of, registered_domain
from mining.warc import RawRecord, read_responses

_FEED = re.compile(rb"<(?:rss|feed|rdf:rdf)[\s>]")


@dataclass(frozen=True)
class IngestConfig:
    """What becomes a page."""

    warcs: list[str] = field(default_factory=list)
    """WARC files: paths, globs or fsspec URIs; relative ones are looked up under data_dir."""
    crawl: str = ""
    """Name of the crawl, kept with every page; taken from the path (CC-MAIN-2024-22) where it stands there."""
    max_payload_bytes: int = 4_000_000
    """Larger payloads are dropped as too_large (Common Crawl cuts at 1 MiB)."""
    min_chars: int = 100
    """Pages with less text are dropped as too_short; CJK characters count three times."""
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    """Text and formula extraction."""
    language: LanguageConfig = field(default_factory=LanguageConfig)
    """Language gate."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A response that is no page, with the pointer that finds it again (mining.page.DROPPED_SCHEMA)."""

    url: str
    reason: str
    detail: str
    warc_file: str
    warc_offset: int
    warc_length: int


def read_pages(
    uri: str,
    *,
    warc_file: str,
    crawl: str,
    cfg: IngestConfig,
    others: Counter[str] | None = None,
    pointers: Mapping[int, Pointer] | None = None,
) -> Iterator[Page | Dropped]:
    """Every response of a WARC file as a Page or as Dropped, in the file's order.

    A page that a limit left without markup is followed by a Dropped `guarded:<limit>`, so that it is counted. Records
    that are no responses are counted by type in `others`. A record that crashes the code is dropped as `crash:<Type>`
    with the message as its detail.

    pointers: by offset in this file, where its records were fetched one by one (`mining.crawl.pointers`): rows get the
    crawl, file, offset and length of the original, and with them the original's page_id.
    """
    for raw in read_responses(uri, max_payload_bytes=cfg.max_payload_bytes, others=others):
        file, of_crawl = warc_file, crawl
        pointer = pointers.get(raw.warc_offset) if pointers else None
        if pointer:
            raw, file, of_crawl = with_pointer(raw, pointer), pointer.warc_file, pointer.crawl
        try:
            page, guard = page_from(raw, warc_file=file, crawl=of_crawl, cfg=cfg)
            yield page
            if guard:
                yield _dropped(raw, f"guarded:{guard}", "kept as text without markup", file)
        except RecordError as error:
            yield _dropped(raw, error.reason, error.detail, file)
        except Exception as error:  # the record loop: one bad page must not cost the file
            yield _dropped(raw, f"crash:{type(error).__name__}", str(error)[:300], file)


def page_from(raw: RawRecord, *, warc_file: str, crawl: str, cfg: IngestConfig) -> tuple[Page, str]:
    """The page in a record, and the limit that left it without markup (empty for nearly all).

    Raises RecordError with the reason where there is no page.
    """
    if raw.problem:
        raise RecordError(raw.problem, (raw.content_type or "") if raw.problem == "broken_record" else "")
    if not raw.url.lower().startswith(("http://", "https://")):
        raise RecordError("no_url", raw.url[:200])
    if raw.http_status != 200:
        raise RecordError("http_status", str(raw.http_status))
    if not raw.payload.strip():
        raise RecordError("empty_payload")
    if not is_html(raw.content_type, raw.payload):
        raise RecordError("not_html", (raw.content_type or "no content type")[:100])
    html, charset = decode(
        raw.payload, http_content_type=raw.content_type, warc_charset=raw.detected_charset, url=raw.url
    )
    found = extract(html, raw.url, cfg.extract)
    num_tokens = estimate_tokens(found.text)
    num_cjk = max(0, (4 * num_tokens - len(found.text)) // 3)
    if len(found.text) + 2 * num_cjk < cfg.min_chars:
        raise RecordError("too_short", f"{len(found.text)} characters")
    language, language_score = identify(found.text)
    if language == "und" and raw.detected_language:
        # The crawler saw the menus too: of use only where the text itself says nothing.
        language, language_score = raw.detected_language
    verdict = language_gate(language, language_score, cfg.language)
    if not verdict.keep:
        raise RecordError(verdict.reason, language)
    host = host_of(raw.url)
    identity = f"{canonical_url(raw.url)}\n{warc_file}\n{raw.warc_offset}"
    page = Page(
        page_id=xxhash.xxh3_128_hexdigest(identity.encode("utf-8", "surrogatepass")),
        url=raw.url,
        host=host,
        domain=registered_domain(host),
        crawl=crawl,
        fetch_time=raw.date,
        warc_file=warc_file,
        warc_offset=raw.warc_offset,
        warc_length=raw.warc_length,
        payload_digest=raw.payload_digest or sha1_digest(raw.payload),
        charset=charset,
        truncated=raw.truncated,
        language=language,
        language_score=language_score,
        title=found.title,
        text=found.text,
        n_chars=len(found.text),
        n_tokens=num_tokens,
        formulas_found=found.formulas_found,
        formulas_kept=found.formulas_kept,
        formulas_by_kind=[
            {"kind": kind, "found": num_found, "kept": num_kept}
            for kind, (num_found, num_kept) in sorted(found.formulas_by_kind.items())
        ],
    )
    return page, found.guard


def is_html(content_type: str | None, payload: bytes) -> bool:
    """Whether the header says HTML and the first bytes do not deny it, or they alone say so."""
    mime = (content_type or "").split(";")[0].strip().lower()
    if mime in ("text/html", "application/xhtml+xml"):
        head = payload[:300].lower()
        is_binary = head.startswith((b"%pdf-", b"\x89png", b"\xff\xd8\xff", b"gif8"))
        return not is_binary and _FEED.search(head) is None
    if mime not in ("", "application/octet-stream", "text/plain", "unknown/unknown"):
        return False
    head = payload[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in head


def sha1_digest(payload: bytes) -> str:
    """A payload digest in the WARC form, sha1:BASE32."""
    return "sha1:" + b32encode(hashlib.sha1(payload).digest()).decode()


def _dropped(raw: RawRecord, reason: str, detail: str, warc_file: str) -> Dropped:
    return Dropped(raw.url, reason, detail, warc_file, raw.warc_offset, raw.warc_length)
