"""A selection carried over: which pages a corpus holds, for pages that were extracted again from the same records."""

import glob
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mining.errors import ShardError, StoreError
from mining.store import Store, digest, fresh_partial, now, publish

_DUPLICATES = pa.schema(
    [("page_id", pa.string()), ("kept_id", pa.string()), ("kind", pa.string()), ("jaccard", pa.float32())]
)


def carry_selection(corpus: Path, store: Store) -> tuple[int, int]:
    """Give a run that has only been ingested the rounds that a corpus comes from; (pages found again, corpus pages).

    A page is found by the record it was made from, so that it keeps score and first round whatever its text or
    canonical address is by now. Afterwards the run's dedup and rounds count as done: the same pages are collected,
    round for round, and decontamination and export follow. StoreError where `corpus` holds no pages; ShardError where
    none of them is found.
    """
    if not any(corpus.glob("*.parquet")):
        raise StoreError(f"{corpus}: no Parquet file there; give the run directory of a finished run")
    connection = duckdb.connect(":memory:")
    connection.execute("SET enable_progress_bar = false")
    for name, folder in (("chosen", corpus), ("pages", store.path / "pages")):
        files = glob.escape(str(folder)).replace("'", "''") + "/*.parquet"
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files}')")
    connection.execute(
        """CREATE TABLE carried AS SELECT page_id, score, pages.n_tokens, first_round
           FROM pages JOIN (SELECT warc_file, warc_offset, score, first_round FROM chosen)
           USING (warc_file, warc_offset)"""
    )
    found, last = connection.execute("SELECT count(*), max(first_round) FROM carried").fetchall()[0]
    total = connection.execute("SELECT count(*) FROM chosen").fetchall()[0][0]
    if not found:
        raise ShardError(f"{store.path}: none of the {total:,} pages of {corpus} could be extracted again")
    source = digest([str(corpus.name), total, found, (store.stage("ingest") or {}).get("inputs_hash")])
    _write(store.path / "duplicates", pa.Table.from_pylist([], schema=_DUPLICATES))
    pages = (store.stage("ingest") or {})["kept"]
    store.finish("dedup", inputs_hash=source, started=now(), seconds=0, in_=pages, kept=pages, dropped={}, carried=True)
    for number in range(1, last + 1):
        rows = connection.sql(
            f"SELECT page_id, score, n_tokens FROM carried WHERE first_round <= {number} ORDER BY page_id"
        ).to_arrow_table()
        _write(store.round_dir(number) / "collected", rows)
        store.finish(
            f"round-{number:02d}", inputs_hash=source, started=now(), seconds=0, in_=pages, kept=rows.num_rows,
            dropped={}, steps={"collect": source}, carried=True,
        )  # fmt: skip
    return found, total


def _write(table: Path, rows: pa.Table) -> None:
    """A table of one file that appears when it is whole."""
    partial = fresh_partial(table)
    partial.mkdir()
    pq.write_table(rows, partial / "part-0.parquet", compression="zstd", write_page_checksum=True)
    publish(partial, table)
