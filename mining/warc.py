"""WARC files to raw responses: every record once, broken stretches counted and stepped over, never fatal.

`mining.members` cuts a file into pieces; here a piece is read as a record. The bytes decide where a wrong
Content-Length contradicts them: a record ends where its gzip member or the next record's header says.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO, Any, NamedTuple

import fsspec

from mining.errors import ConfigError
from mining.http_message import decode_body, parse_http_head, split_message
from mining.members import MAX_HEAD, TRAILERS, Piece, next_head, parse_head, pieces

_MAX_HTTP_HEAD = 64 << 10
_MAX_METADATA = 64 << 10
_TRAILER = re.compile(rb"(?:\r?\n){1,2}\Z")
_SOLID = re.compile(rb"[^\r\n\0 \t]")
_OLD_CODES = {"iw": "he", "jw": "jv", "mo": "ro"}
_TYPES = frozenset(("warcinfo", "response", "resource", "request", "metadata", "revisit", "conversion", "continuation"))


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One response as it stood in the WARC file, or the place where one could not be read."""

    url: str
    warc_offset: int
    """Byte offset of the record (of its member where it is compressed); see `mining.members.pieces`."""
    warc_length: int
    """Bytes of the member, or up to the next record."""
    date: str
    payload_digest: str
    truncated: bool
    """The crawler says that it cut the payload, or the record ends early."""
    http_status: int | None
    """None where there is no HTTP header."""
    content_type: str | None
    payload: bytes
    problem: str = ""
    """Reason key where the record is unusable: broken_record, no_http, bad_content_encoding, too_large."""
    record_id: str = ""
    """WARC-Record-ID, by which the records about this one refer to it."""
    detected_charset: str | None = None
    """What the crawler took the page's encoding for, from the metadata record that follows the response."""
    detected_language: tuple[str, float] | None = None
    """ISO 639-1 code and the share of the text, likewise; None where the crawler was not sure."""


class _Record(NamedTuple):
    """A record of any type, or a stretch that is none."""

    kind: str
    """WARC-Type, `unknown` for a type that the standard does not have, `broken` for a stretch that cannot be read."""
    fields: Mapping[str, str]
    block: bytes
    size: int
    """Bytes of the block, of which `block` has the first."""
    piece: Piece
    cut: bool
    """The file ends inside it."""


def open_stream(uri: str) -> IO[bytes]:
    """A seekable byte stream of a local path or any fsspec URI; ConfigError where there is nothing."""
    try:
        if "://" not in uri:
            return open(uri, "rb")
        return fsspec.open(uri, "rb").open()
    except FileNotFoundError:
        raise ConfigError(f"{uri}: no such WARC file") from None


def read_responses(uri: str, *, max_payload_bytes: int, others: Counter[str] | None = None) -> Iterator[RawRecord]:
    """All response records of a WARC file, in order, with one `broken_record` for each stretch that cannot be read.

    Records of other types are passed over and counted by type in `others`. A response is held until the first record
    that does not belong to it, so that its metadata record, if it has one, says what the crawler found. Raises
    ConfigError for a file that is no WARC at all.
    """
    with closing(open_stream(uri)) as stream:
        is_warc, found = pieces(stream, uri, max_payload_bytes + _MAX_HTTP_HEAD + MAX_HEAD)
        early: list[RawRecord] = []  # until the file is known to be a WARC
        pending: RawRecord | None = None
        for record in chain.from_iterable(map(_records, found)):
            if record.kind == "broken" and not is_warc:
                early.append(_broken(record))
                continue
            is_warc = True
            yield from early
            early = []
            if record.kind not in ("broken", "response"):
                if others is not None:
                    others[record.kind] += 1
                if pending and _belongs_to(record, pending):
                    pending = _described(pending, record)
                    continue
            if pending:
                yield pending
            pending = _response(record, max_payload_bytes) if record.kind == "response" else None
            if record.kind == "broken":
                yield _broken(record)
        if pending:
            yield pending
        if early:
            raise ConfigError(f"{uri}: not a WARC file ({early[0].content_type})")


def _records(piece: Piece) -> Iterator[_Record]:
    """The records of a piece: one, but for members that hold several; nothing for an empty member."""
    if piece.problem:
        yield _stretch(piece, piece.problem)
        return
    data, start = piece.data, _after_padding(piece.data, 0)
    following = start
    while start < len(data):
        head = parse_head(data, start)
        if head is None:
            yield _stretch(piece, "the file ends inside a WARC header" if piece.cut else "no WARC header")
            return
        start += head.length
        end, following = _block_end(piece, start, head.declared)
        kind = head.fields.get("warc-type", "").lower()
        yield _Record(
            kind=kind if kind in _TYPES else "unknown",
            fields=head.fields,
            block=data[start:end],
            # Only the last block can go on behind the data that was kept, or behind the end of the file.
            size=end - start if following else piece.size - start,
            piece=piece,
            cut=piece.cut and not following,
        )
        start = following or len(data)
    if following and piece.size > len(data):
        yield _stretch(piece, "several records in one large member")


