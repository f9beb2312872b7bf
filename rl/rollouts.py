"""Completions sampled from a policy, with the log-probabilities they were drawn at.

The native sampler needs nothing but transformers: one prefill a prompt shared by its samples, a cache with room for
the whole completion, and a row leaves the batch the moment it ends. vLLM, where it is installed, is the other one
(`rl/vllm_rollouts.py`). Both give the same completions for any batch order and any number of ranks: each prompt's
draws come from a seed of its own.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from rl.batches import Rollout
from rl.errors import ConfigError
from rl.policy import Policy, frozen_copy

SAMPLERS = ("native", "vllm")
# Entries of the vocabulary summed up before one of them is looked for: one pass over (B, V) instead of three.
_BLOCK = 256
# A draw times a sum must stay below the sum, or the search runs off its end.
_BELOW_ONE = 1 - 1e-15


class Sampler(Protocol):
    """What the trainers sample with."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        group_size: int,
        max_new_tokens: int,
        temperature: float,
        seeds: Sequence[int],
    ) -> list[Rollout]:
        """`group_size` rollouts of each prompt, adjacent and in the prompts' order; `group` is the prompt's index.

        Log-probabilities are those at `temperature`; 0 is greedy, and they are then those at temperature 1.
        seeds: one a prompt, see `prompt_seed`; its samples depend on it, the prompt and the weights alone.
        """
        ...

    def sync(self, policy: Policy) -> None:
        """From now on samples come from the weights `policy` has now."""
        ...


def make_sampler(name: str, policy: Policy, *, max_rows: int = 256, apart: bool = False) -> Sampler:
    """The sampler called `name`, in step with `policy`; raises ConfigError for other names or where it cannot run.

    max_rows: most rows decoded at once. apart: weights of its own that only `sync` renews, for sampling while the
    policy is being updated (vLLM's always are).
    """
    if name == "native":
        return NativeSampler(policy, max_rows=max_rows, apart=apart)
    if name == "vllm":
        from rl.vllm_rollouts import VllmSampler

        return VllmSampler(policy, max_rows=max_rows)
    raise ConfigError(f"sampler={name}: choose one of {', '.join(SAMPLERS)}")


def prompt_seed(run_seed: int, step: int, place: int) -> int:
    """The seed of the prompt at `place` of the whole step, all ranks together; no two of a run are alike.

    To be spread by numpy's SeedSequence: torch's CPU generator would keep the low 32 bits and forget the run.
    """
    return (run_seed << 64) | (step << 32) | place


