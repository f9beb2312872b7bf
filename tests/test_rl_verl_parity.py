"""Our losses against verl's formulas, restated on padded tensors, with gradients, in float64.

verl needs Ray and a GPU stack and is not installed here. The formulas are those of its documentation and of
verl/trainer/ppo/core_algos.py (volcengine/verl): `agg_loss`'s modes, `compute_policy_loss_vanilla` with its dual clip
and rollout weights, `compute_policy_loss_gspo`, and `kl_penalty`'s kl, mse and low_var_kl. Its clamps of log ratios
to +-20 and of k3 to +-10 are left out: the values here are far from them.
"""

import pytest
import torch
from torch import Tensor

from rl.advantages import gae, group_advantages, kl_advantages, rewards_to_go, token_rewards
from rl.batches import loss_weights, per_token
from rl.losses import Objective, kl_estimate, policy_loss

LENGTHS = torch.tensor([4, 2, 6, 1])
WIDTH = 6
MASK = (torch.arange(WIDTH) < LENGTHS[:, None]).double()  # (B, C)
REAL = MASK.bool()
MODES = {"token-mean": "dapo", "seq-mean-token-mean": "grpo", "seq-mean-token-sum-norm": "dr_grpo"}


def agg_loss(losses: Tensor, mode: str) -> Tensor:
    """verl's aggregation of a (B, C) matrix; loss_scale_factor is the response length."""
    if mode == "token-mean":
        return (losses * MASK).sum() / MASK.sum()
    per_row = (losses * MASK).sum(dim=1)
    if mode == "seq-mean-token-mean":
        return (per_row / MASK.sum(dim=1)).mean()
    return per_row.mean() / WIDTH


def vanilla(logprobs: Tensor, old: Tensor, advantages: Tensor, *, low: float, high: float, dual: float) -> Tensor:
    """verl's vanilla loss matrix: the larger of two negatives, and for A < 0 at most -A times `dual`."""
    ratio = (logprobs - old).exp()
    plain, cut = -advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high)
    worse = torch.maximum(plain, cut)
    return torch.where(advantages < 0, torch.minimum(-advantages * dual, worse), worse)


def vectors() -> dict[str, Tensor]:
    torch.manual_seed(5)
    logprobs = (-torch.rand(4, WIDTH).double() - 0.5).requires_grad_()
    return {
        "logprobs": logprobs,
        "old": logprobs.detach() + 0.6 * torch.randn(4, WIDTH).double(),
        "ref": logprobs.detach() + 0.5 * torch.randn(4, WIDTH).double(),
        "sampling": logprobs.detach() + 0.8 * torch.randn(4, WIDTH).double(),
        "advantages": torch.tensor([0.7, -1.1, 0.3, -0.4], dtype=torch.float64),
    }


def our_loss(values: dict[str, Tensor], objective: Objective) -> Tensor:
    num_tokens = int(LENGTHS.sum())
    return policy_loss(
        values["logprobs"][REAL],
        values["old"][REAL],
        advantages=per_token(values["advantages"], LENGTHS),
        weights=loss_weights(objective.loss, LENGTHS, num_rows=4, num_tokens=num_tokens, max_new_tokens=WIDTH),
        rows=torch.arange(4).repeat_interleave(LENGTHS),
        objective=objective,
        ref_logprobs=values["ref"][REAL],
        sampling_logprobs=values["sampling"][REAL],
    )


def assert_same(ours: Tensor, theirs: Tensor, logprobs: Tensor) -> None:
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    grads = [torch.autograd.grad(loss, logprobs)[0] for loss in (ours, theirs)]
    assert torch.allclose(*grads, rtol=1e-6, atol=1e-14) and grads[0].abs().max() > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dual", [1.4, 3.0])
