"""Reading and writing the run's tables with Spark, whole or not at all."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from mining.errors import StoreError
from mining.store import fresh_partial, publish, remove


def read_table(session: SparkSession, path: Path, schema: pa.Schema | str | None = None) -> DataFrame:
    """A table of the run directory; StoreError where it is absent or a file of it is damaged."""
    if not path.exists():
        raise StoreError(f"{path}: this table is missing; run the stage that makes it")
    if isinstance(schema, pa.Schema):
        return session.read.schema(from_arrow_schema(schema)).parquet(str(path))
    reader = session.read.schema(schema) if schema else session.read
    return reader.parquet(str(path))


def check_parquet(path: Path) -> None:
    """StoreError naming the first Parquet file under `path` whose footer cannot be read, or a table without files.

    What is damaged further in is found by the checksums when it is read.
    """
    found = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not found:
        raise StoreError(f"{path}: no Parquet file in this table; delete it and run the same line again")
    for file in found:
        try:
            pq.read_metadata(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(f"{file}: damaged ({error}); delete {path} and run the same line again") from None


def read_arrow(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A small table of one file, read by the driver; StoreError with the remedy where it is damaged."""
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it and run the same line again") from None


def write_table(frame: DataFrame, path: Path) -> None:
    """Write a frame as a folder of Parquet files that appears when it is whole."""
    partial = fresh_partial(path)
    try:
        frame.write.parquet(str(partial))
        publish(partial, path)
    finally:
        remove(partial)  # on a full disk half a table is in the way


def write_file(frame: DataFrame, path: Path) -> None:
    """Write a sorted, moderate frame as one Parquet file."""
    folder = fresh_partial(path)
    try:
        frame.coalesce(1).write.parquet(str(folder))
        parts = sorted(folder.glob("*.parquet"))
        if len(parts) != 1:
            raise StoreError(f"{folder}: {len(parts)} Parquet files where one was expected")
        os.replace(parts[0], path)
    finally:
        remove(folder)


def read_seed(session: SparkSession, files: Sequence[str]) -> DataFrame:
    """(text, url, language) of JSON-lines seed files (plain, .gz, .zst as Spark reads them)."""
    frame = session.read.schema("text string, url string, language string").json(list(files))
    return frame.where("text is not null and length(trim(text)) > 0")


def first_row_problem(path: str, needed: Sequence[str]) -> str:
    """What is wrong with the first row of a JSON-lines file, or an empty string."""
    import fsspec

    try:
        with fsspec.open(path, "rt", compression="infer", encoding="utf-8") as file:
            row = json.loads(file.readline() or "null")
    except (OSError, ValueError, EOFError) as error:
        return f"not JSON lines ({error})"
    if not isinstance(row, dict):
        return "empty or not JSON lines"
    missing = [name for name in needed if name not in row]
    return f"no field {missing[0]!r}" if missing else ""
