"""WARC reading: whole files, and files broken in the ways of the real web, built here byte by byte."""

import gzip
import io
from collections import Counter
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from mining.errors import ConfigError
from mining.ingest import Dropped, IngestConfig, read_pages
from mining.page import Page
from mining.warc import RawRecord, read_responses

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


def test_bare_line_feeds_cost_no_record_though_the_length_no_longer_fits(tmp_path: Path) -> None:
    bare = PAGES[1].replace(b"\r\n", b"\n")
    for members in ([MEMBERS[0], gzip.compress(bare), MEMBERS[2]], [PAGES[0], bare, PAGES[2]]):
        found = read(warc(tmp_path, members))
        assert [(raw.url[-1], raw.payload, raw.problem) for raw in found] == [
            (str(i), b"<html>page %d</html>" % i, "") for i in range(3)
        ]


def test_an_http_head_of_line_feeds_ends_at_its_own_empty_line(tmp_path: Path) -> None:
    block = b"HTTP/1.1 200 OK\nContent-Type: text/html\n\n<html>\r\n\r\n<p>body</html>"
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n" % len(block)
    (raw,) = read(warc(tmp_path, [gzip.compress(head + block + b"\r\n\r\n")]))
    assert (raw.content_type, raw.payload) == ("text/html", b"<html>\r\n\r\n<p>body</html>")


