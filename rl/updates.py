"""Updates of a policy on a step's rollouts: the part that every method learning from samples shares."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rl import distributed
from rl.batches import MicroBatch, Rollout, Row, lengths, loss_weights, micro_batches, per_token
from rl.distributed import World
from rl.losses import Objective, clip_masks, kl_k3, policy_loss
from rl.policy import Policy, completion_logprobs, completion_loss
from rl.schedule import optimiser_step

_SUMMED = ("loss", "kl", "entropy", "clip_low_share", "clip_high_share", "sampler_ratio")


@dataclass(frozen=True)
class UpdateConfig:
    """What an update needs beside the objective; taken from an entry's settings."""

    temperature: float
    """The log-probabilities are those at the sampling temperature."""
    max_new_tokens: int
    """dr_grpo's constant denominator."""
    token_budget: int
    """Most tokens in one forward pass."""
    updates_per_step: int = 1
    """Updates on the same rollouts, mu in DeepSeekMath's Algorithm 1."""
    max_grad_norm: float = 1.0
    keep_zero_advantage_rows: bool = False
    """With a KL term in the loss: train rows of zero advantage for it, as Eq. 3 has it to the letter."""


def update_policy(
    policy: Policy,
    rows: Sequence[Rollout],
    *,
    advantages: Tensor,
    objective: Objective,
    config: UpdateConfig,
    optimiser: torch.optim.Optimizer,
    lr: float,
    world: World,
    reference: Policy | None = None,
) -> dict[str, float]:
    """`updates_per_step` updates on the rows of this rank and, together, of all ranks; returns what to log.

    rows: the step's rollouts. advantages: (T,), one a completion token, in the order of `rows`. A row without a reward
    (NaN: its grade is missing) is left out altogether; one whose advantages are all zero reaches no forward pass, but
    counts in the denominators. `reference` serves the KL term in the loss. The first update takes the policy's own
    detached log-probabilities as the old ones: no pass is spent on them.
    """
    rows, advantages = _select(rows, advantages, [row.reward == row.reward for row in rows])
    num_rows, num_tokens = distributed.total(world, [len(rows), int(lengths(rows).sum()) if rows else 0])
    if not config.keep_zero_advantage_rows:
        parts = advantages.split(lengths(rows).tolist()) if rows else []
        rows, advantages = _select(rows, advantages, [bool(part.count_nonzero()) for part in parts])
    num_trained, trained_tokens = distributed.total(world, [len(rows), len(advantages)])
    if num_trained == 0:  # an Adam step without gradient would still move the weights by its momentum
        return dict.fromkeys((*_SUMMED, "grad_norm", "sampler_gap", "trained_tokens"), 0.0)
    row_lengths = lengths(rows)
    vectors = _Vectors(
        advantages=advantages,
        weights=loss_weights(
            objective.loss,
            row_lengths,
            num_rows=int(num_rows),
            num_tokens=int(num_tokens),
            max_new_tokens=config.max_new_tokens,
        ),
        sampled=torch.tensor([logprob for row in rows for logprob in row.sampling_logprobs], dtype=torch.float64),
    )
    batches = micro_batches(rows, token_budget=config.token_budget, pad_id=policy.pad_id)
    norm = 0.0
    for number in range(config.updates_per_step):
        sums = torch.zeros(len(_SUMMED), dtype=torch.float64)
        for batch in batches:
            on_device = batch.to(world.device)
            if number == 0 and reference is not None:
                vectors.ref[batch.flat] = _without_gradient(reference, on_device, config.temperature)
            sums += _accumulate(
                policy,
                on_device,
                vectors,
                objective=objective,
                temperature=config.temperature,
                is_first=number == 0,
                with_reference=reference is not None,
            )
        distributed.sum_gradients(world, policy.model)
        norm = optimiser_step(policy.model, optimiser, lr=lr, max_grad_norm=config.max_grad_norm)
    totals = dict(zip(_SUMMED, distributed.total(world, sums.tolist()), strict=True))
    means = {name: value if name == "loss" else value / trained_tokens for name, value in totals.items()}
    gap = float((vectors.old - vectors.sampled).abs().max()) if rows else 0.0
    return means | {"grad_norm": norm, "sampler_gap": distributed.highest(world, gap), "trained_tokens": trained_tokens}


