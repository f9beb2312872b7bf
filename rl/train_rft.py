"""Rejection-sampling fine-tuning: right samples become demonstrations (DeepSeekMath 5.2.1, appendix A.1.2 and A.1.3).

Offline (RFT): the starting model samples every problem once; the right and distinct samples are trained on as in
fine-tuning. Online (--online true): every step samples from the model as it is and trains on the right ones.
In both, a sample weighs 1/|o_i| and its tokens have the gradient coefficient 1 (right) or 0 (wrong): no baseline, so
wrong samples teach nothing and right ones count alike, however rare.
Left out of the paper: mixing the SFT set into the samples.

    python rl/train_rft.py --config configs/rl/rft.yaml --model models/sft/model --problems data/problems/rl.jsonl
    python rl/train_rft.py --config configs/rl/rft.yaml --online true --num_steps 250 --problems P --out_dir models/orft
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from rl import distributed
from rl.batches import indices_of_step, lengths, per_token, sequence_weights
from rl.errors import ConfigError
from rl.experience import (
    Collector,
    OnlineConfig,
    check_online,
    completions_to_read,
    describe,
    make_online_sampler,
    update_config,
)
from rl.losses import Objective
from rl.policy import Policy, accumulate_nll, load_policy
from rl.questions import Questions, encode_questions
from rl.rewards import RuleReward
from rl.rollouts import make_sampler
from rl.samples import Sample, SampleFile, Source, collect_attempts, made_by
from rl.schedule import make_optimiser, optimiser_step
from rl.settings import launch
from rl.training_run import TrainingRun
from rl.updates import update_policy
from rl.verifier import Verifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RftConfig(OnlineConfig):
    """Settings of a rejection-sampling run."""

    online: bool = False
    """true: every step samples from the model as it is; false: the starting model samples every problem once."""
    batch_size: int = 64
    """Offline: right samples an optimiser step, over all ranks."""
    out_dir: str = "models/rft"


def main(settings: RftConfig) -> None:
    check_online(settings)
    if settings.overlong_tokens:
        raise ConfigError(
            f"overlong_tokens={settings.overlong_tokens}: here a sample is right or wrong, nothing between"
        )
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    questions = encode_questions(policy, settings)
    optimiser = make_optimiser(policy.model, settings.optim)
    states = {"model": policy.model, "optimiser": optimiser}
    run = TrainingRun(settings, world, inputs=[settings.model, *settings.problems.split(",")], states=states)
    policy.model.eval()
    if settings.online:
        learn_online(policy, questions, settings, optimiser=optimiser, run=run)
        run.finish(policy, prompts=len(questions.prompts))
    else:
        rows = right_samples(questions, settings, run=run)
        learn_offline(policy, rows, settings, optimiser=optimiser, run=run)
        run.finish(policy, prompts=len(questions.prompts), right_samples=len(rows))


def learn_online(
    policy: Policy,
    questions: Questions,
    settings: RftConfig,
    *,
    optimiser: torch.optim.Optimizer,
    run: TrainingRun,
) -> None:
    """Every step: fresh samples, and an update with coefficient 1 on the right ones (online RFT, Eq. 14 and 15)."""
    reward = RuleReward(
        boxed_only=settings.boxed_only, timeout_s=settings.grade_timeout_s, num_workers=settings.num_graders
    )
    sampler = make_online_sampler(settings, policy)
    collector = Collector(settings, run, questions, sampler=sampler, reward=reward)
    config = update_config(settings)
    while run.goes_on:
        experience = collector.collect(policy)
        rollouts = experience.rollouts
        with run.phase("update"):
            rewards = torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float64)
            updated = update_policy(
                policy,
                rollouts,
                advantages=per_token(rewards, lengths(rollouts)),
                objective=Objective(),
                config=config,
                optimiser=optimiser,
                lr=run.lr,
                world=run.world,
            )
        run.finish_step(
            describe(experience, settings.group_size, run=run) | updated,
            cursor=collector.cursor,
            completions=partial(completions_to_read, experience, policy),
        )
    collector.close()


def right_samples(questions: Questions, settings: RftConfig, *, run: TrainingRun) -> list[Sample]:
    """The right samples of the starting model, each distinct one once a problem; kept in out_dir/samples-RANK.jsonl."""
    file = SampleFile(run.out_dir, run.world, made_by=made_by(settings), resume=settings.resume)
    # loaded anew: a resumed run has other weights by now
    policy = load_policy(settings.model, device=run.world.device, precision=settings.precision)
    sampler = make_sampler(settings.sampler, policy, max_rows=settings.rollout_rows)
    at_once = max(1, settings.rollout_rows // settings.group_size)
    with Verifier(num_workers=settings.num_graders, timeout_s=settings.grade_timeout_s) as verifier:
        source = Source(policy, sampler, verifier, settings)
        attempts = collect_attempts(file, questions, draw=source.draw, world=run.world, at_once=at_once)
    rows = []
    for one in attempts:
        rows += list({tuple(s.completion_ids): s for s in one.samples if s.correct}.values())
    if not rows:
        raise ConfigError(f"{settings.problems}: the model solves none of these problems; nothing to learn from")
    logger.info("%d right and distinct samples of %d problems", len(rows), len(attempts))
    return rows


def learn_offline(
    policy: Policy,
    rows: Sequence[Sample],
    settings: RftConfig,
    *,
    optimiser: torch.optim.Optimizer,
    run: TrainingRun,
) -> None:
    """Updates on the right samples as on demonstrations, each weighing 1/|o_i| (RFT, Eq. 11)."""
    world = run.world
    while run.goes_on:
        chosen = indices_of_step(len(rows), run.step, batch_size=settings.batch_size, seed=settings.seed)
        mine = [rows[index] for index in chosen][world.rank :: world.size]
        with run.phase("update"):
            loss = accumulate_nll(
                policy,
                mine,
                weights=sequence_weights(lengths(mine), num_rows=len(chosen)),
                token_budget=settings.micro_batch_tokens,
                device=world.device,
            )
            distributed.sum_gradients(world, policy.model)
            norm = optimiser_step(policy.model, optimiser, lr=run.lr, max_grad_norm=settings.optim.max_grad_norm)
        epoch = (run.step + 1) * settings.batch_size / len(rows)
        run.finish_step({"nll": distributed.total(world, [loss])[0], "grad_norm": norm, "epoch": epoch})


if __name__ == "__main__":
    sys.exit(launch(main, RftConfig))
