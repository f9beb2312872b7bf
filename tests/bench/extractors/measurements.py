"""The benchmark's parts: speed, text, formulas and guards as rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from extractors import formula_scores, text_scores
from extractors.formula_cases import CASES, KEPT, LOST, verdict
from extractors.formula_truth import Truth
from extractors.pages import Golden, WebPage, is_held_out, visible_text
from extractors.peers import OPENWEBMATH, OURS, RESILIPARSE, SLOW, TRAFILATURA, Extractor, Extractors, read_back
from extractors.rows import rows_for
from extractors.text_scores import Score
from extractors.timed import Outcome
from reports.rows import Row

BLOCK = 20
ROUNDS = 3
SLOW_SHARE = 2
"""The slow peers are timed on the first of so many parts of the pages, and we beside them on the same part."""
MIN_VISIBLE_CHARS = 500
MIXED_WEB, MATH_HEAVY = "mixed web", "math-heavy pages"
LEAST_RATIOS = {
    (MIXED_WEB, RESILIPARSE): 0.8,
    (MATH_HEAVY, RESILIPARSE): 0.5,
    (MIXED_WEB, OPENWEBMATH): 5.0,
    (MIXED_WEB, TRAFILATURA): 8.0,
}
"""What the project asks for in speed."""


@dataclass
class Report:
    """All that one run found."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    """By the part's title; golden sets are the held-out hosts."""
    development_rows: dict[str, list[Row]] = field(default_factory=dict)
    """The same for the hosts that may be looked at while developing."""
    cases: dict[str, dict[str, str]] = field(default_factory=dict)
    """Verdicts by encoding and extractor."""
    encodings: dict[str, dict[str, str]] = field(default_factory=dict)
    """Formulas kept of all by rendered encoding and extractor."""
    worst_pages: list[str] = field(default_factory=list)
    """Real pages of development hosts of which a peer keeps more formulas than we do."""
    left_out: list[str] = field(default_factory=list)
    failures: dict[str, list[str]] = field(default_factory=dict)
    """Addresses of the pages, of all that every extractor was given, on which an extractor failed."""
    guarded: set[tuple[str, int]] = field(default_factory=set)
    """Address and length of those pages: parts share some, and each counts once."""


