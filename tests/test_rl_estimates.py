from itertools import combinations, permutations

import numpy as np
import pytest

from rl.estimates import bootstrap_interval, majority, mcnemar_p, mean, pass_at_k, ratio, wilson_interval


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


def test_majority_of_k_equals_the_share_of_winning_orders_of_the_tied() -> None:
    # of three tied answers one is right: a voter who breaks ties by chance is right once in three
    answers = ["7", "8", "9", "7", "8", "9", None, None, None]
    right = [answer == "8" for answer in answers]
    assert majority(answers, right) == pytest.approx(1 / 3)
    orders = list(permutations(["7", "8", "9"]))
    assert majority(answers, right) == sum(order[0] == "8" for order in orders) / len(orders)


def test_one_noisy_prefix_is_not_pass_at_k_but_their_mean_is() -> None:
    samples = [True, False, False, False]
    prefixes = [any(order[:2]) for order in permutations(samples)]
    assert set(prefixes) == {True, False}  # what "any of the first k" may report
    assert pass_at_k(4, 1, 2) == pytest.approx(sum(prefixes) / len(prefixes))
    with pytest.raises(ValueError, match="k=5"):
        pass_at_k(4, 1, 5)


def test_mcnemar_by_hand() -> None:
    # 1 against 7 of 8 that differ: 2 (C(8,0) + C(8,1)) / 2^8 = 18 / 256
    assert mcnemar_p(1, 7) == mcnemar_p(7, 1) == pytest.approx(18 / 256)
    assert mcnemar_p(0, 0) == mcnemar_p(3, 3) == 1.0


def test_paired_questions_are_drawn_together() -> None:
    # one model is better by .1 on every question: the gap has no spread, however different the questions are
    generator = np.random.default_rng(0)
    base = generator.random((50, 1))
    assert bootstrap_interval(base + 0.1 - base, mean) == pytest.approx((0.1, 0.1))
    low, high = bootstrap_interval(base, mean)
    assert high - low > 0.1


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
