"""Evaluates models on problems with known answers, one table for all, each number with its 95% interval.

Greedy accuracy (Wilson interval); with --k above 1 also pass@1, maj@k and unbiased pass@k from k samples at
--temperature (bootstrap over questions); and bits per byte of the gold solutions given their questions, which
compares base models that answer nothing yet. Of several models each is compared, question by question, with the one
before it.
Left out of the paper: tool-integrated answers, and the benchmarks' own few-shot prompts (--shots takes examples
from a file instead).

    python rl/run_eval.py --model models/grpo/model --benchmarks gsm8k,math,cmath --data_dir data/benchmarks --k 16
    python rl/run_eval.py --model sft=models/sft/model,grpo=models/grpo/model --benchmarks B --out eval.json
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from rl import distributed
from rl.batches import Example, lengths, micro_batches
from rl.chat import check_template, completion, few_shot_prompt
from rl.errors import ConfigError
from rl.estimates import bootstrap_interval, majority, mcnemar_p, mean, pass_at_k, ratio, wilson_interval
from rl.metrics import write_json
from rl.policy import Policy, completion_logprobs, load_policy
from rl.problems import Problem, benchmark_files, read_problems
from rl.rollouts import make_sampler, prompt_seed
from rl.settings import as_dict, launch
from rl.verifier import Grade, Verifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalConfig:
    """Settings of an evaluation."""

    model: str = ""
    """PATH, or NAME=PATH,... to compare each with the one before it."""
    benchmarks: str = ""
    """NAME,... of test sets in data_dir (gsm8k,math,cmath), or FILE,... of JSON lines with question and answer, and
    solution where bits per byte are wanted."""
    data_dir: str = ""
    """Folder of NAME.test.jsonl.gz, or one with such a folder benchmarks/ in it."""
    k: int = 4
    """Samples a question for pass@1, maj@k and pass@k; 1 is greedy only."""
    limit: int = 0
    """Questions of each file, from its start; 0 takes all."""
    temperature: float = 0.7
    """Of the k samples (the paper's .7)."""
    max_new_tokens: int = 64
    """Longest completion in tokens (the paper: 1024)."""
    template: str = "textbook"
    """textbook, plain or deepseek: the form the model was fine-tuned with."""
    shots: int = 0
    """Solved examples before each question."""
    shots_from: str = ""
    """FILE with the solved examples; the first `shots` of the question's language are taken."""
    answers: bool = True
    """Sample and grade answers; false gives bits per byte alone."""
    rollout_rows: int = 256
    """Most rows decoded at once."""
    micro_batch_tokens: int = 16384
    """Most tokens (with padding) in one forward pass."""
    seed: int = 0
    """Draws the samples."""
    precision: str = "float32"
    """float32, or bfloat16 for the forward pass under autocast."""
    device: str = "auto"
    """auto, cpu or cuda."""
    num_threads: int = 1
    """CPU threads of torch; 0 leaves its own choice."""
    out: str = ""
    """JSON file to write; empty only prints."""


@dataclass(frozen=True)
class Outcome:
    """One model on one question. NaN: not measured, or the grader crashed."""

    problem: Problem
    greedy: float
    pass_1: float
    majority: float
    pass_k: float
    nll: float
    """Nats of the gold solution given the question; NaN without a solution."""
    num_bytes: int


def main(settings: EvalConfig) -> None:
    check_template(settings.template)
    if settings.k < 1:
        raise ConfigError(f"k={settings.k}: at least 1")
    models = _models(settings.model)
    files = benchmark_files(settings.benchmarks, settings.data_dir)
    problems = read_problems(files, limit=settings.limit, skip_unanswered=True)
    shots = read_problems(settings.shots_from, need_solution=True) if settings.shots else []
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    outcomes: dict[str, list[Outcome]] = {}
    report: dict[str, Any] = {"settings": as_dict(settings), "models": [], "differences": []}
    for name, path in models.items():
        started = time.perf_counter()
        policy = load_policy(path, device=world.device, precision=settings.precision)
        outcomes[name] = evaluate(policy, problems, shots, settings, device=world.device)
        seconds = round(time.perf_counter() - started, 2)
        report["models"].append({"name": name, "path": str(path), "seconds": seconds, "groups": {}})
        logger.info("%s: %d questions in %.1f s", name, len(problems), seconds)
        for group, members in _groups(problems).items():
            chosen = [outcomes[name][index] for index in members]
            report["models"][-1]["groups"][group] = summarise(chosen, k=settings.k)
    for base, name in pairwise(models):
        report["differences"].append({"name": name, "against": base} | difference(outcomes[name], outcomes[base]))
    if settings.out:
        write_json(Path(settings.out), report)
    console = Console()
    console.width = max(console.width, 130)  # a table in a log file is worth long lines
    console.print(table(report, k=settings.k))
    for line in report["differences"]:
        shown = [key for key in ("greedy", "pass_1", "majority", "pass_k", "bits_per_byte") if key in line]
        parts = [f"{key} {_cell(line[key], signed=True)}" for key in shown]
        parts += [f"McNemar p {line['mcnemar_p']:.3g}, n {line['questions']}"] if "mcnemar_p" in line else []
        console.print(f"{line['name']} minus {line['against']}, same questions: {'; '.join(parts)}", highlight=False)


def evaluate(
    policy: Policy, problems: Sequence[Problem], shots: Sequence[Problem], settings: EvalConfig, *, device: torch.device
) -> list[Outcome]:
    """One outcome a problem, in order."""
    policy.model.eval()
    texts = [
        few_shot_prompt(
            problem,
            [shot for shot in shots if shot.language == problem.language][: settings.shots],
            template=settings.template,
        )
        for problem in problems
    ]
    prompts = policy.encode(texts)
    longest = max(map(len, prompts))
    if longest + settings.max_new_tokens > policy.max_length:
        raise ConfigError(
            f"max_new_tokens={settings.max_new_tokens}: with the longest prompt ({longest}) it passes the model's "
            f"{policy.max_length} tokens; lower it or --shots"
        )
    nlls = gold_nll(policy, prompts, problems, settings, device=device)
    nothing = [(float("nan"),) * 4] * len(problems)
    graded = grade_answers(policy, prompts, problems, settings) if settings.answers else nothing
    return [
        Outcome(problem, *answers, nll=nll, num_bytes=len(problem.solution.encode()))
        for problem, answers, nll in zip(problems, graded, nlls, strict=True)
    ]


@torch.inference_mode()
def gold_nll(
    policy: Policy,
    prompts: Sequence[list[int]],
    problems: Sequence[Problem],
    settings: EvalConfig,
    *,
    device: torch.device,
) -> list[float]:
    """Nats of each gold solution given its prompt; NaN where there is none or it does not fit the model."""
    texts = [completion(problem.solution, template=settings.template) for problem in problems]
    solutions = policy.encode(texts)
    measured = [
        index
        for index, problem in enumerate(problems)
        if problem.solution and len(prompts[index]) + len(solutions[index]) <= policy.max_length
    ]
    rows = [Example(prompts[index], solutions[index]) for index in measured]
    flat = torch.zeros(int(lengths(rows).sum()) if rows else 0)
    for batch in micro_batches(rows, token_budget=settings.micro_batch_tokens, pad_id=policy.pad_id):
        flat[batch.flat] = completion_logprobs(policy, batch.to(device))[0].float().cpu()
    nlls = [float("nan")] * len(problems)
    for index, part in zip(measured, flat.split(lengths(rows).tolist()) if rows else [], strict=True):
        nlls[index] = -float(part.sum())
    return nlls


def grade_answers(
    policy: Policy, prompts: Sequence[list[int]], problems: Sequence[Problem], settings: EvalConfig
) -> list[tuple[float, float, float, float]]:
    """(greedy, pass@1, maj@k, pass@k) of each problem; NaN where not measured or no grade could be given."""
    sampler = make_sampler("native", policy, max_rows=settings.rollout_rows)
    draws = [(1, 0.0)] + ([(settings.k, settings.temperature)] if settings.k > 1 else [])
    with Verifier() as verifier:
        pending = []
        for group_size, temperature in draws:
            rollouts = sampler.sample(
                prompts,
                group_size=group_size,
                max_new_tokens=settings.max_new_tokens,
                temperature=temperature,
                seeds=[prompt_seed(settings.seed, 0, place) for place in range(len(prompts))],
            )
            pending.append(  # graded while the next are sampled
                [
                    verifier.submit(policy.decode(rollout.completion_ids), problems[place // group_size].answer)
                    for place, rollout in enumerate(rollouts)
                ]
            )
        grades = [[future.result() for future in futures] for futures in pending]
    crashes = Counter(grade.rule for group in grades for grade in group if grade.correct is None)
    for name, count in crashes.items():
        logger.warning("%d grades missing: %s", count, name)
    greedy = [float("nan") if grade.correct is None else float(grade.correct) for grade in grades[0]]
    sampled = [
        of_samples(grades[1][index * settings.k : (index + 1) * settings.k]) if settings.k > 1 else (float("nan"),) * 3
        for index in range(len(problems))
    ]
    return [(first, *rest) for first, rest in zip(greedy, sampled, strict=True)]


def of_samples(grades: Sequence[Grade]) -> tuple[float, float, float]:
    """(pass@1, maj@k, pass@k) of one problem's k samples, those without a grade left out; NaN where none has one."""
    graded = [grade for grade in grades if grade.correct is not None]
    if not graded:
        return (float("nan"),) * 3
    verdicts = [bool(grade.correct) for grade in graded]
    return (
        sum(verdicts) / len(graded),
        majority([grade.answer for grade in graded], verdicts),
        pass_at_k(len(graded), sum(verdicts), len(graded)),
    )


def summarise(outcomes: Sequence[Outcome], *, k: int) -> dict[str, Any]:
    """Counts and estimates with their intervals, [value, low, high]; a key is absent where nothing was measured."""
    summary: dict[str, Any] = {"questions": len(outcomes)}
    greedy = [outcome.greedy for outcome in outcomes if outcome.greedy == outcome.greedy]
    if greedy:
        summary["greedy"] = [sum(greedy) / len(greedy), *wilson_interval(int(sum(greedy)), len(greedy))]
        summary["grades_missing"] = len(outcomes) - len(greedy)
    for key, name in (("pass_1", "pass@1"), ("majority", f"maj@{k}"), ("pass_k", f"pass@{k}")):
        values = np.array([[getattr(outcome, key)] for outcome in outcomes])
        values = values[~np.isnan(values[:, 0])]
        if len(values) and k > 1:
            summary[name] = [float(values.mean()), *_share_interval(values)]
    bits = _bits_and_bytes(outcomes)
    bits = bits[~np.isnan(bits[:, 0])]
    if len(bits):
        summary["bits_per_byte"] = [float(ratio(bits)), *bootstrap_interval(bits, ratio)]
    return summary


def _share_interval(values: np.ndarray) -> tuple[float, float]:
    """95% interval of a mean of shares, one a question: (questions, 1)."""
    if np.unique(values).tolist() in ([0.0], [1.0]):  # draws of equal values have no spread, the truth has
        return wilson_interval(int(values.sum()), len(values))
    return bootstrap_interval(values, mean)


def difference(outcomes: Sequence[Outcome], base: Sequence[Outcome]) -> dict[str, Any]:
    """This model minus the base on the same questions, [value, low, high] by bootstrap over questions.

    `questions` and `mcnemar_p` are those of the greedy answers: counted, and how surprising if both were equally good.
    """
    found: dict[str, Any] = {}
    for key in ("greedy", "pass_1", "majority", "pass_k"):
        gaps = np.array([[getattr(a, key) - getattr(b, key)] for a, b in zip(outcomes, base, strict=True)])
        gaps = gaps[~np.isnan(gaps[:, 0])]
        if len(gaps):
            found[key] = [float(gaps.mean()), *bootstrap_interval(gaps, mean)]
        if len(gaps) and key == "greedy":
            found |= {"questions": len(gaps), "mcnemar_p": mcnemar_p(int((gaps > 0).sum()), int((gaps < 0).sum()))}
    ours, theirs = _bits_and_bytes(outcomes), _bits_and_bytes(base)
    gaps = np.stack([ours[:, 0] - theirs[:, 0], ours[:, 1]], axis=1)
    gaps = gaps[~np.isnan(gaps[:, 0])]
    if len(gaps):
        found["bits_per_byte"] = [float(ratio(gaps)), *bootstrap_interval(gaps, ratio)]
    return found


def table(report: dict[str, Any], *, k: int) -> Table:
    """One line a model and group of questions."""
    columns = ["greedy"] + (["pass@1", f"maj@{k}", f"pass@{k}"] if k > 1 else []) + ["bits_per_byte"]
    drawn = Table(title="95% intervals in brackets; bits per byte of gold solutions: lower is better", box=SIMPLE_HEAD)
    for name in ("model", "questions", "n", *columns):
        drawn.add_column(name, justify="right" if name == "n" else "left")
    for model in report["models"]:
        for group, summary in model["groups"].items():
            cells = [_cell(summary[column]) if column in summary else "-" for column in columns]
            drawn.add_row(model["name"], group, str(summary["questions"]), *cells)
    return drawn


def _cell(estimate: Sequence[float], *, signed: bool = False) -> str:
    value, low, high = (f"{number:+.3f}" if signed else f"{number:.3f}" for number in estimate)
    return f"{value} \\[{low}, {high}]"


def _bits_and_bytes(outcomes: Sequence[Outcome]) -> np.ndarray:
    """(questions, 2): bits of the gold solution and its length in UTF-8 bytes."""
    return np.array([[outcome.nll / np.log(2), outcome.num_bytes] for outcome in outcomes])


def _groups(problems: Sequence[Problem]) -> dict[str, list[int]]:
    """Places of the questions: all, then each language, then each file, where these are several."""
    groups = {"all": list(range(len(problems)))}
    for key in ("language", "source"):
        names = list(dict.fromkeys(getattr(problem, key) for problem in problems))
        if len(names) > 1:
            for name in names:
                members = [index for index, problem in enumerate(problems) if getattr(problem, key) == name]
                if members not in groups.values():  # a file of one language would say the same twice
                    groups[name] = members
    return groups


def _models(text: str) -> dict[str, Path]:
    models = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, path = part.partition("=")
        chosen = Path(path if equals else name)
        models[name if equals else (chosen.parent.name if chosen.name == "model" else chosen.name)] = chosen
    if not models:
        raise ConfigError("no model given; expected --model PATH or --model NAME=PATH,...")
    return models


if __name__ == "__main__":
    sys.exit(launch(main, EvalConfig))
