"""WARC/1.0 records of the mini web as gzip members: sound pages, odd pages, and records that carry no page.

Written by hand, not by a WARC library: half of the odd records are what a library refuses to write.
"""

import gzip
import hashlib
import random
import uuid
import zlib
from base64 import b32encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_START = datetime(2024, 5, 1, tzinfo=UTC)
_NO_PAGE = (
    "not_found", "not_found", "moved", "moved", "server_error", "pdf", "jpeg", "json", "xml", "plain_text", "empty",
    "no_http", "revisit", "request", "request", "metadata", "dns", "resource", "no_target", "bad_gzip_body",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes a record's ID and date: the web's seed and the record's position."""

    seed: int
    position: int

    @property
    def date(self) -> str:
        """WARC-Date: one second later for each position."""
        return (_START + timedelta(seconds=self.position)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def record_id(self, purpose: str) -> str:
        """A UUID that the same stamp and purpose always get."""
        name = f"{self.seed}/{self.position}/{purpose}".encode()
        return f"<urn:uuid:{uuid.UUID(bytes=hashlib.md5(name).digest())}>"


def page_records(
    rng: random.Random, url: str, *, body: bytes, charset: str, stamp: Stamp
) -> tuple[list[bytes], str | None]:
    """The members of one page (its response, now and then with its request) and its oddity, None for most.

    Every oddity leaves the page readable: truncated_by_crawler cuts its end, the others only concern headers.
    """
    draw = rng.random()
    oddity = next((name for name, limit in _ODDITY_LIMITS if draw < limit), None)
    fields = {"Content-Type": f"text/html; charset={charset}" if charset else "text/html", "Server": "nginx"}
    extra: dict[str, str] = {}
    payload_digest = _digest(body)
    reason = "OK"
    if oddity == "no_content_type":
        del fields["Content-Type"]
    elif oddity == "no_reason_phrase":
        reason = ""
    elif oddity == "truncated_by_crawler":
        body = body[: len(body) * 7 // 10 // 2 * 2]
        payload_digest = _digest(body)
        extra["WARC-Truncated"] = "length"
    elif oddity == "wrong_digest":
        payload_digest = _digest(b"something else")
    elif oddity == "gzip_encoded":
        body = gzip.compress(body, mtime=0)
        fields["Content-Encoding"] = "gzip"
    elif oddity == "chunked":
        half = len(body) // 2
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"
        fields["Transfer-Encoding"] = "chunked"
    length = len(body) if oddity != "wrong_http_length" else len(body) * 3 + 7
    if oddity != "chunked":
        fields["Content-Length"] = str(length)
    block = _http_head(f"HTTP/1.1 200 {reason}".strip(), fields) + body
    if oddity == "bare_line_feeds":
        block = _http_head("HTTP/1.1 200 OK", fields).replace(b"\r\n", b"\n") + body
    members = [_record("response", url, block, stamp=stamp, payload_digest=payload_digest, extra=extra)]
    if draw > 0.97:
        members.insert(0, _request(url, stamp))
    return members, oddity


_ODDITY_LIMITS = (
    ("no_content_type", 0.010),
    ("wrong_http_length", 0.014),
    ("truncated_by_crawler", 0.018),
    ("wrong_digest", 0.022),
    ("gzip_encoded", 0.028),
    ("chunked", 0.032),
    ("no_reason_phrase", 0.036),
    ("bare_line_feeds", 0.039),
)


def odd_record(rng: random.Random, host: str, *, url: str, stamp: Stamp) -> bytes:
    """A record that carries no page, of a kind drawn with `rng`."""
    kind = rng.choice(_NO_PAGE)
    target = f"https://{host}/odd/{stamp.position}"
    if kind in _HTTP_ANSWERS:
        status, content_type, body = _HTTP_ANSWERS[kind]
        fields = {"Content-Type": content_type, "Content-Length": str(len(body))}
        if kind == "moved":
            fields["Location"] = url
        if kind == "bad_gzip_body":
            fields["Content-Encoding"] = "gzip"
        block = _http_head(f"HTTP/1.1 {status}", fields) + body
        return _record("response", target, block, stamp=stamp, payload_digest=_digest(body))
    if kind == "no_http":
        return _record("response", target, b"\x00\x01 not an HTTP message at all \xff" * 9, stamp=stamp)
    if kind == "request":
        return _request(target, stamp)
    if kind == "revisit":
        extra = {"WARC-Profile": "http://netpreserve.org/warc/1.0/revisit/identical-payload-digest"}
        return _record("revisit", url, b"HTTP/1.1 200 OK\r\n\r\n", stamp=stamp, extra=extra)
    if kind == "no_target":
        block = _http_head("HTTP/1.1 200 OK", {"Content-Type": "text/css"}) + b"body { margin: 0 }"
        return _record("response", None, block, stamp=stamp)
    content_type, block = {
        "metadata": ("application/warc-fields", b"fetchTimeMs: 120\r\ncharset-detected: UTF-8\r\n"),
        "dns": ("text/dns", b"20240501000000\n" + host.encode() + b". 300 IN A 192.0.2.7\n"),
        "resource": ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(range(64))),
    }[kind]
    record_type = {"metadata": "metadata"}.get(kind, "resource")
    target = f"dns:{host}" if kind == "dns" else target
    return _record(record_type, target, block, stamp=stamp, content_type=content_type)


_HTTP_ANSWERS = {
    "not_found": ("404 Not Found", "text/html", b"<html><title>404</title><body><h1>Page not found</h1></body></html>"),
    "moved": ("301 Moved Permanently", "text/html", b"<html><body>Moved.</body></html>"),
    "server_error": ("503 Service Unavailable", "text/html", b"<html><body>Please come back later.</body></html>"),
    "pdf": ("200 OK", "application/pdf", b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"),
    "jpeg": ("200 OK", "image/jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(128)) + b"\xff\xd9"),
    "json": ("200 OK", "application/json", b'{"theorem": "none", "items": [1, 2, 3]}'),
    "xml": ("200 OK", "application/rss+xml", b'<?xml version="1.0"?><rss version="2.0"><channel/></rss>'),
    "plain_text": ("200 OK", "text/plain", b"User-agent: *\nDisallow: /private/\n"),
    "empty": ("200 OK", "text/html", b""),
    "bad_gzip_body": ("200 OK", "text/html", b"\x1f\x8b\x08\x00 this is no deflate stream"),
}


def length_trap(host: str, *, stamp: Stamp) -> list[bytes]:
    """Two records without a page: one whose Content-Length is 60 bytes too long, and one that a naive reader loses."""
    block = _http_head("HTTP/1.1 404 Not Found", {"Content-Type": "text/html"}) + b"<html><body>gone</body></html>"
    liar = _record("response", f"https://{host}/odd/length", block, stamp=stamp, content_length=len(block) + 60)
    victim = _record("response", f"https://{host}/odd/victim", block, stamp=Stamp(stamp.seed, -1 - stamp.position))
    return [liar, victim]


def cut_member(stamp: Stamp) -> bytes:
    """The first half of an error page's gzip member, as a crawler that died leaves it at the end of a file."""
    noise = hashlib.sha512(b"page").hexdigest().encode()
    block = _http_head("HTTP/1.1 404 Not Found", {"Content-Type": "text/html"}) + noise * 20
    whole = _record("response", "https://cut.example/last", block, stamp=stamp)
    return whole[: len(whole) // 2]


def warcinfo_record(file_name: str, *, seed: int) -> bytes:
    """The record that opens a file."""
    block = b"software: motherlode toy_web\r\nformat: WARC File Format 1.0\r\nrobots: none, this web is invented\r\n"
    extra = {"WARC-Filename": file_name}
    stamp = Stamp(seed, int(file_name.split("-")[1].split(".")[0]))
    return _record("warcinfo", None, block, stamp=stamp, content_type="application/warc-fields", extra=extra)


def _request(url: str, stamp: Stamp) -> bytes:
    _, _, host, path = url.split("/", 3)
    block = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: toy\r\nAccept: text/html\r\n\r\n".encode()
    return _record("request", url, block, stamp=stamp, content_type="application/http; msgtype=request")


def _http_head(status_line: str, fields: dict[str, str]) -> bytes:
    return "\r\n".join([status_line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()


def _record(
    record_type: str,
    url: str | None,
    block: bytes,
    *,
    stamp: Stamp,
    content_type: str = "application/http; msgtype=response",
    payload_digest: str | None = None,
    content_length: int | None = None,
    extra: dict[str, str] | None = None,
) -> bytes:
    """One record in a gzip member of its own (no time stamp: the bytes repeat)."""
    fields = {
        "WARC-Type": record_type,
        "WARC-Record-ID": stamp.record_id(record_type + (url or "")),
        "WARC-Date": stamp.date,
        **({"WARC-Target-URI": url} if url else {}),
        **({"WARC-Payload-Digest": payload_digest} if payload_digest else {}),
        "WARC-Block-Digest": _digest(block),
        "Content-Type": content_type,
        **(extra or {}),
        "Content-Length": str(len(block) if content_length is None else content_length),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(b"WARC/1.0\r\n" + head.encode() + b"\r\n" + block + b"\r\n\r\n") + packer.flush()


def _digest(data: bytes) -> str:
    return "sha1:" + b32encode(hashlib.sha1(data).digest()).decode()