@pytest.mark.parametrize("length", ["", "Content-Length: 60\r\n", "Content-Length: 5000\r\n", "Content-Length: x\r\n"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_or_missing_length_costs_no_byte(tmp_path: Path, length: str, packed: bool) -> None:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>" + b"one " * 50 + b"</html>"
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://x.org/1\r\n{length}\r\n"
    odd = head.encode() + block + b"\r\n\r\n"
    records = [PAGES[0], odd, PAGES[2], PAGES[3]]
    found = read(warc(tmp_path, [gzip.compress(one) for one in records] if packed else records))
    assert [(raw.url[-1], raw.problem, raw.truncated) for raw in found] == [(str(i), "", False) for i in range(4)]
    assert found[1].payload == b"<html>" + b"one " * 50 + b"</html>"


def test_a_page_about_warc_is_not_cut_at_its_example(tmp_path: Path) -> None:
    body = b"<pre>\r\nWARC/1.0\r\nWARC-Type: response\r\nContent-Length: 9\r\n\r\n</pre> the end"
    for members in ([gzip.compress(record("https://x.org/spec", body))], [record("https://x.org/spec", body)]):
        (raw,) = read(warc(tmp_path, members))
        assert raw.payload == body


def test_every_record_is_a_response_a_broken_stretch_or_counted_by_its_type(tmp_path: Path) -> None:
    kinds = ["warcinfo", "request", "revisit", "conversion", "resource", "continuation", "Unheard-Of", "revisit"]
    others = [gzip.compress(record(f"https://x.org/{kind}", b"x", kind=kind)) for kind in kinds]
    nameless = gzip.compress(PAGES[0].replace(b"WARC-Type: response\r\n", b""))
    path = warc(tmp_path, [*others, nameless, *MEMBERS, b"garbage"])
    counts: Counter[str] = Counter()
    found = list(read_responses(str(path), max_payload_bytes=LIMIT, others=counts))
    assert [raw.problem for raw in found] == ["", "", "", "", "broken_record"]
    assert counts == {
        "warcinfo": 1, "request": 1, "revisit": 2, "conversion": 1, "resource": 1, "continuation": 1, "unknown": 2,
    }  # fmt: skip


@pytest.mark.parametrize("size", [40_000, 900_000])
def test_huge_warc_and_http_headers_are_read(tmp_path: Path, size: int) -> None:
    named = b"WARC-Note: " + b"n" * size + b"\r\nWARC-Type: response"
    wide = PAGES[1].replace(b"WARC-Type: response", named)
    cookie = record("https://x.org/2", b"<p>two</p>", head=b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"c" * size)
    for members in ([MEMBERS[0], gzip.compress(wide), gzip.compress(cookie)], [PAGES[0], wide, cookie]):
        found = read(warc(tmp_path, members))
        assert [(raw.url[-1], raw.problem) for raw in found] == [("0", ""), ("1", ""), ("2", "")]
        assert found[2].payload == b"<p>two</p>"


def test_a_header_without_end_is_one_broken_stretch(tmp_path: Path) -> None:
    endless = b"WARC/1.0\r\nWARC-Type: response\r\nX: " + b"x" * (2 << 20)
    found = read(warc(tmp_path, [gzip.compress(endless), *MEMBERS]))
    assert [raw.problem for raw in found] == ["broken_record", "", "", "", ""]
    found = read(warc(tmp_path, [PAGES[0], endless + b"\r\n", *PAGES[1:]]))
    assert [raw.problem for raw in found] == ["", "broken_record", "", "", ""]


def test_a_header_of_nothing_but_first_lines_takes_no_quadratic_time(tmp_path: Path) -> None:
    path = warc(tmp_path, [PAGES[0], b"WARC/1.0\nWARC-Type: response\n" * 200_000])
    found = read(path)
    assert found[0].url == "https://x.org/0"
    assert len(found) < 20


def test_missing_address_date_and_status_are_told_apart(tmp_path: Path) -> None:
    block = b"HTTP/1.1 200 OK\r\n\r\n<html>x</html>"
    bare = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n" % (len(block), block)
    plain = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 3\r\n\r\nabc\r\n\r\n"
    found = read(warc(tmp_path, [gzip.compress(bare), gzip.compress(plain), MEMBERS[0]]))
    assert [(raw.url, raw.date, raw.content_type, raw.problem) for raw in found[:2]] == [
        ("", "", None, ""),
        ("", "", None, "no_http"),
    ]
    rows = list(read_pages(str(tmp_path / "x.warc.gz"), warc_file="x", crawl="", cfg=IngestConfig()))
    assert [row.reason for row in rows if isinstance(row, Dropped)] == ["no_url", "no_http", "too_short"]


def test_folded_and_repeated_fields_and_angle_brackets_are_read(tmp_path: Path) -> None:
    odd = PAGES[1].replace(b"https://x.org/1", b"<https://x.org/\xc3\xa9>")
    odd = odd.replace(b"WARC-Date: 2024", b"WARC-Date:\r\n  2024").replace(
        b"WARC-Type", b"warc-date: 1\r\nwarc-type", 1
    )
    (raw,) = read(warc(tmp_path, [gzip.compress(odd)]))
    assert (raw.url, raw.date) == ("https://x.org/é", "1")


def test_a_segment_of_a_response_is_marked_as_cut(tmp_path: Path) -> None:
    first = PAGES[0].replace(b"WARC-Type", b"WARC-Segment-Number: 1\r\nWARC-Type", 1)
    assert [raw.truncated for raw in read(warc(tmp_path, [gzip.compress(first), MEMBERS[1]]))] == [True, False]


def test_what_warcio_writes_is_read_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "w.warc.gz"
    bodies = {f"https://x.org/{i}": bytes(range(256)) * i for i in range(5)}
    with path.open("wb") as stream:
        writer = WARCWriter(stream, gzip=True)
        writer.write_record(writer.create_warcinfo_record("w.warc.gz", {"software": "test"}))
        for url, body in bodies.items():
            http = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
            writer.write_record(writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=http))
            writer.write_record(writer.create_revisit_record(url, "sha1:A", url, "2024-05-01T00:00:00Z"))
    counts: Counter[str] = Counter()
    found = list(read_responses(str(path), max_payload_bytes=LIMIT, others=counts))
    assert {raw.url: raw.payload for raw in found} == bodies
    assert counts == {"warcinfo": 1, "revisit": 5}


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
    """The metadata that Common Crawl writes, Japanese."""
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


def test_the_language_of_the_crawl_counts_where_the_text_says_nothing(tmp_path: Path) -> None:
    sure = (
        'languages-cld2: {"reliable":true,"languages":[{"code":"en","text-covered":0.1},'
        '{"code":"zh-Hant","text-covered":0.8}]}'
    )
    unsure = sure.replace("true", "false")
    formulas = "<html><body><p>" + "x = 1 + 2 <br> y = 3 - 4 <br>" * 30 + "</p></body></html>"
    prose = "<html><body><p>" + "It is the proof that we have of this, and so it was. " * 9 + "</p></body></html>"
    cases = [(formulas, sure), (formulas, unsure), (formulas, "languages-cld2: {"), (prose, sure)]
    path = warc(tmp_path, [one for i, (body, said) in enumerate(cases) for one in crawled(i, body.encode(), said)])
    rows = list(read_pages(str(path), warc_file="x", crawl="c", cfg=IngestConfig()))
    found = [(row.language, row.language_score) for row in rows if isinstance(row, Page)]
    assert found[0] == ("zh", 0.8)
    assert [language for language, _ in found[1:]] == ["und", "und", "en"]


@pytest.mark.real
def test_real_common_crawl_file_names_its_charset(real_data: Path) -> None:
    path = real_data / "warc-samples" / "commoncrawl+whirlwind-python" / "whirlwind.warc.gz"
    assert [(raw.url[-8:], raw.detected_charset) for raw in read(path)] == [("Escopete", "UTF-8")]


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


# Files of shared/data where warcio and we differ, and why. Everywhere else both see the same records.
_WARCIO_GIVES_UP = {
    "example-bad-non-chunked.warc.gz": {"warcinfo": 2, "response": 1, "request": 2, "revisit": 1},  # one gzip member
    "example-bad.warc.gz.bad": {"warcinfo": 1, "response": 2, "request": 2, "revisit": 1},  # likewise
    "example-wrong-chunks.warc.gz": {"response": 1, "request": 1},  # a length that is too small
    "whole-file-gzip.warc.gz": {"response": 12},
    "content-length-too-small.warc.gz": {"response": 12},
    "corrupt-deflate.warc.gz": {"response": 9, "broken": 1},  # warcio stops after 4
    "garbage-between-records.warc.gz": {"response": 10, "broken": 1},  # after 5
    "block-sized-records.warc.lz4": {"unknown": 3},
    "warcfile.warc.lz4": {"warcinfo": 1, "request": 17, "response": 16, "metadata": 16},
}
_NO_WARC = {
    "bad.arc": "ARC file", "example.arc": "ARC file", "example.arc.gz": "ARC file",
    "example-space-in-url.arc": "ARC file", "CC-MAIN-2024-22.warc.paths.gz": "not a WARC",
    "cdx.unsorted.out": "not a WARC",
    "hello-world.txt": "not a WARC", "hello-world.warc.cdx": "not a WARC", "not-a-warc.warc.gz": "not a WARC",
}  # fmt: skip


def by_warcio(path: Path) -> Counter[str] | None:
    """Records by type, None where warcio gives up."""
    counts: Counter[str] = Counter()
    try:
        with path.open("rb") as stream:
            for one in ArchiveIterator(stream):
                counts[one.rec_type] += 1
                one.raw_stream.read()
    except ArchiveLoadFailed:
        return None
    return counts


@pytest.mark.real
def test_every_sample_and_odd_file_gives_what_warcio_reads_and_more(real_data: Path) -> None:
    odd = [path for path in (real_data / "web" / "odd").iterdir() if path.suffix != ".tsv"]
    samples = [path for path in (real_data / "warc-samples").rglob("*") if path.is_file() and path.suffix != ".md"]
    compared = 0
    for path in sorted(samples + odd):
        counts: Counter[str] = Counter()
        if path.name in _NO_WARC:
            with pytest.raises(ConfigError, match=_NO_WARC[path.name]):
                list(read_responses(str(path), max_payload_bytes=LIMIT))
            continue
        for raw in read_responses(str(path), max_payload_bytes=64 << 20, others=counts):
            counts["broken" if raw.problem == "broken_record" else "response"] += 1
            assert raw.problem in ("", "broken_record"), (path.name, raw)
            assert raw.problem or (raw.url.startswith("http") and raw.http_status), (path.name, raw)
        theirs = by_warcio(path)
        if path.name in _WARCIO_GIVES_UP:
            assert theirs is None, path.name
        else:
            compared += 1
        assert counts == (_WARCIO_GIVES_UP.get(path.name) or theirs), path.name
    assert compared >= 38


@pytest.mark.real
def test_offsets_of_every_odd_file_find_the_record_again(real_data: Path) -> None:
    for path in sorted((real_data / "web" / "odd").glob("*.warc*")):
        if path.name in _NO_WARC:
            continue
        data = path.read_bytes()
        unpacked = gzip.decompress(data) if path.name.startswith("whole-file") else data
        for raw in read_responses(str(path), max_payload_bytes=LIMIT):
            if raw.problem:
                continue
            piece = unpacked[raw.warc_offset : raw.warc_offset + raw.warc_length]
            record_bytes = gzip.decompress(piece) if piece.startswith(b"\x1f\x8b") and not raw.truncated else piece
            if not raw.truncated:
                assert record_bytes.startswith(b"WARC/"), (path.name, raw.warc_offset)
                assert raw.url.encode() in record_bytes[:2000], (path.name, raw.warc_offset)


@pytest.mark.real
def test_odd_records_of_the_real_web_are_pages_or_named_reasons(real_data: Path) -> None:
    expected = {
        "empty body with status 200": ["empty_payload"],
        "body truncated, WARC-Truncated: length": ["truncated"],
        "no HTTP Content-Type": ["page"],
        "status line without a reason phrase": ["page"],
        "HTML served as application/octet-stream": ["page"],
    }
    with (real_data / "web" / "odd_records.tsv").open(encoding="utf-8") as file:
        oddities = dict(line.rstrip("\n").split("\t") for line in list(file)[1:])
    seen: dict[str, Counter[str]] = {}
    for path in sorted((real_data / "web").glob("part-*.warc.gz")):
        for raw in read_responses(str(path), max_payload_bytes=64 << 20):
            if raw.url in oddities:
                ends = "empty_payload" if not raw.payload.strip() else "truncated" if raw.truncated else "page"
                seen.setdefault(oddities[raw.url], Counter())[raw.problem or ends] += 1
    assert sum(sum(counts.values()) for counts in seen.values()) == len(oddities)
    for oddity, counts in seen.items():
        assert list(counts) == expected.get(oddity, ["page"]), (oddity, counts)
