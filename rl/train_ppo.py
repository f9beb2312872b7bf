"""Proximal policy optimisation with a critic: what GRPO does without (DeepSeekMath 4.1.1, Eq. 1 and 2).

A step: samples of each prompt -> rewards at their last tokens, minus beta times the k1 estimate of the KL to a frozen
reference at every token (Eq. 2) -> advantages by GAE with a learned value of every state -> PPO's clipped objective,
and a squared error for the critic, which is a second model of the policy's size with a scalar head.
Beside what GRPO holds, memory has the critic, its gradient and its two moments; the metrics say how much.
Left out: the usual mini-batches within a step (an update sees the whole step, as GRPO's do, so that the two compare).

    python rl/train_ppo.py --config configs/rl/ppo.yaml --model models/sft/model --problems data/problems/rl.jsonl
    torchrun --nproc-per-node 2 rl/train_ppo.py --config configs/rl/ppo.yaml --model M --problems P
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from rl import distributed
from rl.advantages import gae, token_rewards
from rl.batches import Rollout, lengths, loss_weights, micro_batches
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
from rl.heads import ValueModel, load_value_model, token_values
from rl.losses import Objective, check_objective, kl_k1, value_loss
from rl.policy import Policy, frozen_copy, load_policy
from rl.questions import encode_questions
from rl.reward_models import check_tokenizer
from rl.rewards import make_reward
from rl.schedule import OptimConfig, check_optim, learning_rate, make_optimiser, optimiser_step
from rl.settings import launch
from rl.training_run import TrainingRun
from rl.updates import rollout_logprobs, update_policy


@dataclass(frozen=True, kw_only=True)
class PpoConfig(OnlineConfig):
    """Settings of a PPO run."""

    objective: Objective = field(default_factory=lambda: Objective(loss="ppo", kl_place="reward", kl_estimator="k1"))
    """What an update maximises; the KL stands in the reward."""
    gamma: float = 1.0
    """Discount a token; 1 as usual for answers judged at their end."""
    gae_lambda: float = 1.0
    """GAE's lambda: 1 takes the whole return, less trusts the critic more."""
    normalise_advantages: bool = True
    """Standardise the advantages over all tokens of the step."""
    critic: str = ""
    """Folder of a model to start the critic from; empty takes the policy's own body with a fresh head."""
    critic_optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=1e-3, schedule="constant", warmup_steps=5, beta2=0.99, weight_decay=0.0)
    )
    """Optimiser and schedule of the critic."""
    critic_warmup_steps: int = 10
    """First steps in which the critic alone learns."""
    value_clip: float = 0.0
    """Largest move of a value in an update, as in PPO's reference code; 0: no limit."""
    reward: str = "rule"
    """rule, outcome (a reward model, see rl/train_reward.py), or random (a control)."""
    reward_model: str = ""
    """Folder of the reward model, where `reward` is outcome."""
    out_dir: str = "models/ppo"


def main(settings: PpoConfig) -> None:
    _check(settings)
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    questions = encode_questions(policy, settings)
    reference = frozen_copy(policy) if settings.objective.beta > 0 else None
    critic = load_value_model(settings.critic or policy, device=world.device, precision=settings.precision)
    optimiser = make_optimiser(policy.model, settings.optim)
    check_tokenizer(critic, policy)
    critic_optimiser = make_optimiser(critic.model, settings.critic_optim)
    run = TrainingRun(
        settings,
        world,
        inputs=[settings.model, settings.critic, settings.reward_model, *settings.problems.split(",")],
        states={
            "model": policy.model,
            "optimiser": optimiser,
            "critic": critic.model,
            "critic_optimiser": critic_optimiser,
        },
    )
    sampler = make_online_sampler(settings, policy)
    collector = Collector(settings, run, questions, sampler=sampler, reward=make_reward(settings, device=world.device))
    policy.model.eval()  # dropout would make the probability ratio noise; gradients flow all the same
    critic.model.eval()
    while run.goes_on:
        experience = collector.collect(policy)
        rows = [rollout for rollout in experience.rollouts if rollout.reward == rollout.reward]  # NaN: no grade
        with run.phase("value"):
            values = rollout_values(critic, rows, settings, device=world.device)
            rewards, kl = rewards_of_tokens(rows, reference, settings, world=world)
            advantages, returns = gae(
                rewards, values, lengths(rows), gamma=settings.gamma, gae_lambda=settings.gae_lambda
            )
            if settings.normalise_advantages:
                advantages = standardise(advantages, world)
        with run.phase("critic"):
            learnt = update_critic(
                critic,
                rows,
                values=values,
                returns=returns,
                settings=settings,
                optimiser=critic_optimiser,
                lr=learning_rate(run.step, settings.critic_optim, num_steps=settings.num_steps),
                world=world,
            )
        updated = {"lr": 0.0}  # while the critic alone learns
        if run.step >= settings.critic_warmup_steps:
            lr = policy_rate(run.step, settings)
            with run.phase("update"):
                updated = {"lr": lr} | update_policy(
                    policy,
                    rows,
                    advantages=advantages,
                    objective=settings.objective,
                    config=update_config(settings),
                    optimiser=optimiser,
                    lr=lr,
                    world=world,
                )
        # the KL is part of the reward: its mean under the samples replaces the loss term's, which there is none of
        run.finish_step(
            describe(experience, settings.group_size, run=run) | updated | learnt | {"kl": kl},
            cursor=collector.cursor,
            completions=partial(completions_to_read, experience, policy),
        )
    collector.close()
    run.finish(policy, prompts=len(questions.prompts))


