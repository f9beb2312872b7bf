import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from rl.errors import ConfigError
from rl.losses import (
    LOSSES,
    Objective,
    check_objective,
    clip_masks,
    dpo,
    importance_weights,
    kl_estimate,
    kl_k1,
    kl_k2,
    kl_k3,
    nll,
    pairwise_loss,
    policy_loss,
    row_means,
    row_sums,
    value_loss,
)

INF = math.inf
TOKEN_LOSSES = ("grpo", "dapo", "dr_grpo", "ppo")


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss_of(logprobs: torch.Tensor, old: torch.Tensor, objective: Objective, **vectors: torch.Tensor) -> torch.Tensor:
    """The loss with one row and unit weights unless `vectors` says otherwise."""
    defaults = {"weights": torch.ones_like(old), "rows": torch.zeros(len(old), dtype=torch.long)}
    return policy_loss(logprobs, old, objective=objective, **(defaults | vectors))


def test_nll_is_the_weighted_sum_of_minus_logprobs() -> None:
    # 0.25 * ln 2 + 0.75 * ln 4 = 0.25 * 0.693147 + 0.75 * 1.386294 = 1.213008
    loss = nll(tensor(0.5, 0.25).log(), tensor(0.25, 0.75))
    assert loss.item() == pytest.approx(1.213008, abs=1e-6)


@pytest.mark.parametrize("loss", TOKEN_LOSSES)
@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "side"),
    [
        (1.5, 2.0, 2.4, "high"),  # min(3.0, 1.2 * 2): clipped from above
        (1.5, -2.0, -3.0, ""),  # min(-3.0, -2.4): a worse action made likelier stays punished
        (0.5, 2.0, 1.0, ""),  # min(1.0, 1.6)
        (0.5, -2.0, -1.6, "low"),  # min(-1.0, 0.8 * -2)
        (1.1, 2.0, 2.2, ""),
    ],
)
def test_clip_quadrants(loss: str, ratio: float, advantage: float, objective: float, side: str) -> None:
    logprobs = tensor(math.log(ratio)).requires_grad_()
    old, advantages, settings = tensor(0.0), tensor(advantage), Objective(loss=loss)
    value = loss_of(logprobs, old, settings, advantages=advantages)
    value.backward()
    assert value.item() == pytest.approx(-objective, abs=1e-12)
    assert logprobs.grad is not None
    # d(-r A)/d log pi = -r A where the clip does not bind, else exactly 0
    assert logprobs.grad.item() == pytest.approx(0.0 if side else -ratio * advantage, abs=1e-12)
    rows = torch.zeros(1, dtype=torch.long)
    low, high = clip_masks(logprobs, old, advantages=advantages, rows=rows, objective=settings)
    assert (low.item(), high.item()) == (side == "low", side == "high")


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient_flows"),
    [(1.25, 1.0, True), (1.3, 1.0, False), (0.79, -1.0, False), (1.3, -1.0, True)],
)
def test_clip_higher_moves_the_ceiling_of_good_tokens_only(
    ratio: float, advantage: float, gradient_flows: bool
) -> None:
    logprobs = tensor(math.log(ratio)).requires_grad_()
    loss_of(logprobs, tensor(0.0), Objective("dapo", clip_high=0.28), advantages=tensor(advantage)).backward()
    assert logprobs.grad is not None and (logprobs.grad.item() != 0) is gradient_flows


@pytest.mark.parametrize(("ratio", "expected"), [(2.9, 2.9), (3.1, 3.0), (50.0, 3.0)])
def test_dual_clip_bounds_how_hard_a_bad_token_is_pushed(ratio: float, expected: float) -> None:
    # A = -1: loss = ratio up to 3, then constant and without gradient; A = +1 is untouched by it
    settings, logprobs = Objective(dual_clip=3.0), tensor(math.log(ratio)).requires_grad_()
    value = loss_of(logprobs, tensor(0.0), settings, advantages=tensor(-1.0))
    value.backward()
    assert value.item() == pytest.approx(expected)
    assert logprobs.grad is not None and logprobs.grad.item() == pytest.approx(ratio if ratio < 3 else 0.0)
    rows = torch.zeros(1, dtype=torch.long)
    _, high = clip_masks(logprobs, tensor(0.0), advantages=tensor(-1.0), rows=rows, objective=settings)
    assert high.item() is (ratio > 3)
    assert loss_of(logprobs, tensor(0.0), settings, advantages=tensor(1.0)).item() == pytest.approx(-1.2)


