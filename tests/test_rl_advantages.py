import math
from collections.abc import Callable
from itertools import accumulate, pairwise, product

import pytest
import torch

from rl.advantages import (
    centred_advantages,
    gae,
    group_advantages,
    kl_advantages,
    leave_one_out_advantages,
    process_advantages,
    rewards_to_go,
    token_rewards,
)
from rl.batches import per_token

NAN = float("nan")
OF_GROUPS = (group_advantages, centred_advantages, leave_one_out_advantages)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_rewards_are_standardised_within_each_group() -> None:
    # group 1: mean .5, sample std sqrt(1/3) = .577350; +-.5 / .577350 = +-.866025
    # group 2: mean 2, deviations -1 0 1 0, std sqrt(2/3) = .816497; 1 / .816497 = 1.224745
    rewards = tensor(1.0, 0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0)
    expected = [0.866025, -0.866025, 0.866025, -0.866025, -1.224745, 0.0, 1.224745, 0.0]
    assert group_advantages(rewards, 4, eps=0.0).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [2, 8, 64])
def test_one_right_answer_of_g_has_the_closed_form(size: int) -> None:
    # mean 1/G, sample variance (1/G)(1 - 1/G) G/(G - 1) = 1/G: A = (1 - 1/G) sqrt(G); the others -1/sqrt(G)
    found = group_advantages(tensor(1.0, *[0.0] * (size - 1)), size, eps=0.0)
    root = math.sqrt(size)
    assert found.tolist() == pytest.approx([(size - 1) / root] + [-1 / root] * (size - 1), abs=1e-12)


def test_eps_is_added_to_the_spread() -> None:
    assert group_advantages(tensor(1.0, 0.0), 2, eps=0.1)[0].item() == pytest.approx(0.5 / (math.sqrt(0.5) + 0.1))


def test_dr_grpo_only_centres() -> None:
    assert centred_advantages(tensor(1.0, 0.0, 0.0, 0.0, 3.0, 1.0, 1.0, 1.0), 4).tolist() == pytest.approx(
        [0.75, -0.25, -0.25, -0.25, 1.5, -0.5, -0.5, -0.5]
    )


def test_leave_one_out_subtracts_the_mean_of_the_others() -> None:
    # (1, 0, 5): 1 - 2.5, 0 - 3, 5 - .5
    assert leave_one_out_advantages(tensor(1.0, 0.0, 5.0), 3).tolist() == pytest.approx([-1.5, -3.0, 4.5])
    # the missing one is nobody's "other": 1 - 0, 0 - 1
    assert leave_one_out_advantages(tensor(1.0, NAN, 0.0), 3).tolist() == pytest.approx([1.0, 0.0, -1.0])


@pytest.mark.parametrize("function", OF_GROUPS)
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])  # the float mean of three 0.1 is not 0.1
def test_a_group_of_equal_rewards_gives_exact_zeros(function: Callable, reward: float) -> None:
    assert function(torch.full((6,), reward), 3).tolist() == [0.0] * 6


def test_equal_rewards_give_zeros_without_eps_too() -> None:
    assert group_advantages(tensor(0.1, 0.1, 0.1), 3, eps=0.0).tolist() == [0.0] * 3


def test_a_missing_grade_counts_neither_for_mean_nor_spread() -> None:
    # without the NaN: mean 1/2, sample std of (1, 0) = .707107; +-.5 / .707107 = +-.707107
    found = group_advantages(tensor(1.0, NAN, 0.0), 3, eps=0.0)
    assert found.tolist() == pytest.approx([0.707107, 0.0, -0.707107], abs=1e-6)


@pytest.mark.parametrize("function", OF_GROUPS)
def test_a_group_without_any_grade_or_with_one_gives_zeros(function: Callable) -> None:
    assert function(torch.tensor([NAN, NAN, 1.0, NAN]), 2).tolist() == [0.0, 0.0, 0.0, 0.0]


