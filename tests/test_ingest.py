"""From a raw record to a page, and every reason to drop one, through the real extractor and language gate."""

import gzip
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mining.errors import RecordError
from mining.ingest import Dropped, IngestConfig, is_html, page_from, read_pages, sha1_digest
from mining.page import Page, estimate_tokens
from mining.warc import RawRecord

ENGLISH = "The derivative of a product is found by the product rule, and the proof uses the definition of the limit. "
HTML = (
    "<html><head><title>Product rule</title><script src='MathJax.js'></script></head><body><article>"
    "<h1>Product rule</h1>"
    f"<p>{ENGLISH * 3} We have \\(f'(x) = 2x\\).</p></article></body></html>"
)
RAW = RawRecord(
    url="https://alice.github.io/notes/product", warc_offset=10, warc_length=20, date="2024-05-01T00:00:00Z",
    payload_digest="", truncated=False, http_status=200, content_type="text/html; charset=utf-8", payload=HTML.encode(),
)  # fmt: skip


def page(raw: RawRecord) -> Page:
    return page_from(raw, warc_file="a.warc.gz", crawl="C", cfg=IngestConfig())[0]


def test_page_carries_text_formula_language_and_its_pointer() -> None:
    found = page(RAW)
    assert "$f'(x) = 2x$" in found.text
    assert (found.title, found.language, found.charset) == ("Product rule", "en", "utf_8")
    assert (found.host, found.domain) == (
        "alice.github.io",
        "alice.github.io",
    )  # a private suffix: one user, one domain
    assert (found.warc_file, found.warc_offset, found.warc_length) == ("a.warc.gz", 10, 20)
    assert found.payload_digest == sha1_digest(HTML.encode())
    assert (found.formulas_found, found.formulas_kept) == (1, 1)
    assert found.n_tokens == estimate_tokens(found.text)


def test_page_id_depends_on_the_record_and_not_on_how_its_url_is_spelled() -> None:
    assert page(RAW).page_id == page(replace(RAW, url="http://alice.github.io/notes/product/")).page_id
    assert page(RAW).page_id != page(replace(RAW, warc_offset=11)).page_id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"http_status": 404}, "http_status"),
        ({"http_status": None}, "http_status"),
        ({"url": "dns:x.org"}, "no_url"),
        ({"payload": b"  \n"}, "empty_payload"),
        ({"content_type": "application/pdf"}, "not_html"),
        ({"payload": b"%PDF-1.7 " + b"x" * 500}, "not_html"),
        ({"content_type": None, "payload": b'{"json": true}'}, "not_html"),
        ({"payload": b"<html><body><p>Too short.</p></body></html>"}, "too_short"),
        ({"problem": "too_large"}, "too_large"),
        (
            {"payload": "<html><body><p>{}</p></body></html>".format(
                "Die Ableitung eines Produkts findet man mit der Produktregel; der Beweis folgt daraus. " * 5
            ).encode()},
            "language",
        ),
    ],
)  # fmt: skip
def test_each_reason_to_drop_is_named(change: dict, reason: str) -> None:
    with pytest.raises(RecordError) as caught:
        page(replace(RAW, **change))
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("content_type", "payload", "html"),
    [
        ("TEXT/HTML", b"anything", True),
        ("application/xhtml+xml; charset=utf-8", b"<?xml", True),
        (None, b"\xef\xbb\xbf\n<!DOCTYPE HTML><p>", True),
        ("application/octet-stream", b"<html>", True),
        ("text/plain", b"just text", False),
        ("application/json", b"<html>", False),
    ],
)
def test_html_is_told_by_header_then_by_first_bytes(content_type: str | None, payload: bytes, html: bool) -> None:
    assert is_html(content_type, payload) is html


def test_a_crash_on_one_page_is_counted_and_the_file_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mining.ingest as ingest

    real = ingest.extract

    def crashes_once(html: str, url: str, cfg: object) -> object:
        if url.endswith("/1"):
            raise ZeroDivisionError("a bug")
        return real(html, url, cfg)

    monkeypatch.setattr(ingest, "extract", crashes_once)
    path = tmp_path / "x.warc.gz"
    with open(path, "wb") as file:
        for number in range(3):
            block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + HTML.encode()
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://x.org/{number}\r\n"
                f"WARC-Date: 2024-05-01T00:00:00Z\r\nContent-Length: {len(block)}\r\n\r\n"
            )
            file.write(gzip.compress(head.encode() + block + b"\r\n\r\n"))
    rows = list(read_pages(str(path), warc_file="x.warc.gz", crawl="", cfg=IngestConfig()))
    assert [type(row).__name__ for row in rows] == ["Page", "Dropped", "Page"]
    dropped = rows[1]
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, dropped.detail, dropped.url) == ("crash:ZeroDivisionError", "a bug", "https://x.org/1")


def test_a_page_beyond_a_limit_is_kept_without_markup_and_counted(tmp_path: Path) -> None:
    html = "<html><body>" + "<div>" * 3_000 + HTML.partition("<body>")[2]
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html.encode()
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://x.org/deep\r\n"
        f"WARC-Date: 2024-05-01T00:00:00Z\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    path = tmp_path / "x.warc.gz"
    path.write_bytes(gzip.compress(head.encode() + block + b"\r\n\r\n"))
    page, counted = read_pages(str(path), warc_file="x.warc.gz", crawl="", cfg=IngestConfig())
    assert isinstance(page, Page)
    assert "<" not in page.text
    assert isinstance(counted, Dropped)
    assert (counted.reason, counted.url) == ("guarded:too_deep", page.url)


def test_tokens_are_estimated_by_script() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("abcdefgh") == 2
    assert estimate_tokens("数学分析") == 4
    assert estimate_tokens("数学 abc") == 3  # two ideographs, four other characters


def test_records_that_are_no_responses_are_counted_by_type(tmp_path: Path) -> None:
    members = []
    for kind in ("warcinfo", "request", "response", "metadata", "revisit", "revisit"):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + HTML.encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://x.org/\r\nContent-Length: {len(block)}\r\n\r\n"
        )
        members.append(gzip.compress(head.encode() + block + b"\r\n\r\n"))
    path = tmp_path / "x.warc.gz"
    path.write_bytes(b"".join(members))
    others: Counter[str] = Counter()
    rows = list(read_pages(str(path), warc_file="x", crawl="", cfg=IngestConfig(), others=others))
    assert [type(row) for row in rows] == [Page]
    assert others == {"warcinfo": 1, "request": 1, "metadata": 1, "revisit": 2}
