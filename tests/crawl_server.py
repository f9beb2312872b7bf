"""A crawl as Common Crawl publishes it, made from WARC files, and an HTTP server on loopback that serves it.

The server keeps a log of every request and, where it is told to, misbehaves: it refuses, cuts, drips, lies about
lengths and ranges, and damages gzip members, all by a seeded draw.
"""

import gzip
import json
import random
import re
import shutil
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from mining.warc import RawRecord, read_responses

OLD, NEW = "CC-MAIN-2017-39", "CC-MAIN-2024-22"
"""Two crawls: one before the index had charset, languages, truncation and redirects, one with all columns."""

_STRINGS = (
    "url_surtkey", "url", "url_host_name", "url_host_tld", "url_host_registered_domain", "url_protocol", "url_path",
    "url_query",
)  # fmt: skip
_TABLE = {
    **dict.fromkeys(_STRINGS, pa.string()),
    "fetch_time": pa.timestamp("ms"),
    "fetch_status": pa.int16(),
    "fetch_redirect": pa.string(),
    "content_digest": pa.string(),
    "content_mime_type": pa.string(),
    "content_mime_detected": pa.string(),
    "content_charset": pa.string(),
    "content_languages": pa.string(),
    "content_truncated": pa.string(),
    "warc_filename": pa.string(),
    "warc_record_offset": pa.int32(),
    "warc_record_length": pa.int32(),
    "warc_segment": pa.string(),
}
_SINCE_2019 = ("fetch_redirect", "content_charset", "content_languages", "content_truncated")
_CDX_PAGE = 40


def surt(url: str) -> str:
    """The key of a URL as Common Crawl's indexes sort it: host backwards without www, path and query in lower case."""
    parts = urlsplit(url)
    host = re.sub(r"^www\d*\.", "", (parts.hostname or "").lower())
    port = f":{parts.port}" if parts.port else ""
    path = parts.path.lower().rstrip("/") or "/"
    return ",".join(reversed(host.split("."))) + port + ")" + path + (f"?{parts.query.lower()}" if parts.query else "")


@dataclass(frozen=True)
class Archive:
    """A folder with crawl-data/ and cc-index/, and what its CDX API would say."""

    root: Path
    captures: dict[str, list[dict[str, Any]]]
    """By crawl, every response in the order of the index."""

    def member(self, capture: dict[str, Any]) -> bytes:
        """The bytes of a record as they stand in its WARC file."""
        with open(self.root / capture["warc_filename"], "rb") as file:
            file.seek(capture["warc_record_offset"])
            return file.read(capture["warc_record_length"])

    def pages(self, crawl: str) -> list[dict[str, Any]]:
        """Its captures with status 200 and an HTML type."""
        return [c for c in self.captures[crawl] if c["fetch_status"] == 200 and c["content_mime_type"] == "text/html"]


def build_archive(root: Path, crawls: dict[str, Sequence[Path]], *, rows_a_group: int = 50) -> Archive:
    """Lay WARC files out as crawls: their files, lists and columnar index of two parts each."""
    captures = {}
    for crawl, warcs in crawls.items():
        rows = []
        names = []
        for number, warc in enumerate(warcs):
            name = f"crawl-data/{crawl}/segments/1505818689752.{number}/warc/{crawl}-{number:05d}.warc.gz"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(warc, root / name)
            names.append(name)
            responses = read_responses(str(warc), max_payload_bytes=10**7)
            rows += [_row(raw, name) for raw in responses if raw.url.startswith("http") and raw.http_status]
        rows.sort(key=lambda row: (row["url_surtkey"], row["fetch_time"]))
        _write_list(root, crawl, "warc", names)
        parts = _write_index(root, crawl, rows, rows_a_group)
        _write_list(root, crawl, "cc-index-table", parts)
        captures[crawl] = rows
    return Archive(root, captures)


