"""The last stages: decontamination with evidence, and the corpus with its card."""

import functools
import io
import json
import operator
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from mining.config import ExportConfig
from mining.decontaminate import (
    BenchmarkIndex,
    BenchmarkItem,
    DecontaminateConfig,
    Match,
    benchmark_items,
    build,
    clean,
    find,
)
from mining.errors import ConfigError
from mining.inputs import InputFile
from mining.page import estimate_tokens
from mining.spark.tables import read_table
from mining.store import Store, code_version, fresh_partial, publish, remove, write_json, write_text

_EVIDENCE = (
    "page_id string, benchmark string, item string, gram string, place int, end int, units int, rule string, "
    "action string"
)
_FOUND = f"{_EVIDENCE}, host string, action_without_shorts string"
_CORPUS = (
    "page_id string, url string, host string, domain string, language string, text string, n_tokens int, "
    "score double, first_round int, crawl string, warc_file string, warc_offset bigint, warc_length bigint, "
    "payload_digest string, formulas_kept int"
)


def read_benchmarks(files: Sequence[InputFile]) -> Iterator[BenchmarkItem]:
    """The texts of benchmark files; a benchmark is named by its file. ConfigError with file and line."""
    for file in files:
        name = posixpath.basename(file.uri).split(".jsonl")[0]
        with fsspec.open(file.uri, "rt", compression="infer", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ConfigError(f"{file.uri}, line {number}: not JSON ({error})") from None
                yield from benchmark_items(row, name)


def decontaminate(
    session: SparkSession,
    pages: DataFrame,
    *,
    benchmarks: Sequence[InputFile],
    collected: Path,
    table: Path,
    cfg: DecontaminateConfig,
) -> dict[str, Any]:
    """Write contaminated/: one row of evidence a match in the collected pages. Returns the stage's facts.

    contaminated/_benchmarks.json says what was looked for, what was not, and which phrases are common.
    """
    index = build(read_benchmarks(benchmarks), cfg)
    shared = session.sparkContext.broadcast(index)
    wanted = pages.join(read_table(session, collected).select("page_id"), "page_id", "left_semi")

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        names = [part.split()[0] for part in _FOUND.split(", ")]
        kinds = [pa.int32() if part.endswith(" int") else pa.string() for part in _FOUND.split(", ")]
        for batch in stream:
            rows: list[tuple[Any, ...]] = []
            for page in batch.to_pylist():
                rows += evidence(page["page_id"], page["host"], page["text"], shared.value)
            columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
            yield pa.RecordBatch.from_arrays([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], names)

    found = wanted.select("page_id", "host", "text").mapInArrow(batches, _FOUND).persist()
    partial = fresh_partial(table)
    try:
        common = _common_shorts(found, cfg.max_hosts_per_short)
        rows = _without_common(found, common).orderBy("page_id", "place", "end", "benchmark", "item")
        rows.write.parquet(str(partial))
        shorts = [{"benchmark": benchmark, "item": item, "hosts": hosts} for benchmark, item, hosts in common]
        write_json(partial / "_benchmarks.json", {**index.report(), "common_short_texts": shorts})
        publish(partial, table)
    finally:
        found.unpersist()
        remove(partial)
    counts = _counts(read_table(session, table, _EVIDENCE))
    total = wanted.count()
    return {
        "in_": total,
        "kept": total - counts["pages_with_matches"],
        **counts,
        "items": len(index.items),
        "texts_not_sought": len(index.ignored),
        "short_answers_not_sought": sum(index.short_answers.values()),
        "common_short_texts": len(common),
        "dropped": {},
    }


def evidence(page_id: str, host: str, text: str, index: BenchmarkIndex) -> list[tuple[Any, ...]]:
    """The matches of one page as rows of `_FOUND`, with what the rule does about them."""
    matches = find(text, index)
    if not matches:
        return []
    action = clean(text, matches, index.cfg).action
    without = clean(text, [match for match in matches if match.rule == "ten_gram"], index.cfg).action
    return [
        (page_id, m.benchmark, m.item, m.gram, m.place, m.end, m.units, m.rule, action, host, without) for m in matches
    ]


def _common_shorts(found: DataFrame, max_hosts: int) -> list[tuple[str, str, int]]:
    """(benchmark, item, hosts) of the short texts that are on more than `max_hosts` hosts; none for 0."""
    if not max_hosts:
        return []
    hosts = found.where("rule = 'short_exact'").groupBy("benchmark", "item").agg(F.countDistinct("host").alias("hosts"))
    rows = hosts.where(F.col("hosts") > max_hosts).orderBy(F.desc("hosts"), "benchmark", "item").collect()
    return [(row["benchmark"], row["item"], row["hosts"]) for row in rows]


def _without_common(found: DataFrame, common: list[tuple[str, str, int]]) -> DataFrame:
    """The evidence, where common short texts are `short_common` and nothing is done for them."""
    names = [part.split()[0] for part in _EVIDENCE.split(", ")]
    if not common:
        return found.select(*names)
    is_item = [(F.col("benchmark") == benchmark) & (F.col("item") == item) for benchmark, item, _ in common]
    is_common = (F.col("rule") == "short_exact") & functools.reduce(operator.or_, is_item)
    has_short = F.max(((F.col("rule") == "short_exact") & ~is_common).cast("int")).over(Window.partitionBy("page_id"))
    action = F.when(has_short == 1, F.col("action")).otherwise(F.col("action_without_shorts"))
    return (
        found.withColumn("action", F.when(is_common, F.lit("none")).otherwise(action))
        .withColumn("rule", F.when(is_common, F.lit("short_common")).otherwise(F.col("rule")))
        .select(*names)
    )


def _counts(evidence_rows: DataFrame) -> dict[str, int]:
    """Pages, items and matches for the manifest; common short texts count as matches only."""
    acted = evidence_rows.where("action <> 'none'")
    row = acted.agg(
        F.countDistinct("page_id").alias("pages_with_matches"),
        F.countDistinct("benchmark", "item").alias("items_matched"),
        F.coalesce(F.max("units"), F.lit(0)).alias("longest_run_units"),
    ).collect()[0]
    return {**row.asDict(), "matches": evidence_rows.count()}


def export(
    session: SparkSession,
    pages: DataFrame,
    *,
    store: Store,
    last_round: int,
    rule: DecontaminateConfig,
    cfg: ExportConfig,
) -> dict[str, Any]:
    """Write corpus/ (Parquet, JSONL.zst on request, README.md). Returns the stage's facts."""
    final = read_table(session, store.round_dir(last_round) / "collected").select("page_id", "score")
    acted = read_table(session, store.path / "contaminated", _EVIDENCE).where("action <> 'none'")
    spans = acted.groupBy("page_id")
    rows = (
        pages.join(final, "page_id")
        .join(_first_rounds(session, store, last_round), "page_id")
        .join(spans.agg(F.collect_list(F.struct("place", "end", "rule")).alias("spans")), "page_id", "left")
    )
    table = store.path / "corpus"
    partial = fresh_partial(table)
    names = [part.split()[0] for part in _CORPUS.split(", ")]

    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in stream:
            yield _cleaned(batch, names, rule)

    cleaned = rows.select(*names, "spans").mapInArrow(batches, _CORPUS)
    cleaned.write.parquet(str(partial))
    facts = _facts(session.read.schema(_CORPUS).parquet(str(partial)), total=final.count())
    if cfg.jsonl:
        parts = [str(part) for part in sorted(partial.glob("*.parquet"))]
        session.sparkContext.parallelize(parts, max(1, len(parts))).foreach(write_jsonl)
    write_text(partial / "README.md", card(facts, store))
    write_json(partial / "facts.json", facts)
    publish(partial, table)
    return {
        "in_": facts["collected"],
        "kept": facts["pages"],
        "tokens": facts["tokens"],
        "dropped": {"contaminated": facts["collected"] - facts["pages"]} if facts["collected"] > facts["pages"] else {},
    }


def _cleaned(batch: pa.RecordBatch, names: list[str], rule: DecontaminateConfig) -> pa.RecordBatch:
    """The corpus rows of a batch: contaminated segments cut out, contaminated pages gone."""
    spans = batch.column("spans").to_pylist()
    columns = {name: batch.column(name) for name in names}
    if any(spans):
        texts = batch.column("text").to_pylist()
        tokens = batch.column("n_tokens").to_pylist()
        for number, found in enumerate(spans):
            if found:
                matches = [Match("", "", "", one["place"], one["end"], 0, one["rule"]) for one in found]
                texts[number] = clean(texts[number], matches, rule).text
                tokens[number] = estimate_tokens(texts[number] or "")
        columns["text"], columns["n_tokens"] = pa.array(texts, pa.string()), pa.array(tokens, pa.int32())
    out = pa.RecordBatch.from_arrays(list(columns.values()), names)
    return out.filter(out.column("text").is_valid())


def _first_rounds(session: SparkSession, store: Store, last_round: int) -> DataFrame:
    """(page_id, first_round): the first round that collected each page."""
    tables = [
        read_table(session, store.round_dir(number) / "collected").select("page_id", F.lit(number).alias("number"))
        for number in range(1, last_round + 1)
    ]
    union = tables[0]
    for one in tables[1:]:
        union = union.union(one)
    return union.groupBy("page_id").agg(F.min("number").cast("int").alias("first_round"))


def write_jsonl(part: str) -> None:
    """A Parquet part of the corpus again as .jsonl.zst beside it."""
    source = pq.ParquetFile(part)
    target = Path(part).with_suffix("").with_suffix("")
    with open(f"{target}.jsonl.zst", "wb") as raw, zstandard.ZstdCompressor(level=6).stream_writer(raw) as packed:
        text = io.TextIOWrapper(packed, encoding="utf-8")
        for batch in source.iter_batches():
            for row in batch.to_pylist():
                text.write(json.dumps(row, ensure_ascii=False) + "\n")
        text.flush()


def _facts(corpus: DataFrame, *, total: int) -> dict[str, Any]:
    sums = corpus.agg(
        F.count("*").alias("pages"),
        F.coalesce(F.sum("n_tokens"), F.lit(0)).alias("tokens"),
        F.coalesce(F.sum("formulas_kept"), F.lit(0)).alias("formulas"),
        F.countDistinct("host").alias("hosts"),
    ).collect()[0]
    tokens = F.sum("n_tokens").alias("tokens")
    languages = corpus.groupBy("language").agg(F.count("*").alias("pages"), tokens).collect()
    hosts = corpus.groupBy("host").agg(F.count("*").alias("pages"), tokens).orderBy(F.desc("tokens"), "host").limit(20)
    rounds = corpus.groupBy("first_round").agg(F.count("*").alias("pages"), tokens).orderBy("first_round").collect()
    return {
        "collected": total,
        **sums.asDict(),
        "languages": [row.asDict() for row in sorted(languages, key=lambda row: (-row["pages"], row["language"]))],
        "top_hosts": [row.asDict() for row in hosts.collect()],
        "first_rounds": [row.asDict() for row in rounds],
    }


def card(facts: dict[str, Any], store: Store) -> str:
    """The corpus card: what it holds, how it was made, what its columns mean."""
    config = store.manifest["config"]
    decontaminated = store.stage("decontaminate") or {}

    def table(head: tuple[str, ...], rows: list[dict[str, Any]], keys: tuple[str, ...]) -> str:
        lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
        return "\n".join(lines + [f"| {' | '.join(_shown(row[key]) for key in keys)} |" for row in rows])

    rule = config["decontaminate"]["rule"]
    return f"""# Corpus of {store.path.name}

{facts["pages"]:,} pages of {facts["hosts"]:,} hosts, {facts["tokens"]:,} tokens (estimated),
{facts["formulas"]:,} formulas as LaTeX. Made by `pipelines/mine.py` of Motherlode {code_version()} on
{store.manifest["created"][:10]} (config hash {store.manifest["config_hash"]}); the whole configuration is in
`../manifest.json`.

Of {facts["collected"]:,} pages collected in the last round, {decontaminated.get("pages_with_matches", 0):,} matched
one of {decontaminated.get("items", 0):,} benchmark texts ({rule["ngram"]}-gram exact, shorter texts as a whole; the
{rule["remove"]} goes): evidence in `../contaminated/`. Near-duplicates at Jaccard {config["dedup"]["min_jaccard"]}
are removed: `../duplicates/` names the page kept for each.

## Languages

{table(("language", "pages", "tokens"), facts["languages"], ("language", "pages", "tokens"))}

## First collected in round

{table(("round", "pages", "tokens"), facts["first_rounds"], ("first_round", "pages", "tokens"))}

## Largest hosts

{table(("host", "pages", "tokens"), facts["top_hosts"], ("host", "pages", "tokens"))}

## Columns

`text` holds formulas as LaTeX between `$` or `$$`. `score` is the last classifier's logit of P(math). `crawl`,
`warc_file`, `warc_offset`, `warc_length` and `payload_digest` find the bytes that a page was made from.
"""


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
