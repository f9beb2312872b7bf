"""The tables of a fetch: what was ever wanted, what has come of it, what is left. All of them may outgrow memory."""

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mining.crawl.batches import OUTCOMES, OUTCOMES_SCHEMA, Batch, next_name, outcomes_dir, work_dir
from mining.crawl.captures import captures_sql, database, parquet_sql, quoted, write_query
from mining.errors import ConfigError, StoreError
from mining.store import fresh_partial, remove

Captures = Path | str | Sequence[Path | str]
_ROWS = 50_000
_ORDER = "ORDER BY warc_file, warc_offset"


class Ledger:
    """The wanted records of one folder and their outcomes."""

    def __init__(self, out_dir: Path) -> None:
        self.out_dir = out_dir
        self.wanted_path = out_dir / "wanted.parquet"
        self.outcomes_path = out_dir / "outcomes" / "part-00000.parquet"
        self._scratch = work_dir(out_dir) / "tmp"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process; the kernel lets go when this one dies.

        All but `left` is done inside.
        """
        try:
            outcomes_dir(self.out_dir).mkdir(parents=True, exist_ok=True)
            lock = open(work_dir(self.out_dir) / "lock", "a")  # noqa: SIM115 - closed below, after the yield
        except OSError as error:
            raise StoreError(f"{self.out_dir}: cannot be written ({error}); choose another folder") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"{self.out_dir}: another process fetches into it; wait for it or choose another folder"
                ) from None
            try:
                with database(self._scratch) as self._connection:
                    yield
            finally:
                remove(self._scratch)

    def want(self, captures: Captures) -> int:
        """Add captures to wanted.parquet; how many records are wanted now. ConfigError where none is."""
        query = captures_sql(self._with_wanted(captures), self._connection)
        num_wanted = write_query(self._connection, query, self.wanted_path)
        if not num_wanted:
            raise ConfigError(f"{captures}: no capture in it, so nothing to fetch")
        return num_wanted

    def num_done(self) -> int:
        """Records that are fetched or absent, in finished batches."""
        columns = [pq.read_table(file, columns=["outcome"])["outcome"].to_pylist() for file in self._finished()]
        return sum(outcome != "failed" for column in columns for outcome in column)

    def left(self, captures: Captures, batch_bytes: int) -> Iterator[pa.Table]:
        """What would be left to fetch with these captures, in runs of about batch_bytes; nothing is written."""
        with database() as connection:
            query = (
                f"SELECT * FROM ({captures_sql(self._with_wanted(captures), connection)}) {self._not_done()} {_ORDER}"
            )
            yield from _runs(connection.sql(query).to_arrow_reader(_ROWS), batch_bytes)

    def plan_batches(self, batch_bytes: int) -> Iterator[str]:
        """Plan what is left, a batch when it is asked for, and give its name."""
        todo = work_dir(self.out_dir) / "todo.parquet"
        query = f"SELECT * FROM {parquet_sql([self.wanted_path])} {self._not_done()} {_ORDER}"
        write_query(self._connection, query, todo)
        with pq.ParquetFile(todo) as file:
            for rows in _runs(file.iter_batches(_ROWS), batch_bytes):
                name = next_name(self.out_dir)
                Batch.plan(self.out_dir, name, rows)
                yield name
        remove(todo)

    def write_outcomes(self, not_asked: str) -> None:
        """OUT/outcomes: every wanted record once, with its best outcome of all calls.

        not_asked: the detail of those that have none.
        """
        best = "SELECT '' AS warc_file, 0 AS warc_offset, '' AS outcome, '' AS reason, '' AS detail WHERE false"
        files = self._finished()
        if files:
            rank = "list_position(['fetched', 'absent', 'failed'], outcome), filename DESC"
            best = (
                "SELECT warc_file, warc_offset, outcome, reason, detail "
                f"FROM {parquet_sql(files, more=', filename=true')} "
                f"QUALIFY row_number() OVER (PARTITION BY warc_file, warc_offset ORDER BY {rank}) = 1"
            )
        query = (
            "SELECT w.url, w.crawl, w.warc_file, w.warc_offset, w.warc_length, "
            "COALESCE(b.outcome, 'failed') AS outcome, COALESCE(b.reason, 'not_asked') AS reason, "
            f"COALESCE(b.detail, {quoted(not_asked)}) AS detail FROM {parquet_sql([self.wanted_path])} w "
            f"LEFT JOIN ({best}) b USING (warc_file, warc_offset) {_ORDER}"
        )
        partial = fresh_partial(self.outcomes_path)
        with pq.ParquetWriter(partial, OUTCOMES_SCHEMA) as writer:
            for batch in self._connection.sql(query).to_arrow_reader(_ROWS):
                writer.write_table(pa.Table.from_batches([batch]).cast(OUTCOMES_SCHEMA))
        os.replace(partial, self.outcomes_path)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """(records by outcome, those absent and failed by reason) of OUT/outcomes."""
        query = (
            f"SELECT outcome, reason, count(*) FROM {parquet_sql([self.outcomes_path])} GROUP BY ALL ORDER BY 3 DESC, 2"
        )
        rows = self._connection.sql(query).fetchall()
        counts = Counter(dict.fromkeys(OUTCOMES, 0))
        reasons: Counter[str] = Counter()
        for outcome, reason, number in rows:
            counts[outcome] += number
            if outcome != "fetched":
                reasons[reason] += number
        return dict(counts), dict(reasons)

    def _with_wanted(self, captures: Captures) -> list[Path | str]:
        given = [captures] if isinstance(captures, Path | str) else list(captures)
        return [*given, self.wanted_path] if self.wanted_path.exists() else given

    def _finished(self) -> list[Path]:
        return sorted(outcomes_dir(self.out_dir).glob("part-*.parquet"))

    def _not_done(self) -> str:
        """The join that leaves out what is fetched or absent; empty where nothing is."""
        files = self._finished()
        if not files:
            return ""
        done = f"SELECT warc_file, warc_offset FROM {parquet_sql(files)} WHERE outcome <> 'failed'"
        return f"ANTI JOIN ({done}) USING (warc_file, warc_offset)"


def _runs(rows: Iterable[pa.RecordBatch], batch_bytes: int) -> Iterator[pa.Table]:
    """Rows cut into runs of about batch_bytes of records, at least one record each."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in rows:
        start = 0
        for place, length in enumerate(batch.column(batch.schema.get_field_index("warc_length")).to_pylist()):
            if size and size + length > batch_bytes:
                yield pa.Table.from_batches([*held, batch.slice(start, place - start)])
                held, start, size = [], place, 0
            size += length
        held.append(batch.slice(start))
    if size:
        yield pa.Table.from_batches(held)
