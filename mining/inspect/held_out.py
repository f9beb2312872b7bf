"""How well a classifier does on hosts it has not seen, beside pages of hosts it has: folds, measures, intervals.

A page of a known host is easy: its menus, its macros and its author's words were in the training set. What a crawl
brings is unknown hosts, so a fold holds out whole hosts; the same with single pages shows how much of a figure is
acquaintance. (MegaMath, arXiv 2504.02807: what moved F1 out of domain from 81.8 to 98.8 did not show in domain.)
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mining.errors import ConfigError
from mining.inspect.documents import Document
from mining.inspect.evaluate import wilson

MEASURES = ("precision", "recall", "f1", "average_precision", "best_f1", "brier", "calibration_error")
NUM_BINS = 10
"""Bins of equal width of the reliability table and of the expected calibration error."""
NUM_RESAMPLES = 400
MIN_GROUPS = 4
"""Groups with mathematics, and groups without, below which no interval is given: it would be one host's luck."""


def folds(documents: Sequence[Document], names: Sequence[Any], num_folds: int, *, seed: int) -> list[int]:
    """The fold of each document; documents of one name share it.

    In an order drawn by `seed`, each name goes to the fold that has the fewest documents of its label. ConfigError
    where the documents outside of some fold are of one label.
    """
    sizes: dict[Any, np.ndarray] = {}
    for document, name in zip(documents, names, strict=True):
        sizes.setdefault(name, np.zeros(2))[int(document.is_math)] += 1
    totals = np.maximum(1, sum(sizes.values()))
    loads = np.zeros((num_folds, 2))  # shares of each label's documents
    order = sorted(sizes, key=str)
    random.Random(seed).shuffle(order)
    fold_of = {}
    for name in order:
        share = sizes[name] / totals
        crowding = loads @ share
        fold_of[name] = min(range(num_folds), key=lambda fold: (crowding[fold], loads[fold].sum()))
        loads[fold_of[name]] += share
    if (loads > 1 - 1e-9).any():
        which = "math" if (loads[:, 1] > 1 - 1e-9).any() else "other"
        raise ConfigError(
            f"all documents of the label {which!r} would be held out at once ({len(sizes)} hosts in all, "
            f"{num_folds} folds); give documents of two or more hosts of each label, or --folds 0 for no such test"
        )
    return [fold_of[name] for name in names]


Fit = Callable[[Sequence[Document], int], Callable[[str], float]]
"""Trains on documents with a seed; what comes back gives a line's logit."""


def held_out_scores(
    documents: Sequence[Document], fold_of: Sequence[int], *, seed: int, fit: Fit, say: Callable[[str], None]
) -> np.ndarray:
    """(N,) logits, each of a model that was trained without the document's fold."""
    scores = np.zeros(len(documents))
    used = sorted(set(fold_of))
    for number, fold in enumerate(used, start=1):
        say(f"fold {number} of {len(used)}")
        score = fit([one for one, other in zip(documents, fold_of, strict=True) if other != fold], seed)
        for place, (document, other) in enumerate(zip(documents, fold_of, strict=True)):
            if other == fold:
                scores[place] = score(document.line)
    return scores


def probabilities(scores: np.ndarray) -> np.ndarray:
    """(N,) chances of logits; beyond +-50 they are 0 and 1 to all digits."""
    return 1 / (1 + np.exp(-np.clip(scores, -50, 50)))


