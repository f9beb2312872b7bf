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
from pathlib import Path

from rl import distributed
from rl.batches import Example, indices_of_step, lengths
from rl.chat import check_template, completion, prompt
from rl.checkpoint import fingerprint, is_done, open_checkpoint, restore, save_checkpoint
from rl.errors import ConfigError
from rl.metrics import MetricsLog, write_json
from rl.policy import Policy, accumulate_nll, load_policy, save_policy
from rl.problems import Problem, read_problems
from rl.schedule import OptimConfig, check_optim, learning_rate, make_optimiser, optimiser_step
from rl.settings import as_dict, launch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SftConfig:
    """Settings of a fine-tuning run."""

    model: str = "models/base/model"
    """Hugging Face folder to start from."""
    data: str = ""
    """FILE[,FILE] of JSON lines with question, solution, answer and language."""
    template: str = "textbook"
    """textbook (question, "Solution."), plain (question, line break) or deepseek (the paper's chat form)."""
    num_steps: int = 1700
    """Optimiser steps."""
    batch_size: int = 8
    """Examples an optimiser step, over all ranks."""
    max_length: int = 256
    """Examples longer than this in tokens are left out, and counted."""
    micro_batch_tokens: int = 16384
    """Most tokens (with padding) in one forward pass; changes memory and speed, not the result."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=3e-3, schedule="cosine"))
    """Optimiser and schedule (the paper: constant 5e-5)."""
    seed: int = 0
    """Draws the order of the examples."""
    precision: str = "float32"
    """float32, or bfloat16 for the forward pass under autocast."""
    device: str = "auto"
    """auto, cpu or cuda."""
    num_threads: int = 1
    """CPU threads of torch; 0 leaves its own choice."""
    out_dir: str = "models/sft"
    """Gets model/ (Hugging Face folder), metrics.jsonl, summary.json and checkpoint.pt."""
    resume: bool = True
    """Go on from out_dir's checkpoint when it is of the same settings."""
    save_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 250
    """Steps between console lines."""
    stop_after: int = 0
    """Stop (with a checkpoint) when this step is reached; 0 runs to the end."""


def main(settings: SftConfig) -> None:
    check_optim(settings.optim)
    check_template(settings.template)
    problems = read_problems(settings.data, need_solution=True)
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    examples = encode_examples(policy, problems, settings)
    out_dir = Path(settings.out_dir)
    plain = as_dict(settings) | {"inputs": fingerprint([settings.model, *settings.data.split(",")])}
    optimiser = make_optimiser(policy.model, settings.optim)
    step = 0
    if state := open_checkpoint(out_dir, plain, resume=settings.resume):
        step, _ = restore(state, model=policy.model, optimiser=optimiser)
        logger.info("going on from step %d of %s", step, out_dir)
    if is_done(out_dir, step, num_steps=settings.num_steps):
        distributed.stop(world)
        return
    metrics = MetricsLog(out_dir, first_step=step, active=world.is_main)

    policy.model.train()
    started, end = time.perf_counter(), settings.stop_after or settings.num_steps
    while step < min(end, settings.num_steps):
        step_started = time.perf_counter()
        chosen = indices_of_step(len(examples), step, batch_size=settings.batch_size, seed=settings.seed)
        rows = [examples[index] for index in chosen]
        num_tokens = int(lengths(rows).sum())
        loss = accumulate_nll(
            policy,
            rows[world.rank :: world.size],
            num_tokens=num_tokens,
            token_budget=settings.micro_batch_tokens,
            device=world.device,
        )
        loss = distributed.total(world, [loss])[0]
        distributed.sum_gradients(world, policy.model)
        lr = learning_rate(step, settings.optim, num_steps=settings.num_steps)
        norm = optimiser_step(policy.model, optimiser, lr=lr, max_grad_norm=settings.optim.max_grad_norm)
        step += 1
        metrics.write(
            step,
            {
                "nll": loss,
                "lr": lr,
                "grad_norm": norm,
                "epoch": step * settings.batch_size / len(examples),
                "tokens_per_s": num_tokens / (time.perf_counter() - step_started),
            },
            show=step % settings.log_every == 0 or step == settings.num_steps,
        )
        if world.is_main and (step % settings.save_every == 0 or step == end):
            save_checkpoint(out_dir, step=step, model=policy.model, optimiser=optimiser, settings=plain)
    if world.is_main and step == settings.num_steps:
        save_policy(policy, out_dir / "model")
        seconds = round(time.perf_counter() - started, 2)
        write_json(out_dir / "summary.json", {"settings": plain, "examples": len(examples), "seconds": seconds})
        logger.info("model in %s", out_dir / "model")
    distributed.stop(world)


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