class _Vectors:
    """The step's flat token vectors, each (T,), on the CPU; a micro-batch takes its places of them."""

    def __init__(self, *, advantages: Tensor, weights: Tensor, sampled: Tensor) -> None:
        self.advantages, self.weights, self.sampled = advantages, weights, sampled
        self.old, self.ref = torch.zeros_like(sampled), torch.zeros_like(sampled)


def _select(rows: Sequence[Rollout], advantages: Tensor, chosen: Sequence[bool]) -> tuple[list[Rollout], Tensor]:
    """The chosen rows and their places of the token vector."""
    keep = per_token(torch.tensor(chosen, dtype=torch.bool), lengths(rows)) if rows else slice(0)
    return [row for row, is_chosen in zip(rows, chosen, strict=True) if is_chosen], advantages[keep]


def _accumulate(
    policy: Policy,
    batch: MicroBatch,
    vectors: _Vectors,
    *,
    objective: Objective,
    temperature: float,
    is_first: bool,
    with_reference: bool,
) -> Tensor:
    """Adds the micro-batch's gradient to the parameters' own; returns its summands of `_SUMMED`, (6,).

    is_first: no update has been made, so the policy's values are the old ones and are put down as such.
    """
    places = batch.flat.cpu()
    old, ref, advantages, weights, sampled = (
        vector[places].to(batch.flat.device)
        for vector in (vectors.old, vectors.ref, vectors.advantages, vectors.weights, vectors.sampled)
    )

    def loss(logprobs: Tensor, chunk: slice) -> Tensor:
        return policy_loss(
            logprobs,
            logprobs.detach() if is_first else old[chunk].to(logprobs),
            advantages=advantages[chunk].to(logprobs),
            weights=weights[chunk].to(logprobs),
            rows=batch.rows[chunk],
            objective=objective,
            ref_logprobs=ref[chunk].to(logprobs),
            sampling_logprobs=sampled[chunk].to(logprobs),
        )

    if objective.loss == "gspo":  # couples the tokens of a row, which a chunk may cut
        logprobs, entropy = completion_logprobs(policy, batch, temperature=temperature)
        total = loss(logprobs, slice(None))
    else:
        total, logprobs, entropy = completion_loss(policy, batch, loss, temperature=temperature)
    total.backward()
    current = logprobs.detach().double()
    if is_first:
        vectors.old[places] = current.cpu()
        old = current
    low, high = clip_masks(current, old, advantages=advantages, rows=batch.rows, objective=objective)
    kl = kl_k3(current, ref).sum() if with_reference else torch.zeros(())
    values = (total.detach(), kl, entropy.sum(), low.sum(), high.sum(), (old - sampled).exp().sum())
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


@torch.no_grad()
def _without_gradient(policy: Policy, batch: MicroBatch, temperature: float) -> Tensor:
    return completion_logprobs(policy, batch, temperature=temperature)[0].double().cpu()


@torch.no_grad()
def rollout_logprobs(
    policy: Policy, rows: Sequence[Row], *, temperature: float, token_budget: int, device: torch.device
) -> Tensor:
    """Log-probabilities of all completion tokens under `policy`, (T,) float64, in the order of `rows`."""
    flat = torch.zeros(int(lengths(rows).sum()) if rows else 0, dtype=torch.float64)
    for batch in micro_batches(rows, token_budget=token_budget, pad_id=policy.pad_id):
        flat[batch.flat] = _without_gradient(policy, batch.to(device), temperature)
    return flat
