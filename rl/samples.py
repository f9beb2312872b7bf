"""Samples of one model on problems, graded by the rule: drawn once, kept as JSON lines, gone on with where they stop.

What the methods learn from that do not sample as they train: right and wrong solutions of the same problem (reward
models, DPO). A line holds one problem with all its samples, texts included, to be read by people too.
"""

import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from rl import distributed
from rl.checkpoint import fingerprint
from rl.distributed import World
from rl.errors import CheckpointError, ConfigError
from rl.policy import Policy
from rl.questions import Questions, SamplingConfig, check_sampling
from rl.rollouts import Sampler, prompt_seed
from rl.verifier import Verifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """One completion with what is known of it."""

    prompt_ids: list[int]
    completion_ids: list[int]
    """With the end token, where it was reached."""
    text: str
    finished: bool
    """False: cut at max_new_tokens."""
    correct: bool | None
    """By the rule; None where the grader crashed: such a sample is kept but never learnt from."""
    step_ends: list[int] = field(default_factory=list)
    """Place of each step's last token in the completion; [] where steps were not asked for."""
    step_labels: list[float] = field(default_factory=list)
    """Of each step, the share of completions from there that end right."""


@dataclass(frozen=True)
class Attempts:
    """All samples of one problem."""

    place: int
    """Of the problem among the questions."""
    problem: str
    """Its id."""
    samples: list[Sample]

    @property
    def verdicts(self) -> list[bool]:
        """Right or wrong, of the graded samples."""
        return [sample.correct for sample in self.samples if sample.correct is not None]


@dataclass(frozen=True)
class Source:
    """What samples are drawn and graded with."""

    policy: Policy
    sampler: Sampler
    verifier: Verifier
    settings: SamplingConfig

    def draw(self, questions: Questions, places: Sequence[int], *, round_number: int = 0) -> list[Attempts]:
        """Graded samples of the questions at `places`; each depends on (weights, prompt, seed, round, place) alone."""
        rollouts = self.sampler.sample(
            [questions.prompts[place] for place in places],
            group_size=self.settings.group_size,
            max_new_tokens=self.settings.max_new_tokens,
            temperature=self.settings.temperature,
            seeds=[draw_seed(self.settings.seed, round_number, place) for place in places],
        )
        texts = [self.policy.decode(rollout.completion_ids) for rollout in rollouts]
        answers = [questions.problems[place].answer for place in places for _ in range(self.settings.group_size)]
        grades = self.verifier.grade_all(texts, answers, boxed_only=self.settings.boxed_only)
        samples = [
            Sample(list(rollout.prompt_ids), rollout.completion_ids, text, rollout.finished, grade.correct)
            for rollout, text, grade in zip(rollouts, texts, grades, strict=True)
        ]
        size = self.settings.group_size
        return [
            Attempts(place, questions.problems[place].id, samples[number * size : (number + 1) * size])
            for number, place in enumerate(places)
        ]


def draw_seed(seed: int, round_number: int, place: int, *, prefix: int = 0) -> int:
    """The seed of a problem's samples in a round of drawing; of a solution's beginning, `prefix` from 1.

    Apart from those of an online run's steps, which are made alike. Rounds below 2,048, prefixes below 2^20.
    """
    return prompt_seed(seed, (1 << 31) | (round_number << 20) | prefix, place)


class SampleFile:
    """`out_dir/samples-RANK.jsonl`: every rank appends to its own, all read all."""

    def __init__(self, out_dir: Path, world: World, *, made_by: Mapping[str, Any], resume: bool) -> None:
        """made_by: what the samples follow from, written as the first line of each file.

        Raises CheckpointError where a file there was made by something else.
        """
        self.out_dir, self.made_by = out_dir, json.loads(json.dumps(dict(made_by)))
        self.own = out_dir / f"samples-{world.rank}.jsonl"
        if world.is_main:
            out_dir.mkdir(parents=True, exist_ok=True)
            for path in [] if resume else self._paths():
                path.unlink()
        distributed.total(world, [0.0])  # nobody reads before the main rank has tidied up
        for path in self._paths():
            self._check(path)

    def append(self, attempts: Sequence[Attempts]) -> None:
        """Adds these problems in one write."""
        lines = [] if self.own.is_file() else [json.dumps({"made_by": self.made_by}, ensure_ascii=False)]
        lines += [json.dumps(as_plain(one), ensure_ascii=False) for one in attempts]
        with self.own.open("a+b") as file:
            if file.tell() and not _ends_line(file):  # a line cut by a crash must not swallow the next
                lines[0] = "\n" + lines[0]
            file.write(("\n".join(lines) + "\n").encode())

    def read(self) -> list[Attempts]:
        """The problems of all ranks in order of place, each once."""
        return read_samples(self.out_dir)

    def _paths(self) -> list[Path]:
        return sorted(self.out_dir.glob("samples-*.jsonl"))

    def _check(self, path: Path) -> None:
        header = next(iter(_json_lines(path)), {})
        there = header.get("made_by", {})
        differing = [
            f"{key}: {there.get(key)} there, {self.made_by.get(key)} here"
            for key in sorted({*there, *self.made_by})
            if there.get(key) != self.made_by.get(key)
        ]
        if differing:
            raise CheckpointError(
                f"{path}: samples drawn otherwise ({', '.join(differing)}); give another --out_dir, or --resume false "
                "to draw anew"
            )


