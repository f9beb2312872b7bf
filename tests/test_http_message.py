"""HTTP messages: where the head ends, and bodies whose encodings are undone only where the bytes have them."""

import gzip
import io
import zlib

import pytest
import zstandard
from fastwarc.stream_io import BrotliWriter

from mining.http_message import decode_body, parse_http_head, split_message

LIMIT = 1 << 20
PAGE = b"<html>" + b"hello world, " * 40 + b"</html>"
LONG = b" ".join(b"%d squared is %d;" % (number, number * number) for number in range(20_000))


def brotli(data: bytes) -> bytes:
    out = io.BytesIO()
    writer = BrotliWriter(out)
    writer.write(data)
    writer.close()
    return out.getvalue()


def chunked(data: bytes, size: int = 100, end: bytes = b"\r\n") -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%X;name=value" % len(part) + end + part + end for part in parts) + b"0" + end + end


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "br": brotli,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress, "identity": bytes,
}  # fmt: skip


def test_head_keeps_the_first_of_a_repeated_field() -> None:
    status, fields = parse_http_head(b"HTTP/1.1 404 Not Found\r\nContent-Type: a\r\ncontent-type: b\r\nbroken line")
    assert (status, fields) == (404, {"content-type": "a"})
    assert parse_http_head(b"HTTP/1.1")[0] is None


@pytest.mark.parametrize("empty_line", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_the_first_empty_line_ends_the_head(empty_line: bytes) -> None:
    assert split_message(b"HTTP/1.1 200 OK" + empty_line + b"a\r\n\r\nb\n\nc") == (
        b"HTTP/1.1 200 OK",
        b"a\r\n\r\nb\n\nc",
    )


@pytest.mark.parametrize("block", [b"", b"<html>", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_what_has_no_http_head_is_no_message(block: bytes) -> None:
    assert split_message(block) is None


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize("page", [PAGE, LONG])
def test_every_encoding_is_undone_chunked_or_not(encoding: str, is_chunked: bool, page: bytes) -> None:
    body = PACKERS[encoding](page)
    fields = {"content-encoding": encoding.upper()}
    if is_chunked:
        body, fields["transfer-encoding"] = chunked(body), "Chunked"
    assert decode_body(body, fields, LIMIT) == page


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize(
    "body", [PAGE, b"", b"plain words of a page without a tag in its first line", "中文网页".encode()]
)
def test_a_body_that_was_stored_decoded_stays(encoding: str, body: bytes) -> None:
    """As Common Crawl stores them, under the original headers."""
    assert decode_body(body, {"content-encoding": encoding, "transfer-encoding": "chunked"}, LIMIT) == body


def test_bare_deflate_two_encodings_and_line_feeds_between_chunks_are_read() -> None:
    assert decode_body(bare_deflate(PAGE), {"content-encoding": "deflate"}, LIMIT) == PAGE
    assert decode_body(gzip.compress(brotli(PAGE)), {"content-encoding": "br, gzip"}, LIMIT) == PAGE
    assert decode_body(chunked(PAGE, end=b"\n"), {"transfer-encoding": "chunked"}, LIMIT) == PAGE


def test_chunks_that_end_too_early_give_what_there_is() -> None:
    body = chunked(PAGE)
    assert (
        decode_body(body[:250], {"transfer-encoding": "chunked"}, LIMIT) == PAGE[:201]
    )  # two chunks of 117 bytes, a size line of 15, one byte
    assert decode_body(body.replace(b"0\r\n\r\n", b""), {"transfer-encoding": "chunked"}, LIMIT) == PAGE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_damaged_bodies_are_refused(encoding: str) -> None:
    body = PACKERS[encoding](LONG)
    with pytest.raises(ValueError, match=encoding):
        decode_body(body[:50] + b"\xff" * 40 + body[90:], {"content-encoding": encoding}, LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_bodies_that_end_too_early_give_what_there_is(encoding: str) -> None:
    body = PACKERS[encoding](LONG)
    cut = decode_body(body[: len(body) - 30], {"content-encoding": encoding}, LIMIT)
    assert LONG.startswith(cut)
    assert encoding == "zstd" or len(cut) > len(LONG) // 2  # zstd gives whole blocks of 128 kB


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_stops_at_the_limit(encoding: str) -> None:
    bomb = PACKERS[encoding](b"\0" * 50_000_000)
    assert len(decode_body(bomb, {"content-encoding": encoding}, 1000)) == 1001
