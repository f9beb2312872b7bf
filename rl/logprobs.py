"""Log-probabilities of chosen tokens from hidden states: the LM head runs on those tokens only, a chunk at a time."""

from collections.abc import Callable
from dataclasses import dataclass
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
    return _TokenLogprobs.apply(hidden, head, targets, _settings(hidden, head, temperature, chunk_size))


def token_loss(
    hidden: Tensor,
    head: Tensor,
    *,
    targets: Tensor,
    loss: Callable[[Tensor, slice], Tensor],
    temperature: float = 1.0,
    chunk_size: int = 4096,
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of `loss` over chunks of tokens, (), then log-probabilities and entropy, each (T,) without gradient.

    The same as a loss of `token_logprobs`, a quarter cheaper where there is more than one chunk: each chunk's gradient
    is taken while its logits are there, so they are not computed twice. loss(logprobs, chunk) gets the (N,)
    log-probabilities of targets[chunk] and must be a sum over tokens, each by itself: a loss that couples the tokens
    of a row (gspo, dpo) would be cut at the chunks' borders.
    """
    return _TokenLoss.apply(hidden, head, targets, loss, _settings(hidden, head, temperature, chunk_size))


@dataclass(frozen=True)
class _Settings:
    temperature: float
    chunk_size: int
    precision: torch.dtype
    """Of the matrix products."""

    @property
    def sum_dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == torch.float64 else torch.float32

    def chunks(self, num_tokens: int) -> list[slice]:
        return [slice(start, start + self.chunk_size) for start in range(0, num_tokens, self.chunk_size)]

    def buffer(self, hidden: Tensor, head: Tensor) -> Tensor:
        """Room for the logits of one chunk: large blocks go back to the system at every free and cost a zeroing."""
        rows = min(self.chunk_size, len(hidden))
        return torch.empty(rows, len(head), dtype=self.sum_dtype, device=hidden.device)


def _settings(hidden: Tensor, head: Tensor, temperature: float, chunk_size: int) -> _Settings:
    device = hidden.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    if hidden.dtype == torch.float64:
        precision = torch.float64
    rows = max(_MIN_ROWS, _MAX_LOGITS.get(device, 1 << 27) // len(head))
    return _Settings(temperature, min(chunk_size, rows), precision)


def _logits(hidden: Tensor, head: Tensor, out: Tensor, *, temperature: float) -> Tensor:
    """hidden @ head.T / temperature in `out`, (N, V), at least float32; hidden and head are of one precision."""
    if out.dtype == hidden.dtype:
        torch.mm(hidden, head.T, out=out)
    else:
        out.copy_(hidden @ head.T)
    return out.div_(temperature) if temperature != 1.0 else out


@dataclass(frozen=True)
class _Scores:
    """What the logits of one chunk say."""

    logprobs: Tensor
    entropy: Tensor
    log_norms: Tensor
    """(N,) log of the sum of exp(logits)."""
    weights: Tensor
    """(N, V) probabilities, not yet divided by `totals` (N,)."""
    totals: Tensor


def _score(logits: Tensor, targets: Tensor, out: Tensor) -> _Scores:
    """The scores of `logits` (N, V), which are overwritten; `out` (N, V) takes the weights."""
    highest = logits.amax(dim=1)
    shifted = logits.sub_(highest[:, None]).clamp_(min=-1e4)  # below, exp is 0, and 0 * -inf would be NaN
    chosen = shifted.gather(1, targets[:, None]).squeeze(1)
    weights = torch.exp(shifted, out=out)
    totals = weights.sum(dim=1)
    log_totals = totals.log()
    entropy = log_totals - torch.linalg.vecdot(weights, shifted) / totals
    return _Scores(chosen - log_totals, entropy, highest + log_totals, weights, totals)


def _add_gradients(
    grad_logits: Tensor, hidden: Tensor, head: Tensor, *, grad_hidden: Tensor, grad_head: Tensor
) -> None:
    """Sets one chunk's `grad_hidden` (N, D) and adds to `grad_head` (V, D)."""
    grad_logits = grad_logits.to(head.dtype)
    grad_hidden.copy_(grad_logits @ head)
    if grad_logits.dtype == grad_head.dtype:
        grad_head.addmm_(grad_logits.T, hidden)
    else:
        grad_head += grad_logits.T @ hidden


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, settings: _Settings) -> tuple[Tensor, Tensor]:
        logprobs, entropy, log_norms = (hidden.new_empty(len(hidden), dtype=settings.sum_dtype) for _ in range(3))
        logits, weights = settings.buffer(hidden, head), settings.buffer(hidden, head)
        with torch.autocast(hidden.device.type, enabled=False):
            low_head = head.to(settings.precision)
            for chunk in settings.chunks(len(hidden)):
                low_hidden, size = hidden[chunk].to(settings.precision), len(targets[chunk])
                _logits(low_hidden, low_head, logits[:size], temperature=settings.temperature)
                scores = _score(logits[:size], targets[chunk], weights[:size])
                logprobs[chunk], entropy[chunk], log_norms[chunk] = scores.logprobs, scores.entropy, scores.log_norms
        # a single chunk fits in memory anyway: keep it and save the second matrix product
        kept = [weights.div_(scores.totals[:, None])] if 0 < len(hidden) <= settings.chunk_size else []
        ctx.save_for_backward(hidden, head, targets, log_norms, *kept)
        ctx.settings = settings
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _grad_entropy: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, targets, log_norms, *kept = ctx.saved_tensors
        settings: _Settings = ctx.settings
        grad_hidden, grad_head = torch.empty_like(hidden), torch.zeros_like(head, dtype=settings.sum_dtype)
        buffer = None if kept else settings.buffer(hidden, head)
        with torch.autocast(hidden.device.type, enabled=False):
            low_head = head.to(settings.precision)
            for chunk in settings.chunks(len(hidden)):
                low_hidden = hidden[chunk].to(settings.precision)
                scale = (grad_logprobs[chunk] / settings.temperature)[:, None]  # (N, 1)
                if buffer is None:
                    grad_logits = kept[0] * -scale  # a new tensor: the graph may be gone through twice
                else:
                    logits = _logits(low_hidden, low_head, buffer[: len(scale)], temperature=settings.temperature)
                    grad_logits = logits.sub_(log_norms[chunk, None]).exp_().mul_(-scale)
                # d log p_y / d z = (onehot - p) / temperature
                grad_logits.scatter_add_(1, targets[chunk, None], scale)
                _add_gradients(grad_logits, low_hidden, low_head, grad_hidden=grad_hidden[chunk], grad_head=grad_head)
        return grad_hidden, grad_head.to(head.dtype), None, None


