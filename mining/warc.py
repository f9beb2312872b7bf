"""WARC files to raw responses: every record once, broken stretches counted and stepped over, never fatal.

FastWARC does the reading. Where it gives up (a damaged gzip member, a wrong length, garbage), the file is searched
for the next place at which a record starts and reading goes on there.
"""

import gzip
import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import IO, Any

import fsspec
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from mining.errors import ConfigError

logger = logging.getLogger(__name__)

_GZIP = b"\x1f\x8b\x08"
_BLOCK = 1 << 20
_MAX_HTTP_HEADER = 64 << 10
_MAX_METADATA = 64 << 10


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One response as it stood in the WARC file, or the place where one could not be read."""

    url: str
    warc_offset: int
    """Byte offset of the record (of its gzip member where it is compressed)."""
    warc_length: int
    """Bytes up to the next record."""
    date: str
    payload_digest: str
    truncated: bool
    """The crawler says that it cut the payload, or the record ends early."""
    http_status: int | None
    """None where there is no HTTP header."""
    content_type: str | None
    payload: bytes
    problem: str = ""
    """Reason key where the record is unusable: broken_record, no_http, too_large."""
    record_id: str = ""
    """WARC-Record-ID, by which the records about this one refer to it."""
    detected_charset: str | None = None
    """What the crawler took the page's encoding for, from the metadata record that follows the response."""


def open_stream(uri: str) -> IO[bytes]:
    """A seekable byte stream of a local path or any fsspec URI; ConfigError where there is nothing."""
    try:
        if "://" not in uri:
            return open(uri, "rb")
        return fsspec.open(uri, "rb").open()
    except FileNotFoundError:
        raise ConfigError(f"{uri}: no such WARC file") from None


def read_responses(uri: str, *, max_payload_bytes: int) -> Iterator[RawRecord]:
    """All response records of a WARC file, in order, with one `broken_record` for each stretch that cannot be read.

    Other record types (warcinfo, request, revisit) are passed over. A response is held until the first record that
    does not belong to it, so that its metadata record, if it has one, gives it the encoding that the crawler found.
    Raises ConfigError for a file that is no WARC at all.
    """
    with closing(open_stream(uri)) as stream:
        size = stream.seek(0, io.SEEK_END)
        start = 0
        num_records = 0
        while start < size:
            last_start, last_whole, problem = start, False, ""
            pending: RawRecord | None = None
            stream.seek(start)
            try:
                for record in ArchiveIterator(
                    stream, record_types=WarcRecordType.any_type, parse_http=False, strict_mode=False
                ):
                    offset = record.stream_pos
                    last_start, last_whole = offset, False
                    num_records += 1
                    if pending:
                        pending = _with_length(pending, offset)
                        if _belongs_to(record, pending):
                            pending = _described(pending, record)
                            last_whole = True
                            continue
                        yield pending
                        pending = None
                    block = _block(record, max_payload_bytes)
                    at = _next_head(block)
                    pending = _response(record, block[:at], offset, max_payload_bytes)
                    last_whole = True
                    if at is not None:
                        raise ValueError("a record's Content-Length takes in the next record")
            except (OSError, ValueError) as error:
                problem = str(error)
            after = _record_end(stream, last_start, size) if last_whole else last_start
            if not problem and after >= size:
                following = None
            else:
                following = _next_record(stream, max(after, last_start + 1), size)
            if following is None and num_records == 0:
                raise ConfigError(f"{uri}: not a WARC file ({problem or 'no record found'}); ARC files are not read")
            if pending:
                yield _with_length(pending, after if following is None else min(after, following))
            gap_end = size if following is None else following
            if after < gap_end and (problem or _is_more_than_padding(stream, after, gap_end)):
                yield _broken(after, gap_end - after, problem or "unreadable bytes")
            if following is None:
                return
            if problem:
                logger.info("%s: %s near byte %d, going on at byte %d", uri, problem, after, following)
            start = following


def _block(record: WarcRecord, max_payload_bytes: int) -> bytes:
    """The bytes of a response, empty for other records and for those over the limit."""
    if record.record_type != WarcRecordType.response or record.content_length > max_payload_bytes + _MAX_HTTP_HEADER:
        return b""
    return record.reader.read()


def _next_head(block: bytes) -> int | None:
    """Where in a record's block the next record's head starts, which a wrong Content-Length took in."""
    at = block.find(b"WARC/1.")
    return at if at >= 0 and b"\nWARC-Type: " in block[at : at + 2000] else None


def _response(record: WarcRecord, block: bytes, offset: int, max_payload_bytes: int) -> RawRecord | None:
    if record.record_type != WarcRecordType.response:
        return None
    headers = record.headers
    url = _target(headers)
    if record.content_length > max_payload_bytes + _MAX_HTTP_HEADER:
        return _raw(headers, url, offset, problem="too_large")
    head, separator, body = block.partition(b"\r\n\r\n")
    if not separator:
        head, separator, body = block.partition(b"\n\n")
    if not head.startswith(b"HTTP/") or not separator:
        return _raw(headers, url, offset, problem="no_http")
    status, fields = parse_http_head(head)
    try:
        payload = decode_body(body, fields, max_payload_bytes)
    except (ValueError, zlib.error, EOFError, OSError):
        return _raw(headers, url, offset, problem="bad_content_encoding")
    if len(payload) > max_payload_bytes:
        return _raw(headers, url, offset, problem="too_large")
    cut = headers.get("WARC-Truncated") is not None or len(block) < record.content_length
    return _raw(
        headers,
        url,
        offset,
        http_status=status,
        content_type=fields.get("content-type"),
        payload=payload,
        truncated=cut,
    )