def collect_attempts(
    file: SampleFile,
    questions: Questions,
    *,
    draw: Callable[[Questions, Sequence[int]], list[Attempts]],
    world: World,
    at_once: int,
) -> list[Attempts]:
    """The attempts at all questions: read from `file`; those not there are drawn and added, `at_once` at a time."""
    done = {one.place for one in file.read()}
    distributed.total(world, [0.0])  # all have read what there was before anyone adds to it
    left = [place for place in range(len(questions.prompts)) if place not in done][world.rank :: world.size]
    if left:
        logger.info("drawing samples of %d problems, %d are there", len(left), len(done))
    for start in range(0, len(left), at_once):
        file.append(draw(questions, left[start : start + at_once]))
    distributed.total(world, [0.0])
    attempts = file.read()
    verdicts = [verdict for one in attempts for verdict in one.verdicts]
    missing = sum(len(one.samples) for one in attempts) - len(verdicts)
    share = sum(verdicts) / max(len(verdicts), 1)
    logger.info("%d problems, %d samples, %.3f right, %d not graded", len(attempts), len(verdicts), share, missing)
    return attempts


def check_samples(settings: SamplingConfig) -> None:
    """Raises ConfigError where the settings cannot be meant."""
    check_sampling(settings)
    if settings.group_size < 2:
        raise ConfigError(f"group_size={settings.group_size}: right and wrong samples of a problem take 2 or more")


def made_by(settings: SamplingConfig) -> dict[str, Any]:
    """The settings that samples follow from, and the fingerprint of the model and the problems."""
    names = ("template", "group_size", "max_new_tokens", "temperature", "sampler", "boxed_only", "seed", "precision")
    inputs = fingerprint([settings.model, *settings.problems.split(",")])
    return {name: getattr(settings, name) for name in names} | {"inputs": inputs}


def read_samples(out_dir: Path) -> list[Attempts]:
    """What a finished run has drawn, in order of place; [] where there are no samples."""
    found = {one.place: one for path in sorted(out_dir.glob("samples-*.jsonl")) for one in _read_attempts(path)}
    return [found[place] for place in sorted(found)]


def pairs_of(attempts: Sequence[Attempts], *, max_pairs: int, seed: int) -> list[tuple[Sample, Sample]]:
    """(right, wrong) samples of the same problem, at most `max_pairs` a problem, drawn without replacement.

    Samples of one problem that say the same count once: else a frequent mistake would be most of the pairs.
    """
    pairs = []
    for one in attempts:
        distinct = {tuple(sample.completion_ids): sample for sample in one.samples if sample.correct is not None}
        right = [sample for sample in distinct.values() if sample.correct]
        wrong = [sample for sample in distinct.values() if not sample.correct]
        possible = list(product(right, wrong))
        chosen = random.Random(f"{seed} {one.place}").sample(possible, min(max_pairs, len(possible)))
        pairs += chosen
    return pairs


def as_plain(attempts: Attempts) -> dict[str, Any]:
    """Plain values, as in one line of the file: the prompt once, not with each sample."""
    samples = [{k: v for k, v in asdict(sample).items() if k != "prompt_ids"} for sample in attempts.samples]
    prompt_ids = attempts.samples[0].prompt_ids if attempts.samples else []
    return {"place": attempts.place, "problem": attempts.problem, "prompt_ids": prompt_ids, "samples": samples}


def from_plain(values: Mapping[str, Any]) -> Attempts:
    """The attempts that `as_plain` was given."""
    samples = [Sample(prompt_ids=values["prompt_ids"], **sample) for sample in values["samples"]]
    return Attempts(values["place"], values["problem"], samples)


def _read_attempts(path: Path) -> Iterator[Attempts]:
    for line in _json_lines(path):
        if "place" in line:
            yield from_plain(line)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines; one cut by a crash is left out, and its problem drawn again."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                yield json.loads(text)
            except json.JSONDecodeError:
                logger.warning("%s: a line cut short is left out", path)


def _ends_line(file: Any) -> bool:
    file.seek(-1, 2)
    return file.read(1) == b"\n"
