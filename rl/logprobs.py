"""Log-probabilities of chosen tokens from hidden states: the LM head runs on those tokens only, a chunk at a time."""

from typing import Any

import torch
from torch import Tensor

# Logits computed at once, by device. On a CPU a chunk of this size is the fastest too: smaller ones read the head's
# weights too often, larger ones leave the cache.
_MAX_LOGITS = {"cpu": 1 << 23, "cuda": 1 << 27}
_MIN_ROWS = 128


def token_logprobs(
    hidden: Tensor, head: Tensor, *, targets: Tensor, temperature: float = 1.0, chunk_size: int = 4096
) -> tuple[Tensor, Tensor]:
    """log softmax(hidden @ head.T / temperature)[targets] and the entropy of that distribution, each (T,) float32.

    hidden: (T, D), the states that predict `targets` (T,); head: (V, D). Memory does not grow with T * V: at most
    `chunk_size` rows of logits exist at once, fewer where V is large, and with more than one chunk they are computed
    again in the backward pass. The entropy carries no gradient. Under autocast the products are in its precision, here
    and in the backward pass; sums are in float32. float64 inputs stay float64.
    """
    device = hidden.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    if hidden.dtype == torch.float64:
        precision = torch.float64
    chunk_size = min(chunk_size, max(_MIN_ROWS, _MAX_LOGITS.get(device, 1 << 27) // head.shape[0]))
    return _TokenLogprobs.apply(hidden, head, targets, temperature, chunk_size, precision)


def _logits(hidden: Tensor, head: Tensor, out: Tensor, *, temperature: float) -> Tensor:
    """hidden @ head.T / temperature in `out`, (N, V), at least float32; hidden and head are of one precision."""
    if out.dtype == hidden.dtype:
        torch.mm(hidden, head.T, out=out)
    else:
        out.copy_(hidden @ head.T)
    return out.div_(temperature) if temperature != 1.0 else out


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        precision: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        num_tokens, num_words = hidden.shape[0], head.shape[0]
        dtype = torch.float64 if precision == torch.float64 else torch.float32
        logprobs, entropy, log_norms = (torch.empty(num_tokens, dtype=dtype, device=hidden.device) for _ in range(3))
        # one buffer each for all chunks: large blocks go back to the system at every free, and are zeroed at every use
        logits = torch.empty(min(chunk_size, num_tokens), num_words, dtype=dtype, device=hidden.device)
        probabilities = torch.empty_like(logits)
        with torch.autocast(hidden.device.type, enabled=False):
            low_head = head.to(precision)
            for start in range(0, num_tokens, chunk_size):
                chunk = slice(start, start + chunk_size)
                size = len(targets[chunk])
                shifted = _logits(hidden[chunk].to(precision), low_head, logits[:size], temperature=temperature)
                highest = shifted.amax(dim=1)
                shifted.sub_(highest[:, None]).clamp_(min=-1e4)  # below, exp is 0, and 0 * -inf would be NaN
                chosen = shifted.gather(1, targets[chunk, None]).squeeze(1)
                weights = torch.exp(shifted, out=probabilities[:size])
                total = weights.sum(dim=1)
                log_total = total.log()
                logprobs[chunk] = chosen - log_total
                entropy[chunk] = log_total - torch.linalg.vecdot(weights, shifted) / total
                log_norms[chunk] = highest + log_total
        # a single chunk fits in memory anyway: keep it and save the second matrix product
        kept = [probabilities.div_(total[:, None])] if 0 < num_tokens <= chunk_size else []
        ctx.save_for_backward(hidden, head, targets, log_norms, *kept)
        ctx.temperature, ctx.chunk_size, ctx.precision = temperature, chunk_size, precision
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _grad_entropy: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, targets, log_norms, *kept = ctx.saved_tensors
        num_tokens, num_words = hidden.shape[0], head.shape[0]
        grad_hidden = torch.empty_like(hidden)
        grad_head = torch.zeros_like(head, dtype=grad_logprobs.dtype)
        rows = min(ctx.chunk_size, num_tokens)
        buffer = None if kept else torch.empty(rows, num_words, dtype=log_norms.dtype, device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            low_head = head.to(ctx.precision)
            for start in range(0, num_tokens, ctx.chunk_size):
                chunk = slice(start, start + ctx.chunk_size)
                low_hidden = hidden[chunk].to(ctx.precision)
                if buffer is None:
                    probabilities = kept[0]
                else:
                    logits = _logits(low_hidden, low_head, buffer[: len(low_hidden)], temperature=ctx.temperature)
                    probabilities = logits.sub_(log_norms[chunk, None]).exp_()
                scale = (grad_logprobs[chunk] / ctx.temperature)[:, None]  # (N, 1)
                # d log p_y / d z = (onehot - p) / temperature
                grad_logits = probabilities * -scale if buffer is None else probabilities.mul_(-scale)
                grad_logits.scatter_add_(1, targets[chunk, None], scale)
                grad_logits = grad_logits.to(ctx.precision)
                grad_hidden[chunk] = grad_logits @ low_head
                if grad_logits.dtype == grad_head.dtype:
                    grad_head.addmm_(grad_logits.T, low_hidden)
                else:
                    grad_head += grad_logits.T @ low_hidden
        return grad_hidden, grad_head.to(head.dtype), None, None, None, None
