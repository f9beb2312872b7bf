import math

import pytest
import torch

from rl.losses import grpo, is_clipped, kl_k1, kl_k2, kl_k3, nll


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_nll_is_the_weighted_sum_of_minus_logprobs() -> None:
    # 0.25 * ln 2 + 0.75 * ln 4 = 0.25 * 0.693147 + 0.75 * 1.386294 = 1.213008
    loss = nll(tensor(0.5, 0.25).log(), tensor(0.25, 0.75))
    assert loss.item() == pytest.approx(1.213008, abs=1e-6)


def test_kl_estimates_by_hand() -> None:
    # pi = .5, pi_ref = .25: log ratio pi/ref = ln 2 = .693147
    ours, ref = tensor(0.5).log(), tensor(0.25).log()
    assert kl_k1(ours, ref).item() == pytest.approx(0.693147, abs=1e-6)
    assert kl_k2(ours, ref).item() == pytest.approx(0.240227, abs=1e-6)  # .693147^2 / 2
    assert kl_k3(ours, ref).item() == pytest.approx(0.193147, abs=1e-6)  # .5 - ln .5 - 1


def test_k1_and_k3_average_to_the_kl_divergence_by_enumeration() -> None:
    policy, reference = torch.softmax(tensor(0.3, -1.0, 0.7, 0.1, -0.4), 0), torch.softmax(tensor(1, 0, 0, -1, 0.5), 0)
    exact = (policy * (policy / reference).log()).sum().item()
    for estimate in (kl_k1, kl_k3):
        assert (policy * estimate(policy.log(), reference.log())).sum().item() == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "gradient_flows"),
    [
        (1.5, 2.0, 2.4, False),  # min(3.0, 1.2 * 2): clipped from above
        (1.5, -2.0, -3.0, True),  # min(-3.0, -2.4): a worse action made likelier stays punished
        (0.5, 2.0, 1.0, True),  # min(1.0, 1.6)
        (0.5, -2.0, -1.6, False),  # min(-1.0, 0.8 * -2)
        (1.1, 2.0, 2.2, True),
    ],
)
def test_clip_quadrants(ratio: float, advantage: float, objective: float, gradient_flows: bool) -> None:
    logprobs = tensor(math.log(ratio)).requires_grad_()
    old, advantages = tensor(0.0), tensor(advantage)
    loss = grpo(logprobs, old, advantages=advantages, weights=tensor(1.0), clip_range=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(-objective, abs=1e-12)
    assert logprobs.grad is not None
    # d(-r A)/d log pi = -r A where the clip does not bind, else exactly 0
    assert logprobs.grad.item() == pytest.approx(-ratio * advantage if gradient_flows else 0.0, abs=1e-12)
    assert is_clipped(logprobs.detach(), old, advantages=advantages, clip_range=0.2).item() is not gradient_flows


def test_grpo_on_policy_gradient_is_the_papers_coefficient() -> None:
    # Eq. 20-21 with pi_old = pi: dJ/d log pi_t = w_t * (A_t + beta * (pi_ref/pi - 1))
    logprobs = tensor(0.5, 0.2, 0.9).log().requires_grad_()
    ref, advantages, weights = tensor(0.25, 0.4, 0.9).log(), tensor(1.0, -0.5, 2.0), tensor(0.25, 0.25, 0.5)
    grpo(
        logprobs,
        logprobs.detach(),
        advantages=advantages,
        weights=weights,
        clip_range=0.2,
        beta=0.04,
        ref_logprobs=ref,
    ).backward()
    # token 1: .25 * (1 + .04 * (.5 - 1)) = .245; token 2: .25 * (-.5 + .04 * (2 - 1)) = -.115; token 3: .5 * 2 = 1
    assert logprobs.grad is not None
    assert torch.allclose(-logprobs.grad, tensor(0.245, -0.115, 1.0), atol=1e-12)


def test_grpo_with_one_update_and_no_kl_is_reinforce() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    chosen, advantages, weights = torch.tensor([0, 4, 2, 2, 1, 3]), torch.randn(6).double(), torch.rand(6).double()
    logprobs = logits.log_softmax(-1).gather(1, chosen[:, None]).squeeze(1)
    ours = torch.autograd.grad(
        grpo(logprobs, logprobs.detach(), advantages=advantages, weights=weights, clip_range=0.2),
        logits,
        retain_graph=True,
    )[0]
    reinforce = torch.autograd.grad(-(weights * advantages * logprobs).sum(), logits)[0]
    assert torch.allclose(ours, reinforce, atol=1e-14)


def test_kl_term_without_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="needs ref_logprobs"):
        grpo(tensor(0.0), tensor(0.0), advantages=tensor(1.0), weights=tensor(1.0), clip_range=0.2, beta=0.1)
