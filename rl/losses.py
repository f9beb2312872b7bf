"""Losses over flat token vectors, and what the clip and the KL terms do to them.

Every vector is (T,): the completion tokens of any set of rows, in any order. `weights` carries the denominators of
the whole optimiser step (see `batches.loss_weights`), so the loss of a step is the plain sum of its micro-batches'
losses, and no split, padding, row order or number of ranks changes the gradient. A token of weight 0 takes no part:
whatever stands there, infinities too, reaches neither the loss nor a gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rl.errors import ConfigError

LOSSES = ("grpo", "dapo", "dr_grpo", "gspo", "cispo", "ppo")
KL_ESTIMATORS = ("k1", "k2", "k3")
KL_PLACES = ("loss", "reward")


@dataclass(frozen=True)
class Objective:
    """What a policy-gradient update maximises."""

    loss: str = "grpo"
    """grpo and ppo (mean over rows of the mean over tokens), dapo (mean over tokens), dr_grpo (sum over tokens by a
    constant), gspo (one ratio a sequence) or cispo (the ratio is a capped weight, nothing is cut off)."""
    clip_low: float = 0.2
    """The ratio's floor is 1 - clip_low (gspo: 3e-4; cispo has no floor)."""
    clip_high: float = 0.2
    """The ratio's ceiling is 1 + clip_high (DAPO: .28; gspo: 4e-4; cispo: 4 and more)."""
    dual_clip: float = 0.0
    """Largest ratio at which a token of negative advantage is pushed down, above 1 + clip_high (verl: 3); 0: none."""
    beta: float = 0.0
    """Weight of the KL to the reference (the paper: .04); 0 keeps no reference model."""
    kl_estimator: str = "k3"
    """k1, k2 or k3, of the KL in the loss; in the reward only k1 has the KL's gradient."""
    kl_place: str = "loss"
    """loss (DeepSeekMath Eq. 3) or reward (Eq. 2): there `advantages` takes it up and the loss has no KL term."""
    kl_unbiased_gradient: bool = False
    """Multiply the KL term by pi / pi_old, so that its gradient is the reverse KL's; False is the paper's Eq. 20-21."""
    importance_cap: float = 0.0
    """Weigh each token by min(trainer's / sampler's probability, this), both before the update; 0: off (TRL: 3)."""


def check_objective(objective: Objective) -> None:
    """Raises ConfigError where the settings cannot be meant."""
    for name, value, choices in (
        ("loss", objective.loss, LOSSES),
        ("kl_estimator", objective.kl_estimator, KL_ESTIMATORS),
        ("kl_place", objective.kl_place, KL_PLACES),
    ):
        if value not in choices:
            raise ConfigError(f"objective.{name}={value}: choose one of {', '.join(choices)}")
    for name in ("clip_low", "clip_high", "beta", "importance_cap"):
        if getattr(objective, name) < 0:
            raise ConfigError(f"objective.{name}={getattr(objective, name)}: must not be negative")
    if objective.dual_clip and objective.dual_clip <= 1 + objective.clip_high:
        raise ConfigError(
            f"objective.dual_clip={objective.dual_clip}: must be above 1 + clip_high = {1 + objective.clip_high:g}"
        )
    if objective.beta and objective.kl_place == "reward" and objective.kl_estimator != "k1":
        raise ConfigError(
            f"objective.kl_estimator={objective.kl_estimator} with kl_place=reward: only k1 has the KL's gradient "
            "there; set kl_estimator to k1"
        )
    if (
        objective.beta
        and objective.kl_place == "loss"
        and objective.kl_estimator == "k1"
        and not objective.kl_unbiased_gradient
    ):
        raise ConfigError(
            "objective.kl_estimator=k1 in the loss: its gradient averages to zero; use k3 or k2, or k1 with "
            "kl_place=reward or kl_unbiased_gradient"
        )
    if objective.kl_unbiased_gradient and objective.kl_estimator == "k2":
        raise ConfigError(
            "objective.kl_unbiased_gradient with kl_estimator=k2: k2 does not average to the KL, and on policy its "
            "plain gradient already is the KL's; use k1 or k3, or leave the option out"
        )


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    *,
    advantages: Tensor,
    weights: Tensor,
    rows: Tensor,
    objective: Objective,
    ref_logprobs: Tensor | None = None,
    sampling_logprobs: Tensor | None = None,
) -> Tensor:
    """The negative of the objective, (): -sum_t w_t * (c_t * gain_t - beta * kl_t).

    gain is the surrogate of `surrogate`, c the importance weight min(pi_old / pi_sampler, importance_cap), kl the
    estimate of the KL to the reference. `rows`: (T,) row of each token within this call; a row comes whole. Only
    `logprobs` carries a gradient. Raises ValueError where the objective needs a vector that is not given.
    """
    with_kl = objective.beta > 0 and objective.kl_place == "loss"
    if with_kl and ref_logprobs is None:
        raise ValueError(f"beta={objective.beta} needs ref_logprobs")
    if objective.importance_cap and sampling_logprobs is None:
        raise ValueError(f"importance_cap={objective.importance_cap} needs sampling_logprobs")
    used = weights != 0
    if not bool(used.all()):  # selected, never multiplied by 0: 0 * inf is NaN, in the gradient too
        logprobs, old_logprobs, advantages, weights, rows = (
            vector[used] for vector in (logprobs, old_logprobs, advantages, weights, rows)
        )
        ref_logprobs = None if ref_logprobs is None else ref_logprobs[used]
        sampling_logprobs = None if sampling_logprobs is None else sampling_logprobs[used]
    gains = surrogate(logprobs, old_logprobs, advantages=advantages, rows=rows, objective=objective)
    if objective.importance_cap and sampling_logprobs is not None:
        gains = gains * importance_weights(old_logprobs, sampling_logprobs, cap=objective.importance_cap)
    if with_kl and ref_logprobs is not None:
        kl = kl_estimate(logprobs, ref_logprobs, objective.kl_estimator)
        if objective.kl_unbiased_gradient:
            kl = (logprobs - old_logprobs).exp() * kl
        gains = gains - objective.beta * kl
    return -(weights * gains).sum()


