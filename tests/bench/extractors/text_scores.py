"""How near an extractor's text is to the golden text, and how sure that is.

A score is a function of sums of per-page numbers, so that one bootstrap over pages serves them all.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from extractors.pages import Golden

NUM_DRAWS = 1000
SHINGLE_WORDS = 4
_WORD = re.compile(r"\w+")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Score:
    """A score over pages with its bootstrap draws; the same pages are drawn for every extractor."""

    value: float
    draws: np.ndarray  # (NUM_DRAWS,)

    @property
    def interval(self) -> tuple[float, float]:
        """The middle 95% of the draws."""
        return _middle(self.draws)

    def lead(self, other: "Score") -> tuple[float, float]:
        """The middle 95% of this score less the other one, page by page the same draws."""
        return _middle(self.draws - other.draws)


def score(per_page: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> Score:
    """The statistic of the sums over pages. per_page: (N, K); statistic: (..., K) -> (...)."""
    num_pages = len(per_page)
    chosen = np.random.default_rng(0).integers(0, num_pages, size=(NUM_DRAWS, num_pages))
    return Score(float(statistic(per_page.sum(axis=0))), statistic(per_page[chosen].sum(axis=1)))


def shingle_counts(expected: str, text: str) -> tuple[float, float, float, float]:
    """A page's (precision, 1 where defined, recall, 1 where defined) over runs of four words with their counts.

    As article-extraction-benchmark's evaluate.py defines them: words are runs of letters and digits, a text shorter
    than four words is one shingle, precision is left out for an empty text and recall for an empty expectation.
    """
    wanted, given = _shingles(expected), _shingles(text)
    num_common = (wanted & given).total()
    precision = (num_common / given.total(), 1.0) if given else (0.0, 0.0)
    recall = (num_common / wanted.total(), 1.0) if wanted else (0.0, 0.0)
    return (*precision, *recall)


def shingle_f1(sums: np.ndarray) -> np.ndarray:
    """F1 of mean precision and mean recall. sums: (..., 4) of `shingle_counts`."""
    precision = sums[..., 0] / np.maximum(sums[..., 1], 1)
    recall = sums[..., 2] / np.maximum(sums[..., 3], 1)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def segment_counts(golden: Golden, text: str) -> tuple[float, float, float, float]:
    """A page's (wanted and there, unwanted and there, wanted but absent, unwanted and absent).

    As trafilatura's tests/eval_common.py counts them: substrings after white space is made one space.
    """
    plain = _spaced(text)
    num_there = sum(_spaced(one) in plain for one in golden.wanted)
    num_wrong = sum(_spaced(one) in plain for one in golden.unwanted)
    return num_there, num_wrong, len(golden.wanted) - num_there, len(golden.unwanted) - num_wrong


def segment_f1(sums: np.ndarray) -> np.ndarray:
    """F1 over all strings of all pages. sums: (..., 4) of `segment_counts`."""
    return 2 * sums[..., 0] / np.maximum(2 * sums[..., 0] + sums[..., 1] + sums[..., 2], 1)


def wanted_share(sums: np.ndarray) -> np.ndarray:
    """Share of the wanted strings that are there."""
    return sums[..., 0] / np.maximum(sums[..., 0] + sums[..., 2], 1)


def unwanted_absent_share(sums: np.ndarray) -> np.ndarray:
    """Share of the unwanted strings that are absent."""
    return sums[..., 3] / np.maximum(sums[..., 1] + sums[..., 3], 1)


def text_scores(goldens: Sequence[Golden], texts: Sequence[str]) -> dict[str, Score]:
    """The scores of one extractor's texts by metric, of the kind that the golden set allows."""
    if goldens[0].expected:
        pairs = zip(goldens, texts, strict=True)
        per_page = np.array([shingle_counts(golden.expected, text) for golden, text in pairs])
        return {"text_f1": score(per_page, shingle_f1)}
    counts = np.array([segment_counts(golden, text) for golden, text in zip(goldens, texts, strict=True)], dtype=float)
    return {
        "segment_f1": score(counts, segment_f1),
        "wanted_share": score(counts, wanted_share),
        "unwanted_absent_share": score(counts, unwanted_absent_share),
    }


def _shingles(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text)
    if not words:
        return Counter()
    return Counter(
        tuple(words[start : start + SHINGLE_WORDS]) for start in range(max(1, len(words) - SHINGLE_WORDS + 1))
    )


def _spaced(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _middle(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)
