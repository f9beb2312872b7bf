"""Supervised fine-tuning: problems with worked solutions -> a model that answers (DeepSeekMath 3).

The loss is the mean negative log-likelihood over all solution tokens of the step, prompts unscored.
Left out of the paper: random concatenation of examples to 4K tokens (rows are batched by length instead, which
costs no padding and mixes no examples), and tool-integrated solutions.

    python rl/train_sft.py --config configs/rl/sft.yaml --model models/base/model --data data/problems/sft.jsonl
    torchrun --nproc-per-node 2 rl/train_sft.py --config configs/rl/sft.yaml --model models/base/model --data D
"""

import logging
import sys
import time
from dataclasses import dataclass, field

from rl import distributed
from rl.batches import Example, indices_of_step, lengths, token_weights
from rl.chat import check_template, completion, prompt
from rl.errors import ConfigError
from rl.policy import Policy, accumulate_nll, load_policy
from rl.problems import Problem, read_problems
from rl.schedule import OptimConfig, make_optimiser, optimiser_step
from rl.settings import launch
from rl.training_run import RunConfig, TrainingRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SftConfig(RunConfig):
    """Settings of a fine-tuning run."""

    model: str = "models/base/model"
    """Hugging Face folder to start from."""
    data: str = ""
    """FILE[,FILE] of JSON lines with question, solution, answer and language."""
    template: str = "textbook"
    """textbook (question, "Solution."), plain (question, line break) or deepseek (the paper's chat form)."""
    num_steps: int = 1700
    batch_size: int = 8
    """Examples an optimiser step, over all ranks."""
    max_length: int = 256
    """Examples longer than this in tokens are left out, and counted."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=3e-3, schedule="cosine"))
    """Optimiser and schedule (the paper: constant 5e-5)."""
    out_dir: str = "models/sft"
    log_every: int = 250


def main(settings: SftConfig) -> None:
    check_template(settings.template)
    problems = read_problems(settings.data, need_solution=True)
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    examples = encode_examples(policy, problems, settings)
    optimiser = make_optimiser(policy.model, settings.optim)
    states = {"model": policy.model, "optimiser": optimiser}
    run = TrainingRun(settings, world, inputs=[settings.model, *settings.data.split(",")], states=states)

    policy.model.train()
    while run.goes_on:
        step_started = time.perf_counter()
        chosen = indices_of_step(len(examples), run.step, batch_size=settings.batch_size, seed=settings.seed)
        rows = [examples[index] for index in chosen]
        num_tokens = int(lengths(rows).sum())
        mine = rows[world.rank :: world.size]
        loss = accumulate_nll(
            policy,
            mine,
            weights=token_weights(lengths(mine), num_tokens=num_tokens),
            token_budget=settings.micro_batch_tokens,
            device=world.device,
        )
        loss = distributed.total(world, [loss])[0]
        distributed.sum_gradients(world, policy.model)
        norm = optimiser_step(policy.model, optimiser, lr=run.lr, max_grad_norm=settings.optim.max_grad_norm)
        run.finish_step(
            {
                "nll": loss,
                "grad_norm": norm,
                "epoch": (run.step + 1) * settings.batch_size / len(examples),
                "tokens_per_s": num_tokens / (time.perf_counter() - step_started),
            }
        )
    run.finish(policy, examples=len(examples))


def encode_examples(policy: Policy, problems: list[Problem], settings: SftConfig) -> list[Example]:
    """Prompts and solutions as tokens, the end token after each solution; those that are too long left out."""
    prompts = policy.encode([prompt(p.question, template=settings.template, language=p.language) for p in problems])
    solutions = policy.encode([completion(p.solution, template=settings.template) for p in problems])
    max_length = min(settings.max_length, policy.max_length)
    examples = [
        Example(question, [*solution, policy.tokenizer.eos_token_id])
        for question, solution in zip(prompts, solutions, strict=True)
        if len(question) + len(solution) < max_length
    ]
    if not examples:
        raise ConfigError(f"max_length={max_length}: every example of {settings.data} is longer")
    logger.info("%d examples, %d left out as too long", len(examples), len(problems) - len(examples))
    return examples


if __name__ == "__main__":
    sys.exit(launch(main, SftConfig))
