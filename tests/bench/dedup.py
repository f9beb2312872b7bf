"""Deduplication of planted clusters from Parquet to Parquet, ours beside datatrove's four stages and two LSH libraries.

    python tests/bench/dedup.py [--documents 20000] [--worksheets 500] [--workers 2] [--json]
    python tests/bench/dedup.py --scale 250000,500000,1000000 [--workers 2] [--json]

All sides read the same documents, use 14 bands of 8 rows and write the documents that stay; each runs in a process
tree of its own, started anew, and its start-up is in its time. Ours is the dedup stage as it runs for a corpus of
this size, in this process and `--workers` others; datatrove has as many workers on its local executor, rensa and
datasketch one process, as their documentation has it. Peers make their signatures of 5-word shingles, datatrove's
default; ours of 3 tokens, verified by 5, which without verification would merge what only resembles.

`clusters_lost`: planted clusters of which no document stayed. `leftovers`: documents that stayed beyond one a
cluster. `worksheets_wrongly_merged`: documents that went for a worksheet with the same sentences and other numbers.
The median of three runs counts; datatrove, whose time is minutes, runs once.

--scale runs the stage on Spark, as it runs for larger corpora, with a driver heap of 4 GB.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from planted import documents, scale, watched
from reports.peer_environments import python_of
from reports.rows import Row, as_json, print_rows
from rich.console import Console
from rich.table import Table

# Its English tokenizer needs spaCy and NLTK; ours needs neither.
DATATROVE_PACKAGES = ("datatrove[io]==0.10.1", "spacy==3.8.18", "nltk==3.10.4", "xxhash==3.8.2", "fasteners==0.20",
                      "regex==2026.11.19")  # fmt: skip
OURS, DATATROVE = "motherlode", "datatrove"
PEERS = (DATATROVE, "rensa", "datasketch")
LEAST_RATE_RATIO = 20.0
ROUNDS = 3
_SCRIPTS = Path(__file__).parent / "planted"


@dataclass(frozen=True)
class Result:
    """What one side made of a corpus."""

    kept: frozenset[int]
    """Numbers of the documents that stayed."""
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float


def run_side(side: str, pages: Path, workers: int, rounds: int) -> Result:
    """The kept documents, and the medians of the runs. RuntimeError where the peer cannot run."""
    costs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="dedup-") as folder:
            work = Path(folder) / "work"
            costs.append(watched.run(_command(side, pages, work, workers), {"OMP_NUM_THREADS": "1"}))
            kept = _kept(work)
    return Result(
        kept,
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.cpu_seconds for cost in costs),
        statistics.median(cost.peak_rss_mb for cost in costs),
    )


def _command(side: str, pages: Path, work: Path, workers: int) -> list[str | Path]:
    if side == OURS:
        return [sys.executable, _SCRIPTS / "in_process.py", pages, work, str(workers)]
    if side == DATATROVE:
        check = "import spacy, nltk; from datatrove.pipeline.dedup import MinhashDedupSignature as S; S('s')"
        python = python_of("datatrove", DATATROVE_PACKAGES, check=check)
        return [python, _SCRIPTS / "datatrove_stages.py", pages, work, str(workers)]
    return [sys.executable, _SCRIPTS / "in_memory.py", side, pages, work, "5"]


def _kept(work: Path) -> frozenset[int]:
    if (work / "kept").is_dir():  # datatrove's JSON lines
        lines = [line for path in (work / "kept").glob("*.jsonl") for line in path.read_text().splitlines()]
        return frozenset(int(json.loads(line)["id"], 16) for line in lines)
    table = pq.read_table(work / "kept.parquet" if work.is_dir() else work, columns=["page_id"])
    return frozenset(int(page_id, 16) for page_id in table["page_id"].to_pylist())


def compared(pages: Path, workers: int, rounds: int) -> tuple[dict[str, Result], dict[str, str]]:
    """The results by side, and of sides that could not run the reason."""
    results, missing = {}, {}
    for side in (OURS, *PEERS):
        try:
            results[side] = run_side(side, pages, workers, 1 if side == DATATROVE else rounds)
        except (RuntimeError, OSError) as error:
            if side == OURS:
                raise
            missing[side] = str(error)
    return results, missing


def planted_rows(count: int, workers: int) -> list[Row]:
    """Rate, memory and quality on planted clusters."""
    with tempfile.TemporaryDirectory(prefix="dedup-pages-") as folder:
        pages = Path(folder) / "pages"
        clusters = documents.write(documents.planted(count), pages)
        results, missing = compared(pages, workers, ROUNDS)
    kept_clusters = {side: {clusters[number] for number in one.kept} for side, one in results.items()}
    case = f"planted clusters, {count:,} documents"
    rates = {side: count / one.seconds for side, one in results.items()}
    return [
        *_rows(case, "documents_per_s", rates, missing, count, least={DATATROVE: LEAST_RATE_RATIO}),
        *_rows(case, "documents_per_cpu_s", {s: count / one.cpu_seconds for s, one in results.items()}, missing, count),
        *_mishaps(case, "clusters_lost", {s: len(set(clusters) - kept_clusters[s]) for s in results}, missing, count),
        *_mishaps(
            case, "leftovers", {s: len(one.kept) - len(kept_clusters[s]) for s, one in results.items()}, missing, count
        ),
        *_rows(case, "peak_rss_mb", {s: one.peak_rss_mb for s, one in results.items()}, missing, count, more=False),
    ]


def worksheet_rows(count: int, workers: int) -> list[Row]:
    """Different worksheets with the same sentences: all of them should stay."""
    with tempfile.TemporaryDirectory(prefix="dedup-pages-") as folder:
        pages = Path(folder) / "pages"
        count = len(documents.write(documents.worksheets(count // 2), pages))
        results, missing = compared(pages, workers, 1)
    merged = {side: count - len(one.kept) for side, one in results.items()}
    return _mishaps(f"worksheets, {count} documents", "worksheets_wrongly_merged", merged, missing, count)


def _rows(
    case: str, metric: str, figures: Mapping[str, float], missing: Mapping[str, str], count: int,
    *, more: bool = True, least: Mapping[str, float] | None = None,
) -> list[Row]:  # fmt: skip
    ours = figures[OURS]
    rows = []
    for peer in PEERS:
        if peer in missing:
            rows.append(Row(case, metric, ours, peer, None, None, count, note=f"not run: {missing[peer]}"))
            continue
        ratio = ours / figures[peer] if more else figures[peer] / ours
        rows.append(Row(case, metric, ours, peer, figures[peer], ratio, count, least_ratio=(least or {}).get(peer)))
    return rows


def _mishaps(case: str, metric: str, figures: Mapping[str, float], missing: Mapping[str, str], count: int) -> list[Row]:
    """Less is better; one is added on both sides of the ratio, since the best count is 0."""
    ours = figures[OURS]
    return [
        Row(case, metric, ours, peer, None, None, count, note=f"not run: {missing[peer]}")
        if peer in missing
        else Row(case, metric, ours, peer, figures[peer], (figures[peer] + 1) / (ours + 1), count)
        for peer in PEERS
    ]


def show_scale(sizes: Sequence[int], workers: int, *, as_lines: bool) -> None:
    """Measure growing sizes and print each as it is done."""
    found = []
    for one in scale.measure(sizes, workers):
        found.append(one)
        sys.stderr.write(f"{one['documents']:,} documents: {one['seconds']:,.0f} s\n")
    growth = {name: scale.growth_exponent(found, name) for name in ("seconds", "cpu_seconds", "peak_rss_mb")}
    if as_lines:
        sys.stdout.write(json.dumps({"scale": found, "growth_exponents": growth}) + "\n")
        return
    table = Table(title="The dedup stage on Spark", title_justify="left")
    for name in found[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for one in found:
        table.add_row(*("-" if value is None else f"{value:,.0f}" for value in one.values()))
    Console().print(table)
    shown = ", ".join(f"{name} {value:.2f}" for name, value in growth.items() if value is not None)
    Console().print(f"growth exponents: {shown or 'of one size there is none'}")


def main() -> int:
    """Measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--worksheets", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scale", help="sizes, comma-separated, instead of the comparison")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.scale:
        show_scale([int(size) for size in args.scale.split(",")], args.workers, as_lines=args.json)
        return 0
    rows = [*planted_rows(args.documents, args.workers), *worksheet_rows(args.worksheets, args.workers)]
    if args.json:
        sys.stdout.write(json.dumps({"rows": as_json(rows)}) + "\n")
    else:
        print_rows(Console(), "Deduplication", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
