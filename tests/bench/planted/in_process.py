"""Our dedup stage over Parquet pages without Spark, as it runs for corpora that fit memory.

in_process.py PAGES OUT CORES: the pages that stay are written to OUT/kept.parquet, as datatrove's last stage does.
"""

import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from mining.dedup import dedup
from mining.minhash import DedupConfig


def main() -> None:
    """Find the duplicates, then copy what stays, file by file."""
    pages, out, cores = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    table = out / "duplicates"
    dedup(pages, keys=out / "keys", table=table, cfg=DedupConfig(), earlier=[], num_workers=cores)
    removed = pq.read_table(table, columns=["page_id"])["page_id"].combine_chunks()
    with pq.ParquetWriter(out / "kept.parquet", pq.read_schema(next(pages.glob("*.parquet")))) as writer:
        for path in sorted(pages.glob("*.parquet")):
            rows = pq.read_table(path)
            writer.write_table(rows.filter(pc.invert(pc.is_in(rows["page_id"], value_set=removed))))


if __name__ == "__main__":
    main()
