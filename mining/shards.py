"""WARC files to pages/ and dropped/, one file at a time, whichever engine hands the files out.

Every WARC file becomes one Parquet file of pages and one of dropped responses under ingesting/; both get their names
when they are whole, and then the file's counts are written: what has counts is never read again, however the run
ended. When all files have counts, the two folders are published. Several engines, or a worker that outlived its
driver, may work on one file at a time: each writes under a name of its own, and all would write the same.
"""

import dataclasses
import json
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from mining.crawl.pointers import pointers_path, read_pointers
from mining.errors import ConfigError, ShardError
from mining.ingest import Dropped, IngestConfig, read_pages
from mining.inputs import InputFile, crawl_of, provenance_names
from mining.page import DROPPED_SCHEMA, PAGES_SCHEMA, Page
from mining.store import digest, publish, remove, write_json, write_text

_ROWS_A_GROUP = 2000
_MOST_ERRORS_SHOWN = 20
_COUNTED = ("dropped", "other_records", "formulas_found", "formulas_kept")


@dataclass(frozen=True, slots=True)
class Shard:
    """One WARC file to read."""

    uri: str
    warc_file: str
    """The name that provenance keeps."""
    crawl: str

    @property
    def key(self) -> str:
        """What its files are called: 16 hex digits of `warc_file`."""
        return xxhash.xxh3_64_hexdigest(self.warc_file)


@dataclass(frozen=True)
class Ingest:
    """The ingest stage on a run directory; a plain value that pickles, for workers."""

    run_dir: Path
    cfg: IngestConfig
    inputs_hash: str

    @property
    def work_dir(self) -> Path:
        """Where files are collected until all are there."""
        return self.run_dir / "ingesting"

    def prepare(self, shards: Sequence[Shard]) -> None:
        """An empty work folder, or the one that a killed run with the same inputs left."""
        stamp = self.work_dir / "inputs"
        if not stamp.exists() or stamp.read_text() != self.inputs_hash:
            remove(self.work_dir)
            (self.work_dir / "counts").mkdir(parents=True)
            write_text(stamp, self.inputs_hash)
        if self.pending(shards):  # else the run was killed while it published: nothing is left to collect
            for name in ("pages", "dropped"):
                (self.work_dir / name).mkdir(exist_ok=True)

    def pending(self, shards: Sequence[Shard]) -> list[Shard]:
        """The files that have no counts yet."""
        return [shard for shard in shards if not self._counts_path(shard).exists()]

    def read(self, shard: Shard) -> dict[str, Any]:
        """Read one WARC file into its two tables unless that is done; its counts, or `error` where it is unreadable.

        Counts: warc_file, pages, tokens, dropped by reason, records of other types, formulas found and kept by kind.
        Raises ShardError where the tables cannot be written, or where the work folder belongs to another config by
        now.
        """
        counts_path, error_path = self._counts_path(shard), self._error_path(shard)
        if counts_path.exists():
            counts: dict[str, Any] = json.loads(counts_path.read_text(encoding="utf-8"))
            return counts
        self._check_stamp()
        try:
            with (
                _Writer(self.work_dir / "pages" / f"part-{shard.key}.parquet", PAGES_SCHEMA) as pages,
                _Writer(self.work_dir / "dropped" / f"part-{shard.key}.parquet", DROPPED_SCHEMA) as dropped,
            ):
                counts = _read_into(shard, self.cfg, pages, dropped)
        except ConfigError as error:  # not a WARC, or gone: the other files go on
            write_text(error_path, str(error))
            return {"warc_file": shard.warc_file, "error": str(error)}
        error_path.unlink(missing_ok=True)
        write_json(counts_path, counts)
        return counts

    def publish(self, shards: Sequence[Shard]) -> dict[str, Any]:
        """Give pages/ and dropped/ their names once every file is read; the stage's facts.

        Raises ConfigError naming the files that could not be read, ShardError where no file gave a page.
        """
        errors = [_error_of(self._error_path(shard), shard) for shard in self.pending(shards)]
        if errors:
            raise ConfigError(
                f"ingest: {len(errors)} of {len(shards)} files cannot be read:\n  "
                + "\n  ".join(errors[:_MOST_ERRORS_SHOWN])
                + "\nmend them or leave them out of ingest.warcs, then run the same line again: the others are kept"
            )
        pages = tokens = 0
        sums: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
        for shard in shards:
            counts = json.loads(self._counts_path(shard).read_text(encoding="utf-8"))
            pages, tokens = pages + counts["pages"], tokens + counts["tokens"]
            for name in _COUNTED:
                sums[name].update(counts[name])
        dropped = sums["dropped"]
        by_count = dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))
        formulas = {
            kind: {"found": found, "kept": sums["formulas_kept"][kind]}
            for kind, found in sorted(sums["formulas_found"].items())
        }
        if not pages:
            raise ShardError(
                f"ingest: no page in {len(shards)} WARC files ({sum(dropped.values())} responses dropped: "
                f"{by_count or 'there were none'}); look at ingest.language and ingest.min_chars"
            )
        for name in ("pages", "dropped"):
            folder = self.work_dir / name
            if folder.exists():
                for left in folder.glob(".*.partial"):
                    left.unlink()
                publish(folder, self.run_dir / name)
        total = pages + sum(dropped.values())
        others = dict(sorted(sums["other_records"].items()))
        return {
            "in_": total, "kept": pages, "tokens": tokens, "files": len(shards), "dropped": by_count,
            "other_records": others, "formulas": formulas,
        }  # fmt: skip

    def close(self) -> None:
        """Remove the work folder, once the manifest knows the stage."""
        remove(self.work_dir)

    def _check_stamp(self) -> None:
        try:
            stamp = (self.work_dir / "inputs").read_text()
        except FileNotFoundError:
            stamp = ""
        if stamp != self.inputs_hash:
            raise ShardError(f"{self.work_dir}: another ingest was started here since; run the same line again")

    def _counts_path(self, shard: Shard) -> Path:
        return self.work_dir / "counts" / f"{shard.key}.json"

    def _error_path(self, shard: Shard) -> Path:
        return self.work_dir / "counts" / f"{shard.key}.error"


