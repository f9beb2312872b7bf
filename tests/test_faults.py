"""What a run survives: kills at any moment, a dead worker, a full disk, gone and damaged files; and what it says."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_tables import flip, forked_workers, killed, mine, run_hashes, start_mine, table_hash, table_paths

from mining.store import Store


def args_of(web: Path, run_dir: Path) -> list[str]:
    return ["--data_dir", str(web), "--run_dir", str(run_dir)]


def without_stages(done: Path, run_dir: Path, *, keep: tuple[str, ...]) -> None:
    """A copy of a finished run as it was when only the stages `keep` were done."""
    shutil.copytree(done, run_dir)
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["stages"] = {name: manifest["stages"][name] for name in keep}
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    for folder in ("rounds", "contaminated", "corpus"):
        shutil.rmtree(run_dir / folder)


@pytest.mark.spark
def test_a_run_killed_in_two_stages_ends_with_the_tables_of_an_undisturbed_one(
    finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    without_stages(finished_run, run_dir, keep=("ingest", "dedup"))
    undisturbed = run_hashes(finished_run)
    for line in ("round-01: train took", "decontaminate: started"):
        at_work, log = killed(*args_of(mini_web, run_dir), after_lines=[line], after_s=0.3)
        assert at_work and line in log
        for name in table_paths(run_dir):
            assert table_hash(run_dir / name) == undisturbed[name], f"{name} is half visible after {line}"
    result = mine(*args_of(mini_web, run_dir))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "dedup: done before, skipped" in result.stderr and "round-02: done before, skipped" in result.stderr
    assert run_hashes(run_dir) == undisturbed
    assert not list(run_dir.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.spark
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_tables(
    finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    undisturbed = run_hashes(finished_run)
    draw = random.Random(20261125)
    # By the log, not by the clock: on a busy machine a clock would kill Spark's start ten times.
    for number in sorted(draw.sample(range(len(MOMENTS)), 10)):
        # A later moment, where the run got past this one before the last kill.
        at_work, log = killed(*args_of(mini_web, run_dir), after_lines=MOMENTS[number:], after_s=draw.uniform(0, 3))
        assert at_work, f"the run was done before it was killed at {MOMENTS[number]}:\n{log[-2000:]}"
        for name in table_paths(run_dir):
            assert table_hash(run_dir / name) == undisturbed[name], f"{name} is half visible after {MOMENTS[number]}"
    result = mine(*args_of(mini_web, run_dir))
    assert result.returncode == 0, result.stderr[-3000:]
    assert run_hashes(run_dir) == undisturbed
    assert not list(run_dir.rglob("*.partial"))


STEP_LINES = ("started", "seed took", "train took", "score took", "cut took", "aggregate took")
MOMENTS = [
    "ingest: started", "dedup: started", "dedup: done",
    *(f"round-{number}: {line}" for number in ("01", "02") for line in STEP_LINES),
    "decontaminate: started", "decontaminate: done", "export: started",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.spark
def test_python_workers_killed_all_along_change_nothing(finished_run: Path, mini_web: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    draw = random.Random(7)
    kills = 0
    with open(tmp_path / "log", "w") as log, start_mine(*args_of(mini_web, run_dir), stderr=log) as process:
        while process.poll() is None:
            time.sleep(4)
            workers = forked_workers(process.pid, "pyspark.daemon")
            if workers:
                os.kill(draw.choice(workers), signal.SIGKILL)
                kills += 1
    assert kills >= 3  # the test really interrupted work
    assert process.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert run_hashes(run_dir) == run_hashes(finished_run)


@pytest.mark.spark
def test_damaged_and_deleted_tables_are_made_again_and_nothing_else(
    finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    shutil.rmtree(run_dir / "corpus")
    (scores,) = (run_dir / "rounds" / "02" / "collected").glob("*.parquet")
    flip(scores, at=0.1)
    damaged = mine(*args_of(mini_web, run_dir))
    assert damaged.returncode == 2, damaged.stderr[-2000:]
    assert str(scores) in damaged.stderr and f"delete {scores.parent}" in damaged.stderr
    assert "Traceback" not in damaged.stderr and "\tat " not in damaged.stderr
    shutil.rmtree(scores.parent)
    mended = mine(*args_of(mini_web, run_dir))
    assert mended.returncode == 0, mended.stderr[-2000:]
    assert mended.stderr.count("done before, skipped") == 4  # ingest, dedup, round 1, decontaminate
    assert "train took" not in mended.stderr and "round-02: done in" in mended.stderr
    assert run_hashes(run_dir) == run_hashes(finished_run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 80 megabytes; skips where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.spark
def test_a_disk_that_fills_up_stops_with_1_and_the_run_goes_on_when_there_is_room(
    small_disk: Path, finished_run: Path, mini_web: Path
) -> None:
    run_dir = small_disk / "run"
    without_stages(finished_run, run_dir, keep=("ingest", "dedup"))
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(b"x" * (free - 120_000))  # room for a seed table's beginning
    full = mine(*args_of(mini_web, run_dir))
    assert full.returncode == 1, (full.returncode, full.stderr[-2000:])
    assert "No space left" in full.stderr or "no space left" in full.stderr
    assert str(run_dir) in full.stderr and "run the same line again" in full.stderr
    assert "Traceback" not in full.stderr and "\tat " not in full.stderr
    assert table_paths(run_dir)[:3] == ["pages", "dropped", "duplicates"]
    filler.unlink()
    result = mine(*args_of(mini_web, run_dir))
    assert result.returncode == 0, result.stderr[-2000:]
    assert "dedup: done before, skipped" in result.stderr
    assert run_hashes(run_dir) == run_hashes(finished_run)


def test_a_run_directory_that_cannot_be_made_or_written_is_refused(mini_web: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for run_dir in (tmp_path / "file", tmp_path / "file" / "run"):
        result = mine(*args_of(mini_web, run_dir))
        assert result.returncode == 2
        assert f"{run_dir}: cannot make the run directory" in result.stderr and "choose another" in result.stderr
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_read_only_run_directory_is_refused(mini_web: Path, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    bind = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True)
    if bind.returncode:
        pytest.skip("mounting a read-only folder needs root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        result = mine(*args_of(mini_web, folder))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert result.returncode == 2, result.stderr[-2000:]
    assert "not writable; choose another --run_dir" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.spark
def test_a_second_process_on_a_run_at_work_is_refused_and_a_dead_one_holds_nothing(
    finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    store = Store(run_dir)
    store.open()
    with store.locked():
        refused = mine(*args_of(mini_web, run_dir))
    assert refused.returncode == 2
    assert f"in use by another process (pid {os.getpid()} on " in refused.stderr
    (run_dir / ".lock").write_text("pid 1 on elsewhere")  # what a process that died has left
    again = mine(*args_of(mini_web, run_dir))
    assert again.returncode == 0 and again.stderr.count("done before, skipped") == 6


@pytest.mark.parametrize(
    ("damage", "words"),
    [('{"version": 1, "stages": {"ing', "damaged"), ('{"version": 99, "stages": {}}', "version 99"), (None, "missing")],
)
@pytest.mark.spark
def test_a_damaged_manifest_is_named_and_restored_from_the_one_before(
    finished_run: Path, mini_web: Path, tmp_path: Path, damage: str | None, words: str
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir)
    manifest = run_dir / "manifest.json"
    if damage is None:
        manifest.unlink()
    else:
        manifest.write_text(damage)
    refused = mine(*args_of(mini_web, run_dir))
    assert refused.returncode == 2 and words in refused.stderr and str(manifest) in refused.stderr
    assert "Traceback" not in refused.stderr
    if words == "version 99":
        return  # nothing is damaged: other code made it
    assert f"cp {run_dir}/manifest.before.json {manifest}" in refused.stderr
    shutil.copy(run_dir / "manifest.before.json", manifest)
    result = mine(*args_of(mini_web, run_dir))
    assert result.returncode == 0, result.stderr[-2000:]
    assert run_hashes(run_dir) == run_hashes(finished_run)
