"""The loop on the real web with another subject: manuals of software.

    python tests/bench/subject.py --data_dir D --work_dir W [--seeds 3] [--audits 400] [--json]

Everything that says what is looked for is configs/mine/subject.yaml, a seed of 100 pages of each of SEED_HOSTS and,
unless --audits 0, so many pages labelled one by one. Prefixes are labelled by the rules, unattended. What a page is
comes from what web/hosts.tsv calls its host: by a hash half of the hosts give the audited pages and the other half
judges the rounds; the seed's hosts do neither. So every page of a manual counts as one, its tables of contents too, and
no page of a blog, however much it explains. Kinds that are neither (OPEN) do not count. Ingest, dedup and resuming are
those of rounds.py. Without --data_dir it says that it did not run.
"""

import argparse
import csv
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from rounds import REPOSITORY, clone, ingested, mine

from mining.audits import Audit, is_held_out, write_audits
from mining.inspect.tables import Run, open_run

CONFIG = REPOSITORY / "configs" / "mine" / "subject.yaml"
SEED_HOSTS = ("docs.python.org", "www.postgresql.org", "help.libreoffice.org")
SEED_PAGES = 100
MOST_PER_HOST = 20
WANTED = ("software-manual", "software-manual-gis", "software-manual-math", "software-docs-ml")
OPEN = (
    "blog-programming", "course-notes-programming-latex2html", "course-notes-scientific-python", "kind",
    "proof-assistant-docs", "proof-assistant-library", "proof-assistant-textbook", "wiki-competitive-programming",
)  # fmt: skip


def write_seed(run: Run, file: Path, seed: int) -> None:
    """Pages of the seed's hosts, drawn by `seed`, as the JSON lines that mine.py reads."""
    draw = random.Random(seed)
    with open(file, "w", encoding="utf-8") as out:
        for host in SEED_HOSTS:
            rows = run.rows(
                f"SELECT text, url, language FROM {run.relation('pages')} ANTI JOIN {run.relation('duplicates')} "
                "USING (page_id) WHERE host = ? ORDER BY page_id",
                [host],
            )
            for row in draw.sample(rows, min(SEED_PAGES, len(rows))):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


