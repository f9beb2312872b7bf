"""The HTTP message inside a response record: status, header fields, and the body with its encodings undone."""

import io
import re
import zlib
from collections.abc import Mapping

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_LINE = 1024


def split_message(block: bytes) -> tuple[bytes, bytes] | None:
    """Head and body of an HTTP message, with CRLF or bare LF; None where it is no HTTP message.

    The first empty line ends the head: a head of bare LF may be followed by a body of CRLF.
    """
    end = _HEAD_END.search(block)
    if not block.startswith(b"HTTP/") or end is None:
        return None
    return block[: end.start()], block[end.end() :]


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


def decode_body(body: bytes, fields: Mapping[str, str], max_bytes: int) -> bytes:
    """The body with transfer and content encodings undone where it really has them, at most max_bytes + 1 bytes.

    Common Crawl stores decoded bodies under the original headers, so each encoding is undone only when the bytes look
    like it. A body that ends too early gives what it has, but for Brotli. Raises ValueError for one that cannot be
    decoded.
    """
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = _dechunk(body)
    for encoding in reversed(fields.get("content-encoding", "").lower().replace(" ", "").split(",")):
        try:
            body = _decompress(body, encoding, max_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{encoding}: {error}") from None
    return body


def _decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(body, max_bytes + 1)
    if encoding == "deflate" and not _looks_like_text(body):
        # RFC 9110 means zlib's format; servers that send bare deflate are as old as the name.
        is_zlib = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return zlib.decompressobj(15 if is_zlib else -15).decompress(body, max_bytes + 1)
    if encoding == "zstd" and body.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        try:
            return zstandard.ZstdDecompressor().stream_reader(body).read(max_bytes + 1)
        except zstandard.ZstdError as error:
            raise ValueError(f"zstd: {error}") from None
    if encoding == "br" and not _looks_like_text(body):
        from fastwarc.stream_io import BrotliReader

        return BrotliReader(io.BytesIO(body)).read(max_bytes + 1)
    return body


def _looks_like_text(body: bytes) -> bool:
    """Whether the body was decoded before it was stored: markup, or 64 bytes without a control character."""
    start = body[:64]
    return start.lstrip()[:1] == b"<" or not any(byte < 9 or 13 < byte < 32 for byte in start)


def _dechunk(body: bytes) -> bytes:
    """The chunks joined; a body that does not start with a chunk size is returned as it is."""
    out: list[bytes] = []
    position = 0
    while True:
        line_end = body.find(b"\n", position, position + _CHUNK_LINE)
        size_field = body[position:line_end].split(b";")[0].strip() if line_end >= 0 else b""
        try:
            size = int(size_field, 16)
        except ValueError:
            return b"".join(out) if out else body
        if size <= 0:
            return b"".join(out)
        out.append(body[line_end + 1 : line_end + 1 + size])
        position = line_end + 1 + size
        if body.startswith(b"\r", position):
            position += 1
        position += 1
