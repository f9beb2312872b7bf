"""The scores of a round's pages, a batch of rows at a time: what every engine calls, with no engine in it."""

import pyarrow as pa

from mining.classifier import Classifier, fasttext_line

SCORES_SCHEMA = pa.schema(
    [
        ("page_id", pa.string()),
        ("url", pa.string()),
        ("host", pa.string()),
        ("domain", pa.string()),
        ("language", pa.string()),
        ("n_tokens", pa.int32()),
        ("score", pa.float64()),
    ]
)
"""A page's score with the columns that the later steps of a round group by."""

PAGE_COLUMNS = [*SCORES_SCHEMA.names[:-1], "text"]
"""What `score_batch` reads of a page."""


def score_batch(batch: pa.RecordBatch, classifier: Classifier, *, max_chars: int) -> pa.RecordBatch:
    """The SCORES_SCHEMA rows of a batch of pages with PAGE_COLUMNS, in its order; other columns are passed over."""
    scores = [classifier.score(fasttext_line(text, max_chars=max_chars)) for text in batch.column("text").to_pylist()]
    columns = [batch.column(name) for name in SCORES_SCHEMA.names[:-1]]
    return pa.RecordBatch.from_arrays([*columns, pa.array(scores, pa.float64())], schema=SCORES_SCHEMA)
