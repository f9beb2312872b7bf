"""The pages that every side works on, as small WARC files of members copied from the web data byte for byte."""

import gzip
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

from mining.classifier import MATH, OTHER, ClassifierConfig, fasttext_line, train
from mining.errors import RecordError
from mining.html.charset import decode
from mining.ingest import IngestConfig, is_html, read_pages
from mining.page import Page
from mining.warc import RawRecord, read_responses


def write_blocks(data_dir: Path, folder: Path, *, num_blocks: int, block_pages: int) -> list[Path]:
    """Files of `block_pages` random HTML pages each, the pages in the order of their addresses' hashes."""
    ranked: list[tuple[bytes, Path, int, int]] = []
    seen: set[str] = set()
    for warc in sorted((data_dir / "web").glob("*.warc.gz")):
        for raw in read_responses(str(warc), max_payload_bytes=IngestConfig().max_payload_bytes):
            if raw.url not in seen and _is_page(raw):
                seen.add(raw.url)
                rank = hashlib.sha1(raw.url.encode("utf-8", "surrogatepass")).digest()
                ranked.append((rank, warc, raw.warc_offset, raw.warc_length))
    ranked.sort()
    files: list[Path] = []
    for number in range(min(num_blocks, len(ranked) // block_pages)):
        files.append(folder / f"block-{number:03d}.warc.gz")
        _copy(ranked[number * block_pages : (number + 1) * block_pages], files[-1])
    return files


def write_first_page(block: Path, path: Path) -> None:
    """A file of the block's first page alone."""
    raw = next(read_responses(str(block), max_payload_bytes=IngestConfig().max_payload_bytes))
    _copy([(b"", block, raw.warc_offset, raw.warc_length)], path)


def train_as_round_one(data_dir: Path, folder: Path) -> Path:
    """A model of the seed's positives, its negatives and a page of the crawl a positive, as a first round trains it."""
    documents = [(MATH, text) for text in _seed(data_dir / "seed" / "positive.jsonl.gz")]
    num_positives = len(documents)
    documents += [(OTHER, text) for text in _seed(data_dir / "seed" / "negative.jsonl.gz")]
    crawl: list[str] = []
    for warc in sorted((data_dir / "web").glob("*.warc.gz")):
        pages = read_pages(str(warc), warc_file=warc.name, crawl="", cfg=IngestConfig())
        crawl += [page.text for page in pages if isinstance(page, Page)]
        if len(crawl) >= num_positives:
            break
    documents += [(OTHER, text) for text in crawl[:num_positives]]
    random.Random(0).shuffle(documents)
    cfg = ClassifierConfig()
    lines = ((label, fasttext_line(text, max_chars=cfg.max_chars)) for label, text in documents)
    train(lines, folder / "classifier.bin", cfg=cfg, work_dir=folder)
    return folder / "classifier.bin"


def _is_page(raw: RawRecord) -> bool:
    if raw.problem or raw.http_status != 200 or not raw.payload.strip() or not is_html(raw.content_type, raw.payload):
        return False
    try:
        decode(raw.payload, http_content_type=raw.content_type)
    except RecordError:
        return False
    return True


def _copy(members: list[tuple[bytes, Path, int, int]], path: Path) -> None:
    with open(path, "wb") as out:
        for _, warc, offset, length in members:
            with open(warc, "rb") as stream:
                stream.seek(offset)
                out.write(stream.read(length))


def _seed(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as rows:
        for row in rows:
            yield json.loads(row)["text"]