def test_an_unfinished_group_is_refused() -> None:
    with pytest.raises(ValueError, match="3 rewards are no whole number of groups of 2"):
        group_advantages(tensor(1.0, 2.0, 3.0), 2)


def test_process_supervision_by_hand() -> None:
    # two outputs of 6 and 5 tokens, three steps each; rewards (1, 0, 1) and (0, 0, 1), standardised all six together:
    # mean .5, sample std sqrt(6 * .25 / 5) = .547723, so 1 -> a = .912871 and 0 -> -a
    lengths, ends = torch.tensor([6, 5]), torch.tensor([1, 3, 4, 6, 8, 10])
    found = process_advantages(tensor(1, 0, 1, 0, 0, 1), ends, lengths, 2, eps=0.0)
    a = 0.912871
    # output 1: steps end at tokens 1, 3, 4; sums from the step on: a - a + a, then -a + a, then a; token 5 follows none
    # output 2: steps end at its tokens 0, 2, 4: -a - a + a, then -a + a twice, then a twice
    expected = [a, a, 0, 0, a, 0, -a, 0, 0, a, a]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_process_supervision_with_one_step_at_the_end_is_outcome_supervision() -> None:
    rewards, lengths = tensor(0.2, 0.9, 0.4, 1.0, 1.0, 0.0), torch.tensor([3, 1, 2, 2, 4, 1])
    found = process_advantages(rewards, lengths.cumsum(0) - 1, lengths, 3)
    assert torch.allclose(found, per_token(group_advantages(rewards, 3), lengths), atol=1e-12)


def test_a_missing_step_reward_is_left_out_and_equal_ones_give_zeros() -> None:
    lengths, ends = torch.tensor([2, 2]), torch.tensor([0, 1, 2, 3])
    found = process_advantages(tensor(1.0, NAN, 0.0, 0.0), ends, lengths, 2, eps=0.0)
    # 1, 0, 0: mean 1/3, sample std .577350: 1.154701 and -.577350
    assert found.tolist() == pytest.approx([1.154701, 0.0, -1.154701, -0.577350], abs=1e-6)
    assert process_advantages(tensor(0.1, 0.1, 0.1, 0.1), ends, lengths, 2).tolist() == [0.0] * 4


def test_groups_are_standardised_apart_and_a_row_may_have_no_step() -> None:
    # group 0: rows 0 and 1; group 1: row 2 without any step, row 3 with two
    lengths, ends = torch.tensor([1, 1, 2, 2]), torch.tensor([0, 1, 4, 5])
    found = process_advantages(tensor(1.0, 0.0, 10.0, 20.0), ends, lengths, 2, eps=0.0)
    root = math.sqrt(0.5)
    assert found.tolist() == pytest.approx([root, -root, 0.0, 0.0, 0.0, root])


def test_rewards_to_go_stay_within_their_row() -> None:
    values, lengths = tensor(1, 2, 3, 4, 5, 6), torch.tensor([3, 0, 1, 2])
    assert rewards_to_go(values, lengths).tolist() == [6, 5, 3, 4, 11, 6]


def test_token_rewards_put_the_outcome_at_the_end_and_the_kl_everywhere() -> None:
    found = token_rewards(tensor(1.0, -1.0), tensor(0.5, 0.0, 2.0, -1.0), torch.tensor([1, 3]), beta=0.1)
    assert found.tolist() == pytest.approx([0.95, 0.0, -0.2, -0.9])


def test_kl_advantages_are_minus_beta_times_the_kl_still_to_come() -> None:
    found = kl_advantages(tensor(0.5, 0.0, 2.0, -1.0), torch.tensor([1, 3]), beta=0.1)
    assert found.tolist() == pytest.approx([-0.05, -0.1, -0.1, 0.1])