def _stretch(piece: Piece, problem: str) -> _Record:
    """A piece, or the rest of it, in which no record can be read."""
    return _Record("broken", {"problem": problem}, b"", 0, piece, piece.cut)


def _block_end(piece: Piece, start: int, declared: int | None) -> tuple[int, int]:
    """Where the block from `start` ends in the piece's data, and where the next header begins, 0 for nowhere.

    Content-Length counts where the next record, the record's trailer or the end of the piece follows. Where they do
    not, it is wrong (or missing): the block goes up to the next header, or to the end of the piece.
    """
    data = piece.data
    end = start + (declared or 0)
    if declared is not None and end <= len(data):
        following = _after_padding(data, end)
        if following == len(data):
            return end, 0 if piece.size == len(data) else following
        if data.startswith(b"WARC/", following) or data.startswith(TRAILERS, end):
            return end, following
    elif piece.size > len(data):
        return len(data), 0
    at = next_head(data, end if declared is not None and end <= len(data) else start)
    whole = data[start : len(data) if at is None else at]
    if at is not None or not piece.cut:
        whole = _TRAILER.sub(b"", whole)
    return start + len(whole), at or 0


def _after_padding(data: bytes, start: int) -> int:
    """The next place that is no white space or zero."""
    found = _SOLID.search(data, start)
    return found.start() if found else len(data)


def _response(record: _Record, max_payload_bytes: int) -> RawRecord:
    """The response in a record, with a problem where it cannot be used."""
    if record.size > max_payload_bytes + _MAX_HTTP_HEAD:
        return _raw(record, problem="too_large")
    message = split_message(record.block)
    if message is None:
        return _raw(record, problem="no_http")
    status, fields = parse_http_head(message[0])
    try:
        payload = decode_body(message[1], fields, max_payload_bytes)
    except ValueError:
        return _raw(record, problem="bad_content_encoding")
    if len(payload) > max_payload_bytes:
        return _raw(record, problem="too_large")
    # A segment is the beginning of a response that goes on in a continuation record.
    is_cut = record.cut or "warc-truncated" in record.fields or "warc-segment-number" in record.fields
    return _raw(record, http_status=status, content_type=fields.get("content-type"), payload=payload, truncated=is_cut)


def _raw(record: _Record, **values: Any) -> RawRecord:
    fields = record.fields
    return RawRecord(
        url=_target(fields),
        warc_offset=record.piece.offset,
        warc_length=record.piece.length,
        date=fields.get("warc-date", ""),
        payload_digest=fields.get("warc-payload-digest", ""),
        record_id=fields.get("warc-record-id", ""),
        **{"http_status": None, "content_type": None, "payload": b"", "truncated": False, **values},
    )


def _broken(record: _Record) -> RawRecord:
    """A stretch that cannot be read; `content_type` says why."""
    return _raw(record, content_type=record.fields["problem"], problem="broken_record")


def _belongs_to(record: _Record, response: RawRecord) -> bool:
    """Whether a record is the request or the metadata of the response before it."""
    if record.kind not in ("metadata", "request"):
        return False
    fields = record.fields
    named = (fields.get("warc-concurrent-to"), fields.get("warc-refers-to"))
    return (response.record_id != "" and response.record_id in named) or _target(fields) == response.url


def _described(response: RawRecord, record: _Record) -> RawRecord:
    """The response with what its metadata record says of its encoding and language.

    Common Crawl writes `charset-detected` and `languages-cld2`, Heritrix `charsetForLinkExtraction`.
    """
    if record.kind != "metadata" or record.size > _MAX_METADATA:
        return response
    fields: dict[str, str] = {}
    for line in record.block.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    charset = fields.get("charset-detected") or fields.get("charsetforlinkextraction")
    return replace(
        response,
        detected_charset=charset or response.detected_charset,
        detected_language=_language(fields.get("languages-cld2", "")) or response.detected_language,
    )


def _language(cld2: str) -> tuple[str, float] | None:
    """The language that covers most of the text, as CLD2 found it; None where it was not sure."""
    try:
        found = json.loads(cld2)
        first = max(found["languages"], key=lambda one: float(one["text-covered"]))
        code = str(first["code"]).partition("-")[0].lower()
        return (_OLD_CODES.get(code, code), float(first["text-covered"])) if found["reliable"] is True else None
    except (ValueError, TypeError, KeyError):
        return None


def _target(fields: Mapping[str, str]) -> str:
    return fields.get("warc-target-uri", "").strip().strip("<>")
