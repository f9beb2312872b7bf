"""One request for bytes, to an HTTP server or a file system, and what can come of it.

HTTP over the standard library: connections are kept, a redirect is not followed, an answer counts only when its
status, Content-Range and length are those that were asked for.
"""

import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import fsspec

from mining.chat import retry_after
from mining.errors import ConfigError, RecordError

_REFUSALS = (403, 429, 503)
_GONE = (404, 410)
_RETRIED = (408, 425)  # and every other 5xx
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_MOST_BYTES = 1 << 30
_PIECE = 8 << 20
_IDLE_S = 4.0  # servers close connections that were idle for 5 s and more
_SHOWN_CHARS = 200


class Absent(RecordError):
    """The server has no such file (404, 410); asking again would not help."""


class Broken(RecordError):
    """Not the bytes that were asked for: connection, timeout, cut, wrong_range, http_500 ... Asking again may help."""


class Hopeless(RecordError):
    """An answer that will not change: outside (416), http_400, http_301 ..."""


class Refused(Exception):
    """403, 429 or 503: the server wants fewer requests."""

    def __init__(self, status: str, retry_after_s: float | None = None) -> None:
        super().__init__(status)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes as they were asked for."""

    body: bytes
    """Fewer than asked for only where the file ends before; empty where they went to a sink."""
    size: int | None = None
    """Bytes of the whole file, None where the server does not say."""
    etag: str = ""
    start: int = 0
    """Where the bytes begin; 0 in spite of a wanted start where the file is another one by now (see `if_range`)."""


Sink = Callable[[bytes, Reply], None]
"""Takes a piece of a long answer, with a Reply that tells the answer's start, size and etag."""


class Server(Protocol):
    """Something that has files by path."""

    name: str
    """Who is asked, for messages and for the limiter."""

    def read(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        *,
        if_range: str = "",
        sink: Sink | None = None,
    ) -> Reply:
        """Bytes [start, end) of a file, all of it without them; Absent, Broken, Hopeless or Refused.

        start: from the end of the file where it is negative. sink: takes the bytes instead, 8 MiB at a time, for
        files of any size.
        """

    def close(self) -> None:
        """Cut what is under way."""


def open_server(url: str, *, user_agent: str, timeout_s: float) -> Server:
    """The server or file system behind a base URL, an fsspec URI or a folder; ConfigError where it is none."""
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in ("http", "https"):
        return HttpServer(url, user_agent=user_agent, timeout_s=timeout_s)
    return FileServer(url)


class HttpServer:
    """An HTTP(S) server; each thread has a connection of its own."""

    def __init__(self, url: str, *, user_agent: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise ConfigError(f"{url!r}: an address such as https://data.commoncrawl.org is needed")
        self.name = parts.netloc
        self._parts, self._prefix = parts, parts.path.rstrip("/")
        self._user_agent, self._timeout_s = user_agent or "motherlode", timeout_s
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._live: set[http.client.HTTPConnection] = set()

    def read(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        *,
        if_range: str = "",
        sink: Sink | None = None,
    ) -> Reply:
        headers = {"User-Agent": self._user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        if start is not None:
            headers["Range"] = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if end is None else end - 1}"
        if if_range:
            headers["If-Range"] = if_range
        target = self._prefix + "/" + quote(path.lstrip("/"), safe="/?&=%~:@!$'()*+,;")
        with self._exchange(target, headers) as (response, deadline):
            said = {name.lower(): value for name, value in response.getheaders()}
            _check_status(response.status, said, response)
            head = _promise(response.status, said, start, end, may_start_over=bool(if_range))
            if sink is None:
                body = _whole_body(response)
                if start is not None and response.status == 206 and len(body) != _promised_length(said):
                    raise Broken("wrong_length", f"{len(body)} bytes for Content-Range {said['content-range']}")
                return Reply(body, head.size if head.size is not None else len(body), head.etag, head.start)
            while piece := response.read(_PIECE):
                deadline.restart()
                sink(piece, head)
            if response.length:
                raise Broken("cut", f"{response.length} bytes of {target} are missing")
            return head

    def close(self) -> None:
        with self._lock:
            live = list(self._live)
        for connection in live:
            _cut(connection)

    @contextmanager
    def _exchange(self, target: str, headers: dict[str, str]) -> Iterator[tuple[http.client.HTTPResponse, "_Deadline"]]:
        """The response to a GET, within the time limit; the connection is kept where the answer was read to its end."""
        connection = self._connection()
        deadline = _Deadline(connection, self._timeout_s)
        response = None
        try:
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            yield response, deadline
            if deadline.passed:
                raise Broken("timeout", f"not done after {self._timeout_s:g} s")
        except (OSError, http.client.HTTPException) as error:
            if deadline.passed or isinstance(error, TimeoutError):
                raise Broken("timeout", f"not done after {self._timeout_s:g} s") from None
            reason = "cut" if isinstance(error, http.client.IncompleteRead) else "connection"
            raise Broken(reason, ascii(str(error) or type(error).__name__)[:_SHOWN_CHARS]) from None
        finally:
            deadline.cancel()
            self._mine.used_at = time.monotonic()
            if response is None or not response.isclosed() or deadline.passed:
                self._drop(connection)

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's connection, a fresh one where the last was idle too long."""
        kept: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if kept is not None and kept.sock is not None and time.monotonic() - self._mine.used_at < _IDLE_S:
            return kept
        if kept is not None:
            self._drop(kept)
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout_s)
        self._mine.connection = connection
        with self._lock:
            self._live.add(connection)
        return connection

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        self._mine.connection = None
        with self._lock:
            self._live.discard(connection)


