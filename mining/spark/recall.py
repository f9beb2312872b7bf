"""One recall round on Spark: seed, scores, cut, domain shares, prefix proposals, and the labels' effect."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from mining.classifier import MATH, OTHER, ClassifierConfig, fasttext_line, open_classifier
from mining.config import SeedConfig
from mining.domains import DomainConfig, DomainStats, is_candidate, wilson_lower
from mining.errors import StoreError
from mining.prefixes import (
    SCORE_DIGITS,
    Label,
    LabelIndex,
    PrefixConfig,
    Section,
    label_for,
    label_index,
    propose,
    section_prefixes,
)
from mining.rounds import RoundsConfig, logit, threshold_for_precision
from mining.scoring import SCORES_SCHEMA, score_batch
from mining.spark.cut import cut_by_budget
from mining.url import canonical_url, path_prefixes

_HISTOGRAM_BARS = 60

SCORES = "page_id string, url string, host string, domain string, language string, n_tokens int, score double"


def label_pages(pages: DataFrame, labels: Sequence[Label]) -> DataFrame:
    """(page_id, label) of the pages under a labelled prefix, the longest prefix deciding."""
    index = label_index(labels)

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in stream:
            found = [_label_of(url, index) for url in batch.column("url").to_pylist()]
            out = pa.RecordBatch.from_arrays(
                [batch.column("page_id"), pa.array(found, pa.string())], ["page_id", "label"]
            )
            yield out.filter(out.column("label").is_valid())

    return pages.select("page_id", "url").mapInArrow(batches, "page_id string, label string")


def _label_of(url: str, index: LabelIndex) -> str | None:
    label = label_for(url, index)
    return label.label if label else None


def without_urls(pages: DataFrame, urls: Sequence[str]) -> DataFrame:
    """The pages but those with one of a few URLs, as captured."""
    return pages.where(~F.col("url").isin(sorted(set(urls))))


def audited_pages(
    session: SparkSession, scores: DataFrame, collected: DataFrame, audits: Mapping[str, bool]
) -> list[tuple[str, str, bool, bool, float]]:
    """(domain, language, is_math, collected, score) of the audited URLs that have a page, by page_id."""
    labels = session.createDataFrame(sorted(audits.items()), "url string, is_math boolean")
    known = scores.join(F.broadcast(labels), "url")
    marks = collected.select("page_id", F.lit(True).alias("is_collected"))
    rows = known.join(marks, "page_id", "left").orderBy("page_id").collect()
    return [(row["domain"], row["language"], row["is_math"], bool(row["is_collected"]), row["score"]) for row in rows]


def training_set(
    pages: DataFrame,
    seed_positive: DataFrame,
    seed_negative: DataFrame | None,
    *,
    last_scores: DataFrame | None,
    collected_last: DataFrame | None,
    last_positives: DataFrame | None,
    labels: Sequence[Label],
    seed_cfg: SeedConfig,
    rounds_cfg: RoundsConfig,
    max_chars: int,
) -> DataFrame:
    """(line, label, source, page_id, url, language) of a round's documents, in a shuffled, reproducible order.

    Positives: the seed, the prefix positives of earlier rounds, and the uncollected pages under prefixes labelled
    math (never the classifier's own choice). Negatives: `crawl_negatives` random pages a positive, without collected
    pages and without pages under math prefixes, and the negative files.
    """
    # Two documents of one text differ in url or language: without these the one that a limit leaves out is anyone's.
    draw = [F.xxhash64("key", F.lit(seed_cfg.seed)), *map(F.col, ("key", "url", "language"))]
    seeds = _documents(seed_positive, MATH, "seed").orderBy(*draw).limit(seed_cfg.max_positives)
    parts = [seeds]
    excluded: DataFrame | None = None
    if collected_last is not None and last_scores is not None:
        # Used four times below; ids only, so it is cheap to hold.
        under_math = label_pages(pages, labels).where(F.col("label") == "math").select("page_id").persist()
        fresh = under_math.join(collected_last, "page_id", "left_anti")
        if last_positives is not None:
            still = last_positives.join(under_math, "page_id", "left_semi")
            fresh = fresh.union(still.select("page_id")).distinct()
        parts.append(_prefix_positives(pages, fresh, last_scores, seed_cfg, rounds_cfg))
        excluded = collected_last.union(under_math).distinct()
    positives = parts[0] if len(parts) == 1 else parts[0].unionByName(parts[1])
    crawl = pages.select("page_id", "text", "url", "language")
    if excluded is not None:
        crawl = crawl.join(excluded, "page_id", "left_anti")
    wanted = math.ceil(positives.count() * seed_cfg.crawl_negatives)
    crawl = _documents(crawl, OTHER, "crawl").orderBy(*draw).limit(wanted)
    rows = positives.unionByName(crawl)
    if seed_negative is not None:
        files = _documents(seed_negative, OTHER, "negative_file").orderBy(*draw).limit(seed_cfg.max_negatives)
        rows = rows.unionByName(files)
    lines = _with_lines(rows, max_chars)
    return lines.orderBy(F.xxhash64("key", F.lit(seed_cfg.seed + 1)), "key", "label").drop("key")


def _documents(frame: DataFrame, label: str, source: str) -> DataFrame:
    page_id = F.col("page_id") if "page_id" in frame.columns else F.lit(None).cast("string")
    return frame.select(
        F.coalesce(page_id, F.md5("text")).alias("key"),
        page_id.alias("page_id"),
        "text",
        "url",
        "language",
        F.lit(label).alias("label"),
        F.lit(source).alias("source"),
    )


def _prefix_positives(
    pages: DataFrame, ids: DataFrame, last_scores: DataFrame, seed_cfg: SeedConfig, cfg: RoundsConfig
) -> DataFrame:
    """The labelled pages that make good examples: long enough, not the worst-scored of their host, capped a host."""
    ranked = (
        last_scores.join(ids, "page_id", "left_semi")
        .join(pages.select("page_id", "n_chars"), "page_id")
        .where(F.col("n_chars") >= cfg.min_positive_chars)
        .withColumn("rank", F.percent_rank().over(Window.partitionBy("host").orderBy("score", "page_id")))
        .where(F.col("rank") >= cfg.positive_quantile)
        .withColumn(
            "place",
            F.row_number().over(
                Window.partitionBy("host").orderBy(F.xxhash64("page_id", F.lit(seed_cfg.seed)), "page_id")
            ),
        )
        .where(F.col("place") <= cfg.max_positives_per_host)
        .select("page_id")
    )
    chosen = pages.select("page_id", "text", "url", "language").join(ranked, "page_id", "left_semi")
    return _documents(chosen, MATH, "prefix")


def _with_lines(rows: DataFrame, max_chars: int) -> DataFrame:
    names = ["key", "line", "label", "source", "page_id", "url", "language"]

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in stream:
            lines = [fasttext_line(text, max_chars=max_chars) for text in batch.column("text").to_pylist()]
            columns = [pa.array(lines, pa.string()) if name == "line" else batch.column(name) for name in names]
            yield pa.RecordBatch.from_arrays(columns, names)

    cut = rows.withColumn("text", F.substring("text", 1, max_chars))
    return cut.mapInArrow(batches, ", ".join(f"{name} string" for name in names))


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(label, line) of a written training set, in its order."""
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    for file in files:
        try:
            for batch in pq.ParquetFile(file, page_checksum_verification=True).iter_batches(columns=["label", "line"]):
                yield from zip(batch.column("label").to_pylist(), batch.column("line").to_pylist(), strict=True)
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(f"{file}: damaged ({error}); delete {path} and run the same line again") from None


def score_pages(pages: DataFrame, model_path: Path, *, version: str, cfg: ClassifierConfig) -> DataFrame:
    """Every page's score, with the columns that the later steps group by (SCORES)."""
    path, max_chars = str(model_path), cfg.max_chars

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        classifier = open_classifier(path, version)
        for batch in stream:
            yield score_batch(batch, classifier, max_chars=max_chars)

    text = F.substring("text", 1, max_chars).alias("text")
    return pages.select(*SCORES_SCHEMA.names[:-1], text).mapInArrow(batches, SCORES)


def choose_cut(scores: DataFrame, cfg: RoundsConfig, labelled: DataFrame | None) -> tuple[float, str]:
    """(score, page_id) of the last page of the ranked list that is collected; page_id "" takes all ties.

    labelled: (url_key, is_math), for cut=precision.
    """
    if cfg.cut == "threshold":
        return logit(cfg.threshold), ""
    if cfg.cut == "precision":
        assert labelled is not None
        joined = with_url_key(scores.select("url", "score")).join(labelled, "url_key")
        rows = [(row["score"], row["is_math"]) for row in joined.select("score", "is_math").collect()]
        return threshold_for_precision(rows, cfg.target_precision), ""
    return cut_by_budget(scores, cfg.token_budget)


def above_cut(scores: DataFrame, cut: tuple[float, str]) -> DataFrame:
    """The collected pages."""
    score, page_id = cut
    if not page_id:
        return scores.where(F.col("score") >= score)
    return scores.where((F.col("score") > score) | ((F.col("score") == score) & (F.col("page_id") <= page_id)))


def with_url_key(frame: DataFrame) -> DataFrame:
    """The frame with its canonical URL."""
    return frame.withColumn("url_key", F.udf(canonical_url, "string", useArrow=False)("url"))


def domain_table(scores: DataFrame, collected: DataFrame, last: DataFrame | None, cfg: DomainConfig) -> DataFrame:
    """Shares by host (rolled up later by `domain`), largest first, with the candidates marked."""
    marked = _marked(scores, collected)
    hosts = marked.groupBy("host", "domain").agg(
        F.count("*").alias("pages"),
        F.sum("is_collected").alias("collected"),
        F.sum("n_tokens").alias("tokens"),
        F.sum(F.col("is_collected") * F.col("n_tokens")).alias("collected_tokens"),
        # Decimals add up to the same in any order, so that the table does not depend on partitions.
        (F.sum(F.col("score").cast("decimal(38,15)")).cast("double") / F.count("*")).alias("mean_score"),
    )
    section = F.udf(_first_section, "string", useArrow=False)("url")
    sections = marked.groupBy("host", section.alias("section")).agg(
        F.count("*").alias("prefix_pages"), F.sum("is_collected").alias("prefix_collected")
    )
    best = sections.groupBy("host").agg(
        F.max_by(
            F.struct("prefix_pages", "prefix_collected"),
            F.struct(F.least(F.col("prefix_collected"), F.col("prefix_pages") - F.col("prefix_collected")), "section"),
        ).alias("best")
    )
    joined = hosts.join(best, "host").select("*", "best.prefix_pages", "best.prefix_collected").drop("best")
    if last is None:
        joined = joined.withColumn("prev_collected", F.lit(None).cast("long"))
    else:
        before = last.select("host", F.col("collected").alias("prev_collected"))
        joined = joined.join(before, "host", "left")

    def bound_of(collected: int, pages: int) -> float:
        return wilson_lower(collected, pages, cfg.z)

    def decide(pages: int, collected: int, prefix_pages: int, prefix_collected: int) -> bool:
        return is_candidate(DomainStats(pages, collected, prefix_pages, prefix_collected), cfg)

    bound = F.udf(bound_of, "double", useArrow=False)
    candidate = F.udf(decide, "boolean", useArrow=False)
    return (
        joined.withColumn("share", F.col("collected") / F.col("pages"))
        .withColumn("bound", bound("collected", "pages"))
        .withColumn("candidate", candidate("pages", "collected", "prefix_pages", "prefix_collected"))
        .withColumn("label", F.lit(None).cast("string"))
        .drop("prefix_pages", "prefix_collected")
        .orderBy(F.desc("collected"), F.desc("pages"), "host")
    )


def _first_section(url: str) -> str:
    prefixes = path_prefixes(url, max_depth=1)
    return prefixes[-1] if prefixes else ""


def _marked(scores: DataFrame, collected: DataFrame) -> DataFrame:
    marks = collected.select("page_id", F.lit(1).alias("is_collected"))
    return scores.join(marks, "page_id", "left").fillna(0, ["is_collected"])


_PREFIX_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("prefix", pa.string()), ("host", pa.string()), ("domain", pa.string()), ("depth", pa.int32()),
    ("pages", pa.int64()), ("collected", pa.int64()), ("uncollected", pa.int64()), ("share", pa.float64()),
    ("bound", pa.float64()), ("mean_score", pa.float64()), ("uncollected_tokens", pa.int64()),
    ("proposed", pa.bool_()), ("label", pa.string()), ("annotator", pa.string()),
]  # fmt: skip


