"""Estimates of accuracy and their 95% intervals."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

_Z95 = 1.959963984540054


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Unbiased estimate that at least one of k samples is right: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021)."""
    if not 0 < k <= num_samples:
        raise ValueError(f"k={k}: needs 1 to num_samples={num_samples}")
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def majority(answers: Sequence[str | None], correct: Sequence[bool]) -> float:
    """Expected correctness of the most frequent answer; a tie counts the share of right ones among the tied.

    `None` (no answer found) casts no vote; without any vote the result is 0.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0
    verdicts = dict(zip(answers, correct, strict=True))
    most = max(votes.values())
    tied = [verdicts[answer] for answer, count in votes.items() if count == most]
    return sum(tied) / len(tied)


def mcnemar_p(num_only_ours: int, num_only_theirs: int) -> float:
    """Two-sided exact p-value that two models solve equally many questions, from those that one alone solves."""
    count = num_only_ours + num_only_theirs
    tail = sum(math.comb(count, place) for place in range(min(num_only_ours, num_only_theirs) + 1))
    return min(1.0, 2 * tail / 2**count)


def wilson_interval(num_correct: int, count: int) -> tuple[float, float]:
    """95% interval of a share; (0, 1) where nothing was counted."""
    if count == 0:
        return 0.0, 1.0
    share, spread = num_correct / count, _Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], *, seed: int = 0, num_draws: int = 2000
) -> tuple[float, float]:
    """95% percentile interval of a statistic over questions.

    values: (questions, columns). `statistic` takes (draws, questions, columns) and gives (draws,).
    """
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(0, num_draws, 100):  # 100 draws at a time bounds memory for large benchmarks
        drawn = generator.integers(0, len(values), size=(100, len(values)))
        found.append(statistic(values[drawn]))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return float(low), float(high)


def mean(values: np.ndarray) -> np.ndarray:
    """Mean of the first column over the questions, for `bootstrap_interval`."""
    return values[..., 0].mean(axis=-1)


def ratio(values: np.ndarray) -> np.ndarray:
    """Sum of the first column over sum of the second, for `bootstrap_interval`."""
    return values[..., 0].sum(axis=-1) / values[..., 1].sum(axis=-1)
