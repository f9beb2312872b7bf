"""Fetch wanted records: every one ends as fetched, absent or failed with a reason; the same call again does the rest.

OUT/wanted.parquet                               every record ever asked for here (CAPTURES_SCHEMA)
OUT/web/part-00000.warc.gz                       the gzip members as they stood, byte for byte
OUT/web/part-00000.warc.gz.pointers.parquet      where each of them came from
OUT/outcomes.parquet                             url, crawl, warc_file, warc_offset, outcome, reason, detail
OUT/.fetch/                                      batches under way, and what a re-run goes by
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mining.crawl.batches import Batch, Result, open_batches
from mining.crawl.ledger import Captures, Ledger
from mining.crawl.ranges import ByteRange, Extent, coalesce
from mining.crawl.servers import Absent, Broken, Hopeless
from mining.crawl.settings import CrawlConfig
from mining.crawl.transfer import Client, Traffic, data_client, member_problem
from mining.errors import ShardError

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
_PROGRESS_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """What became of everything that OUT was ever asked for, and what this call did."""

    wanted: int
    fetched: int
    absent: int
    failed: int
    reasons: dict[str, int]
    """Records absent or failed, by reason."""
    new_fetched: int
    """Fetched by this call."""
    traffic: Traffic
    """Of this call."""
    seconds: float
    warcs: list[Path]
    """Every WARC file of OUT."""
    gave_up: str = ""
    """Why this call stopped before every record was asked for; empty where it did not."""


@dataclass(frozen=True)
class Plan:
    """What a fetch would ask for."""

    records: int
    """Wanted, neither fetched nor absent so far."""
    bytes_needed: int
    bytes_asked: int
    """With what lies between records that are fetched in one request."""
    requests: int
    hours: float
    """At data_rate, where the line is fast enough and nothing is refused."""


def fetch_captures(cfg: CrawlConfig, captures: Captures, out_dir: Path, *, progress: Progress | None = None) -> Outcome:
    """Bring the records of tables of captures to OUT/web; what came of all that OUT was asked for.

    captures: what `mining.crawl.captures.read_captures` takes; they are added to those of earlier calls. Records that
    failed are tried again, fetched and absent ones are not. Raises ConfigError for captures that cannot be read or a
    missing contact, StoreError where another process works on OUT; a failed record raises nothing.
    """
    client = data_client(cfg)
    ledger = Ledger(out_dir)
    started = time.monotonic()
    gave_up = ""
    with ledger.locked():
        num_wanted = ledger.want(captures)
        meter = _Meter(client, ledger.num_done(), num_wanted, progress)
        try:
            for names in (open_batches(out_dir), ledger.plan_batches(cfg.batch_bytes)):
                for name in names:
                    gave_up = gave_up or _fetch_batch(Batch(out_dir, name), client, cfg, meter)
                    if gave_up:
                        break
        finally:
            client.close()
        for name in open_batches(out_dir) if gave_up else ():
            Batch(out_dir, name).publish(_not_asked(gave_up))
        ledger.write_outcomes(gave_up)
        counts, reasons = ledger.counts()
    return Outcome(
        wanted=num_wanted,
        **counts,
        reasons=reasons,
        new_fetched=meter.counts["fetched"],
        traffic=client.traffic,
        seconds=time.monotonic() - started,
        warcs=sorted((out_dir / "web").glob("*.warc.gz")),
        gave_up=gave_up,
    )


def plan_fetch(cfg: CrawlConfig, captures: Captures, out_dir: Path) -> Plan:
    """What `fetch_captures` would ask for, without asking; nothing is written to OUT."""
    records = bytes_needed = bytes_asked = requests = 0
    for rows in Ledger(out_dir).left(captures, cfg.batch_bytes):
        extents = _extents(rows)
        ranges = coalesce(extents, max_waste=cfg.max_waste, max_bytes=cfg.max_range_bytes)
        records += rows.num_rows
        requests += len(ranges)
        bytes_needed += sum(extent.length for extent in extents)
        bytes_asked += sum(one.end - one.start for one in ranges)
    return Plan(records, bytes_needed, bytes_asked, requests, requests / cfg.data_rate / 3600)


def _fetch_batch(batch: Batch, client: Client, cfg: CrawlConfig, meter: "_Meter") -> str:
    """Work a batch to its end and publish it; why it was given up, where it was."""
    started = time.monotonic()
    gave_up = ""
    try:
        work = _Work(batch, client, cfg)
        tasks = work.ranges()
        meter.num_done += batch.rows.num_rows - sum(len(task.members) for task in tasks)
        with ThreadPoolExecutor(cfg.threads, thread_name_prefix="fetch") as pool:
            try:
                _run_all(pool, work, deque(tasks), meter)
            except ShardError as error:
                gave_up = str(error)
                client.close()
            except BaseException:
                client.close()
                raise
        counts = batch.publish(_not_asked(gave_up))
    finally:
        batch.close()
    logger.info("%s: %s in %.1f s", batch.name, dict(counts), time.monotonic() - started)
    return gave_up


def _not_asked(why: str) -> Result:
    return Result(0, "failed", "not_asked", why)


def _run_all(pool: ThreadPoolExecutor, work: "_Work", tasks: deque[ByteRange], meter: "_Meter") -> None:
    """Fetch all ranges, a bounded number handed out at a time; the first error of a thread ends it."""
    running: set[Future[Counter[str]]] = set()
    while tasks or running:
        while tasks and len(running) < 2 * work.cfg.threads:
            running.add(pool.submit(work.fetch, tasks.popleft()))
        done, running = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            meter.add(future.result())
        meter.say()


class _Work:
    """A batch under way, shared by its threads."""

    def __init__(self, batch: Batch, client: Client, cfg: CrawlConfig) -> None:
        self.cfg = cfg
        self._batch, self._client = batch, client
        self._extents = _extents(batch.rows)
        self._urls: list[str | None] = batch.rows["url"].to_pylist()

    def ranges(self) -> list[ByteRange]:
        """The requests for what has no outcome yet."""
        left = self._batch.left()
        extents = [self._extents[place] for place in left]
        ranges = coalesce(extents, max_waste=self.cfg.max_waste, max_bytes=self.cfg.max_range_bytes)
        return [ByteRange(r.warc_file, r.start, r.end, tuple(left[place] for place in r.members)) for r in ranges]

    def fetch(self, wanted: ByteRange) -> Counter[str]:
        """Bring the records of one range, each of which has an outcome then; the counts of outcomes.

        What is wrong with a record of a range is asked for again by itself: one bad neighbour must not cost the others.
        """
        counts: Counter[str] = Counter()
        parts = [wanted]
        for attempt in range(1, self.cfg.max_attempts + 1):
            bad: list[Result] = []
            for part in parts:
                results = self._ask(part)
                bad += [result for result in results if result.outcome == "bad"]
                self._note([result for result in results if result.outcome != "bad"], counts)
            if not bad:
                return counts
            if attempt < self.cfg.max_attempts:
                self._client.rest(attempt)
            parts = [self._range_of(result.place) for result in bad]
        self._note([result._replace(outcome="failed") for result in bad], counts)
        return counts

    def _ask(self, part: ByteRange) -> list[Result]:
        """What one request gives for each of its records; `bad` where another attempt may give more."""
        try:
            body = self._client.read(part.warc_file, part.start, part.end).body
        except Absent as error:
            return [Result(place, "absent", error.reason, error.detail) for place in part.members]
        except (Broken, Hopeless) as error:  # the last attempt, for a record alone; smaller requests may do better
            outcome = "bad" if len(part.members) > 1 else "failed"
            return [Result(place, outcome, error.reason, error.detail) for place in part.members]
        results = []
        for place in part.members:
            at = self._extents[place].offset - part.start
            data = body[at : at + self._extents[place].length]
            reason, _, detail = member_problem(data, self._urls[place]).partition(": ")
            results.append(Result(place, "bad", reason, detail) if reason else Result(place, "fetched", data=data))
        return results

    def _range_of(self, place: int) -> ByteRange:
        extent = self._extents[place]
        return ByteRange(extent.warc_file, extent.offset, extent.offset + extent.length, (place,))

    def _note(self, results: Sequence[Result], counts: Counter[str]) -> None:
        if results:
            self._batch.add(results)
            counts.update(result.outcome for result in results)


def _extents(rows: pa.Table) -> list[Extent]:
    columns = (rows[name].to_pylist() for name in ("warc_file", "warc_offset", "warc_length"))
    return [Extent(*row) for row in zip(*columns, strict=True)]


class _Meter:
    """Counts what this call does, and says now and then how far it is."""

    def __init__(self, client: Client, num_done: int, num_wanted: int, progress: Progress | None) -> None:
        self.counts: Counter[str] = Counter()
        self.num_done = num_done
        self._client, self._num_wanted, self._progress = client, num_wanted, progress
        self._started = self._said = time.monotonic()

    def add(self, counts: Counter[str]) -> None:
        self.counts += counts
        self.num_done += counts.total()

    def say(self) -> None:
        now = time.monotonic()
        if self._progress is None or now - self._said < _PROGRESS_S:
            return
        self._said = now
        traffic, seconds = self._client.traffic, now - self._started
        self._progress(
            f"{self.num_done:,} of {self._num_wanted:,} records; {traffic.requests:,} requests "
            f"({traffic.refusals:,} refused, {traffic.failures:,} failed) at {traffic.requests / seconds:.1f}/s, "
            f"{traffic.bytes_received / 1e6:,.0f} MB at {traffic.bytes_received / 1e6 / seconds:.1f} MB/s"
        )
