"""Rewards of rollouts: by rule, by an outcome or process reward model, or by chance (a control)."""

import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import torch

from rl.batches import Rollout
from rl.errors import ConfigError
from rl.heads import load_value_model
from rl.policy import Policy
from rl.problems import Problem
from rl.reward_models import OutcomeReward, ProcessReward
from rl.verifier import Grade, Verifier


class RewardSettings(Protocol):
    """What `make_reward` reads of an entry's settings."""

    @property
    def reward(self) -> str: ...
    @property
    def reward_model(self) -> str: ...
    @property
    def boxed_only(self) -> bool: ...
    @property
    def grade_timeout_s(self) -> float: ...
    @property
    def num_graders(self) -> int: ...
    @property
    def micro_batch_tokens(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def seed(self) -> int: ...


class Reward(Protocol):
    """Gives rollouts their `reward`, and where it judges steps their `step_rewards`."""

    def start(self, rollouts: Sequence[Rollout], problems: Sequence[Problem], *, policy: Policy) -> None:
        """Takes some groups, one problem each, and begins to work on them; returns at once where that is possible."""

    def finish(self) -> Counter[str]:
        """Waits until all rollouts that were started have their rewards; the missing ones by reason."""

    def close(self) -> None:
        """Ends what runs beside this process."""


class RuleReward:
    """1 for a right final answer, 0 for a wrong one, NaN where the grader crashed; `solved` likewise."""

    def __init__(self, *, boxed_only: bool, timeout_s: float, num_workers: int) -> None:
        self.boxed_only = boxed_only
        self.verifier = Verifier(num_workers=num_workers, timeout_s=timeout_s)
        self._pending: list[tuple[Rollout, Future[Grade]]] = []

    def start(self, rollouts: Sequence[Rollout], problems: Sequence[Problem], *, policy: Policy) -> None:
        group_size = len(rollouts) // max(len(problems), 1)
        for index, rollout in enumerate(rollouts):
            gold = problems[index // group_size].answer
            text = policy.decode(rollout.completion_ids)
            self._pending.append((rollout, self.verifier.submit(text, gold, boxed_only=self.boxed_only)))

    def finish(self) -> Counter[str]:
        crashes: Counter[str] = Counter()
        for rollout, future in self._pending:
            graded = future.result()
            rollout.solved = float("nan") if graded.correct is None else float(graded.correct)
            rollout.reward = rollout.solved
            if graded.correct is None:
                crashes[graded.rule] += 1
        self._pending = []
        return crashes

    def close(self) -> None:
        self.verifier.close()


class RandomReward:
    """A coin for every rollout, whatever it says; `solved` by rule. The control that must not improve anything."""

    def __init__(self, rule: RuleReward, *, seed: int) -> None:
        self._rule, self._seed = rule, seed
        self._coins: list[tuple[Rollout, float]] = []

    def start(self, rollouts: Sequence[Rollout], problems: Sequence[Problem], *, policy: Policy) -> None:
        self._rule.start(rollouts, problems, policy=policy)
        group_size = len(rollouts) // max(len(problems), 1)
        for index, rollout in enumerate(rollouts):
            group, place = divmod(index, group_size)
            # not of what was said, and the same after a resume and on any number of ranks
            coin = random.Random(repr((self._seed, problems[group].id, place))).random() < 0.5
            self._coins.append((rollout, float(coin)))

    def finish(self) -> Counter[str]:
        crashes = self._rule.finish()
        for rollout, coin in self._coins:
            rollout.reward = coin
        self._coins = []
        return crashes

    def close(self) -> None:
        self._rule.close()


REWARDS = ("rule", "outcome", "process", "random")


def make_reward(settings: RewardSettings, *, device: torch.device) -> Reward:
    """The reward that `settings.reward` names; ConfigError where it is unknown or its model is not fit for it."""
    rule = RuleReward(
        boxed_only=settings.boxed_only, timeout_s=settings.grade_timeout_s, num_workers=settings.num_graders
    )
    if settings.reward == "rule":
        return rule
    if settings.reward == "random":
        return RandomReward(rule, seed=settings.seed)
    if settings.reward not in REWARDS:
        raise ConfigError(f"reward={settings.reward}: choose one of {', '.join(REWARDS)}")
    if not settings.reward_model:
        raise ConfigError(f"reward={settings.reward} needs reward_model: a folder made by rl/train_reward.py")
    value = load_value_model(settings.reward_model, device=device, precision=settings.precision, kind=settings.reward)
    kind = OutcomeReward if settings.reward == "outcome" else ProcessReward
    return kind(value, rule, token_budget=settings.micro_batch_tokens)


def overlong_penalty(length: int, max_new_tokens: int, *, buffer: int) -> float:
    """0 up to max_new_tokens - buffer tokens, then rising to 1 at max_new_tokens (DAPO, arXiv 2503.14476 Eq. 13)."""
    return min(1.0, max(0.0, (length - (max_new_tokens - buffer)) / buffer))