def test_cispo_caps_the_weight_and_keeps_every_gradient() -> None:
    # ratios 1.1, 6, .01 with a cap of 1 + 4 = 5: gradients -A * (1.1, 5, .01); no floor
    logprobs, advantages = tensor(1.1, 6.0, 0.01).log().requires_grad_(), tensor(1.0, 2.0, -3.0)
    settings = Objective("cispo", clip_high=4.0)
    loss_of(logprobs, tensor(0.0, 0.0, 0.0), settings, advantages=advantages).backward()
    assert logprobs.grad is not None and torch.allclose(logprobs.grad, tensor(-1.1, -10.0, 0.03))
    rows = torch.zeros(3, dtype=torch.long)
    low, high = clip_masks(logprobs, torch.zeros(3).double(), advantages=advantages, rows=rows, objective=settings)
    assert low.tolist() == [False] * 3 and high.tolist() == [False, True, False]


def test_gspo_ratio_is_the_geometric_mean_of_the_row() -> None:
    # row 0: ratios 2 and .5 -> 1, unclipped; row 1: ratios 1.1, 1.1, 1.331 -> 1.1^(5/3) = 1.17215, clipped at 1.1
    logprobs = tensor(2.0, 0.5, 1.1, 1.1, 1.331).log().requires_grad_()
    rows, advantages = torch.tensor([0, 0, 1, 1, 1]), tensor(1.0, 1.0, 2.0, 2.0, 2.0)
    weights, settings = tensor(1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6), Objective("gspo", clip_low=0.1, clip_high=0.1)
    value = loss_of(logprobs, torch.zeros(5).double(), settings, advantages=advantages, rows=rows, weights=weights)
    value.backward()
    assert value.item() == pytest.approx(-(0.5 * 1.0 + 0.5 * 1.1 * 2))
    assert logprobs.grad is not None and torch.allclose(logprobs.grad, tensor(-0.25, -0.25, 0.0, 0.0, 0.0))
    low, high = clip_masks(logprobs, torch.zeros(5).double(), advantages=advantages, rows=rows, objective=settings)
    assert not low.any() and high.tolist() == [False, False, True, True, True]