def kinds_of(file: Path) -> dict[str, str]:
    """Host -> its kind; a host of several kinds that differ in what they count as is open."""
    kinds: dict[str, str] = {}
    with open(file, encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            known = kinds.setdefault(row["host"], row["kind"])
            if (known in WANTED, known in OPEN) != (row["kind"] in WANTED, row["kind"] in OPEN):
                kinds[row["host"]] = OPEN[0]
    return kinds


def write_page_labels(run: Run, file: Path, kinds: Mapping[str, str], *, number: int, seed: int) -> None:
    """An audits.csv of `number` pages of hosts that do not judge, at most MOST_PER_HOST of one, drawn by `seed`.

    A third of their hosts measures the rounds, the others calibrate.
    """
    draw = random.Random(seed)
    rows = run.rows(
        f"SELECT url, host FROM {run.relation('pages')} ANTI JOIN {run.relation('duplicates')} USING (page_id) "
        "ORDER BY page_id"
    )
    draw.shuffle(rows)
    of_host: Counter[str] = Counter()
    audits: list[Audit] = []
    for row in rows:
        host = row["host"]
        counts = host not in SEED_HOSTS and kinds.get(host, OPEN[0]) not in OPEN and not is_held_out(host)
        if counts and of_host[host] < MOST_PER_HOST and len(audits) < number:
            of_host[host] += 1
            label = "math" if kinds[host] in WANTED else "not_math"
            measures = random.Random(f"{seed}|{host}").random() < 1 / 3
            audits.append(Audit(row["url"], label, "hosts", held_out=measures))
    write_audits(file, audits)


def judged(run: Run, kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each round on the hosts that judge, and what was collected by kind."""
    found = []
    for number in run.rounds:
        scores, collected = run.relation("scores", number), run.relation("collected", number)
        rows = run.rows(
            f"SELECT host, count(*) AS pages, count(c.page_id) AS taken FROM {scores} s "
            f"LEFT JOIN {collected} c USING (page_id) GROUP BY host"
        )
        pages: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        for row in rows:
            kind = kinds.get(row["host"], OPEN[0])
            if row["host"] not in SEED_HOSTS and kind not in OPEN and is_held_out(row["host"]):
                pages[kind] += row["pages"]
                taken[kind] += row["taken"]
        hits, wanted = sum(taken[kind] for kind in WANTED), sum(pages[kind] for kind in WANTED)
        found.append({
            "round": number,
            "pages": sum(pages.values()),
            "wanted": wanted,
            "collected": sum(taken.values()),
            "precision": hits / sum(taken.values()) if taken.total() else None,
            "recall": hits / wanted,
            "f1": 2 * hits / (sum(taken.values()) + wanted),
            "by_kind": {kind: [taken[kind], pages[kind]] for kind in sorted(pages) if taken[kind] or kind in WANTED},
        })  # fmt: skip
    return found


def runs_of(seeds: int, audits: int, data_dir: Path, work_dir: Path) -> list[dict[str, Any]]:
    """The rounds of each seed, mined where they are not there yet."""
    base = ingested(data_dir, work_dir)
    kinds = kinds_of(data_dir / "web" / "hosts.tsv")
    found = []
    for seed in range(seeds):
        run_dir = work_dir / f"manuals-{audits}-{seed}"
        seed_file, audits_file = (run_dir.with_name(run_dir.name + end) for end in (".jsonl", ".csv"))
        clone(base, run_dir)
        if not seed_file.exists():
            write_seed(open_run(base), seed_file, seed)
        options = ["--seed.positive", f"[{seed_file}]", "--seed.seed", str(seed), "--classifier.seed", str(seed)]
        if audits:
            write_page_labels(open_run(base), audits_file, kinds, number=audits, seed=seed)
            options += ["--labels.pages", str(audits_file)]
        mine(run_dir, data_dir, "--rerun", "true", *options, config=CONFIG)
        found.append({"seed": seed, "rounds": judged(open_run(run_dir), kinds)})
    return found


def print_runs(console: Console, runs: Sequence[Mapping[str, Any]]) -> None:
    """A line a round: means and extremes over the seeds that came to it."""
    table = Table(title="Manuals of software, on hosts that gave neither seed nor labels", title_justify="left")
    for name in ("round", "seeds", "wanted", "collected", "precision", "recall", "f1"):
        table.add_column(name, justify="right")
    for number in sorted({one["round"] for run in runs for one in run["rounds"]}):
        rows = [one for run in runs for one in run["rounds"] if one["round"] == number]
        cells = []
        for name in ("wanted", "collected", "precision", "recall", "f1"):
            values = [row[name] for row in rows if row[name] is not None]
            form = ",.0f" if name in ("wanted", "collected") else ".3f"
            shown = f"{fmean(values):{form}} ({min(values):{form}}-{max(values):{form}})" if values else "-"
            cells.append(shown)
        table.add_row(str(number), str(len(rows)), *cells)
    console.print(table)


def main() -> int:
    """Mine, judge, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data_dir", type=Path, help="a data folder with web/*.warc.gz and web/hosts.tsv")
    parser.add_argument("--work_dir", type=Path, help="where runs go; that of rounds.py saves their ingest")
    parser.add_argument("--seeds", type=int, default=3, help="runs (3)")
    parser.add_argument("--audits", type=int, default=400, help="pages labelled one by one (400)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.data_dir is None or args.work_dir is None:
        sys.stderr.write("not run: give --data_dir and --work_dir (a real web with web/hosts.tsv; minutes a run)\n")
        sys.stdout.write(json.dumps({"rows": []}) + "\n" if args.json else "")
        return 0
    args.work_dir.mkdir(parents=True, exist_ok=True)
    runs = runs_of(args.seeds, args.audits, args.data_dir.absolute(), args.work_dir.absolute())
    if args.json:
        sys.stdout.write(json.dumps({"rows": [{"seed": run["seed"], **one} for run in runs for one in run["rounds"]]}))
        sys.stdout.write("\n")
    else:
        print_runs(Console(width=max(120, Console().width)), runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
