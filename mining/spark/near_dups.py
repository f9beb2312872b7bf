"""Duplicate pages, found in three passes: URL twins, equal texts, near-duplicates by MinHash with verified Jaccard.

Every page gets a number, its place in the order of preference: pages of earlier crawls first, which always stay;
then most formulas kept (the quality of its extraction), longest text, newest capture, smallest page_id. Of each
group the smallest number stays. The order looks at content only, so the result does not depend on files, partitions
or the order of rows. A classifier's score is no part of it: scores come after deduplication, and change each round.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from mining.band_index import INDEX_SCHEMA, PAGE_COLUMNS, BandIndex, index_rows, sets_of
from mining.duplicates import ALL_PAIRS_UP_TO, MAX_ROUNDS, are_alike, band_pairs
from mining.minhash import DedupConfig, MinHashConfig, similarities
from mining.spark.components import connected_components
from mining.store import remove

logger = logging.getLogger("mine")

_ROWS_A_BLOCK = 50_000


def find_duplicates(
    session: SparkSession, pages: DataFrame, *, work_dir: Path, cfg: DedupConfig, earlier: Sequence[BandIndex] = ()
) -> DataFrame:
    """(page_id, kept_id, kind, jaccard), one row a page that goes; kept_id is never itself removed.

    kind: url (equal canonical URL), exact (equal text), near. jaccard is that of the two pages, whatever the kind.
    pages: PAGES_SCHEMA. earlier: indexes of corpora whose pages stay. work_dir: scratch folder, the caller removes
    it; its `keys` are the rows of this corpus's own band index.
    """
    remove(work_dir)
    minhash = cfg.minhash
    rows = pages.select(*PAGE_COLUMNS).mapInArrow(
        lambda batches: (index_rows(batch, minhash) for batch in batches), from_arrow_schema(INDEX_SCHEMA)
    )
    rows.write.parquet(str(work_dir / "keys"))
    return _Search(session, work_dir, cfg, earlier).duplicates()


class _Search:
    """One search: the frames that several of its steps read, each written down once."""

    def __init__(self, session: SparkSession, work_dir: Path, cfg: DedupConfig, earlier: Sequence[BandIndex]) -> None:
        self.session, self.work_dir, self.cfg, self.earlier = session, work_dir, cfg, earlier
        tables = [*(index.path for index in earlier), work_dir / "keys"]
        self.keys = reduce(
            DataFrame.unionByName,
            (
                session.read.schema(from_arrow_schema(INDEX_SCHEMA))
                .parquet(str(table))
                .withColumn("corpus", F.lit(number))
                for number, table in enumerate(tables)
            ),
        )
        """The index rows of all corpora, the new one last."""
        self.nodes = self._nodes()
        """(node, is_new, corpus, page_id, scope, url_key, text_key, bands, old_kind, old_kept_id)."""
        self.first_new = 0
        if earlier:
            self.first_new = self.nodes.where("is_new").agg(F.min("node")).collect()[0][0] or 0
        self.aliases = self._aliases()
        """(node, alias): removed pages of earlier corpora and the page that was kept for each."""

    def duplicates(self) -> DataFrame:
        """The table of duplicates."""
        twins = self.written(self._twins(), "twins")
        rest = self.nodes.where("old_kind is null or old_kind = 'near'").join(twins, "node", "left_anti")
        near = self._near(rest)
        removals = self._resolved(twins.union(near.select("node", "kept", F.lit("near").alias("kind"))))
        return self._table(removals, near)

    def written(self, frame: DataFrame, name: str) -> DataFrame:
        """The frame, computed now and read back: lineage stays short, and nothing is computed twice."""
        path = str(self.work_dir / name)
        frame.write.parquet(path)
        return self.session.read.schema(frame.schema).parquet(path)

    def _nodes(self) -> DataFrame:
        rows = self.keys.drop("shingles").withColumn("is_new", F.col("corpus") == len(self.earlier))
        old = [
            self.session.read.schema("page_id string, kept_id string, kind string").parquet(str(index.duplicates))
            .select(F.lit(number).alias("corpus"), "page_id", F.col("kept_id").alias("old_kept_id"),
                    F.col("kind").alias("old_kind"))
            for number, index in enumerate(self.earlier)
        ]  # fmt: skip
        if old:
            rows = rows.join(reduce(DataFrame.union, old), ["corpus", "page_id"], "left")
        else:
            rows = rows.withColumn("old_kept_id", F.lit(None).cast("string"))
            rows = rows.withColumn("old_kind", F.lit(None).cast("string"))
        scope = F.col("crawl") if self.cfg.scope == "crawl" else F.lit("")
        ordered = rows.withColumn("scope", scope).orderBy(*self._preference())
        # Increasing along the sorted partitions; only the order of the numbers counts, which no partitioning changes.
        return self.written(
            ordered.select(
                F.monotonically_increasing_id().alias("node"), "is_new", "corpus", "page_id", "scope", "url_key",
                "text_key", "bands", "old_kind", "old_kept_id",
            ),
            "nodes",
        )  # fmt: skip

    def _preference(self) -> list[Column]:
        best = [F.desc("formulas_kept"), F.desc("n_chars"), F.desc("fetched"), F.asc("page_id"), F.asc("corpus")]
        return [F.asc("is_new"), *([F.asc("crawl")] if self.cfg.prefer == "earliest_crawl" else []), *best]

    def _aliases(self) -> DataFrame:
        removed = self.nodes.where("old_kept_id is not null").select("node", F.col("old_kept_id").alias("page_id"))
        by_id = self.nodes.where("not is_new").groupBy("page_id").agg(F.min("node").alias("alias"))
        return removed.join(by_id, "page_id").select("node", "alias")

    def _twins(self) -> DataFrame:
        """(node, kept, kind) of the new pages that share their URL, or else their text, with a smaller number."""
        by_url = F.min("node").over(Window.partitionBy("scope", "url_key"))
        nodes = self.nodes.select("node", "is_new", "scope", "text_key", "old_kind", by_url.alias("url_kept"))
        # A page that goes for its URL takes no part in the comparison of texts, nor did it in an earlier run.
        takes_part = F.when(F.col("is_new"), F.col("node") == F.col("url_kept")).otherwise(
            F.col("old_kind").isNull() | (F.col("old_kind") != "url")
        )
        nodes = nodes.withColumn("takes_part", takes_part)
        by_text = F.min("node").over(Window.partitionBy("scope", "text_key", "takes_part"))
        nodes = nodes.withColumn("kept", F.when(F.col("takes_part"), by_text).otherwise(F.col("url_kept")))
        kind = F.when(F.col("takes_part"), F.lit("exact")).otherwise(F.lit("url"))
        return nodes.where("is_new and node != kept").select("node", "kept", kind.alias("kind"))

    def _near(self, nodes: DataFrame) -> DataFrame:
        """(node, kept, jaccard) of the new pages that are near-duplicates of one that stays."""
        pairs = self.written(self._candidates(nodes), "pairs")
        wanted = pairs.select(F.col("a").alias("node")).union(pairs.select("b"))
        if self.earlier:
            wanted = wanted.union(self.aliases.join(wanted, "node", "left_semi").select("alias"))
        sets = self._sets(wanted.distinct(), "shingles")
        alike = self._with_jaccard(pairs, sets).where(
            F.col("alike") & (F.col("jaccard") >= F.lit(self.cfg.min_jaccard).cast("float"))
        )
        edges = alike.select("a", "b")
        if self.earlier:
            known = edges.join(self.aliases.withColumnRenamed("node", "a"), "a", "left")
            edges = known.select(F.coalesce("alias", "a").alias("a"), "b")
        return self._chosen(self.written(edges, "edges-0"), sets)

    def _candidates(self, nodes: DataFrame) -> DataFrame:
        """(a, b), a < b, of the pages that share a band, b being new."""
        members = nodes.select("node", "scope", F.explode("bands").alias("band"))
        if self.cfg.scope == "crawl":
            members = members.withColumn("band", F.xxhash64("scope", "band"))
        # Sorted by Spark, which has a disk for it: a band may have more members than a worker has memory for.
        members = members.select("band", "node").repartition("band").sortWithinPartitions("band", "node")
        pairs = members.mapInArrow(_pair_batches, "a bigint, b bigint")
        return pairs.where(F.col("b") >= self.first_new).distinct()

    def _chosen(self, edges: DataFrame, sets: DataFrame) -> DataFrame:
        """Of each component the pages that are near its best page go; then again among those that are left.

        A chain a~b~c may join pages that have little in common, so what is too far from the best page stays and is
        compared with the best page of what is left.
        """
        removed = []
        for number in range(1, MAX_ROUNDS + 1):
            groups = connected_components(self.session, edges, self.work_dir / "components")
            members = groups.where((F.col("node") != F.col("component")) & (F.col("node") >= self.first_new))
            found = self._with_jaccard(members.select(F.col("component").alias("a"), F.col("node").alias("b")), sets)
            found = found.where(F.col("alike") & (F.col("jaccard") >= F.lit(self.cfg.min_kept_jaccard).cast("float")))
            found = found.select(F.col("b").alias("node"), F.col("a").alias("kept"), "jaccard")
            removed.append(self.written(found, f"near-{number}"))
            settled = removed[-1].select("node").union(groups.select("component")).distinct()
            left = edges.join(settled.withColumnRenamed("node", "a"), "a", "left_anti")
            left = left.join(settled.withColumnRenamed("node", "b"), "b", "left_anti").select("a", "b")
            edges = self.written(left, f"edges-{number}")
            num_edges = edges.count()
            if num_edges == 0:
                break
        else:
            logger.warning("dedup: %s pairs of near-duplicates in long chains stay", f"{num_edges:,}")
        return reduce(DataFrame.union, removed)

    def _sets(self, wanted: DataFrame, name: str) -> DataFrame:
        """(node, shingles) of the wanted nodes."""
        places = self.nodes.select("node", "corpus", "page_id").join(wanted, "node", "left_semi")
        return self.written(
            self.keys.select("corpus", "page_id", "shingles").join(places, ["corpus", "page_id"])
            .select("node", "shingles"),
            name,
        )  # fmt: skip

    def _with_jaccard(self, pairs: DataFrame, sets: DataFrame) -> DataFrame:
        left = sets.select(F.col("node").alias("a"), F.col("shingles").alias("sa"))
        right = sets.select(F.col("node").alias("b"), F.col("shingles").alias("sb"))
        joined = pairs.select("a", "b").join(left, "a").join(right, "b").select("a", "b", "sa", "sb")
        cfg, least = self.cfg.minhash, self.cfg.min_number_jaccard
        return joined.mapInArrow(
            lambda batches: _jaccard_batches(batches, cfg, least), "a bigint, b bigint, jaccard float, alike boolean"
        )

    def _resolved(self, removals: DataFrame) -> DataFrame:
        """The same rows with `kept` followed to a page that stays: url -> exact -> near is at most three steps."""
        onward = removals.select(F.col("node").alias("kept"), F.col("kept").alias("next"))
        if self.earlier:
            onward = onward.union(self.aliases.select(F.col("node").alias("kept"), F.col("alias").alias("next")))
        for _ in range(2):
            removals = removals.join(onward, "kept", "left").select(
                "node", F.coalesce("next", "kept").alias("kept"), "kind"
            )
        return removals

    def _table(self, removals: DataFrame, near: DataFrame) -> DataFrame:
        """The removals by page_id, with the Jaccard similarity of each pair."""
        removals = self.written(removals, "removals")
        twins = removals.where("kind != 'near'")
        sets = self._sets(twins.select("node").union(twins.select("kept")).distinct(), "twin-shingles")
        pairs = twins.select(F.col("kept").alias("a"), F.col("node").alias("b"))
        measured = self._with_jaccard(pairs, sets).select(F.col("b").alias("node"), "jaccard")
        measured = measured.union(near.select("node", "jaccard"))
        page = self.nodes.select("node", "page_id", "text_key")
        kept = self.nodes.select(
            F.col("node").alias("kept"), F.col("page_id").alias("kept_id"), F.col("text_key").alias("kept_text")
        )
        # Two pages without a token share no shingle and may still be equal.
        jaccard = F.when(F.col("text_key") == F.col("kept_text"), F.lit(1.0).cast("float")).otherwise(F.col("jaccard"))
        return (
            removals.join(measured, "node").join(page, "node").join(kept, "kept")
            .select("page_id", "kept_id", "kind", jaccard.alias("jaccard"))
        )  # fmt: skip


def _pair_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The pairs of `band_pairs` for one partition: all members (band, node) of its bands, sorted by band and node.

    No more than a few blocks of rows are held: of a large band that goes on its best member and its last are enough.
    """
    rest = np.empty((2, 0), np.int64)
    open_band: tuple[int, int, int] | None = None  # its key, its best node and the last one seen
    for block in _blocks(batches):
        rows = np.concatenate([rest, block], axis=1)
        if open_band is not None:
            key, best, last = open_band
            chain = rows[1, : np.searchsorted(rows[0], key, "right")]
            if len(chain):
                yield _pairs(np.concatenate([[last], chain[:-1]]), chain)
                yield _pairs(np.full(len(chain), best), chain)
                open_band = (key, best, int(chain[-1]))
            rows = rows[:, len(chain) :]
        start = np.searchsorted(rows[0], rows[0, -1:])[0] if rows.size else 0
        rest = rows[:, start:]
        yield _pairs(*band_pairs(rows[0, :start], rows[1, :start]))
        if rest.shape[1] > ALL_PAIRS_UP_TO:
            yield _pairs(*band_pairs(rest[0], rest[1]))
            open_band = (int(rest[0, 0]), int(rest[1, 0]), int(rest[1, -1]))
            rest = rest[:, :0]
    yield _pairs(*band_pairs(rest[0], rest[1]))


