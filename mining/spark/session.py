"""The Spark session, sized by the run's scale."""

import math
import os
import re
import sys

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from mining.config import SparkConfig

_PARTITIONS = {"toy": 4, "node": 64, "cluster": 2000}
_PARTITION_BYTES = 64 << 20
"""What Spark's adaptive execution joins small shuffle partitions up to, by its default."""
_MOST_PARTITIONS = 20_000
_ATTEMPTS = 4


def start_session(cfg: SparkConfig, *, scale: str, page_bytes: int = 0) -> SparkSession:
    """A session that quietly does its work: console progress on, Spark's log off but for what ends it.

    What fails a task fails the job, and `mining.spark.failures` says why; a trace for each attempt says less.

    Whatever was given to spark-submit wins over `cfg`. page_bytes: see `shuffle_partitions`.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("motherlode mine")
    for name, value in session_properties(cfg, scale=scale, page_bytes=page_bytes).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("FATAL")
    return session


def session_properties(cfg: SparkConfig, *, scale: str, page_bytes: int = 0) -> dict[str, str]:
    """All properties that a session is started with, `spark.master` among them; starts nothing."""
    given = _given_to_submit()
    properties = {
        "spark.driver.memory": cfg.driver_memory,
        "spark.sql.shuffle.partitions": str(shuffle_partitions(scale, page_bytes)),
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.files.maxPartitionBytes": "16m" if scale == "toy" else "64m",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.ui.enabled": "false" if scale == "toy" else "true",
        "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
        "spark.log.level": "FATAL",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        "spark.hadoop.parquet.enable.summary-metadata": "false",
        "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
        **cfg.extra,
        **given,
    }
    master = given.get("spark.master") or os.environ.get("MASTER") or cfg.master
    return {**properties, "spark.master": with_attempts(master)}


def shuffle_partitions(scale: str, page_bytes: int) -> int:
    """The shuffle's partitions: those of the scale, more where the pages would make them larger than 64 MB.

    page_bytes: size of pages/ on disk, 0 where it is not known; shuffled, the packed text is twice as large.
    More partitions than the data need cost little: Spark joins small ones when it has seen their sizes, but splits
    large ones only in joins.
    """
    return max(_PARTITIONS[scale], min(math.ceil(2 * page_bytes / _PARTITION_BYTES), _MOST_PARTITIONS))


def with_attempts(master: str) -> str:
    """A local master that tries a task several times, as clusters do: a killed worker must not cost the run."""
    match = re.fullmatch(r"local(?:\[(\*|\d+)\])?", master)
    return f"local[{match.group(1) or 1},{_ATTEMPTS}]" if match else master


def _given_to_submit() -> dict[str, str]:
    """The properties that spark-submit was started with; none where plain Python starts Spark itself."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return {}
    SparkContext._ensure_initialized()  # SparkConf sees them only once the gateway stands
    return dict(SparkConf().getAll())
