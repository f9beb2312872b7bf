"""Formulas kept by each extractor: on the hand-made cases, on pages that typesetters rendered, and on real pages."""

import gzip
import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from extractors.formula_truth import Truth, bare, kept_and_repeated, truth_of
from extractors.pages import REPOSITORY, WebPage
from extractors.text_scores import Score, score

RENDERED = REPOSITORY / "tests" / "fixtures" / "html" / "rendered.jsonl.gz"
_MATCHER = REPOSITORY / "tests" / "formula_match.py"
# The sentences around a formula of the rendered pages: beginNx, a few words, the formula, a few words.
_SENTENCE = (
    r"begin{0}x\s+(?:turns\s+on|one\s+meets|yields|that\s+we\s+know)(.*?)"
    r"(?:and\s+the\s+reader|which\s+will\s+be|so\s+that\s+the|and\s+then\s+compare)"
)
_MIN_BARE = 4  # shorter LaTeX without delimiters would be found in any sentence
_DELIMITER = re.compile(r"\\\\?[()\[\]]")
_GROUPS = (
    ("AsciiMath", r"asciimath|mathup"),
    ("KaTeX", r"(?<!pandoc_)(?<!wp_)katex(?!_auto)"),
    ("MathJax 2", r"(?<!dollars_)mathjax_2|script_"),
    ("MathJax 3 and 4", r"(?<!dollars_)mathjax_[34]|rehype_mathjax|svg_alone"),
    ("MathML", r"temml|mathml|latexml|wikipedia"),
    ("image", r"image|wordpress|codecogs|mimetex|mathtex|google|github_render|imgmath|juejin|jianshu"),
)
_SOURCE_GROUP = "source in text, spans or attributes"


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page with formulas as one typesetter or site writes them."""

    encoding: str
    group: str
    html: str
    formulas: tuple[tuple[str, bool], ...]
    """(LaTeX, displayed) in the page's order."""


def formula_matcher() -> ModuleType:
    """The module tests/formula_match.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("formula_match", _MATCHER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def rendered_pages(path: Path = RENDERED) -> list[RenderedPage]:
    """The fixture's pages."""
    pages = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            formulas = tuple((one["latex"], one["display"]) for one in row["formulas"])
            pages.append(RenderedPage(row["encoding"], _group_of(row["encoding"]), row["html"], formulas))
    return pages


def rendered_counts(page: RenderedPage, text: str, matcher: ModuleType) -> tuple[int, ...]:
    """(formulas, kept, kept alone, kept with delimiters, shown as meant, delimited formulas in the text).

    Kept: the formula in any delimiters between its marker words, or its LaTeX there without delimiters. Kept alone:
    nothing else stands between them, such as a rendered twin.
    """
    num_kept = num_alone = num_delimited = num_shown = 0
    for number, (latex, display) in enumerate(page.formulas):
        found = re.search(_SENTENCE.format(number), text, re.DOTALL)
        if not found:
            continue
        between = found.group(1)
        given = matcher.formulas_in(between)
        kinds = [shown for one, shown in given if matcher.same_formula(one, latex)]
        if kinds:
            num_kept += 1
            num_delimited += 1
            num_shown += display in kinds
            # One character more is the sentence's own comma or stop.
            rest = len(bare(_DELIMITER.sub("", between))) - len(bare(given[0][0]))
            num_alone += len(given) == 1 and rest <= 1
        elif len(bare(latex)) >= _MIN_BARE and bare(latex) in bare(between):
            num_kept += 1
            num_alone += bare(between) == bare(latex)
    num_given = len(matcher.formulas_in(text))
    return len(page.formulas), num_kept, num_alone, num_delimited, num_shown, num_given


def rendered_scores(counts: Sequence[tuple[int, ...]]) -> dict[str, Score]:
    """Scores by metric from `rendered_counts` of pages."""
    table = np.array(counts, dtype=float)
    return {
        "formula_recall": score(table, lambda sums: _share(sums[..., 1], sums[..., 0])),
        "formula_precision": score(table, _formula_precision),
        "formula_f1": score(table, _formula_f1),
        "formula_alone_share": score(table, lambda sums: _share(sums[..., 2], sums[..., 0])),
        # Accuracy is of the formulas that came with delimiters; an extractor that keeps few may still be right in them.
        "display_accuracy": score(table, lambda sums: _share(sums[..., 4], sums[..., 3])),
        "kept_as_meant_share": score(table, lambda sums: _share(sums[..., 4], sums[..., 0])),
    }


def real_truths(pages: Sequence[WebPage]) -> list[tuple[WebPage, Truth]]:
    """The pages whose own source states formulas, with them."""
    found = ((page, truth_of(page.html)) for page in pages)
    return [(page, truth) for page, truth in found if truth.formulas]


def real_counts(truth: Truth, text: str) -> tuple[float, ...]:
    """(share of the page's formulas that are kept, 1, formulas that stand there too often, formulas)."""
    num_kept, num_repeated = kept_and_repeated(truth, text)
    return num_kept / len(truth.formulas), 1.0, float(num_repeated), float(len(truth.formulas))


def real_scores(counts: Sequence[tuple[float, ...]]) -> dict[str, Score]:
    """Scores by metric from `real_counts` of pages; every page weighs the same."""
    table = np.array(counts)
    return {
        "source_formula_recall": score(table, lambda sums: _share(sums[..., 0], sums[..., 1])),
        "not_repeated_share": score(table, lambda sums: 1 - _share(sums[..., 2], sums[..., 3])),
    }


def by_group(pages: Sequence[RenderedPage]) -> dict[str, list[int]]:
    """Numbers of the pages of each group."""
    groups: dict[str, list[int]] = {}
    for number, page in enumerate(pages):
        groups.setdefault(page.group, []).append(number)
    return dict(sorted(groups.items()))


def _formula_precision(sums: np.ndarray) -> np.ndarray:
    """Share of the formulas given that are right; one kept without delimiters counts as given and right."""
    return _share(sums[..., 1], sums[..., 5] + sums[..., 1] - sums[..., 3])


def _formula_f1(sums: np.ndarray) -> np.ndarray:
    recall, precision = _share(sums[..., 1], sums[..., 0]), _formula_precision(sums)
    return 2 * recall * precision / np.maximum(recall + precision, 1e-12)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1e-12)


def _group_of(encoding: str) -> str:
    return next((name for name, pattern in _GROUPS if re.search(pattern, encoding)), _SOURCE_GROUP)