def measure(scores: np.ndarray, is_math: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """MEASURES of weighted documents, in that order; nan where one is undefined.

    scores: (N,) logits in falling order; is_math: (N,) of 0 and 1; weights: (N,), how often each document counts.
    Precision, recall and F1 are of the documents above logit 0, even odds; best F1 is over all cuts, so an upper bound.
    """
    hits = weights * is_math
    taken = scores > 0
    tp, collected, positives, total = hits[taken].sum(), weights[taken].sum(), hits.sum(), weights.sum()
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))  # documents of one score are taken together
    tp_at, taken_at = np.cumsum(hits)[ends], np.cumsum(weights)[ends]
    gained = np.diff(tp_at, prepend=0.0)
    chance = probabilities(scores)
    brier = (weights * (chance - is_math) ** 2).sum()
    excess = np.bincount(_bins(chance), weights * (chance - is_math), NUM_BINS)
    return np.array(
        [
            _ratio(tp, collected),
            _ratio(tp, positives),
            _ratio(2 * tp, collected + positives),
            _ratio((gained * tp_at / np.maximum(taken_at, 1e-9)).sum(), positives),
            (2 * tp_at / (taken_at + positives)).max() if positives > 0 else float("nan"),
            _ratio(brier, total),
            _ratio(np.abs(excess).sum(), total),
        ]
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _bins(chance: np.ndarray) -> np.ndarray:
    return np.minimum((chance * NUM_BINS).astype(int), NUM_BINS - 1)


def reliability(scores: np.ndarray, is_math: np.ndarray) -> list[dict[str, Any]]:
    """The reliability table: for each bin of P(math), documents a seed, the mean of P and the share that is math.

    scores: (S, N), a row a seed; is_math: (N,). An empty bin has None for mean and share.
    """
    chance = probabilities(scores)
    bins, truth = _bins(chance), np.broadcast_to(is_math, scores.shape)
    rows = []
    for number in range(NUM_BINS):
        inside = bins == number
        n = int(inside.sum())
        rows.append(
            {
                "low": number / NUM_BINS,
                "high": (number + 1) / NUM_BINS,
                "n": n / len(scores),
                "mean_probability": float(chance[inside].mean()) if n else None,
                "math_share": float(truth[inside].mean()) if n else None,
            }
        )
    return rows


def figures(scores: np.ndarray, is_math: np.ndarray, groups: Sequence[Any]) -> dict[str, Any]:
    """Counts, the reliability table, and for each of MEASURES mean, spread, per_seed and interval; None: undefined.

    scores: (S, N) logits, a row a seed. spread: the sample standard deviation over the seeds, None for one. interval:
    95%, of the mean over the seeds, by a bootstrap that draws groups (hosts, or pages), since documents of one group
    fare alike; None for fewer than MIN_GROUPS groups of either label.
    """
    truth = is_math.astype(float)
    number_of = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    group = np.array([number_of[name] for name in groups])
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = [(row[places], truth[places], group[places]) for row, places in zip(scores, order, strict=True)]

    def over_seeds(weights: np.ndarray) -> np.ndarray:
        return np.array([measure(row, labels, weights[places]) for row, labels, places in ranked])  # (S, measures)

    values = over_seeds(np.ones(len(number_of)))
    num_groups = {label: len(set(group[is_math == label].tolist())) for label in (True, False)}
    intervals: list[tuple[float, float] | None] = [None] * len(MEASURES)
    if min(num_groups.values()) >= MIN_GROUPS:
        draw = np.random.default_rng(0)
        size = len(number_of)
        drawn = [over_seeds(np.bincount(draw.integers(size, size=size), minlength=size)) for _ in range(NUM_RESAMPLES)]
        intervals = [
            _interval(column, num_groups[True] if name == "recall" else size)
            for name, column in zip(MEASURES, np.array(drawn).mean(axis=1).T, strict=True)
        ]
    return {
        "n": len(truth),
        "n_math": int(truth.sum()),
        "n_groups": len(number_of),
        **{
            name: _summary(column, interval)
            for name, column, interval in zip(MEASURES, values.T, intervals, strict=True)
        },
        "reliability": reliability(scores, truth),
    }


def _interval(drawn: np.ndarray, num_groups: int) -> tuple[float, float] | None:
    """The 2.5% and 97.5% points of the resamples; where all are 1 (or 0), Wilson's interval with a trial a group."""
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return None
    if defined.min() == defined.max() and defined[0] in (0.0, 1.0):
        return wilson(round(defined[0] * num_groups), num_groups)
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _summary(values: np.ndarray, interval: tuple[float, float] | None) -> dict[str, Any]:
    defined = values[~np.isnan(values)]
    return {
        "mean": float(defined.mean()) if len(defined) else None,
        "spread": float(defined.std(ddof=1)) if len(defined) > 1 else None,
        "interval": interval if len(defined) else None,
        "per_seed": [None if np.isnan(value) else float(value) for value in values],
    }


def by_language(documents: Sequence[Document], scores: np.ndarray, groups: Sequence[Any]) -> dict[str, Any]:
    """`figures` of all documents, under "all", and of those of each language, the most frequent first."""
    is_math = np.array([document.is_math for document in documents])
    languages = np.array([document.language for document in documents])
    names, counts = np.unique(languages, return_counts=True)
    parts = {"all": np.ones(len(documents), dtype=bool)}
    parts.update((str(names[place]), languages == names[place]) for place in np.argsort(-counts, kind="stable"))
    return {
        name: figures(scores[:, inside], is_math[inside], [g for g, one in zip(groups, inside, strict=True) if one])
        for name, inside in parts.items()
    }
