"""datatrove's four MinHash stages over Parquet pages; run in the peer's own environment.

datatrove_stages.py PAGES WORK WORKERS: the documents that stay are written to WORK/kept as JSON lines.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import JsonlWriter


def main() -> None:
    """Run the stages one after the other, as datatrove's example does."""
    pages, work, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    tasks = len(list(pages.glob("*.parquet")))
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)

    def reader() -> ParquetReader:
        return ParquetReader(str(pages), id_key="page_id")

    stages = [
        (tasks, [reader(), MinhashDedupSignature(str(work / "signatures"), config=config)]),
        (14, [MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)]),
        (1, [MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config)]),
        (
            tasks,
            [reader(), MinhashDedupFilter(str(work / "remove")), JsonlWriter(str(work / "kept"), compression=None)],
        ),
    ]
    for number, (num_tasks, pipeline) in enumerate(stages, 1):
        LocalPipelineExecutor(
            pipeline, tasks=num_tasks, workers=min(workers, num_tasks), logging_dir=str(work / f"logs-{number}")
        ).run()


if __name__ == "__main__":
    main()
