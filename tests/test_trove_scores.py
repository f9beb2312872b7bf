"""The classifier's pass on datatrove: the rows of Spark's score step, after kills as well; what Slurm would be told."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from run_tables import REPOSITORY, environment, mine, run_hashes, table_hash
from slurm_commands import write_commands

pytest.importorskip("datatrove")

FILES = 12
AFTER_SCORES = ("calibration.json", "scores", "cut.json", "collected", "domains.parquet", "prefixes.parquet",
                "labels.csv", "metrics.json")  # fmt: skip


def command(run_dir: Path, *args: str) -> list[str]:
    return [sys.executable, "pipelines/score_datatrove.py", "--run_dir", str(run_dir), *args]


def score(run_dir: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(run_dir, *args),
        cwd=REPOSITORY, env=environment(**env), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture
def trained_run(finished_run: Path, tmp_path: Path) -> Path:
    """The finished run as it was when its second round had been trained, its pages in a dozen files."""
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    for name in AFTER_SCORES:
        path = run_dir / "rounds" / "02" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    manifest = json.loads((run_dir / "manifest.json").read_text())
    for stage in ("round-02", "decontaminate", "export"):
        del manifest["stages"][stage]
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    pages = pq.read_table(run_dir / "pages")
    shutil.rmtree(run_dir / "pages")
    (run_dir / "pages").mkdir()
    share = -(-len(pages) // FILES)
    for number in range(FILES):
        part = pages.slice(number * share, share)
        pq.write_table(part, run_dir / "pages" / f"part-{number:02d}.parquet", write_page_checksum=True)
    return run_dir


def scores(run_dir: Path) -> Path:
    return run_dir / "rounds" / "02" / "scores"


@pytest.mark.spark
@pytest.mark.parametrize(("tasks", "workers"), [(1, 1), (5, 2), (0, 2)])
def test_scores_are_spark_s_row_for_row(finished_run: Path, trained_run: Path, tasks: int, workers: int) -> None:
    result = score(trained_run, "--tasks", str(tasks), "--workers", str(workers))
    assert result.returncode == 0 and "go on with mine.py" in result.stdout, result.stderr[-2000:]
    theirs = pq.read_table(scores(finished_run)).sort_by("page_id")
    ours = pq.read_table(scores(trained_run)).sort_by("page_id")
    assert ours.schema.equals(theirs.schema) and ours.equals(theirs) and len(ours) > 300
    gone = set(pq.read_table(trained_run / "duplicates")["page_id"].to_pylist())
    assert gone and gone.isdisjoint(ours["page_id"].to_pylist())
    logs = next((trained_run / "logs").glob("score-*"))
    assert len(list((logs / "completions").iterdir())) == (tasks or FILES)
    stats = json.loads((logs / "stats.json").read_text())[1]["stats"]
    assert stats["pages"]["total"] == len(ours) and stats["duplicates"]["total"] == len(gone)
    assert "done before, skipped" in score(trained_run).stdout


@pytest.mark.spark
def test_mine_goes_on_from_the_scores_to_the_same_corpus(finished_run: Path, trained_run: Path, mini_web: Path) -> None:
    assert score(trained_run, "--tasks", "2", "--workers", "1").returncode == 0
    result = mine("--data_dir", str(mini_web), "--run_dir", str(trained_run))
    assert result.returncode == 0, result.stderr[-2000:]
    assert "round-02: cut took" in result.stderr and "round-02: score took" not in result.stderr
    assert "round-02: train took" not in result.stderr
    assert run_hashes(trained_run) == run_hashes(finished_run)


@pytest.mark.slow
@pytest.mark.spark
def test_a_loop_that_is_scored_on_datatrove_comes_to_the_same_tables(
    finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    args = ["--data_dir", str(mini_web), "--run_dir", str(tmp_path / "run"), "--rounds.scorer", "datatrove"]
    for number in (1, 2):
        waiting = mine(*args)
        assert waiting.returncode == 3, waiting.stderr[-2000:]
        assert f"--round {number}" in waiting.stderr and f"round {number} is trained" in waiting.stderr
        assert score(tmp_path / "run", "--round", str(number), "--workers", "1").returncode == 0
    result = mine(*args)
    assert result.returncode == 0, result.stderr[-2000:]
    assert run_hashes(tmp_path / "run") == run_hashes(finished_run)
    # Who scored is no change of config: the other way finds everything done.
    again = mine(*args[:-2])
    assert again.returncode == 0 and "round-02: done before, skipped" in again.stderr


@pytest.mark.spark
def test_a_killed_pass_goes_on_with_the_files_that_are_left(finished_run: Path, trained_run: Path) -> None:
    work = scores(trained_run).with_name("scores.scoring") / "scores"
    process = subprocess.Popen(
        command(trained_run, "--workers", "1"),
        cwd=REPOSITORY, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not list(work.glob("part-*")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in work.glob("part-*")}
    assert 1 <= len(done) < FILES and not scores(trained_run).exists(), "killed too late to test anything"
    # Another number of tasks, and a marker of datatrove's that would leave a third of the files out:
    plan = score(trained_run, "--tasks", "3", "--dry_run", "true").stdout
    assert f"files to read: {FILES - len(done)}" in plan
    marker = Path(plan.partition("logs and statistics: ")[2].splitlines()[0]) / "completions" / "00000"
    marker.parent.mkdir(parents=True)
    marker.touch()
    result = score(trained_run, "--tasks", "3", "--workers", "1")
    assert result.returncode == 0, result.stderr[-2000:]
    assert {name: (scores(trained_run) / name).stat().st_mtime_ns for name in done} == done
    assert table_hash(scores(trained_run)) == table_hash(scores(finished_run))


@pytest.mark.spark
def test_the_jobs_given_to_sbatch_score_and_publish(finished_run: Path, trained_run: Path, tmp_path: Path) -> None:
    write_commands(tmp_path)
    binaries = f"{tmp_path}{os.pathsep}{environment()['PATH']}"
    args = ["--executor", "slurm", "--tasks", "2", "--slurm.partition", "cpu"]
    plan = score(trained_run, *args, "--dry_run", "true")
    assert plan.returncode == 0, plan.stderr[-2000:]
    first, merge, publish, _ = plan.stdout.split("== JOB")[1:]
    assert "#SBATCH --array=0-1\n" in first and "#SBATCH --job-name=motherlode-score\n" in first
    assert "merge_stats" in merge and "--dependency=afterany:JOB1" in publish
    assert re.search(r"scores of 12 files of pages by .*/rounds/02/classifier.bin", plan.stdout)
    assert not scores(trained_run).with_name("scores.scoring").exists() and not (trained_run / "logs").exists()
    result = score(trained_run, *args, PATH=binaries)
    assert result.returncode == 0 and "submitted" in result.stdout, result.stderr[-2000:]
    jobs = [line.split()[0] for line in (tmp_path / "jobs").read_text().splitlines()]
    assert jobs.count("motherlode-score") == 3 and jobs.count("motherlode-publish-score") == 2  # with the statistics
    assert table_hash(scores(trained_run)) == table_hash(scores(finished_run))


@pytest.mark.spark
def test_a_finished_round_scores_another_crawl_s_pages(
    finished_run: Path, trained_run: Path, tmp_path: Path, spark: object
) -> None:
    from mining.classifier import ClassifierConfig
    from mining.spark.recall import score_pages
    from mining.store import file_digest

    out = tmp_path / "scored"
    args = ["--round", "1", "--pages", str(trained_run / "pages"), "--out", str(out)]
    result = score(finished_run, *args, "--tasks", "3", "--workers", "1")
    assert result.returncode == 0, result.stderr[-2000:]
    model = finished_run / "rounds" / "01" / "classifier.bin"
    pages = spark.read.parquet(str(trained_run / "pages"))  # type: ignore[attr-defined]
    theirs = score_pages(pages, model, version=file_digest(model), cfg=ClassifierConfig()).toArrow()
    ours = pq.read_table(out).sort_by("page_id")
    assert ours.equals(theirs.sort_by("page_id").cast(ours.schema)) and len(ours) == pages.count()
    assert "score: done before, skipped" in score(finished_run, *args).stdout
    alone = score(finished_run, "--pages", str(trained_run))
    assert alone.returncode == 2 and "give both, or neither" in alone.stderr
    absent = score(tmp_path / "nowhere")
    assert absent.returncode == 2 and "not a run directory of mine.py" in absent.stderr
    assert not (tmp_path / "nowhere").exists()