def prefix_table(scores: DataFrame, collected: DataFrame, domains: DataFrame, cfg: PrefixConfig) -> DataFrame:
    """The path prefixes of every candidate host, with those proposed for a label marked.

    A host is one task's, and so it comes as its sections, however many pages it has.
    """
    schema = pa.schema(_PREFIX_COLUMNS)
    hosts = domains.where("candidate").select("host")
    rows = _marked(scores.join(hosts, "host", "left_semi"), collected)

    def of_host(table: pa.Table) -> pa.Table:
        host, domain = table.column("host")[0].as_py(), table.column("domain")[0].as_py()
        columns = [table.column(name).to_pylist() for name in Section._fields]
        sections = (Section(*row) for row in zip(*columns, strict=True))
        records = [
            {**asdict(p), "host": host, "domain": domain, "uncollected": p.pages - p.collected}
            for p in propose(sections, cfg)
        ]
        return pa.Table.from_pylist(records, schema=schema)

    table = host_sections(rows, cfg).groupBy("host").applyInArrow(of_host, from_arrow_schema(schema))
    return table.orderBy(F.desc("proposed"), F.desc("collected"), "prefix")


def host_sections(rows: DataFrame, cfg: PrefixConfig) -> DataFrame:
    """(host, domain, prefixes, pages, collected, score_sum, uncollected_tokens): the sections of every host.

    A folder of fewer than min_pages pages gets no row, unless its whole host is as small; its pages count with the
    folder above it. A host with a folder for every page, as blogs have, is so one section and not a million.

    rows: SCORES and is_collected.
    """
    names = ["host", "domain", "score", "n_tokens", "is_collected"]

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in stream:
            prefixes = [section_prefixes(url, cfg.max_depth) for url in batch.column("url").to_pylist()]
            columns = [pa.array(prefixes, pa.list_(pa.string())), *(batch.column(name) for name in names)]
            yield pa.RecordBatch.from_arrays(columns, ["prefixes", *names])

    told = "prefixes array<string>, host string, domain string, score double, n_tokens int, is_collected int"
    key = ["host", "domain", "prefixes"]
    sections = rows.select("url", *names).mapInArrow(batches, told).groupBy(*key).agg(
        F.count("*").alias("pages"),
        F.sum("is_collected").alias("collected"),
        F.sum(F.col("score").cast(f"decimal(38,{SCORE_DIGITS})")).alias("score_sum"),
        F.sum((1 - F.col("is_collected")) * F.col("n_tokens")).alias("uncollected_tokens"),
    )  # fmt: skip
    sums = ("pages", "collected", "score_sum", "uncollected_tokens")
    one_each = sections.select("*", F.posexplode("prefixes").alias("depth", "prefix"))
    below = F.sum("pages").over(Window.partitionBy("host", "prefix"))
    depth = F.when(below >= cfg.min_pages, F.col("depth") + 1)
    whole = one_each.withColumn("kept", depth).groupBy(*key, *sums).agg(F.max("kept").alias("kept"))
    kept = F.when(F.col("kept").isNull(), F.col("prefixes")).otherwise(F.slice("prefixes", 1, F.col("kept")))
    return whole.withColumn("prefixes", kept).groupBy(*key).agg(*(F.sum(name).alias(name) for name in sums))


