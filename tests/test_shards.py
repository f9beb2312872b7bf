"""WARC files to tables, a file at a time: kills, vanished and unreadable files, a full disk, an outlived worker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from run_tables import table_hash

from mining.errors import ConfigError, ShardError
from mining.ingest import IngestConfig
from mining.inputs import find_files
from mining.shards import Ingest, Shard, ingest_hash, shards_of


def ingest_of(folder: Path, run_dir: Path) -> tuple[Ingest, list[Shard]]:
    files = find_files(["*.warc.gz"], data_dir=str(folder), field="ingest.warcs")
    cfg = IngestConfig()
    run_dir.mkdir(exist_ok=True)
    return Ingest(run_dir, cfg, ingest_hash(files, cfg)), shards_of(files, cfg)


@pytest.fixture(scope="module")
def ingested(warc_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage, shards = ingest_of(warc_parts, tmp_path_factory.mktemp("ingested"))
    stage.prepare(shards)
    for shard in shards:
        stage.read(shard)
    stage.publish(shards)
    stage.close()
    return stage.run_dir


def test_ingest_killed_within_a_file_or_between_its_tables_goes_on(
    warc_parts: Path, ingested: Path, tmp_path: Path
) -> None:
    stage, shards = ingest_of(warc_parts, tmp_path / "run")
    stage.prepare(shards)
    stage.read(shards[0])
    process = subprocess.Popen(
        [sys.executable, "-c", READ_SLOWLY, str(warc_parts), str(stage.run_dir)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline().strip() == "in the middle"
    process.kill()
    process.wait()
    half = list((stage.work_dir / "pages").glob(".*.partial"))
    assert half and not (stage.work_dir / "pages" / f"part-{shards[1].key}.parquet").exists()
    stage.prepare(shards)
    assert stage.pending(shards) == shards[1:]  # the first is not read again
    for shard in shards:
        stage.read(shard)
    # Killed once more, between the two renames of the end:
    (stage.work_dir / "pages").rename(stage.run_dir / "pages")
    again, _ = ingest_of(warc_parts, tmp_path / "run")
    again.prepare(shards)
    facts = again.publish(shards)
    again.close()
    assert facts["kept"] == pq.read_table(ingested / "pages").num_rows
    for table in ("pages", "dropped"):
        assert table_hash(stage.run_dir / table) == table_hash(ingested / table)
    for left in half:  # a worker's own half, in the folder that was renamed, is never taken for a table's file
        assert left.name.startswith(".")


READ_SLOWLY = """
import sys, time
from pathlib import Path
import mining.shards as shards
from mining.ingest import IngestConfig, read_pages
from mining.inputs import find_files
def slowly(*args, **kwargs):
    for number, row in enumerate(read_pages(*args, **kwargs)):
        yield row
        if number == 3:
            print("in the middle", flush=True)
            time.sleep(60)
shards.read_pages = slowly
files = find_files(["*.warc.gz"], data_dir=sys.argv[1], field="ingest.warcs")
cfg = IngestConfig()
stage = shards.Ingest(Path(sys.argv[2]), cfg, shards.ingest_hash(files, cfg))
stage.read(shards.shards_of(files, cfg)[1])
"""


def test_a_file_that_vanished_is_named_and_only_it_is_read_again(
    warc_parts: Path, ingested: Path, tmp_path: Path
) -> None:
    web = tmp_path / "web"
    shutil.copytree(warc_parts, web)
    stage, shards = ingest_of(web, tmp_path / "run")
    stage.prepare(shards)
    gone = web / "2.warc.gz"
    gone.rename(tmp_path / "aside")
    assert "error" in [stage.read(shard) for shard in shards][2]
    with pytest.raises(
        ConfigError, match=r"1 of 4 files cannot be read:\n.*2\.warc\.gz: no such WARC file\n.*the others"
    ):
        stage.publish(shards)
    assert not (stage.run_dir / "pages").exists()
    (tmp_path / "aside").rename(gone)
    assert stage.pending(shards) == [shards[2]]
    stage.read(shards[2])
    stage.publish(shards)
    assert table_hash(stage.run_dir / "pages") == table_hash(ingested / "pages")


def test_a_folder_in_a_warc_s_place_is_an_unreadable_file_not_a_crash(warc_parts: Path, tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(warc_parts, web)
    stage, shards = ingest_of(web, tmp_path / "run")
    stage.prepare(shards)
    (web / "1.warc.gz").unlink()
    (web / "1.warc.gz").mkdir()
    (unreadable,) = (shard for shard in shards if shard.uri.endswith("/1.warc.gz"))
    assert "cannot be read" in stage.read(unreadable)["error"]


def test_a_full_disk_names_the_file_loses_nothing_and_goes_on(warc_parts: Path, ingested: Path, tmp_path: Path) -> None:
    stage, shards = ingest_of(warc_parts, tmp_path / "run")
    stage.prepare(shards)
    stage.read(shards[0])
    code = (
        "import resource, sys\nfrom test_shards import ingest_of\nfrom pathlib import Path\n"
        "from mining.errors import ShardError\n"
        "stage, shards = ingest_of(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n    stage.read(shards[1])\nexcept ShardError as error:\n    print(error)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(warc_parts), str(stage.run_dir)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert (
        "cannot be written" in child.stdout and "File too large" in child.stdout and "run the same line" in child.stdout
    )
    assert shards[1].key in child.stdout and "Traceback" not in child.stderr
    assert not list((stage.work_dir / "pages").glob(".*")), "half a file is in the way on a full disk"
    assert stage.pending(shards) == shards[1:]
    for shard in shards:
        stage.read(shard)
    stage.publish(shards)
    assert table_hash(stage.run_dir / "pages") == table_hash(ingested / "pages")


def test_a_worker_that_outlived_its_run_cannot_write_into_the_next(warc_parts: Path, tmp_path: Path) -> None:
    old, shards = ingest_of(warc_parts, tmp_path / "run")
    old.prepare(shards)
    Ingest(old.run_dir, IngestConfig(min_chars=300), "another config").prepare(shards)
    with pytest.raises(ShardError, match="another ingest was started"):
        old.read(shards[0])
    assert not list((old.work_dir / "pages").iterdir())
