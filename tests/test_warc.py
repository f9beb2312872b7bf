"""WARC reading: whole files, and files broken in the ways of the real web, built here byte by byte."""

import gzip
import zlib
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from mining.errors import ConfigError
from mining.ingest import IngestConfig, read_pages
from mining.page import Page
from mining.warc import RawRecord, decode_body, parse_http_head, read_responses

LIMIT = 1 << 20


def record(
    url: str, body: bytes, *, length: int | None = None, head: bytes = b"HTTP/1.1 200 OK", kind: str = "response"
):
    block = head + b"\r\nContent-Type: text/html\r\n\r\n" + body
    fields = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-05-01T00:00:00Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {length or len(block)}\r\n\r\n"
    )
    return fields.encode() + block + b"\r\n\r\n"


def warc(tmp_path: Path, members: list[bytes]) -> Path:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(b"".join(members))
    return path


def read(path: Path) -> list[RawRecord]:
    return list(read_responses(str(path), max_payload_bytes=LIMIT))


PAGES = [record(f"https://x.org/{i}", b"<html>page %d</html>" % i) for i in range(4)]
MEMBERS = [gzip.compress(page, mtime=0) for page in PAGES]


def test_offset_and_length_cut_out_exactly_the_record(tmp_path: Path) -> None:
    path = warc(tmp_path, [gzip.compress(record("https://x.org/r", b"q", kind="request")), *MEMBERS])
    found = read(path)
    assert [raw.url for raw in found] == [f"https://x.org/{i}" for i in range(4)]
    data = path.read_bytes()
    for raw, page in zip(found, PAGES, strict=True):
        assert gzip.decompress(data[raw.warc_offset : raw.warc_offset + raw.warc_length]) == page
        assert (raw.http_status, raw.content_type, raw.problem) == (200, "text/html", "")


def test_a_damaged_member_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    damaged = MEMBERS[1][:20] + b"\xff\x00\xff" + MEMBERS[1][23:]
    found = read(warc(tmp_path, [MEMBERS[0], damaged, MEMBERS[2], MEMBERS[3]]))
    assert [raw.url[-1:] for raw in found if not raw.problem] == ["0", "2", "3"]
    broken = [raw for raw in found if raw.problem]
    assert [(raw.problem, raw.warc_offset) for raw in broken] == [("broken_record", len(MEMBERS[0]))]


def test_garbage_between_records_is_one_broken_stretch(tmp_path: Path) -> None:
    found = read(warc(tmp_path, [MEMBERS[0], b"\x00garbage\xff" * 3, *MEMBERS[1:]]))
    assert [raw.problem or raw.url[-1] for raw in found] == ["0", "broken_record", "1", "2", "3"]


def test_empty_members_do_not_end_the_file(tmp_path: Path) -> None:
    empty = gzip.compress(b"", mtime=0)
    found = read(warc(tmp_path, [part for member in MEMBERS for part in (member, empty)]))
    assert [raw.url[-1] for raw in found] == ["0", "1", "2", "3"]


def test_a_content_length_that_takes_in_the_next_record_costs_neither(tmp_path: Path) -> None:
    greedy = gzip.compress(record("https://x.org/1", b"<html>one</html>", length=400), mtime=0)
    found = read(warc(tmp_path, [MEMBERS[0], greedy, MEMBERS[2], MEMBERS[3]]))
    assert [raw.url[-1] for raw in found if not raw.problem] == ["0", "1", "2", "3"]
    assert b"WARC/1" not in found[1].payload


