"""One recall round and the stop rule, as decisions over small summaries; no engine, no I/O."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mining.errors import ConfigError

MIN_DRIFT_PAGES = 20
"""Collected audited pages in both rounds without which no drift is called: a few pages are chance."""


@dataclass(frozen=True)
class RoundsConfig:
    """The recall loop (DeepSeekMath 2.1)."""

    max_rounds: int = 4
    """Rounds at most (paper: 4)."""
    stop_overlap: float = 0.98
    """Stop when this share of what a round collected was collected in the round before (paper: "nearly 98%")."""
    scorer: Literal["spark", "datatrove"] = "spark"
    """What scores a round's pages: mine.py itself, or pipelines/score_datatrove.py. With datatrove mine.py stops when a
    round is trained (exit 3), and the same line again goes on from the scores; with audited pages enough to calibrate
    a round mine.py scores it all the same."""
    cut: Literal["token_budget", "threshold", "precision"] = "threshold"
    """What ends the ranked list of pages: a budget of tokens (the paper's rule), a score, or a precision on labelled
    pages."""
    token_budget: int = 0
    """Tokens that a round may collect; only with cut=token_budget."""
    threshold: float = 0.5
    """Lowest P(math) that is collected; only with cut=threshold."""
    target_precision: float = 0.95
    """The longest list whose precision on the labelled pages is this high; only with cut=precision."""
    precision_labels: str = ""
    """JSON lines of {url, label} for cut=precision; under data_dir."""
    max_positives_per_host: int = 1000
    """At most this many pages of one host become positives, drawn by hash."""
    min_positive_chars: int = 300
    """Shorter pages under a labelled prefix do not become positives: stubs and captions teach the wrong thing."""
    max_precision_drop: float = 0.05
    """A round whose precision on the held-out audited pages is this much lower than the last one's does not land: the
    loop stops, and the corpus is that of the round before. 1 turns this off."""
    positive_quantile: float = 0.0
    """Leave out this share of a labelled prefix's uncollected pages, those with the lowest scores: listings, stubs."""


@dataclass(frozen=True)
class Bin:
    """One bar of a score histogram."""

    low: float
    """Lowest score in the bar."""
    pages: int
    tokens: int


def bin_of_cut(bins: Sequence[Bin], token_budget: int) -> tuple[int, int]:
    """The bar that the budget's last token falls in, counted from the top, and the tokens above that bar.

    bins: in falling order of score. Returns (len(bins), all tokens) where everything fits.
    """
    taken = 0
    for index, one in enumerate(bins):
        if taken + one.tokens > token_budget:
            return index, taken
        taken += one.tokens
    return len(bins), taken


def take_until(pages: Sequence[tuple[float, str, int]], room: int) -> tuple[float, str] | None:
    """The (score, page_id) of the last page that still fits, from (score, page_id, tokens) rows; None if none does.

    Ranked by falling score, then rising page_id, so that ties fall the same way on every run.
    """
    last = None
    for score, page_id, tokens in sorted(pages, key=lambda row: (-row[0], row[1])):
        if tokens > room:
            break
        room -= tokens
        last = (score, page_id)
    return last


def threshold_for_precision(labelled: Sequence[tuple[float, bool]], target: float) -> float:
    """The lowest score whose list, from the top, holds at least `target` of math pages. inf where none does."""
    ranked = sorted(labelled, key=lambda row: -row[0])
    best, hits = math.inf, 0
    for index, (score, is_math) in enumerate(ranked):
        hits += is_math
        is_last_of_ties = index + 1 == len(ranked) or ranked[index + 1][0] < score
        if is_last_of_ties and hits / (index + 1) >= target:
            best = score
    return best


def logit(probability: float) -> float:
    """log(p / (1 - p)); ConfigError outside of (0, 1)."""
    if not 0 < probability < 1:
        raise ConfigError(f"rounds.threshold={probability}: a probability between 0 and 1 is needed")
    return math.log(probability / (1 - probability))


@dataclass(frozen=True, slots=True)
class AuditedPage:
    """An audited page beside what a round did with it."""

    domain: str
    language: str
    is_math: bool
    collected: bool
    score: float


def audit_figures(pages: Sequence[AuditedPage]) -> dict[str, Any]:
    """Counts, precision, recall and F1 of a round on audited pages, and the Brier score of its probabilities.

    Of the sample, not of the crawl: comparable from round to round, since the pages stay the same.
    """
    hits = sum(page.collected and page.is_math for page in pages)
    collected, num_math = sum(page.collected for page in pages), sum(page.is_math for page in pages)
    errors = [(1 / (1 + math.exp(-max(-50.0, min(50.0, page.score)))) - page.is_math) ** 2 for page in pages]
    return {
        "pages": len(pages),
        "math": num_math,
        "collected": collected,
        "precision": hits / collected if collected else None,
        "recall": hits / num_math if num_math else None,
        "f1": 2 * hits / (collected + num_math) if collected + num_math else None,
        "brier": sum(errors) / len(errors) if errors else None,
    }


def drifted(now: Mapping[str, Any], before: Mapping[str, Any], cfg: RoundsConfig) -> bool:
    """Whether a round's precision on the audited pages fell too far below the last round's to let it land."""
    if now["precision"] is None or before["precision"] is None:
        return False
    enough = min(now["collected"], before["collected"]) >= MIN_DRIFT_PAGES
    return enough and before["precision"] - now["precision"] > cfg.max_precision_drop


def overlap(collected: int, also_before: int) -> float:
    """Share of this round's pages that the round before had; 1 when a round collects nothing."""
    return also_before / collected if collected else 1.0


def should_stop(number: int, share_before: float | None, cfg: RoundsConfig) -> str:
    """Why the loop ends after round `number`, or an empty string while it goes on."""
    if share_before is not None and share_before >= cfg.stop_overlap:
        return f"saturated: {share_before:.1%} of round {number} was collected in round {number - 1}"
    if number >= cfg.max_rounds:
        return f"max_rounds={cfg.max_rounds} reached"
    return ""


def check(cfg: RoundsConfig) -> None:
    """ConfigError for settings that contradict each other."""
    if cfg.max_rounds < 1:
        raise ConfigError(f"rounds.max_rounds={cfg.max_rounds}: at least one round is needed")
    if cfg.cut == "token_budget" and cfg.token_budget <= 0:
        raise ConfigError(f"rounds.token_budget={cfg.token_budget}: cut=token_budget needs a budget of tokens")
    if cfg.cut == "precision" and not cfg.precision_labels:
        raise ConfigError("rounds.precision_labels is empty: cut=precision needs labelled pages")
    if cfg.cut == "threshold":
        logit(cfg.threshold)
