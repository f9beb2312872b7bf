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

from rl import distributed
from rl.batches import Example, lengths, token_weights
from rl.corpus import BlockStream, parse_corpora, parse_where, tokenizer_texts
from rl.distributed import World
from rl.errors import ConfigError
from rl.policy import (
    Policy,
    TinyModelConfig,
    accumulate_nll,
    load_policy,
    load_tokenizer,
    make_policy,
    train_tokenizer,
)
from rl.schedule import OptimConfig, make_optimiser, optimiser_step
from rl.settings import launch
from rl.training_run import RunConfig, TrainingRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CptConfig(RunConfig):
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
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=2e-3, warmup_steps=100))
    out_dir: str = "models/base"
    save_every: int = 600
    log_every: int = 200


def main(settings: CptConfig) -> None:
    if settings.block_size < 2 or settings.batch_size < 1:
        raise ConfigError("block_size must be at least 2, batch_size at least 1")
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = _policy(settings, world)
    if settings.block_size > policy.max_length:
        raise ConfigError(f"block_size={settings.block_size}: the model takes at most {policy.max_length} tokens")
    specs, where = parse_corpora(settings.corpora), parse_where(settings.where)
    stream = BlockStream(specs, policy, block_size=settings.block_size, where=where, seed=settings.seed)
    inputs = [settings.model, settings.tokenizer, *(str(spec.path) for spec in specs)]
    optimiser = make_optimiser(policy.model, settings.optim)
    run = TrainingRun(settings, world, inputs=inputs, states={"model": policy.model, "optimiser": optimiser})
    if run.cursor:
        stream.seek(run.cursor)
    num_parameters = sum(parameter.numel() for parameter in policy.model.parameters())
    tokens_a_step = settings.batch_size * settings.block_size
    logger.info("%d parameters, %d tokens a step", num_parameters, tokens_a_step)

    policy.model.train()
    while run.goes_on:
        step_started = time.perf_counter()
        # every rank draws every block and keeps its own: the stream is the same for any number of ranks
        blocks = [stream.next_block() for _ in range(settings.batch_size)]
        rows = [Example(block[:1], block[1:]) for block in blocks[world.rank :: world.size]]
        loss = accumulate_nll(
            policy,
            rows,
            weights=token_weights(lengths(rows), num_tokens=tokens_a_step),
            token_budget=settings.micro_batch_tokens,
            device=world.device,
        )
        loss = distributed.total(world, [loss])[0]
        distributed.sum_gradients(world, policy.model)
        norm = optimiser_step(policy.model, optimiser, lr=run.lr, max_grad_norm=settings.optim.max_grad_norm)
        values = {
            "nll": loss,
            "grad_norm": norm,
            "tokens": (run.step + 1) * tokens_a_step,
            "epoch": max(stream.epochs()),
            "tokens_per_s": tokens_a_step / (time.perf_counter() - step_started),
        }
        run.finish_step(values, cursor=stream.cursor)
    run.finish(policy, parameters=num_parameters, tokens=run.step * tokens_a_step, epochs=stream.epochs())


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
