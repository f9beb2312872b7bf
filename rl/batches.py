"""Rows of tokens, and their micro-batches: sorted by length, filled to a token budget, one flat vector a step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

# Measured with models of 0.2 and 0.9 million parameters on a CPU: the update is fastest for 128 to 256.
_PASS_TOKENS = 256


class Row(Protocol):
    """Anything with a prompt and a completion; only completion tokens are scored."""

    @property
    def prompt_ids(self) -> Sequence[int]: ...
    @property
    def completion_ids(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class Example:
    """A demonstration, or a block of running text (then `prompt_ids` is its first token)."""

    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]


@dataclass
class Rollout:
    """One sampled completion with what is known about it."""

    prompt_ids: Sequence[int]
    completion_ids: list[int]
    """With the end token, where it was reached."""
    sampling_logprobs: list[float]
    """Log-probability of each completion token under the sampler, at its temperature."""
    finished: bool
    """False: cut at max_new_tokens."""
    group: int = 0
    """Index of its prompt in the step."""
    reward: float = float("nan")
    """Of the whole completion; NaN: it is missing (the grader crashed), and the row is left out."""
    solved: float = float("nan")
    """1 or 0 by the rule; NaN where it was not asked or the grader crashed."""
    step_rewards: list[tuple[int, float]] = field(default_factory=list)
    """Of a process reward model: place of each step's last token in the completion, and the step's reward."""


@dataclass(frozen=True)
class MicroBatch:
    """Some rows of a step, padded on the right."""

    input_ids: Tensor
    """(B, L). Padding follows every real token, so causal attention needs no mask."""
    positions: Tensor
    """(N,) index into the B * L hidden states: those that predict a completion token."""
    targets: Tensor
    """(N,) the completion tokens."""
    flat: Tensor
    """(N,) index of each completion token in the step's flat token vectors."""
    rows: Tensor
    """(N,) row of each completion token within the micro-batch, 0 to B - 1."""

    def to(self, device: torch.device) -> "MicroBatch":
        return MicroBatch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def lengths(rows: Sequence[Row]) -> Tensor:
    """Completion lengths, (rows,)."""
    return torch.tensor([len(row.completion_ids) for row in rows], dtype=torch.long)


def per_token(values: Tensor, row_lengths: Tensor) -> Tensor:
    """One value a row, (rows,), repeated over the row's completion tokens, (T,): the layout of the flat vectors."""
    return values.repeat_interleave(row_lengths)


def sequence_weights(row_lengths: Tensor, *, num_rows: int) -> Tensor:
    """1 / (|o_i| * num_rows) for each token, (T,): the mean over rows of the mean over tokens (DeepSeekMath Eq. 3).

    `num_rows` counts the rows of the whole step, over all ranks and with those that are left out for zero advantage.
    """
    return per_token(1.0 / (row_lengths.double() * num_rows), row_lengths)


def token_weights(row_lengths: Tensor, *, num_tokens: int) -> Tensor:
    """1 / num_tokens for each token, (T,): the mean over all completion tokens of the step, over all ranks."""
    return torch.full((int(row_lengths.sum()),), 1.0 / num_tokens, dtype=torch.float64)


def loss_weights(loss: str, row_lengths: Tensor, *, num_rows: int, num_tokens: int, max_new_tokens: int) -> Tensor:
    """The weight of each token, (T,) float64, that makes a sum over tokens the mean that `loss` is defined by.

    grpo, gspo, ppo: 1 / (|o_i| num_rows). dapo, cispo: 1 / num_tokens (arXiv 2503.14476 Eq. 8, 2506.13585 Eq. 4).
    dr_grpo: 1 / (max_new_tokens num_rows), a constant (arXiv 2503.20783, listing 1). `num_rows` and `num_tokens` count
    the whole step: all ranks, and also the rows that are left out because their advantage is zero.
    """
    if loss in ("grpo", "gspo", "ppo"):
        return sequence_weights(row_lengths, num_rows=num_rows)
    if loss in ("dapo", "cispo"):
        return token_weights(row_lengths, num_tokens=num_tokens)
    if loss == "dr_grpo":
        return token_weights(row_lengths, num_tokens=max_new_tokens * num_rows)
    raise ValueError(f"loss={loss}: no such loss")


