"""Bytes from a server, asked for until they come: the limiter's leave, the attempts, and what a record must be."""

import random
import threading
import time
import zlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from mining.crawl.limiter import Limiter
from mining.crawl.servers import Absent, Broken, Refused, Reply, Server, Sink, open_server
from mining.crawl.settings import CrawlConfig
from mining.errors import ShardError
from mining.members import MAX_HEAD, parse_head
from mining.url import canonical_url

_CHUNK = 1 << 20
_DEAD_AFTER = 8


@dataclass
class Traffic:
    """What a client asked for and got."""

    requests: int = 0
    refusals: int = 0
    """Of these, answered by 403, 429 or 503."""
    failures: int = 0
    """Of these, cut, late or answered by wrong bytes."""
    bytes_received: int = 0
    """Of answers that were right."""


class Client:
    """Asks one server from any number of threads, within the rate that the machine shares."""

    def __init__(self, server: Server, limiter: Limiter | None, cfg: CrawlConfig) -> None:
        self.server = server
        self.traffic = Traffic()
        self._limiter, self._cfg = limiter, cfg
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._num_dead = 0
        self._random = random.Random()

    def read(self, path: str, start: int | None = None, end: int | None = None) -> Reply:
        """Bytes [start, end) of a file, all of it without them, the last ones for a negative start.

        Refusals are waited out; other failures are tried again, max_attempts times in all. Raises Absent or Hopeless
        at once, Broken after the last attempt, ShardError where the server refuses or is dead for too long, or the
        client was closed.
        """
        for attempt in range(1, self._cfg.max_attempts + 1):
            try:
                return self.read_once(path, start, end)
            except Broken as error:
                if attempt == self._cfg.max_attempts:
                    self._note_dead(error)
                    raise
                self.rest(attempt)
        raise AssertionError("max_attempts is at least 1")

    def read_once(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        *,
        if_range: str = "",
        sink: Sink | None = None,
    ) -> Reply:
        """The same in one attempt; with a sink, which takes the bytes, for files of any size (see `Server.read`)."""
        while True:
            if self._closed.is_set():
                raise ShardError(f"{self.server.name}: stopped")
            asked_at = self._limiter.wait() if self._limiter else time.time()
            with self._lock:
                self.traffic.requests += 1
            try:
                reply = self.server.read(path, start, end, if_range=if_range, sink=sink)
            except Refused as refusal:
                with self._lock:
                    self.traffic.refusals += 1
                if not self._limiter:
                    raise Broken("refused", str(refusal)) from None
                self._limiter.refused(asked_at, refusal.retry_after_s)
            except Broken:
                with self._lock:
                    self.traffic.failures += 1
                raise
            except Absent:
                self._note_answer(asked_at)
                raise
            else:
                self._note_answer(asked_at)
                with self._lock:
                    self.traffic.bytes_received += len(reply.body)
                return reply

    def rest(self, attempt: int) -> None:
        """Wait before the next attempt: first_wait_s, doubled each time, less a random part; ShardError on close."""
        wait = min(self._cfg.first_wait_s * 2.0 ** (attempt - 1), self._cfg.max_wait_s)
        if self._closed.wait(wait * self._random.uniform(0.5, 1.0)):
            raise ShardError(f"{self.server.name}: stopped")

    def close(self) -> None:
        """Wake all that wait and cut all connections: what is under way ends with an error."""
        self._closed.set()
        if self._limiter:
            self._limiter.close()
        self.server.close()

    def _note_answer(self, asked_at: float) -> None:
        with self._lock:
            self._num_dead = 0
        if self._limiter:
            self._limiter.answered(asked_at)

    def _note_dead(self, error: Broken) -> None:
        """ShardError where nothing has come through for several requests to their last attempt."""
        with self._lock:
            self._num_dead += error.reason in ("connection", "timeout")
            if self._num_dead >= _DEAD_AFTER:
                raise ShardError(
                    f"{self.server.name} does not answer ({error}); look at the network and the address, then run the "
                    "same line again: what was fetched is kept"
                )


def data_client(cfg: CrawlConfig) -> Client:
    """A client of `source`; ConfigError where it is none, or wants to know whom to write to."""
    return _client(cfg.source, cfg.data_rate, cfg)


def index_client(cfg: CrawlConfig) -> Client:
    """A client of `index_server`, likewise."""
    return _client(cfg.index_server, cfg.index_rate, cfg)


def _client(url: str, rate: float, cfg: CrawlConfig) -> Client:
    cfg.check_contact(url)
    server = open_server(url, user_agent=cfg.user_agent, timeout_s=cfg.timeout_s)
    if urlsplit(url).scheme in ("", "file", "memory"):
        return Client(server, None, cfg)
    limiter = Limiter(
        server.name,
        rate=rate,
        first_wait_s=cfg.first_wait_s,
        max_wait_s=cfg.max_wait_s,
        patience_s=cfg.patience_s,
        folder=cfg.limits_dir,
    )
    return Client(server, limiter, cfg)


def member_problem(data: bytes, url: str | None) -> str:
    """Why the bytes are not the gzip member of the record that was wanted; empty where they are.

    They must unpack to their end with the right checksum, be one member, begin with a WARC header, and name the URL
    (as it stands, or in another spelling of the same address). url None: any will do.
    """
    unpacker = zlib.decompressobj(31)
    head, rest = b"", data
    try:
        while not unpacker.eof:
            chunk = unpacker.decompress(rest, _CHUNK)
            head += chunk[: MAX_HEAD - len(head)]
            rest = unpacker.unconsumed_tail
            if not chunk and not rest:
                break
    except zlib.error as error:
        return "no_gzip" if not data.startswith(b"\x1f\x8b") else f"bad_gzip: {error}"
    if not unpacker.eof:
        return "truncated"
    if unpacker.unused_data:
        return "wrong_length"
    found = parse_head(head)
    if found is None:
        return "no_warc_header"
    target = found.fields.get("warc-target-uri", "").strip().strip("<>")
    if url is not None and target != url and canonical_url(target) != canonical_url(url):
        return "wrong_record"
    return ""
