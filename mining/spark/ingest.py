"""Ingest on Spark: one task a WARC file (see `mining.shards`)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pyspark.sql import SparkSession

from mining.shards import Ingest, Shard


def ingest_files(session: SparkSession, ingest: Ingest, shards: Sequence[Shard]) -> Iterator[dict[str, Any]]:
    """The counts of each file as it is done: warc_file, pages, tokens, dropped by reason; or `error`."""
    todo = session.sparkContext.parallelize(list(shards), max(1, len(shards)))
    lines = todo.map(lambda shard: json.dumps(ingest.read(shard)))
    for line in lines.toLocalIterator(prefetchPartitions=True):
        yield json.loads(line)
