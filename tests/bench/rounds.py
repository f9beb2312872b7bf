"""The loop on a real web over several seeds, whole and with one of its parts changed, judged on pages labelled by eye.

    python tests/bench/rounds.py --data_dir D --work_dir W [--seeds 5] [--variants full,raw_share] [--json]

Every run is pipelines/mine.py with configs/mine/real.yaml and a few settings more, one after the other on two cores;
ingest and dedup run once and their tables are shared by hard links, as is round 1 of runs that differ later. A run
whose figures stand in W/figures is not made again, and a killed one goes on where it was, so the same line may be given
at any time. Without --data_dir it says that it did not run.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from recall import METRICS, PARTS, landed_rounds, measured
from rich.console import Console
from rich.table import Table

from mining.inspect.evaluate import read_labels
from mining.inspect.tables import open_run

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "configs" / "mine" / "real.yaml"
AUDITS = ("--labels.pages", str(REPOSITORY / "tests" / "fixtures" / "audits" / "real.csv"))
LABELS = "web/labels.jsonl"
LINKED = {".parquet", ".bin"}
"""Files that mine.py replaces and never writes into, so that two run directories can share them."""


@dataclass(frozen=True)
class Variant:
    """One way to run the loop."""

    settings: tuple[str, ...] = ()
    """Options of mine.py beside those of every run."""
    audits: bool = True
    """Whether the audited pages calibrate the scores."""
    follows: str = ""
    """The variant whose first round has the same documents, model and scores."""


VARIANTS = {
    "full": Variant(),
    "no_audits": Variant(audits=False),
    "whole_hosts": Variant(("--prefixes.max_depth", "0"), follows="full"),
    "raw_share": Variant(
        ("--domains.z", "0", "--domains.min_pages", "1", "--prefixes.z", "0", "--prefixes.min_pages", "1",
         "--labels.rules.min_bound", "0.1", "--labels.rules.min_pages", "1"),
        follows="full",
    ),
    "seed_100": Variant(("--seed.max_positives", "100", "--seed.max_negatives", "100")),
    "seed_1000": Variant(("--seed.max_positives", "1000", "--seed.max_negatives", "1000")),
}  # fmt: skip
"""raw_share is the paper's rule: every domain of which more than a tenth was collected, however few its pages."""


def mine(run_dir: Path, data_dir: Path, *settings: str, config: Path = CONFIG) -> None:
    """One line of mine.py to its end; SystemExit with its last words where it fails."""
    command = [sys.executable, "pipelines/mine.py", "--config", str(config), "--data_dir", str(data_dir)]
    command += ["--run_dir", str(run_dir), *settings]
    log = run_dir.with_name(f"{run_dir.name}.log")
    binaries = str(Path(sys.executable).parent)
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}
    with open(log, "w", encoding="utf-8") as file:
        ran = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=file, stderr=file, check=False)
    if ran.returncode:
        sys.exit(f"{log}: mine.py ended with {ran.returncode}: {log.read_text().strip().splitlines()[-1:]}")


def clone(source: Path, target: Path) -> None:
    """`target` as a run directory of its own with the tables of `source`; a half-made one is made anew."""
    if (target / "manifest.json").exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)

    def take(file: str, place: str) -> None:
        if Path(file).suffix in LINKED:
            os.link(file, place)
        else:
            shutil.copy2(file, place)

    shutil.copytree(source, partial, copy_function=take, ignore=shutil.ignore_patterns(".lock"))
    partial.rename(target)


def ingested(data_dir: Path, work_dir: Path) -> Path:
    """The run directory that all others start from: ingest and dedup done."""
    base = work_dir / "base"
    if not ((base / "manifest.json").exists() and open_run(base).is_done("dedup")):
        mine(base, data_dir, "--stages", "ingest,dedup")
    return base


def run_once(name: str, seed: int, data_dir: Path, work_dir: Path) -> Path:
    """The finished run of a variant under a seed."""
    variant = VARIANTS[name]
    base, target = ingested(data_dir, work_dir), work_dir / f"{name}-{seed}"
    earlier = work_dir / f"{variant.follows}-{seed}"
    clone(earlier if variant.follows and (earlier / "manifest.json").exists() else base, target)
    drawn = ("--seed.seed", str(seed), "--classifier.seed", str(seed))
    audits = AUDITS if variant.audits else ()
    mine(target, data_dir, "--stages", "rounds", "--rerun", "true", *drawn, *audits, *variant.settings)
    return target