def _row(raw: RawRecord, name: str) -> dict[str, Any]:
    parts = urlsplit(raw.url)
    mime = (raw.content_type or "").partition(";")[0].strip().lower() or None
    host = (parts.hostname or "").lower()
    return {
        "url_surtkey": surt(raw.url),
        "url": raw.url,
        "url_host_name": host,
        "url_host_tld": host.rpartition(".")[2],
        "url_host_registered_domain": ".".join(host.split(".")[-2:]),
        "url_protocol": parts.scheme,
        "url_path": parts.path,
        "url_query": parts.query or None,
        "fetch_time": time.strptime(raw.date[:19], "%Y-%m-%dT%H:%M:%S"),
        "fetch_status": raw.http_status,
        "fetch_redirect": None,
        "content_digest": raw.payload_digest.removeprefix("sha1:"),
        "content_mime_type": mime,
        "content_mime_detected": mime,
        "content_charset": raw.detected_charset,
        "content_languages": {"en": "eng", "zh": "zho", None: None}.get(
            raw.detected_language and raw.detected_language[0]
        ),
        "content_truncated": "length" if raw.truncated else None,
        "warc_filename": name,
        "warc_record_offset": raw.warc_offset,
        "warc_record_length": raw.warc_length,
        "warc_segment": name.split("/")[3],
    }


def _write_list(root: Path, crawl: str, kind: str, names: Sequence[str]) -> None:
    data = gzip.compress("".join(f"{name}\n" for name in names).encode(), mtime=0)
    (root / f"crawl-data/{crawl}/{kind}.paths.gz").write_bytes(data)


def _write_index(root: Path, crawl: str, rows: list[dict[str, Any]], rows_a_group: int) -> list[str]:
    """Parts of the subsets warc (successful captures) and crawldiagnostics (the rest); their paths."""
    kinds = {name: kind for name, kind in _TABLE.items() if crawl != OLD or name not in _SINCE_2019}
    schema = pa.schema(list(kinds.items()))
    good = [row for row in rows if row["fetch_status"] == 200]
    half = len(good) // 2
    subsets = [("warc", good[:half]), ("warc", good[half:]), ("crawldiagnostics", [r for r in rows if r not in good])]
    paths = []
    for number, (subset, part) in enumerate(subsets):
        columns = {name: [row[name] for row in part] for name in kinds}
        columns["fetch_time"] = [int(time.mktime(t)) * 1000 - time.timezone * 1000 for t in columns["fetch_time"]]
        path = f"cc-index/table/cc-main/warc/crawl={crawl}/subset={subset}/part-{number:05d}.c000.gz.parquet"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        table = pa.table(columns, schema=schema)
        pq.write_table(table, root / path, compression="gzip", row_group_size=rows_a_group)
        paths.append(path)
    return paths


FAULTS = ("403", "429", "503", "503_later", "500", "cut", "slow", "long", "short", "wrong_range", "whole", "garbled")


@dataclass
class Faults:
    """How often the server misbehaves at a request for data."""

    rates: dict[str, float] = field(default_factory=dict)
    """Probability of each of FAULTS."""
    burst: int = 1
    """Requests in a row that are refused once one is."""
    seed: int = 0
    every: int = 0
    """Instead of drawing: each so-manieth request meets the next fault of FAULTS."""
    slow_s: float = 3.0
    retry_after_s: float = 0.2
    trickle_s: float = 0.0
    """Pause behind every 20 kB of an answer, faults or not."""


@dataclass
class Request:
    """One line of the server's log, begun when the request comes."""

    path: str
    range: str
    user_agent: str
    at: float = field(default_factory=time.time)
    fault: str = ""
    num_bytes: int = 0
    """Bytes of the answer's body; 0 for a refusal."""


