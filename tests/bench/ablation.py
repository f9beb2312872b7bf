"""Which method gains what from a saturated start, at equal rollouts: the comparison of DeepSeekMath's section 5.2.

    python tests/bench/ablation.py --work_dir runs/ablation [--seeds 5] [--methods sft+,grpo,...] [--json]

The task: word problems of one to three steps with \\boxed{} answers, English and Chinese, a tiny Llama, one core. For
each seed a tokenizer and a start, fine-tuned on few demonstrations until more fine-tuning does not help (sft+ is the
control that shows it). From that start every method is given the same number of samples of many other problems and
its own learning rate, the better one on development problems with the first seed. Then held-out problems: pass@1,
maj@16 and pass@16 of 16 samples at temperature 1, with 95% intervals of the paired difference to the start by a
bootstrap over problems, the problem's seeds together.

Not equal in samples: dapo, which samples others for groups without signal (up to four times as many), and grpo-process,
whose reward model is trained on as many samples again and eight completions of every step of them; its seconds count
that training too.

Two controls: random rewards, which must not help, and no advantage at all, which must leave the weights as they are.
Every training and evaluation is kept under --work_dir and not done again: stop it at any time and go on by the same
line. A seed takes about 35 minutes of a core, the choice of the rates as long once.
"""

import argparse
import json
import logging
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from rl.estimates import bootstrap_interval, mean
from rl.metrics import write_json
from rl.policy import TinyModelConfig, load_policy, make_policy, save_policy, train_tokenizer
from rl.problems import Problem, read_problems
from rl.run_eval import EvalConfig, evaluate

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
NUM_DEMONSTRATIONS, NUM_DEVELOPMENT, NUM_HELD_OUT = 1000, 200, 300
SFT_STEPS, MORE_SFT_STEPS = 6000, 600
STEPS, PROMPTS_PER_STEP, GROUP_SIZE = 250, 16, 8
K = 16
ROLLOUTS = STEPS * PROMPTS_PER_STEP * GROUP_SIZE
SAMPLED_PROBLEMS = STEPS * PROMPTS_PER_STEP
ON_LINE = ["--num_steps", STEPS, "--prompts_per_step", PROMPTS_PER_STEP, "--group_size", GROUP_SIZE]
OFF_LINE = ["--group_size", GROUP_SIZE]
QUIET = ["--log_every", 1000, "--save_every", 1000]


@dataclass(frozen=True)
class Method:
    """One line of the table: an entry of rl/ and its settings."""

    script: str
    arguments: tuple[object, ...]
    rates: tuple[float, ...]
    """Learning rates to choose from; one is not chosen."""
    data: str = "problems"
    """The entry's setting that names its data file."""


RL_RATES = (1e-4, 3e-4)  # 1e-3 destroyed every one of them
METHODS = {
    "sft+": Method("train_sft.py", ("--num_steps", MORE_SFT_STEPS), (3e-4, 1e-3, 3e-3), data="data"),
    "rft": Method("train_rft.py", (*OFF_LINE, "--num_steps", 300), (3e-4, 1e-3, 3e-3)),
    "online-rft": Method("train_rft.py", (*ON_LINE, "--online", "true"), RL_RATES),
    "dpo": Method("train_dpo.py", (*OFF_LINE, "--num_steps", 300), (1e-5, 3e-5)),
    "ppo-1": Method("train_ppo.py", (*ON_LINE,), RL_RATES),
    "ppo-.95": Method("train_ppo.py", (*ON_LINE, "--gae_lambda", 0.95), RL_RATES),
    "grpo": Method("train_grpo.py", (*ON_LINE,), RL_RATES),
    "grpo-process": Method("train_grpo.py", (*ON_LINE, "--reward", "process"), RL_RATES),
    "dr_grpo": Method("train_grpo.py", (*ON_LINE, "--objective.loss", "dr_grpo", "--advantage", "centred"), RL_RATES),
    "dapo": Method(
        "train_grpo.py",
        (*ON_LINE, "--objective.loss", "dapo", "--objective.clip_high", 0.28, "--max_refills", 3),
        RL_RATES,
    ),
    "grpo-random": Method("train_grpo.py", (*ON_LINE, "--reward", "random"), (3e-4,)),
    "grpo-zero": Method("train_grpo.py", (*ON_LINE, "--optim.lr", 3e-4), (3e-4,)),
}


@dataclass(frozen=True)
class Bench:
    """The folder of one ablation."""

    work_dir: Path

    def problems(self, name: str) -> Path:
        return self.work_dir / "problems" / f"{name}.jsonl"

    def start(self, seed: int) -> Path:
        return self.work_dir / f"seed-{seed}" / "start" / "model"

    def run(self, method: str, seed: int, rate: float) -> Path:
        return self.work_dir / f"seed-{seed}" / f"{method}-{rate:g}"


