"""The mini web mined whole at growing sizes: what each stage takes, how that grows, and what a second core gains.

    python tests/bench/scale.py --work_dir W [--pages 10000,100000,1000000] [--master local[1],local[2]] [--json]

Each size and master is one run of pipelines/mine.py by spark-submit (configs/mine/demo.yaml, two rounds, a heap of
4 GB) and is kept in W: the same line again measures what is missing and shows all. A run that was stopped is made
anew; with --show nothing is run, and the finished stages of stopped runs are shown, too. A web is deleted when its
runs are measured. A million pages take about 20 GB in W. Without --work_dir it says so and does nothing.

    python tests/bench/scale.py --work_dir W --show --capacity D/web     D/web: real pages, *.warc.gz

says what one snapshot of Common Crawl and 40 of them would take, by the rates of the runs on the last master and of
the real pages (measured once, a minute or two, and kept in W), and how well the smaller runs foretell the largest.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from growth import mined, real_pages
from growth.capacity import Rates, Snapshot, capacity, foretold, runs_by_size
from growth.costs import WHOLE, StageCost, growth_exponent, stage_costs
from rich.console import Console
from rich.table import Table

PAGES = "10000,100000,1000000"
MASTERS = "local[1],local[2]"
Costs = dict[tuple[int, str], dict[str, StageCost]]
"""(pages, master) to stage to its cost."""


def measure(work_dir: Path, sizes: list[int], masters: list[str]) -> None:
    """Make the runs that are not there."""
    for size in sorted(sizes):
        missing = [one for one in masters if not (mined.folder_of(work_dir, size, one) / "done.json").exists()]
        for master in missing:
            sys.stderr.write(f"{size:,} pages on {master}\n")
            mined.mine(mined.web_of(work_dir, size), mined.folder_of(work_dir, size, master), master=master)
        shutil.rmtree(work_dir / f"web-{size}", ignore_errors=True)


def costs_of(work_dir: Path, sizes: list[int], masters: list[str]) -> Costs:
    """The stages that have finished in the runs that are there."""
    found: Costs = {}
    for size in sorted(sizes):
        for master in masters:
            folder = mined.folder_of(work_dir, size, master)
            if (folder / "samples.jsonl").exists():
                found[size, master] = {cost.stage: cost for cost in stage_costs(folder)}
    return found


def stages_of(costs: Costs) -> list[str]:
    """All stages in the order in which they ended."""
    names = dict.fromkeys(stage for one in costs.values() for stage in one if stage != WHOLE)
    return [*names, WHOLE] if any(WHOLE in one for one in costs.values()) else list(names)


def growth_of(costs: Costs, master: str, field: str) -> dict[str, float | None]:
    """Stage to the growth exponent between the smallest and the largest size that have it."""
    found = {}
    for stage in stages_of(costs):
        rows = [(size, one[stage]) for (size, its), one in costs.items() if its == master and stage in one]
        if rows:
            found[stage] = growth_exponent([size for size, _ in rows], [getattr(cost, field) for _, cost in rows])
    return found


def speed_ups(costs: Costs, sizes: list[int], masters: list[str]) -> dict[int, dict[str, float]]:
    """Pages to stage to seconds on the first master over those on the last."""
    found = {}
    for size in sizes:
        first, last = costs.get((size, masters[0]), {}), costs.get((size, masters[-1]), {})
        if first and last and len(masters) > 1:
            found[size] = {stage: first[stage].seconds / last[stage].seconds for stage in first if stage in last}
    return found


def show(console: Console, costs: Costs, sizes: list[int], masters: list[str], work_dir: Path) -> None:
    """One table a run, one of growth and speed-up, one of sizes on disk."""
    for (size, master), stages in costs.items():
        table = Table(title=f"{size:,} pages on {master}", title_justify="left")
        table.add_column("stage")
        for name in ("s", "CPU s", "peak MB", "of it Java", "shuffled MB", "spilled MB", "GC s", "tasks", "disk MB"):
            table.add_column(name, justify="right")
        for stage in stages_of({(size, master): stages}):
            one = stages[stage]
            figures = (one.peak_mb, one.java_peak_mb, one.shuffled_mb, one.spilled_mb, one.gc_seconds, one.tasks)
            disk = "-" if one.scratch_peak_mb is None else f"{one.scratch_peak_mb:,.0f}"
            shown = (f"{one.seconds:,.1f}", f"{one.cpu_seconds:,.1f}", *(f"{value:,.0f}" for value in figures), disk)
            table.add_row(stage, *shown)
        console.print(table)
    _show_growth(console, costs, sizes, masters)
    _show_disk(console, costs, work_dir)


def _show_growth(console: Console, costs: Costs, sizes: list[int], masters: list[str]) -> None:
    table = Table(title="growth exponents (1 is linear) and speed-up", title_justify="left")
    table.add_column("stage")
    columns = [
        (f"{label}, {master}", growth_of(costs, master, field))
        for master in masters
        for label, field in (("seconds", "seconds"), ("CPU s", "cpu_seconds"), ("shuffled", "shuffled_mb"))
    ]
    columns += [(f"speed-up, {size:,}", dict(one)) for size, one in speed_ups(costs, sizes, masters).items()]
    for name, _ in columns:
        table.add_column(name, justify="right")
    for stage in stages_of(costs):
        figures = [column.get(stage) for _, column in columns]
        table.add_row(stage, *("-" if value is None else f"{value:.2f}" for value in figures))
    console.print(table)


def _show_disk(console: Console, costs: Costs, work_dir: Path) -> None:
    table = Table(title="on disk, MB", title_justify="left")
    table.add_column("table")
    sizes = {run: bytes_on_disk(work_dir, *run) for run in costs}
    for size, master in sizes:
        table.add_column(f"{size:,} {master}", justify="right")
    for name in dict.fromkeys(name for one in sizes.values() for name in one):
        table.add_row(name, *(f"{one[name] / 1e6:,.1f}" if name in one else "-" for one in sizes.values()))
    console.print(table)


def bytes_on_disk(work_dir: Path, size: int, master: str) -> dict[str, int]:
    """Table to its bytes after a finished run; empty for another."""
    done = mined.folder_of(work_dir, size, master) / "done.json"
    return dict(json.loads(done.read_text(encoding="utf-8"))["bytes_on_disk"]) if done.exists() else {}


def as_json(costs: Costs, sizes: list[int], masters: list[str], work_dir: Path) -> dict[str, object]:
    """All figures as plain values."""
    runs = [
        {
            "pages": size,
            "master": master,
            "stages": [asdict(one) for one in stages.values()],
            "bytes_on_disk": bytes_on_disk(work_dir, size, master),
        }
        for (size, master), stages in costs.items()
    ]
    growth = {one: growth_of(costs, one, "cpu_seconds") for one in masters}
    return {"runs": runs, "growth_exponents_of_cpu_seconds": growth, "speed_up": speed_ups(costs, sizes, masters)}


def rates_of(work_dir: Path, costs: Costs, master: str, web: Path) -> Rates:
    """The rates of the runs on a master and of real pages, which are measured once and kept."""
    runs = runs_by_size(costs, master)
    run_dir = mined.folder_of(work_dir, max(runs), master) / "run"
    here = run_dir / "rounds" / "02"
    facts = json.loads((here / "classifier.json").read_text(encoding="utf-8"))
    kept = work_dir / "real.json"
    if not kept.exists():
        warcs = sorted(web.glob("*.warc.gz"))[:2]
        ingest = real_pages.ingest_rates(warcs)
        with tempfile.TemporaryDirectory() as folder:
            real = real_pages.text_rates(real_pages.ingested(warcs, Path(folder)), here / "classifier.bin")
        mini = real_pages.text_rates(run_dir / "pages", here / "classifier.bin")
        kept.write_text(json.dumps([asdict(one) for one in (mini, real, ingest)]), encoding="utf-8")
    mini, real, ingest = json.loads(kept.read_text(encoding="utf-8"))
    update_s = runs[max(runs)]["round-02 train"].cpu_seconds / (facts["documents"] * facts["epochs"])
    rates = real_pages.TextRates(**mini), real_pages.TextRates(**real), real_pages.IngestRates(**ingest)
    return Rates(runs, *rates, update_s)


def show_capacity(console: Console, rates: Rates) -> None:
    """What the runs foretell of the largest, and what snapshots take."""
    largest = max(rates.runs)
    table = Table(title=f"CPU s at {largest:,} pages, foretold from smaller runs", title_justify="left")
    for name in ("stage", "foretold", "measured", "error"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, (told, found) in foretold(rates.runs, largest).items():
        table.add_row(stage, f"{told:,.1f}", f"{found:,.1f}", f"{told / found - 1:+.0%}" if found else "-")
    console.print(table)
    console.print(f"real pages: {rates.ingest}; {rates.real}")
    for crawls in (1, 40):
        table = Table(title=f"{crawls} snapshot(s): {Snapshot()}", title_justify="left")
        for name in ("stage", "core hours", "hours on 1,000 cores", "stored TB", "shuffled TB"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for line in capacity(rates, Snapshot(), crawls):
            hours = line.core_hours if "one core" in line.stage else line.core_hours / 1000
            figures = (line.core_hours, hours, line.stored_tb, line.shuffled_tb)
            table.add_row(line.stage, *(f"{value:,.1f}" for value in figures))
        console.print(table)


def main() -> int:
    """Measure, print tables or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work_dir", type=Path, help="where webs and runs lie, and are kept")
    parser.add_argument("--pages", default=PAGES, help=f"sizes, comma-separated (default {PAGES})")
    parser.add_argument("--master", default=MASTERS, help=f"Spark masters, comma-separated (default {MASTERS})")
    parser.add_argument("--capacity", type=Path, help="folder of real WARC files; tables of what snapshots take")
    parser.add_argument("--show", action="store_true", help="run nothing, show what is there")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.work_dir is None:
        sys.stderr.write("not run: a million pages take an hour; name a folder for the runs with --work_dir\n")
        sys.stdout.write(json.dumps({"runs": []}) + "\n" if args.json else "")
        return 0
    sizes, masters = [int(size) for size in args.pages.split(",")], args.master.split(",")
    work_dir = args.work_dir.absolute()
    if not args.show:
        measure(work_dir, sizes, masters)
    costs = costs_of(work_dir, sizes, masters)
    console = Console(width=max(150, Console().width))
    if args.capacity:
        show_capacity(console, rates_of(work_dir, costs, masters[-1], args.capacity))
    elif args.json:
        sys.stdout.write(json.dumps(as_json(costs, sizes, masters, work_dir)) + "\n")
    else:
        show(console, costs, sizes, masters, work_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
