"""A micro model that really samples right and wrong solutions, in seconds: it takes a digit and boxes it.

Fine-tuned on solutions that take 1, 2 or 3 alike; the problems' answer is always 1, so a third of its samples is right,
the first step decides, and both a reward model and DPO have something to find out.
"""

import json
import random
from pathlib import Path

import torch

from rl import train_sft
from rl.policy import TinyModelConfig, make_policy, save_policy, train_tokenizer
from rl.schedule import OptimConfig

NAMES = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ida", "Jo"]


def question(name: str, language: str) -> str:
    return f"Take a digit, {name}." if language == "en" else f"取一个数字，{name}。"


def solution(digit: int, language: str) -> str:
    if language == "en":
        return f"We take {digit}. The answer is \\boxed{{{digit}}}."
    return f"先取{digit}。答案是\\boxed{{{digit}}}。"


def make_digit_policy(folder: Path) -> tuple[Path, Path]:
    """A Hugging Face folder and a file of 20 problems, made under `folder`."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    kinds = [(name, language) for name in NAMES for language in ("en", "zh")]
    rows = [
        {"question": question(name, language), "solution": solution(digit, language), "language": language}
        | {"answer": str(digit)}
        for name, language in kinds
        for digit in (1, 2, 3)
    ]
    rng.shuffle(rows)
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "sft.jsonl").write_text(lines)
    problems = [
        {"id": str(number), "question": question(name, language), "answer": "1", "language": language}
        for number, (name, language) in enumerate(kinds)
    ]
    (folder / "problems.jsonl").write_text("\n".join(json.dumps(problem) for problem in problems))
    tokenizer = train_tokenizer([row["question"] + " " + row["solution"] for row in rows], vocab_size=300)
    config = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=2, max_length=128)
    base = make_policy(config, tokenizer, seed=0, device=torch.device("cpu"))
    save_policy(base, folder / "base")
    train_sft.main(
        train_sft.SftConfig(
            model=str(folder / "base"),
            data=str(folder / "sft.jsonl"),
            num_steps=150,
            optim=OptimConfig(lr=1e-2, schedule="cosine", warmup_steps=5),
            out_dir=str(folder / "sft"),
        )
    )
    return folder / "sft" / "model", folder / "problems.jsonl"