class _TokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        loss: Callable[[Tensor, slice], Tensor],
        settings: _Settings,
    ) -> tuple[Tensor, Tensor, Tensor]:
        logprobs, entropy = (hidden.new_empty(len(hidden), dtype=settings.sum_dtype) for _ in range(2))
        total = hidden.new_zeros((), dtype=settings.sum_dtype)
        grad_hidden, grad_head = torch.empty_like(hidden), torch.zeros_like(head, dtype=settings.sum_dtype)
        logits, weights = settings.buffer(hidden, head), settings.buffer(hidden, head)
        with torch.autocast(hidden.device.type, enabled=False):
            low_head = head.to(settings.precision)
            for chunk in settings.chunks(len(hidden)):
                low_hidden, size = hidden[chunk].to(settings.precision), len(targets[chunk])
                _logits(low_hidden, low_head, logits[:size], temperature=settings.temperature)
                scores = _score(logits[:size], targets[chunk], weights[:size])
                logprobs[chunk], entropy[chunk] = scores.logprobs, scores.entropy
                with torch.enable_grad():
                    leaf = scores.logprobs.requires_grad_()
                    value = loss(leaf, chunk)
                    (grad_logprobs,) = torch.autograd.grad(value, leaf)
                total += value.detach()
                scale = grad_logprobs / settings.temperature  # (N,)
                grad_logits = scores.weights.mul_((-scale / scores.totals)[:, None])
                grad_logits.scatter_add_(1, targets[chunk, None], scale[:, None])
                _add_gradients(grad_logits, low_hidden, low_head, grad_hidden=grad_hidden[chunk], grad_head=grad_head)
        ctx.save_for_backward(grad_hidden, grad_head.to(head.dtype))
        ctx.mark_non_differentiable(logprobs, entropy)
        return total, logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_head = ctx.saved_tensors
        return grad_hidden * grad_total, grad_head * grad_total, None, None, None
