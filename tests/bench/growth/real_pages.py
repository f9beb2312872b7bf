"""What pages of a real web cost in one process: CPU seconds of ingest by size, of indexing and scoring; bytes."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mining.band_index import INDEX_SCHEMA, PAGE_COLUMNS, index_rows
from mining.classifier import ClassifierConfig, open_classifier
from mining.ingest import IngestConfig, read_pages
from mining.minhash import MinHashConfig
from mining.scoring import score_batch
from mining.shards import Ingest, Shard
from mining.store import file_digest

_ROWS_A_BATCH = 1000
_CFG = IngestConfig(min_chars=100, crawl="REAL")


@dataclass(frozen=True)
class TextRates:
    """What the text of a table's pages costs, CPU seconds a page."""

    index_s: float
    """Shingles, signature, digest and URL key: the row of the band index."""
    score_s: float
    """The classifier's line and its score."""
    index_bytes: float
    """On disk, a page."""
    score_bytes: float


@dataclass(frozen=True)
class IngestRates:
    """What a WARC file's responses cost: `base_s` + `per_byte_s` * compressed bytes of the record, each."""

    base_s: float
    per_byte_s: float
    bytes_a_response: float
    """Compressed, the mean of those measured."""
    measured_s: float
    """CPU seconds a response of the whole files, reading and writing included."""
    kept_share: float
    """Responses that become pages."""
    page_bytes: float
    """Of pages/ on disk, a page."""
    dropped_bytes: float
    """Of dropped/ on disk, a response that is no page."""

    def seconds(self, compressed_bytes: float) -> float:
        """CPU seconds of a response of that size; what writing and reading take beside the page itself included."""
        fitted = self.base_s + self.per_byte_s * self.bytes_a_response
        return self.base_s + self.per_byte_s * compressed_bytes + (self.measured_s - fitted)


def ingest_rates(warcs: Sequence[Path]) -> IngestRates:
    """Read the files twice: once whole as the stage does, once with a clock at each response."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Ingest(Path(folder), _CFG, "measured")
        shards = [Shard(str(path), path.name, "REAL") for path in warcs]
        stage.prepare(shards)
        started = time.process_time()
        for shard in shards:
            stage.read(shard)
        seconds = time.process_time() - started
        facts = stage.publish(shards)
        sizes = {name: _folder_bytes(stage.run_dir / name) for name in ("pages", "dropped")}
    dropped = facts["in_"] - facts["kept"]
    lengths, clocks = _clocked(warcs)
    per_byte, base = np.polyfit(lengths, clocks, 1)
    return IngestRates(
        base_s=float(base),
        per_byte_s=float(per_byte),
        bytes_a_response=float(np.mean(lengths)),
        measured_s=seconds / facts["in_"],
        kept_share=facts["kept"] / facts["in_"],
        page_bytes=sizes["pages"] / facts["kept"],
        dropped_bytes=sizes["dropped"] / max(1, dropped),
    )


def text_rates(pages: Path, model: Path) -> TextRates:
    """Index and score a table of pages; its first 10,000."""
    batches = list(_first_batches(pages, 10))
    classifier = open_classifier(str(model), file_digest(model))
    max_chars = ClassifierConfig().max_chars
    index_s, index = _timed(lambda: [index_rows(batch.select(PAGE_COLUMNS), MinHashConfig()) for batch in batches])
    score_s, scores = _timed(lambda: [score_batch(batch, classifier, max_chars=max_chars) for batch in batches])
    count = sum(batch.num_rows for batch in batches)
    plain = {name: "none" if name in ("bands", "shingles") else "zstd" for name in INDEX_SCHEMA.names}
    sizes = [_file_bytes(pa.Table.from_batches(index), plain), _file_bytes(pa.Table.from_batches(scores), "zstd")]
    return TextRates(index_s / count, score_s / count, sizes[0] / count, sizes[1] / count)


def ingested(warcs: Sequence[Path], folder: Path) -> Path:
    """The pages of the files as a table under `folder`."""
    stage = Ingest(folder, _CFG, "pages")
    shards = [Shard(str(path), path.name, "REAL") for path in warcs]
    stage.prepare(shards)
    for shard in shards:
        stage.read(shard)
    stage.publish(shards)
    return folder / "pages"


def _clocked(warcs: Sequence[Path]) -> tuple[list[int], list[float]]:
    """Compressed bytes and CPU seconds of each response."""
    lengths, clocks = [], []
    for path in warcs:
        before = time.process_time()
        for row in read_pages(str(path), warc_file=path.name, crawl="REAL", cfg=_CFG):
            now = time.process_time()
            lengths.append(row.warc_length)
            clocks.append(now - before)
            before = time.process_time()
    return lengths, clocks


def _first_batches(pages: Path, most: int) -> Iterator[pa.RecordBatch]:
    for path in sorted(pages.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_A_BATCH):
            yield batch
            most -= 1
            if not most:
                return


def _timed(work: Callable[[], list[pa.RecordBatch]]) -> tuple[float, list[pa.RecordBatch]]:
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def _file_bytes(table: pa.Table, compression: str | dict[str, str]) -> int:
    with tempfile.NamedTemporaryFile() as file:
        pq.write_table(table, file.name, compression=compression)
        return Path(file.name).stat().st_size


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))
