"""Whole WARC files of a crawl: a random sample of its list, each under its own path, taken up where it was cut."""

import logging
import random
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO

from mining.crawl.fetch import Outcome, Progress
from mining.crawl.listing import path_list
from mining.crawl.servers import Absent, Broken, Hopeless, Reply
from mining.crawl.settings import CrawlConfig
from mining.crawl.transfer import Client, data_client
from mining.errors import ConfigError, ShardError, StoreError
from mining.store import file_digest, write_text

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20


def sample_warcs(
    cfg: CrawlConfig, crawl: str, n: int, out_dir: Path, *, seed: int = 0, progress: Progress | None = None
) -> Outcome:
    """Bring n random WARC files of a crawl to OUT/crawl-data/...; what came of each.

    The same seed draws the same files, and a larger n the same ones and more. A file gets its name when it is whole
    and every gzip member unpacks; the next call takes up failed ones from where they were cut. Raises ConfigError for
    an unknown crawl, n above the length of its list, or a missing contact.
    """
    client = data_client(cfg)
    started = time.monotonic()
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    gave_up = ""
    try:
        paths = draw(path_list(client, crawl, "warc"), n, seed, crawl)
        there = [path for path in paths if (out_dir / path).exists()]
        counts["fetched"] = len(there)
        todo = [path for path in paths if path not in set(there)]
        with ThreadPoolExecutor(cfg.threads, thread_name_prefix="warc") as pool:
            futures = {pool.submit(fetch_file, client, path, out_dir / path, cfg): path for path in todo}
            try:
                for future in as_completed(futures):
                    outcome, reason = future.result()
                    counts[outcome] += 1
                    if progress:
                        done = f"{counts['fetched']} of {n} files"
                        progress(f"{done}; {client.traffic.bytes_received / 1e6:,.0f} MB; {futures[future]}: {outcome}")
                    if reason:
                        reasons[reason] += 1
                        logger.warning("%s: %s (%s)", futures[future], outcome, reason)
            except ShardError as error:
                gave_up = str(error)
                client.close()
            except BaseException:
                client.close()
                raise
    finally:
        client.close()
    missing = n - counts.total()
    if missing:
        reasons["not_asked"] += missing
    return Outcome(
        wanted=n,
        fetched=counts["fetched"],
        absent=counts["absent"],
        failed=counts["failed"] + missing,
        reasons=dict(reasons),
        new_fetched=counts["fetched"] - len(there),
        traffic=client.traffic,
        seconds=time.monotonic() - started,
        warcs=sorted((out_dir / "crawl-data").glob("**/*.warc.gz")),
        gave_up=gave_up,
    )


def plan_sample(cfg: CrawlConfig, crawl: str, n: int, out_dir: Path, *, seed: int = 0) -> list[str]:
    """The paths of the files that `sample_warcs` would fetch: those of the draw that are not there yet."""
    client = data_client(cfg)
    try:
        paths = draw(path_list(client, crawl, "warc"), n, seed, crawl)
    finally:
        client.close()
    return [path for path in paths if not (out_dir / path).exists()]


def draw(paths: list[str], n: int, seed: int, crawl: str) -> list[str]:
    """The first n of the list in the order that the seed shuffles it into."""
    if n > len(paths):
        raise ConfigError(f"sample of {n:,}: {crawl} has {len(paths):,} WARC files; ask for fewer")
    return random.Random(f"{seed} {crawl}").sample(sorted(paths), len(paths))[:n]


def fetch_file(client: Client, path: str, file: Path, cfg: CrawlConfig) -> tuple[str, str]:
    """(fetched | absent | failed, reason) of one file; what has come of a failed one stays for the next call.

    A damaged file that comes with the same damage once more is damaged on the server, and kept as it is. Bytes go to a
    hidden `.partial` beside it, and the entity tag to a hidden `.etag`, so that a file which was replaced
    on the server meanwhile is begun anew.
    """
    partial, tag = file.with_name(f".{file.name}.partial"), file.with_name(f".{file.name}.etag")
    problem = before = ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, cfg.max_attempts + 1):
            size = _download(client, path, partial, tag, cfg)
            problem = "wrong_length" if size not in (None, partial.stat().st_size) else _damage(partial)
            same, before = before, file_digest(partial) if problem else ""
            if problem and same == before:  # as it lies on the server: reading it is the ingest's business
                logger.warning("%s: %s on the server itself; taken as it is", path, problem)
                problem = ""
            if not problem:
                partial.replace(file)
                tag.unlink(missing_ok=True)
                return "fetched", ""
            partial.unlink()
            if attempt < cfg.max_attempts:
                client.rest(attempt)
    except Absent:
        partial.unlink(missing_ok=True)
        return "absent", "absent"
    except (Broken, Hopeless) as error:
        return "failed", error.reason
    except OSError as error:
        raise StoreError(f"{file}: cannot be written ({error}); free some space and run the same line again") from None
    return "failed", problem


def _download(client: Client, path: str, partial: Path, tag: Path, cfg: CrawlConfig) -> int | None:
    """Append what is missing of a file; the size that the server says it has.

    A request that is cut leaves what has come, and the next one asks for the rest; attempts that bring nothing count.
    """
    fruitless = 0
    while True:
        start = partial.stat().st_size if partial.exists() else 0
        etag = tag.read_text(encoding="utf-8") if start and tag.exists() else ""
        if start and not etag:  # nobody can say that the rest would be of the same file
            partial.unlink()
            start = 0
        with open(partial, "ab") as out:
            sink = _Sink(client, out, tag)
            try:
                return client.read_once(path, start or None, if_range=etag, sink=sink).size
            except Hopeless as error:
                if error.reason == "outside" and start:  # killed between the last byte and the check
                    return None
                raise
            except Broken:
                fruitless = 0 if sink.num_bytes else fruitless + 1
                if fruitless >= cfg.max_attempts:
                    raise
        client.rest(fruitless + 1)


class _Sink:
    """Appends pieces of an answer; one that begins at 0 is of another file or all of it, and replaces what is there."""

    def __init__(self, client: Client, out: IO[bytes], tag: Path) -> None:
        self.num_bytes = 0
        self._client, self._out, self._tag = client, out, tag

    def __call__(self, piece: bytes, head: Reply) -> None:
        if not self.num_bytes:
            if head.start == 0:
                self._out.truncate(0)
            if head.etag:
                write_text(self._tag, head.etag)
        self._out.write(piece)
        self.num_bytes += len(piece)
        self._client.traffic.bytes_received += len(piece)


def _damage(path: Path) -> str:
    """`bad_gzip` or `truncated` where the members of a file do not all unpack; empty where they do."""
    unpacker, in_member = zlib.decompressobj(31), False
    try:
        with open(path, "rb") as file:
            while rest := file.read(_CHUNK):
                while True:
                    data = unpacker.decompress(rest, _CHUNK)
                    in_member = not unpacker.eof
                    rest = unpacker.unconsumed_tail if in_member else unpacker.unused_data
                    if not in_member:
                        unpacker = zlib.decompressobj(31)
                    if not rest and (not in_member or len(data) < _CHUNK):
                        break
    except zlib.error:
        return "bad_gzip"
    return "truncated" if in_member else ""