def write_problems(bench: Bench) -> None:
    """Demonstrations, prompts, development and held-out problems, no question in two of them."""
    sys.path.insert(0, str(ROOT / "pipelines"))
    from toy_problems import word_problem

    sizes = {"demonstrations": NUM_DEMONSTRATIONS, "prompts": SAMPLED_PROBLEMS}
    sizes |= {"development": NUM_DEVELOPMENT, "held_out": NUM_HELD_OUT}
    if all(bench.problems(name).is_file() for name in sizes):
        return
    rng, seen = random.Random(20261125), set()
    for name, size in sizes.items():
        lines: list[str] = []
        while len(lines) < size:
            problem = word_problem(rng, ("en", "zh")[len(lines) % 2])
            if problem.question not in seen:
                seen.add(problem.question)
                lines.append(json.dumps({"id": f"{name}/{len(lines)}"} | asdict(problem), ensure_ascii=False))
        bench.problems(name).parent.mkdir(parents=True, exist_ok=True)
        bench.problems(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_start(bench: Bench, seed: int) -> None:
    """The start of a seed: a tokenizer and random weights, fine-tuned on the demonstrations until they are used up."""
    folder = bench.work_dir / f"seed-{seed}"
    if not (folder / "blank" / "config.json").is_file():
        demonstrations = read_problems(str(bench.problems("demonstrations")))
        tokenizer = train_tokenizer([f"{p.question}\n\n{p.solution}" for p in demonstrations], vocab_size=1024)
        model = make_policy(TinyModelConfig(), tokenizer, seed=seed, device=torch.device("cpu"))
        save_policy(model, folder / "blank")
    train(
        "train_sft.py",
        [*("--model", folder / "blank", "--data", bench.problems("demonstrations"), "--num_steps", SFT_STEPS)],
        out_dir=folder / "start",
        seed=seed,
    )


def train(script: str, arguments: Sequence[object], *, out_dir: Path, seed: int) -> dict[str, float]:
    """Runs an entry unless its model stands already; CPU seconds and peak memory of the process."""
    cost_file = out_dir / "cost.json"
    if not cost_file.is_file():
        logger.info("%s -> %s", script, out_dir)
        command = [sys.executable, str(ROOT / "rl" / script), "--out_dir", str(out_dir), "--seed", str(seed)]
        out_dir.mkdir(parents=True, exist_ok=True)
        with (out_dir / "log.txt").open("a") as log:
            process = subprocess.Popen(
                [*command, *map(str, [*QUIET, *arguments])],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            )
            peak = 0
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                peak = max(peak, _peak_kb(process.pid))
                time.sleep(0.5)
            _, status, usage = ended
        if status:
            raise RuntimeError(f"{script} failed; see {out_dir / 'log.txt'}")
        cost = {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_rss_mb": peak / 1024}
        write_json(cost_file, cost)
    return json.loads(cost_file.read_text())


def _peak_kb(pid: int) -> int:
    """Peak memory of a process by now; its rusage would count what this process held when it was forked."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


def train_method(bench: Bench, name: str, *, seed: int, rate: float) -> dict[str, float]:
    """One method from the seed's start at one learning rate."""
    method, cost = METHODS[name], {}
    data = bench.problems("demonstrations" if name == "sft+" else "prompts")
    arguments = [*method.arguments, "--model", bench.start(seed), f"--{method.data}", data, "--optim.lr", rate]
    if name == "grpo-process":
        reward_model = bench.work_dir / f"seed-{seed}" / "process-reward"
        cost = train(
            "train_reward.py",
            ["--kind", "process", "--model", bench.start(seed), "--problems", data, *OFF_LINE, "--num_steps", 300],
            out_dir=reward_model,
            seed=seed,
        )
        arguments += ["--reward_model", reward_model / "model"]
    if name == "grpo-zero":
        # a group of one answer has no signal; the prompts' answers are replaced by one that nobody gives
        arguments[arguments.index(data)] = _without_answers(bench)
    found = train(method.script, arguments, out_dir=bench.run(name, seed, rate), seed=seed)
    return found | {"cpu_seconds": found["cpu_seconds"] + cost.get("cpu_seconds", 0.0)}


def _without_answers(bench: Bench) -> Path:
    path = bench.problems("prompts_without_answers")
    if not path.is_file():
        lines = [json.loads(line) for line in bench.problems("prompts").read_text(encoding="utf-8").splitlines()]
        path.write_text(
            "".join(json.dumps(line | {"answer": "123456789"}, ensure_ascii=False) + "\n" for line in lines),
            encoding="utf-8",
        )
    return path


def outcomes(bench: Bench, model: Path, *, problems: str, seed: int) -> np.ndarray:
    """(problems, 4): greedy, pass@1, maj@K and pass@K of a model on each problem; kept beside the model."""
    path = model.parent / f"{problems}.json"
    if not path.is_file():
        k = 1 if problems == "development" else K
        settings = EvalConfig(k=k, temperature=1.0, max_new_tokens=96, seed=seed)
        policy = load_policy(model, device=torch.device("cpu"))
        chosen: list[Problem] = read_problems(str(bench.problems(problems)))
        found = evaluate(policy, chosen, [], settings, device=torch.device("cpu"))
        write_json(path, [[one.greedy, one.pass_1, one.majority, one.pass_k] for one in found])
    return np.array(json.loads(path.read_text()), dtype=float)


def choose_rate(bench: Bench, name: str) -> float:
    """The learning rate with the most development problems solved greedily, on the first seed."""
    rates = METHODS[name].rates
    if len(rates) == 1:
        return rates[0]
    solved = {}
    for rate in rates:
        train_method(bench, name, seed=0, rate=rate)
        found = outcomes(bench, bench.run(name, 0, rate) / "model", problems="development", seed=0)
        solved[rate] = float(np.nanmean(found[:, 0]))
    logger.info("%s: %s", name, ", ".join(f"{rate:g} {value:.3f}" for rate, value in solved.items()))
    return max(solved, key=lambda rate: solved[rate])


def measure(bench: Bench, names: Sequence[str], *, seeds: int) -> list[dict[str, Any]]:
    """One row a method with all its seeds, the start first."""
    starts = []
    for seed in range(seeds):
        make_start(bench, seed)
        starts.append(outcomes(bench, bench.start(seed), problems="held_out", seed=seed))
    rows = [summarise("start", starts, starts, costs=[], rate=float("nan"))]
    for name in names:
        rate = choose_rate(bench, name)
        found, costs = [], []
        for seed in range(seeds):
            costs.append(train_method(bench, name, seed=seed, rate=rate))
            model = bench.run(name, seed, rate) / "model"
            found.append(outcomes(bench, model, problems="held_out", seed=seed))
        rows.append(summarise(name, found, starts, costs=costs, rate=rate))
        write_json(bench.work_dir / "ablation.json", rows)
    return rows


def summarise(
    name: str,
    found: Sequence[np.ndarray],
    starts: Sequence[np.ndarray],
    *,
    costs: Sequence[dict[str, float]],
    rate: float,
) -> dict[str, Any]:
    """Means over seeds and problems, and the paired differences to the start, [value, low, high]."""
    row: dict[str, Any] = {"method": name, "learning_rate": rate, "seeds": len(found)}
    for column, metric in enumerate(("greedy", "pass@1", f"maj@{K}", f"pass@{K}")):
        values = np.stack([one[:, column] for one in found], axis=1)  # (problems, seeds)
        gains = values - np.stack([one[:, column] for one in starts], axis=1)
        row[metric] = float(np.nanmean(values))
        row[f"{metric} by seed"] = [float(value) for value in np.nanmean(values, axis=0)]
        # a problem's seeds stay together: they are not independent questions
        gain = np.nanmean(gains, axis=1)[:, None]
        row[f"{metric} gain"] = [float(np.nanmean(gains)), *bootstrap_interval(gain[~np.isnan(gain[:, 0])], mean)]
    for key in ("cpu_seconds", "peak_rss_mb"):
        if costs:
            row[key] = float(np.mean([cost[key] for cost in costs]))
    return row


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows for a terminal."""
    drawn = Table(title=f"From a saturated start, {ROLLOUTS:,} samples each; gains with 95% intervals")
    columns = ("pass@1", "pass@1 gain", f"maj@{K}", f"maj@{K} gain", f"pass@{K}", f"pass@{K} gain")
    for name in ("method", "rate", "seeds", *columns, "CPU s", "peak MB"):
        drawn.add_column(name)
    for row in rows:
        cells = [_cell(row[column]) for column in columns]
        cost = [f"{row[key]:.0f}" if key in row else "-" for key in ("cpu_seconds", "peak_rss_mb")]
        drawn.add_row(row["method"], f"{row['learning_rate']:g}", str(row["seeds"]), *cells, *cost)
    return drawn


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "{:+.3f} \\[{:+.3f}, {:+.3f}]".format(*value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work_dir", type=Path, required=True, help="keeps every run; go on by giving it again")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", default=",".join(METHODS), help="NAME,...; default all")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    names = [name.strip() for name in arguments.methods.split(",")]
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        parser.error(f"--methods {unknown[0]}: choose from {', '.join(METHODS)}")
    torch.set_num_threads(1)
    bench = Bench(arguments.work_dir.resolve())
    write_problems(bench)
    rows = measure(bench, names, seeds=arguments.seeds)
    if arguments.json:
        print(json.dumps({"rows": rows}, ensure_ascii=False))
    else:
        Console(width=180).print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
