"""Integer word problems with worked solutions, English and Chinese: the mini web's mathematics and the demo's task.

A problem is a story: an opening amount (or k groups of n), then gains and losses, then sometimes a comparison
("2 times as many"). One to three steps, second operands of one digit and every value a natural number below 60, so
that a model of some hundred thousand parameters learns part of it in two minutes of one core, and has something left
to learn by reinforcement. (With values up to 199 the same model solved 0.5% after the same time.)
"""

import random
from dataclasses import dataclass

from toy_stories import CHINESE_NAMES, CHINESE_STORIES, ENGLISH_NAMES, ENGLISH_STORIES, Story

_NUM_STEPS = (1, 2, 2, 2, 3)  # two steps most often


@dataclass(frozen=True)
class Problem:
    """One word problem; `answer` is the bare integer that stands in the solution's \\boxed{}."""

    question: str
    answer: str
    solution: str
    language: str
    """en or zh."""


@dataclass(frozen=True)
class _Step:
    left: int
    sign: str
    right: int
    kind: str
    """groups | gain | loss | times: which sentence of the story tells it."""

    @property
    def value(self) -> int:
        return {"+": self.left + self.right, "-": self.left - self.right, "×": self.left * self.right}[self.sign]

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.value}"


def word_problem(rng: random.Random, language: str) -> Problem:
    """A word problem drawn with `rng`; `language` is en or zh."""
    if language not in ("en", "zh"):
        raise ValueError(f"language={language!r}: word problems exist in en and zh")
    stories, names = (ENGLISH_STORIES, ENGLISH_NAMES) if language == "en" else (CHINESE_STORIES, CHINESE_NAMES)
    story = rng.choice(stories)
    name, other = rng.sample(names, 2)
    noun = rng.choice(story.nouns)
    steps = _draw_steps(rng, num_steps=rng.choice(_NUM_STEPS))
    words = {"name": name, "other": other, "noun": noun}
    question = _question(rng, story, steps, words=words, joiner=" " if language == "en" else "")
    tell = _english_solution if language == "en" else _chinese_solution
    return Problem(question, str(steps[-1].value), tell(rng, steps, noun=noun), language)


def _draw_steps(rng: random.Random, *, num_steps: int) -> list[_Step]:
    steps: list[_Step] = []
    if rng.random() < 0.3:
        steps.append(_Step(rng.randint(2, 5), "×", rng.randint(2, 5), "groups"))
    else:
        steps.append(_change(rng, value=rng.randint(3, 20)))
    while len(steps) < num_steps:
        value = steps[-1].value
        if len(steps) == num_steps - 1 and value <= 20 and rng.random() < 0.2:
            steps.append(_Step(value, "×", 2, "times"))
        else:
            steps.append(_change(rng, value=value))
    return steps


def _change(rng: random.Random, *, value: int) -> _Step:
    """A gain or a loss of 2 to 9 that leaves at least 1."""
    if value >= 4 and rng.random() < 0.5:
        return _Step(value, "-", rng.randint(2, min(value - 1, 9)), "loss")
    return _Step(value, "+", rng.randint(2, 9), "gain")


def _question(rng: random.Random, story: Story, steps: list[_Step], *, words: dict[str, str], joiner: str) -> str:
    first = steps[0]
    if first.kind == "groups":
        sentences = [story.groups.format(k=first.left, n=first.right, **words)]
        told = steps[1:]
    else:
        sentences = [story.opening.format(n=first.left, **words)]
        told = steps
    question = story.question
    for step in told:
        if step.kind == "times":
            sentences.append(story.times.format(k=step.right, **words))
            question = story.other_question
        else:
            choices = story.gains if step.kind == "gain" else story.losses
            sentences.append(rng.choice(choices).format(n=step.right, **words))
    sentences.append(question.format(**words))
    return joiner.join(sentences)


def _english_solution(rng: random.Random, steps: list[_Step], *, noun: str) -> str:
    openings = ("First, {s} {noun}.", "We have {s} {noun}.", "Start: {s} {noun}.")
    thens = ("Then {s}.", "Next, {s}.", "After that, {s}.")
    return " ".join(
        [
            rng.choice(openings).format(s=steps[0], noun=noun),
            *(rng.choice(thens).format(s=step) for step in steps[1:]),
            f"The answer is \\boxed{{{steps[-1].value}}}.",
        ]
    )


def _chinese_solution(rng: random.Random, steps: list[_Step], *, noun: str) -> str:
    openings = ("首先,{s}({noun})。", "先算{s}({noun})。", "由题意,{s}({noun})。")
    thens = ("然后{s}。", "接着{s}。", "再算{s}。")
    return "".join(
        [
            rng.choice(openings).format(s=steps[0], noun=noun).replace(",", "，"),
            *(rng.choice(thens).format(s=step) for step in steps[1:]),
            f"答案是\\boxed{{{steps[-1].value}}}。",
        ]
    )
