import pytest
import torch

from rl.advantages import group_advantages

NAN = float("nan")


def test_rewards_are_standardised_within_each_group() -> None:
    # group 1: mean .5, sample std sqrt(1/3) = .577350; +-.5 / .577350 = +-.866025
    # group 2: mean 2, deviations -1 0 1 0, std sqrt(2/3) = .816497; 1 / .816497 = 1.224745
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0], dtype=torch.float64)
    expected = [0.866025, -0.866025, 0.866025, -0.866025, -1.224745, 0.0, 1.224745, 0.0]
    assert group_advantages(rewards, 4, eps=0.0).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])  # the float mean of three 0.1 is not 0.1
def test_a_group_of_equal_rewards_gives_exact_zeros(reward: float) -> None:
    assert group_advantages(torch.full((6,), reward), 3).tolist() == [0.0] * 6


def test_a_missing_grade_counts_neither_for_mean_nor_spread() -> None:
    # without the NaN: mean 1/2, sample std of (1, 0) = .707107; +-.5 / .707107 = +-.707107
    found = group_advantages(torch.tensor([1.0, NAN, 0.0], dtype=torch.float64), 3, eps=0.0)
    assert found.tolist() == pytest.approx([0.707107, 0.0, -0.707107], abs=1e-6)


def test_a_group_without_any_grade_or_with_one_gives_zeros() -> None:
    assert group_advantages(torch.tensor([NAN, NAN, 1.0, NAN]), 2).tolist() == [0.0, 0.0, 0.0, 0.0]
