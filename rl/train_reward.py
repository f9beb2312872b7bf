"""Reward models: problems with answers and a policy -> a model that scores solutions, or their steps.

--kind outcome (DeepSeekMath 4.1.2): the policy's samples, graded by the rule; pairwise loss on right and wrong samples
of the same problem, at the last token. --kind process (4.1.3): steps labelled by what becomes of them (Math-Shepherd,
arXiv 2312.08935); binary cross-entropy at each step's last token. rl/reward_fit.py says why each has its loss.
Samples are drawn once and kept in out_dir/samples-RANK.jsonl; a part of the problems is held out from training.
Left out of the paper: the reward model starts from the policy here, from the base model there (--body takes another).

    python rl/train_reward.py --config configs/rl/reward.yaml --kind outcome --model models/sft/model --problems P
    python rl/train_reward.py --config configs/rl/reward.yaml --kind process --model M --problems P --out_dir models/prm
"""

import logging
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rl import distributed
from rl.batches import indices_of_step
from rl.distributed import World
from rl.errors import ConfigError
from rl.heads import load_value_model
from rl.policy import Policy, load_policy
from rl.questions import Questions, SamplingConfig, encode_questions
from rl.reward_fit import LessonConfig, check_lessons, draw_lessons, fit_step, judge, lessons_of
from rl.rollouts import make_sampler
from rl.samples import Attempts, SampleFile, Source, check_samples, collect_attempts, made_by
from rl.schedule import OptimConfig, make_optimiser
from rl.settings import launch
from rl.training_run import TrainingRun
from rl.verifier import Verifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RewardConfig(SamplingConfig):
    """Settings of a reward model's training."""

    kind: str = "outcome"
    """outcome (a score of the whole solution) or process (a probability after each step)."""
    body: str = ""
    """Hugging Face folder the reward model starts from (of the policy's tokenizer); empty: the policy."""
    lessons: LessonConfig = field(default_factory=LessonConfig)
    """How samples become lessons."""
    held_out_share: float = 0.1
    """Share of the problems that are never trained on, for the metrics."""
    num_steps: int = 2000
    batch_size: int = 32
    """Pairs (outcome) or solutions (process) an optimiser step, over all ranks."""
    judge_every: int = 200
    """Steps between measurements on the held-out problems."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-3, schedule="cosine"))
    """Optimiser and schedule (the paper: learning rate 2e-5 at 7B)."""
    out_dir: str = "models/reward"
    log_every: int = 50


def main(settings: RewardConfig) -> None:
    _check(settings)
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    value = load_value_model(settings.body or settings.model, device=world.device, precision=settings.precision)
    value.model.kind = settings.kind
    optimiser = make_optimiser(value.model, settings.optim)
    inputs = [settings.model, settings.body, *settings.problems.split(",")]
    run = TrainingRun(settings, world, inputs=inputs, states={"model": value.model, "optimiser": optimiser})
    if run.is_done:
        distributed.stop(world)
        return
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    if value.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ConfigError(f"body={settings.body}: its tokenizer is not that of model={settings.model}; they share ids")
    attempts = _attempts(policy, settings, world=world)
    trained, held_out = split_problems(attempts, share=settings.held_out_share, seed=settings.seed)
    lessons = lessons_of(trained, kind=settings.kind, config=settings.lessons, seed=settings.seed)
    if not lessons:
        raise ConfigError(
            f"problems={settings.problems}: no problem has both right and wrong samples to learn from; give more "
            "problems, a larger --group_size or another model"
        )
    logger.info("%d lessons from %d problems, %d problems held out", len(lessons), len(trained), len(held_out))
    measure = partial(judge, value, held_out, config=settings.lessons, token_budget=settings.micro_batch_tokens)
    while run.goes_on:
        chosen = indices_of_step(len(lessons), run.step, batch_size=settings.batch_size, seed=settings.seed)
        with run.phase("update"):
            values = fit_step(
                value,
                [lessons[index] for index in chosen],
                config=settings.lessons,
                optimiser=optimiser,
                lr=run.lr,
                max_grad_norm=settings.optim.max_grad_norm,
                token_budget=settings.micro_batch_tokens,
                world=world,
            )
        if (run.step + 1) % settings.judge_every == 0 or run.step + 1 == settings.num_steps:
            with run.phase("judge"):
                values |= {f"held_out_{name}": number for name, number in measure().items()}
        run.finish_step(values | {"epoch": (run.step + 1) * settings.batch_size / len(lessons)})
    counts = {"lessons": len(lessons), "problems": len(trained), "held_out_problems": len(held_out)}
    run.finish(Policy(value.model, value.tokenizer), kind=settings.kind, held_out=measure(), **counts)


def split_problems(attempts: Sequence[Attempts], *, share: float, seed: int) -> tuple[list[Attempts], list[Attempts]]:
    """Problems to train on and problems held out: equal questions always on the same side."""
    sides: tuple[list[Attempts], list[Attempts]] = ([], [])
    for one in attempts:
        prompt_ids = one.samples[0].prompt_ids if one.samples else []
        sides[random.Random(f"{seed} {prompt_ids}").random() < share].append(one)
    return sides


def _attempts(policy: Policy, settings: RewardConfig, *, world: World) -> list[Attempts]:
    """All problems' samples, read from out_dir or drawn now."""
    questions = encode_questions(policy, settings)
    origin = made_by(settings) | {"kind": settings.kind}
    if settings.kind == "process":
        origin |= {"num_completions": settings.lessons.num_completions}
    file = SampleFile(Path(settings.out_dir), world, made_by=origin, resume=settings.resume)
    with Verifier(num_workers=settings.num_graders, timeout_s=settings.grade_timeout_s) as verifier:
        sampler = make_sampler(settings.sampler, policy, max_rows=settings.rollout_rows)
        source = Source(policy, sampler, verifier, settings)

        def draw(questions: Questions, places: Sequence[int]) -> list[Attempts]:
            return draw_lessons(source, questions, places, kind=settings.kind, config=settings.lessons)

        at_once = max(1, settings.rollout_rows // settings.group_size)
        return collect_attempts(file, questions, draw=draw, world=world, at_once=at_once)


def _check(settings: RewardConfig) -> None:
    check_samples(settings)
    check_lessons(settings.lessons, settings.kind)
    if not 0 < settings.held_out_share < 1:
        raise ConfigError(f"held_out_share={settings.held_out_share}: above 0 and below 1")
    for name in ("batch_size", "judge_every"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least 1")


if __name__ == "__main__":
    sys.exit(launch(main, RewardConfig))
