"""The unified paradigm (DeepSeekMath 5.1.1, Eq. 5, appendix A.1): one gradient, six coefficients.

Every method's gradient is E[1/|o| sum_t GC(q, o, t) grad log pi(o_t | q, o_<t)]. Each loss is differentiated through
a softmax over five words and compared with that sum, written with the coefficient of the paper.
"""

import pytest
import torch
from torch import Tensor

from rl.advantages import gae, group_advantages, token_rewards
from rl.batches import loss_weights, per_token
from rl.losses import Objective, dpo, kl_k1, nll, policy_loss

LENGTHS = torch.tensor([3, 2, 4, 1])
ROWS = torch.arange(4).repeat_interleave(LENGTHS)
CORRECT = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
WEIGHTS = loss_weights("grpo", LENGTHS, num_rows=4, num_tokens=10, max_new_tokens=4)  # 1 / (4 |o_i|)


class Policy:
    """Logits (10, 5) of ten tokens, the chosen ones, and a reference."""

    def __init__(self) -> None:
        torch.manual_seed(11)
        self.logits = torch.randn(10, 5).double().requires_grad_()
        self.chosen = torch.randint(0, 5, (10,))
        self.ref = torch.randn(10, 5).double().log_softmax(-1).gather(1, self.chosen[:, None]).squeeze(1)

    @property
    def logprobs(self) -> Tensor:
        return self.logits.log_softmax(-1).gather(1, self.chosen[:, None]).squeeze(1)

    def gradient(self, loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, self.logits)[0]

    def paradigm(self, coefficients: Tensor, weights: Tensor = WEIGHTS) -> Tensor:
        """Minus sum_t w_t GC_t grad log pi_t, (10, 5): grad log pi by the logits is onehot - pi."""
        score = torch.nn.functional.one_hot(self.chosen, 5) - self.logits.detach().softmax(-1)
        return -(weights * coefficients)[:, None] * score


@pytest.fixture
def policy() -> Policy:
    return Policy()


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-14) and expected.abs().max() > 0


def test_sft_has_coefficient_one(policy: Policy) -> None:
    assert_same(policy.gradient(nll(policy.logprobs, WEIGHTS)), policy.paradigm(torch.ones(10).double()))


@pytest.mark.parametrize("online", [False, True])
def test_rft_has_coefficient_one_where_the_answer_is_right(policy: Policy, online: bool) -> None:
    # offline and online differ in whose samples they are, not in the coefficient; wrong rows are left out,
    # the denominators still count them
    right = per_token(CORRECT, LENGTHS)
    kept = right > 0
    found = policy.gradient(nll(policy.logprobs[kept], WEIGHTS[kept]))
    assert_same(found, policy.paradigm(right))
    if online:  # the policy loss with the indicator as advantage, on policy: bitwise the same
        loss = policy_loss(
            policy.logprobs,
            policy.logprobs.detach(),
            advantages=right,
            weights=WEIGHTS,
            rows=ROWS,
            objective=Objective(),
        )
        assert torch.equal(policy.gradient(loss), found)


def test_dpo_has_a_sigmoid_of_the_margin_positive_for_the_better_negative_for_the_worse(policy: Policy) -> None:
    # A.1.4: GC = sigma(beta (mean log-ratio of the worse - of the better)), here times beta and the sign of the row
    beta, pairs = 0.3, torch.tensor([0.5, 0.5], dtype=torch.float64)
    loss = dpo(policy.logprobs, policy.ref, rows=ROWS, weights=pairs, beta=beta, mean_over_tokens=True)
    ratios = (policy.logprobs - policy.ref).detach()
    means = torch.stack([ratios[row == ROWS].mean() for row in range(4)])
    strength = torch.sigmoid(beta * (means[1::2] - means[0::2]))  # (2,), one a pair
    coefficients = beta * per_token(torch.stack([strength, -strength], dim=1).view(-1), LENGTHS)
    assert_same(policy.gradient(loss), policy.paradigm(coefficients, weights=0.5 / LENGTHS[ROWS]))


def test_ppo_has_the_advantage_of_a_critic(policy: Policy) -> None:
    # A.1.5 with pi_old = pi: GC = A_t by GAE; the KL stands in the reward (Eq. 2)
    kl = kl_k1(policy.logprobs.detach(), policy.ref)
    advantages, _ = gae(token_rewards(CORRECT, kl, LENGTHS, beta=0.05), torch.rand(10).double(), LENGTHS)
    loss = policy_loss(
        policy.logprobs,
        policy.logprobs.detach(),
        advantages=advantages,
        weights=WEIGHTS,
        rows=ROWS,
        objective=Objective("ppo", beta=0.05, kl_place="reward", kl_estimator="k1"),
    )
    assert_same(policy.gradient(loss), policy.paradigm(advantages))


def test_grpo_has_the_group_advantage_and_the_reference(policy: Policy) -> None:
    # Eq. 21: GC = A_i + beta (pi_ref / pi - 1)
    advantages, beta = per_token(group_advantages(CORRECT, 4), LENGTHS), 0.04
    loss = policy_loss(
        policy.logprobs,
        policy.logprobs.detach(),
        advantages=advantages,
        weights=WEIGHTS,
        rows=ROWS,
        objective=Objective("grpo", beta=beta),
        ref_logprobs=policy.ref,
    )
    coefficients = advantages + beta * ((policy.ref - policy.logprobs.detach()).exp() - 1)
    assert_same(policy.gradient(loss), policy.paradigm(coefficients))