def surrogate(
    logprobs: Tensor, old_logprobs: Tensor, *, advantages: Tensor, rows: Tensor, objective: Objective
) -> Tensor:
    """What is gained at each token, (T,), before weights; r = pi / pi_old.

    grpo, dapo, dr_grpo, ppo: min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) (DeepSeekMath Eq. 1 and 3; DAPO, arXiv
    2503.14476 Eq. 8). gspo: the same with the sequence's ratio (see `sequence_log_ratios`). cispo: sg(min(r, 1 +
    clip_high)) A log pi, every token keeping its gradient (MiniMax-M1, arXiv 2506.13585 Eq. 4, whose floor its authors
    leave out). dual_clip: not below dual_clip * A where A < 0 (Ye et al., arXiv 1912.09729).
    """
    log_ratios = logprobs - old_logprobs
    if objective.loss == "cispo":
        return log_ratios.detach().exp().clamp(max=1 + objective.clip_high) * advantages * logprobs
    if objective.loss == "gspo":
        log_ratios = sequence_log_ratios(log_ratios, rows)
    ratios = log_ratios.exp()
    clipped = ratios.clamp(1 - objective.clip_low, 1 + objective.clip_high)
    gains = (ratios * advantages).minimum(clipped * advantages)
    if objective.dual_clip:
        gains = torch.where(advantages < 0, gains.maximum(objective.dual_clip * advantages), gains)
    return gains


def sequence_log_ratios(log_ratios: Tensor, rows: Tensor) -> Tensor:
    """At each token, (T,), the mean log ratio of its row: the log of GSPO's ratio (arXiv 2507.18071 Eq. 7).

    The gradient of each token is its own, as in GSPO-token (Eq. 14): with one advantage a row that is GSPO's gradient,
    and with advantages that differ along the row (process supervision) each stays with its token.
    """
    means = row_means(log_ratios.detach(), rows)[rows]
    return means + (log_ratios - log_ratios.detach())


def clip_masks(
    logprobs: Tensor, old_logprobs: Tensor, *, advantages: Tensor, rows: Tensor, objective: Objective
) -> tuple[Tensor, Tensor]:
    """Where the ratio's floor and its ceiling bind, two (T,) bool: low, high.

    There the token's surrogate has no gradient: A < 0 below the floor, A > 0 above the ceiling, and A < 0 above
    dual_clip, which counts as high. For cispo, high marks the tokens whose weight is capped (they keep a gradient).
    """
    log_ratios = (logprobs - old_logprobs).detach()
    if objective.loss == "gspo":
        log_ratios = sequence_log_ratios(log_ratios, rows)
    ratios = log_ratios.exp()
    above = ratios > 1 + objective.clip_high
    if objective.loss == "cispo":
        return torch.zeros_like(above), above & (advantages != 0)
    low = (advantages < 0) & (ratios < 1 - objective.clip_low)
    high = (advantages > 0) & above
    if objective.dual_clip:
        high = high | ((advantages < 0) & (ratios > objective.dual_clip))
    return low, high


