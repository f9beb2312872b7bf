"""Direct preference optimisation: right and wrong samples of the same problem -> a policy that prefers the right ones.

Offline, as in DeepSeekMath's unified paradigm (5.2.1, appendix A.1.4): every problem is sampled once with the starting
model and graded by the rule; pairs of a right and a wrong sample are trained on with the loss of Rafailov et al. (2023,
Eq. 7). The starting model is the reference; its log-probabilities are computed once, before the first step, and no
second model stays in memory. --mean_over_tokens true weighs a row by its mean log ratio, as the appendix writes it.
The samples are kept in out_dir/samples-RANK.jsonl.

    python rl/train_dpo.py --config configs/rl/dpo.yaml --model models/sft/model --problems data/problems/rl.jsonl
    torchrun --nproc-per-node 2 rl/train_dpo.py --config configs/rl/dpo.yaml --model M --problems P
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from rl import distributed
from rl.batches import indices_of_step, lengths, micro_batches
from rl.distributed import World
from rl.errors import ConfigError
from rl.losses import dpo, row_means, row_sums
from rl.policy import Policy, completion_logprobs, load_policy
from rl.questions import SamplingConfig, encode_questions
from rl.rollouts import make_sampler
from rl.samples import Attempts, Sample, SampleFile, Source, check_samples, collect_attempts, made_by, pairs_of
from rl.schedule import OptimConfig, make_optimiser, optimiser_step
from rl.settings import launch
from rl.training_run import TrainingRun
from rl.updates import rollout_logprobs
from rl.verifier import Verifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DpoConfig(SamplingConfig):
    """Settings of a DPO run."""

    max_pairs: int = 4
    """Most pairs of one problem, drawn from all of its distinct right and wrong samples."""
    beta: float = 1.0
    """How far the policy may leave the reference for a preference: smaller is farther (.1, usual for chat, lowered the
    right samples' own likelihood and halved this task's accuracy, see rl/README.md)."""
    mean_over_tokens: bool = False
    """A row's log ratio is the mean over its tokens (DeepSeekMath A.1.4), not the sum (Rafailov et al.): then beta
    wants to be larger by about a completion's length."""
    num_steps: int = 300
    batch_size: int = 32
    """Pairs an optimiser step, over all ranks."""
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=1e-4, schedule="cosine", warmup_steps=10, beta2=0.99, weight_decay=0.0)
    )
    """Optimiser and schedule."""
    out_dir: str = "models/dpo"
    log_every: int = 50


@dataclass(frozen=True)
class Pair:
    """A right and a wrong sample of one problem, and what the reference thinks of their tokens."""

    rows: tuple[Sample, Sample]
    ref_logprobs: Tensor
    """(tokens of the right one + tokens of the wrong one,) float64."""


def main(settings: DpoConfig) -> None:
    _check(settings)
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    optimiser = make_optimiser(policy.model, settings.optim)
    states = {"model": policy.model, "optimiser": optimiser}
    run = TrainingRun(settings, world, inputs=[settings.model, *settings.problems.split(",")], states=states)
    if run.is_done:
        distributed.stop(world)
        return
    # the model as it was before the checkpoint: samples and log-probabilities come from it, then it is let go
    reference = load_policy(settings.model, device=world.device, precision=settings.precision)
    reference.model.eval()
    pairs = make_pairs(_attempts(reference, settings, world=world), reference, settings, world=world)
    del reference
    policy.model.eval()  # dropout would make the log ratios noise; gradients flow all the same
    while run.goes_on:
        chosen = indices_of_step(len(pairs), run.step, batch_size=settings.batch_size, seed=settings.seed)
        mine = [pairs[index] for index in chosen][world.rank :: world.size]
        with run.phase("update"):
            sums = accumulate_dpo(policy, mine, settings, num_pairs=settings.batch_size, device=world.device)
            loss, *shares = distributed.total(world, sums)
            distributed.sum_gradients(world, policy.model)
            norm = optimiser_step(policy.model, optimiser, lr=run.lr, max_grad_norm=settings.optim.max_grad_norm)
        accuracy, right, wrong = (value / settings.batch_size for value in shares)
        values = {
            "loss": loss,
            "accuracy": accuracy,
            "margin": right - wrong,
            "right_reward": right,
            "wrong_reward": wrong,
            "grad_norm": norm,
            "epoch": (run.step + 1) * settings.batch_size / len(pairs),
        }
        run.finish_step(values)
    run.finish(policy, pairs=len(pairs))


