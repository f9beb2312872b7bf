"""A WARC file as pieces, one a record where the file keeps to the standard: a gzip or zstd member, or a plain stretch.

A damaged piece is given with its problem and its bytes are stepped over. A file that is compressed as a whole, which
the standard does not allow and which happens, is unpacked to a temporary file first.
"""

import io
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import zstandard

from mining.errors import ConfigError

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_DICTIONARY = b"\x5d\x2a\x4d\x18"
_LZ4 = b"\x04\x22\x4d\x18"
_REFUSED = {b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2", b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7z"}
_ARC = re.compile(rb"\s*(?:filedesc|https?|dns|ftp)://\S+ [0-9A-Fa-f.:]+ \d{8,} ")
_START = re.compile(rb"WARC/\d[\d.]*\r?\n")
_TYPE = re.compile(rb"\nWARC-Type[ \t]*:", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
TRAILERS = (b"\r\n\r\n", b"\n\n")
"""What ends a record."""
_PADDING = b"\r\n\0 \t"
_SCAN = 1 << 20
_OVERLAP = 8 << 10
_WINDOW = 16 << 10
_SNIFF = 64 << 20
_DAMAGE = (zlib.error, zstandard.ZstdError)
MAX_HEAD = 1 << 20
"""Bytes of the longest WARC header that is read."""


class Head(NamedTuple):
    """The header of a WARC record."""

    fields: dict[str, str]
    """By lower-case name; the first of a repeated field wins."""
    length: int
    """Bytes, the empty line at its end too."""
    declared: int | None
    """Content-Length, None where there is none that is a number."""


class Piece(NamedTuple):
    """A stretch of a WARC file."""

    offset: int
    length: int
    """Bytes in the file (compressed ones)."""
    data: bytes
    """Decompressed, cut at the wanted size; empty where there is a problem."""
    size: int
    """Decompressed bytes in all."""
    cut: bool
    """The file ends before the piece does."""
    problem: str
    """What is wrong with bytes that cannot be read, empty for good ones."""


class _Packing(NamedTuple):
    """How members are compressed."""

    magic: bytes
    chunk: int
    """Compressed bytes given to the decompressor at once, which bounds what a bomb can make of them."""
    start: Callable[[], Any]
    """A decompressor for one member."""


def parse_head(data: bytes, start: int = 0) -> Head | None:
    """The WARC header that starts at `start`, lines ended by CRLF or bare LF; None where there is none."""
    end = _HEAD_END.search(data, start, start + MAX_HEAD)
    if end is None or not _START.match(data, start):
        return None
    raw = data[start : end.start()]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    fields: dict[str, str] = {}
    name = ""
    for line in text.replace("\r\n", "\n").split("\n")[1:]:
        if line[:1] in " \t" and name:  # a folded line belongs to the one before
            fields[name] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        name = key.strip().lower() if colon else ""
        if name and fields.setdefault(name, value.strip()) != value.strip():
            name = ""
    length = fields.get("content-length", "")
    declared = int(length) if length.isascii() and length.isdecimal() else None
    return Head(fields, end.end() - start, declared)


def next_head(data: bytes, start: int = 0) -> int | None:
    """Where in `data`, from `start` on, a line begins a WARC header; None where there is no such line."""
    for found in _START.finditer(data, start):
        at = found.start()
        if (at == 0 or data[at - 1 : at] == b"\n") and _TYPE.search(data, at, at + 4096):
            return at
    return None


def pieces(stream: IO[bytes], uri: str, max_bytes: int) -> tuple[bool, Iterator[Piece]]:
    """Whether the file starts as a WARC file does, and its pieces in order, each with at most max_bytes of data.

    Offsets and lengths are those of compressed members. In a file compressed as a whole they are those of the unpacked
    file: there is no place in the packed one to begin at. ConfigError for ARC and for what is packed in other ways.
    """
    start = stream.read(512)
    for magic, name in _REFUSED.items():
        if start.startswith(magic):
            raise ConfigError(f"{uri}: not a WARC file but {name}; unpack it (plain, gzip, zstd and lz4 are read)")
    if start.startswith(_LZ4):
        return False, _unpacked_pieces(_lz4_chunks(stream), max_bytes)
    packing = _packing(stream, start)
    if packing is None:
        _refuse_arc(uri, start)
        return next_head(start) == 0, _plain_pieces(stream, max_bytes)
    start, is_whole_file = _sniff(stream, packing)
    _refuse_arc(uri, start)
    if is_whole_file:
        chunks = (chunk for chunk, _, _ in _inflated(stream, packing, 0))
        return True, _unpacked_pieces(chunks, max_bytes)
    return start.startswith(b"WARC/"), _member_pieces(stream, packing, max_bytes)


def _refuse_arc(uri: str, start: bytes) -> None:
    if _ARC.match(start):
        raise ConfigError(f"{uri}: an ARC file, not a WARC file; `warcio recompress IN.arc.gz OUT.warc.gz` converts it")


def _packing(stream: IO[bytes], start: bytes) -> _Packing | None:
    """How the members of the file are compressed, None for a plain file."""
    if start.startswith(_GZIP):
        return _Packing(_GZIP, 64 << 10, lambda: zlib.decompressobj(31))
    if not (start.startswith(_ZSTD) or _is_skippable(start)):
        return None
    decompressor = zstandard.ZstdDecompressor()
    if start.startswith(_ZSTD_DICTIONARY):  # the Zstandard annex of WARC: one dictionary for all, itself packed or not
        stream.seek(8)
        content = stream.read(int.from_bytes(start[4:8], "little"))
        if content.startswith(_ZSTD):
            content = decompressor.decompress(content, max_output_size=_SNIFF)
        decompressor = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(content))
    return _Packing(_ZSTD, 4 << 10, decompressor.decompressobj)


