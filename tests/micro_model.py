"""A model of a few thousand random weights, a problem file, and a reward that such a model does meet."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from toy_problems import word_problem

from rl.batches import Rollout
from rl.policy import Policy, TinyModelConfig, make_policy, save_policy, train_tokenizer
from rl.problems import Problem

TINY = TinyModelConfig(hidden_size=16, num_layers=1, num_heads=2, max_length=256)


def write_problems(path: Path, *, count: int = 40) -> Path:
    """`count` word problems, English and Chinese by turns, as JSON lines."""
    rng = random.Random(0)
    problems = [word_problem(rng, ("en", "zh")[i % 2]) for i in range(count)]
    lines = [json.dumps({"id": str(i)} | vars(problem), ensure_ascii=False) for i, problem in enumerate(problems)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_model(folder: Path, problems: Path) -> Path:
    """A Hugging Face folder with random weights and a tokenizer of the problems' texts."""
    texts = [json.loads(line)["solution"] for line in problems.read_text(encoding="utf-8").splitlines()]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    return save_policy(make_policy(TINY, tokenizer, seed=1, device=torch.device("cpu")), folder)


class LengthReward:
    """1 for an odd number of characters: an untrained model solves nothing, but this gives its samples a signal."""

    def __init__(self) -> None:
        self._started: list[tuple[Policy, Rollout]] = []

    def start(self, rollouts: Sequence[Rollout], problems: Sequence[Problem], *, policy: Policy) -> None:
        self._started += [(policy, rollout) for rollout in rollouts]

    def finish(self) -> Counter[str]:
        for policy, rollout in self._started:
            rollout.reward = float(len(policy.decode(rollout.completion_ids)) % 2)
        self._started = []
        return Counter()

    def close(self) -> None:
        pass
