"""The Spark session, sized by the run's scale."""

import os
import sys

from pyspark.sql import SparkSession

from mining.config import SparkConfig

_PARTITIONS = {"toy": 4, "node": 64, "cluster": 2000}


def start_session(cfg: SparkConfig, *, scale: str) -> SparkSession:
    """A session that quietly does its work: console progress on, INFO log off.

    Whatever spark-submit or SPARK_* already set wins over `cfg`.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("motherlode mine")
    if "SPARK_ENV_LOADED" not in os.environ and "MASTER" not in os.environ:
        builder = builder.master(cfg.master).config("spark.driver.memory", cfg.driver_memory)
    properties = {
        "spark.sql.shuffle.partitions": str(_PARTITIONS[scale]),
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.files.maxPartitionBytes": "16m" if scale == "toy" else "64m",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.ui.enabled": "false" if scale == "toy" else "true",
        "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
        "spark.log.level": "ERROR",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        "spark.hadoop.parquet.enable.summary-metadata": "false",
        **cfg.extra,
    }
    for name, value in properties.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
