"""Losses over flat token vectors.

Every vector is (T,): the completion tokens of any set of rows, in any order. `weights` carries the denominators of
the whole optimiser step (see `batches.sequence_weights`), so the loss of a step is the plain sum of its micro-batches'
losses, and no split, padding, row order or number of ranks changes the gradient.
"""

from torch import Tensor


def nll(logprobs: Tensor, weights: Tensor) -> Tensor:
    """Weighted negative log-likelihood, (): pre-training and SFT (gradient coefficient 1, DeepSeekMath Eq. 5)."""
    return -(weights * logprobs).sum()


def grpo(
    logprobs: Tensor,
    old_logprobs: Tensor,
    *,
    advantages: Tensor,
    weights: Tensor,
    clip_range: float,
    beta: float = 0.0,
    ref_logprobs: Tensor | None = None,
) -> Tensor:
    """The negative of the GRPO objective, (): DeepSeekMath Eq. 3 when `weights` is 1 / (|o_i| * rows).

    -sum_t w_t * ( min(r_t A_t, clip(r_t, 1 - clip_range, 1 + clip_range) A_t) - beta * k3_t ),  r_t = pi / pi_old.
    The KL term stands inside the loss as in the paper. Its gradient is beta * (pi_ref/pi - 1) times grad log pi
    (Eq. 20-21), which is not the gradient of the reverse KL divergence.
    """
    ratio = (logprobs - old_logprobs).exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = -(weights * (ratio * advantages).minimum(clipped * advantages)).sum()
    if beta:
        if ref_logprobs is None:
            raise ValueError(f"beta={beta} needs ref_logprobs")
        loss = loss + beta * (weights * kl_k3(logprobs, ref_logprobs)).sum()
    return loss


def is_clipped(logprobs: Tensor, old_logprobs: Tensor, *, advantages: Tensor, clip_range: float) -> Tensor:
    """Where the clip removes the gradient, (T,) bool: A > 0 and r > 1 + clip_range, or A < 0 and r < 1 - clip_range."""
    ratio = (logprobs - old_logprobs).exp()
    return ((advantages > 0) & (ratio > 1 + clip_range)) | ((advantages < 0) & (ratio < 1 - clip_range))


def kl_k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log(pi / pi_ref), (T,): unbiased for KL(pi || pi_ref) under samples of pi; may be negative."""
    return logprobs - ref_logprobs


def kl_k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log(pi / pi_ref)^2 / 2, (T,): biased, never negative; its gradient under samples of pi is the KL's."""
    return 0.5 * (logprobs - ref_logprobs).square()


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """pi_ref/pi - log(pi_ref/pi) - 1, (T,): unbiased under samples of pi, never negative (DeepSeekMath Eq. 4)."""
    log_ratio = ref_logprobs - logprobs
    return log_ratio.exp() - log_ratio - 1
