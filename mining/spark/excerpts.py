"""A few pages of each prefix, cut short, for an annotator to look at."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from mining.llm import Excerpt
from mining.prefixes import Label, label_for, label_index


def page_excerpts(
    pages: DataFrame,
    scores: DataFrame,
    collected: DataFrame,
    *,
    hosts: Sequence[str],
    rows: Sequence[str],
    wanted: Sequence[str],
    per_prefix: int,
    max_chars: int,
) -> dict[str, list[Excerpt]]:
    """Collected and other pages of each `wanted` prefix, `per_prefix` of either at most, the same on every call.

    hosts: those that the wanted prefixes are of; rows: all prefixes that part their pages, so that a page counts for
    the longest one over it. Addresses are looked through where they lie; only the drawn pages' beginnings reach the
    driver, `max_chars` each.
    """
    if not wanted:
        return {}
    session = pages.sparkSession
    asked_hosts = F.broadcast(session.createDataFrame([(host,) for host in sorted(set(hosts))], "host string"))
    index = label_index(Label(prefix, "row") for prefix in rows)
    asked = frozenset(wanted)

    def governed(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in stream:
            above = [label_for(url, index) for url in batch.column("url").to_pylist()]
            found = [label.prefix if label and label.prefix in asked else None for label in above]
            out = pa.RecordBatch.from_arrays(
                [batch.column("page_id"), pa.array(found, pa.string()), batch.column("is_collected")],
                ["page_id", "prefix", "is_collected"],
            )
            yield out.filter(out.column("prefix").is_valid())

    marks = collected.select("page_id", F.lit(True).alias("is_collected"))
    marked = (
        scores.join(asked_hosts, "host", "left_semi").join(marks, "page_id", "left").fillna(False, ["is_collected"])
    )
    found = marked.select("page_id", "url", "is_collected").mapInArrow(
        governed, "page_id string, prefix string, is_collected boolean"
    )
    order = Window.partitionBy("prefix", "is_collected").orderBy(F.xxhash64("page_id"), "page_id")
    drawn = found.withColumn("place", F.row_number().over(order)).where(F.col("place") <= per_prefix)
    beginning = F.substring("text", 1, max_chars).alias("text")
    shown = pages.select("page_id", "url", "title", beginning).join(F.broadcast(drawn), "page_id")
    excerpts: dict[str, list[Excerpt]] = {}
    for row in sorted(shown.collect(), key=lambda row: (row["prefix"], not row["is_collected"], row["place"])):
        page = Excerpt(row["url"] or "", row["title"] or "", row["text"] or "", row["is_collected"])
        excerpts.setdefault(row["prefix"], []).append(page)
    return excerpts