def ingest_hash(files: Sequence[InputFile], cfg: IngestConfig) -> str:
    """What pages/ depends on: the files found, by name, size and version, and how they are read.

    The pointers beside a local file count with it; those of a remote one are never without it, and not looked up.
    """
    found = sorted(
        [name, *file.facts(), *_pointers_facts(file)] for name, file in zip(provenance_names(files), files, strict=True)
    )
    return digest([{**dataclasses.asdict(cfg), "warcs": []}, found])


def shards_of(files: Sequence[InputFile], cfg: IngestConfig) -> list[Shard]:
    """The files with the names that provenance keeps, the largest first.

    A file is read by one task: a gigabyte that began last would be waited for when all the others are done.
    """
    named = sorted(zip(files, provenance_names(files), strict=True), key=lambda pair: (-pair[0].size, pair[0].uri))
    return [Shard(file.uri, name, crawl_of(file.uri, cfg.crawl)) for file, name in named]


def _read_into(shard: Shard, cfg: IngestConfig, pages: "_Writer", dropped: "_Writer") -> dict[str, Any]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
    tokens = 0
    others = counts["other_records"]
    try:
        places = read_pointers(shard.uri)
        for row in read_pages(
            shard.uri, warc_file=shard.warc_file, crawl=shard.crawl, cfg=cfg, others=others, pointers=places
        ):
            if isinstance(row, Page):
                pages.add(row)
                tokens += row.n_tokens
                for one in row.formulas_by_kind:
                    counts["formulas_found"][one["kind"]] += one["found"]
                    counts["formulas_kept"][one["kind"]] += one["kept"]
            else:
                dropped.add(row)
                counts["dropped"][row.reason] += 1
    except OSError as error:  # the writers' own are ShardErrors by now
        raise ConfigError(f"{shard.uri}: cannot be read ({error})") from None
    by_name = {name: dict(sorted(one.items())) for name, one in counts.items()}
    return {"warc_file": shard.warc_file, "pages": pages.rows, "tokens": tokens, **by_name}


def _pointers_facts(file: InputFile) -> list[str]:
    """The version of the pointers beside a local WARC file; nothing where there are none."""
    path = Path(pointers_path(file.uri))
    return [str(path.stat().st_mtime_ns)] if "://" not in file.uri and path.exists() else []


def _error_of(path: Path, shard: Shard) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else f"{shard.uri}: not read yet; run the same line again"


class _Writer:
    """A Parquet file that gets its name when it is whole, and leaves nothing when it never gets so far."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        # Hidden, so that an engine which reads the folder passes over what a killed worker left.
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        self._schema = schema
        self._buffer: list[Page | Dropped] = []
        self.rows = 0

    def __enter__(self) -> "_Writer":
        with _writing(self._partial):
            self._file = open(self._partial, "wb")
            # Without checksums a flipped bit in a page would be read as text.
            self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd", write_page_checksum=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                with _writing(self._partial):
                    self._flush()
                    self._writer.close()
                    self._file.close()
                    self._partial.replace(self._path)
        finally:
            with suppress(OSError):  # a full disk complains once more about what was buffered
                self._writer.close()
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def add(self, row: Page | Dropped) -> None:
        self._buffer.append(row)
        self.rows += 1
        if len(self._buffer) >= _ROWS_A_GROUP:
            with _writing(self._partial):
                self._flush()

    def _flush(self) -> None:
        columns = {name: [_clean(getattr(row, name)) for row in self._buffer] for name in self._schema.names}
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._buffer.clear()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns an OSError into a ShardError that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        raise ShardError(
            f"{path}: cannot be written ({error}); mend that (free some space?) and run the same line again"
        ) from None


def _clean(value: Any) -> Any:
    """Lone surrogates, which no UTF-8 column can hold, become U+FFFD."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode("utf-8")
    return value
