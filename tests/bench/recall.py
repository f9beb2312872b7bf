"""A finished run beside simpler ways to choose its pages, on pages labelled by eye.

    python tests/bench/recall.py --run_dir runs/real --labels D/web/labels.jsonl [--json]

The others use tables of the same run, so the same text and the same duplicates: the classifier of round 1 alone with
the same token budget and with the same threshold (one pass, no recall), formulas found in the page (OpenWebMath's rule
of thumb), and whole hosts or nothing. Without --run_dir there is nothing to compare, and it says so.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from reports.rows import Row, as_json, print_rows
from rich.console import Console

from mining.inspect.evaluate import Label, Outcome, figures, read_labels
from mining.inspect.tables import Run, among, kept_pages, open_run
from mining.rounds import threshold_for_precision

MIN_FORMULAS = (1, 5)
HOST_SHARE = 0.5
LEAST_PRECISION = 0.93
METRICS = ("f1", "precision", "recall", "best_f1", "average_precision", "recall_at_precision")
PARTS: dict[str, Callable[[Label], bool]] = {
    "all": lambda _: True,
    "clear": lambda label: label.borderline is False,
    "borderline": lambda label: label.borderline is True,
    "uniform sample": lambda label: label.stratum == "uniform",
    "mixed hosts": lambda label: label.stratum == "mixed",
    "en": lambda label: label.language == "en",
    "zh": lambda label: label.language == "zh",
}
"""The parts of the labelled pages that are judged by themselves."""


def landed_rounds(run: Run) -> list[int]:
    """The finished rounds whose pages may be the corpus."""
    return [number for number in run.rounds if run.stages[f"round-{number:02d}"].get("landed", True)]


def chosen(run: Run) -> Mapping[str, tuple[str, str]]:
    """Each way to choose: a query for the chosen page_ids, and one for (page_id, score)."""
    last, first = landed_rounds(run)[-1], run.rounds[0]
    scores, once = run.relation("scores", last), run.relation("scores", first)
    collected, pages = run.relation("collected", last), run.relation("pages")
    ranked = f"SELECT page_id, sum(n_tokens) OVER (ORDER BY score DESC, page_id) AS tokens FROM {once}"
    budget = f"(SELECT sum(n_tokens) FROM {collected})"
    hosts = (
        f"SELECT host, count(c.page_id) / count(*) AS share FROM {scores} s LEFT JOIN {collected} c USING (page_id) "
        "GROUP BY host"
    )
    kept = f"SELECT page_id, formulas_kept FROM {pages} SEMI JOIN {scores} USING (page_id)"
    ways = {
        "last round": (f"SELECT page_id FROM {collected}", f"SELECT page_id, score FROM {scores}"),
        "one pass, the same budget": (
            f"SELECT page_id FROM ({ranked}) WHERE tokens <= {budget}",
            f"SELECT page_id, score FROM {once}",
        ),
        "one pass, P > 0.5": (
            f"SELECT page_id FROM {once} WHERE score > 0",
            f"SELECT page_id, score FROM {once}",
        ),
        f"hosts of more than {HOST_SHARE:.0%}": (
            f"SELECT page_id FROM {scores} JOIN ({hosts}) USING (host) WHERE share > {HOST_SHARE}",
            f"SELECT page_id, share AS score FROM {scores} JOIN ({hosts}) USING (host)",
        ),
    }
    for least in MIN_FORMULAS:
        ways[f"{least} formulas or more"] = (
            f"SELECT page_id FROM ({kept}) WHERE formulas_kept >= {least}",
            f"SELECT page_id, formulas_kept AS score FROM ({kept})",
        )
    for number in landed_rounds(run):
        ways[f"round {number}"] = (
            f"SELECT page_id FROM {run.relation('collected', number)}",
            f"SELECT page_id, score FROM {run.relation('scores', number)}",
        )
    return ways


def recall_at_precision(scored: Iterable[tuple[float | None, bool]], least: float = LEAST_PRECISION) -> float | None:
    """The highest recall of any cut with this precision or more; 0 where no cut has it, None without math pages.

    A page without a score is never taken. Chosen on the very labels it is reported for, as best_f1 is.
    """
    known = list(scored)
    num_math = sum(is_math for _, is_math in known)
    cut = threshold_for_precision([(score, is_math) for score, is_math in known if score is not None], least)
    hits = sum(is_math for score, is_math in known if score is not None and score >= cut)
    return hits / num_math if num_math else None


def measured(run: Run, labels: list[Label]) -> dict[str, dict[str, Any]]:
    """The figures of each way on the labelled pages."""
    standing = kept_pages(run, (label.url for label in labels))
    page_ids = {page for pages in standing.values() for page in pages}
    found = {}
    for name, (pages_query, scores_query) in chosen(run).items():
        taken = set(among(run, f"({pages_query})", page_ids))
        scores = among(run, f"({scores_query})", page_ids, column="score")

        def outcome(label: Label, taken: set[str] = taken, scores: dict[str, float] = scores) -> Outcome:
            pages = standing.get(label.url, set())
            score = max((scores[page] for page in pages if page in scores), default=None)
            return Outcome(label, bool(pages & taken), score)

        outcomes = [outcome(label) for label in labels]
        scored = [(one.score, one.label.is_math) for one in outcomes]
        found[name] = {**figures(outcomes, ranked=True), "recall_at_precision": recall_at_precision(scored)}
    return found


def main() -> int:
    """Measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run_dir", type=Path, help="a finished run of pipelines/mine.py")
    parser.add_argument("--labels", type=Path, help="JSONL of labelled pages")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.run_dir is None or args.labels is None:
        sys.stderr.write("not run: give --run_dir and --labels (a finished run, pages labelled by eye)\n")
        sys.stdout.write(json.dumps({"rows": []}) + "\n" if args.json else "")
        return 0
    run, labels = open_run(args.run_dir), read_labels(args.labels)
    rows: list[Row] = []
    for part, belongs in PARTS.items():
        wanted = [label for label in labels if belongs(label)]
        if not wanted:
            continue
        by_way = measured(run, wanted)
        ours = by_way.pop("last round")
        for way, theirs in by_way.items():
            for metric in METRICS:
                a, b = ours[metric], theirs[metric]
                rows.append(Row(part, metric, a, way, b, a / b if a and b else None, len(wanted)))
    if args.json:
        sys.stdout.write(json.dumps({"rows": as_json(rows)}) + "\n")
    else:
        print_rows(Console(width=max(140, Console().width)), f"{args.run_dir}, {len(labels):,} labelled pages", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