class CrawlServer:
    """Serves an archive; `url` is both the source and the index server."""

    def __init__(self, archive: Archive, faults: Faults | None = None) -> None:
        self.archive = archive
        self.faults = faults or Faults()
        self.log: list[Request] = []
        self.gone: set[str] = set()
        """Paths that are answered by 404."""
        self.pause = threading.Event()
        """Set: no more answers for data."""
        self._random = random.Random(self.faults.seed)
        self._burst: list[str] = []
        self._num_asked = 0
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = _QuietServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "CrawlServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *rest: object) -> None:
        self.pause.clear()
        self._http.shutdown()
        self._http.server_close()

    def next_fault(self) -> str:
        """What is wrong with the answer to the next request for data; empty for most."""
        with self._lock:
            if self._burst:
                return self._burst.pop()
            if self.faults.every:
                self._num_asked += 1
                turn, rest = divmod(self._num_asked, self.faults.every)
                return "" if rest else FAULTS[(turn - 1) % len(FAULTS)]
            draw = self._random.random()
            for fault, rate in self.faults.rates.items():
                draw -= rate
                if draw < 0:
                    if fault in ("403", "429", "503"):
                        self._burst = [fault] * (self.faults.burst - 1)
                    return fault
            return ""

    def note(self, request: Request) -> None:
        with self._lock:
            self.log.append(request)

    def data_requests(self) -> list[Request]:
        """The log's requests for WARC files."""
        return [one for one in self.log if one.path.endswith(".warc.gz")]

    def most_in_a_window(self, seconds: float) -> int:
        """The largest number of requests that came within a time, refused ones too."""
        times = sorted(one.at for one in self.log)
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *rest: object) -> None:
        """A client that cuts a slow answer is what is being tested."""


