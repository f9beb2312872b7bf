"""One recall round's work on a page, WARC to score: pages a second a core beside other pipelines, and beside the limit.

    python tests/bench/end_to_end.py [--data_dir D] [--blocks 12] [--peer_blocks 3] [--rounds 3] [--json]

Random HTML pages of the real web, copied member by member into WARC files of 100. Every side is a process with one
thread that works on the same files in turns; its cost is its CPU seconds, user and system, children included, the
median of the rounds, file by file. One model for all, trained once as a first round trains it.

motherlode   read_pages, then score_batch: what ingest and the score step call, with provenance, gates and language.
datatrove    WarcReader, Trafilatura, FastTextClassifierFilter on its LocalPipelineExecutor, with its defaults and the
             trafilatura that it asks for. What a file of one page costs is taken off: the model is read for every file.
openwebmath  FastWARC, its decoding, its extractor, fastText on the whole text; no language model, no KenLM.
limit        gunzip, bare resiliparse (main_content) on decoded pages, fastText's predict, each measured alone.

The peers score every page that has text; we only those that pass the gates of length and language. The data is
MOTHERLODE_DATA, else ../shared/data. The peers' environments are made under .bench-peers/ on first use.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

from extractors import pages
from page_work.blocks import train_as_round_one, write_blocks, write_first_page
from page_work.sides import DATATROVE, LIMIT, OPENWEBMATH, OURS, STEPS, Side, Sides
from reports.rows import Row, as_json, print_rows
from rich.console import Console
from rich.table import Table

BLOCK_PAGES = 100
LEAST_RATIO = {DATATROVE: 10.0, OPENWEBMATH: 5.0, LIMIT: 0.6}
SCORING = ("the classifier's line", "score")
RATE = "pages/CPU s"

# seconds[side][part][block] are those of each round; a side that does not tell parts apart has one, "cpu_s".
Seconds = dict[str, dict[str, list[list[float]]]]


def main() -> int:
    """Measure, print tables or JSON."""
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=Path, default=pages.data_folder(), help="folder with web/ and seed/")
    parser.add_argument("--blocks", type=int, default=12, help="files of 100 pages (default 12)")
    parser.add_argument("--peer_blocks", type=int, default=3, help="those of them that peers work on, too (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each file is worked on (default 3)")
    parser.add_argument("--json", action="store_true", help="one JSON object with the rows instead of tables")
    args = parser.parse_args()
    if args.data_dir is None:
        sys.stderr.write("no web data: set MOTHERLODE_DATA, or put it at ../shared/data\n")
        sys.stdout.write('{"rows": []}\n' if args.json else "")
        return 0
    if not 1 <= args.peer_blocks <= args.blocks or args.rounds < 1:
        parser.error("give --rounds 1 or more, and --peer_blocks from 1 to --blocks")
    with tempfile.TemporaryDirectory() as folder:
        report = run(args.data_dir, Path(folder), args.blocks, args.peer_blocks, args.rounds)
    if args.json:
        sys.stdout.write(json.dumps(report | {"rows": as_json(report["rows"])}) + "\n")
    else:
        print_report(report)
    return 0


def run(data_dir: Path, folder: Path, num_blocks: int, peer_blocks: int, num_rounds: int) -> dict:
    """The rows, where our time goes in ms a page, the machine's load and the sides that could not be set up."""
    progress("copying pages")
    blocks = write_blocks(data_dir, folder, num_blocks=num_blocks, block_pages=BLOCK_PAGES)
    progress("training the model")
    model = train_as_round_one(data_dir, folder)
    with Sides(model, folder) as sides:
        seconds, scored = measure(sides, blocks, blocks[:peer_blocks], num_rounds)
        fixed = start_seconds(sides.running.get(DATATROVE), blocks[0], num_rounds)
    return {
        "rows": rows_of(seconds, fixed, sides.missing),
        "steps_ms_a_page": {part: 10 * mean_of(files) for part, files in seconds[STEPS].items()},
        "limit_ms_a_page": {part: 10 * mean_of(files) for part, files in seconds[LIMIT].items()},
        "scored_pages": scored,
        "datatrove_start_s": fixed,
        "load": os.getloadavg()[0],
        "left_out": [f"{name}: {reason}" for name, reason in sides.missing.items()],
    }


