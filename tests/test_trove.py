"""Ingest on datatrove: the same tables as on Spark, after kills, too; and what Slurm and Ray would be told."""

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
from run_tables import REPOSITORY, environment, forked_workers, mine
from slurm_commands import write_commands

from mining.ingest import IngestConfig
from mining.inputs import find_files
from mining.shards import Ingest, ingest_hash, shards_of

pytest.importorskip("datatrove")

CONFIG = ["--config", "configs/mine/demo.yaml", "--ingest.warcs", '["*.warc.gz"]']


def command(web: Path, run_dir: Path, *args: str) -> list[str]:
    place = ["--data_dir", str(web), "--run_dir", str(run_dir)]
    return [sys.executable, "pipelines/extract_datatrove.py", *CONFIG, *place, *args]


def extract(web: Path, run_dir: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(web, run_dir, *args),
        cwd=REPOSITORY, env=environment(**env), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def assert_same_tables(run_dir: Path, expected: Path) -> None:
    """The same files with the same rows in the same order."""
    for table in ("pages", "dropped"):
        names = {path.name for path in (run_dir / table).iterdir()}
        assert names == {path.name for path in (expected / table).iterdir()}
        for name in names:
            assert pq.read_table(run_dir / table / name).equals(pq.read_table(expected / table / name)), name


@pytest.fixture(scope="module")
def by_spark(spark: object, warc_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pages/ and dropped/ of the four files as Spark makes them."""
    from mining.spark.ingest import ingest_files

    files = find_files(["*.warc.gz"], data_dir=str(warc_parts), field="ingest.warcs")
    cfg = IngestConfig(crawl="TOY-WEB", min_chars=100)
    stage = Ingest(tmp_path_factory.mktemp("spark"), cfg, ingest_hash(files, cfg))
    shards = shards_of(files, cfg)
    stage.prepare(shards)
    counts = list(ingest_files(spark, stage, shards))  # type: ignore[arg-type]
    facts = stage.publish(shards)
    assert facts["kept"] == sum(count["pages"] for count in counts) > 20
    (stage.run_dir / "facts.json").write_text(json.dumps(facts))
    return stage.run_dir


@pytest.mark.spark
@pytest.mark.parametrize(("tasks", "workers"), [(1, 1), (3, 2)])
def test_pages_and_dropped_are_spark_s_row_for_row(
    by_spark: Path, warc_parts: Path, tmp_path: Path, tasks: int, workers: int
) -> None:
    result = extract(warc_parts, tmp_path / "run", "--tasks", str(tasks), "--workers", str(workers))
    assert result.returncode == 0, result.stderr[-2000:]
    assert_same_tables(tmp_path / "run", by_spark)
    entry = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["ingest"]
    facts = json.loads((by_spark / "facts.json").read_text())
    facts["in"] = facts.pop("in_")
    assert facts["formulas"] and {key: entry[key] for key in facts} == facts
    assert not (tmp_path / "run" / "ingesting").exists()
    logs = next((tmp_path / "run" / "logs").iterdir())
    assert len(list((logs / "completions").iterdir())) == len(list((logs / "logs").iterdir())) == tasks
    stats = json.loads((logs / "stats.json").read_text())
    assert stats[0]["stats"]["files"] in (4, {"total": 4}) or stats[0]["stats"]["files"]["total"] == 4


@pytest.mark.spark
def test_mine_goes_on_from_it_and_takes_the_stage_for_done(by_spark: Path, warc_parts: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert extract(warc_parts, run_dir).returncode == 0
    args = ["--data_dir", str(warc_parts), "--run_dir", str(run_dir), "--ingest.warcs", '["*.warc.gz"]']
    result = mine(*args, "--stages", "ingest,dedup")
    assert result.returncode == 0, result.stderr[-2000:]
    assert "ingest: done before, skipped" in result.stderr and "dedup: done in" in result.stderr
    assert (run_dir / "duplicates").is_dir()
    changed = extract(warc_parts, run_dir, "--ingest.min_chars", "300")
    assert changed.returncode == 2 and "ingest.min_chars: 100 -> 300" in changed.stderr
    assert_same_tables(run_dir, by_spark)


@pytest.mark.spark
def test_a_killed_extraction_goes_on_with_the_files_that_are_left(
    by_spark: Path, warc_parts: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    counts = run_dir / "ingesting" / "counts"
    process = subprocess.Popen(
        command(warc_parts, run_dir, "--tasks", "2", "--workers", "1"),
        cwd=REPOSITORY, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not list(counts.glob("*.json")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in counts.glob("*.json")}
    assert 1 <= len(done) < 4, "killed too late to test anything"
    assert not (run_dir / "pages").exists()
    # Another number of tasks, and a marker of datatrove's that would leave two files out:
    marker = "completions/00000"
    plan = extract(warc_parts, run_dir, "--tasks", "3", "--dry_run", "true").stdout
    logs = Path(plan.partition("logs and statistics: ")[2].splitlines()[0])
    (logs / "completions").mkdir(parents=True)
    (logs / marker).touch()
    assert f"files to read: {4 - len(done)}" in plan
    result = extract(warc_parts, run_dir, "--tasks", "3", "--workers", "1")
    assert result.returncode == 0, result.stderr[-2000:]
    assert_same_tables(run_dir, by_spark)


def test_a_killed_worker_ends_the_run_instead_of_hanging_it(warc_parts: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with subprocess.Popen(
        command(warc_parts, run_dir, "--tasks", "2", "--workers", "2"),
        cwd=REPOSITORY, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        workers: list[int] = []
        while process.poll() is None and not workers:
            started = (run_dir / "logs").is_dir() and list((run_dir / "logs").rglob("task_*.log"))
            workers = forked_workers(process.pid, "multiprocess.forkserver") if started else []
            time.sleep(0.02)
        os.kill(workers[-1], signal.SIGKILL)
        try:
            _, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1, log[-2000:]
    assert "a worker process died" in log and "run the same line again" in log
    again = extract(warc_parts, run_dir, "--tasks", "2", "--workers", "2")
    assert again.returncode == 0, again.stderr[-2000:]


def test_datatrove_is_imported_in_one_place() -> None:
    sources = [path for folder in ("mining", "pipelines", "rl") for path in (REPOSITORY / folder).rglob("*.py")]
    imports = re.compile(r"^\s*(?:import|from) datatrove\b", re.MULTILINE)
    found = {path.parent.name for path in sources if imports.search(path.read_text(encoding="utf-8"))}
    assert found == {"trove"}


def test_a_deleted_table_is_made_again_in_spite_of_completion_markers(warc_parts: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert extract(warc_parts, run_dir, "--tasks", "1", "--workers", "1").returncode == 0
    before = sorted(pq.read_table(run_dir / "pages").column("page_id").to_pylist())
    shutil.rmtree(run_dir / "pages")
    assert extract(warc_parts, run_dir, "--tasks", "1", "--workers", "1").returncode == 0
    assert sorted(pq.read_table(run_dir / "pages").column("page_id").to_pylist()) == before


def test_an_unreadable_file_is_named_and_the_others_are_kept(warc_parts: Path, tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(warc_parts, web)
    (web / "4.warc.gz").write_bytes(b"<html>not a WARC</html>")
    result = extract(web, tmp_path / "run", "--tasks", "2", "--workers", "2")
    assert result.returncode == 2, result.stderr[-2000:]
    assert "1 of 5 files cannot be read" in result.stderr and "4.warc.gz" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run" / "pages").exists()
    assert len(list((tmp_path / "run" / "ingesting" / "counts").glob("*.json"))) == 4


def test_the_plan_for_slurm_is_the_scripts_and_writes_nothing(warc_parts: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    slurm = [
        "--executor",
        "slurm",
        "--tasks",
        "3",
        "--workers",
        "2",
        "--slurm.partition",
        "cpu",
        "--slurm.time",
        "01:30:00",
    ]
    result = extract(
        warc_parts, run_dir, *slurm, "--slurm.mem_per_cpu_gb", "3", "--slurm.venv", "/cluster/venv",
        "--slurm.sbatch_args", '{"account": "maths"}', "--dry_run", "true",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    first, merge, publish, _ = result.stdout.split("== JOB")[1:]
    for line in (
        "#SBATCH --array=0-2%2", "#SBATCH --partition=cpu", "#SBATCH --time=01:30:00", "#SBATCH --mem-per-cpu=3G",
        "#SBATCH --account=maths", "source /cluster/venv/bin/activate",
    ):  # fmt: skip
        assert f"{line}\n" in first
    assert f"launch_pickled_pipeline {run_dir}/logs/" in first and "merge_stats" in merge
    assert publish.startswith("3: sbatch --export=ALL,RUN_OFFSET=0 --dependency=afterany:JOB1\n")
    assert "#SBATCH --array=0-0%2\n" in publish
    assert not run_dir.exists()


def test_slurm_and_ray_say_what_they_lack_before_anything_is_written(warc_parts: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    no_sbatch = extract(warc_parts, run_dir, "--executor", "slurm", "--slurm.partition", "cpu")
    assert no_sbatch.returncode == 2 and "no sbatch on this machine's PATH" in no_sbatch.stderr
    plan = extract(
        warc_parts, run_dir, "--executor", "ray", "--tasks", "2", "--ray.cpus_per_task", "2", "--dry_run", "true"
    )
    assert plan.returncode == 0, plan.stderr[-2000:]
    assert "executor ray: 2 tasks of 2 files" in plan.stdout and "2 CPUs and 4 GB a task" in plan.stdout
    dealt = re.findall(r"^task \d: (.*)$", plan.stdout, re.MULTILINE)
    assert [len(one.split(", ")) for one in dealt] == [2, 2]
    assert sorted(", ".join(dealt).split(", ")) == [f"{number}.warc.gz" for number in range(4)]
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        no_ray = extract(warc_parts, run_dir, "--executor", "ray")
        assert no_ray.returncode == 2 and "pip install 'ray[default]'" in no_ray.stderr
    assert not run_dir.exists()


@pytest.mark.spark
def test_the_jobs_given_to_sbatch_read_and_publish(by_spark: Path, warc_parts: Path, tmp_path: Path) -> None:
    """datatrove's own submission, pickling, array and dependency, with a stand-in that runs what sbatch is given."""
    write_commands(tmp_path)
    run_dir = tmp_path / "run"
    binaries = f"{tmp_path}{os.pathsep}{environment()['PATH']}"
    args = ["--executor", "slurm", "--tasks", "3", "--slurm.partition", "cpu"]
    result = extract(warc_parts, run_dir, *args, PATH=binaries)
    assert result.returncode == 0 and "submitted" in result.stdout, result.stderr[-2000:]
    jobs = [line.split()[:2] for line in (tmp_path / "jobs").read_text().splitlines()]
    reading = [["motherlode-ingest", str(rank)] for rank in range(3)]
    merging = [["motherlode-ingest", "0"]]
    assert jobs == [*reading, *merging, ["motherlode-publish-ingest", "0"], ["motherlode-publish-ingest", "0"]]
    assert_same_tables(run_dir, by_spark)
    again = extract(warc_parts, run_dir, *args, PATH=binaries)
    assert "done before, skipped" in again.stdout
