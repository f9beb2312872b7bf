"""WARC files to pages/ and dropped/: one task a file, one Parquet file of each a task."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pyspark.sql import SparkSession

from mining.errors import ConfigError
from mining.ingest import Dropped, IngestConfig, read_pages
from mining.page import DROPPED_SCHEMA, PAGES_SCHEMA, Page

_ROWS_A_GROUP = 2000


def ingest_files(
    session: SparkSession, files: list[tuple[str, str, str]], *, pages_dir: Path, dropped_dir: Path, cfg: IngestConfig
) -> Iterator[dict[str, Any]]:
    """The counts of each file as it is done: warc_file, pages, responses, dropped by reason.

    files: (uri, warc_file, crawl). A file whose table is there already (from a run that was killed) is not read again:
    a task writes its Parquet beside the final name and renames it last.
    """
    todo = session.sparkContext.parallelize(files, max(1, len(files)))
    pages, dropped = str(pages_dir), str(dropped_dir)
    counts = todo.map(lambda file: ingest_file(*file, pages_dir=pages, dropped_dir=dropped, cfg=cfg))
    for line in counts.toLocalIterator(prefetchPartitions=True):
        yield json.loads(line)


def ingest_file(uri: str, warc_file: str, crawl: str, *, pages_dir: str, dropped_dir: str, cfg: IngestConfig) -> str:
    """Read one WARC file into its two tables; returns its counts as JSON."""
    name = xxhash.xxh3_64_hexdigest(warc_file)
    counts_path = Path(dropped_dir) / f"{name}.json"
    if counts_path.exists():
        return counts_path.read_text()
    pages = _Writer(Path(pages_dir) / f"part-{name}.parquet", PAGES_SCHEMA)
    dropped = _Writer(Path(dropped_dir) / f"part-{name}.parquet", DROPPED_SCHEMA)
    reasons: dict[str, int] = {}
    tokens = 0
    try:
        for row in read_pages(uri, warc_file=warc_file, crawl=crawl, cfg=cfg):
            if isinstance(row, Page):
                pages.add(row)
                tokens += row.n_tokens
            else:
                dropped.add(row)
                reasons[row.reason] = reasons.get(row.reason, 0) + 1
    except ConfigError as error:  # not a WARC, or gone: the other files go on
        pages.discard()
        dropped.discard()
        return json.dumps({"warc_file": warc_file, "error": str(error)})
    pages.close()
    dropped.close()
    counts = {"warc_file": warc_file, "pages": pages.rows, "tokens": tokens, "dropped": reasons}
    partial = counts_path.with_suffix(".partial")
    partial.write_text(json.dumps(counts))
    partial.replace(counts_path)
    return json.dumps(counts)


class _Writer:
    """A Parquet file that gets its name when it is whole."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial")
        self._schema = schema
        self._writer = pq.ParquetWriter(self._partial, schema, compression="zstd")
        self._buffer: list[Page | Dropped] = []
        self.rows = 0

    def add(self, row: Page | Dropped) -> None:
        self._buffer.append(row)
        self.rows += 1
        if len(self._buffer) >= _ROWS_A_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        self._partial.replace(self._path)

    def discard(self) -> None:
        self._writer.close()
        self._partial.unlink()

    def _flush(self) -> None:
        columns = {name: [_clean(getattr(row, name)) for row in self._buffer] for name in self._schema.names}
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._buffer.clear()


def _clean(value: Any) -> Any:
    """Lone surrogates, which no UTF-8 column can hold, become U+FFFD."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode("utf-8")
    return value