def make_pairs(attempts: Sequence[Attempts], reference: Policy, settings: DpoConfig, *, world: World) -> list[Pair]:
    """All pairs with the reference's log-probabilities, of which each rank computes its share."""
    chosen = pairs_of(attempts, max_pairs=settings.max_pairs, seed=settings.seed)
    if not chosen:
        raise ConfigError(
            f"problems={settings.problems}: no problem has both right and wrong samples, so there are no pairs; give "
            "more problems, a larger --group_size or another model"
        )
    logger.info("%d pairs of %d problems", len(chosen), len({id(pair[0].prompt_ids) for pair in chosen}))
    rows = [sample for pair in chosen for sample in pair]
    row_lengths = lengths(rows)
    flat = torch.zeros(int(row_lengths.sum()), dtype=torch.float64)
    bounds = [len(rows) * rank // world.size for rank in (world.rank, world.rank + 1)]
    first, last = (int(row_lengths[:bound].sum()) for bound in bounds)
    flat[first:last] = rollout_logprobs(
        reference,
        rows[bounds[0] : bounds[1]],
        temperature=1.0,
        token_budget=settings.micro_batch_tokens,
        device=world.device,
    )
    if world.size > 1:
        flat = torch.tensor(distributed.total(world, flat.tolist()), dtype=torch.float64)
    parts = flat.split(row_lengths.view(-1, 2).sum(dim=1).tolist())
    return [Pair(pair, part) for pair, part in zip(chosen, parts, strict=True)]


def accumulate_dpo(
    policy: Policy, pairs: Sequence[Pair], settings: DpoConfig, *, num_pairs: int, device: torch.device
) -> list[float]:
    """Adds these pairs' gradient to the parameters' own, of `num_pairs` in the whole step.

    Returns sums over the pairs: their share of the loss, the pairs whose right row has the higher implicit reward
    beta * log ratio, and the implicit rewards of the right and of the wrong rows.
    """
    sums = torch.zeros(4, dtype=torch.float64)
    if not pairs:
        return sums.tolist()
    rows = [row for pair in pairs for row in pair.rows]
    ref = torch.cat([pair.ref_logprobs for pair in pairs])
    for batch in micro_batches(rows, token_budget=settings.micro_batch_tokens, pad_id=policy.pad_id, together=2):
        on_device = batch.to(device)
        logprobs, _ = completion_logprobs(policy, on_device)
        reference = ref[batch.flat].to(logprobs)
        num_rows = len(batch.input_ids)
        loss = dpo(
            logprobs,
            reference,
            rows=on_device.rows,
            weights=logprobs.new_full((num_rows // 2,), 1 / num_pairs),
            beta=settings.beta,
            mean_over_tokens=settings.mean_over_tokens,
        )
        loss.backward()
        log_ratios = (row_means if settings.mean_over_tokens else row_sums)(
            logprobs.detach() - reference, on_device.rows, num_rows
        )
        right, wrong = settings.beta * log_ratios[0::2], settings.beta * log_ratios[1::2]
        values = (loss.detach(), (right > wrong).sum(), right.sum(), wrong.sum())
        sums += torch.tensor([float(value) for value in values], dtype=torch.float64)
    return sums.tolist()


def _attempts(policy: Policy, settings: DpoConfig, *, world: World) -> list[Attempts]:
    """All problems' samples, read from out_dir or drawn now."""
    questions = encode_questions(policy, settings)
    file = SampleFile(Path(settings.out_dir), world, made_by=made_by(settings), resume=settings.resume)
    with Verifier(num_workers=settings.num_graders, timeout_s=settings.grade_timeout_s) as verifier:
        sampler = make_sampler(settings.sampler, policy, max_rows=settings.rollout_rows)
        at_once = max(1, settings.rollout_rows // settings.group_size)
        draw = Source(policy, sampler, verifier, settings).draw
        return collect_attempts(file, questions, draw=draw, world=world, at_once=at_once)


def _check(settings: DpoConfig) -> None:
    check_samples(settings)
    if settings.beta <= 0:
        raise ConfigError(f"beta={settings.beta}: above 0; .1 is usual")
    for name in ("max_pairs", "batch_size"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least 1")


if __name__ == "__main__":
    sys.exit(launch(main, DpoConfig))