def figures_of(run_dir: Path, data_dir: Path) -> dict[str, Any]:
    """What a run came to, by part of the labelled pages and way to choose them; and its rounds."""
    run, labels = open_run(run_dir), read_labels(data_dir / LABELS)
    rounds = [
        {
            "round": number,
            "landed": number in landed_rounds(run),
            "collected": run.metrics[number]["collected"],
            "tokens": run.metrics[number]["collected_tokens"],
            "positives": run.metrics[number]["positives"],
            "seconds": run.stages[f"round-{number:02d}"]["seconds"],
            "held_out_audits": {
                key: value for key, value in run.metrics[number].get("audit", {}).items() if key != "by_language"
            },
            "model_mb": (run_dir / "rounds" / f"{number:02d}" / "classifier.bin").stat().st_size / 1e6,
        }
        for number in run.rounds
    ]
    parts = {name: [label for label in labels if belongs(label)] for name, belongs in PARTS.items()}
    ways = {name: measured(run, wanted) for name, wanted in parts.items()}
    return {"rounds": rounds, "parts": ways}


def collect(names: Sequence[str], seeds: int, data_dir: Path, work_dir: Path) -> list[dict[str, Any]]:
    """The figures of all wanted runs, made where they do not stand: variants in their order, seed by seed."""
    found = []
    for name in names:
        for seed in range(seeds):
            file = work_dir / "figures" / f"{name}-{seed}.json"
            if not file.exists():
                clock = time.monotonic()
                run_dir = run_once(name, seed, data_dir, work_dir)
                figures = {"variant": name, "seed": seed, **figures_of(run_dir, data_dir)}
                figures["seconds"] = time.monotonic() - clock
                file.parent.mkdir(parents=True, exist_ok=True)
                file.with_suffix(".partial").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
                file.with_suffix(".partial").replace(file)
                sys.stderr.write(f"{name}, seed {seed}: {figures['seconds']:.0f} s\n")
            found.append(json.loads(file.read_text(encoding="utf-8")))
    return found


@dataclass(frozen=True)
class Summary:
    """A figure over the seeds."""

    variant: str
    way: str
    """How pages were chosen: the corpus, a round, or one of recall.py's simpler ways on the tables of the same runs."""
    part: str
    metric: str
    mean: float
    low: float
    high: float
    seeds: int


def summaries(runs: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """Mean, least and greatest of every figure; seeds under which it is undefined are left out."""
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for run in runs:
        for part, ways in run["parts"].items():
            for way, figures in ways.items():
                for metric in METRICS:
                    if figures.get(metric) is not None:
                        values.setdefault((run["variant"], way, part, metric), []).append(figures[metric])
    return [Summary(*key, fmean(found), min(found), max(found), len(found)) for key, found in values.items()]


def print_table(console: Console, title: str, rows: Sequence[Summary], of: Callable[[Summary], str]) -> None:
    """A line for each `of` with every figure as mean (least-greatest)."""
    table = Table(title=title, title_justify="left")
    for name in ("", "seeds", *METRICS):
        table.add_column(name, justify="left" if not name else "right", overflow="fold")
    for name in dict.fromkeys(map(of, rows)):
        cells = {row.metric: row for row in rows if of(row) == name}
        shown = [
            f"{cells[metric].mean:.3f} ({cells[metric].low:.3f}-{cells[metric].high:.3f})" if metric in cells else ""
            for metric in METRICS
        ]
        table.add_row(name, str(max(row.seeds for row in cells.values())), *shown)
    console.print(table)


def main() -> int:
    """Run what is wanted and not there yet, print tables or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data_dir", type=Path, help="a data folder with web/labels.jsonl")
    parser.add_argument("--work_dir", type=Path, help="where runs and figures go (about 1 GB a run)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each variant (5)")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="comma-separated (all)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.data_dir is None or args.work_dir is None:
        sys.stderr.write("not run: give --data_dir and --work_dir (a real web with labelled pages; minutes a run)\n")
        sys.stdout.write(json.dumps({"rows": []}) + "\n" if args.json else "")
        return 0
    names = [name for name in args.variants.split(",") if name]
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        parser.error(f"--variants {unknown[0]}: there are {', '.join(VARIANTS)}")
    args.work_dir.mkdir(parents=True, exist_ok=True)
    runs = collect(names, args.seeds, args.data_dir.absolute(), args.work_dir.absolute())
    rows = summaries(runs)
    if args.json:
        sys.stdout.write(json.dumps({"rows": [dataclasses.asdict(row) for row in rows], "runs": runs}) + "\n")
        return 0
    console = Console(width=max(180, Console().width))
    for name in names:
        ours = [row for row in rows if row.variant == name]
        print_table(console, f"{name}: the corpus", [r for r in ours if r.way == "last round"], lambda row: row.part)
        print_table(console, f"{name}: all labelled pages", [r for r in ours if r.part == "all"], lambda row: row.way)
    return 0


if __name__ == "__main__":
    sys.exit(main())