def test_gspo_gradient_is_the_one_of_its_definition() -> None:
    # s = exp(mean log ratio), differentiated as it stands, one advantage a row
    torch.manual_seed(0)
    rows = torch.tensor([0, 0, 0, 1, 1])
    logprobs, old = torch.randn(5).double().requires_grad_(), torch.randn(5).double()
    advantages, weights = tensor(1.5, 1.5, 1.5, -0.5, -0.5), tensor(1 / 6, 1 / 6, 1 / 6, 1 / 4, 1 / 4)
    wide = Objective("gspo", clip_low=0.99, clip_high=99.0)
    ours = loss_of(logprobs, old, wide, advantages=advantages, rows=rows, weights=weights)
    ratios = row_means(logprobs - old, rows).exp()
    expected = -(ratios * tensor(1.5, -0.5)).mean()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(*(torch.autograd.grad(loss, logprobs)[0] for loss in (ours, expected)), rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_on_policy_gradient_is_the_papers_coefficient(loss: str) -> None:
    # Eq. 20-21 with pi_old = pi: dJ/d log pi_t = w_t * (A_t + beta * (pi_ref/pi - 1))
    logprobs = tensor(0.5, 0.2, 0.9).log().requires_grad_()
    ref, advantages, weights = tensor(0.25, 0.4, 0.9).log(), tensor(1.0, -0.5, 2.0), tensor(0.25, 0.25, 0.5)
    settings = Objective(loss=loss, beta=0.04)
    loss_of(logprobs, logprobs.detach(), settings, advantages=advantages, weights=weights, ref_logprobs=ref).backward()
    # token 1: .25 * (1 + .04 * (.5 - 1)) = .245; token 2: .25 * (-.5 + .04 * (2 - 1)) = -.115; token 3: .5 * 2 = 1
    assert logprobs.grad is not None
    assert torch.allclose(-logprobs.grad, tensor(0.245, -0.115, 1.0), atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_one_update_without_kl_is_reinforce(loss: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    chosen, advantages, weights = torch.tensor([0, 4, 2, 2, 1, 3]), torch.randn(6).double(), torch.rand(6).double()
    logprobs = logits.log_softmax(-1).gather(1, chosen[:, None]).squeeze(1)
    ours = loss_of(logprobs, logprobs.detach(), Objective(loss=loss), advantages=advantages, weights=weights)
    ours_grad = torch.autograd.grad(ours, logits, retain_graph=True)[0]
    reinforce = torch.autograd.grad(-(weights * advantages * logprobs).sum(), logits)[0]
    assert torch.allclose(ours_grad, reinforce, atol=1e-14)
    onehot = torch.nn.functional.one_hot(chosen, 5)
    analytic = -(weights * advantages)[:, None] * (onehot - logits.detach().softmax(-1))
    assert torch.allclose(ours_grad, analytic, atol=1e-14)


def test_later_updates_see_a_ratio_and_the_first_does_not() -> None:
    # mu = 2: the second update's gradient is r times the first's coefficient, r = exp(.1)
    logprobs, old = tensor(-1.0).requires_grad_(), tensor(-1.1)
    loss_of(logprobs, old, Objective(), advantages=tensor(1.0)).backward()
    assert logprobs.grad is not None and logprobs.grad.item() == pytest.approx(-math.exp(0.1))


def test_importance_weights_are_truncated_and_leave_the_kl_alone() -> None:
    # trainer / sampler: 2 and 5, cap 3 -> 2 and 3; KL is not weighed; on policy gradient -(c A) + beta * (1 - ref/pi)
    logprobs = tensor(0.4, 0.5).log().requires_grad_()
    old, sampling, ref = logprobs.detach(), tensor(0.2, 0.1).log(), tensor(0.2, 0.5).log()
    assert torch.allclose(importance_weights(old, sampling, cap=3.0), tensor(2.0, 3.0))
    settings = Objective(importance_cap=3.0, beta=0.1)
    loss_of(
        logprobs, old, settings, advantages=tensor(1.0, -1.0), ref_logprobs=ref, sampling_logprobs=sampling
    ).backward()
    assert logprobs.grad is not None and torch.allclose(logprobs.grad, tensor(-2.0 + 0.1 * 0.5, 3.0))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bad", [INF, -INF, math.nan])
def test_an_unused_token_may_hold_anything(loss: str, bad: float) -> None:
    settings = Objective(loss=loss, beta=0.1, importance_cap=2.0, kl_unbiased_gradient=True)
    rows, weights = torch.tensor([0, 0, 1, 1]), tensor(0.25, 0.25, 0.25, 0.0)

    def loss_and_grad(last: float, count: int) -> tuple[float, torch.Tensor]:
        logprobs = tensor(-1.0, -2.0, -0.5, last)[:count].requires_grad_()
        others = tensor(-1.1, -2.0, -0.4, last)[:count]
        value = loss_of(
            logprobs,
            others,
            settings,
            advantages=tensor(1.0, -1.0, 0.5, last)[:count],
            weights=weights[:count],
            rows=rows[:count],
            ref_logprobs=tensor(-1.2, -1.0, -0.5, -last)[:count],
            sampling_logprobs=others,
        )
        value.backward()
        assert logprobs.grad is not None
        return value.item(), logprobs.grad

    (value, gradient), (expected, expected_gradient) = loss_and_grad(bad, 4), loss_and_grad(0.0, 3)
    assert value == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(gradient[:3], expected_gradient) and gradient[3].item() == 0.0


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_advantages_give_an_exactly_zero_gradient(loss: str) -> None:
    logprobs = tensor(-1.0, -2.0, -3.0).requires_grad_()
    loss_of(logprobs, tensor(-2.0, -2.0, -2.0), Objective(loss=loss), advantages=torch.zeros(3).double()).backward()
    assert logprobs.grad is not None and logprobs.grad.tolist() == [0.0, 0.0, 0.0]


def test_missing_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="needs ref_logprobs"):
        loss_of(tensor(0.0), tensor(0.0), Objective(beta=0.1), advantages=tensor(1.0))
    with pytest.raises(ValueError, match="needs sampling_logprobs"):
        loss_of(tensor(0.0), tensor(0.0), Objective(importance_cap=2.0), advantages=tensor(1.0))


def test_kl_in_the_reward_puts_no_term_into_the_loss() -> None:
    settings = Objective(beta=0.1, kl_place="reward", kl_estimator="k1")
    assert loss_of(tensor(-1.0), tensor(-1.0), settings, advantages=tensor(1.0)).item() == -1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "gpro"}, "objective.loss=gpro: choose one of"),
        ({"kl_estimator": "k4"}, "objective.kl_estimator=k4"),
        ({"kl_place": "model"}, "objective.kl_place=model"),
        ({"beta": -0.1}, "must not be negative"),
        ({"dual_clip": 1.1}, "must be above"),
        ({"beta": 0.1, "kl_place": "reward"}, "set kl_estimator to k1"),
        ({"kl_unbiased_gradient": True, "kl_estimator": "k2"}, "use k1 or k3"),
    ],
)
def test_objectives_that_cannot_be_meant_are_refused(changes: dict, message: str) -> None:
    check_objective(Objective())
    with pytest.raises(ConfigError, match=message):
        check_objective(replace(Objective(), **changes))