def importance_weights(old_logprobs: Tensor, sampling_logprobs: Tensor, *, cap: float) -> Tensor:
    """min(pi_old / pi_sampler, cap), (T,), no gradient: truncated importance sampling, token by token.

    It corrects for a sampler that is not quite the trainer's policy (another engine or precision, or weights one step
    old); the truncation bounds the variance and keeps a bias (Ionides 2008; TRL's token_truncate). Right only where
    the sampler's log-probabilities are of the distribution it drew from: same temperature, no top-p or top-k cut.
    """
    return (old_logprobs - sampling_logprobs).detach().exp().clamp(max=cap)


def kl_estimate(logprobs: Tensor, ref_logprobs: Tensor, estimator: str) -> Tensor:
    """`kl_k1`, `kl_k2` or `kl_k3` by name, (T,)."""
    return {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}[estimator](logprobs, ref_logprobs)


def kl_k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log(pi / pi_ref), (T,): unbiased for KL(pi || pi_ref) under samples of pi; may be negative.

    In a loss its gradient averages to zero: it belongs in the reward, or under `kl_unbiased_gradient`.
    """
    return logprobs - ref_logprobs


def kl_k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log(pi / pi_ref)^2 / 2, (T,): biased, never negative; its gradient under samples of pi is the KL's."""
    return 0.5 * (logprobs - ref_logprobs).square()


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """pi_ref/pi - log(pi_ref/pi) - 1, (T,): unbiased under samples of pi, never negative (DeepSeekMath Eq. 4).

    Its gradient under samples of pi, 1 - pi_ref/pi times grad log pi, is that of the forward KL(pi_ref || pi).
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.exp() - log_ratio - 1


def nll(logprobs: Tensor, weights: Tensor) -> Tensor:
    """Weighted negative log-likelihood, (): pre-training, SFT and RFT (gradient coefficient 1, DeepSeekMath Eq. 5)."""
    return -(weights * logprobs).sum()


def value_loss(
    values: Tensor, old_values: Tensor, *, returns: Tensor, weights: Tensor, clip_range: float = 0.0
) -> Tensor:
    """The critic's loss, (): sum_t w_t / 2 * max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2), c = clip_range.

    All (T,). clip_range 0 leaves the squared error alone. The clip is that of PPO's reference code (openai/baselines,
    ppo2/model.py), not of the PPO paper.
    """
    errors = (values - returns).square()
    if clip_range:
        clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
        errors = errors.maximum((clipped - returns).square())
    return 0.5 * (weights * errors).sum()


def dpo(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    *,
    rows: Tensor,
    weights: Tensor,
    beta: float,
    mean_over_tokens: bool = False,
) -> Tensor:
    """Direct preference optimisation, (): -sum_p w_p log sigma(beta (h_better - h_worse)), h the row's log ratio.

    logprobs, ref_logprobs, rows: (T,); row 2p is the better completion of pair p, row 2p + 1 the worse; weights: (P,),
    1 / pairs of the whole step. h is the sum over tokens of log(pi / pi_ref) (Rafailov et al. 2023, Eq. 7), or with
    `mean_over_tokens` its mean, as DeepSeekMath's appendix A.1.4 writes it.
    """
    log_ratios = logprobs - ref_logprobs
    num_rows = 2 * len(weights)
    scores = (row_means if mean_over_tokens else row_sums)(log_ratios, rows, num_rows)
    return pairwise_loss(beta * scores, weights)


def pairwise_loss(scores: Tensor, weights: Tensor) -> Tensor:
    """-sum_p w_p log sigma(s_2p - s_2p+1), (): the reward model's loss on pairs (Bradley-Terry; InstructGPT Eq. 1).

    scores: (2P,), the better of pair p at 2p, the worse at 2p + 1; weights: (P,).
    """
    return -(weights * logsigmoid(scores[0::2] - scores[1::2])).sum()


def row_sums(values: Tensor, rows: Tensor, num_rows: int | None = None) -> Tensor:
    """Sum of `values` (T,) over each row, (num_rows,); without `num_rows` up to the highest row that occurs."""
    count = num_rows if num_rows is not None else int(rows.max()) + 1 if len(rows) else 0
    return values.new_zeros(count).index_add(0, rows, values)


def row_means(values: Tensor, rows: Tensor, num_rows: int | None = None) -> Tensor:
    """Mean of `values` (T,) over each row, (num_rows,); 0 for a row without tokens."""
    sums = row_sums(values, rows, num_rows)
    return sums / row_sums(torch.ones_like(values), rows, len(sums)).clamp(min=1)
