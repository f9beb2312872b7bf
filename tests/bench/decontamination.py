"""Decontamination beside ingest and beside datatrove's n-gram filter: rate, memory, planted problems found.

    python tests/bench/decontamination.py [--pages 1500] [--planted 400] [--json]

One thread, CPU time, real pages and benchmarks of ../shared/data (or MOTHERLODE_DATA). Ingest is timed on the responses
that the pages come from; a ratio above 1 says that ingest stays the bottleneck. datatrove's filter is given the same
texts and 10-grams in its own environment (.bench-peers/datatrove, which `make bench` makes for tests/bench/dedup.py;
its rows are left out without it), with its default normalisation, which writes every number as 0. Planted are problems
and solutions of all benchmark files with layout, case, LaTeX spelling and punctuation changed, each between two halves
of a page; the pages without them say what each takes besides: on real pages there is no truth, but none holds a leak
(the longest run of ours is 21 units, a matrix).
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from rewritten_leaks import rewritten  # noqa: E402

from mining.decontaminate import BenchmarkIndex, BenchmarkItem, DecontaminateConfig, build, find  # noqa: E402
from mining.grams import fold, units_of  # noqa: E402
from mining.ingest import IngestConfig, read_pages  # noqa: E402
from mining.inputs import find_files  # noqa: E402
from mining.page import Page  # noqa: E402
from mining.spark.corpus import read_benchmarks  # noqa: E402

_DATATROVE = REPOSITORY / ".bench-peers" / "datatrove" / "bin" / "python"


def real_pages(data: Path, count: int) -> tuple[list[str], float]:
    """The texts of `count` pages, and ingest's responses a CPU second on the way to them."""
    texts: list[str] = []
    responses = 0
    started = time.process_time()
    for path in sorted((data / "web").glob("part-*.warc.gz")):
        for row in read_pages(str(path), warc_file=path.name, crawl="", cfg=IngestConfig()):
            responses += 1
            if isinstance(row, Page):
                texts.append(row.text)
            if len(texts) == count:
                return texts, responses / (time.process_time() - started)
    raise SystemExit(f"--pages {count}: {data} has only {len(texts)}")


def planted_in(
    texts: list[str], items: list[BenchmarkItem], index: BenchmarkIndex, count: int
) -> tuple[list[str], list[BenchmarkItem]]:
    """Pages with a rewritten problem in the middle, and the problems: 12 units or more, a word among them."""
    draw = random.Random(0)
    ignored = {(text.benchmark, text.item, text.text) for text in index.ignored}
    chosen: list[BenchmarkItem] = []
    for item in draw.sample(items, len(items)):
        is_sought = (item.benchmark, item.item, item.text) not in ignored
        if is_sought and len(units_of(fold(item.text)).hashes) >= 12:
            chosen.append(item)
        if len(chosen) == count:
            break
    pages = []
    for number, item in enumerate(chosen):
        host = texts[number % len(texts)]
        pages.append(f"{host[: len(host) // 2]}\n{rewritten(item.text, number)}\n{host[len(host) // 2 :]}")
    return pages, chosen


def by_datatrove(items: list[BenchmarkItem], pages: list[str]) -> dict[str, Any] | None:
    """What the peer says of the pages, None where its environment is absent."""
    if not _DATATROVE.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.jsonl"
        rows = [{"kind": "benchmark", "text": item.text} for item in items]
        rows += [{"kind": "page", "text": page} for page in pages]
        texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        worker = Path(__file__).with_name("leaks") / "datatrove_filter.py"
        ran = subprocess.run(
            [_DATATROVE, worker, texts, Path(folder) / "index", "10"], capture_output=True, text=True, check=True
        )
        answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return answer


def row(
    case: str, metric: str, ours: float, peer: str, theirs: float, *, less_is_better: bool = False
) -> dict[str, Any]:
    """A result row; ratio above 1: ours is better."""
    better, worse = (theirs, ours) if less_is_better else (ours, theirs)
    ratio = better / worse if worse else None
    return {"case": case, "metric": metric, "ours": ours, "peer": peer, "theirs": theirs, "ratio": ratio}


def measure(data: Path, num_pages: int, num_planted: int) -> list[dict[str, Any]]:
    """All rows."""
    texts, ingest_rate = real_pages(data, num_pages)
    items = list(read_benchmarks(find_files(["benchmarks/*.jsonl.gz"], data_dir=str(data), field="benchmarks")))
    started = time.process_time()
    index = build(items, DecontaminateConfig())
    build_s = time.process_time() - started
    leaks, planted = planted_in(texts, items, index, num_planted)
    rates = []
    for _ in range(3):
        started = time.process_time()
        taken = sum(bool(find(text, index)) for text in texts)
        rates.append(len(texts) / (time.process_time() - started))
    ours = sorted(rates)[1]
    found = 0
    for page, item in zip(leaks, planted, strict=True):
        found += (item.benchmark, item.item) in {(match.benchmark, match.item) for match in find(page, index)}
    case = f"{len({item.benchmark for item in items})} benchmarks, {len(texts):,} real pages"
    rows = [row(case, "pages_per_cpu_s", ours, "our ingest (responses)", ingest_rate)]
    peer = by_datatrove(items, texts + leaks)
    if peer:
        their_rate = len(texts + leaks) / peer["cpu_s"]
        hits = peer["hits"]
        rows += [
            row(case, "pages_per_cpu_s", ours, "datatrove", their_rate),
            row(
                f"{len(leaks)} planted",
                "found_share",
                found / len(leaks),
                "datatrove",
                sum(hits[len(texts) :]) / len(leaks),
            ),
            row(case, "pages_taken", taken, "datatrove", sum(hits[: len(texts)]), less_is_better=True),
        ]
    else:
        sys.stderr.write(f"datatrove is left out: no {_DATATROVE}\n")
    sys.stderr.write(
        f"index: {len(index.grams):,} grams, {index.num_bytes() / 1e6:.0f} MB, built in {build_s:.1f} CPU s; "
        f"planted found: {found} of {len(leaks)}\n"
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=1500)
    parser.add_argument("--planted", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    data = Path(os.environ.get("MOTHERLODE_DATA", REPOSITORY.parent / "shared" / "data"))
    rows = measure(data, options.pages, options.planted)
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    table = Table("case", "metric", "ours", "peer", "theirs", "ratio")
    for one in rows:
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}"
        table.add_row(one["case"], one["metric"], f"{one['ours']:.3g}", one["peer"], f"{one['theirs']:.3g}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