def test_value_loss_takes_the_worse_of_clipped_and_plain() -> None:
    # V_old 1, R 2: V 1.5 clipped to 1.2 -> max(.25, .64); V 0 clipped to .8 -> max(4, 1.44); halved, weight .5
    values = tensor(1.5, 0.0).requires_grad_()
    old, returns, weights = tensor(1.0, 1.0), tensor(2.0, 2.0), tensor(0.5, 0.5)
    loss = value_loss(values, old, returns=returns, weights=weights, clip_range=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(0.25 * (0.64 + 4.0))
    assert values.grad is not None and torch.allclose(values.grad, tensor(0.0, 0.5 * (0.0 - 2.0)))
    assert value_loss(values, old, returns=returns, weights=weights).item() == pytest.approx(0.25 * (0.25 + 4.0))


def test_critic_loss_falls_on_a_fixed_batch() -> None:
    values, old = torch.zeros(4).double().requires_grad_(), torch.zeros(4).double()
    returns, weights = tensor(1.0, -1.0, 0.5, 2.0), torch.full((4,), 0.25).double()
    losses = []
    for _ in range(20):
        loss = value_loss(values, old, returns=returns, weights=weights)
        (gradient,) = torch.autograd.grad(loss, values)
        values = (values - gradient).detach().requires_grad_()
        losses.append(loss.item())
    assert all(later < earlier for earlier, later in pairwise(losses)) and losses[-1] < 0.01


def test_pairwise_loss_by_hand() -> None:
    # margins 1 and -1: ln(1 + e^-1) = .313262, ln(1 + e) = 1.313262; mean .813262
    scores = tensor(2.0, 1.0, 0.0, 1.0)
    assert pairwise_loss(scores, tensor(0.5, 0.5)).item() == pytest.approx(0.813262, abs=1e-6)


@pytest.mark.parametrize(("mean_over_tokens", "margin"), [(False, 0.25), (True, 0.1)])
def test_dpo_by_hand(mean_over_tokens: bool, margin: float) -> None:
    # better: log ratios .5 + .1 over 2 tokens (sum .6, mean .3), worse: .1 (one token); beta .5: .5 * (.6 - .1) = .25
    logprobs, ref, rows = tensor(-0.5, -0.9, -1.0).requires_grad_(), tensor(-1.0, -1.0, -1.1), torch.tensor([0, 0, 1])
    loss = dpo(logprobs, ref, rows=rows, weights=tensor(1.0), beta=0.5, mean_over_tokens=mean_over_tokens)
    loss.backward()
    assert loss.item() == pytest.approx(math.log1p(math.exp(-margin)))
    # DeepSeekMath A.1.4: coefficient sigma(beta (h_worse - h_better)), times beta and 1 or 1/|o|
    coefficient = 0.5 / (1 + math.exp(margin))
    share = 0.5 if mean_over_tokens else 1.0
    assert logprobs.grad is not None
    assert torch.allclose(logprobs.grad, tensor(-share * coefficient, -share * coefficient, coefficient))


def test_row_sums_and_means() -> None:
    rows = torch.tensor([2, 0, 2])
    assert row_sums(tensor(1.0, 2.0, 4.0), rows).tolist() == [2.0, 0.0, 5.0]
    assert row_means(tensor(1.0, 2.0, 4.0), rows, 4).tolist() == [2.0, 0.0, 2.5, 0.0]


class TestKl:
    """Every expectation by enumeration of a policy of five tokens."""

    logits = tensor(0.3, -1.0, 0.7, 0.1, -0.4)
    reference = torch.softmax(tensor(1, 0, 0, -1, 0.5), 0)

    def reverse_kl_gradient(self) -> torch.Tensor:
        logits = self.logits.clone().requires_grad_()
        policy = logits.softmax(0)
        return torch.autograd.grad((policy * (policy / self.reference).log()).sum(), logits)[0]

    def forward_kl_gradient(self) -> torch.Tensor:
        logits = self.logits.clone().requires_grad_()
        return torch.autograd.grad((self.reference * (self.reference / logits.softmax(0)).log()).sum(), logits)[0]

    def expected_gradient(self, objective: Objective, advantages: torch.Tensor | None = None) -> torch.Tensor:
        """Gradient of the loss averaged over samples of the policy: each token weighs its probability."""
        logits = self.logits.clone().requires_grad_()
        logprobs = logits.log_softmax(0)
        loss = policy_loss(
            logprobs,
            logprobs.detach(),
            advantages=torch.zeros(5).double() if advantages is None else advantages,
            weights=logprobs.detach().exp(),
            rows=torch.arange(5),
            objective=objective,
            ref_logprobs=self.reference.log(),
        )
        return torch.autograd.grad(loss, logits)[0]

    def test_values_by_hand(self) -> None:
        # pi = .5, pi_ref = .25: log ratio pi/ref = ln 2 = .693147
        ours, ref = tensor(0.5).log(), tensor(0.25).log()
        assert kl_k1(ours, ref).item() == pytest.approx(0.693147, abs=1e-6)
        assert kl_k2(ours, ref).item() == pytest.approx(0.240227, abs=1e-6)  # .693147^2 / 2
        assert kl_k3(ours, ref).item() == pytest.approx(0.193147, abs=1e-6)  # .5 - ln .5 - 1

    def test_k1_and_k3_average_to_the_kl_and_k2_does_not(self) -> None:
        policy = self.logits.softmax(0)
        exact = (policy * (policy / self.reference).log()).sum().item()
        means = {
            name: (policy * kl_estimate(policy.log(), self.reference.log(), name)).sum().item()
            for name in ("k1", "k2", "k3")
        }
        assert means["k1"] == pytest.approx(exact, abs=1e-12) and means["k3"] == pytest.approx(exact, abs=1e-12)
        assert abs(means["k2"] - exact) > 1e-3
        assert (
            min(kl_k3(policy.log(), self.reference.log()).min(), kl_k2(policy.log(), self.reference.log()).min()) >= 0
        )

    def test_k1_in_the_loss_does_nothing(self) -> None:
        assert self.expected_gradient(Objective(beta=1.0, kl_estimator="k1")).abs().max() < 1e-12

    def test_k2_in_the_loss_has_the_reverse_kl_gradient(self) -> None:
        found = self.expected_gradient(Objective(beta=1.0, kl_estimator="k2"))
        assert torch.allclose(found, self.reverse_kl_gradient(), atol=1e-12)

    def test_k3_in_the_loss_has_the_forward_kl_gradient(self) -> None:
        found = self.expected_gradient(Objective(beta=1.0, kl_estimator="k3"))
        assert torch.allclose(found, self.forward_kl_gradient(), atol=1e-12)
        assert not torch.allclose(found, self.reverse_kl_gradient(), atol=1e-2)

    @pytest.mark.parametrize("estimator", ["k1", "k3"])
    def test_unbiased_gradient_option_has_the_reverse_kl_gradient(self, estimator: str) -> None:
        objective = Objective(beta=1.0, kl_estimator=estimator, kl_unbiased_gradient=True)
        assert torch.allclose(self.expected_gradient(objective), self.reverse_kl_gradient(), atol=1e-12)

    @pytest.mark.parametrize("estimator", ["k1", "k3"])
    def test_unbiased_gradient_option_holds_off_policy_too(self, estimator: str) -> None:
        logits = self.logits.clone().requires_grad_()
        old = torch.softmax(tensor(0.1, 0.2, -0.3, 0.4, 0.0), 0)
        loss = policy_loss(
            logits.log_softmax(0),
            old.log(),
            advantages=torch.zeros(5).double(),
            weights=old,  # the samples are the old policy's
            rows=torch.arange(5),
            objective=Objective(beta=1.0, kl_estimator=estimator, kl_unbiased_gradient=True),
            ref_logprobs=self.reference.log(),
        )
        assert torch.allclose(torch.autograd.grad(loss, logits)[0], self.reverse_kl_gradient(), atol=1e-12)

    def test_k1_in_the_reward_has_the_reverse_kl_gradient(self) -> None:
        advantages = -kl_k1(self.logits.log_softmax(0), self.reference.log())
        found = self.expected_gradient(Objective(beta=1.0, kl_place="reward", kl_estimator="k1"), advantages)
        assert torch.allclose(found, self.reverse_kl_gradient(), atol=1e-12)
