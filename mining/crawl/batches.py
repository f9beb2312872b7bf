"""A batch: the wanted records that make one WARC file, and what has come of each so far.

Members are appended to `data` as they arrive and then named in `journal`, both on the disk before the next ones; when
every record has an outcome they are put into their order and published. A killed run goes on behind the last line of
the journal.
"""

import json
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mining.crawl.captures import CAPTURES_SCHEMA
from mining.crawl.pointers import POINTERS_SCHEMA, pointers_path
from mining.store import fresh_partial, publish, remove

OUTCOMES = ("fetched", "absent", "failed")
OUTCOMES_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("crawl", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("outcome", pa.string()),  # fetched | absent | failed
        ("reason", pa.string()),  # short key, empty where fetched
        ("detail", pa.string()),
    ]
)


class Result(NamedTuple):
    """What came of one record."""

    place: int
    """Row of the batch's plan."""
    outcome: str
    reason: str = ""
    detail: str = ""
    data: bytes = b""
    """The gzip member, where fetched."""


@dataclass(frozen=True, slots=True)
class _Entry:
    outcome: str
    reason: str
    detail: str
    at: int
    """Offset in `data`."""
    length: int


class Batch:
    """One folder under .fetch/ while its records are fetched."""

    def __init__(self, out_dir: Path, name: str) -> None:
        self.name = name
        self._out_dir = out_dir
        self._folder = work_dir(out_dir) / name
        self.rows = pq.read_table(self._folder / "plan.parquet")
        """CAPTURES_SCHEMA, by (warc_file, warc_offset)."""
        self._lock = threading.Lock()
        self._entries = self._read_journal()
        size = max((entry.at + entry.length for entry in self._entries.values()), default=0)
        self._data = open(self._folder / "data", "a+b")  # noqa: SIM115 - open while the batch is
        self._data.truncate(size)  # behind it lies what a killed run had not named yet
        self._journal = open(self._folder / "journal", "ab")  # noqa: SIM115

    @staticmethod
    def plan(out_dir: Path, name: str, rows: pa.Table) -> None:
        """Write down what a batch is to have; from then on a re-run takes it up."""
        folder = work_dir(out_dir) / name
        partial = fresh_partial(folder)
        partial.mkdir(parents=True)
        pq.write_table(rows.cast(CAPTURES_SCHEMA), partial / "plan.parquet")
        publish(partial, folder)

    def left(self) -> list[int]:
        """Rows without an outcome, or that failed when this batch was last worked on."""
        return [place for place in range(self.rows.num_rows) if self._outcome(place) in ("", "failed")]

    def add(self, results: Sequence[Result]) -> None:
        """Keep what came of some records; on the disk when this returns."""
        with self._lock:
            at = self._data.seek(0, os.SEEK_END)
            lines = []
            for result in results:
                self._data.write(result.data)
                entry = _Entry(result.outcome, result.reason, result.detail, at, len(result.data))
                at += entry.length
                self._entries[result.place] = entry
                lines.append(json.dumps([result.place, *(getattr(entry, name) for name in _Entry.__slots__)]))
            _flush(self._data)
            self._journal.write(("\n".join(lines) + "\n").encode())
            _flush(self._journal)

    def publish(self, missing: Result) -> Counter[str]:
        """Give the WARC file, its pointers and the outcomes their names, and drop the folder; the counts of outcomes.

        missing: what came of records that have no outcome; its place does not matter.
        """
        entries = [self._entries.get(place) for place in range(self.rows.num_rows)]
        outcomes = [entry or _Entry(missing.outcome, missing.reason, missing.detail, 0, 0) for entry in entries]
        fetched = [place for place, entry in enumerate(outcomes) if entry.outcome == "fetched"]
        if fetched:
            self._publish_warc(fetched, outcomes)
        columns: Mapping[str, Any] = {
            **{name: self.rows[name] for name in OUTCOMES_SCHEMA.names if name in self.rows.column_names},
            **{name: [getattr(entry, name) for entry in outcomes] for name in ("outcome", "reason", "detail")},
        }
        path = outcomes_dir(self._out_dir) / f"{self.name}.parquet"
        partial = fresh_partial(path)
        pq.write_table(pa.table(columns, schema=OUTCOMES_SCHEMA), partial)
        os.replace(partial, path)
        self.close()
        remove(self._folder)
        return Counter(entry.outcome for entry in outcomes)

    def close(self) -> None:
        """Close the files; what was added stays."""
        self._data.close()
        self._journal.close()

    def _publish_warc(self, fetched: Sequence[int], outcomes: Sequence[_Entry]) -> None:
        """The members in the order of the plan, and beside them where each came from; the pointers come first."""
        path = self._out_dir / "web" / f"{self.name}.warc.gz"
        partial = fresh_partial(path)
        offsets, at = [], 0
        with open(partial, "wb") as file:
            for place in fetched:
                self._data.seek(outcomes[place].at)
                offsets.append(at)
                at += file.write(self._data.read(outcomes[place].length))
            _flush(file)
        rows = self.rows.take(fetched)
        pointers = {"local_offset": pa.array(offsets, pa.int64()), **{n: rows[n] for n in POINTERS_SCHEMA.names[1:]}}
        beside = Path(pointers_path(str(path)))
        partial_pointers = fresh_partial(beside)
        pq.write_table(pa.table(pointers, schema=POINTERS_SCHEMA), partial_pointers)
        os.replace(partial_pointers, beside)
        os.replace(partial, path)

    def _outcome(self, place: int) -> str:
        entry = self._entries.get(place)
        return entry.outcome if entry else ""

    def _read_journal(self) -> dict[int, _Entry]:
        """The last entry of each record; a line that a kill cut off ends the journal, and is cut off from it."""
        path = self._folder / "journal"
        entries: dict[int, _Entry] = {}
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            place, *values = json.loads(line)
            entries[place] = _Entry(*values)
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        return entries


def work_dir(out_dir: Path) -> Path:
    """Where a fetch keeps what it needs to go on."""
    return out_dir / ".fetch"


def outcomes_dir(out_dir: Path) -> Path:
    """The outcomes of finished batches, a Parquet file each."""
    return work_dir(out_dir) / "outcomes"


def open_batches(out_dir: Path) -> list[str]:
    """The names of planned batches that are not finished, in order; what a kill left of finished ones goes."""
    names = []
    for folder in sorted(work_dir(out_dir).glob("part-*")):
        if folder.name.endswith(".partial") or (outcomes_dir(out_dir) / f"{folder.name}.parquet").exists():
            remove(folder)
        else:
            names.append(folder.name)
    return names


def next_name(out_dir: Path) -> str:
    """The name of a new batch, part-00000 and on."""
    taken = [*outcomes_dir(out_dir).glob("part-*.parquet"), *work_dir(out_dir).glob("part-*")]
    return f"part-{max((int(path.name[5:10]) for path in taken), default=-1) + 1:05d}"


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
