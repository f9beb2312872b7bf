"""A reward model that follows the policy: at the start of an iteration it goes on training (DeepSeekMath Algorithm 1).

"the reward model is continually trained with a replay mechanism that incorporates 10% of historical data" (4.1.4).
What the paper leaves open, and is a setting here: how many problems are sampled, how many updates, at what rate.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist

from rl.batches import indices_of_step
from rl.distributed import World
from rl.errors import ConfigError
from rl.heads import ValueModel
from rl.questions import Questions
from rl.reward_fit import LessonConfig, check_lessons, draw_lessons, fit_step, judge, lessons_of
from rl.samples import Attempts, Source, as_plain, from_plain
from rl.schedule import OptimConfig, make_optimiser

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenewalConfig:
    """How a reward model goes on training when an iteration begins (DeepSeekMath Algorithm 1)."""

    num_problems: int = 256
    """Problems sampled with the present policy, over all ranks."""
    num_steps: int = 50
    """Updates of the reward model."""
    batch_size: int = 32
    """Lessons an update, over all ranks."""
    lr: float = 3e-4
    """Constant learning rate."""
    replay_share: float = 0.1
    """Share of old lessons in each update (the paper: a tenth)."""
    lessons: LessonConfig = field(default_factory=LessonConfig)
    """How samples become lessons."""


class RewardRenewal:
    """Goes on training a reward model on the present policy's samples; its state goes into the run's checkpoint.

    `history` are samples from before: those of rl/train_reward.py (`samples.read_samples`); every renewal adds its own.
    """

    # problems; bounds the checkpoint: a tenth of some dozens of updates needs no more to choose from
    max_history = 256

    def __init__(
        self,
        value: ValueModel,
        settings: RenewalConfig,
        *,
        history: Sequence[Attempts] = (),
        token_budget: int,
        seed: int,
        world: World,
    ) -> None:
        check_lessons(settings.lessons, value.model.kind)
        if not 0 <= settings.replay_share < 1:
            raise ConfigError(f"renewal.replay_share={settings.replay_share}: at least 0 and below 1")
        for name in ("num_problems", "num_steps", "batch_size"):
            if getattr(settings, name) < 1:
                raise ConfigError(f"renewal.{name}={getattr(settings, name)}: at least 1")
        self.value, self.settings = value, settings
        self._token_budget, self._seed, self._world = token_budget, seed, world
        self._optimiser = make_optimiser(value.model, OptimConfig(lr=settings.lr, weight_decay=0.0))
        self._history = self._bounded(history, round_number=0)
        logger.info("reward model follows the policy; %d old problems to replay from", len(self._history))

    def renew(self, source: Source, questions: Questions, *, round_number: int) -> dict[str, float]:
        """Samples, labels, updates; returns what to log. round_number: from 1, of the renewal within the run.

        auc_before and auc_after are over the new samples, before and after they were trained on.
        """
        settings, world, kind = self.settings, self._world, self.value.model.kind
        size = min(settings.num_problems, len(questions.prompts))
        drawn = indices_of_step(len(questions.prompts), round_number, batch_size=size, seed=self._seed)
        places = list(dict.fromkeys(drawn))  # where one pass ends and the next begins, a problem can come twice
        source.sampler.sync(source.policy)
        own = draw_lessons(
            source,
            questions,
            places[world.rank :: world.size],
            kind=kind,
            config=settings.lessons,
            round_number=round_number,
        )
        new = _gathered(world, own)
        before = judge(self.value, new, config=settings.lessons, token_budget=self._token_budget)["auc"]
        loss = self._fit(new, round_number=round_number)
        after = judge(self.value, new, config=settings.lessons, token_budget=self._token_budget)["auc"]
        self._history = self._bounded([*self._history, *new], round_number=round_number)
        return {"renewal_auc_before": before, "renewal_auc_after": after, "renewal_loss": loss}

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.value.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "history": [as_plain(one) for one in self._history],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.value.model.load_state_dict(state_dict["model"])
        self._optimiser.load_state_dict(state_dict["optimiser"])
        self._history = [from_plain(values) for values in state_dict["history"]]

    def _fit(self, new: Sequence[Attempts], *, round_number: int) -> float:
        """The mean loss of the updates; NaN where the new samples hold no lesson (nothing is trained then)."""
        settings, kind = self.settings, self.value.model.kind
        seed = self._seed + round_number
        fresh = lessons_of(new, kind=kind, config=settings.lessons, seed=seed)
        old = lessons_of(self._history, kind=kind, config=settings.lessons, seed=seed)
        if not fresh:
            return float("nan")
        num_old = round(settings.replay_share * settings.batch_size) if old else 0
        loss = 0.0
        for step in range(settings.num_steps):
            num_new = settings.batch_size - num_old
            chosen = [fresh[i] for i in indices_of_step(len(fresh), step, batch_size=num_new, seed=seed)]
            if num_old:
                chosen += [old[i] for i in indices_of_step(len(old), step, batch_size=num_old, seed=seed)]
            loss += fit_step(
                self.value,
                chosen,
                config=settings.lessons,
                optimiser=self._optimiser,
                lr=settings.lr,
                max_grad_norm=1.0,
                token_budget=self._token_budget,
                world=self._world,
            )["loss"]
        self.value.model.eval()
        return loss / settings.num_steps

    def _bounded(self, attempts: Sequence[Attempts], *, round_number: int) -> list[Attempts]:
        if len(attempts) <= self.max_history:
            return list(attempts)
        return random.Random(f"{self._seed} {round_number}").sample(list(attempts), self.max_history)


def _gathered(world: World, attempts: Sequence[Attempts]) -> list[Attempts]:
    """The attempts of all ranks, in an order that no number of ranks changes."""
    parts: list[Any] = [list(attempts)]
    if world.size > 1:
        parts = [None] * world.size
        dist.all_gather_object(parts, list(attempts))
    return sorted((one for part in parts for one in part), key=lambda one: one.place)
