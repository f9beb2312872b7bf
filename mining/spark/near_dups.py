"""Duplicate pages, found in three passes: URL twins, equal texts, near-duplicates by MinHash with verified Jaccard.

Of each group one page stays: the one with the most formulas kept, then the longest text, then the newest capture,
then the smallest page_id. The rule looks at content only, so the result does not depend on files or partitions.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from mining.minhash import MinHashConfig, band_keys, bounded_jaccard, signature, verification_sample
from mining.shingles import shingles, text_digest
from mining.spark.components import connected_components
from mining.store import remove
from mining.url import canonical_url

_ALL_PAIRS_UP_TO = 12


def find_duplicates(session: SparkSession, pages: DataFrame, *, work_dir: Path, cfg: MinHashConfig) -> DataFrame:
    """(page_id, kept_id, kind, jaccard), one row a page that goes; kept_id is never itself removed.

    pages: PAGES_SCHEMA. work_dir: scratch folder, the caller removes it.
    """
    remove(work_dir)
    keys_path = str(work_dir / "keys")
    columns = pages.select("page_id", "url", "text", "formulas_kept", "n_chars", "fetch_time")
    schema = (
        "page_id string, url_key string, text_key string, bands array<bigint>, "
        "formulas_kept int, n_chars int, fetch_time string"
    )
    columns.mapInArrow(lambda batches: _key_batches(batches, cfg), schema).write.parquet(keys_path)
    keys = session.read.schema(schema).parquet(keys_path).withColumn("priority", _priority())

    url_twins = _group_duplicates(keys, "url_key", "url")
    by_url = keys.join(url_twins.select("page_id"), "page_id", "left_anti")
    same_text = _group_duplicates(by_url, "text_key", "exact")
    distinct = by_url.join(same_text.select("page_id"), "page_id", "left_anti")
    near = _near_duplicates(session, distinct, pages, work_dir=work_dir, cfg=cfg)
    return _resolve(url_twins.union(same_text).union(near))


def _priority() -> Column:
    """Smaller is better: formulas, length and capture time falling, page_id rising."""
    newest = F.unix_timestamp(F.to_timestamp("fetch_time"))
    return F.struct(
        (-F.col("formulas_kept")).alias("f"),
        (-F.col("n_chars")).alias("c"),
        (-F.coalesce(newest, F.lit(0))).alias("t"),
        F.col("page_id").alias("id"),
    )


def _key_batches(batches: Iterator[pa.RecordBatch], cfg: MinHashConfig) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        texts = batch.column("text").to_pylist()
        urls = batch.column("url").to_pylist()
        bands = [band_keys(signature(shingles(text, cfg.shingle_size), cfg), cfg) for text in texts]
        yield pa.RecordBatch.from_arrays(
            [
                batch.column("page_id"),
                pa.array([canonical_url(url) for url in urls], pa.string()),
                pa.array([text_digest(text) for text in texts], pa.string()),
                pa.array(bands, pa.list_(pa.int64())),
                batch.column("formulas_kept"),
                batch.column("n_chars"),
                batch.column("fetch_time"),
            ],
            ["page_id", "url_key", "text_key", "bands", "formulas_kept", "n_chars", "fetch_time"],
        )


def _group_duplicates(keys: DataFrame, key: str, kind: str) -> DataFrame:
    best = F.min("priority").over(Window.partitionBy(key))["id"]
    grouped = keys.select("page_id", best.alias("kept_id")).where("page_id != kept_id")
    return grouped.select("page_id", "kept_id", F.lit(kind).alias("kind"), F.lit(1.0).cast("float").alias("jaccard"))


def _near_duplicates(
    session: SparkSession, keys: DataFrame, pages: DataFrame, *, work_dir: Path, cfg: MinHashConfig
) -> DataFrame:
    members = keys.select(F.explode("bands").alias("band"), "page_id").groupBy("band")
    buckets = members.agg(F.sort_array(F.collect_list("page_id")).alias("ids")).where(F.size("ids") > 1)
    pairs = buckets.select("ids").distinct().mapInArrow(_pair_batches, "a string, b string").distinct()
    pairs = _written(session, pairs, work_dir / "pairs")

    wanted = pairs.select(F.col("a").alias("page_id")).union(pairs.select("b")).distinct()
    texts = pages.select("page_id", "text").join(wanted, "page_id", "left_semi")
    sets = texts.mapInArrow(lambda batches: _shingle_batches(batches, cfg), "page_id string, shingles array<bigint>")
    sets = _written(session, sets, work_dir / "shingles")

    edges = _with_jaccard(pairs, sets, cfg).where(F.col("jaccard") >= cfg.min_jaccard)
    edges = _written(session, edges, work_dir / "edges")
    groups = connected_components(session, edges, work_dir / "components")
    ranked = groups.join(keys.select("page_id", "priority"), groups["node"] == keys["page_id"])
    best = F.min("priority").over(Window.partitionBy("component"))["id"]
    chosen = ranked.select(F.col("node").alias("a"), best.alias("b")).where("a != b")
    # A chain a~b~c may join pages that have little in common: what is too far from the kept page stays.
    verified = _with_jaccard(chosen, sets, cfg).where(F.col("jaccard") >= cfg.min_kept_jaccard)
    return verified.select(
        F.col("a").alias("page_id"), F.col("b").alias("kept_id"), F.lit("near").alias("kind"), "jaccard"
    )


def _pair_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Candidate pairs of each bucket: all of a small one; of a large one each page with the first and the next."""
    for batch in batches:
        left, right = [], []
        for ids in batch.column("ids").to_pylist():
            for a, b in bucket_pairs(ids):
                left.append(a)
                right.append(b)
        yield pa.RecordBatch.from_arrays([pa.array(left, pa.string()), pa.array(right, pa.string())], ["a", "b"])


