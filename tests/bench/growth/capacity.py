"""What mining snapshots of Common Crawl would take, from measured rates; and how well such a model foretells a run.

A stage of a run costs `fixed + per_page * pages`, from two runs of different size. Work on a page's text is taken out
of the mini web's `per_page` and put back at the rate of real pages; ingest is real pages alone, by compressed bytes.
Sizes of tables and of shuffles are bytes a page in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from growth.costs import WHOLE, StageCost
from growth.real_pages import IngestRates, TextRates

ROUND_STEPS = ("seed", "score", "cut", "aggregate", "rest")
"""The steps of a round that look at every page; training looks at a fixed number of documents."""
DEDUP_ENGINE_S = 0.25e-3
DEDUP_SHUFFLED_BYTES = 6_500
"""Of the search on Spark a page, indexing left out: tests/bench/dedup.py --scale 250000,500000,1000000 (mining/README,
2026-11-25: .40 ms a document, of which indexing .15). Up to 100,000 pages the stage runs without Spark, so that small
runs do not show it."""


@dataclass(frozen=True)
class Snapshot:
    """What is assumed of a crawl and of the run on it."""

    responses: float = 3e9
    warc_files: float = 90_000
    warc_bytes: float = 1e9
    """Of one WARC file, compressed."""
    rounds: int = 4
    duplicate_share: float = 0.2
    """Of the kept pages, those that go as duplicates."""
    collected_share: float = 0.02
    """Of the unique pages, those in the corpus."""
    training_documents: float = 2e6
    """Of a round; the paper's 500,000 positives with as many negatives, and what the labels add."""
    training_epochs: int = 3


@dataclass(frozen=True)
class Line:
    """What one stage takes on a snapshot."""

    stage: str
    core_hours: float
    stored_tb: float
    """On disk when the stage is done; of rounds, of all of them."""
    shuffled_tb: float


@dataclass(frozen=True)
class Fit:
    """A stage's cost as a line in the number of pages."""

    fixed: float
    per_page: float

    def at(self, pages: float) -> float:
        return self.fixed + self.per_page * pages


def fitted(sizes: Sequence[int], values: Sequence[float]) -> Fit:
    """The line through the first and the last point; never falling, and no fixed part below 0."""
    slope = max(0.0, (values[-1] - values[0]) / (sizes[-1] - sizes[0]))
    return Fit(max(0.0, values[0] - slope * sizes[0]), slope)


def foretold(runs: Mapping[int, Mapping[str, StageCost]], pages: int) -> dict[str, tuple[float, float]]:
    """Stage to CPU seconds foretold from the two largest smaller runs, and measured; of stages that all three have."""
    smaller = sorted(size for size in runs if size < pages)[-2:]
    if len(smaller) < 2 or pages not in runs:
        return {}
    found = {}
    for stage, cost in runs[pages].items():
        if all(stage in runs[size] for size in smaller):
            fit = fitted(smaller, [runs[size][stage].cpu_seconds for size in smaller])
            found[stage] = (fit.at(pages), cost.cpu_seconds)
    return found


def per_page(runs: Mapping[int, Mapping[str, StageCost]], stage: str, field: str) -> float:
    """What a page more adds to a stage, between the smallest and the largest run that have it."""
    sizes = sorted(size for size, stages in runs.items() if stage in stages)
    if len(sizes) < 2:
        return 0.0
    return fitted(sizes, [float(getattr(runs[size][stage], field)) for size in sizes]).per_page


@dataclass(frozen=True)
class Rates:
    """All that the model is made from."""

    runs: Mapping[int, Mapping[str, StageCost]]
    """Runs on the mini web, by pages."""
    mini: TextRates
    """The text work of the mini web's pages."""
    real: TextRates
    ingest: IngestRates
    update_s: float
    """CPU seconds of training on one document of the mini web once."""


def capacity(rates: Rates, crawl: Snapshot, crawls: int = 1) -> list[Line]:
    """What each stage takes for `crawls` snapshots mined together."""
    responses = crawl.responses * crawls
    kept = responses * rates.ingest.kept_share
    unique = kept * (1 - crawl.duplicate_share)
    collected = unique * crawl.collected_share
    bytes_a_response = crawl.warc_files * crawl.warc_bytes / crawl.responses
    stored = kept * rates.ingest.page_bytes + (responses - kept) * rates.ingest.dropped_bytes
    lines = [
        Line("WARC files, read", 0.0, crawl.warc_files * crawls * crawl.warc_bytes / 1e12, 0.0),
        Line("ingest", responses * rates.ingest.seconds(bytes_a_response) / 3600, stored / 1e12, 0.0),
        Line(
            "dedup", kept * (DEDUP_ENGINE_S + rates.real.index_s) / 3600, kept * rates.real.index_bytes / 1e12,
            kept * DEDUP_SHUFFLED_BYTES / 1e12,
        ),
        Line(f"{crawl.rounds} x train, one core each", _training_s(rates, crawl) * crawl.rounds / 3600, 0.0, 0.0),
    ]  # fmt: skip
    for step in ROUND_STEPS:
        seconds = per_page(rates.runs, f"round-02 {step}", "cpu_seconds")
        stored = 0.0
        if step == "score":
            seconds = max(0.0, seconds - rates.mini.score_s) + rates.real.score_s
            stored = unique * rates.real.score_bytes * crawl.rounds / 1e12
        shuffled = per_page(rates.runs, f"round-02 {step}", "shuffled_mb") * unique * crawl.rounds / 1e6
        lines.append(Line(f"{crawl.rounds} x {step}", unique * seconds * crawl.rounds / 3600, stored, shuffled))
    for stage in ("decontaminate", "export"):
        seconds = per_page(rates.runs, stage, "cpu_seconds")
        stored = collected * rates.ingest.page_bytes / 1e12 if stage == "export" else 0.0
        shuffled = per_page(rates.runs, stage, "shuffled_mb") * unique / 1e6
        lines.append(Line(stage, unique * seconds / 3600, stored, shuffled))
    total = [sum(getattr(line, name) for line in lines[1:]) for name in ("core_hours", "stored_tb", "shuffled_tb")]
    return [*lines, Line("in all, without the WARC files", *total)]


def _training_s(rates: Rates, crawl: Snapshot) -> float:
    """CPU seconds of one training; longer documents cost as they cost at scoring."""
    update_s = rates.update_s * rates.real.score_s / rates.mini.score_s
    return crawl.training_documents * crawl.training_epochs * update_s


def runs_by_size(
    costs: Mapping[tuple[int, str], Mapping[str, StageCost]], master: str
) -> dict[int, dict[str, StageCost]]:
    """The runs on one master, without their sums."""
    return {
        size: {name: cost for name, cost in stages.items() if name != WHOLE}
        for (size, its), stages in costs.items()
        if its == master
    }
