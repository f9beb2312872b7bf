"""Fixtures that several test files share."""

import os
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
