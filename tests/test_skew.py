"""Data that lie unevenly: a host with a third of all pages, a folder a page, a band of 100,000, one large file."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from mining.duplicates import band_pairs
from mining.ingest import IngestConfig
from mining.inputs import InputFile
from mining.minhash import DedupConfig
from mining.prefixes import PrefixConfig, propose, sections_of
from mining.rounds import RoundsConfig
from mining.shards import Ingest, Shard, shards_of
from mining.spark import cut, near_dups, recall
from mining.spark.ingest import ingest_files
from mining.spark.recall import SCORES, host_sections, prefix_table
from mining.spark.session import shuffle_partitions

CFG = PrefixConfig()
FOLDERS = ("", "math/", "math/algebra/", "news/", "shop/a/b/c/d/", "2019/05/", "p-12345678/")


def web_pages(num_hosts: int, per_host: int, *, seed: int) -> Iterator[tuple[str, str]]:
    """(host, url) of hosts with sections, dates, queries and, on every third, a folder for every page."""
    draw = random.Random(seed)
    for number in range(num_hosts):
        host = f"h{number}.example.org"
        for page in range(draw.randint(1, per_host)):
            if number % 3 == 0 and draw.random() < 0.6:
                yield host, f"https://{host}/slug-{draw.choice('abc')}{page}/"
            elif draw.random() < 0.2:
                yield host, f"https://{host}/forum.php?board={draw.randint(1, 4)}&topic={page}"
            else:
                yield host, f"https://{host}/{draw.choice(FOLDERS)}p{page}.html"


def scored(spark, pages: Iterator[tuple[str, str]], *, seed: int):
    """(scores, collected) frames of pages, and the same as rows."""
    draw = random.Random(seed)
    rows = []
    for number, (host, url) in enumerate(pages):
        is_math = "math" in url or draw.random() < 0.2
        rows.append((f"{number:08d}", url, host, host, "en", draw.randint(1, 500), draw.gauss(2 if is_math else -2, 1)))
    collected = [(row[0],) for row in rows if row[-1] > 0]
    return spark.createDataFrame(rows, SCORES), spark.createDataFrame(collected, "page_id string"), rows


@pytest.mark.spark
def test_prefixes_from_sections_are_those_of_all_pages_of_each_host(spark) -> None:
    scores, collected, rows = scored(spark, web_pages(40, 300, seed=3), seed=4)
    domains = spark.createDataFrame(
        [(host, True) for host in {row[2] for row in rows}], "host string, candidate boolean"
    )
    found = {
        (row["host"], row["prefix"]): (row["pages"], row["collected"], row["uncollected_tokens"], row["proposed"],
                                       row["bound"], row["mean_score"])
        for row in prefix_table(scores, collected, domains, CFG).collect()
    }  # fmt: skip
    expected = {}
    for host, group in itertools.groupby(sorted(rows, key=lambda row: row[2]), key=lambda row: row[2]):
        pages = [(row[1], row[6] > 0, row[6], row[5]) for row in group]
        for one in propose(sections_of(pages, CFG), CFG):
            expected[host, one.prefix] = (
                one.pages, one.collected, one.uncollected_tokens, one.proposed, one.bound, one.mean_score
            )  # fmt: skip
    assert len(expected) > 60  # hosts, and folders of theirs
    assert found == expected


@pytest.mark.spark
def test_a_host_with_a_folder_for_every_page_is_a_few_sections(spark) -> None:
    blog = (("blog.example.org", f"https://blog.example.org/post-{number:x}/") for number in range(30_000))
    others = web_pages(60, 2000, seed=5)
    scores, collected, rows = scored(spark, itertools.chain(blog, others), seed=6)
    assert 30_000 / len(rows) > 0.3  # the share of all pages that one host has
    marked = scores.join(collected.selectExpr("page_id", "1 as is_collected"), "page_id", "left").fillna(0)
    sections = host_sections(marked, CFG)
    per_host = {row["host"]: row["count"] for row in sections.groupBy("host").count().collect()}
    assert per_host["blog.example.org"] == 1
    assert max(per_host.values()) < 20
    assert sections.selectExpr("sum(pages)").collect()[0][0] == len(rows)


@pytest.mark.parametrize("rows_a_block", [1, 7, 50_000])
def test_pairs_of_a_sorted_stream_are_those_of_all_rows_at_once(
    monkeypatch: pytest.MonkeyPatch, rows_a_block: int
) -> None:
    monkeypatch.setattr(near_dups, "_ROWS_A_BLOCK", rows_a_block)
    draw = np.random.default_rng(rows_a_block)
    for _ in range(100):
        sizes = draw.choice([1, 2, 11, 12, 13, 14, 40, 100], size=draw.integers(0, 12))
        bands = np.repeat(np.sort(draw.integers(-99, 99, size=len(sizes))), sizes)  # some bands meet
        nodes = draw.permutation(len(bands))
        order = np.lexsort((nodes, bands))
        rows = pa.table({"band": bands[order], "node": nodes[order]})
        batches = rows.to_batches(max_chunksize=int(draw.integers(1, 30)))
        found = [tuple(pair.values()) for batch in near_dups._pair_batches(iter(batches)) for pair in batch.to_pylist()]
        assert sorted(found) == sorted(zip(*(part.tolist() for part in band_pairs(bands, nodes)), strict=True))


@pytest.mark.spark
def test_a_band_of_a_hundred_thousand_pages_gives_linear_pairs_on_spark(spark) -> None:
    count, first_new = 100_000, 1000
    nodes = spark.range(count).selectExpr("id as node", "'' as scope", "array(7L, id + 100L, id + 101L) as bands")
    search = SimpleNamespace(cfg=DedupConfig(), first_new=first_new)
    pairs = near_dups._Search._candidates(search, nodes)
    a, b = (np.array(column) for column in zip(*pairs.collect(), strict=True))
    assert (a < b).all() and (b >= first_new).all()
    # With the best of the band and with the one before: two pairs a page, equal ones once; the chain's bands add none.
    assert len(b) == 2 * (count - first_new)
    assert set(b[a == 0]) == set(range(first_new, count))


@pytest.mark.spark
@pytest.mark.parametrize("budget", [1, 2_990, 3_000, 3_005, 40_000, 49_999])
def test_a_budget_that_ends_among_pages_of_one_score_collects_what_a_sort_would(
    spark, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    # 300 pages of 10 tokens above the cut, 4,400 of one score and varied tokens at it, 300 below.
    draw = random.Random(9)
    ids = [f"{draw.getrandbits(128):032x}" for _ in range(5000)]
    pages = [(5.0 + n, ids[n], 10) for n in range(300)] + [(1.0, ids[n], n % 13 + 4) for n in range(300, 4700)]
    pages += [(-1.0 - n, ids[n], 10) for n in range(4700, 5000)]
    rows = [(page_id, "", "", "", "en", tokens, score) for score, page_id, tokens in pages]
    monkeypatch.setattr(cut, "_EDGE_PAGES", 50)
    monkeypatch.setattr(cut, "_ID_DIGITS", 1)
    scores = spark.createDataFrame(rows, SCORES)
    last = recall.choose_cut(scores, RoundsConfig(cut="token_budget", token_budget=budget), None)
    found = {row["page_id"] for row in recall.above_cut(scores, last).collect()}
    expected, taken = set(), 0
    for _, page_id, tokens in sorted(pages, key=lambda page: (-page[0], page[1])):
        taken += tokens
        if taken > budget:
            break
        expected.add(page_id)
    assert found == expected


@pytest.mark.spark
def test_all_files_of_an_ingest_are_tasks_of_one_job(spark, warc_parts: Path, tmp_path: Path) -> None:
    files = [InputFile(str(path), path.stat().st_size, "") for path in sorted(warc_parts.glob("*.gz"))]
    cfg = IngestConfig()
    ingest, shards = Ingest(tmp_path, cfg, "hash"), shards_of(files, cfg)
    ingest.prepare(shards)
    tracker = spark.sparkContext.statusTracker()
    before = set(tracker.getJobIdsForGroup(None))
    counts = list(ingest_files(spark, ingest, shards))
    # A job a file would keep two cores busy, whatever the cluster.
    (job,) = set(tracker.getJobIdsForGroup(None)) - before
    (stage,) = tracker.getJobInfo(job).stageIds
    assert tracker.getStageInfo(stage).numTasks == len(shards) == 4
    assert {count["warc_file"] for count in counts} == {shard.warc_file for shard in shards}
    assert ingest.publish(shards)["kept"] == sum(count["pages"] for count in counts)


def test_the_largest_file_is_read_first() -> None:
    sizes = {"a": 10, "b": 1_000_000_000, "c": 10, "d": 70}
    files = [InputFile(f"/web/{name}.warc.gz", size, "") for name, size in sizes.items()]
    shards: list[Shard] = shards_of(files, IngestConfig())
    assert [shard.warc_file for shard in shards] == ["b.warc.gz", "d.warc.gz", "a.warc.gz", "c.warc.gz"]
    assert [shard.uri for shard in shards] == [f"/web/{shard.warc_file}" for shard in shards]


def test_shuffle_partitions_follow_the_pages_and_never_fall_below_the_scale() -> None:
    # 10 GB of packed pages are 20 GB shuffled: 299 partitions of 64 MiB.
    assert shuffle_partitions("node", 10_000_000_000) == 299
    assert shuffle_partitions("cluster", 10_000_000_000) == 2000
    assert [shuffle_partitions("toy", size) for size in (0, 1_000_000)] == [4, 4]
    assert shuffle_partitions("cluster", 10**15) == 20_000
