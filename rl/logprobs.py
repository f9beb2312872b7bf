"""Log-probabilities of chosen tokens from hidden states: the LM head runs on those tokens only, a chunk at a time."""

from typing import Any

import torch
from torch import Tensor


def token_logprobs(
    hidden: Tensor, head: Tensor, *, targets: Tensor, temperature: float = 1.0, chunk_size: int = 4096
) -> tuple[Tensor, Tensor]:
    """log softmax(hidden @ head.T / temperature)[targets] and the entropy of that distribution, each (T,) float32.

    hidden: (T, D), the states that predict `targets` (T,); head: (V, D). Memory is chunk_size * V, whatever T is:
    with more than one chunk the logits are computed again in the backward pass. The entropy carries no gradient.
    float64 inputs stay float64.
    """
    return _TokenLogprobs.apply(hidden, head, targets, temperature, chunk_size)


def _probabilities(hidden: Tensor, head: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Softmax probabilities (N, V) and the log-normaliser's logits (N, V), both at least float32."""
    logits = hidden @ head.T  # (N, V)
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    logits = logits - logits.logsumexp(dim=-1, keepdim=True)  # now log-probabilities
    return logits.exp(), logits


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, temperature: float, chunk_size: int
    ) -> tuple[Tensor, Tensor]:
        num_tokens = hidden.shape[0]
        dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        logprobs = torch.empty(num_tokens, dtype=dtype, device=hidden.device)
        entropy = torch.empty_like(logprobs)
        kept = None
        for start in range(0, num_tokens, chunk_size):
            chunk = slice(start, start + chunk_size)
            probabilities, log_all = _probabilities(hidden[chunk], head, temperature=temperature)
            logprobs[chunk] = log_all.gather(1, targets[chunk, None]).squeeze(1)
            entropy[chunk] = -torch.linalg.vecdot(probabilities, log_all.clamp(min=-1e4))  # 0 * -inf must be 0
            kept = probabilities
        # a single chunk fits in memory anyway: keep it and save the second matrix product
        ctx.save_for_backward(hidden, head, targets, *([kept] if kept is not None and num_tokens <= chunk_size else []))
        ctx.temperature, ctx.chunk_size = temperature, chunk_size
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _grad_entropy: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, targets, *kept = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_head = torch.zeros_like(head, dtype=grad_logprobs.dtype)
        for start in range(0, hidden.shape[0], ctx.chunk_size):
            chunk = slice(start, start + ctx.chunk_size)
            if kept:
                probabilities = kept[0]
            else:
                probabilities, _ = _probabilities(hidden[chunk], head, temperature=ctx.temperature)
            scale = (grad_logprobs[chunk] / ctx.temperature)[:, None]  # (N, 1)
            grad_logits = probabilities * -scale  # d log p_y / d z = (onehot - p) / temperature
            grad_logits.scatter_add_(1, targets[chunk, None], scale)
            grad_logits = grad_logits.to(hidden.dtype)
            grad_hidden[chunk] = grad_logits @ head
            grad_head += grad_logits.T @ hidden[chunk]
        return grad_hidden, grad_head.to(head.dtype), None, None, None