def brute_force_gae(rewards: list[float], values: list[float], gamma: float, gae_lambda: float) -> list[float]:
    """The exponentially weighted mean of all n-step advantages, from its definition (Eq. 16), for one row."""
    size, found = len(rewards), []
    for start in range(size):
        steps = []  # the n-step advantages: n rewards, then the value of the state reached
        for count in range(1, size - start + 1):
            gained = sum(gamma**k * rewards[start + k] for k in range(count))
            reached = start + count
            steps.append(gained + (gamma**count * values[reached] if reached < size else 0.0) - values[start])
        weights = [(1 - gae_lambda) * gae_lambda**k for k in range(len(steps) - 1)]
        found.append(
            sum(w * s for w, s in zip(weights, steps, strict=False)) + gae_lambda ** (len(steps) - 1) * steps[-1]
        )
    return found


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.8), (0.99, 0.0)])
def test_gae_is_the_mean_of_all_n_step_advantages(gamma: float, gae_lambda: float) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([4, 1, 0, 6])
    rewards, values = torch.randn(11).double(), torch.randn(11).double()
    advantages, returns = gae(rewards, values, lengths, gamma=gamma, gae_lambda=gae_lambda)
    bounds = [0, *accumulate(lengths.tolist())]
    expected = []
    for start, end in pairwise(bounds):
        expected += brute_force_gae(rewards[start:end].tolist(), values[start:end].tolist(), gamma, gae_lambda)
    assert advantages.tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.allclose(returns, advantages + values)


def test_gae_with_lambda_and_gamma_one_is_the_return_less_the_value() -> None:
    # rewards at the ends only, V = .25 everywhere: A = R - V at every token
    lengths = torch.tensor([3, 2])
    rewards = token_rewards(tensor(1.0, -2.0), torch.zeros(5).double(), lengths, beta=0.0)
    advantages, returns = gae(rewards, torch.full((5,), 0.25).double(), lengths)
    assert advantages.tolist() == pytest.approx([0.75] * 3 + [-2.25] * 2)
    assert returns.tolist() == pytest.approx([1.0] * 3 + [-2.0] * 2)


class TestExpectedGradient:
    """Over all groups of three samples of a policy over four words, by enumeration."""

    policy = torch.softmax(tensor(0.2, -0.5, 0.9, 0.0), 0)
    word_rewards = tensor(1.0, 0.0, 0.5, 0.0)

    def expected(self, function: Callable, rewards_of: Callable) -> torch.Tensor:
        """Mean over groups of the mean over samples of A grad log pi, by the logits, (4,)."""
        total = torch.zeros(4).double()
        for group in product(range(4), repeat=3):
            words = torch.tensor(group)
            for chance, rewards in rewards_of(words):
                score = torch.nn.functional.one_hot(words, 4) - self.policy
                advantages = function(rewards, 3)
                total += chance * self.policy[words].prod() * (advantages[:, None] * score).mean(0)
        return total

    def truth(self, words: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        return [(1.0, self.word_rewards[words])]

    def coins(self, words: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        return [(1 / 8, tensor(*rewards)) for rewards in product((0.0, 1.0), repeat=3)]

    def test_leave_one_out_is_the_gradient_of_the_mean_reward_and_centring_two_thirds_of_it(self) -> None:
        exact = self.policy * (self.word_rewards - (self.policy * self.word_rewards).sum())
        assert torch.allclose(self.expected(leave_one_out_advantages, self.truth), exact, atol=1e-12)
        assert torch.allclose(self.expected(centred_advantages, self.truth), exact * 2 / 3, atol=1e-12)

    def test_standardising_bends_the_gradient_but_not_against_the_reward(self) -> None:
        found = self.expected(group_advantages, self.truth)
        assert (found * self.word_rewards).sum() > 0 and found[0] > 0 > found[1]

    @pytest.mark.parametrize("function", OF_GROUPS)
    def test_random_rewards_move_nothing_on_average(self, function: Callable) -> None:
        assert self.expected(function, self.coins).abs().max() < 1e-12


def test_no_rows_give_empty_vectors() -> None:
    none, lengths = torch.zeros(0).double(), torch.zeros(0, dtype=torch.long)
    assert group_advantages(none, 4).shape == rewards_to_go(none, lengths).shape == (0,)
    assert gae(none, none, lengths)[0].shape == (0,)