def histogram(scores: DataFrame, collected: DataFrame) -> dict[str, list[Any]]:
    """Pages, tokens and collected pages over 60 equal bars of score: {edges: [61], pages: [60], ...}."""
    low, high = scores.agg(F.min("score"), F.max("score")).collect()[0]
    if low is None:
        return {"edges": [], "pages": [], "tokens": [], "collected": []}
    width = (high - low) / _HISTOGRAM_BARS or 1.0
    bar = F.least(F.floor((F.col("score") - low) / width), F.lit(_HISTOGRAM_BARS - 1)).cast("int")
    counted = _marked(scores, collected).groupBy(bar.alias("bar"))
    rows = counted.agg(
        F.count("*").alias("p"), F.sum("n_tokens").alias("t"), F.sum("is_collected").alias("c")
    ).collect()
    found = {row["bar"]: row for row in rows}
    bars = range(_HISTOGRAM_BARS)
    return {
        "edges": [round(low + i * width, 6) for i in range(_HISTOGRAM_BARS + 1)],
        "pages": [found[i]["p"] if i in found else 0 for i in bars],
        "tokens": [found[i]["t"] if i in found else 0 for i in bars],
        "collected": [found[i]["c"] if i in found else 0 for i in bars],
    }


def read_page_labels(session: SparkSession, path: Path) -> DataFrame:
    """(url_key, is_math) of a labelled-pages file, for cut=precision."""
    with open(path, encoding="utf-8") as file:
        rows = {canonical_url(row["url"]): row["label"] == "math" for row in map(json.loads, file)}
    return session.createDataFrame(sorted(rows.items()), "url_key string, is_math boolean")