def measure(
    sides: Sides, blocks: Sequence[Path], peer_blocks: Sequence[Path], num_rounds: int
) -> tuple[Seconds, dict[str, str]]:
    """CPU seconds of every side, part, block and round; and how many of the pages given each side scored."""
    for side in sides.running.values():  # imports, and whatever is read at the first page
        side.work(blocks[0])
    seconds: Seconds = {name: {} for name in sides.running}
    scored = {name: [0, 0] for name in sides.running}
    for number in range(num_rounds):
        progress(f"round {number + 1} of {num_rounds}")
        for place, block in enumerate(blocks):
            for name, side in sides.running.items():
                if name in (DATATROVE, OPENWEBMATH) and block not in peer_blocks:
                    continue
                answer = side.work(block)
                if "scored" in answer:
                    scored[name][0] += int(answer.pop("scored"))
                    scored[name][1] += BLOCK_PAGES
                for part, value in answer.items():
                    files = seconds[name].setdefault(part, [])
                    if len(files) == place:
                        files.append([])
                    files[place].append(value)
    return seconds, {name: f"{kept} of {given}" for name, (kept, given) in scored.items() if given}


def start_seconds(side: Side | None, block: Path, num_rounds: int) -> float:
    """CPU seconds of a file of one page: starting the executor, its sandbox and reading the model."""
    if side is None:
        return 0.0
    path = block.with_name("one.warc.gz")
    write_first_page(block, path)
    return median(side.work(path)["cpu_s"] for _ in range(num_rounds))


def mean_of(files: Sequence[Sequence[float]]) -> float:
    """Seconds of a file: the median of its rounds, averaged over the files."""
    return sum(map(median, files)) / len(files)


def rate(seconds: Seconds, name: str, num_files: int, parts: Sequence[str] | None = None, less: float = 0.0) -> float:
    """Pages a CPU second of a side over the first files."""
    chosen = seconds[name] if parts is None else {part: seconds[name][part] for part in parts}
    cost = sum(mean_of(files[:num_files]) for files in chosen.values()) - less
    return (BLOCK_PAGES - (1 if less else 0)) / cost


def rows_of(seconds: Seconds, fixed: float, missing: dict[str, str]) -> list[Row]:
    """A row a peer, the limit's, and the score step alone."""
    whole = "page work of a round"
    rows: list[Row] = []
    for name in (DATATROVE, OPENWEBMATH, LIMIT):
        least = LEAST_RATIO[name]
        if name in missing:
            ours = rate(seconds, OURS, len(seconds[OURS]["cpu_s"]))
            rows.append(Row(whole, RATE, ours, name, None, None, least_ratio=least, note=missing[name]))
            continue
        num_files = len(next(iter(seconds[name].values())))
        ours = rate(seconds, OURS, num_files)
        theirs = rate(seconds, name, num_files, less=fixed if name == DATATROVE else 0.0)
        num_pages = num_files * BLOCK_PAGES
        rows.append(Row(whole, RATE, ours, name, theirs, ours / theirs, num_pages, least_ratio=least))
    num_files = len(seconds[STEPS]["score"])
    ours, theirs = rate(seconds, STEPS, num_files, SCORING), rate(seconds, LIMIT, num_files, ["fastText"])
    peer = "fastText predict alone"
    rows.append(Row("scoring, again in each round", RATE, ours, peer, theirs, ours / theirs, num_files * BLOCK_PAGES))
    return rows


def print_report(report: dict) -> None:
    """The rows, where the time goes, and what was left out."""
    console = Console(width=140)
    print_rows(console, f"Page work, WARC to score (load {report['load']:.1f})", report["rows"])
    for title, key in (("Where our time goes", "steps_ms_a_page"), ("The limit", "limit_ms_a_page")):
        table = Table(title=title, title_justify="left")
        table.add_column("step")
        table.add_column("ms a page", justify="right")
        table.add_column("share", justify="right")
        total = sum(report[key].values())
        for part, value in report[key].items():
            table.add_row(part, f"{value:.3f}", f"{value / total:.0%}")
        table.add_row("sum", f"{total:.3f}", "")
        console.print(table)
    scored = ", ".join(f"{name} {number}" for name, number in report["scored_pages"].items())
    console.print(f"pages scored: {scored}; datatrove's start, taken off: {report['datatrove_start_s']:.2f} CPU s")
    for line in report["left_out"]:
        console.print(f"left out: {line}", soft_wrap=True, highlight=False, markup=False)


def progress(message: str) -> None:
    """Says on stderr what is being done."""
    sys.stderr.write(f"{message} ...\n")


if __name__ == "__main__":
    sys.exit(main())
