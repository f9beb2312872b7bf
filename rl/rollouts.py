"""Completions sampled from a policy, with the log-probabilities they were drawn at.

One prefill a prompt, shared by its samples; a row leaves the batch when it has ended. vLLM is not wired in yet.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from rl.batches import Rollout
from rl.policy import Policy

# Copying the cache costs about as much as one decoding step of the rows it drops.
_COMPACT_BELOW = 0.8


def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    *,
    group_size: int,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator,
    max_rows: int = 256,
) -> list[Rollout]:
    """`group_size` rollouts of each prompt, adjacent and in the prompts' order; `group` is the prompt's index.

    temperature 0 is greedy, and log-probabilities are then those at temperature 1. `max_rows` bounds the rows decoded
    at once. `generator` lives on the CPU, so the draws are the same on every device.
    """
    was_training = policy.model.training
    policy.model.eval()
    by_length = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    prompts_at_once = max(1, max_rows // group_size)
    found: dict[int, list[Rollout]] = {}
    for start in range(0, len(prompts), prompts_at_once):
        chosen = by_length[start : start + prompts_at_once]
        rollouts = _sample_batch(
            policy,
            [prompts[index] for index in chosen],
            group_size=group_size,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            generator=generator,
        )
        for place, index in enumerate(chosen):
            found[index] = rollouts[place * group_size : (place + 1) * group_size]
    policy.model.train(was_training)
    for index, rollouts in found.items():
        for rollout in rollouts:
            rollout.group = index
    return [rollout for index in range(len(prompts)) for rollout in found[index]]


@torch.inference_mode()
def _sample_batch(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    *,
    group_size: int,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator,
) -> list[Rollout]:
    device = next(policy.model.parameters()).device
    end_ids = torch.tensor(policy.end_ids, device=device)
    rollouts = [Rollout(prompt, [], [], finished=False) for prompt in prompts for _ in range(group_size)]
    with torch.autocast(device.type, torch.bfloat16, enabled=policy.precision == "bfloat16"):
        logits, cache, mask = _prefill(policy, prompts, device=device)
        cache.batch_repeat_interleave(group_size)
        logits, mask = (tensor.repeat_interleave(group_size, dim=0) for tensor in (logits, mask))
        rows = list(range(len(rollouts)))  # rollout of each row still in the batch
        running = torch.ones(len(rows), dtype=torch.bool, device=device)
        for step in range(max_new_tokens):
            tokens, logprobs = _draw(logits, temperature=temperature, generator=generator)
            ended = torch.isin(tokens, end_ids)
            for row, token, logprob, is_running, is_end in zip(
                rows, tokens.tolist(), logprobs.tolist(), running.tolist(), ended.tolist(), strict=True
            ):
                if is_running:
                    rollouts[row].completion_ids.append(token)
                    rollouts[row].sampling_logprobs.append(logprob)
                    rollouts[row].finished = is_end
            running &= ~ended
            num_running = int(running.sum())
            if num_running == 0 or step == max_new_tokens - 1:
                break
            if num_running < _COMPACT_BELOW * len(rows):
                kept = running.nonzero().squeeze(1)
                cache.batch_select_indices(kept)
                tokens, mask, running = tokens[kept], mask[kept], running[kept]
                rows = [rows[index] for index in kept.tolist()]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            output = policy.model.base_model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=mask.sum(dim=1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
            )
            logits = output.last_hidden_state[:, -1] @ policy.model.get_output_embeddings().weight.T
    return rollouts


def _prefill(
    policy: Policy, prompts: Sequence[Sequence[int]], *, device: torch.device
) -> tuple[Tensor, DynamicCache, Tensor]:
    """Logits after each prompt (P, V), the cache, and the attention mask (P, L): prompts stand at the right edge."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), policy.pad_id)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, width - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    cache = DynamicCache(config=policy.model.config)
    output = policy.model.base_model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    return output.last_hidden_state[:, -1] @ policy.model.get_output_embeddings().weight.T, cache, mask


def _draw(logits: Tensor, *, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A token of each row and its log-probability, each (B,), from (B, V) logits."""
    log_all = torch.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    if temperature == 0:
        tokens = log_all.argmax(dim=-1)
    else:
        # inverse of the distribution function: torch.multinomial draws B * V numbers for it and took half the time
        reached = log_all.exp().cumsum(dim=-1, dtype=torch.float64)  # (B, V)
        drawn = torch.rand(len(logits), generator=generator, dtype=torch.float64).to(logits.device)
        tokens = torch.searchsorted(reached, (drawn * reached[:, -1])[:, None], right=True).squeeze(1)
        tokens = tokens.clamp(max=logits.shape[1] - 1)
    return tokens, log_all.gather(1, tokens[:, None]).squeeze(1)
