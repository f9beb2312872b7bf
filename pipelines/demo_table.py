"""The demo's last word: one table of what was mined and what was learnt, each number with its 95% interval.

python pipelines/demo_table.py --evaluation runs/demo/evaluation.json --models models/demo/eval.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit code 2 where one of the two files is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--evaluation", type=Path, required=True, help="what `motherlode evaluate --json` printed")
    parser.add_argument("--models", type=Path, required=True, help="what rl/run_eval.py --out wrote")
    args = parser.parse_args(argv)
    try:
        mined, learnt = (json.loads(path.read_text(encoding="utf-8")) for path in (args.evaluation, args.models))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}; run `make demo`, which writes both files\n")
        return 2
    console = Console()
    console.width = max(console.width, 100)
    console.print(table(mined, learnt))
    for line in learnt["differences"]:
        console.print(f"{line['name']} minus {line['against']}: {gaps(line)}", highlight=False)
    return 0


def table(mined: dict[str, Any], learnt: dict[str, Any]) -> Table:
    """Rounds and corpus above, models below."""
    drawn = Table(box=None, pad_edge=False, title="Motherlode demo (95% intervals in brackets)")
    for name in ("", "precision", "recall", "F1"):
        drawn.add_column(name)
    rows = [(f"round {one['round']}", one) for one in mined["rounds"]] + [("corpus", mined["corpus"])]
    for name, one in rows:
        drawn.add_row(name, *(_with_interval(one, key) for key in ("precision", "recall", "f1")))
    drawn.add_section()
    drawn.add_row(
        "[b]model[/b]", "[b]solved, greedy[/b]", "[b]solved, sampled[/b]", "[b]bits per byte of solutions[/b]"
    )
    for model in learnt["models"]:
        summary = model["groups"]["all"]
        drawn.add_row(model["name"], *(_estimate(summary.get(key)) for key in ("greedy", "pass@1", "bits_per_byte")))
    return drawn


def gaps(line: dict[str, Any]) -> str:
    """`solved +0.10 [+0.05, +0.15]` for each difference, and whether its interval leaves out zero."""
    parts = []
    for key, words in (("greedy", "solved, greedy"), ("bits_per_byte", "bits per byte")):
        if key in line:
            value, low, high = line[key]
            verdict = "" if low <= 0 <= high else " *"
            parts.append(f"{words} {value:+.3f} [{low:+.3f}, {high:+.3f}]{verdict}")
    return "; ".join(parts)


def _with_interval(one: dict[str, Any], key: str) -> str:
    low, high = one[f"{key}_interval"]
    return f"{one[key]:.3f} \\[{low:.3f}, {high:.3f}]"


def _estimate(values: list[float] | None) -> str:
    if values is None:
        return "-"
    value, low, high = values
    return f"{value:.3f} \\[{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