def test_vanilla_loss_in_every_aggregation(mode: str, dual: float) -> None:
    values = vectors()
    matrix = vanilla(
        values["logprobs"], values["old"], values["advantages"][:, None], low=0.2, high=0.28, dual=dual
    )  # (B, C)
    objective = Objective(MODES[mode], 0.2, 0.28, dual_clip=dual)
    assert_same(our_loss(values, objective), agg_loss(matrix, mode), values["logprobs"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kl_type", "estimator"), [("kl", "k1"), ("mse", "k2"), ("low_var_kl", "k3")])
def test_kl_loss_and_rollout_weights(mode: str, kl_type: str, estimator: str) -> None:
    values = vectors()
    difference = values["logprobs"] - values["ref"]
    kl = {"kl": difference, "mse": 0.5 * difference.square(), "low_var_kl": (-difference).exp() + difference - 1}
    matrix = vanilla(values["logprobs"], values["old"], values["advantages"][:, None], low=0.2, high=0.2, dual=1e9)
    matrix = matrix * (values["old"] - values["sampling"]).exp().clamp(max=2.0)
    theirs = agg_loss(matrix, mode) + 0.05 * agg_loss(kl[kl_type], mode)
    objective = Objective(MODES[mode], beta=0.05, kl_estimator=estimator, importance_cap=2.0)
    assert_same(our_loss(values, objective), theirs, values["logprobs"])


def test_low_var_kl_plus_has_the_gradient_of_k2() -> None:
    # verl's "+" estimators: the value of k3 straight through, the gradient of k2
    values = vectors()
    difference = values["logprobs"] - values["ref"]
    k3, k2 = (-difference).exp() + difference - 1, 0.5 * difference.square()
    theirs = agg_loss(k3.detach() + k2 - k2.detach(), "token-mean")
    ours = (kl_estimate(values["logprobs"][REAL], values["ref"][REAL], "k2") / LENGTHS.sum()).sum()
    grads = [torch.autograd.grad(loss, values["logprobs"])[0] for loss in (ours, theirs)]
    assert torch.allclose(*grads, rtol=1e-6)


def test_gspo_loss() -> None:
    # the log ratio averaged over the row, its gradient by the straight-through log-probability, clamped at 10
    values = vectors()
    log_ratio = values["logprobs"] - values["old"]
    mean = (log_ratio * MASK).sum(dim=1) / MASK.sum(dim=1)
    ratio = (values["logprobs"] - values["logprobs"].detach() + mean.detach()[:, None]).clamp(max=10.0).exp()
    advantages = values["advantages"][:, None]
    matrix = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - 0.05, 1 + 0.1))
    assert_same(
        our_loss(values, Objective("gspo", 0.05, 0.1)), agg_loss(matrix, "seq-mean-token-mean"), values["logprobs"]
    )


def test_grpo_advantage_standardises_with_the_sample_deviation() -> None:
    rewards = torch.rand(12).double()
    groups = rewards.view(3, 4)
    theirs = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-6)
    assert torch.allclose(group_advantages(rewards, 4, eps=1e-6), theirs.view(-1), rtol=1e-9)


def test_gae_without_whitening() -> None:
    torch.manual_seed(6)
    rewards, values, gamma, lam = torch.randn(4, WIDTH).double(), torch.randn(4, WIDTH).double(), 0.98, 0.9
    running, following, columns = torch.zeros(4).double(), torch.zeros(4).double(), []
    for step in reversed(range(WIDTH)):  # padding on the right carries nothing back: it is skipped
        real = MASK[:, step]
        delta = rewards[:, step] + gamma * following - values[:, step]
        following = values[:, step] * real + following * (1 - real)
        running = (delta + gamma * lam * running) * real + running * (1 - real)
        columns.append(running)
    theirs = torch.stack(columns[::-1], dim=1)
    ours, returns = gae(rewards[REAL], values[REAL], LENGTHS, gamma=gamma, gae_lambda=lam)
    assert torch.allclose(ours, theirs[REAL], rtol=1e-9)
    assert torch.allclose(returns, (theirs + values)[REAL], rtol=1e-9)


def test_kl_in_the_reward() -> None:
    # apply_kl_penalty: scores at the last token less beta * (log pi_old - log pi_ref) at every token
    values = vectors()
    kl = (values["old"] - values["ref"])[REAL]
    scores = torch.zeros(4, WIDTH).double()
    scores[torch.arange(4), LENGTHS - 1] = values["advantages"]
    theirs = ((scores - 0.1 * (values["old"] - values["ref"])) * MASK)[REAL]
    ours = token_rewards(values["advantages"], kl, LENGTHS, beta=0.1)
    assert torch.allclose(ours, theirs, rtol=1e-9)
    to_go = per_token(values["advantages"], LENGTHS) + kl_advantages(kl, LENGTHS, beta=0.1)
    assert torch.allclose(rewards_to_go(theirs, LENGTHS), to_go, rtol=1e-9)
