"""The dedup stage without Spark, for corpora whose index fits memory: the same tables, in seconds.

A page costs 0.15 ms of Python and its index 2 to 4 KB, so that 100,000 pages take 10 s on two cores and 400 MB;
Spark needs as long for its first twenty jobs. Larger corpora go to `spark/near_dups.py`.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mining.band_index import INDEX_SCHEMA, PAGE_COLUMNS, BandIndex, index_rows
from mining.duplicates import find_duplicates
from mining.errors import ShardError, StoreError
from mining.minhash import DedupConfig, MinHashConfig
from mining.store import fresh_partial, publish, remove

IN_MEMORY_PAGES = 100_000
_ROWS_A_BATCH = 1000


def fits_memory(pages: Path, earlier: Sequence[BandIndex]) -> bool:
    """Whether the pages and the earlier indexes are at most IN_MEMORY_PAGES rows."""
    tables = [pages, *(index.path for index in earlier)]
    return sum(_num_rows(file) for table in tables for file in table.glob("*.parquet")) <= IN_MEMORY_PAGES


def dedup(
    pages: Path, *, keys: Path, table: Path, cfg: DedupConfig, earlier: Sequence[BandIndex], num_workers: int
) -> None:
    """Write the duplicates of the pages table to `table`, which appears when it is whole, and their index to `keys`."""
    remove(keys)
    keys.mkdir(parents=True)
    _index(pages, keys, cfg.minhash, num_workers)
    found = find_duplicates(_rows(keys, earlier), cfg)
    partial = fresh_partial(table)
    partial.mkdir()
    pq.write_table(found, partial / "part-0.parquet", compression="zstd")
    publish(partial, table)


def _num_rows(file: Path) -> int:
    rows: int = pq.read_metadata(file).num_rows
    return rows


def _index(pages: Path, keys: Path, cfg: MinHashConfig, num_workers: int) -> None:
    files = sorted(pages.glob("*.parquet"))
    groups = [(file, group) for file in files for group in range(pq.read_metadata(file).num_row_groups)]
    tasks = [(file, group, keys / f"part-{number:05d}.parquet", cfg) for number, (file, group) in enumerate(groups)]
    # They run where the driver does: the cores of a cluster are elsewhere.
    num_workers = min(num_workers, len(tasks), os.cpu_count() or 1)
    if num_workers <= 1:
        for task in tasks:
            _index_group(*task)
        return
    # Spawned, not forked: this process may hold a JVM gateway and Arrow's threads.
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(num_workers, mp_context=spawn, initializer=_end_with_parent) as pool:
            for future in [pool.submit(_index_group, *task) for task in tasks]:
                future.result()
    except BrokenProcessPool:
        raise ShardError("dedup: a worker process died (killed, or out of memory); run the same line again") from None


def _end_with_parent() -> None:
    """A worker waits for tasks for ever when its parent is killed, unless it looks."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _index_group(file: Path, group: int, out: Path, cfg: MinHashConfig) -> None:
    # Hashes do not compress.
    codecs = {name: "none" if name in ("bands", "shingles") else "zstd" for name in INDEX_SCHEMA.names}
    with pq.ParquetWriter(out, INDEX_SCHEMA, compression=codecs) as writer:
        for batch in _batches(file, group):
            writer.write_batch(index_rows(batch.select(PAGE_COLUMNS), cfg))


def _batches(file: Path, group: int) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as source:
            yield from source.iter_batches(_ROWS_A_BATCH, row_groups=[group], columns=list(PAGE_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{file}: damaged Parquet ({error}); delete this table and run its stage again") from None


def _rows(keys: Path, earlier: Sequence[BandIndex]) -> pa.Table:
    """The rows of all corpora as `find_duplicates` takes them, the new one last."""
    tables = []
    for number, folder in enumerate([*(index.path for index in earlier), keys]):
        rows = pq.read_table(folder, schema=INDEX_SCHEMA)
        rows = rows.append_column("corpus", pa.array([number] * len(rows), pa.int32()))
        is_new = number == len(earlier)
        rows = rows.append_column("is_new", pa.array([is_new] * len(rows), pa.bool_()))
        old = pa.table({"page_id": [], "old_kind": [], "old_kept_id": []}, schema=_OLD_SCHEMA)
        if not is_new:
            removed = pq.read_table(earlier[number].duplicates, columns=["page_id", "kind", "kept_id"])
            old = removed.rename_columns(_OLD_SCHEMA.names).cast(_OLD_SCHEMA)
        places = pc.index_in(rows["page_id"], value_set=old["page_id"])
        for name in ("old_kind", "old_kept_id"):
            rows = rows.append_column(name, old[name].take(places))
        tables.append(rows)
    return pa.concat_tables(tables)


_OLD_SCHEMA = pa.schema([("page_id", pa.string()), ("old_kind", pa.string()), ("old_kept_id", pa.string())])