@torch.no_grad()
def rollout_values(critic: ValueModel, rows: Sequence[Rollout], settings: PpoConfig, *, device: torch.device) -> Tensor:
    """(T,) float64: the critic's value of the state in which each completion token was chosen."""
    flat = torch.zeros(int(lengths(rows).sum()) if rows else 0, dtype=torch.float64)
    for batch in micro_batches(rows, token_budget=settings.micro_batch_tokens, pad_id=critic.pad_id):
        flat[batch.flat] = token_values(critic, batch.to(device)).double().cpu()
    return flat


def rewards_of_tokens(
    rows: Sequence[Rollout], reference: Policy | None, settings: PpoConfig, *, world: World
) -> tuple[Tensor, float]:
    """(T,) float64: each row's reward at its last token, less beta times the KL at every token (Eq. 2); the mean KL.

    The KL is of the sampler's policy, and the mean of all ranks.
    """
    rewards = torch.tensor([rollout.reward for rollout in rows], dtype=torch.float64)
    sampled = torch.tensor([logprob for rollout in rows for logprob in rollout.sampling_logprobs], dtype=torch.float64)
    kl = torch.zeros_like(sampled)
    if reference is not None:
        kl = kl_k1(
            sampled,
            rollout_logprobs(
                reference,
                rows,
                temperature=settings.temperature,
                token_budget=settings.micro_batch_tokens,
                device=world.device,
            ),
        )
    found = token_rewards(rewards, kl, lengths(rows), beta=settings.objective.beta)
    kl_sum, num_tokens = distributed.total(world, [float(kl.sum()), len(kl)])
    return found, kl_sum / max(num_tokens, 1.0)


def policy_rate(step: int, settings: PpoConfig) -> float:
    """The policy's learning rate: its schedule begins when the critic's warm-up has ended."""
    begun = settings.critic_warmup_steps
    return learning_rate(step - begun, settings.optim, num_steps=settings.num_steps - begun)


def standardise(advantages: Tensor, world: World) -> Tensor:
    """Advantages with mean 0 and spread 1 over all tokens of the step, over all ranks."""
    count, total, squares = distributed.total(
        world, [len(advantages), float(advantages.sum()), float(advantages.square().sum())]
    )
    mean = total / max(count, 1.0)
    spread = max(squares / max(count, 1.0) - mean**2, 0.0) ** 0.5
    return (advantages - mean) / (spread + 1e-8)


def update_critic(
    critic: ValueModel,
    rows: Sequence[Rollout],
    *,
    values: Tensor,
    returns: Tensor,
    settings: PpoConfig,
    optimiser: torch.optim.Optimizer,
    lr: float,
    world: World,
) -> dict[str, float]:
    """`updates_per_step` updates of the critic towards `returns` (T,); its loss, and the variance explained before."""
    row_lengths = lengths(rows)
    num_rows, num_tokens, mean_sum, error_sum = distributed.total(
        world, [len(rows), len(returns), float(returns.sum()), float((returns - values).square().sum())]
    )
    spread_sum = distributed.total(world, [float((returns - mean_sum / max(num_tokens, 1)).square().sum())])[0]
    explained = {"explained_variance": 1 - error_sum / spread_sum if spread_sum > 0 else 0.0}
    if num_rows == 0:
        return {"value_loss": 0.0} | explained
    weights = loss_weights(
        "ppo", row_lengths, num_rows=int(num_rows), num_tokens=int(num_tokens), max_new_tokens=settings.max_new_tokens
    )
    loss_sum = 0.0
    for _ in range(settings.updates_per_step):
        loss_sum = 0.0
        for batch in micro_batches(rows, token_budget=settings.micro_batch_tokens, pad_id=critic.pad_id):
            found = token_values(critic, batch.to(world.device))
            before, target, weight = (vector[batch.flat].to(found) for vector in (values, returns, weights))
            loss = value_loss(found, before, returns=target, weights=weight, clip_range=settings.value_clip)
            loss.backward()
            loss_sum += float(loss.detach())
        distributed.sum_gradients(world, critic.model)
        optimiser_step(critic.model, optimiser, lr=lr, max_grad_norm=settings.critic_optim.max_grad_norm)
    return {"value_loss": distributed.total(world, [loss_sum])[0]} | explained


def _check(settings: PpoConfig) -> None:
    check_online(settings)
    check_objective(settings.objective)
    check_optim(settings.critic_optim)
    if settings.objective.kl_place != "reward":
        raise ConfigError(
            f"objective.kl_place={settings.objective.kl_place}: PPO has its KL in the reward (Eq. 2); set it to reward"
        )
    if settings.rollout_lag and not settings.objective.importance_cap:
        raise ConfigError("rollout_lag=1 trains on samples of older weights: set objective.importance_cap (2 is usual)")
    if not (0 <= settings.gamma <= 1 and 0 <= settings.gae_lambda <= 1):
        raise ConfigError(f"gamma={settings.gamma}, gae_lambda={settings.gae_lambda}: both within 0 and 1")
    if settings.reward == "process":
        raise ConfigError("reward=process: step rewards are GRPO's (rl/train_grpo.py); PPO takes rule or outcome")


if __name__ == "__main__":
    sys.exit(launch(main, PpoConfig))