def _raw(headers: Any, url: str, offset: int, **fields: Any) -> RawRecord:
    values = {"http_status": None, "content_type": None, "payload": b"", "truncated": False, **fields}
    return RawRecord(
        url=url,
        warc_offset=offset,
        warc_length=0,
        date=headers.get("WARC-Date") or "",
        payload_digest=headers.get("WARC-Payload-Digest") or "",
        record_id=headers.get("WARC-Record-ID") or "",
        **values,
    )


def _broken(offset: int, length: int, detail: str) -> RawRecord:
    return RawRecord("", offset, length, "", "", False, None, detail, b"", problem="broken_record")


def _with_length(raw: RawRecord, end: int) -> RawRecord:
    """The record that ends at `end`, unless its end is known."""
    return raw if raw.warc_length else replace(raw, warc_length=end - raw.warc_offset)


def _belongs_to(record: WarcRecord, response: RawRecord) -> bool:
    """Whether a record is the request or the metadata of the response before it."""
    if record.record_type not in (WarcRecordType.metadata, WarcRecordType.request):
        return False
    headers = record.headers
    named = (headers.get("WARC-Concurrent-To"), headers.get("WARC-Refers-To"))
    return (response.record_id != "" and response.record_id in named) or _target(headers) == response.url


def _described(response: RawRecord, record: WarcRecord) -> RawRecord:
    """The response with the encoding that its metadata record names (`charset-detected`, Heritrix: another name)."""
    if record.record_type != WarcRecordType.metadata or record.content_length > _MAX_METADATA:
        return response
    fields: dict[str, str] = {}
    for line in record.reader.read().decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    charset = fields.get("charset-detected") or fields.get("charsetforlinkextraction")
    return replace(response, detected_charset=charset) if charset else response


def _target(headers: Any) -> str:
    return (headers.get("WARC-Target-URI") or "").strip().strip("<>")


def parse_http_head(head: bytes) -> tuple[int | None, dict[str, str]]:
    """Status code and lower-cased header fields of an HTTP head; the first of a repeated field wins."""
    lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    parts = lines[0].split(None, 2)
    status = int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else None
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return status, fields


def decode_body(body: bytes, fields: dict[str, str], max_bytes: int) -> bytes:
    """The body with transfer and content encodings undone where it really has them.

    Common Crawl stores decoded bodies under the original headers, so each encoding is undone only when the bytes look
    like it. Raises ValueError for an encoding that cannot be undone.
    """
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = _dechunk(body)
    for encoding in reversed(fields.get("content-encoding", "").lower().replace(" ", "").split(",")):
        if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
            body = zlib.decompressobj(31).decompress(body, max_bytes + 1)
        elif encoding == "deflate" and body[:1] == b"\x78":
            body = zlib.decompressobj(15).decompress(body, max_bytes + 1)
        elif encoding == "zstd" and body.startswith(b"\x28\xb5\x2f\xfd"):
            import zstandard

            body = zstandard.ZstdDecompressor().stream_reader(body).read(max_bytes + 1)
        elif encoding == "br" and body[:64].lstrip()[:1] != b"<":
            from fastwarc.stream_io import BrotliReader

            body = BrotliReader(io.BytesIO(body)).read(max_bytes + 1)
    return body


def _dechunk(body: bytes) -> bytes:
    """The chunks joined; a body that does not start with a chunk size is returned as it is."""
    out: list[bytes] = []
    position = 0
    while True:
        line_end = body.find(b"\r\n", position, position + 64)
        size_field = body[position:line_end].split(b";")[0].strip() if line_end >= 0 else b""
        try:
            size = int(size_field, 16)
        except ValueError:
            return b"".join(out) if out else body
        if size == 0:
            return b"".join(out)
        out.append(body[line_end + 2 : line_end + 2 + size])
        position = line_end + 2 + size + 2


def _record_end(stream: IO[bytes], offset: int, size: int) -> int:
    """Where the record at `offset` ends: with its gzip member; uncompressed, with the next record or the file."""
    stream.seek(offset)
    block = stream.read(_BLOCK)
    if not block.startswith(_GZIP):
        following = _next_record(stream, offset + 1, size)
        return size if following is None else following
    decompressor = zlib.decompressobj(31)
    position = offset
    try:
        while block:
            decompressor.decompress(block)
            position += len(block)
            if decompressor.eof:
                return position - len(decompressor.unused_data)
            block = stream.read(_BLOCK)
    except zlib.error:
        return offset + 1
    return size


def _next_record(stream: IO[bytes], position: int, size: int) -> int | None:
    """The next offset at which a record starts: a gzip member that opens with `WARC/`, or that text itself."""
    overlap = 256
    while position < size:
        stream.seek(position)
        block = stream.read(_BLOCK + overlap)
        at = -1
        while True:
            candidates = [found for found in (block.find(_GZIP, at + 1), block.find(b"WARC/", at + 1)) if found >= 0]
            at = min(candidates, default=-1)
            if at < 0 or at >= _BLOCK:
                break
            if _starts_record(block[at : at + overlap]):
                return position + at
        position += _BLOCK
    return None


def _starts_record(block: bytes) -> bool:
    if block.startswith(_GZIP):
        try:
            return zlib.decompressobj(31).decompress(block, 5) == b"WARC/"
        except zlib.error:
            return False
    return block[5:6].isdigit() and b"\n" in block[:16]


def _is_more_than_padding(stream: IO[bytes], start: int, end: int) -> bool:
    """Whether the bytes between two records hold anything but line ends and empty gzip members."""
    stream.seek(start)
    gap = stream.read(min(end - start, _BLOCK))
    try:
        return bool(gap.strip(b"\r\n\0") and gzip.decompress(gap))
    except (OSError, EOFError, zlib.error):
        return True
