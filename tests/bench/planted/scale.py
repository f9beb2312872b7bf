"""The dedup stage on Spark at growing sizes: seconds, memory, shuffles, and how time grows."""

import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from planted import documents, watched

Measurement = dict[str, float | int | None]


def measure(sizes: Sequence[int], cores: int) -> Iterator[Measurement]:
    """One run a size, each in a process of its own with a driver heap of 4 GB."""
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="dedup-scale-") as folder:
            pages, out = Path(folder) / "pages", Path(folder) / "out"
            clusters = documents.write(documents.planted(size), pages)
            stage = Path(__file__).with_name("our_stage.py")
            cost = watched.run([sys.executable, stage, pages, out, str(cores), "node"], {"OMP_NUM_THREADS": "1"})
            facts = json.loads(cost.stdout.splitlines()[-1])
            removed = pq.read_table(out / "duplicates", columns=["page_id", "kept_id"])
            wrong = sum(
                clusters[int(page, 16)] != clusters[int(kept, 16)]
                for page, kept in zip(*(column.to_pylist() for column in removed.columns), strict=True)
            )
            yield {
                "documents": size,
                "seconds": facts["work_s"],
                "session_start_s": facts["start_s"],
                "documents_per_s": size / facts["work_s"],
                "cpu_seconds": cost.cpu_seconds,
                "peak_rss_mb": cost.peak_rss_mb,
                "shuffle_mb": facts["shuffle_mb"],
                "removed": len(removed),
                "leftovers": size - len(removed) - len(set(clusters)),
                "wrongly_removed": wrong,
            }


def growth_exponent(rows: Sequence[Measurement], field: str) -> float | None:
    """The slope of log(field) over log(documents) between the first and the last size; 1 is linear growth."""
    first, last = rows[0], rows[-1]
    if len(rows) < 2:
        return None
    return math.log(float(last[field] or 0) / float(first[field] or 1)) / math.log(
        float(last["documents"] or 0) / float(first["documents"] or 1)
    )
