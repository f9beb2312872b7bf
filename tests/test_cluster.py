"""The main job on a real cluster: Spark's standalone master and workers on loopback, packed code, killed workers."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pack import pack
from run_tables import REPOSITORY, environment, mine, run_hashes
from spark_cluster import Cluster, standalone_cluster
from test_determinism import split_warc

from mining.band_index import INDEX_SCHEMA
from mining.dedup import IN_MEMORY_PAGES
from mining.minhash import MinHashConfig


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A master and two workers of one core."""
    with standalone_cluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has this one's dependencies, and neither this project nor its folder."""
    folder = tmp_path_factory.mktemp("bare") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    # A folder named in a .pth gives its packages, while the .pth of an editable install in it is not read.
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    python = folder / "bin" / "python"
    found = subprocess.run([python, "-c", "import mining"], cwd=folder, capture_output=True, text=True)
    assert "No module named 'mining'" in found.stderr
    return python


def submitted(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """One run to its end, started away from the checkout."""
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=900)


@pytest.mark.spark
def test_a_cluster_with_the_packed_project_gives_the_tables_of_local_mode(
    cluster: Cluster, bare_python: Path, finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    pack(REPOSITORY, tmp_path / "motherlode.zip")
    options = ["--py-files", str(tmp_path / "motherlode.zip"), "--conf", f"spark.pyspark.python={bare_python}"]
    command = cluster.command(
        "--data_dir", str(mini_web), "--run_dir", str(run_dir), "--stages", "ingest,dedup,rounds",
        "--rounds.max_rounds", "1", options=options,
    )  # fmt: skip
    result = submitted(command, tmp_path)
    assert result.returncode == 0, result.stderr[-3000:] + result.stdout[-3000:]
    assert "the workers have no C modules" in result.stdout  # a zip cannot give them
    found, expected = run_hashes(run_dir), run_hashes(finished_run)
    assert "rounds/01/prefixes.parquet" in found
    assert found == {name: value for name, value in expected.items() if name in found}


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("kind", ["environment", "project"])
def test_archives_are_unpacked_on_the_workers_with_the_c_modules(
    kind: str, cluster: Cluster, bare_python: Path, finished_run: Path, mini_web: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    options = ["--conf", f"spark.pyspark.driver.python={sys.executable}"]
    pack(REPOSITORY, tmp_path / "motherlode.zip")
    if kind == "environment":  # what venv-pack and conda-pack make: a folder with bin/python that may lie anywhere
        folder = shutil.copytree(bare_python.parent.parent, tmp_path / "env", symlinks=True)
        (site,) = folder.glob("lib/python3*/site-packages")
        shutil.unpack_archive(tmp_path / "motherlode.zip", site)
        archive = shutil.make_archive(str(tmp_path / "environment"), "gztar", folder)
        options += ["--archives", f"{archive}#environment"]
        options += ["--conf", "spark.pyspark.python=./environment/bin/python"]
    else:
        options += ["--archives", f"{tmp_path}/motherlode.zip#motherlode"]
        options += ["--conf", "spark.executorEnv.PYTHONPATH=motherlode"]
        options += ["--conf", f"spark.pyspark.python={bare_python}"]
    command = cluster.command(
        "--data_dir", str(mini_web), "--run_dir", str(run_dir), "--stages", "ingest,dedup", options=options
    )
    result = submitted(command, tmp_path)
    assert result.returncode == 0, result.stderr[-3000:] + result.stdout[-3000:]
    assert "the workers have no C modules" not in result.stdout
    found, expected = run_hashes(run_dir), run_hashes(finished_run)
    assert found == {name: expected[name] for name in ("pages", "dropped", "duplicates", "band_index")}


@pytest.fixture
def large_web(tmp_path: Path) -> Path:
    """A mini web of 2,000 pages in 24 WARC files."""
    web = tmp_path / "web"
    subprocess.run(
        [sys.executable, "pipelines/toy_web.py", "--out", str(web), "--pages", "2000"],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    split_warc(web / "web" / "part-00000.warc.gz", parts=24)
    return web


@pytest.fixture
def earlier_crawl(finished_run: Path, tmp_path: Path) -> Path:
    """A finished run of more pages than the driver compares by itself: 100,000 beside those of the mini web."""
    folder = tmp_path / "earlier"
    for name in ("band_index", "duplicates"):
        shutil.copytree(finished_run / name, folder / name)
    shutil.copy(finished_run / "manifest.json", folder)
    draw, count = np.random.default_rng(5), IN_MEMORY_PAGES
    num_bands = MinHashConfig().num_bands
    lists = {"bands": (num_bands, np.int64, 1 << 62), "shingles": (8, np.int32, 1 << 30)}
    columns: dict[str, Any] = {
        name: pa.ListArray.from_arrays(
            np.arange(count + 1, dtype=np.int32) * size, pa.array(draw.integers(top, size=count * size, dtype=kind))
        )
        for name, (size, kind, top) in lists.items()
    }
    for name in ("page_id", "url_key", "text_key"):
        columns[name] = pa.array([f"{name}-{number:07d}" for number in range(count)])
    columns |= {name: pa.array([1] * count) for name in ("formulas_kept", "n_chars", "fetched")}
    columns["crawl"] = pa.array(["TOY-WEB-BEFORE"] * count)
    rows = pa.table({name: columns[name] for name in INDEX_SCHEMA.names}).cast(INDEX_SCHEMA)
    pq.write_table(rows, folder / "band_index" / "more.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.spark
def test_a_worker_killed_in_ingest_and_one_among_near_duplicates_change_nothing(
    large_web: Path, earlier_crawl: Path, tmp_path: Path
) -> None:
    args = ["--data_dir", str(large_web), "--dedup.against", json.dumps([str(earlier_crawl)])]
    undisturbed = mine(*args, "--run_dir", str(tmp_path / "local"))
    assert undisturbed.returncode == 0, undisturbed.stderr[-3000:]
    run_dir = tmp_path / "run"
    counts = run_dir / "ingesting" / "counts"
    with standalone_cluster(tmp_path / "cluster", num_workers=3) as cluster, open(tmp_path / "log", "w+") as log:
        process = subprocess.Popen(
            cluster.command(*args, "--run_dir", str(run_dir)), cwd=tmp_path, env=environment(), stdout=log, stderr=log
        )
        try:
            wait_until(lambda: len(list(counts.glob("*.json"))) >= 4, process)
            assert len(list(counts.glob("*.json"))) < 20
            assert cluster.kill_worker(0) >= 3  # itself, its executor, Python
            wait_until(lambda: any((run_dir / "work" / "pairs").rglob("part-*")), process)
            assert cluster.kill_worker(1) >= 3
            assert process.wait(900) == 0, (tmp_path / "log").read_text()[-5000:]
        finally:
            process.kill()
    found = run_hashes(run_dir)
    assert found == run_hashes(tmp_path / "local")
    kinds = duckdb.sql(f"select kind, count(*) from read_parquet('{run_dir}/duplicates/*.parquet') group by kind")
    assert min(dict(kinds.fetchall())[kind] for kind in ("url", "near")) > 10  # there was something to find
    assert not list(run_dir.rglob("*.partial"))


def wait_until(is_reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Look ten times a second until it is so; fails where the process ends before."""
    while not is_reached():
        assert process.poll() is None, "the run ended before"
        time.sleep(0.1)