@contextmanager
def serving(archive: Archive, faults: Faults | None = None) -> Iterator[CrawlServer]:
    """A server that runs as long as the block."""
    with CrawlServer(archive, faults) as server:
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: CrawlServer

    def log_message(self, *rest: object) -> None:
        """Nothing on stderr: `CrawlServer.log` has it."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path.lstrip("/")
        self.request_log = Request(path, self.headers.get("Range", ""), self.headers.get("User-Agent", ""))
        self.owner.note(self.request_log)
        try:
            if path == "collinfo.json":
                self._answer(200, self._collinfo())
            elif path.endswith("-index"):
                self._cdx(path.removesuffix("-index"), parse_qs(parts.query))
            else:
                self._file(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in fields:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _collinfo(self) -> bytes:
        crawls = sorted(self.owner.archive.captures, reverse=True)
        entries = [
            {"id": crawl, "name": f"{crawl} Index", "timegate": "", "cdx-api": f"/{crawl}-index",
             "from": "2024-05-18T00:00:00", "to": "2024-05-31T00:00:00"}
            for crawl in crawls
        ]  # fmt: skip
        return json.dumps(entries).encode()

    def _cdx(self, crawl: str, query: dict[str, list[str]]) -> None:
        url, match_type = query["url"][0], query["matchType"][0]
        key = surt("http://" + url)
        host = key.partition(")")[0]
        rows = []
        for row in self.owner.archive.captures[crawl]:
            one = row["url_surtkey"]
            hit = {
                "prefix": one.startswith(key),
                "host": one.startswith(host + ")"),
                "domain": one.startswith((host + ")", host + ",")),
            }[match_type]
            if hit and ("=status:200" not in query.get("filter", []) or row["fetch_status"] == 200):
                rows.append(row)
        if not rows:
            self._answer(404, b'{"message": "No Captures found for: x"}')
            return
        pages = (len(rows) + _CDX_PAGE - 1) // _CDX_PAGE
        if "showNumPages" in query:
            body = json.dumps({"pages": pages, "pageSize": 1, "blocks": pages}).encode()
        else:
            page = int(query["page"][0])
            body = b"".join(_cdx_line(row) for row in rows[page * _CDX_PAGE : (page + 1) * _CDX_PAGE])
        self._answer(200, body)

    def _file(self, path: str) -> None:
        while self.owner.pause.is_set():
            time.sleep(0.01)
        file = self.owner.archive.root / path
        is_data = path.endswith(".warc.gz")
        fault = self.request_log.fault = self.owner.next_fault() if is_data else ""
        if fault in ("403", "429", "503", "500", "503_later"):
            later = {"Retry_After": f"{self.owner.faults.retry_after_s}"} if fault == "503_later" else {}
            self._answer(int(fault[:3]), b"<Error>SlowDown</Error>", **later)
            return
        if path in self.owner.gone or not file.is_file():
            self._answer(404, b"<Error>NoSuchKey</Error>")
            return
        size = file.stat().st_size
        etag = f'"{path}-{size}"'
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted or fault == "whole" or self.headers.get("If-Range", etag) != etag:
            body = file.read_bytes()
            self._send(200, body, fault, {"ETag": etag})
            return
        first, last = (int(group) if group else None for group in wanted.groups())
        start = max(0, size - (last or 0)) if first is None else first
        end = size if first is None or last is None else min(size, last + 1)
        if start >= size:
            self._answer(416, Content_Range=f"bytes */{size}")
            return
        with open(file, "rb") as stream:
            stream.seek(start)
            body = stream.read(end - start)
        shift = 7 if fault == "wrong_range" else 0
        content_range = f"bytes {start + shift}-{end - 1 + shift}/{size}"
        self._send(206, body, fault, {"Content_Range": content_range, "ETag": etag})

    def _send(self, status: int, body: bytes, fault: str, fields: dict[str, str]) -> None:
        if fault == "garbled":  # the last member ends early, behind it noise of the right length
            body = body[: len(body) - len(body) // 3] + bytes(len(body) // 3)
        if fault == "short":  # Content-Length and body agree with each other, not with the range
            body = body[:-5]
        self.request_log.num_bytes = len(body)
        length = len(body) + (9 if fault == "long" else 0)
        self.send_response(status)
        for name, value in {**fields, "Content_Length": str(length)}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if fault == "slow":
            for place in range(8):
                self.wfile.write(body[place : place + 1])
                self.wfile.flush()
                time.sleep(self.owner.faults.slow_s / 8)
            body = body[8:]
        while self.owner.faults.trickle_s and len(body) > 20_000:
            self.wfile.write(body[:20_000])
            body = body[20_000:]
            time.sleep(self.owner.faults.trickle_s)
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
        if fault in ("cut", "long"):
            self.close_connection = True


def _cdx_line(row: dict[str, Any]) -> bytes:
    entry = {
        "url": row["url"],
        "timestamp": time.strftime("%Y%m%d%H%M%S", row["fetch_time"]),
        "status": str(row["fetch_status"]),
        "mime": row["content_mime_type"] or "-",
        "mime-detected": row["content_mime_detected"] or "-",
        "digest": row["content_digest"],
        "length": str(row["warc_record_length"]),
        "offset": str(row["warc_record_offset"]),
        "filename": row["warc_filename"],
        **{name: row[f"content_{name}"] for name in ("charset", "languages", "truncated") if row[f"content_{name}"]},
    }
    return json.dumps(entry).encode() + b"\n"


def with_metadata(source: Path, target: Path, *, covered: float = 0.97) -> None:
    """A copy of a WARC file in which every response is followed by a metadata record, as in Common Crawl's."""
    data = source.read_bytes()
    with open(target, "wb") as out:
        for raw in read_responses(str(source), max_payload_bytes=10**7):
            out.write(data[raw.warc_offset : raw.warc_offset + raw.warc_length])
            if raw.problem or not raw.url.startswith("http"):
                continue
            language = "zh" if any(b > 0xE3 for b in raw.payload[:4000]) else "en"
            cld2 = {"reliable": True, "text-bytes": 100, "languages": [{"code": language, "text-covered": covered}]}
            block = f"fetchTimeMs: 12\r\ncharset-detected: UTF-8\r\nlanguages-cld2: {json.dumps(cld2)}\r\n".encode()
            head = (
                f"WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Target-URI: {raw.url}\r\nWARC-Date: {raw.date}\r\n"
                f"WARC-Concurrent-To: {raw.record_id}\r\nContent-Type: application/warc-fields\r\n"
                f"Content-Length: {len(block)}\r\n\r\n"
            )
            packer = zlib.compressobj(6, zlib.DEFLATED, 31)
            out.write(packer.compress(head.encode() + block + b"\r\n\r\n") + packer.flush())
