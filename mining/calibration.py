"""A page's final score from audited pages: the classifier's logit, the page's shape and its neighbours, weighed once.

The classifier reads words, and so takes manuals of mathematical software, lists of theorems and stubs for mathematics.
What sets them apart is how they look, and what stands beside them: a logistic regression on a few hundred pages that a
person has read learns that. A second one, over the words of those pages, is among its inputs; there each page has the
score of a model that has not seen its host. Nothing here knows the subject.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from mining.errors import ConfigError

MIN_OF_EACH = 20
"""Audited pages of each label without which nothing is fitted."""
MAX_CHARS = 20_000
"""Characters of a page that are looked at."""
NEIGHBOURS = 6
"""Pages that a folder must have for its mean to speak for it; else the folder above does."""
PRIOR_PAGES = 2
"""Pages of score 0 (of the host's mean, for a folder) that every mean is drawn to."""
MAX_LOGIT = 8.0
"""Neighbours' logits are cut here: the tails are no evidence."""

SHAPE = (
    "log_chars", "log_formulas", "formula_share", "formula_density", "display_lines", "short_lines", "log_line_length",
    "code_signs", "digit_share", "list_lines", "ideograph_share", "sentence_density", "log_words", "distinct_words",
    "path_depth", "path_year", "tabs", "has_formula", "indented_lines",
)  # fmt: skip
FEATURES = ("logit", "logit_near_zero", *SHAPE, "host_mean", "folder_mean", "words")

_CLIP = 4.0
_NEAR_ZERO = 3.0
_MAX_STEPS, _TOLERANCE = 60, 1e-9
_FOLDS = 5
_FORMULA = re.compile(r"\$\$?[^$]{1,2000}\$\$?")
_CODE = re.compile(
    r"[{};]|\(\)|==|::|->|^\s*(?:def|class|import|return|if|for|#include|public|void|int)\b", re.MULTILINE
)
_WORD = re.compile(r"\w+")
_IDEOGRAPH = re.compile("[\u3400-\u9fff]")
_SENTENCE = re.compile(r"[.!?。！？；]\s")
_LIST_LINE = re.compile(r"\s*(?:•|\d+\.)")
_YEAR = re.compile(r"\d{4}")


def page_shape(text: str, url: str) -> list[float]:
    """The values of SHAPE, in its order: shares lie in 0..1, densities are log(1 + number per 1,000 characters)."""
    text = text[:MAX_CHARS]
    chars = max(1, len(text))
    lines = [line for line in text.split("\n") if line.strip()] or [""]
    lengths = [len(line) for line in lines]
    formulas = _FORMULA.findall(text)
    words = _WORD.findall(text.lower())
    path = url.split("/", 3)[3] if url.count("/") > 2 else ""

    def share(number: int) -> float:
        return number / len(lines)

    return [
        math.log(chars),
        math.log1p(len(formulas)),
        sum(map(len, formulas)) / chars,
        math.log1p(1000 * len(formulas) / chars),
        share(sum(line.startswith("$$") for line in lines)),
        share(sum(length < 40 for length in lengths)),
        math.log1p(sum(lengths) / len(lines)),
        share(len(_CODE.findall(text))),
        sum(map(str.isdigit, text)) / chars,
        share(sum(_LIST_LINE.match(line) is not None for line in lines)),
        len(_IDEOGRAPH.findall(text)) / chars,
        math.log1p(1000 * len(_SENTENCE.findall(text + " ")) / chars),
        math.log1p(len(words)),
        len(set(words)) / max(1, len(words)),
        float(path.count("/")),
        float(_YEAR.search(path) is not None),
        share(text.count("\t")),
        float(bool(formulas)),
        share(sum(line.startswith(("    ", "\t")) for line in lines)),
    ]


def neighbour_mean(total: np.ndarray, number: np.ndarray, own: np.ndarray, prior: np.ndarray | float) -> np.ndarray:
    """The mean logit of a page's neighbours without itself, drawn to `prior`; (N,) each.

    total, number: sum of the cut logits of the host or folder, the page's own among them, and how many.
    """
    return (total - own + PRIOR_PAGES * prior) / (number - 1 + PRIOR_PAGES)


@dataclass(frozen=True)
class WordModel:
    """A linear model over the words of the audited pages: what few labels say about words, beside the classifier."""

    vocabulary: dict[str, tuple[float, float]]
    """word -> (idf, weight)."""
    bias: float

    def extremes(self, number: int = 50) -> dict[str, list[str]]:
        """The words that speak most for and against, strongest first."""
        ranked = sorted(self.vocabulary, key=lambda word: (self.vocabulary[word][0] * self.vocabulary[word][1], word))
        return {"for": ranked[: -number - 1 : -1], "against": ranked[:number]}

    def score(self, line: str) -> float:
        """The logit of one classifier line; words that no audited page has count for nothing."""
        values = _weighed(line, self.vocabulary)
        norm = math.sqrt(sum(value * value for value in values.values())) or 1.0
        return sum(value * self.vocabulary[word][1] for word, value in values.items()) / norm + self.bias


def fit_words(
    lines: Sequence[str], labels: Sequence[bool], groups: Sequence[str], *, ridge: float = 0.05
) -> tuple[WordModel, np.ndarray]:
    """The model of all lines, and for each line the score of a model that has not seen its group (the page's host).

    Logistic regression on unit vectors of (1 + log count) * idf, in its dual form: as many unknowns as pages.
    ridge: weight of half the squared norm.
    """
    counts = Counter(word for line in lines for word in set(line.split(" ")))
    vocabulary = {word: (math.log((len(lines) + 1) / (1 + counts[word])), 0.0) for word in sorted(counts)}
    place = {word: number for number, word in enumerate(vocabulary)}
    vectors = np.zeros((len(lines), len(place)), dtype=np.float32)
    for row, line in enumerate(lines):
        for word, value in _weighed(line, vocabulary).items():
            vectors[row, place[word]] = value
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    kernel = (vectors @ vectors.T).astype(np.float64) + 1.0  # 1: the bias
    wanted = np.array(labels, dtype=float)
    fold = np.array([xxhash.xxh3_64_intdigest(group.encode("utf-8", "surrogatepass")) % _FOLDS for group in groups])
    unseen = np.zeros(len(lines))
    for number in sorted(set(fold.tolist())):
        held, used = fold == number, fold != number
        unseen[held] = kernel[np.ix_(held, used)] @ _dual(kernel[np.ix_(used, used)], wanted[used], ridge)
    dual = _dual(kernel, wanted, ridge)
    weights = dual @ vectors
    model = {word: (idf, float(weights[place[word]])) for word, (idf, _) in vocabulary.items()}
    return WordModel(model, float(dual.sum())), unseen


def _weighed(line: str, vocabulary: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    counts = Counter(line.split(" "))
    return {word: (1 + math.log(number)) * vocabulary[word][0] for word, number in counts.items() if word in vocabulary}


def _dual(kernel: np.ndarray, wanted: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of the pages in a kernel logistic regression, by reweighted least squares."""
    weights = np.zeros(len(wanted))
    for _ in range(_MAX_STEPS):
        logits = kernel @ weights
        chance = 1 / (1 + np.exp(-logits))
        spread = chance * (1 - chance) + 1e-6
        fresh = np.linalg.solve(kernel + np.diag(ridge / spread), logits + (wanted - chance) / spread)
        done = np.abs(fresh - weights).max() < _TOLERANCE
        weights = fresh
        if done:
            break
    return weights


def feature_matrix(
    logits: np.ndarray, shapes: np.ndarray, host_means: np.ndarray, folder_means: np.ndarray, words: np.ndarray
) -> np.ndarray:
    """(N, len(FEATURES)) from (N,) logits, (N, len(SHAPE)) shapes, (N,) means and (N,) logits of the word model."""
    near = np.clip(logits, -_NEAR_ZERO, _NEAR_ZERO)
    return np.column_stack([logits, near, shapes, host_means, folder_means, words])


@dataclass(frozen=True)
class Calibration:
    """A fitted logistic regression over FEATURES."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    pages: int
    """Audited pages it was fitted on."""
    positives: int

    def score(self, features: np.ndarray) -> np.ndarray:
        """(N,) logits of P(positive) of an (N, len(FEATURES)) matrix; they neither saturate nor leave +-100."""
        return _standardised(features, np.array(self.mean), np.array(self.scale)) @ np.array(self.weights) + self.bias

    def to_json(self) -> dict[str, Any]:
        """Plain values, the weights by feature, for the round's folder."""
        return {
            "features": {
                name: {"weight": weight, "mean": mean, "scale": scale}
                for name, weight, mean, scale in zip(FEATURES, self.weights, self.mean, self.scale, strict=True)
            },
            "bias": self.bias,
            "pages": self.pages,
            "positives": self.positives,
        }


def fit(features: np.ndarray, labels: Sequence[bool], *, l2: float = 20.0) -> Calibration:
    """The penalised maximum likelihood fit, by Newton's method: deterministic, and the only optimum.

    features: (N, len(FEATURES)); labels: N. l2: weight of the squared norm of the weights (of standardised features).
    Raises ConfigError where a label has fewer than MIN_OF_EACH pages.
    """
    wanted = np.array(labels, dtype=float)
    positives = int(wanted.sum())
    if min(positives, len(wanted) - positives) < MIN_OF_EACH:
        raise ConfigError(
            f"calibration: {positives} audited pages are positive and {len(wanted) - positives} are not; "
            f"{MIN_OF_EACH} of each are needed: label more (motherlode annotate), or give no page labels"
        )
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    matrix = np.column_stack([_standardised(features, mean, scale), np.ones(len(features))])
    penalty = np.diag([l2] * features.shape[1] + [1e-6])
    weights = np.zeros(matrix.shape[1])
    for _ in range(_MAX_STEPS):
        chance = 1 / (1 + np.exp(-matrix @ weights))
        gradient = matrix.T @ (chance - wanted) + penalty @ weights
        hessian = (matrix * (chance * (1 - chance))[:, None]).T @ matrix + penalty
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < _TOLERANCE:
            break
    return Calibration(
        tuple(mean.tolist()), tuple(scale.tolist()), tuple(weights[:-1].tolist()), float(weights[-1]), len(wanted),
        positives,
    )  # fmt: skip


def _standardised(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # Cut, so that no single odd value decides.
    return np.clip((features - mean) / scale, -_CLIP, _CLIP)