def micro_batches(rows: Sequence[Row], *, token_budget: int, pad_id: int, together: int = 1) -> list[MicroBatch]:
    """All rows in micro-batches of at most `token_budget` tokens with padding; a longer row comes alone.

    Longest first, so that the largest allocation happens at once; cut where that saves the most padding (see `_cuts`).
    `together` adjacent rows stay side by side in one micro-batch, in their order (2: the pairs of DPO and of reward
    models).
    """
    if len(rows) % together:
        raise ValueError(f"{len(rows)} rows cannot stay {together} together")
    row_lengths = lengths(rows)
    starts = (row_lengths.cumsum(0) - row_lengths).tolist()
    total = [len(row.prompt_ids) + len(row.completion_ids) for row in rows]
    widths = [max(total[first : first + together]) for first in range(0, len(rows), together)]
    order = sorted(range(len(widths)), key=lambda index: (-widths[index], index))
    batches = []
    for first, last in _cuts([widths[index] * together for index in order], token_budget=token_budget):
        chosen = [index * together + place for index in order[first:last] for place in range(together)]
        batches.append(_collate(rows, chosen, starts=starts, width=widths[order[first]], pad_id=pad_id))
    return batches


def _cuts(sizes: Sequence[int], *, token_budget: int) -> list[tuple[int, int]]:
    """Where to cut `sizes`, tokens in descending order, into runs (first, last + 1) that cost the least in all.

    A run costs its first size times its length (all are padded to the longest) plus what one more forward and backward
    pass costs beside its tokens, counted as `_PASS_TOKENS` of them, more where the budget is large (there the passes
    are a GPU's). Exact, by dynamic programming over the place of the last cut.
    """
    of_a_pass = max(_PASS_TOKENS, token_budget // 64)
    padded = np.array(sizes, dtype=np.float64)
    cheapest, cut = np.zeros(len(sizes) + 1), [0] * (len(sizes) + 1)
    for end in range(1, len(sizes) + 1):
        first = max(0, end - max(1, token_budget // max(1, sizes[end - 1])))  # no longer run fits the budget
        starts = np.arange(first, end)
        tokens = padded[first:end] * (end - starts)
        costs = np.where(
            (tokens <= token_budget) | (starts == end - 1), cheapest[first:end] + tokens + of_a_pass, np.inf
        )
        best = int(costs.argmin())
        cheapest[end], cut[end] = costs[best], first + best
    runs, end = [], len(sizes)
    while end:
        runs.append((cut[end], end))
        end = cut[end]
    return runs[::-1]


def _collate(
    rows: Sequence[Row], chosen: Sequence[int], *, starts: Sequence[int], width: int, pad_id: int
) -> MicroBatch:
    input_ids = torch.full((len(chosen), width), pad_id, dtype=torch.long)
    positions, targets, flat, places = [], [], [], []
    for place, index in enumerate(chosen):
        prompt, completion = rows[index].prompt_ids, rows[index].completion_ids
        if not prompt:
            raise ValueError(f"row {index} has no prompt: its first completion token has nothing to be predicted from")
        input_ids[place, : len(prompt) + len(completion)] = torch.tensor([*prompt, *completion])
        first = place * width + len(prompt) - 1
        positions.append(torch.arange(first, first + len(completion)))
        targets.append(torch.tensor(completion, dtype=torch.long))
        flat.append(torch.arange(starts[index], starts[index] + len(completion)))
        places.append(torch.full((len(completion),), place))
    return MicroBatch(input_ids, *(torch.cat(parts) for parts in (positions, targets, flat, places)))


def indices_of_step(count: int, step: int, *, batch_size: int, seed: int) -> list[int]:
    """The places, out of `count`, that step `step` (from 0) takes: each pass in an order drawn from (seed, pass).

    A function of its arguments alone, so a resumed run needs no cursor.
    """
    taken = []
    for place in range(step * batch_size, (step + 1) * batch_size):
        epoch, index = divmod(place, count)
        taken.append(_order(count, seed, epoch)[index])
    return taken


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(count))
    random.Random(f"{seed} {epoch}").shuffle(order)
    return tuple(order)
