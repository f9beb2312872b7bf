"""Precision, recall and F1 of every round and of the corpus, against pages labelled by eye or known by making.

A label is about a page's content, so a labelled page that dedup removed has the fate of the page kept for it, and
one that never became a page (dropped at ingest, or not in the crawl) counts as not collected.
"""

import gzip
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mining.errors import ConfigError
from mining.inspect.tables import Run, among, kept_pages

Z_95 = 1.959964
NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Label:
    """What a page is in truth."""

    url: str
    """As captured, so as in pages/."""
    is_math: bool
    language: str
    stratum: str | None
    """The part of the web it was drawn from; None where the file does not say."""
    borderline: bool | None
    """Two careful readers could differ; None where the file does not say."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One labelled page beside what the miner did with it."""

    label: Label
    collected: bool
    score: float | None
    """Of the page that stands for it; None where it was never scored."""


def read_labels(file: str | Path, *, stratum: str | None = None) -> list[Label]:
    """The labels in a JSONL file (.gz too), one a URL, those of `stratum` alone where it is given.

    A line that is no label, two labels for one URL, or a stratum that no line has raises ConfigError.
    """
    by_url: dict[str, Label] = {}
    opener = gzip.open if str(file).endswith(".gz") else open
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                label = _label(line, place=f"{file}, line {number}")
                known = by_url.setdefault(label.url, label)
                if known.is_math != label.is_math:
                    raise ConfigError(f"{file}, line {number}: {label.url} has the other label above; keep one of them")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--labels {file}: cannot be read ({error}); give a JSONL file of labels") from error
    labels = [label for label in by_url.values() if stratum is None or label.stratum == stratum]
    if not labels:
        strata = ", ".join(sorted({label.stratum for label in by_url.values() if label.stratum})) or "none"
        wanted = f"--stratum {stratum}" if by_url else f"--labels {file}"
        raise ConfigError(f"{wanted}: no label left to judge by; strata in {file}: {strata}")
    return labels


def _label(line: str, *, place: str) -> Label:
    remedy = 'a line reads {"url": "https://...", "label": "math" or "nonmath", "language": "en"}'
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{place}: broken JSON at column {error.colno} ({error.msg}); {remedy}") from error
    if not isinstance(row, dict) or not isinstance(row.get("url"), str):
        raise ConfigError(f"{place}: no url in it; {remedy}")
    if row.get("label") not in ("math", "nonmath"):
        raise ConfigError(f"{place}: label {row.get('label')!r}; {remedy}")
    return Label(
        url=row["url"],
        is_math=row["label"] == "math",
        language=str(row.get("language") or "und"),
        stratum=row.get("stratum"),
        borderline=row.get("borderline"),
    )


def evaluate(run: Run, labels: Sequence[Label], *, seed: int = 0) -> dict[str, Any]:
    """`{"n_labels", "rounds": [...], "corpus": {...} or None}`: the figures of each round and of the exported corpus.

    Each entry has precision, recall, f1 (None where undefined), their 95% intervals, the counts, and the same by
    language, stratum and borderline; a round also best_f1 over all cuts and the average precision of its scores.
    """
    standing = kept_pages(run, (label.url for label in labels))
    page_ids = {page for pages in standing.values() for page in pages}
    rounds = []
    for number in run.rounds:
        taken = set(among(run, run.relation("collected", number), page_ids))
        scores = among(run, run.relation("scores", number), page_ids, column="score")
        outcomes = [_outcome(label, standing.get(label.url, set()), taken, scores) for label in labels]
        rounds.append({"round": number, **_all_figures(outcomes, seed=seed, ranked=True)})
    corpus = None
    if run.is_done("export"):
        taken = set(among(run, run.relation("corpus"), page_ids))
        outcomes = [_outcome(label, standing.get(label.url, set()), taken, {}) for label in labels]
        corpus = _all_figures(outcomes, seed=seed, ranked=False)
    return {"n_labels": len(labels), "n_absent": len(labels) - len(standing), "rounds": rounds, "corpus": corpus}


def _outcome(label: Label, pages: set[str], taken: set[str], scores: dict[str, float]) -> Outcome:
    known = [scores[page] for page in pages if page in scores]
    return Outcome(label=label, collected=bool(pages & taken), score=max(known, default=None))


def _all_figures(outcomes: Sequence[Outcome], *, seed: int, ranked: bool) -> dict[str, Any]:
    def by(key: Callable[[Label], str | None]) -> dict[str, Any]:
        names = sorted({name for outcome in outcomes if (name := key(outcome.label)) is not None})
        return {
            name: figures([o for o in outcomes if key(o.label) == name], seed=seed, ranked=ranked) for name in names
        }

    return {
        **figures(outcomes, seed=seed, ranked=ranked),
        "by_language": by(lambda label: label.language),
        "by_stratum": by(lambda label: label.stratum),
        "by_borderline": by(_clarity),
    }


