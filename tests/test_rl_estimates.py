from itertools import combinations

import numpy as np
import pytest

from rl.estimates import bootstrap_interval, majority, mean, pass_at_k, ratio, wilson_interval


@pytest.mark.parametrize(("num_correct", "k"), [(0, 3), (1, 1), (2, 3), (4, 2), (6, 6)])
def test_pass_at_k_equals_enumeration(num_correct: int, k: int) -> None:
    samples = [True] * num_correct + [False] * (6 - num_correct)
    draws = [any(draw) for draw in combinations(samples, k)]
    assert pass_at_k(6, num_correct, k) == pytest.approx(sum(draws) / len(draws))


def test_majority_shares_a_tie_and_ignores_missing_answers() -> None:
    assert majority(["7", "7", "8"], [True, True, False]) == 1.0
    assert majority(["7", "8", "8", "7", "9"], [True, False, False, True, False]) == 0.5
    assert majority([None, None, "8"], [False, False, False]) == 0.0
    assert majority([None, None, "7"], [False, False, True]) == 1.0
    assert majority([None], [False]) == 0.0


def test_wilson_interval_by_hand() -> None:
    # p = .5, n = 10, z^2 = 3.8415: centre .5, half = 1.96 sqrt(.025 + .0096) / 1.38415 = .26340
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_bootstrap_interval_of_a_mean_is_near_the_normal_one() -> None:
    values = np.array([[0.0], [1.0]] * 200)
    low, high = bootstrap_interval(values, mean)
    # standard error .5 / sqrt(400) = .025: .5 +- .049
    assert (low, high) == pytest.approx((0.451, 0.549), abs=0.006)
    assert bootstrap_interval(np.full((5, 1), 0.3), mean) == pytest.approx((0.3, 0.3))


def test_ratio_weighs_questions_by_their_bytes() -> None:
    assert ratio(np.array([[10.0, 5.0], [2.0, 15.0]])) == pytest.approx(12 / 20)
