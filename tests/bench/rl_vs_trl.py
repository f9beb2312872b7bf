"""GRPO steps, ours beside TRL's GRPOTrainer: the same model, weights, prompts, reward, group size, lengths and loss.

    python tests/bench/rl_vs_trl.py [--cases A,B,C,D,E] [--rounds 3] [--json]

    A  beta 0, a Llama of 128 x 4 layers, 64 words
    B  the same with the KL to a reference, beta .04
    C  as A, half of the prompts without signal: every sample gets the same reward
    D  as A with a vocabulary of 49,152
    E  the update alone of D: one recorded batch of rollouts, no sampling

A step is 8 prompts x 8 samples of at most 96 tokens, sampled at temperature 1 until an end token comes (about 46 on
average in A; with a large vocabulary an untrained model never ends, so that D and E have full lengths).
Each side runs in a process of its own, alternated over the rounds, one thread; the first step of a process is left
out, the median of the rounds counts. Seconds are per 1,000 sampled tokens: the sides draw other random numbers, and so
other lengths. `peak_rss_mb` is the process's own peak less what stood before the first step: interpreter, libraries,
weights. TRL takes the whole step as one batch, ours in micro-batches of 4,096 tokens.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from reports.rows import Row, as_json, print_rows
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rl.advantages import group_advantages
from rl.batches import Rollout, lengths, per_token
from rl.distributed import World
from rl.losses import Objective
from rl.policy import frozen_copy, load_policy
from rl.rollouts import NativeSampler, prompt_seed
from rl.schedule import OptimConfig, make_optimiser
from rl.updates import UpdateConfig, update_policy

PROMPTS, GROUP_SIZE, MAX_NEW_TOKENS, PROMPT_TOKENS = 8, 8, 96, 12
WARMUP_STEPS, STEPS = 1, 3
LR, EPSILON = 1e-4, 0.2
CPU = "cpu_s_per_1k_tokens"


@dataclass(frozen=True)
class Case:
    """What a comparison runs, and what it should come to."""

    title: str
    least_ratio: float
    num_words: int = 64
    beta: float = 0.0
    half_silent: bool = False
    update_only: bool = False


CASES = {
    "A": Case("A: beta 0", 1.4),
    "B": Case("B: beta .04", 1.8, beta=0.04),
    "C": Case("C: half without signal", 2.0, half_silent=True),
    "D": Case("D: 49k words", 2.5, num_words=49152),
    "E": Case("E: update alone, 49k words", 2.5, num_words=49152, update_only=True),
}


def write_model(folder: Path, num_words: int) -> None:
    """A Llama of 128 x 4 layers with random weights and a tokenizer of the words w0, w1, ..."""
    torch.manual_seed(0)
    words = {"<end>": 0, "<pad>": 1} | {f"w{index}": index for index in range(2, num_words)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>")
    config = LlamaConfig(
        vocab_size=num_words,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def prompt_ids(step: int) -> list[list[int]]:
    """The prompts of a step; the first word tells apart those without signal."""
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(2, 64, (PROMPTS, PROMPT_TOKENS), generator=generator)
    ids[:, 0] = torch.arange(PROMPTS) % 2 + 2
    return ids.tolist()


def reward_of(prompt: Sequence[int], completion: Sequence[int], *, half_silent: bool) -> float:
    """The share of even words, or 0 for every sample of a silent prompt."""
    if half_silent and prompt[0] == 2:
        return 0.0
    return sum(token % 2 == 0 for token in completion) / max(len(completion), 1)


def run_ours(case: Case, folder: Path) -> dict[str, Any]:
    policy = load_policy(folder, device=torch.device("cpu"))
    policy.model.eval()
    reference = frozen_copy(policy) if case.beta else None
    optimiser = make_optimiser(policy.model, OptimConfig(lr=LR, weight_decay=0.0))
    sampler = NativeSampler(policy)
    config = UpdateConfig(temperature=1.0, max_new_tokens=MAX_NEW_TOKENS, token_budget=4096)
    recorded: list[Rollout] = []

    def step(number: int) -> int:
        if case.update_only and recorded:
            rollouts = recorded
        else:
            prompts = prompt_ids(number)
            rollouts = sampler.sample(
                prompts,
                group_size=GROUP_SIZE,
                max_new_tokens=MAX_NEW_TOKENS,
                temperature=1.0,
                seeds=[prompt_seed(0, number, place) for place in range(PROMPTS)],
            )
            recorded[:] = rollouts
            for rollout in rollouts:
                rollout.reward = reward_of(rollout.prompt_ids, rollout.completion_ids, half_silent=case.half_silent)
        rewards = torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float64)
        update_policy(
            policy,
            rollouts,
            advantages=per_token(group_advantages(rewards, GROUP_SIZE), lengths(rollouts)),
            objective=Objective(loss="dapo", clip_low=EPSILON, clip_high=EPSILON, beta=case.beta),
            config=config,
            optimiser=optimiser,
            lr=LR,
            world=World(0, 1, torch.device("cpu")),
            reference=reference,
        )
        return sum(len(rollout.completion_ids) for rollout in rollouts)

    return timed(step)


def run_trl(case: Case, folder: Path) -> dict[str, Any]:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    steps = WARMUP_STEPS + STEPS
    prompts = [" ".join(f"w{token}" for token in ids) for step in range(steps) for ids in prompt_ids(step)]

    def reward(prompt_ids_of_rows: Any = None, **columns: Any) -> list[float]:
        rows = zip(columns["prompts"], columns["completion_ids"], strict=True)
        return [
            reward_of([int(word[1:]) for word in text.split()], ids, half_silent=case.half_silent) for text, ids in rows
        ]

    trainer = GRPOTrainer(
        model=LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32),
        processing_class=PreTrainedTokenizerFast.from_pretrained(folder),
        reward_funcs=reward,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        args=GRPOConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=PROMPTS * GROUP_SIZE,
            num_generations=GROUP_SIZE,
            max_completion_length=MAX_NEW_TOKENS,
            max_steps=steps,
            learning_rate=LR,
            lr_scheduler_type="constant",
            loss_type="dapo",
            epsilon=EPSILON,
            beta=case.beta,
            temperature=1.0,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            logging_steps=1000,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
    )
    trainer.create_optimizer()
    trainer.model.train()
    recorded: list[dict[str, Any]] = []

    def step(number: int) -> int:
        if case.update_only and recorded:
            inputs = recorded[0]
        else:
            rows = [{"prompt": text} for text in prompts[number * PROMPTS : (number + 1) * PROMPTS]]
            inputs = trainer._generate_and_score_completions([row for row in rows for _ in range(GROUP_SIZE)])
            recorded[:] = [inputs]
        trainer.current_gradient_accumulation_steps = 1
        loss = trainer.compute_loss(trainer.model, inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        return int(inputs["completion_mask"].sum())

    return timed(step)


def timed(step: Callable[[int], int]) -> dict[str, Any]:
    """CPU and wall seconds per 1,000 tokens, tokens a step, and the peak of memory that the steps added."""
    before = _resident_mb()
    for number in range(WARMUP_STEPS):
        step(number)
    cpu, wall = time.process_time(), time.perf_counter()
    tokens = [step(number) for number in range(WARMUP_STEPS, WARMUP_STEPS + STEPS)]
    return {
        CPU: (time.process_time() - cpu) / sum(tokens) * 1000,
        "wall_s_per_1k_tokens": (time.perf_counter() - wall) / sum(tokens) * 1000,
        "tokens": sum(tokens) / STEPS,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def run_side(side: str, case: str, folder: Path) -> dict[str, Any]:
    """One process; RuntimeError with the end of its output where it fails."""
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--cases", case, "--folder", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"{side}, case {case}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str, rounds: int) -> list[Row]:
    """CPU seconds, wall seconds and peak memory of a case."""
    case = CASES[name]
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "trl": []}
    with tempfile.TemporaryDirectory(prefix="rl_vs_trl-") as folder:
        write_model(Path(folder), case.num_words)
        for _ in range(rounds):
            for side in found:
                found[side].append(run_side(side, name, Path(folder)))
    rows = []
    for metric in (CPU, "wall_s_per_1k_tokens", "peak_rss_mb"):
        ours, theirs = (statistics.median(one[metric] for one in found[side]) for side in ("ours", "trl"))
        wanted = case.least_ratio if metric == CPU else 3.0 if case.update_only and metric == "peak_rss_mb" else None
        tokens = [statistics.mean(one["tokens"] for one in found[side]) for side in ("ours", "trl")]
        note = f"tokens a step {tokens[0]:.0f} and {tokens[1]:.0f}"
        rows.append(Row(case.title, metric, ours, "trl 1.16", theirs, theirs / ours, least_ratio=wanted, note=note))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.side:
        run = run_ours if arguments.side == "ours" else run_trl
        print(json.dumps(run(CASES[arguments.cases], arguments.folder)))
        return 0
    rows = [row for name in arguments.cases.split(",") for row in compare(name, arguments.rounds)]
    if arguments.json:
        print(json.dumps({"rows": as_json(rows)}))
    else:
        print_rows(Console(), "A GRPO step beside TRL's", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