def _clarity(label: Label) -> str | None:
    if label.borderline is None:
        return None
    return "borderline" if label.borderline else "clear"


def figures(outcomes: Sequence[Outcome], *, seed: int = 0, ranked: bool = False) -> dict[str, Any]:
    """Counts, precision, recall and F1 with 95% intervals; `ranked` adds best_f1, its cut and average_precision."""
    tp = sum(o.collected and o.label.is_math for o in outcomes)
    fp = sum(o.collected and not o.label.is_math for o in outcomes)
    fn = sum(not o.collected and o.label.is_math for o in outcomes)
    tn = len(outcomes) - tp - fp - fn
    found: dict[str, Any] = {
        "n": len(outcomes),
        "n_math": tp + fn,
        "n_collected": tp + fp,
        "precision": tp / (tp + fp) if tp + fp else None,
        "recall": tp / (tp + fn) if tp + fn else None,
        "f1": f1(tp, fp, fn),
        "precision_interval": wilson(tp, tp + fp),
        "recall_interval": wilson(tp, tp + fn),
        "f1_interval": f1_interval(tp, fp, fn, tn, seed=seed),
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "true_negatives": tn,
    }
    if ranked:
        best, cut = best_f1((o.score, o.label.is_math) for o in outcomes)
        found["best_f1"], found["best_f1_threshold"] = best, cut
        found["average_precision"] = average_precision((o.score, o.label.is_math) for o in outcomes)
    return found


def f1(tp: int, fp: int, fn: int) -> float | None:
    """Harmonic mean of precision and recall, 2tp / (2tp + fp + fn); None where nothing is math and nothing taken."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """The Wilson 95% score interval of a share; None for no trials."""
    if trials == 0:
        return None
    share, z2 = successes / trials, Z_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # At 0 and n the exact bound is 0 and 1; floating point lands a hair beside it.
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == trials else middle + half)


def f1_interval(tp: int, fp: int, fn: int, tn: int, *, seed: int = 0) -> tuple[float, float] | None:
    """The bootstrap 95% percentile interval of F1 over the labelled pages.

    Drawing pages with replacement is drawing the four counts from a multinomial, so no page is touched. Resamples
    without a math page or a collected one are left out; None where no resample is left.
    """
    total = tp + fp + fn + tn
    if tp + fp + fn == 0:
        return None
    draws = np.random.default_rng(seed).multinomial(total, np.array([tp, fp, fn, tn]) / total, size=NUM_RESAMPLES)
    hits, missed = 2 * draws[:, 0], draws[:, 1] + draws[:, 2]
    defined = hits + missed > 0
    values = hits[defined] / (hits + missed)[defined]
    if not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _curve(scored: Iterable[tuple[float | None, bool]]) -> tuple[list[tuple[float, int, int]], int]:
    """(cut, true positives, false positives) at each distinct score, descending, and the number of math pages."""
    known = [(score, is_math) for score, is_math in scored]
    num_math = sum(is_math for _, is_math in known)
    ranking = sorted(((s, m) for s, m in known if s is not None), key=lambda pair: -pair[0])
    points: list[tuple[float, int, int]] = []
    tp = fp = 0
    for place, (score, is_math) in enumerate(ranking):
        tp, fp = tp + is_math, fp + (not is_math)
        if place + 1 == len(ranking) or ranking[place + 1][0] != score:  # pages of one score are taken together
            points.append((score, tp, fp))
    return points, num_math


def best_f1(scored: Iterable[tuple[float | None, bool]]) -> tuple[float | None, float | None]:
    """The highest F1 that any cut reaches, and that cut; a page without a score is never taken.

    Chosen on the very labels it is reported for, so an upper bound and no estimate.
    """
    points, num_math = _curve(scored)
    if not points or not num_math:
        return None, None
    best = max(points, key=lambda point: point[1] / (point[1] + point[2] + num_math))  # F1 / 2
    return f1(best[1], best[2], num_math - best[1]), best[0]


def average_precision(scored: Iterable[tuple[float | None, bool]]) -> float | None:
    """Precision at each cut, weighted by the recall it adds; math pages without a score are never reached."""
    points, num_math = _curve(scored)
    if not num_math:
        return None
    total, last_tp = 0.0, 0
    for _, tp, fp in points:
        total += (tp - last_tp) / num_math * tp / (tp + fp)
        last_tp = tp
    return total


def table_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer of `evaluate` as rows with `group` and `of`: all pages first, then each part, each over the rounds."""
    entries = [(f"round {entry['round']}", entry) for entry in found["rounds"]]
    if found["corpus"]:
        entries.append(("corpus", found["corpus"]))
    rows = [{"group": "all", "of": name, **entry} for name, entry in entries]
    for key in ("by_language", "by_stratum", "by_borderline"):
        for part in entries[0][1][key] if entries else ():
            rows += [{"group": part, "of": name, **entry[key][part]} for name, entry in entries]
    return [{**row, "group": row["group"] if row["of"] == entries[0][0] else ""} for row in rows]
