"""Our extractor beside its peers on the same pages in one run: CPU speed, fidelity of the text, formulas kept, guards.

    python tests/bench/extraction.py [--only speed|text|formulas] [--pages 600] [--json]

Peers: resiliparse (main_content), trafilatura, html-to-markdown, and OpenWebMath's extractor, which needs an old
resiliparse and gets an environment of its own under .bench-peers/ on first use. All are given the same decoded
strings; CPU seconds are taken around the calls alone, one thread, the extractors in turns by blocks of 20 pages.

speed      random pages of the web data and math-heavy ones, median of three rounds; trafilatura and OpenWebMath on the
           first half of the pages, we beside them on the same half.
text       F1 over four-word shingles as article-extraction-benchmark defines it, on its news articles and on Mozilla
           Readability's test pages; and trafilatura's wanted and unwanted strings. Mean and 95% bootstrap interval.
formulas   24 encodings written by hand, pages rendered by typesetters with known formulas, and the formulas that real
           pages state in their own source. Any delimiters count, and bare LaTeX counts as kept.
guards     pages on which an extractor raises or returns nothing although the page shows more than 500 characters.

Golden sets are split by host: rows are for held-out hosts, the development half is printed apart and may be read while
developing. The data is MOTHERLODE_DATA, else ../shared/data; without it what needs none is run and the rest is named.
"""

import argparse
import gc
import json
import logging
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from extractors import measurements, pages
from extractors.measurements import MATH_HEAVY, MIXED_WEB, Report
from extractors.pages import WebSample
from extractors.peers import Extractors
from extractors.rows import print_verdicts
from reports.rows import Row, as_json, print_rows
from rich.console import Console

PARTS = ("speed", "text", "formulas")
MATH_PAGES_PER_HOST = 4
NO_DATA = "no web data: set MOTHERLODE_DATA, or put it at ../shared/data"


def main() -> int:
    """Measure, print tables or JSON."""
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, help="run one part")
    parser.add_argument(
        "--pages",
        type=int,
        default=600,
        metavar="N",
        help="random pages for speed; two fifths as many math-heavy ones for speed and formulas (default 600)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object with the rows instead of tables")
    args = parser.parse_args()
    if args.pages < 20:
        parser.error(f"--pages {args.pages}: give 20 or more, so that half of the math-heavy ones is not empty")
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    with Extractors() as extractors:
        report = measure(extractors, (args.only,) if args.only else PARTS, args.pages)
    if args.json:
        sys.stdout.write(json.dumps(report_as_json(report)) + "\n")
    else:
        print_report(report)
    return 0


def measure(extractors: Extractors, parts: tuple[str, ...], num_pages: int) -> Report:
    """The chosen parts over the data that is there."""
    report = Report()
    folder = pages.data_folder()
    sample = read_sample(folder, parts, num_pages)
    gc.collect()
    gc.freeze()  # the benchmark's own pages are not walked over on an extractor's time
    if "speed" in parts:
        measure_speed(extractors, sample, report)
    if "text" in parts:
        measure_text(extractors, folder, sample, report)
    if "formulas" in parts:
        measure_formulas(extractors, sample, report)
    if guards := measurements.guard_rows(extractors, report):
        report.rows["Guards"] = guards
    report.left_out += [f"{name}: {reason}" for name, reason in extractors.missing.items()]
    return report


def read_sample(folder: Path | None, parts: tuple[str, ...], num_pages: int) -> WebSample | None:
    """The web pages that the parts need; None where there is no data."""
    if folder is None:
        return None
    progress("reading the web data")
    return pages.read_web(
        folder,
        num_mixed=num_pages if "speed" in parts else 0,
        num_math=0 if parts == ("text",) else num_pages * 2 // 5,
        per_host=MATH_PAGES_PER_HOST,
        urls=[row["url"] for row in pages.segment_rows(folder)] if "text" in parts else (),
    )


def measure_speed(extractors: Extractors, sample: WebSample | None, report: Report) -> None:
    """Adds the rows of speed."""
    if sample is None:
        report.left_out.append(f"speed: {NO_DATA}")
        return
    rows: list[Row] = []
    for case, batch in ((MIXED_WEB, sample.mixed), (MATH_HEAVY, sample.math)):
        progress(f"speed: {len(batch)} pages, {case}")
        rows += measurements.measure_speed(extractors, case, batch, report)
    report.rows["Speed"] = rows


def measure_text(extractors: Extractors, folder: Path | None, sample: WebSample | None, report: Report) -> None:
    """Adds the rows of the golden texts."""
    if folder is None or sample is None:
        report.left_out.append(f"text: {NO_DATA}")
        return
    sets = {
        "news articles": pages.articles(folder),
        "readability pages": pages.readability_pages(folder),
        "web segments": pages.with_segments(pages.segment_rows(folder), sample.by_url),
    }
    held_out: list[Row] = []
    development: list[Row] = []
    for case, goldens in sets.items():
        progress(f"text: {len(goldens)} {case}")
        half, other_half = measurements.measure_text(extractors, case, goldens, report)
        held_out += half
        development += other_half
    report.rows["Text, held-out hosts"] = held_out
    report.development_rows["Text, development hosts"] = development


def measure_formulas(extractors: Extractors, sample: WebSample | None, report: Report) -> None:
    """Adds the rows of the formulas."""
    progress("formulas: encodings and rendered pages")
    rows = measurements.measure_cases(extractors, report)
    rows += measurements.measure_rendered(extractors, report)
    if sample is None:
        report.left_out.append(f"formulas that real pages state: {NO_DATA}")
    else:
        progress(f"formulas: {len(sample.math)} math-heavy pages")
        half, other_half = measurements.measure_real_formulas(extractors, sample.math, report)
        rows += half
        report.development_rows["Formulas of real pages, development hosts"] = other_half
    report.rows["Formulas"] = rows


def report_as_json(report: Report) -> dict[str, object]:
    """The rows in the form of every benchmark here, and what else the tables show."""
    return {
        "rows": as_json([row for rows in report.rows.values() for row in rows]),
        "development_rows": as_json([row for rows in report.development_rows.values() for row in rows]),
        "cases": report.cases,
        "encodings": report.encodings,
        "worst_pages": report.worst_pages,
        "failures": report.failures,
        "left_out": report.left_out,
    }


def print_report(report: Report) -> None:
    """The tables, then what was left out."""
    console = Console(width=160)
    for title, rows in (*report.rows.items(), *report.development_rows.items()):
        print_rows(console, title, rows)
    if report.cases:
        print_verdicts(console, "Encodings written by hand", report.cases)
    if report.encodings:
        print_verdicts(console, "Formulas kept by rendered encoding", report.encodings)
    for line in report.worst_pages[:10]:
        console.print(f"fewer formulas than a peer: {line}", soft_wrap=True, highlight=False)
    for name, failed in report.failures.items():
        for line in failed[:3]:
            console.print(f"{name} failed on {line}", soft_wrap=True, highlight=False, markup=False)
    for line in report.left_out:
        console.print(f"left out: {line}", soft_wrap=True, highlight=False, markup=False)


def progress(message: str) -> None:
    """Says on stderr what is being done."""
    sys.stderr.write(f"{message} ...\n")


if __name__ == "__main__":
    sys.exit(main())
