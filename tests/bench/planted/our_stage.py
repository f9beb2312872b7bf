"""Our dedup stage over Parquet pages, in a Spark session of its own.

our_stage.py PAGES OUT CORES SCALE: the pages that stay are written to OUT/kept, the table of duplicates to
OUT/duplicates; prints {"start_s", "work_s", "shuffle_mb"}: seconds until the session stood, seconds after that, and
what Spark wrote for its shuffles.
"""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

from pyspark.sql import SparkSession

from mining.config import DedupConfig, SparkConfig
from mining.spark.near_dups import find_duplicates
from mining.spark.session import start_session
from mining.spark.tables import read_table, write_table


def shuffle_mb(session: SparkSession) -> float | None:
    """Megabytes written for shuffles by all stages so far; None where the session runs without its web interface."""
    url = session.sparkContext.uiWebUrl
    if url is None:
        return None
    port = url.rsplit(":", 1)[1]
    api = f"http://localhost:{port}/api/v1/applications/{session.sparkContext.applicationId}/stages"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(api) as answer:
        return sum(stage["shuffleWriteBytes"] for stage in json.load(answer)) / 2**20


def main() -> None:
    """Find the duplicates and write what stays, as datatrove's last stage does."""
    pages_dir, out, cores, scale = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.environ["PYSPARK_PYTHON"] = sys.executable
    clock = time.monotonic()
    session = start_session(SparkConfig(master=f"local[{cores}]", driver_memory="4g"), scale=scale)
    start_s = time.monotonic() - clock
    clock = time.monotonic()
    pages = session.read.parquet(str(pages_dir))
    write_table(find_duplicates(session, pages, work_dir=out / "work", cfg=DedupConfig()), out / "duplicates")
    removed = read_table(session, out / "duplicates").select("page_id")
    write_table(pages.join(removed, "page_id", "left_anti"), out / "kept")
    work_s = time.monotonic() - clock
    print(json.dumps({"start_s": start_s, "work_s": work_s, "shuffle_mb": shuffle_mb(session)}))
    session.stop()


if __name__ == "__main__":
    main()