def _blocks(batches: Iterator[pa.RecordBatch]) -> Iterator[np.ndarray]:
    """(2, N) bands and nodes, N from _ROWS_A_BLOCK rows on but for the last: a batch alone costs more than its rows."""
    parts: list[np.ndarray] = []
    for batch in batches:
        parts.append(np.stack([batch.column("band").to_numpy(), batch.column("node").to_numpy()]))
        if sum(part.shape[1] for part in parts) >= _ROWS_A_BLOCK:
            yield np.concatenate(parts, axis=1)
            parts = []
    if parts:
        yield np.concatenate(parts, axis=1)


def _pairs(a: np.ndarray, b: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(a, pa.int64()), pa.array(b, pa.int64())], ["a", "b"])


def _jaccard_batches(
    batches: Iterator[pa.RecordBatch], cfg: MinHashConfig, min_number_jaccard: float
) -> Iterator[pa.RecordBatch]:
    """`alike` is false where two pages share text but not the numbers in it."""
    for batch in batches:
        found = similarities(sets_of(batch.column("sa")), sets_of(batch.column("sb")), cfg)
        alike = are_alike(found, min_number_jaccard)
        yield pa.RecordBatch.from_arrays(
            [
                batch.column("a"), batch.column("b"),
                pa.array(found.jaccard.astype(np.float32)), pa.array(alike),
            ],
            ["a", "b", "jaccard", "alike"],
        )  # fmt: skip
