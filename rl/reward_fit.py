"""One update of a reward model on graded samples, and what the model is worth on others.

outcome: the pairwise loss on right and wrong samples of the same problem. GRPO compares samples of one problem only, so
the model is asked just that, and spends nothing on which problems are hard; a problem that is always or never solved
teaches nothing, as it would in GRPO.
process: binary cross-entropy at the last token of each step against the step's label (Math-Shepherd, arXiv 2312.08935,
Eq. 2). Steps of different solutions have no counterpart to be paired with, and a probability is what a step's reward
should be: standardised over all steps of a group, its level counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rl import distributed
from rl.batches import micro_batches
from rl.distributed import World
from rl.errors import ConfigError
from rl.heads import ValueModel, token_scores
from rl.losses import pairwise_loss
from rl.questions import Questions
from rl.reward_models import marked, scores_at
from rl.samples import Attempts, Sample, Source, pairs_of
from rl.schedule import optimiser_step
from rl.step_labels import label_steps

KINDS = ("outcome", "process")

Lesson = tuple[Sample, ...]
"""What one loss is of: (right, wrong) samples of a problem, or (a sample with labelled steps,)."""


@dataclass(frozen=True)
class LessonConfig:
    """How samples become lessons."""

    max_pairs: int = 8
    """outcome: most pairs of one problem."""
    num_completions: int = 8
    """process: completions from the end of each step (Math-Shepherd: 8)."""
    hard_labels: bool = False
    """process: a step is right if any completion ends right (hard estimation); false: the share that do (soft)."""


def check_lessons(config: LessonConfig, kind: str) -> None:
    """Raises ConfigError where the settings cannot be meant."""
    if kind not in KINDS:
        raise ConfigError(f"kind={kind}: choose one of {', '.join(KINDS)}")
    for name in ("max_pairs", "num_completions"):
        if getattr(config, name) < 1:
            raise ConfigError(f"lessons.{name}={getattr(config, name)}: at least 1")


def draw_lessons(
    source: Source,
    questions: Questions,
    places: Sequence[int],
    *,
    kind: str,
    config: LessonConfig,
    round_number: int = 0,
) -> list[Attempts]:
    """Graded samples of the questions at `places`; for a process model with their steps labelled."""
    attempts = source.draw(questions, places, round_number=round_number)
    if kind == "outcome":
        return attempts
    return label_steps(
        source,
        questions,
        attempts,
        num_completions=config.num_completions,
        prefixes_at_once=max(1, source.settings.rollout_rows // config.num_completions),
        round_number=round_number,
    )


def lessons_of(attempts: Sequence[Attempts], *, kind: str, config: LessonConfig, seed: int) -> list[Lesson]:
    """All lessons that the attempts hold."""
    if kind == "outcome":
        return list(pairs_of(attempts, max_pairs=config.max_pairs, seed=seed))
    return [(sample,) for one in attempts for sample in one.samples if sample.step_ends]


def fit_step(
    value: ValueModel,
    lessons: Sequence[Lesson],
    *,
    config: LessonConfig,
    optimiser: torch.optim.Optimizer,
    lr: float,
    max_grad_norm: float,
    token_budget: int,
    world: World,
) -> dict[str, float]:
    """One update on the lessons of the whole step, of which this rank takes its share; returns what to log.

    loss: mean over the step's pairs, or over all its labelled steps. accuracy: share of pairs in the right order, or of
    steps on the right side of one half.
    """
    mine = lessons[world.rank :: world.size]
    value.model.train()
    if value.model.kind == "outcome":
        count = len(lessons)
        sums = _accumulate_pairs(value, mine, count=count, token_budget=token_budget, device=world.device)
    else:
        count = sum(len(sample.step_ends) for (sample,) in lessons)
        samples = [sample for (sample,) in mine]
        sums = _accumulate_steps(
            value, samples, count=count, hard=config.hard_labels, token_budget=token_budget, device=world.device
        )
    loss, num_right = distributed.total(world, sums)
    distributed.sum_gradients(world, value.model)
    norm = optimiser_step(value.model, optimiser, lr=lr, max_grad_norm=max_grad_norm)
    return {"loss": loss, "accuracy": num_right / count, "grad_norm": norm}


def _accumulate_pairs(
    value: ValueModel, pairs: Sequence[Lesson], *, count: int, token_budget: int, device: torch.device
) -> tuple[float, float]:
    """These pairs' share of the loss and how many are in the right order; gradients are added to the parameters'."""
    rows = [sample for pair in pairs for sample in pair]
    ends = marked(rows, [[len(row.completion_ids) - 1] for row in rows])
    loss_sum = num_right = 0.0
    for batch in micro_batches(rows, token_budget=token_budget, pad_id=value.pad_id, together=2):
        scores = token_scores(value, batch.to(device), ends[batch.flat].to(device))  # (rows,)
        loss = pairwise_loss(scores, scores.new_full((len(scores) // 2,), 1 / count))
        loss.backward()
        loss_sum += float(loss.detach())
        num_right += float((scores[0::2] > scores[1::2]).sum())
    return loss_sum, num_right


def _accumulate_steps(
    value: ValueModel, samples: Sequence[Sample], *, count: int, hard: bool, token_budget: int, device: torch.device
) -> tuple[float, float]:
    """The same of samples with labelled steps, `count` in the whole optimiser step."""
    ends = marked(samples, [sample.step_ends for sample in samples])
    labels = torch.full((len(ends),), torch.nan, dtype=torch.float64)
    labels[ends] = _labels(samples, hard=hard)
    loss_sum = num_right = 0.0
    for batch in micro_batches(samples, token_budget=token_budget, pad_id=value.pad_id):
        here = ends[batch.flat]
        scores = token_scores(value, batch.to(device), here.to(device))  # (labelled steps,)
        wanted = labels[batch.flat[here]].to(scores)
        loss = binary_cross_entropy_with_logits(scores, wanted, reduction="sum") / count
        loss.backward()
        loss_sum += float(loss.detach())
        num_right += float(((scores > 0) == (wanted >= 0.5)).sum())
    return loss_sum, num_right


def _labels(samples: Sequence[Sample], *, hard: bool) -> Tensor:
    labels = torch.tensor([label for sample in samples for label in sample.step_labels], dtype=torch.float64)
    return (labels > 0).double() if hard else labels


def judge(
    value: ValueModel, attempts: Sequence[Attempts], *, config: LessonConfig, token_budget: int
) -> dict[str, float]:
    """What the model is worth on samples it was not trained on.

    auc: share of (right, wrong) pairs of the same problem that its score of the whole solution orders rightly, ties a
    half. best_of_n: share of problems whose highest-scored sample is right; mean_of_n, any_of_n: share that a sample
    taken at random, or by someone who knows, would solve. process also: step_auc over pairs of a right and a wrong step
    (label from one half on; hard: above 0) of any problems, step_accuracy, step_loss. NaN where there is no such pair.
    """
    is_process = value.model.kind == "process"
    graded = [(one.place, sample) for one in attempts for sample in one.samples if sample.correct is not None]
    if is_process:
        graded = [(place, sample) for place, sample in graded if sample.step_ends]
    samples = [sample for _, sample in graded]
    ends = [sample.step_ends if is_process else [len(sample.completion_ids) - 1] for sample in samples]
    found = scores_at(value, samples, ends, token_budget=token_budget)
    of_problem: dict[int, list[tuple[float, bool]]] = {}
    for (place, sample), scores in zip(graded, found, strict=True):
        of_problem.setdefault(place, []).append((float(scores.min()), bool(sample.correct)))
    ordered, num_pairs, best, average, solvable = 0.0, 0, 0.0, 0.0, 0.0
    for scored in of_problem.values():
        right, wrong = ([score for score, correct in scored if correct is side] for side in (True, False))
        ordered += _ordered_pairs(right, wrong)
        num_pairs += len(right) * len(wrong)
        highest = [correct for score, correct in scored if score == max(score for score, _ in scored)]
        best += sum(highest) / len(highest)
        average += len(right) / len(scored)
        solvable += bool(right)
    count = max(len(of_problem), 1)
    values = {
        "auc": ordered / num_pairs if num_pairs else float("nan"),
        "best_of_n": best / count,
        "mean_of_n": average / count,
        "any_of_n": solvable / count,
    }
    return values | _judge_steps(samples, found, hard=config.hard_labels) if is_process and samples else values


def _judge_steps(samples: Sequence[Sample], found: Sequence[Tensor], *, hard: bool) -> dict[str, float]:
    scores, labels = torch.cat(list(found)), _labels(samples, hard=hard)
    is_right = labels >= 0.5
    right, wrong = scores[is_right].tolist(), scores[~is_right].tolist()
    num_pairs = len(right) * len(wrong)
    return {
        "step_auc": _ordered_pairs(right, wrong) / num_pairs if num_pairs else float("nan"),
        "step_accuracy": float(((scores > 0) == is_right).double().mean()),
        "step_loss": float(binary_cross_entropy_with_logits(scores, labels)),
    }


def _ordered_pairs(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Pairs with the right one's score above the wrong one's, a tie counting a half."""
    below = torch.tensor(sorted(wrong), dtype=torch.float64)
    scores = torch.tensor(list(right), dtype=torch.float64)
    return float((torch.searchsorted(below, scores) + torch.searchsorted(below, scores, right=True)).sum()) / 2