def in_turns(extractors: Mapping[str, Extractor], batch: Sequence[WebPage]) -> dict[str, list[Outcome]]:
    """Every extractor's outcomes on all pages, taken in turns by blocks of pages so that noise hits all alike."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in extractors}
    names = list(extractors)
    for turn, start in enumerate(range(0, len(batch), BLOCK)):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            outcomes[name] += [extractors[name](page.html, page.url) for page in batch[start : start + BLOCK]]
    return outcomes


def measure_speed(extractors: Extractors, case: str, batch: Sequence[WebPage], report: Report) -> list[Row]:
    """Documents a CPU second, each page at the median of ROUNDS rounds."""
    everyone = extractors.for_text()
    quick = {name: run for name, run in everyone.items() if name not in SLOW}
    num_slow = len(batch) // SLOW_SHARE
    first, last = batch[:num_slow], batch[num_slow:]
    in_turns(everyone, first[:3])  # imports, caches and compiled patterns are not the pages' time
    seconds = {name: np.zeros(0) for name in everyone}
    for part, chosen in ((first, everyone), (last, quick)):
        rounds = [in_turns(chosen, part) for _ in range(ROUNDS)]
        for name in chosen:
            taken = np.array([[outcome.cpu_s for outcome in one[name]] for one in rounds])  # (ROUNDS, pages)
            seconds[name] = np.concatenate((seconds[name], np.median(taken, axis=0)))
        if chosen is everyone:
            guard(first, rounds[0], report)
    rows = []
    for num_pages, slow in ((len(batch), False), (num_slow, True)):
        rates = {name: num_pages / taken[:num_pages].sum() for name, taken in seconds.items()}
        compared = rows_for(case, "docs_per_cpu_s", rates, missing=extractors.missing, pages=num_pages)
        rows += [one for one in compared if (one.peer in SLOW) is slow]
    return [replace(one, least_ratio=LEAST_RATIOS.get((case, one.peer))) for one in rows]


def measure_text(
    extractors: Extractors, case: str, goldens: Sequence[Golden], report: Report
) -> tuple[list[Row], list[Row]]:
    """Rows of one golden set: (held-out hosts, development hosts)."""
    outcomes = in_turns(extractors.for_text(), [golden.page for golden in goldens])
    guard([golden.page for golden in goldens], outcomes, report)

    def scores(chosen: Sequence[int]) -> dict[str, dict[str, Score]]:
        half = [goldens[number] for number in chosen]
        return {
            name: text_scores.text_scores(half, [results[number].text for number in chosen])
            for name, results in outcomes.items()
        }

    return _by_half(case, [golden.host for golden in goldens], scores, extractors.missing)


def measure_cases(extractors: Extractors, report: Report) -> list[Row]:
    """Counts over the hand-made encodings, with the verdicts in the report."""
    same = formula_scores.formula_matcher().same_formula
    batch = [WebPage("https://example.org/notes", case.html) for case in CASES]
    outcomes = in_turns(extractors.for_formulas(), batch)
    for number, case in enumerate(CASES):
        report.cases[case.name] = {
            name: verdict(case, read_back(name, results[number].text), same) for name, results in outcomes.items()
        }
    kept = {name: sum(one[name] != LOST for one in report.cases.values()) for name in outcomes}
    meant = {name: sum(one[name] == KEPT for one in report.cases.values()) for name in outcomes}
    case_name = f"{len(CASES)} encodings"
    return [
        *rows_for(case_name, "kept_once", kept, missing=extractors.missing, pages=len(CASES)),
        *rows_for(case_name, "kept_once_as_meant", meant, missing=extractors.missing, pages=len(CASES)),
    ]


def measure_rendered(extractors: Extractors, report: Report) -> list[Row]:
    """Scores over the rendered pages, all together and by the kind of encoding."""
    matcher = formula_scores.formula_matcher()
    pages = formula_scores.rendered_pages()
    outcomes = in_turns(extractors.for_formulas(), [WebPage("https://example.org/notes", page.html) for page in pages])
    counts = {
        name: [
            formula_scores.rendered_counts(page, read_back(name, outcome.text), matcher)
            for page, outcome in zip(pages, results, strict=True)
        ]
        for name, results in outcomes.items()
    }
    for number, page in enumerate(pages):
        report.encodings[page.encoding] = {name: f"{one[number][1]}/{one[number][0]}" for name, one in counts.items()}
    groups = formula_scores.by_group(pages)
    rows = []
    for case, chosen in (
        ("rendered pages", range(len(pages))),
        *((f"rendered: {name}", groups[name]) for name in groups),
    ):
        scores = {
            name: formula_scores.rendered_scores([one[number] for number in chosen]) for name, one in counts.items()
        }
        metrics = scores[OURS] if case == "rendered pages" else ("formula_f1",)
        for metric in metrics:
            figures = {name: one[metric] for name, one in scores.items()}
            rows += rows_for(case, metric, figures, missing=extractors.missing, pages=len(chosen))
    return rows


def measure_real_formulas(
    extractors: Extractors, batch: Sequence[WebPage], report: Report
) -> tuple[list[Row], list[Row]]:
    """Rows of the formulas that real pages state themselves: (held-out hosts, development hosts)."""
    stated = formula_scores.real_truths(batch)
    outcomes = in_turns(extractors.for_formulas(), [page for page, _ in stated])
    guard([page for page, _ in stated], outcomes, report)
    counts = {
        name: [
            formula_scores.real_counts(truth, read_back(name, outcome.text))
            for (_, truth), outcome in zip(stated, results, strict=True)
        ]
        for name, results in outcomes.items()
    }
    report.worst_pages = _worst(stated, counts)

    def scores(chosen: Sequence[int]) -> dict[str, dict[str, Score]]:
        return {name: formula_scores.real_scores([one[number] for number in chosen]) for name, one in counts.items()}

    return _by_half("formulas that pages state", [page.host for page, _ in stated], scores, extractors.missing)


def guard(batch: Sequence[WebPage], outcomes: Mapping[str, Sequence[Outcome]], report: Report) -> None:
    """Adds to the report the pages on which an extractor raised, died or gave nothing although there is text."""
    new = [number for number, page in enumerate(batch) if (page.url, len(page.html)) not in report.guarded]
    report.guarded |= {(batch[number].url, len(batch[number].html)) for number in new}
    for name, results in outcomes.items():
        failed = report.failures.setdefault(name, [])
        for number in new:
            page, outcome = batch[number], results[number]
            if (outcome.error or not outcome.text.strip()) and _num_visible(page.html) > MIN_VISIBLE_CHARS:
                failed.append(f"{page.url}: {outcome.error or 'empty text'}")


def guard_rows(extractors: Extractors, report: Report) -> list[Row]:
    """Counts of the failures over all pages of the run that every extractor was given."""
    failed = {name: len(addresses) for name, addresses in report.failures.items()}
    if not failed:
        return []
    return rows_for(
        "all pages of this run",
        "raised_or_empty_pages",
        failed,
        missing=extractors.missing,
        pages=len(report.guarded),
        more_is_better=False,
    )


def _by_half(
    case: str,
    hosts: Sequence[str],
    scores_of: Callable[[Sequence[int]], dict[str, dict[str, Score]]],
    missing: Mapping[str, str],
) -> tuple[list[Row], list[Row]]:
    halves = []
    for held_out, half in ((True, "held-out hosts"), (False, "development hosts")):
        chosen = [number for number, host in enumerate(hosts) if is_held_out(host) is held_out]
        scores = scores_of(chosen) if chosen else {}
        rows: list[Row] = []
        for metric in scores.get(OURS, ()):
            figures = {name: one[metric] for name, one in scores.items()}
            rows += rows_for(f"{case}, {half}", metric, figures, missing=missing, pages=len(chosen))
        halves.append(rows)
    return halves[0], halves[1]


def _worst(stated: Sequence[tuple[WebPage, Truth]], counts: Mapping[str, Sequence[tuple[float, ...]]]) -> list[str]:
    """Pages of development hosts with the largest lead of a peer, the held-out ones stay unread."""
    lines = []
    for number, (page, _) in enumerate(stated):
        own = counts[OURS][number][0]
        best, peer = max((one[number][0], name) for name, one in counts.items())
        if best > own and not is_held_out(page.host):
            lines.append((best - own, f"{own:.2f} ours, {best:.2f} {peer}: {page.url}"))
    return [line for _, line in sorted(lines, reverse=True)]


def _num_visible(html: str) -> int:
    return len("".join(visible_text(html).split()))
