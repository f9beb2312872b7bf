"""Ingest on Spark: one task a WARC file (see `mining.shards`)."""

import logging
import queue
from collections.abc import Iterator, Sequence
from typing import Any

from pyspark import AccumulatorParam, InheritableThread
from pyspark.sql import SparkSession

from mining import compiled
from mining.html import lines, source
from mining.shards import Ingest, Shard

logger = logging.getLogger("mine")

_POLL_S = 0.2

_SLOW = (
    "ingest: the workers have no C modules (from a zip of --py-files they cannot be imported, or there "
    "was no compiler where the package was installed): extraction takes about four times as long"
)

Counts = dict[str, Any]


class _Arrivals(AccumulatorParam[list[Counts]]):
    """Rows that tasks send when they are done; each task's once, however often it was tried."""

    def zero(self, value: list[Counts]) -> list[Counts]:
        return []

    def addInPlace(self, value1: list[Counts], value2: list[Counts]) -> list[Counts]:
        value1.extend(value2)
        return value1


def ingest_files(session: SparkSession, ingest: Ingest, shards: Sequence[Shard]) -> Iterator[Counts]:
    """The counts of each file as it is done: warc_file, pages, tokens, dropped by reason; or `error`.

    Files start in the order of `shards`. All are tasks of one job, which a thread of its own waits for:
    RDD.toLocalIterator runs a job a partition and at most two at a time, whatever the cluster.
    """
    context = session.sparkContext
    arrived = context.accumulator([], _Arrivals())
    files = context.parallelize(list(shards), max(1, len(shards)))
    failure: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            files.foreach(lambda shard: arrived.add([{"is_compiled": _is_compiled(), **ingest.read(shard)}]))
        except BaseException as error:
            failure.put(error)

    job = InheritableThread(target=work, session=session, daemon=True)
    job.start()
    yielded = 0
    at_work, is_warned = True, False
    while at_work:
        job.join(_POLL_S)
        at_work = job.is_alive()  # asked before the last look, so that nothing that came before the end is missed
        counts = arrived.value
        for count in counts[yielded:]:
            if not count["is_compiled"] and not is_warned:
                logger.warning(_SLOW)
                is_warned = True
            yield count
        yielded = len(counts)
    if not failure.empty():
        raise failure.get()


def _is_compiled() -> bool:
    """Whether the extractor of this process runs in C."""
    return None not in (source.compiled, lines.compiled, compiled.characters)
