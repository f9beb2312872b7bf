"""Group-relative policy optimisation: problems with answers -> a better policy (DeepSeekMath 4, Eq. 3, 20 and 21).

A step: G samples of each prompt -> rewards -> standardised within the group -> PPO's clipped objective, each sample
weighing 1/|o_i|, minus beta times the k3 estimate of the KL to a frozen reference, inside the loss.
Rows without signal (zero advantage) never reach a forward pass; the first update of a step needs no old-policy pass;
the reference is loaded and run only when beta > 0.
The reward is a rule (as in DeepSeek-R1), an outcome reward model or a process reward model (the paper's), or chance
(a control). --iterations renews the reference, and the reward model with it (Algorithm 1).
Other losses of the family are one setting away: --objective.loss dapo | dr_grpo | gspo | cispo.

    python rl/train_grpo.py --config configs/rl/grpo.yaml --model models/sft/model --problems data/problems/rl.jsonl
    torchrun --nproc-per-node 2 rl/train_grpo.py --config configs/rl/grpo.yaml --model M --problems P
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from rl import distributed
from rl.advantages import (
    centred_advantages,
    group_advantages,
    kl_advantages,
    leave_one_out_advantages,
    process_advantages,
)
from rl.batches import Rollout, lengths, per_token
from rl.checkpoint import Stateful
from rl.distributed import World
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
from rl.losses import Objective, check_objective, kl_k1
from rl.policy import Policy, frozen_copy, load_policy
from rl.questions import encode_questions
from rl.reward_models import OutcomeReward
from rl.reward_renewal import RenewalConfig, RewardRenewal
from rl.rewards import Reward, RuleReward, make_reward
from rl.rollouts import Sampler
from rl.samples import Source, read_samples
from rl.schedule import make_optimiser
from rl.settings import launch
from rl.training_run import TrainingRun
from rl.updates import rollout_logprobs, update_policy

ADVANTAGES = ("group", "centred", "leave_one_out")


@dataclass(frozen=True, kw_only=True)
class GrpoConfig(OnlineConfig):
    """Settings of a GRPO run."""

    objective: Objective = field(default_factory=Objective)
    """What an update maximises."""
    advantage: str = "group"
    """group (less the group's mean, by its spread), centred (less the mean: Dr. GRPO) or leave_one_out (RLOO)."""
    reward: str = "rule"
    """rule, outcome or process (reward models, see rl/train_reward.py), or random (a control)."""
    reward_model: str = ""
    """Folder of the reward model, where `reward` is outcome or process."""
    iterations: int = 1
    """Parts of the run, I in Algorithm 1: at the start of every part but the first the present policy becomes the
    reference, and the reward model goes on training on its samples with a tenth of old ones."""
    renewal: RenewalConfig = field(default_factory=RenewalConfig)
    """How the reward model goes on training between iterations."""
    keep_zero_advantage_rows: bool = False
    """With a KL term, train rows of zero advantage for it, as Eq. 3 has it to the letter; costs time."""
    out_dir: str = "models/grpo"


def main(settings: GrpoConfig) -> None:
    _check(settings)
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    questions = encode_questions(policy, settings)
    reference = frozen_copy(policy) if settings.objective.beta > 0 else None
    optimiser = make_optimiser(policy.model, settings.optim)
    reward = make_reward(settings, device=world.device)
    renewal = make_renewal(reward, settings, world) if settings.iterations > 1 else None
    states: dict[str, Stateful] = {"model": policy.model, "optimiser": optimiser}
    if reference is not None and settings.iterations > 1:
        states["reference"] = reference.model
    if renewal is not None:
        states["reward_model"] = renewal
    inputs = [settings.model, settings.reward_model, *settings.problems.split(",")]
    run = TrainingRun(settings, world, inputs=inputs, states=states)
    sampler = make_online_sampler(settings, policy)
    collector = Collector(settings, run, questions, sampler=sampler, reward=reward)
    config = update_config(settings, keep_zero_advantage_rows=settings.keep_zero_advantage_rows)
    policy.model.eval()  # dropout would make the probability ratio noise; gradients flow all the same
    while run.goes_on:
        renewed: dict[str, float] = {}
        if iteration := iteration_beginning_at(run.step, settings):
            if reference is not None:
                reference.model.load_state_dict(policy.model.state_dict())
            if renewal is not None:
                collector.settle()
                with run.phase("renewal"):
                    renewed = renewal.renew(
                        source_of(policy, sampler, reward, settings),
                        questions,
                        round_number=iteration,
                    )
        experience = collector.collect(policy)
        rollouts = experience.rollouts
        with run.phase("update"):
            advantages = token_advantages(rollouts, settings)
            kl: dict[str, float] = {}
            if reference is not None and settings.objective.kl_place == "reward":
                from_kl, kl = kl_as_reward(rollouts, reference, settings, world=world)
                advantages += from_kl
            updated = update_policy(
                policy,
                rollouts,
                advantages=advantages,
                objective=settings.objective,
                config=config,
                optimiser=optimiser,
                lr=run.lr,
                world=world,
                reference=reference if settings.objective.kl_place == "loss" else None,
            )
        values = describe(experience, settings.group_size, run=run) | updated | kl | renewed
        run.finish_step(values, cursor=collector.cursor, completions=partial(completions_to_read, experience, policy))
    collector.close()
    run.finish(policy, prompts=len(questions.prompts))


def token_advantages(rollouts: Sequence[Rollout], settings: GrpoConfig) -> Tensor:
    """(T,) float64: the advantage of each completion token of all rollouts, whole groups, before any KL term.

    0 where a grade is missing. Process supervision where rollouts have step rewards (4.1.3), else outcome (4.1.2).
    """
    row_lengths = lengths(rollouts)
    if any(rollout.step_rewards for rollout in rollouts):
        starts = (row_lengths.cumsum(0) - row_lengths).tolist()
        steps = [
            (start + end, reward) for start, r in zip(starts, rollouts, strict=True) for end, reward in r.step_rewards
        ]
        ends = torch.tensor([end for end, _ in steps])
        step_rewards = torch.tensor([reward for _, reward in steps], dtype=torch.float64)
        return process_advantages(step_rewards, ends, row_lengths, settings.group_size)
    rewards = torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float64)
    if settings.advantage == "centred":
        values = centred_advantages(rewards, settings.group_size)
    elif settings.advantage == "leave_one_out":
        values = leave_one_out_advantages(rewards, settings.group_size)
    else:
        values = group_advantages(rewards, settings.group_size)
    return per_token(values, row_lengths)


