"""Our page work: WARC file to scored rows, by the functions that ingest and the score step call on every engine."""

import sys
from collections.abc import Iterator
from itertools import islice

import pyarrow as pa
from worker import serve

from mining.classifier import ClassifierConfig, open_classifier
from mining.ingest import IngestConfig, read_pages
from mining.page import PAGES_SCHEMA, Page
from mining.scoring import PAGE_COLUMNS, score_batch

BATCH = 1000


def batches(pages: Iterator[Page]) -> Iterator[pa.RecordBatch]:
    """The pages' columns that scoring reads, as the table of pages gives them."""
    schema = pa.schema([PAGES_SCHEMA.field(name) for name in PAGE_COLUMNS])
    while few := list(islice(pages, BATCH)):
        columns = [[getattr(page, name) for page in few] for name in PAGE_COLUMNS]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def main() -> None:
    """Serve with the model given."""
    cfg, max_chars = IngestConfig(), ClassifierConfig().max_chars
    classifier = open_classifier(sys.argv[1], "")

    def score_file(path: str) -> int:
        found = read_pages(path, warc_file=path, crawl="", cfg=cfg)
        pages = (one for one in found if isinstance(one, Page))
        return sum(score_batch(batch, classifier, max_chars=max_chars).num_rows for batch in batches(pages))

    serve(score_file)


if __name__ == "__main__":
    main()
