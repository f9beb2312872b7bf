"""Recall past the local crawl on a crawl served over HTTP, and a corpus extracted again from its provenance."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from crawl_server import NEW, OLD, Archive, build_archive, serving
from run_tables import CONFIG, REPOSITORY, SMALL, environment, mine, run_hashes, table_hash

from mining.prefixes import label_for, label_index, read_labels
from mining.url import canonical_url
from mining.warc import read_responses

pytestmark = pytest.mark.spark


@dataclass(frozen=True)
class Refetched:
    """A run on the old crawl, one more round with what the new crawl has, and how that was called."""

    run_dir: Path
    archive: Archive
    mine_line: list[str]
    refetch_line: list[str]
    limits: Path

    def manifest(self) -> dict:
        return json.loads((self.run_dir / "manifest.json").read_text())


def start(entry: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"pipelines/{entry}.py", *CONFIG, *SMALL, *args],
        cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def half_of(web: Path, target: Path) -> Path:
    """The first half of a WARC file's records."""
    offsets = [record.warc_offset for record in read_responses(str(web), max_payload_bytes=4_000_000)]
    target.write_bytes(web.read_bytes()[: offsets[len(offsets) // 2]])
    return target


@pytest.fixture(scope="module")
def refetched(mini_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Refetched:
    folder = tmp_path_factory.mktemp("refetch")
    whole = mini_web / "web" / "part-00000.warc.gz"
    archive = build_archive(folder / "archive", {OLD: [half_of(whole, folder / "half.warc.gz")], NEW: [whole]})
    run_dir = folder / "run"
    warcs = ["--ingest.warcs", json.dumps([f"{archive.root}/crawl-data/{OLD}/**/*.warc.gz"])]
    mine_line = ["--data_dir", str(mini_web), "--run_dir", str(run_dir), *warcs]
    result = mine(*mine_line)
    assert result.returncode == 0, result.stderr[-3000:]
    with serving(archive) as server:
        line = [
            "--data_dir", str(mini_web), "--run_dir", str(run_dir), "--crawls", json.dumps([NEW]),
            "--commoncrawl.source", server.url, "--commoncrawl.index_server", server.url,
            "--commoncrawl.user_agent", "motherlode-test (test@example.org)", "--commoncrawl.data_rate", "500",
            "--commoncrawl.limits_dir", str(folder / "limits"),
        ]  # fmt: skip
        plan = start("refetch", *line, "--dry_run", "true")
        assert plan.returncode == 0 and " records, " in plan.stdout, plan.stderr[-3000:]
        assert not server.data_requests(), "a dry run asks for no record"
        result = start("refetch", *line)
        assert result.returncode == 0, result.stderr[-3000:]
    return Refetched(run_dir, archive, mine_line, line, folder / "limits")


def test_what_is_labelled_and_not_held_is_wanted_and_nothing_else(refetched: Refetched) -> None:
    labels = label_index(read_labels((refetched.run_dir / "rounds" / "02" / "labels.csv").read_text()))
    held = {canonical_url(page["url"]) for page in refetched.archive.pages(OLD)}
    expected = set()
    for page in refetched.archive.pages(NEW):
        label = label_for(page["url"], labels)
        if label and label.label == "math" and canonical_url(page["url"]) not in held:
            expected.add(canonical_url(page["url"]))
    wanted = pq.read_table(refetched.run_dir / "additions" / "01" / "missing.parquet").column("url").to_pylist()
    assert {canonical_url(url) for url in wanted} == expected and len(wanted) == len(expected) > 20
    (entry,) = refetched.manifest()["additions"]
    assert entry["after_round"] == 2
    assert entry["records"] == {"wanted": len(wanted), "fetched": len(wanted), "absent": 0, "failed": 0}


def test_added_pages_equal_those_of_the_whole_crawl_row_for_row(refetched: Refetched, tmp_path: Path) -> None:
    everything = ["--ingest.warcs", json.dumps([f"{refetched.archive.root}/crawl-data/{NEW}/**/*.warc.gz"])]
    result = mine(*refetched.mine_line, *everything, "--run_dir", str(tmp_path / "whole"), "--stages", "ingest")
    assert result.returncode == 0, result.stderr[-3000:]
    added = f"{refetched.run_dir}/additions/01/pages/*.parquet"
    pages = f"{tmp_path}/whole/pages/*.parquet"
    both = duckdb.sql(
        f"""SELECT count(*) FROM (SELECT * FROM read_parquet('{added}')
            INTERSECT ALL SELECT * FROM read_parquet('{pages}'))"""
    ).fetchall()[0][0]
    assert both == duckdb.sql(f"SELECT count(*) FROM read_parquet('{added}')").fetchall()[0][0] > 20


def test_the_round_after_it_collects_added_pages_and_so_does_the_corpus(refetched: Refetched) -> None:
    stages = refetched.manifest()["stages"]
    assert [name for name in stages if name.startswith("round-")] == ["round-01", "round-02", "round-03"]
    rows = duckdb.sql(f"SELECT first_round, crawl FROM read_parquet('{refetched.run_dir}/corpus/*.parquet')").fetchall()
    assert {crawl for first, crawl in rows if first < 3} == {OLD}
    assert (3, NEW) in rows and sum(crawl == NEW for _, crawl in rows) > 20


def test_inspection_knows_the_added_pages(refetched: Refetched) -> None:
    corpus = f"{refetched.run_dir}/corpus/*.parquet"
    (url,) = duckdb.sql(f"SELECT min(url) FROM read_parquet('{corpus}') WHERE crawl = '{NEW}'").fetchall()[0]
    motherlode = [sys.executable, "-m", "mining.inspect.cli"]
    shown = subprocess.run(
        [*motherlode, "explain", str(refetched.run_dir), url], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert shown.returncode == 0 and NEW in shown.stdout and "corpus" in shown.stdout
    report = refetched.run_dir / "report.html"
    made = subprocess.run([*motherlode, "report", str(refetched.run_dir)], cwd=REPOSITORY, capture_output=True)
    assert made.returncode == 0 and "addition-01" in report.read_text()


def test_the_same_lines_again_change_nothing(refetched: Refetched) -> None:
    before = run_hashes(refetched.run_dir)
    with serving(refetched.archive) as server:
        moved = ["--commoncrawl.source", server.url, "--commoncrawl.index_server", server.url]
        again = start("refetch", *refetched.refetch_line, *moved)
        assert again.returncode == 0 and "nothing new to fetch" in again.stderr, again.stderr[-3000:]
        assert not server.data_requests()
    assert mine(*refetched.mine_line).returncode == 0
    assert run_hashes(refetched.run_dir) == before
    assert len(refetched.manifest()["additions"]) == 1


def test_a_corpus_extracted_again_from_its_provenance_is_the_same(refetched: Refetched, tmp_path: Path) -> None:
    line = [
        "--data_dir",
        refetched.mine_line[1],
        "--run_dir",
        str(tmp_path / "again"),
        "--corpus",
        str(refetched.run_dir),
    ]
    result = start("reextract", *line, "--commoncrawl.source", str(refetched.archive.root))
    assert result.returncode == 0, result.stderr[-3000:]
    assert table_hash(tmp_path / "again" / "corpus") == table_hash(refetched.run_dir / "corpus")


def test_wrong_settings_are_refused_before_anything_is_asked(refetched: Refetched, tmp_path: Path) -> None:
    for more, words in (
        (["--crawls", "[]"], "name the crawls to search"),
        (["--run_dir", str(tmp_path / "empty")], "no round is finished"),
        (["--dedup.scope", "crawl"], "mine with scope all"),
        (["--crawl", "[X]"], "did you mean 'crawls'"),
    ):
        result = start("refetch", *refetched.refetch_line, *more)
        assert result.returncode == 2 and words in result.stderr, result.stderr
    result = start("reextract", "--corpus", str(tmp_path), "--run_dir", str(tmp_path / "x"))
    assert result.returncode == 2 and "no corpus/*.parquet" in result.stderr
