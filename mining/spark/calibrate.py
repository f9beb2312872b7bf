"""Scores of a round from the classifier's logits and the audited pages: features, one fit on the driver, one pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    WordModel,
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
    "shape array<double>, folders array<string>, words double"
)


@dataclass(frozen=True)
class AuditedLine:
    """An audited page that is in the crawl."""

    page_id: str
    host: str
    is_positive: bool
    line: str
    """As the classifier reads it."""


def audited_lines(pages: DataFrame, audits: Mapping[str, bool], *, cfg: ClassifierConfig) -> list[AuditedLine]:
    """The audited pages that are here, by page_id; audits: canonical URL -> whether positive."""

    def known(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in stream:
            found = [audits.get(canonical_url(url)) for url in batch.column("url").to_pylist()]
            columns = [batch.column("page_id"), pa.array(found, pa.bool_())]
            out = pa.RecordBatch.from_arrays(columns, ["page_id", "is_positive"])
            yield out.filter(out.column("is_positive").is_valid())

    ids = pages.select("page_id", "url").mapInArrow(known, "page_id string, is_positive boolean").collect()
    labels = {row["page_id"]: row["is_positive"] for row in ids}
    text = F.substring("text", 1, cfg.max_chars).alias("text")
    rows = pages.where(F.col("page_id").isin(sorted(labels))).select("page_id", "host", text).collect()
    return [
        AuditedLine(row["page_id"], row["host"], labels[row["page_id"]], line_of(row["text"], cfg))
        for row in sorted(rows, key=lambda row: row["page_id"])
    ]


def line_of(text: str, cfg: ClassifierConfig) -> str:
    """A text as the classifier reads it."""
    return fasttext_line(text, max_chars=cfg.max_chars)


def logits_and_shapes(
    pages: DataFrame, model_path: Path, words: WordModel, *, version: str, cfg: ClassifierConfig
) -> DataFrame:
    """Every page's logit, shape, folders (deepest last) and logit of its words, in one pass over the texts."""
    path = str(model_path)

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        classifier = open_classifier(path, version)
        for batch in stream:
            texts, urls = batch.column("text").to_pylist(), batch.column("url").to_pylist()
            lines = [line_of(text, cfg) for text in texts]
            shapes = [page_shape(text, url) for text, url in zip(texts, urls, strict=True)]
            columns = {name: batch.column(name) for name in _PLAIN} | {
                "logit": pa.array([classifier.score(line) for line in lines], pa.float64()),
                "shape": pa.array(shapes, pa.list_(pa.float64())),
                "folders": pa.array([path_prefixes(url) for url in urls], pa.list_(pa.string())),
                "words": pa.array([words.score(line) for line in lines], pa.float64()),
            }
            yield pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    text = F.substring("text", 1, max(cfg.max_chars, MAX_CHARS)).alias("text")
    return pages.select(*_PLAIN, text).mapInArrow(batches, _LOGITS)


def calibrated_scores(
    session: SparkSession, logits: DataFrame, audited: Sequence[AuditedLine], unseen: np.ndarray, *, work_dir: Path
) -> tuple[DataFrame, Calibration]:
    """Every page with its calibrated score, and the calibration; ConfigError where too few audits have a page here.

    logits: of `logits_and_shapes`, written (it is read three times). unseen: the audited lines' logits of word models
    that have not seen their hosts.
    """
    write_table(_with_neighbours(logits), work_dir / "neighbours")
    rows = session.read.parquet(str(work_dir / "neighbours"))
    # A few hundred rows; in the order of their ids, so that the sums of the fit come out the same.
    ids = [one.page_id for one in audited]
    known = rows.where(F.col("page_id").isin(ids)).orderBy("page_id").toArrow()
    known = known.set_column(known.schema.get_field_index("words"), "words", pa.array(unseen, pa.float64()))
    calibration = fit(_features(known), [one.is_positive for one in audited])

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
    return feature_matrix(numbers("logit"), shapes, host_means, folder_means, numbers("words"))
