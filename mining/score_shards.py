"""Pages to scores/, one Parquet file of pages at a time, whichever engine hands the files out.

Every file of pages becomes one file of scores in a work folder beside the table, and gets its name when it is whole:
what has its name is not scored again, however the run ended. When all are there, the folder is published.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from mining.audits import calibrating, read_audits
from mining.calibration import MIN_OF_EACH
from mining.classifier import Classifier, open_classifier
from mining.errors import ConfigError, ShardError, StoreError
from mining.scoring import PAGE_COLUMNS, SCORES_SCHEMA, score_batch
from mining.store import Store, digest, file_digest, publish, read_json, remove, write_json, write_text

_ROWS_A_BATCH = 1000
_MOST_FILES_NAMED = 5


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of a pages table."""

    name: str
    """Unique among the files that are scored together: table and file."""
    path: Path

    @property
    def key(self) -> str:
        """What its scores are called: 16 hex digits of `name`."""
        return xxhash.xxh3_64_hexdigest(self.name)


@dataclass(frozen=True)
class PageTable:
    """A pages table, and the pages of it that went as duplicates."""

    name: str
    pages: Path
    duplicates: Path | None
    """None: no page went."""

    def files(self) -> list[PageFile]:
        """Its files by name; ConfigError where there are none, or none with the columns of pages."""
        found = sorted(self.pages.glob("*.parquet"))
        if not found:
            raise ConfigError(f"{self.pages}: no Parquet file there; name a folder of pages, or a run directory")
        try:
            missing = [name for name in PAGE_COLUMNS if name not in pq.read_schema(found[0]).names]
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{found[0]}: damaged Parquet ({error}); make this table again") from None
        if missing:
            raise ConfigError(f"{found[0]}: no column {', '.join(missing)}; pages as mine.py writes them are needed")
        return [PageFile(f"{self.name}/{path.name}", path) for path in found]


@dataclass(frozen=True)
class Scoring:
    """A pass of one round's classifier over tables of pages; a plain value that pickles, for workers."""

    tables: tuple[PageTable, ...]
    model: Path
    max_chars: int
    table: Path
    """Where the scores go."""
    inputs_hash: str
    version: str
    """Digest of the model."""
    in_round: bool
    """Whether they are the round's own scores, which lie beside its calibration."""

    @property
    def work_dir(self) -> Path:
        """Where files are collected until all are there."""
        return self.table.with_name(f"{self.table.name}.scoring")

    def files(self) -> dict[str, PageFile]:
        """The files to score, by name."""
        return {file.name: file for table in self.tables for file in table.files()}

    def is_done(self) -> bool:
        """Whether the scores stand under their name; made by whom, it does not matter."""
        return self.table.exists() and (not self.in_round or _calibration(self.table).exists())

    def prepare(self) -> None:
        """An empty work folder, or the one that a killed pass with the same inputs left."""
        stamp = self.work_dir / "inputs"
        if not stamp.exists() or stamp.read_text() != self.inputs_hash:
            remove(self.work_dir)
            (self.work_dir / "scores").mkdir(parents=True)
            write_text(stamp, self.inputs_hash)

    def pending(self, files: Mapping[str, PageFile]) -> list[str]:
        """The names of the files that have no scores yet."""
        return [name for name, file in files.items() if not self._scores_path(file).exists()]

    def classifier(self) -> Classifier:
        """The model, loaded once a process; ConfigError where it is not the one that the pass began with."""
        if file_digest(self.model) != self.version:
            raise ConfigError(f"{self.model}: trained again since this pass began; run the same line again")
        return open_classifier(str(self.model), self.version)

    def removed_among(self, files: Sequence[PageFile]) -> frozenset[str]:
        """The page_ids of these files' pages that went as duplicates.

        The tables of duplicates are passed over once, however large; what is held are ids of the files' own pages.
        """
        removed: set[str] = set()
        for table in self.tables:
            if table.duplicates is None:
                continue
            own = {
                page_id
                for file in files
                if file.path.parent == table.pages
                for batch in _batches(file.path, ["page_id"])
                for page_id in batch.column("page_id").to_pylist()
            }
            for path in sorted(table.duplicates.glob("*.parquet")) if own else []:
                for batch in _batches(path, ["page_id"]):
                    removed.update(own.intersection(batch.column("page_id").to_pylist()))
        return frozenset(removed)

    def score(self, file: PageFile, classifier: Classifier, removed: frozenset[str]) -> dict[str, int]:
        """Write one file's scores unless they stand; how many pages have one, and how many went as duplicates."""
        path = self._scores_path(file)
        total = _num_rows(file.path)
        if path.exists():
            pages = _num_rows(path)
            return {"pages": pages, "duplicates": total - pages}
        self._check_stamp()
        gone = pa.array(sorted(removed), pa.string())
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            with pq.ParquetWriter(partial, SCORES_SCHEMA, compression="zstd", write_page_checksum=True) as writer:
                pages = 0
                for batch in _batches(file.path, PAGE_COLUMNS):
                    if len(gone):
                        batch = batch.filter(pc.invert(pc.is_in(batch.column("page_id"), value_set=gone)))
                    writer.write_batch(score_batch(batch, classifier, max_chars=self.max_chars))
                    pages += batch.num_rows
            partial.replace(path)
        except OSError as error:
            raise ShardError(
                f"{path}: cannot be written ({error}); mend that (free some space?) and run the same line again"
            ) from None
        finally:
            partial.unlink(missing_ok=True)
        return {"pages": pages, "duplicates": total - pages}

    def publish(self) -> dict[str, int]:
        """Give the scores their name once every file has them; the number of files and of pages.

        ShardError naming files without scores.
        """
        files = self.files()
        left = self.pending(files)
        if left:
            named = ", ".join(left[:_MOST_FILES_NAMED]) + (" ..." if len(left) > _MOST_FILES_NAMED else "")
            raise ShardError(
                f"score: {len(left)} of {len(files)} files of pages have no scores ({named}); run the same line again"
            )
        scores = self.work_dir / "scores"
        for partial in scores.glob(".*.partial"):
            partial.unlink()
        pages = sum(_num_rows(self._scores_path(file)) for file in files.values())
        if self.in_round:
            write_json(_calibration(self.table), {})
        publish(scores, self.table)
        remove(self.work_dir)
        return {"files": len(files), "pages": pages}

    def _scores_path(self, file: PageFile) -> Path:
        return self.work_dir / "scores" / f"part-{file.key}.parquet"

    def _check_stamp(self) -> None:
        try:
            stamp = (self.work_dir / "inputs").read_text()
        except FileNotFoundError:
            stamp = ""
        if stamp != self.inputs_hash:
            raise ShardError(f"{self.work_dir}: another pass was started here since; run the same line again")