def _is_skippable(start: bytes) -> bool:
    """Whether a zstd frame begins here that holds no data."""
    return start[1:4] == _ZSTD_DICTIONARY[1:] and 0x50 <= start[0] <= 0x5F


def _inflated(stream: IO[bytes], packing: _Packing, start: int) -> Iterator[tuple[bytes, int, bool]]:
    """(data, offset reached in the file, whether a member ends there) of the members from `start` on, in order.

    Where the file ends inside a member, the last tuple does not say that it ends. Raises one of `_DAMAGE`.
    """
    stream.seek(start)
    position, buffer = start, b""
    while buffer := buffer or stream.read(packing.chunk):
        if len(buffer) < 8:
            buffer += stream.read(packing.chunk)
        if packing.magic == _ZSTD and _is_skippable(buffer):
            position += 8 + int.from_bytes(buffer[4:8], "little")
            stream.seek(position)
            buffer = b""
            yield b"", position, True
            continue
        decompressor = packing.start()
        while True:
            data = decompressor.decompress(buffer)
            position += len(buffer)
            if decompressor.eof:
                buffer = decompressor.unused_data
                position -= len(buffer)
                yield data, position, True
                break
            yield data, position, False
            buffer = stream.read(packing.chunk)
            if not buffer:
                yield decompressor.flush(), position, False
                return


def _sniff(stream: IO[bytes], packing: _Packing) -> tuple[bytes, bool]:
    """The first bytes of the first member's data, and whether records do not end where members do."""
    data, end, ends = bytearray(), None, False
    try:
        members = _inflated(stream, packing, 0)
        for chunk, _, ends in members:
            data += chunk
            head = parse_head(bytes(data[:MAX_HEAD])) if end is None else None
            if head and head.declared is not None:
                end = head.length + head.declared
            if (ends and data) or len(data) > min(MAX_HEAD if end is None else end + 64, _SNIFF):
                break
        start = bytes(data[:512])
        if end is None or (len(data) < end and not ends):
            return start, False
        if len(data) >= end:
            return start, data[end:].lstrip(_PADDING).startswith(b"WARC/")
        # The member is over before its record: the record goes on in the next one, or its length is wrong.
        following = next((chunk for chunk, _, _ in members if chunk), b"")
        return start, bool(following) and not following.startswith(b"WARC/")
    except _DAMAGE:
        return bytes(data[:512]), False


def _member_pieces(stream: IO[bytes], packing: _Packing, max_bytes: int) -> Iterator[Piece]:
    """A piece for each member, and one for each stretch that is none."""
    start = 0
    while True:
        parts: list[bytes] = []
        kept, size, position, problem = 0, 0, start, ""
        try:
            for data, position, ends in _inflated(stream, packing, start):
                if kept < max_bytes:
                    parts.append(data[: max_bytes - kept])
                    kept += len(parts[-1])
                size += len(data)
                if ends:
                    yield Piece(start, position - start, b"".join(parts), size, cut=False, problem="")
                    start, parts, kept, size = position, [], 0, 0
        except _DAMAGE as error:
            problem = str(error)
        if not problem and size:
            yield Piece(start, position - start, b"".join(parts), size, cut=True, problem="")
        if not problem and (size or position == start):
            return
        following = _next_member(stream, packing, start + 1)
        end = stream.seek(0, io.SEEK_END) if following is None else following
        if not _is_padding(stream, start, end):
            yield Piece(start, end - start, b"", 0, cut=False, problem=problem or "the file ends inside a member")
        if following is None:
            return
        start = following