class NativeSampler:
    """Samples through transformers, on the policy's device."""

    def __init__(self, policy: Policy, *, max_rows: int = 256, apart: bool = False) -> None:
        self.max_rows, self.apart = max_rows, apart
        self.policy = frozen_copy(policy) if apart else policy

    def sync(self, policy: Policy) -> None:
        if self.apart:
            self.policy.model.load_state_dict(policy.model.state_dict())
        else:
            self.policy = policy

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        group_size: int,
        max_new_tokens: int,
        temperature: float,
        seeds: Sequence[int],
    ) -> list[Rollout]:
        """See `Sampler`. Batches of like lengths, at most `max_rows` rows each, or one prompt's samples."""
        was_training = self.policy.model.training
        self.policy.model.eval()
        order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
        prompts_at_once = max(1, self.max_rows // group_size)
        groups: list[list[Rollout]] = [[] for _ in prompts]
        for start in range(0, len(order), prompts_at_once):
            chosen = order[start : start + prompts_at_once]
            draws = [np.random.default_rng(seeds[index]).random((group_size, max_new_tokens)) for index in chosen]
            rollouts = iter(
                _sample_batch(
                    self.policy,
                    [prompts[index] for index in chosen],
                    draws=torch.from_numpy(np.concatenate(draws)),
                    temperature=temperature,
                )
            )
            for index in chosen:
                groups[index] = [next(rollouts) for _ in range(group_size)]
        self.policy.model.train(was_training)
        for index, group in enumerate(groups):
            for rollout in group:
                rollout.group = index
        return [rollout for group in groups for rollout in group]


@torch.inference_mode()
def _sample_batch(
    policy: Policy, prompts: Sequence[Sequence[int]], *, draws: Tensor, temperature: float
) -> list[Rollout]:
    """A rollout for each row of `draws` (B, max_new_tokens), uniform on [0, 1); B is a multiple of the prompts."""
    device = next(policy.model.parameters()).device
    (num_rows, max_new_tokens), draws = draws.shape, draws.to(device)
    end_ids = torch.tensor(policy.end_ids, device=device)
    tokens = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(num_rows, max_new_tokens, device=device)
    num_tokens = torch.full((num_rows,), max_new_tokens, device=device)
    rows = torch.arange(num_rows, device=device)  # place, in the tensors above, of each row still running
    with torch.autocast(device.type, torch.bfloat16, enabled=policy.precision == "bfloat16"):
        state = _prefill(policy, prompts, room=max_new_tokens)
        state.repeat(num_rows // len(prompts))
        for step in range(max_new_tokens):
            drawn, logprobs[rows, step] = _draw(state.logits, temperature=temperature, draws=draws[rows, step])
            tokens[rows, step] = drawn
            ended = torch.isin(drawn, end_ids)
            running = (~ended).nonzero().squeeze(1)
            if len(running) < len(rows):
                num_tokens[rows[ended]] = step + 1
                kept = _without_gaps(running)
                state.keep(kept)
                drawn, rows = drawn[kept], rows[kept]
            if len(rows) == 0 or step == max_new_tokens - 1:
                break
            state.advance(policy, drawn)
    cut = set(rows.tolist())
    group_size = num_rows // len(prompts)
    return [
        Rollout(prompts[row // group_size], ids[:length], values[:length], finished=row not in cut)
        for row, (ids, values, length) in enumerate(
            zip(tokens.tolist(), logprobs.tolist(), num_tokens.tolist(), strict=True)
        )
    ]


class _Decoding:
    """The rows being decoded: what the next token of each is drawn from."""

    def __init__(self, logits: Tensor, cache: DynamicCache, mask: Tensor | None, positions: Tensor, width: int) -> None:
        self.logits = logits
        """(B, V) after the last token."""
        self.cache = cache
        self.mask = mask
        """(B, width + room) of the tokens attended to; None where no prompt is padded, which attention takes faster."""
        self.positions = positions
        """(B, 1) of the next token."""
        self.width = width
        """Tokens in the cache, padding on the left included."""

    def repeat(self, times: int) -> None:
        """Each row `times` over, adjacent."""
        self.cache.batch_repeat_interleave(times)
        self.logits = self.logits.repeat_interleave(times, dim=0)
        self.positions = self.positions.repeat_interleave(times, dim=0)
        self.mask = None if self.mask is None else self.mask.repeat_interleave(times, dim=0)

    def keep(self, rows: Tensor) -> None:
        """Only these rows, in this order."""
        self.cache.batch_select_indices(rows)
        self.positions = self.positions[rows]
        self.mask = None if self.mask is None else self.mask[rows]

    def advance(self, policy: Policy, tokens: Tensor) -> None:
        """One forward pass with `tokens` (B,)."""
        self.width += 1
        output = policy.model.base_model(
            input_ids=tokens[:, None],
            attention_mask=None if self.mask is None else self.mask[:, : self.width],
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.positions = self.positions + 1
        self.logits = output.last_hidden_state[:, -1] @ policy.model.get_output_embeddings().weight.T


def _prefill(policy: Policy, prompts: Sequence[Sequence[int]], *, room: int) -> _Decoding:
    """A row for each prompt, right edges aligned, and a cache with `room` for that many tokens more."""
    device = next(policy.model.parameters()).device
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), policy.pad_id)
    mask = torch.ones((len(prompts), width + room), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, : width - len(prompt)] = 0
    is_padded = not mask.all()
    mask = mask.to(device)
    positions = (mask[:, :width].cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=policy.model.config)
    cache.layers = [_RoomyLayer(width + room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    output = policy.model.base_model(
        input_ids=ids.to(device),
        attention_mask=mask[:, :width] if is_padded else None,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    )
    logits = output.last_hidden_state[:, -1] @ policy.model.get_output_embeddings().weight.T
    return _Decoding(logits, cache, mask if is_padded else None, positions[:, -1:] + 1, width)


class _RoomyLayer(DynamicLayer):
    """Keys and values of one layer in place, in room for `capacity` tokens.

    transformers' own layer copies everything it holds at every step, and once more when rows leave.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.rooms: list[Tensor] = []

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.rooms = [self._room(states) for states in (key_states, value_states)]
        start = self.get_seq_length()
        for room, states in zip(self.rooms, (key_states, value_states), strict=True):
            room[:, :, start : start + states.shape[2]] = states
        return self._show(start + key_states.shape[2])

    def batch_repeat_interleave(self, repeats: int) -> None:
        length = self.get_seq_length()
        repeated = [room[:, :, :length].repeat_interleave(repeats, dim=0) for room in self.rooms]
        self.rooms = [self._room(states) for states in repeated]
        for room, states in zip(self.rooms, repeated, strict=True):
            room[:, :, :length] = states
        self._show(length)

    def batch_select_indices(self, indices: Tensor) -> None:
        length = self.get_seq_length()
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero().squeeze(1)
        for room in self.rooms:
            room[moved, :, :length] = room[indices[moved], :, :length]
        self.rooms = [room[: len(indices)] for room in self.rooms]
        self._show(length)

    def _room(self, states: Tensor) -> Tensor:
        rows, heads, _, size = states.shape
        return states.new_empty(rows, heads, self.capacity, size)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (room[:, :, :length] for room in self.rooms)
        return self.keys, self.values


def _without_gaps(running: Tensor) -> Tensor:
    """The `running` rows (ascending) ordered so that few move: the last ones fill the places of those that ended."""
    kept = torch.arange(len(running), device=running.device)
    is_gap = torch.ones_like(kept, dtype=torch.bool)
    is_gap[running[running < len(running)]] = False
    kept[is_gap] = running[running >= len(running)]
    return kept


def _draw(logits: Tensor, *, temperature: float, draws: Tensor) -> tuple[Tensor, Tensor]:
    """A token of each row and its log-probability, each (B,), from (B, V) logits and one uniform draw a row."""
    probabilities = torch.softmax(logits.float() if temperature in (0, 1) else logits.float() / temperature, dim=-1)
    if temperature == 0:
        tokens = probabilities.argmax(dim=-1)
    else:
        tokens = _at_quantile(probabilities, draws)
    return tokens, probabilities.gather(1, tokens[:, None]).squeeze(1).log()


def _at_quantile(probabilities: Tensor, draws: Tensor) -> Tensor:
    """The entry of each row where its distribution function first exceeds the draw, (B,): first the block, then in it.

    torch.multinomial draws a number for every entry; a cumulative sum over all of them costs three passes.
    """
    vocab_size = probabilities.shape[1]
    if vocab_size <= 8 * _BLOCK:
        return _first_above(probabilities.double(), draws)[0]
    whole = vocab_size // _BLOCK * _BLOCK
    parts = [probabilities[:, :whole].unflatten(1, (-1, _BLOCK)).sum(dim=2), probabilities[:, whole:].sum(1, True)]
    block, rest = _first_above(torch.cat(parts, dim=1).double(), draws)
    places = block[:, None] * _BLOCK + torch.arange(_BLOCK, device=probabilities.device)  # (B, _BLOCK)
    inside = probabilities.gather(1, places.clamp(max=vocab_size - 1)).double()
    offset, _ = _first_above(inside.masked_fill_(places >= vocab_size, 0), rest)
    return block * _BLOCK + offset


def _first_above(masses: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where the running sum of each row of `masses` (B, N) first exceeds its target, and the target's part in there."""
    reached = masses.cumsum(dim=1)
    target = torch.minimum(target, reached[:, -1] * _BELOW_ONE)[:, None]
    index = torch.searchsorted(reached, target, right=True)
    before = reached.gather(1, index) - masses.gather(1, index)
    return index.squeeze(1), (target - before).squeeze(1)
