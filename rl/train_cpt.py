"""Continued pre-training: a mix of corpora -> a base model (DeepSeekMath 2.2 and 2.3).

Any Hugging Face causal LM goes on from its folder (--model), or a small Llama is made from nothing (--tiny.*).
Documents are packed into blocks with the end token between them; AdamW with the paper's multi-step schedule.
Left out of the paper: sharded training (parameters are replicated on each rank), and the code, arXiv and general
corpora of its 500B mix, which are yours to name: --corpora corpus=.56,algebraic_stack=.04,arxiv=.1,code=.2,web=.1

    python rl/train_cpt.py --config configs/rl/cpt.yaml --corpora runs/demo/corpus --out_dir models/base
    torchrun --nproc-per-node 2 rl/train_cpt.py --config configs/rl/cpt.yaml --corpora runs/demo/corpus
"""

import logging
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rl import distributed
from rl.batches import Example
from rl.checkpoint import fingerprint, is_done, open_checkpoint, restore, save_checkpoint
from rl.corpus import BlockStream, parse_corpora, parse_where, tokenizer_texts
from rl.distributed import World
from rl.errors import ConfigError
from rl.metrics import MetricsLog, write_json
from rl.policy import (
    Policy,
    TinyModelConfig,
    accumulate_nll,
    load_policy,
    load_tokenizer,
    make_policy,
    save_policy,
    train_tokenizer,
)
from rl.schedule import OptimConfig, check_optim, learning_rate, make_optimiser, optimiser_step
from rl.settings import as_dict, launch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CptConfig:
    """Settings of a pre-training run."""

    corpora: str = ""
    """PATH[=WEIGHT],...: folders of Parquet tables with a text column; weights are shares of the tokens."""
    where: str = ""
    """Rows to keep, as column=value|value,... (language=en|zh); empty keeps all."""
    model: str = ""
    """Hugging Face folder to go on from; empty makes a small model from `tiny`."""
    tiny: TinyModelConfig = field(default_factory=TinyModelConfig)
    """The small model, where `model` is empty."""
    tokenizer: str = ""
    """Folder of the small model's tokenizer; empty trains one on the corpora."""
    vocab_size: int = 2048
    """Entries of a tokenizer trained here."""
    block_size: int = 128
    """Tokens a block."""
    batch_size: int = 8
    """Blocks an optimiser step, over all ranks."""
    num_steps: int = 2200
    """Optimiser steps; tokens seen = num_steps x batch_size x block_size."""
    micro_batch_tokens: int = 16384
    """Most tokens in one forward pass; changes memory and speed, not the result."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=4e-3, warmup_steps=30))
    """Optimiser and schedule."""
    seed: int = 0
    """Draws the small model's weights and the order of the documents."""
    precision: str = "float32"
    """float32, or bfloat16 for the forward pass under autocast."""
    device: str = "auto"
    """auto, cpu or cuda."""
    num_threads: int = 1
    """CPU threads of torch; 0 leaves its own choice. More than one rarely helps small models."""
    out_dir: str = "models/base"
    """Gets model/ (Hugging Face folder), metrics.jsonl, summary.json and checkpoint.pt."""
    resume: bool = True
    """Go on from out_dir's checkpoint when it is of the same settings."""
    save_every: int = 600
    """Steps between checkpoints."""
    log_every: int = 200
    """Steps between console lines."""
    stop_after: int = 0
    """Stop (with a checkpoint) when this step is reached; 0 runs to the end. For queues with a time limit."""


def main(settings: CptConfig) -> None:
    check_optim(settings.optim)
    if settings.block_size < 2 or settings.batch_size < 1 or settings.num_steps < 1:
        raise ConfigError("block_size must be at least 2, batch_size and num_steps at least 1")
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = _policy(settings, world)
    if settings.block_size > policy.max_length:
        raise ConfigError(f"block_size={settings.block_size}: the model takes at most {policy.max_length} tokens")
    specs, where, out_dir = parse_corpora(settings.corpora), parse_where(settings.where), Path(settings.out_dir)
    stream = BlockStream(specs, policy, block_size=settings.block_size, where=where, seed=settings.seed)
    inputs = [settings.model, settings.tokenizer, *(str(spec.path) for spec in specs)]
    plain = as_dict(settings) | {"inputs": fingerprint(inputs)}
    optimiser = make_optimiser(policy.model, settings.optim)
    step = 0
    if state := open_checkpoint(out_dir, plain, resume=settings.resume):
        step, cursor = restore(state, model=policy.model, optimiser=optimiser)
        stream.seek(cursor)
        logger.info("going on from step %d of %s", step, out_dir)
    if is_done(out_dir, step, num_steps=settings.num_steps):
        distributed.stop(world)
        return
    metrics = MetricsLog(out_dir, first_step=step, active=world.is_main)
    num_parameters = sum(parameter.numel() for parameter in policy.model.parameters())
    tokens_a_step = settings.batch_size * settings.block_size
    logger.info("%d parameters, %d tokens a step", num_parameters, tokens_a_step)

    policy.model.train()
    started, end = time.perf_counter(), settings.stop_after or settings.num_steps
    while step < min(end, settings.num_steps):
        step_started = time.perf_counter()
        # every rank draws every block and keeps its own: the stream is the same for any number of ranks
        blocks = [stream.next_block() for _ in range(settings.batch_size)]
        rows = [Example(block[:1], block[1:]) for block in blocks[world.rank :: world.size]]
        loss = accumulate_nll(
            policy,
            rows,
            num_tokens=tokens_a_step,
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
                "tokens": step * tokens_a_step,
                "epoch": max(stream.epochs()),
                "tokens_per_s": tokens_a_step / (time.perf_counter() - step_started),
            },
            show=step % settings.log_every == 0 or step == settings.num_steps,
        )
        if world.is_main and (step % settings.save_every == 0 or step == end):
            cursor = stream.cursor()
            save_checkpoint(out_dir, step=step, model=policy.model, optimiser=optimiser, settings=plain, cursor=cursor)
    if world.is_main and step == settings.num_steps:
        save_policy(policy, out_dir / "model")
        summary = {"settings": plain, "parameters": num_parameters, "tokens": step * tokens_a_step}
        seconds = round(time.perf_counter() - started, 2)
        write_json(out_dir / "summary.json", summary | {"epochs": stream.epochs(), "seconds": seconds})
        logger.info("model in %s", out_dir / "model")
    distributed.stop(world)


def _policy(settings: CptConfig, world: World) -> Policy:
    """The policy to train, the same on every rank."""
    if settings.model:
        return load_policy(settings.model, device=world.device, precision=settings.precision)
    if settings.tokenizer:
        tokenizer = load_tokenizer(settings.tokenizer)
    elif world.size > 1:
        raise ConfigError("several ranks need one tokenizer: make it with rl/train_tokenizer.py, give --tokenizer")
    else:
        texts = tokenizer_texts(parse_corpora(settings.corpora), where=parse_where(settings.where), max_bytes=5_000_000)
        tokenizer = train_tokenizer(texts, vocab_size=settings.vocab_size)
    return make_policy(settings.tiny, tokenizer, seed=settings.seed, device=world.device, precision=settings.precision)


if __name__ == "__main__":
    sys.exit(launch(main, CptConfig))
