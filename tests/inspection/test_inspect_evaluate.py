"""evaluate.py: figures worked by hand on the run of conftest.py.

Labels: math p1 p2 p3 p4 p5 p12, p9 (kept as p1), p11 (kept as p4), and one dropped PDF; not math p6 p7 p8.
Round 1 collects p1 p2 p4; round 2 p1 p2 p3 p4 p5 p7 p12; the corpus is that without p2.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mining.errors import ConfigError
from mining.inspect.evaluate import average_precision, best_f1, evaluate, f1, f1_interval, read_labels, wilson
from mining.inspect.tables import open_run

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def test_rounds_and_corpus_have_the_figures_worked_by_hand(run_dir: Path, labels_file: Path) -> None:
    found = evaluate(open_run(run_dir), read_labels(labels_file))
    first, second = found["rounds"]
    # round 1: hits p1 p2 p4 and with them p9 p11 = 5 of 9; nothing wrong
    assert (first["n"], first["n_math"], first["true_positives"], first["false_positives"]) == (12, 9, 5, 0)
    assert (first["precision"], first["recall"]) == (1.0, pytest.approx(5 / 9))
    assert first["f1"] == pytest.approx(10 / 14)  # 2*5 / (2*5 + 0 + 4)
    # round 2: all but the PDF, and the shop's p7
    assert (second["true_positives"], second["false_positives"], second["false_negatives"]) == (8, 1, 1)
    assert second["f1"] == pytest.approx(16 / 18)
    # corpus: p2 went with decontamination
    corpus = found["corpus"]
    assert (corpus["precision"], corpus["recall"]) == (pytest.approx(7 / 8), pytest.approx(7 / 9))
    assert corpus["f1"] == pytest.approx(14 / 17)
    assert found["n_absent"] == 1


def test_figures_are_given_by_language_stratum_and_borderline(run_dir: Path, labels_file: Path) -> None:
    first, second = evaluate(open_run(run_dir), read_labels(labels_file))["rounds"]
    # p12 is the one Chinese page: missed in round 1, taken in round 2
    assert (first["by_language"]["zh"]["recall"], second["by_language"]["zh"]["recall"]) == (0.0, 1.0)
    assert first["by_language"]["zh"]["precision"] is None
    assert first["by_language"]["en"]["n"] == 11
    # mixed: the PDF (math, lost) and p6 p7 p8, of which round 2 takes p7
    assert second["by_stratum"]["mixed"]["precision"] == 0.0
    assert second["by_stratum"]["uniform"]["recall"] == 1.0
    assert list(second["by_borderline"]) == ["borderline"]
    assert second["by_borderline"]["borderline"]["n"] == 1


def test_best_f1_and_average_precision_come_from_all_scores(run_dir: Path, labels_file: Path) -> None:
    first, second = evaluate(open_run(run_dir), read_labels(labels_file))["rounds"]
    # Both rounds rank the 8 scored math pages above every other labelled page, but for round 2's p7 at 1.1, below p12
    # at 1.2: taking down to -1.0 (p5) and 1.2 (p12) has 8 hits, 0 wrong, 1 lost.
    assert first["best_f1"] == second["best_f1"] == pytest.approx(16 / 17)
    assert (first["best_f1_threshold"], second["best_f1_threshold"]) == (-1.0, 1.2)
    assert first["average_precision"] == pytest.approx(8 / 9)


def test_corpus_is_none_until_it_is_exported(run_dir: Path, labels_file: Path, edit_manifest: Edit) -> None:
    edit_manifest(run_dir, lambda manifest: manifest["stages"].pop("export"))
    assert evaluate(open_run(run_dir), read_labels(labels_file))["corpus"] is None


def test_average_precision_and_best_f1_by_hand() -> None:
    ranking = [(3.0, True), (2.0, False), (1.0, True), (0.0, False), (None, True)]
    # of 3 math pages: 1/3 at precision 1/1, 1/3 at 2/3, the last never reached
    assert average_precision(ranking) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    # cuts: 1 hit 0 wrong -> 2/4; 1, 1 -> 2/5; 2, 1 -> 4/6; 2, 2 -> 4/7
    assert best_f1(ranking) == (pytest.approx(4 / 6), 1.0)


def test_pages_of_one_score_are_taken_together() -> None:
    tied = [(1.0, True), (1.0, False)]
    assert average_precision(tied) == average_precision(tied[::-1]) == 0.5
    assert best_f1(tied) == (pytest.approx(2 / 3), 1.0)


def test_nothing_to_find_gives_no_figure() -> None:
    assert f1(0, 0, 0) is None
    assert f1(0, 2, 3) == 0.0
    assert wilson(0, 0) is None
    assert f1_interval(0, 0, 0, 5) is None
    assert best_f1([(1.0, False)]) == (None, None)
    assert average_precision([(1.0, False)]) is None


def test_wilson_interval_has_its_published_value() -> None:
    # 8 of 10: (0.8 + 0.19207) / 1.38415 = 0.71674 -+ 1.96 * sqrt(0.016 + 0.009604) / 1.38415 = 0.22659
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(10, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)


def test_f1_interval_holds_f1_narrows_with_pages_and_repeats() -> None:
    low, high = f1_interval(8, 1, 1, 10) or (1, 0)
    assert low < 16 / 18 < high
    narrow = f1_interval(800, 100, 100, 1000) or (0, 1)
    # the delta method puts the standard error of F1 at about 0.008 for these counts
    assert 0.02 < narrow[1] - narrow[0] < 0.045
    assert f1_interval(8, 1, 1, 10, seed=3) == f1_interval(8, 1, 1, 10, seed=3)
    assert f1_interval(5, 0, 0, 0) == (1.0, 1.0)


def test_labels_are_read_once_a_url_and_by_stratum(labels_file: Path) -> None:
    assert len(read_labels(labels_file)) == 12
    assert len(read_labels(labels_file, stratum="mixed")) == 4
    labels_file.write_text(labels_file.read_text() + '\n{"url": "https://math.example/a/1", "label": "math"}\n')
    assert len(read_labels(labels_file)) == 12


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 13: broken JSON"),
        ('{"label": "math"}', r"line 13: no url"),
        ('{"url": "https://a.example", "label": "maths"}', r"line 13: label 'maths'"),
        ('{"url": "https://math.example/a/1", "label": "nonmath"}', r"line 13: .*has the other label"),
    ],
)
def test_line_that_is_no_label_is_refused_with_its_number(labels_file: Path, line: str, message: str) -> None:
    labels_file.write_text(labels_file.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=message):
        read_labels(labels_file)


def test_stratum_that_no_label_has_is_refused_with_those_there_are(labels_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"--stratum unifrom: .*mixed, uniform"):
        read_labels(labels_file, stratum="unifrom")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labels(labels_file.with_name("none.jsonl"))


def test_unfinished_and_label_without_language_are_taken(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text(json.dumps({"url": "https://math.example/a/1", "label": "math"}) + "\n")
    found = evaluate(open_run(run_dir), read_labels(file))
    assert found["rounds"][0]["by_language"]["und"]["recall"] == 1.0
    assert found["rounds"][0]["by_stratum"] == {}
