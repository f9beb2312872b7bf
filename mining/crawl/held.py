"""What is still wanting of the captures that an index knows: those that a run neither holds nor has tried."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mining.crawl.captures import quoted
from mining.store import fresh_partial, publish, remove
from mining.url import canonical_url

_POINTER = "warc_file VARCHAR, warc_offset BIGINT"


@dataclass(frozen=True)
class Missing:
    """How many captures went for which reason."""

    found: int
    held: int
    """Their address (newest_only), or the very record, is among the pages of a run."""
    older: int
    """Another capture of the address is newer."""
    tried: int
    """Read before and no page, or absent from the server."""
    missing: int


def write_missing(captures: Path, path: Path, *, held: Sequence[Path], newest_only: bool) -> Missing:
    """Write the captures that are worth fetching, in the order of the files they lie in.

    captures: CAPTURES_SCHEMA. held: folders of runs and additions whose pages, dropped records and outcomes count.
    newest_only: of each canonical address the newest capture, and none where a folder holds the address in any form.
    """
    work = fresh_partial(path.with_name("comparing"))
    work.mkdir()
    partial = fresh_partial(path)
    try:
        _write_keyed(captures, work / "keyed.parquet")
        connection = duckdb.connect(str(work / "work.duckdb"))  # on disk: a crawl's captures may not fit memory
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"CREATE VIEW keyed AS SELECT * FROM read_parquet({quoted(str(work / 'keyed.parquet'))})")
        _view(connection, "known", "url_key VARCHAR", _files(held, "band_index"))
        _view(connection, "pages", _POINTER, _files(held, "pages"))
        _view(connection, "dropped", _POINTER, _files(held, "dropped"))
        _view(connection, "outcomes", f"{_POINTER}, outcome VARCHAR", _files(held, "fetched/outcomes"))
        here = "USING (url_key)" if newest_only else "USING (warc_file, warc_offset)"
        connection.execute(f"CREATE TABLE open AS FROM keyed ANTI JOIN {'known' if newest_only else 'pages'} {here}")
        newest = "row_number() OVER (PARTITION BY url_key ORDER BY fetch_time DESC, warc_file, warc_offset) = 1"
        connection.execute(f"CREATE TABLE chosen AS FROM open {'QUALIFY ' + newest if newest_only else ''}")
        connection.execute(
            """CREATE TABLE missing AS FROM chosen ANTI JOIN dropped USING (warc_file, warc_offset)
               ANTI JOIN (FROM outcomes WHERE outcome = 'absent') USING (warc_file, warc_offset)"""
        )
        found, unheld, chosen, missing = (_count(connection, table) for table in ("keyed", "open", "chosen", "missing"))
        connection.execute(
            "COPY (SELECT * EXCLUDE (url_key) FROM missing ORDER BY warc_file, warc_offset) "
            f"TO {quoted(str(partial))} (FORMAT parquet, COMPRESSION zstd)"
        )
        connection.close()
        publish(partial, path)
    finally:
        remove(work)
        remove(partial)
    return Missing(found, held=found - unheld, older=unheld - chosen, tried=chosen - missing, missing=missing)


def _write_keyed(captures: Path, path: Path) -> None:
    """The captures with their canonical address as url_key, the key of band indexes."""
    source = pq.ParquetFile(captures)
    schema = source.schema_arrow.append(pa.field("url_key", pa.string()))

    def keyed() -> Iterator[pa.RecordBatch]:
        for batch in source.iter_batches():
            keys = pa.array([canonical_url(url) for url in batch.column("url").to_pylist()], pa.string())
            yield pa.RecordBatch.from_arrays([*batch.columns, keys], schema=schema)

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in keyed():
            writer.write_batch(batch)


def _files(folders: Sequence[Path], table: str) -> list[str]:
    found = [folder / table for folder in folders]
    return [glob.escape(str(one)) + "/*.parquet" for one in found if any(one.glob("*.parquet"))]


def _view(connection: duckdb.DuckDBPyConnection, name: str, columns: str, files: list[str]) -> None:
    """A view of some columns of a table, empty where no folder has it."""
    if not files:
        connection.execute(f"CREATE TABLE {name} ({columns})")
        return
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    literals = ", ".join(map(quoted, files))
    connection.execute(f"CREATE VIEW {name} AS SELECT {names} FROM read_parquet([{literals}])")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])
