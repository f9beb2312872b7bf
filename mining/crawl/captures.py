"""Captures: the rows that say where a page's WARC record lies, from an index or from a table of our own."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mining.errors import ConfigError
from mining.store import fresh_partial

CAPTURES_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("crawl", pa.string()),
        ("warc_file", pa.string()),  # path below the source, as in the index
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("fetch_time", pa.timestamp("ms", tz="UTC")),
        ("status", pa.int32()),
        ("mime", pa.string()),  # as detected where the index says, else as sent
        ("digest", pa.string()),  # BASE32 SHA-1 of the payload, without `sha1:`
        ("charset", pa.string()),  # as the crawler found it
        ("languages", pa.string()),  # ISO 639-3, comma-separated, the main one first
        ("truncated", pa.string()),  # why the payload was cut (length, time, disconnect); null where it was not
    ]
)

_NEEDED = ("warc_file", "warc_offset", "warc_length", "url")
_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.timestamp("ms", tz="UTC"): "TIMESTAMPTZ",
}
_OF_PAGES = {
    "digest": "payload_digest",
}
"""Columns of pages/ and corpus/ by the name that they have here; a page's charset and language are findings of ours,
not the crawler's, and are left out."""


def read_captures(paths: Path | str | Sequence[Path | str]) -> pa.Table:
    """The captures in Parquet tables with warc_file, warc_offset, warc_length and url, each record once.

    paths: files, folders or globs: captures.parquet, or pages/ and corpus/ of a run. Rows by (warc_file, warc_offset).
    Other columns of CAPTURES_SCHEMA are taken where they are there. Raises ConfigError for a path that finds nothing
    and for a table without the four.
    """
    with database() as connection:
        found = connection.sql(captures_sql(paths, connection)).to_arrow_table()
    return found.select(CAPTURES_SCHEMA.names).cast(CAPTURES_SCHEMA)


def captures_sql(paths: Path | str | Sequence[Path | str], connection: duckdb.DuckDBPyConnection) -> str:
    """The query of `read_captures`, in order, for tables that do not fit into memory."""
    selects = []
    for path in [paths] if isinstance(paths, Path | str) else paths:
        relation = parquet_sql(_files(str(path)))
        there = {name: kind for name, kind, *_ in connection.sql(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
        missing = [name for name in _NEEDED if name not in there]
        if missing:
            raise ConfigError(f"{path}: no column {missing[0]!r}; a table of captures has {', '.join(_NEEDED)}")
        selects.append(f"SELECT {', '.join(_column(name, there) for name in CAPTURES_SCHEMA.names)} FROM {relation}")
    return (
        f"SELECT * FROM ({' UNION ALL '.join(selects)}) WHERE warc_file <> '' AND warc_length > 0 "
        "QUALIFY row_number() OVER (PARTITION BY warc_file, warc_offset ORDER BY url, warc_length) = 1 "
        "ORDER BY warc_file, warc_offset"
    )


def write_query(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """Write a query's rows, which have CAPTURES_SCHEMA, as a Parquet file that is whole or absent; their number."""
    partial = fresh_partial(path)
    rows = 0
    with pq.ParquetWriter(partial, CAPTURES_SCHEMA, compression="zstd") as writer:
        for batch in connection.sql(query).to_arrow_reader(50_000):
            writer.write_table(pa.Table.from_batches([batch]).select(CAPTURES_SCHEMA.names).cast(CAPTURES_SCHEMA))
            rows += batch.num_rows
    os.replace(partial, path)
    return rows


@contextmanager
def database(scratch: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory, of 1 GB; what does not fit goes to `scratch`, where it is given. Times are UTC."""
    with duckdb.connect(config={"memory_limit": "1GB", "threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if scratch is not None:
            connection.execute(f"SET temp_directory = {quoted(str(scratch))}")
        yield connection


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def parquet_sql(paths: Sequence[Path | str], *, more: str = "") -> str:
    """Parquet files as an SQL relation; columns that some of them lack are NULL there."""
    return f"read_parquet([{', '.join(quoted(str(path)) for path in paths)}], union_by_name=true{more})"


def crawl_sql(warc_file: str) -> str:
    """The crawl's name out of a path such as crawl-data/CC-MAIN-2024-22/..., as SQL; empty where it has none."""
    return rf"regexp_extract({warc_file}, 'CC-MAIN-\d{{4}}-\d{{2}}')"


def _column(name: str, there: dict[str, str]) -> str:
    """A column of CAPTURES_SCHEMA out of a table that has the columns `there`, NULL where it has no such."""
    kind = _SQL_TYPES[CAPTURES_SCHEMA.field(name).type]
    if name == "crawl":
        named = "NULLIF(crawl, '')" if "crawl" in there else "NULL"
        return f"COALESCE({named}, {crawl_sql('warc_file')}) AS crawl"
    if name == "fetch_time" and there.get(name) == "VARCHAR":  # a page's WARC-Date
        return "TRY_CAST(fetch_time AS TIMESTAMPTZ) AS fetch_time"
    if name == "truncated" and there.get(name) == "BOOLEAN":
        return "CASE WHEN truncated THEN 'unspecified' END AS truncated"
    if name in ("charset", "languages") and "page_id" in there:
        return f"NULL::{kind} AS {name}"
    source = name if name in there else _OF_PAGES.get(name, "")
    if source == "payload_digest" and source in there:
        return r"regexp_replace(payload_digest, '^sha1:', '') AS digest"
    return f"CAST({source} AS {kind}) AS {name}" if source in there else f"NULL::{kind} AS {name}"


def _files(path: str) -> list[str]:
    """The Parquet files of a file, folder or glob."""
    if os.path.isdir(path):
        found = glob.glob(os.path.join(glob.escape(path), "**", "*.parquet"), recursive=True)
    else:
        found = [one for one in glob.glob(path) if os.path.isfile(one)] or ([path] if os.path.isfile(path) else [])
    found = sorted(one for one in found if not re.search(r"(^|/)\.", one.removeprefix(path)))
    if not found:
        raise ConfigError(f"{path}: no Parquet file here; give captures.parquet, or the pages/ or corpus/ of a run")
    return found
