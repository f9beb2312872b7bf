"""Fixtures that several test files share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real web data: MOTHERLODE_DATA, else shared/data beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("MOTHERLODE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "web").is_dir():
        pytest.skip(f"no real web data at {folder}; set MOTHERLODE_DATA")
    return folder


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    """One Spark session for all tests of this process."""
    from mining.config import SparkConfig
    from mining.spark.session import start_session

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = start_session(SparkConfig(master="local[2]", driver_memory="1g"), scale="toy")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def mini_web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mini web of 500 pages in one WARC file."""
    folder = tmp_path_factory.mktemp("web")
    command = [sys.executable, "pipelines/toy_web.py", "--out", str(folder), "--pages", "500"]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def finished_run(mini_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two rounds on it, by spark-submit; to be copied before it is changed."""
    from run_tables import mine

    run_dir = tmp_path_factory.mktemp("runs") / "done"
    result = mine("--data_dir", str(mini_web), "--run_dir", str(run_dir), submit=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return run_dir


@pytest.fixture(scope="session")
def warc_parts(mini_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four WARC files with a dozen records each: the beginning of the mini web's, cut between records."""
    from mining.warc import read_responses

    folder = tmp_path_factory.mktemp("parts")
    whole = mini_web / "web" / "part-00000.warc.gz"
    offsets = [record.warc_offset for record in read_responses(str(whole), max_payload_bytes=4_000_000)]
    data = whole.read_bytes()
    for number in range(4):
        (folder / f"{number}.warc.gz").write_bytes(data[offsets[number * 12] : offsets[number * 12 + 12]])
    return folder
