"""Scores of a round from the classifier's logits and the audited pages: features, one fit on the driver, one pass."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from mining.calibration import (
    MAX_CHARS,
    MAX_LOGIT,
    NEIGHBOURS,
    Calibration,
    feature_matrix,
    fit,
    neighbour_mean,
    page_shape,
)
from mining.classifier import ClassifierConfig, fasttext_line, open_classifier
from mining.spark.tables import write_table
from mining.url import canonical_url, path_prefixes

_PLAIN = ["page_id", "url", "host", "domain", "language", "n_tokens"]
_LOGITS = (
    "page_id string, url string, host string, domain string, language string, n_tokens int, logit double, "
    "shape array<double>, folders array<string>, url_key string"
)


def logits_and_shapes(pages: DataFrame, model_path: Path, *, version: str, cfg: ClassifierConfig) -> DataFrame:
    """Every page's logit, shape, folders (deepest last) and canonical URL, in one pass over the texts."""
    path, max_chars = str(model_path), cfg.max_chars

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        classifier = open_classifier(path, version)
        for batch in stream:
            texts, urls = batch.column("text").to_pylist(), batch.column("url").to_pylist()
            lines = [fasttext_line(text, max_chars=max_chars) for text in texts]
            shapes = [page_shape(text, url) for text, url in zip(texts, urls, strict=True)]
            columns = {name: batch.column(name) for name in _PLAIN} | {
                "logit": pa.array([classifier.score(line) for line in lines], pa.float64()),
                "shape": pa.array(shapes, pa.list_(pa.float64())),
                "folders": pa.array([path_prefixes(url) for url in urls], pa.list_(pa.string())),
                "url_key": pa.array([canonical_url(url) for url in urls], pa.string()),
            }
            yield pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    text = F.substring("text", 1, max(max_chars, MAX_CHARS)).alias("text")
    return pages.select(*_PLAIN, text).mapInArrow(batches, _LOGITS)


def calibrated_scores(
    session: SparkSession, logits: DataFrame, audits: Mapping[str, bool], *, work_dir: Path
) -> tuple[DataFrame, Calibration]:
    """Every page with its calibrated score, and the calibration; ConfigError where too few audits have a page here.

    logits: of `logits_and_shapes`, written (it is read three times). audits: canonical URL -> whether positive.
    """
    write_table(_with_neighbours(logits), work_dir / "neighbours")
    rows = session.read.parquet(str(work_dir / "neighbours"))
    labels = session.createDataFrame(sorted(audits.items()), "url_key string, is_positive boolean")
    # A few hundred rows; in the order of their ids, so that the sums of the fit come out the same.
    known = rows.join(F.broadcast(labels), "url_key").orderBy("page_id").toArrow()
    calibration = fit(_features(known), known.column("is_positive").to_pylist())

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in stream:
            scores = calibration.score(_features(batch)) if batch.num_rows else np.empty(0)
            columns = [*(batch.column(name) for name in _PLAIN), pa.array(scores, pa.float64())]
            yield pa.RecordBatch.from_arrays(columns, [*_PLAIN, "score"])

    schema = ", ".join(f"{name} {'int' if name == 'n_tokens' else 'string'}" for name in _PLAIN) + ", score double"
    return rows.mapInArrow(batches, schema), calibration


def _with_neighbours(logits: DataFrame) -> DataFrame:
    """The rows with sums over the page's host and over its deepest folder of NEIGHBOURS pages or more.

    Sums are of decimals, so that their order does not matter.
    """
    cut = F.greatest(F.least("logit", F.lit(MAX_LOGIT)), F.lit(-MAX_LOGIT)).cast("decimal(20,12)")
    rows = logits.withColumn("cut", cut)
    hosts = rows.groupBy("host").agg(F.sum("cut").alias("host_sum"), F.count("*").alias("host_pages"))
    members = rows.select("page_id", "cut", F.posexplode("folders").alias("depth", "folder"))
    folders = members.groupBy("folder").agg(F.sum("cut").alias("sum"), F.count("*").alias("pages"))
    deepest = (
        members.join(folders.where(F.col("pages") >= NEIGHBOURS), "folder")
        .groupBy("page_id")
        .agg(F.max_by(F.struct("sum", "pages"), "depth").alias("deepest"))
        .select("page_id", F.col("deepest.sum").alias("folder_sum"), F.col("deepest.pages").alias("folder_pages"))
    )
    joined = rows.join(hosts, "host").join(deepest, "page_id", "left").drop("folders")
    sums = [F.col(name).cast("double").alias(name) for name in ("cut", "host_sum", "folder_sum")]
    return joined.select(*[name for name in joined.columns if name not in ("cut", "host_sum", "folder_sum")], *sums)


def _features(rows: pa.Table | pa.RecordBatch) -> np.ndarray:
    def numbers(name: str) -> np.ndarray:
        return np.asarray(rows.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)

    own = numbers("cut")
    host_means = neighbour_mean(numbers("host_sum"), numbers("host_pages"), own, 0.0)
    folder_means = neighbour_mean(numbers("folder_sum"), numbers("folder_pages"), own, host_means)
    # A page whose folders all are small has its host alone.
    folder_means = np.where(np.isnan(folder_means), host_means, folder_means)
    shapes = np.array(rows.column("shape").to_pylist(), dtype=np.float64)
    return feature_matrix(numbers("logit"), shapes, host_means, folder_means)