def bucket_pairs(ids: list[str]) -> list[tuple[str, str]]:
    """Pairs of a bucket's sorted page_ids; linear in the bucket's size beyond a dozen pages."""
    if len(ids) <= _ALL_PAIRS_UP_TO:
        return [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    return [(ids[0], b) for b in ids[1:]] + list(pairwise(ids[1:]))


def _shingle_batches(batches: Iterator[pa.RecordBatch], cfg: MinHashConfig) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        sets = [verification_sample(shingles(text, cfg.shingle_size), cfg) for text in batch.column("text").to_pylist()]
        yield pa.RecordBatch.from_arrays(
            [batch.column("page_id"), pa.array(sets, pa.list_(pa.int64()))], ["page_id", "shingles"]
        )


def _with_jaccard(pairs: DataFrame, sets: DataFrame, cfg: MinHashConfig) -> DataFrame:
    left = sets.select(F.col("page_id").alias("a"), F.col("shingles").alias("sa"))
    right = sets.select(F.col("page_id").alias("b"), F.col("shingles").alias("sb"))
    joined = pairs.select("a", "b").join(left, "a").join(right, "b").select("a", "b", "sa", "sb")
    return joined.mapInArrow(lambda batches: _jaccard_batches(batches, cfg), "a string, b string, jaccard float")


def _jaccard_batches(batches: Iterator[pa.RecordBatch], cfg: MinHashConfig) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        sets = zip(batch.column("sa").to_pylist(), batch.column("sb").to_pylist(), strict=True)
        values = [bounded_jaccard(a, b, cfg) for a, b in sets]
        yield pa.RecordBatch.from_arrays(
            [batch.column("a"), batch.column("b"), pa.array(values, pa.float32())], ["a", "b", "jaccard"]
        )


def _resolve(removals: DataFrame) -> DataFrame:
    """The same rows with kept_id followed to a page that stays: url -> exact -> near is at most three steps."""
    for _ in range(2):
        onward = removals.select(F.col("page_id").alias("kept_id"), F.col("kept_id").alias("next_id"))
        removals = removals.join(onward, "kept_id", "left").select(
            "page_id", F.coalesce("next_id", "kept_id").alias("kept_id"), "kind", "jaccard"
        )
    return removals


def _written(session: SparkSession, frame: DataFrame, path: Path) -> DataFrame:
    frame.write.parquet(str(path))
    return session.read.schema(frame.schema).parquet(str(path))