def kl_as_reward(
    rollouts: Sequence[Rollout], reference: Policy, settings: GrpoConfig, *, world: World
) -> tuple[Tensor, dict[str, float]]:
    """(T,): what the KL to the reference, as a reward, adds to the advantages (`objective.kl_place` reward).

    Also its mean over the tokens of all ranks, to be logged. The KL is of the sampler's policy, as it sampled.
    """
    ref = rollout_logprobs(
        reference,
        rollouts,
        temperature=settings.temperature,
        token_budget=settings.micro_batch_tokens,
        device=world.device,
    )
    sampled = torch.tensor([logprob for rollout in rollouts for logprob in rollout.sampling_logprobs]).double()
    kl = kl_k1(sampled, ref)
    kl_sum, num_tokens = distributed.total(world, [float(kl.sum()), len(kl)])
    found = kl_advantages(kl, lengths(rollouts), beta=settings.objective.beta)
    return found, {"kl": kl_sum / max(num_tokens, 1.0)}


def iteration_beginning_at(step: int, settings: GrpoConfig) -> int:
    """The iteration, from 1, that begins at `step`; 0 where none does: the run's start is no renewal."""
    beginnings = {round(settings.num_steps * i / settings.iterations): i for i in range(1, settings.iterations)}
    return beginnings.get(step, 0)


def make_renewal(reward: Reward, settings: GrpoConfig, world: World) -> RewardRenewal | None:
    """What goes on training the reward model between iterations; None where the reward is not a model."""
    if not isinstance(reward, OutcomeReward):
        return None
    return RewardRenewal(
        reward.value,
        settings.renewal,
        history=read_samples(Path(settings.reward_model).parent),
        token_budget=settings.micro_batch_tokens,
        seed=settings.seed,
        world=world,
    )


def source_of(policy: Policy, sampler: Sampler, reward: Reward, settings: GrpoConfig) -> Source:
    """The present policy's samples, graded by the rule: what a renewal learns from."""
    assert isinstance(reward, OutcomeReward) and isinstance(reward.rule, RuleReward)
    return Source(policy, sampler, reward.rule.verifier, settings)


def _check(settings: GrpoConfig) -> None:
    check_online(settings)
    check_objective(settings.objective)
    if settings.group_size < 2:
        raise ConfigError(f"group_size={settings.group_size}: a group-relative advantage needs 2 or more samples")
    if settings.advantage not in ADVANTAGES:
        raise ConfigError(f"advantage={settings.advantage}: choose one of {', '.join(ADVANTAGES)}")
    if settings.iterations < 1 or settings.iterations > settings.num_steps:
        raise ConfigError(f"iterations={settings.iterations}: 1 to num_steps={settings.num_steps}")
    with_kl_in_loss = settings.objective.beta > 0 and settings.objective.kl_place == "loss"
    if settings.iterations > 1 and not settings.objective.beta and settings.reward in ("rule", "random"):
        raise ConfigError(
            f"iterations={settings.iterations} renews nothing: there is neither a reference "
            "(objective.beta is 0) nor a reward model"
        )
    if settings.keep_zero_advantage_rows and not with_kl_in_loss:
        raise ConfigError("keep_zero_advantage_rows only costs time without a KL in the loss (objective.beta above 0)")
    if settings.reward == "process" and (settings.advantage != "group" or settings.overlong_tokens):
        raise ConfigError(
            f"advantage={settings.advantage}, overlong_tokens={settings.overlong_tokens}: reward=process has "
            "step rewards, standardised in the group (4.1.3); leave both as they are by default"
        )
    if settings.rollout_lag and not settings.objective.importance_cap:
        raise ConfigError("rollout_lag=1 trains on samples of older weights: set objective.importance_cap (2 is usual)")


if __name__ == "__main__":
    sys.exit(launch(main, GrpoConfig))
