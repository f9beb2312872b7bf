"""The main job as its user runs it: spark-submit on the mini web, and every way to hold it wrong."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from run_tables import environment, mine, run_hashes

from mining.inspect.label_log import PREFIXES, Act, Book


def rows(table: Path, columns: str) -> list[tuple]:
    return sorted(duckdb.sql(f"select {columns} from read_parquet('{table}/*.parquet')").fetchall())


@pytest.fixture
def web(mini_web: Path) -> Path:
    return mini_web


@pytest.fixture
def done(finished_run: Path) -> Path:
    return finished_run


@pytest.mark.spark
def test_every_table_of_a_run_directory_is_there_and_consistent(done: Path) -> None:
    stages = json.loads((done / "manifest.json").read_text())["stages"]
    assert list(stages) == ["ingest", "dedup", "round-01", "round-02", "decontaminate", "export"]
    ids = {row[0] for row in rows(done / "pages", "page_id")}
    assert len(ids) == stages["ingest"]["kept"]
    removed = dict(rows(done / "duplicates", "page_id, kept_id"))
    assert removed and set(removed) <= ids
    assert not set(removed.values()) & set(removed)  # what is kept is never removed
    collected = {row[0] for row in rows(done / "rounds" / "02" / "collected", "page_id")}
    assert collected <= ids - set(removed)
    corpus = {row[0] for row in rows(done / "corpus", "page_id")}
    assert corpus and corpus <= collected
    assert stages["ingest"]["in"] == len(ids) + sum(stages["ingest"]["dropped"].values())
    assert len(rows(done / "dropped", "reason")) == sum(stages["ingest"]["dropped"].values())
    assert "# Corpus of" in (done / "corpus" / "README.md").read_text()
    assert not list(done.rglob("*.partial"))


@pytest.mark.spark
def test_provenance_finds_the_bytes_of_every_corpus_page(done: Path, web: Path) -> None:
    for url, warc_file, offset, length in rows(done / "corpus", "url, warc_file, warc_offset, warc_length")[:40]:
        with open(web / "web" / warc_file, "rb") as file:
            file.seek(offset)
            record = gzip.decompress(file.read(length))
        assert record.startswith(b"WARC/1") and url.encode() in record[:1000]


@pytest.mark.spark
def test_contaminated_pages_leave_evidence_and_no_matching_text(done: Path) -> None:
    evidence = rows(done / "contaminated", "page_id, benchmark, item, gram, rule, action")
    assert {row[4] for row in evidence} <= {"ten_gram", "short_exact"}
    assert any(row[1].startswith("toy-arith") for row in evidence)
    texts = dict(rows(done / "corpus", "page_id, text"))
    for page_id, *_, action in evidence:
        assert action == "segment" or page_id not in texts


@pytest.mark.spark
def test_jsonl_holds_the_rows_of_the_parquet(done: Path) -> None:
    import zstandard

    found = []
    for path in (done / "corpus").glob("*.jsonl.zst"):
        with open(path, "rb") as raw:
            text = zstandard.ZstdDecompressor().stream_reader(raw).read().decode()
        found += [(row["page_id"], row["text"]) for row in map(json.loads, text.splitlines())]
    assert sorted(found) == rows(done / "corpus", "page_id, text")


@pytest.mark.spark
def test_the_same_line_again_does_nothing_and_a_changed_config_is_refused(done: Path, web: Path) -> None:
    args = ["--data_dir", str(web), "--run_dir", str(done)]
    before = (done / "manifest.json").read_text()
    again = mine(*args)
    assert again.returncode == 0
    assert again.stderr.count("done before, skipped") == 6
    assert json.loads((done / "manifest.json").read_text())["stages"] == json.loads(before)["stages"]
    changed = mine(*args, "--dedup.min_jaccard", "0.9")
    assert changed.returncode == 2
    assert "dedup.min_jaccard: " in changed.stderr and "-> 0.9" in changed.stderr and "--rerun" in changed.stderr
    assert "Traceback" not in changed.stderr


@pytest.mark.spark
def test_a_changed_config_makes_again_only_what_depends_on_it(done: Path, web: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "changed"
    shutil.copytree(done, run_dir)
    args = ["--data_dir", str(web), "--run_dir", str(run_dir), "--rerun", "true"]
    # Rows proposed for labels do not change at this depth, so neither do the labels, nor what follows from them.
    prefixes = mine(*args, "--prefixes.max_rows", "999", "--export.jsonl", "false")
    assert prefixes.returncode == 0, prefixes.stderr[-2000:]
    assert "ingest: done before" in prefixes.stderr and "dedup: done before" in prefixes.stderr
    assert "round-01: done in" in prefixes.stderr and "aggregate took" in prefixes.stderr
    assert not any(f"{step} took" in prefixes.stderr for step in ("seed", "train", "score", "cut"))
    assert "decontaminate: done before" in prefixes.stderr and "export: done in" in prefixes.stderr
    assert not list((run_dir / "corpus").glob("*.jsonl.zst"))
    assert run_hashes(run_dir) == run_hashes(done)
    again = mine(*args[:-2], "--prefixes.max_rows", "999", "--export.jsonl", "false")  # no --rerun needed any more
    assert again.returncode == 0 and again.stderr.count("done before, skipped") == 6
    shown = subprocess.run(
        [str(Path(sys.executable).parent / "motherlode"), "rounds", str(run_dir)],
        env=environment(COLUMNS="160"), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    stages = json.loads((run_dir / "manifest.json").read_text())["stages"]
    for name, stage in stages.items():
        assert any(line.startswith(name) and stage["config_hash"][:8] in line for line in shown.splitlines()), name


@pytest.mark.spark
def test_labels_wanted_from_a_person_stop_with_3_the_same_line_goes_on_and_undo_counts_from_then_on(
    done: Path, web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "labelled"
    shutil.copytree(done, run_dir)
    for number in ("01", "02"):
        shutil.rmtree(run_dir / "rounds" / number)
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["stages"] = {name: manifest["stages"][name] for name in ("ingest", "dedup")}
    manifest["config"]["labels"]["annotator"] = "file"
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    args = ["--data_dir", str(web), "--run_dir", str(run_dir), "--labels.annotator", "file"]
    stopped = mine(*args, "--stages", "rounds")
    assert stopped.returncode == 3, stopped.stderr[-2000:]
    command = (
        next(line for line in stopped.stderr.splitlines() if "label them:" in line).split("label them:")[1].split()
    )
    labelled = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]], env=environment(), capture_output=True, text=True
    )
    assert labelled.returncode == 0, labelled.stderr
    resumed = mine(*args, "--stages", "rounds")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    second = json.loads((run_dir / "rounds" / "02" / "metrics.json").read_text())
    assert second["positives_by_source"].get("prefix", 0) > 0

    recorded = {file: file.read_text() for file in (run_dir / "rounds").glob("0[12]/labels*.csv")}
    assert [file.name for file in sorted(recorded)] == ["labels.csv", "labels_used.csv"] * 2
    Book(run_dir / "labels.csv", PREFIXES).write([Act("2024", "person", "undo", "")])
    further = mine(*args, "--stages", "rounds", "--rounds.max_rounds", "3", "--rounds.stop_overlap", "2")
    assert further.returncode == 0, further.stderr[-2000:]
    assert further.stderr.count("done before, skipped") == 2
    third = json.loads((run_dir / "rounds" / "03" / "metrics.json").read_text())
    assert third["positives_by_source"].get("prefix", 0) == 0 and third["prefixes_math"] == 0
    assert {file: file.read_text() for file in recorded} == recorded  # done rounds stay as they were made


@pytest.mark.spark
def test_token_budget_takes_exactly_the_best_pages_that_fit(done: Path, web: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "budget"
    shutil.copytree(done, run_dir)
    budget = 60_000
    result = mine(
        "--data_dir", str(web), "--run_dir", str(run_dir), "--rounds.max_rounds", "1", "--rerun", "true",
        "--stages", "rounds", "--rounds.cut", "token_budget", "--rounds.token_budget", str(budget),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    ranked = sorted(rows(run_dir / "rounds" / "01" / "scores", "-score, page_id, n_tokens"))
    expected, used = set(), 0
    for _, page_id, tokens in ranked:
        if used + tokens > budget:
            break
        expected.add(page_id)
        used += tokens
    assert {row[0] for row in rows(run_dir / "rounds" / "01" / "collected", "page_id")} == expected


def test_mistakes_stop_before_any_work_with_2_and_no_traceback(web: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "not.warc.gz").write_bytes(gzip.compress(b"<html>"))
    (tmp_path / "seed.jsonl").write_text('{"body": "no text field"}\n')
    run_dir = tmp_path / "run"
    for args, words in (
        (["--rounds.max_round", "2"], "did you mean 'rounds.max_rounds'"),
        (["--ingest.warcs", "[web/absent-*.warc.gz]"], "nothing found at"),
        (["--seed.positive", f"[{tmp_path}/seed.jsonl]"], "no field 'text'"),
        (["--data_dir", str(tmp_path / "nowhere")], "nothing found at"),
        (["--rounds.cut", "token_budget"], "token_budget=0"),
        (["--rounds.cut", "precision", "--rounds.precision_labels", "absent.jsonl"], "rounds.precision_labels=absent"),
        (["--stages", "dedup"], "stage ingest has not run"),
    ):
        data_dir = [] if "--data_dir" in args else ["--data_dir", str(web)]
        result = mine(*data_dir, "--run_dir", str(run_dir), *args)
        assert result.returncode == 2, (args, result.stderr[-500:])
        assert words in result.stderr and "Traceback" not in result.stderr
    assert not (run_dir / "pages").exists()


@pytest.mark.spark
def test_a_file_that_is_no_warc_and_a_web_without_pages_are_named(web: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.warc.gz"
    bad.write_bytes(gzip.compress(b"<html>not a WARC</html>"))
    empty = tmp_path / "empty.warc.gz"
    empty.write_bytes(b"")
    for file, words, code in ((bad, "not a WARC file", 2), (empty, "no page in 1 WARC files", 1)):
        run_dir = tmp_path / f"run-{file.name}"
        result = mine("--data_dir", str(web), "--run_dir", str(run_dir), "--ingest.warcs", f"[{file}]")
        assert result.returncode == code, result.stderr[-2000:]
        assert words in result.stderr and "Traceback" not in result.stderr
        assert not (run_dir / "pages").exists()