def _next_member(stream: IO[bytes], packing: _Packing, position: int) -> int | None:
    """The next offset at which a member with a record begins."""
    overlap = 512
    while True:
        stream.seek(position)
        block = stream.read(_SCAN + overlap)
        at = block.find(packing.magic)
        while 0 <= at < _SCAN:
            if _begins_record(block[at : at + overlap], packing):
                return position + at
            at = block.find(packing.magic, at + 1)
        if len(block) <= _SCAN:
            return None
        position += _SCAN


def _begins_record(block: bytes, packing: _Packing) -> bool:
    """Whether a member that opens so holds a WARC record."""
    try:
        if packing.magic == _GZIP:
            return zlib.decompressobj(31).decompress(block, 5) == b"WARC/"
        # Nothing comes out of zstd before a block is whole, so a frame is told by its first field alone.
        return zstandard.get_frame_parameters(block).content_size >= 0
    except _DAMAGE:
        return False


def _is_padding(stream: IO[bytes], start: int, end: int) -> bool:
    """Whether the bytes of a stretch are zeros and line ends."""
    stream.seek(start)
    return end - start <= _SCAN and not stream.read(end - start).strip(_PADDING)


def _lz4_chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """The data of an LZ4 file."""
    from fastwarc.stream_io import Lz4Reader

    stream.seek(0)
    reader = Lz4Reader(stream)
    try:
        while data := reader.read(_SCAN):
            yield data
    except OSError as error:
        if error.errno is not None:  # the disk's or the network's
            raise
        raise zlib.error(f"lz4: {error}") from None


def _unpacked_pieces(chunks: Iterator[bytes], max_bytes: int) -> Iterator[Piece]:
    """The pieces of a file that is compressed as a whole, by way of a temporary file (TMPDIR) of its unpacked size."""
    with tempfile.TemporaryFile() as unpacked:
        problem = ""
        try:
            for chunk in chunks:
                unpacked.write(chunk)
        except _DAMAGE as error:
            problem = f"the file cannot be unpacked further ({error})"
        size = unpacked.tell()
        yield from _plain_pieces(unpacked, max_bytes)
        if problem:
            yield Piece(size, 0, b"", 0, cut=False, problem=problem)


def _plain_pieces(stream: IO[bytes], max_bytes: int) -> Iterator[Piece]:
    """A piece for each record of an uncompressed file, up to the next record, and one for each stretch that is none."""
    size = stream.seek(0, io.SEEK_END)
    start = 0
    while start < size:
        stream.seek(start)
        window = stream.read(_WINDOW)
        padding = len(window) - len(window.lstrip(_PADDING))
        if padding:
            start += padding
            continue
        if _HEAD_END.search(window) is None:
            window += stream.read(MAX_HEAD)
        head = parse_head(window)
        if head is None:
            # Where no header can end, none begins: files of nothing but first lines must not take quadratic time.
            step = 1 if _HEAD_END.search(window) else max(len(window) - _OVERLAP, _WINDOW)
            following = _next_record(stream, start + step, size)
            yield Piece(start, following - start, b"", 0, cut=False, problem="no WARC header")
        else:
            end = start + head.length + (head.declared or 0)
            if head.declared is None or not _is_border(stream, end, size):
                end = _next_record(stream, start + head.length, size)
            following = end + _num_padding(stream, end)
            declared_end = start + head.length + (head.declared or 0)
            stream.seek(start)
            data = stream.read(min(end - start, max_bytes))
            yield Piece(start, following - start, data, end - start, cut=declared_end > end == size, problem="")
        start = following


def _is_border(stream: IO[bytes], end: int, size: int) -> bool:
    """Whether a record may end at `end`: its trailer, the next record or the end of the file follows."""
    if end >= size:
        return end == size
    stream.seek(end)
    rest = stream.read(_WINDOW)
    return rest.startswith(TRAILERS) or rest.lstrip(_PADDING)[:5] in (b"", b"WARC/")


def _num_padding(stream: IO[bytes], position: int) -> int:
    stream.seek(position)
    window = stream.read(_WINDOW)
    return len(window) - len(window.lstrip(_PADDING))


def _next_record(stream: IO[bytes], position: int, size: int) -> int:
    """The next offset at which a line begins a WARC header, the file's size where there is none."""
    while position < size:
        stream.seek(position - 1)
        block = stream.read(1 + _SCAN + _OVERLAP)
        at = next_head(block, 1)
        if at is not None:
            return position - 1 + at
        position += _SCAN
    return size