def scoring_of_round(store: Store, number: int) -> Scoring:
    """The score step of a run's round: its unique pages by its classifier, into its rounds/NN/scores.

    number: 0 for the newest round that has a classifier. ConfigError where there is none, where the pages are not
    deduplicated, or where the round's scores are weighed with audited pages, which this pass does not do.
    """
    here = _round_with_classifier(store, number)
    number = int(here.name)
    folders = [store.path, *(one.path for one in store.additions() if one.after_round < number)]
    tables = tuple(_unique_pages(folder, str(folder.relative_to(store.path))) for folder in folders)
    labels = calibrating(read_audits(here / "audits.csv"))
    math = sum(labels.values())
    if min(math, len(labels) - math) >= MIN_OF_EACH:
        raise ConfigError(
            f"round {number}: its scores are calibrated on {len(labels)} audited pages, which only mine.py does; run "
            "mine.py, or give the round none with --labels.pages"
        )
    return _scoring(here, tables, here / "scores", in_round=True)


def scoring_of_pages(store: Store, number: int, *, pages: Path, out: Path) -> Scoring:
    """A finished round's classifier over other pages: a run directory's unique ones, or all of a folder, into `out`.

    ConfigError as above, where the round's scores are calibrated (its cut would not fit), or `out` is something else.
    """
    here = _round_with_classifier(store, number)
    calibration = here / "calibration.json"
    if calibration.exists() and read_json(calibration):
        raise ConfigError(f"round {int(here.name)}: its scores are calibrated on audited pages; choose another --round")
    is_run = (pages / "manifest.json").exists()
    table = _unique_pages(pages.absolute(), "pages") if is_run else PageTable("pages", pages.absolute(), None)
    if out.exists() and not any(out.glob("part-*.parquet")):
        raise ConfigError(f"out={out}: is there and holds no scores; name a folder that is not there yet")
    return _scoring(here, (table,), out.absolute(), in_round=False)


def _round_with_classifier(store: Store, number: int) -> Path:
    trained = sorted(path.parent for path in store.path.glob("rounds/*/classifier.json"))
    found = [path for path in trained if not number or int(path.name) == number]
    if not found:
        which = f"round {number}" if number else "no round"
        raise ConfigError(
            f"{store.path}: {which} {'has no' if number else 'with a'} trained classifier; run mine.py first"
        )
    return found[-1]


def _unique_pages(folder: Path, name: str) -> PageTable:
    if not (folder / "duplicates").is_dir():
        raise ConfigError(f"{folder}: not deduplicated yet; run mine.py --stages ingest,dedup on it first")
    return PageTable(name, folder / "pages", folder / "duplicates")


def _scoring(here: Path, tables: tuple[PageTable, ...], out: Path, *, in_round: bool) -> Scoring:
    model = here / "classifier.bin"
    max_chars = read_json(here / "classifier.json")["max_chars"]
    version = file_digest(model)
    paths = [file.path for table in tables for file in table.files()]
    paths += [path for table in tables if table.duplicates for path in sorted(table.duplicates.glob("*.parquet"))]
    facts = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    return Scoring(tables, model, max_chars, out, digest([version, max_chars, facts]), version, in_round)


def _calibration(table: Path) -> Path:
    return table.with_name("calibration.json")


def _num_rows(file: Path) -> int:
    try:
        rows: int = pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{file}: damaged Parquet ({error}); make its table again") from None
    return rows


def _batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as source:
            yield from source.iter_batches(_ROWS_A_BATCH, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{file}: damaged Parquet ({error}); delete its table and run its stage again") from None
