"""Trained rewards: a score of the whole solution, or of each of its steps (DeepSeekMath 4.1.2 and 4.1.3).

Scores are computed for all of a step's rollouts together, without gradient, in micro-batches of a token budget. The
rule grades as well: its verdict is `solved`, so that the metrics show what the score is worth.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl.batches import Rollout, Row, lengths, micro_batches
from rl.errors import ConfigError
from rl.heads import ValueModel, token_scores
from rl.policy import Policy
from rl.problems import Problem
from rl.solution_steps import step_ends

if TYPE_CHECKING:
    from rl.rewards import Reward


class OutcomeReward:
    """The reward is the reward model's score at the completion's last token, any real number.

    Only differences within a problem mean anything (it was trained on pairs of one problem): what standardisation
    within the group keeps.
    """

    def __init__(self, value: ValueModel, rule: "Reward", *, token_budget: int) -> None:
        self.value, self.rule, self.token_budget = value, rule, token_budget
        self._rollouts: list[Rollout] = []
        self._reads_same_tokens = False

    def start(self, rollouts: Sequence[Rollout], problems: Sequence[Problem], *, policy: Policy) -> None:
        if not self._reads_same_tokens:
            check_tokenizer(self.value, policy)
            self._reads_same_tokens = True
        self.rule.start(rollouts, problems, policy=policy)
        self._rollouts += rollouts

    def finish(self) -> Counter[str]:
        rollouts, self._rollouts = self._rollouts, []
        rewards = self._judge(rollouts)  # while the graders work
        crashes = self.rule.finish()
        for rollout, reward in zip(rollouts, rewards, strict=True):
            rollout.reward = reward
        return crashes

    def close(self) -> None:
        self.rule.close()

    def _judge(self, rollouts: Sequence[Rollout]) -> list[float]:
        ends = [[len(rollout.completion_ids) - 1] for rollout in rollouts]
        return [float(scores[0]) for scores in scores_at(self.value, rollouts, ends, token_budget=self.token_budget)]


class ProcessReward(OutcomeReward):
    """`step_rewards` are the probabilities, by the reward model, that a solution can still end right after each step.

    `reward` is their minimum, by which Math-Shepherd ranks solutions (arXiv 2312.08935, 3.4).
    """

    def __init__(self, value: ValueModel, rule: "Reward", *, token_budget: int) -> None:
        super().__init__(value, rule, token_budget=token_budget)
        self._ends: list[list[int]] = []

    def start(self, rollouts: Sequence[Rollout], problems: Sequence[Problem], *, policy: Policy) -> None:
        super().start(rollouts, problems, policy=policy)
        self._ends += [step_ends(rollout.completion_ids, policy.decode) for rollout in rollouts]

    def _judge(self, rollouts: Sequence[Rollout]) -> list[float]:
        ends, self._ends = self._ends, []
        found = scores_at(self.value, rollouts, ends, token_budget=self.token_budget)
        for rollout, places, scores in zip(rollouts, ends, found, strict=True):
            rollout.step_rewards = list(zip(places, scores.sigmoid().tolist(), strict=True))
        return [float(scores.sigmoid().min()) for scores in found]


@torch.no_grad()
def scores_at(value: ValueModel, rows: Sequence[Row], ends: Sequence[Sequence[int]], token_budget: int) -> list[Tensor]:
    """The model's numbers at the given places of each row's completion, one float64 tensor on the CPU a row."""
    if not rows:
        return []
    device = value.model.head.weight.device
    was_training = value.model.training
    value.model.eval()
    chosen = marked(rows, ends)
    flat = torch.zeros(len(chosen), dtype=torch.float64)
    for batch in micro_batches(rows, token_budget=token_budget, pad_id=value.pad_id):
        here = chosen[batch.flat]
        flat[batch.flat[here]] = token_scores(value, batch.to(device), here.to(device)).double().cpu()
    value.model.train(was_training)
    return list(flat[chosen].split([len(places) for places in ends]))


def marked(rows: Sequence[Row], ends: Sequence[Sequence[int]]) -> Tensor:
    """Where the given places of the rows' completions are in the flat token vector, (T,) bool."""
    row_lengths = lengths(rows)
    starts = (row_lengths.cumsum(0) - row_lengths).tolist()
    found = torch.zeros(int(row_lengths.sum()), dtype=torch.bool)
    found[[start + end for start, places in zip(starts, ends, strict=True) for end in places]] = True
    return found


def check_tokenizer(value: ValueModel, policy: Policy) -> None:
    """Raises ConfigError unless the reward model reads token ids as the policy writes them."""
    if value.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ConfigError(
            f"reward model of {len(value.tokenizer)} tokens, policy of {len(policy.tokenizer)}: they must share one "
            "tokenizer; train the reward model from the policy's own folder (rl/train_reward.py --model)"
        )