def test_a_truncated_last_member_is_not_lost_silently(tmp_path: Path) -> None:
    found = read(warc(tmp_path, [*MEMBERS[:3], MEMBERS[3][: len(MEMBERS[3]) // 2]]))
    assert [raw.url[-1:] for raw in found if not raw.problem][:3] == ["0", "1", "2"]
    assert len(found) == 4 and (found[3].problem or found[3].truncated)


def test_uncompressed_records_are_read_with_their_lengths(tmp_path: Path) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(b"".join(PAGES))
    assert [raw.warc_length for raw in read(path)] == [len(page) for page in PAGES]


def test_too_large_payloads_are_named_without_being_kept(tmp_path: Path) -> None:
    path = warc(tmp_path, [gzip.compress(record("https://x.org/big", b"x" * 300_000)), MEMBERS[0]])
    found = list(read_responses(str(path), max_payload_bytes=100_000))
    assert [(raw.problem, len(raw.payload)) for raw in found] == [("too_large", 0), ("", 19)]


def test_what_is_no_warc_is_refused_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "page.warc.gz"
    path.write_bytes(gzip.compress(b"<html>not a WARC</html>"))
    with pytest.raises(ConfigError, match=r"page\.warc\.gz: not a WARC file"):
        read(path)
    with pytest.raises(ConfigError, match="no such WARC file"):
        read(tmp_path / "absent.warc.gz")


def test_an_empty_file_gives_nothing(tmp_path: Path) -> None:
    assert read(warc(tmp_path, [])) == []


def crawled(
    number: int, body: bytes, metadata: str | None, *, kinds: tuple[str, ...] = ("request", "response", "metadata")
) -> list[bytes]:
    """The records of one fetch as Common Crawl writes them, a gzip member each."""
    url = f"https://x.org/{number}"
    uuid = {kind: f"<urn:uuid:{number:08d}-0000-4000-8000-{at:012d}>" for at, kind in enumerate(kinds)}
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Crawler-Content-Encoding: gzip\r\n\r\n" + body
    blocks = {
        "request": (b"GET / HTTP/1.1\r\nHost: x.org\r\n\r\n", "application/http; msgtype=request", ""),
        "response": (http, "application/http; msgtype=response", uuid["request"]),
        "metadata": ((metadata or "").encode(), "application/warc-fields", uuid["response"]),
    }
    members = []
    for kind in kinds:
        if kind == "metadata" and metadata is None:
            continue
        block, content_type, concurrent = blocks[kind]
        head = (
            f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Date: 2024-05-18T01:58:10Z\r\nWARC-Record-ID: {uuid[kind]}\r\n"
            f"Content-Length: {len(block)}\r\nContent-Type: {content_type}\r\n"
            + (f"WARC-Concurrent-To: {concurrent}\r\n" if concurrent else "")
            + f"WARC-Target-URI: {url}\r\n\r\n"
        )
        members.append(gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0))
    return members


def fields_of(charset: str) -> str:
    languages = '{"reliable":true,"text-bytes":3080,"languages":[{"code":"ja","text-covered":0.99}]}'
    return f"fetchTimeMs: 258\r\ncharset-detected: {charset}\r\nlanguages-cld2: {languages}\r\n\r\n"


def test_metadata_record_gives_its_response_the_charset_that_the_crawler_found(tmp_path: Path) -> None:
    fetches = [
        crawled(0, b"<p>zero</p>", fields_of("EUC-JP")),
        crawled(1, b"<p>one</p>", None),
        crawled(2, b"<p>two</p>", fields_of("KOI8-R")),
        crawled(3, b"<p>three</p>", "fetchTimeMs: 2\r\n"),
    ]
    path = warc(tmp_path, [member for fetch in fetches for member in fetch])
    found = read(path)
    assert [(raw.url[-1], raw.detected_charset) for raw in found] == [
        ("0", "EUC-JP"), ("1", None), ("2", "KOI8-R"), ("3", None),
    ]  # fmt: skip
    for raw, fetch in zip(found, fetches, strict=True):
        assert path.read_bytes()[raw.warc_offset : raw.warc_offset + raw.warc_length] == fetch[1]


def test_metadata_of_another_page_is_not_taken(tmp_path: Path) -> None:
    stray = crawled(7, b"", fields_of("Big5"))[2]
    found = read(warc(tmp_path, [*crawled(0, b"zero", None), stray, *crawled(1, b"one", None)]))
    assert [(raw.url[-1], raw.detected_charset) for raw in found] == [("0", None), ("1", None)]


def test_metadata_is_found_behind_a_request_and_at_the_end_of_the_file(tmp_path: Path) -> None:
    request, response, metadata = crawled(0, b"zero", fields_of("Shift_JIS"))
    heritrix = crawled(1, b"one", "charsetForLinkExtraction: windows-1251\r\n")
    found = read(warc(tmp_path, [response, request, metadata, heritrix[1], heritrix[0], heritrix[2]]))
    assert [(raw.url[-1], raw.detected_charset) for raw in found] == [("0", "Shift_JIS"), ("1", "windows-1251")]
    assert [raw.warc_length for raw in found] == [len(response), len(heritrix[1])]


def test_a_damaged_metadata_record_costs_no_response(tmp_path: Path) -> None:
    request, response, metadata = crawled(0, b"zero", fields_of("EUC-JP"))
    for damaged in (metadata[:60] + b"\xff\x00\xff" + metadata[63:], metadata[: len(metadata) // 2]):
        found = read(warc(tmp_path, [request, response, damaged, *MEMBERS]))
        good = [raw for raw in found if not raw.problem]
        assert [(raw.url, raw.warc_offset, raw.warc_length) for raw in good[:2]] == [
            ("https://x.org/0", len(request), len(response)),
            ("https://x.org/0", len(request) + len(response) + len(damaged), len(MEMBERS[0])),
        ]
        assert [raw.payload for raw in good] == [b"zero"] + [b"<html>page %d</html>" % i for i in range(4)]
        assert all(raw.problem == "broken_record" for raw in found if raw not in good)


def test_an_endless_metadata_record_is_not_read(tmp_path: Path) -> None:
    flood = "x-note: " + "a" * 1_000_000 + "\r\ncharset-detected: EUC-JP\r\n"
    assert [raw.detected_charset for raw in read(warc(tmp_path, crawled(0, b"zero", flood)))] == [None]


def test_the_charset_of_the_crawl_reaches_the_page(tmp_path: Path) -> None:
    # § is the same byte in all the tables of Windows: only the crawl's word tells them apart.
    body = (
        "<html><body><p>§ 1 of the rules of this house, as they were written down long ago by its owners.</p>"
        "<p>And so they stand until this day, word for word, for all who come to stay here.</p></body></html>"
    )
    path = warc(tmp_path, crawled(0, body.encode("latin-1"), fields_of("windows-1257")))
    (page,) = read_pages(str(path), warc_file="x", crawl="c", cfg=IngestConfig())
    assert isinstance(page, Page)
    assert (page.charset, page.text[:3]) == ("cp1257", "§ 1")


@pytest.mark.real
def test_real_common_crawl_file_names_its_charset(real_data: Path) -> None:
    path = real_data / "warc-samples" / "commoncrawl+whirlwind-python" / "whirlwind.warc.gz"
    assert [(raw.url[-8:], raw.detected_charset) for raw in read(path)] == [("Escopete", "UTF-8")]


def test_http_head_keeps_the_first_of_a_repeated_field() -> None:
    status, fields = parse_http_head(b"HTTP/1.1 404 Not Found\r\nContent-Type: a\r\ncontent-type: b\r\nbroken line")
    assert (status, fields) == (404, {"content-type": "a"})
    assert parse_http_head(b"HTTP/1.1")[0] is None


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"transfer-encoding": "chunked"}, b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"),
        ({"content-encoding": "gzip"}, gzip.compress(b"hello world")),
        ({"content-encoding": "deflate"}, zlib.compress(b"hello world")),
        ({"content-encoding": "gzip"}, b"hello world"),  # Common Crawl: decoded body under the original header
        ({"transfer-encoding": "chunked"}, b"hello world"),
        ({"content-encoding": "gzip", "transfer-encoding": "chunked"}, b"hello world"),
    ],
)
def test_encodings_are_undone_only_where_the_bytes_have_them(fields: dict[str, str], body: bytes) -> None:
    assert decode_body(body, fields, LIMIT) == b"hello world"


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    assert len(decode_body(gzip.compress(b"\0" * 50_000_000), {"content-encoding": "gzip"}, 1000)) == 1001


@pytest.mark.real
def test_counts_agree_with_warcio_where_warcio_reads(real_data: Path) -> None:
    path = real_data / "web" / "part-00003.warc.gz"
    with open(path, "rb") as stream:
        urls = [
            one.rec_headers.get_header("WARC-Target-URI")
            for one in ArchiveIterator(stream)
            if one.rec_type == "response"
        ]
    assert [raw.url for raw in read_responses(str(path), max_payload_bytes=64 << 20)] == urls


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("corrupt-deflate.warc.gz", 9),
        ("content-length-too-large.warc.gz", 12),
        ("content-length-too-small.warc.gz", 12),
        ("garbage-between-records.warc.gz", 10),
        ("empty-members.warc.gz", 10),
        ("missing-content-length.warc.gz", 9),
        ("http-chunked-and-gzip.warc.gz", 10),
        ("whole-file-gzip.warc.gz", 12),
        ("uncompressed.warc", 12),
        ("version-0.18.warc.gz", 10),
        ("angle-bracket-uri.warc.gz", 10),
        ("truncated-tail.warc.gz", 12),
        ("empty-file.warc.gz", 0),
    ],
)
def test_odd_files_of_the_real_web_lose_only_what_is_broken(real_data: Path, name: str, whole: int) -> None:
    found = read(real_data / "web" / "odd" / name)
    assert sum(not raw.problem for raw in found) == whole
    assert all(raw.url.startswith("http") for raw in found if not raw.problem)