class FileServer:
    """A folder or an fsspec file system; S3 by pyarrow's own client, so that nothing more need be installed."""

    def __init__(self, url: str) -> None:
        self.name = url
        try:
            if url.startswith("s3://"):
                from fsspec.implementations.arrow import ArrowFSWrapper
                from pyarrow.fs import FileSystem

                inner, path = FileSystem.from_uri(url)
                self._files: Any = ArrowFSWrapper(inner)
                self.root = path.rstrip("/")
            else:
                self._files, self.root = fsspec.core.url_to_fs(url if "://" in url else os.path.abspath(url))
        except (ImportError, ValueError, OSError) as error:
            raise ConfigError(
                f"{url}: cannot be opened ({error}); give a base URL, an s3:// or fsspec URI or a folder"
            ) from None
        if "://" not in url and not os.path.isdir(self.root):
            raise ConfigError(f"{url}: no such folder; give one that has crawl-data/ or the WARC files in it, or a URL")

    def read(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        *,
        if_range: str = "",
        sink: Sink | None = None,
    ) -> Reply:
        full = f"{self.root}/{path.lstrip('/')}"
        try:
            if sink is None:
                size = self._files.size(full)
                first = max(0, size + start) if start is not None and start < 0 else start or 0
                return Reply(bytes(self._files.cat_file(full, start=first, end=end)), size, start=first)
            with self._files.open(full, "rb") as file:
                file.seek(start or 0)
                head = Reply(b"", self._files.size(full), start=start or 0)
                while piece := file.read(_PIECE):
                    sink(piece, head)
                return head
        except FileNotFoundError:
            raise Absent("absent", f"{full}: no such file") from None
        except (OSError, ValueError) as error:
            said = ascii(str(error))[:_SHOWN_CHARS]
            if re.search(r"SLOW_DOWN|HTTP status (?:403|429|503)|ACCESS_DENIED", str(error)):
                raise Refused(said) from None
            raise Broken("connection", said) from None

    def find(self, pattern: str) -> list[str]:
        """The paths of the files that match a pattern, sorted."""
        return sorted(str(name)[len(self.root) :].lstrip("/") for name in self._files.glob(f"{self.root}/{pattern}"))

    def close(self) -> None:
        """Nothing to cut: a file system's own time limits hold."""


class _Deadline:
    """Ends a request under the thread that reads: a socket's own timeout starts anew with each byte."""

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        self.passed = False
        self._connection, self._seconds = connection, seconds
        self.restart()

    def restart(self) -> None:
        self.cancel()
        self._timer = threading.Timer(self._seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        with suppress(AttributeError):
            self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        _cut(self._connection)


def _check_status(status: int, said: dict[str, str], response: http.client.HTTPResponse) -> None:
    """Raise what a status other than 200 and 206 means."""
    if status in (200, 206):
        return
    shown = ascii(response.read(2000).decode("utf-8", "replace"))[:_SHOWN_CHARS]
    if not response.isclosed() and (response.length or 0) < 64 << 10:
        response.read()  # what is short is read to its end, so that the connection can be kept
    if status in _REFUSALS:
        raise Refused(f"http_{status}: {shown}", retry_after(said.get("retry-after", "")))
    if status in _GONE:
        raise Absent("absent", f"http_{status}: {shown}")
    if status == 416:
        raise Hopeless("outside", "the file ends before this range (416)")
    kind = Broken if status >= 500 or status in _RETRIED else Hopeless
    raise kind(f"http_{status}", shown)


def _promise(status: int, said: dict[str, str], start: int | None, end: int | None, *, may_start_over: bool) -> Reply:
    """What the head of an answer says of its body; Broken where that is not what was asked for."""
    etag = said.get("etag", "")
    length = said.get("content-length", "")
    if status == 200:
        if start is not None and not may_start_over:
            raise Broken("range_ignored", f"200 for bytes {start}-{end}, {length or 'unknown'} bytes long")
        return Reply(b"", int(length) if length.isdecimal() else None, etag, 0)
    found = _CONTENT_RANGE.fullmatch(said.get("content-range", "").strip())
    if start is None or not found:
        raise Broken("wrong_range", f"206 with Content-Range {said.get('content-range')!r} for bytes {start}-{end}")
    first, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    at_end = total is not None and last == total - 1
    if start < 0:
        is_wrong = not at_end or first != max(0, (total or 0) + start)
    else:
        is_wrong = first != start or (end is not None and (last >= end or (last < end - 1 and not at_end)))
    if is_wrong:
        raise Broken("wrong_range", f"Content-Range {found.group()} for bytes {start}-{end}")
    return Reply(b"", total, etag, first)


def _promised_length(said: dict[str, str]) -> int:
    found = _CONTENT_RANGE.fullmatch(said["content-range"].strip())
    assert found is not None, "checked when the head was read"
    return int(found[2]) - int(found[1]) + 1


def _whole_body(response: http.client.HTTPResponse) -> bytes:
    body = response.read(_MOST_BYTES)
    if response.length:
        raise Broken("cut", f"{response.length} bytes are missing after {len(body)}")
    return body


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a connection under the thread that reads from it."""
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
