"""Labels for the steps of sampled solutions without a person: what becomes of them (Math-Shepherd, arXiv 2312.08935).

From the end of each step the policy completes the solution several times; the step's label is the share of completions
that end right (soft estimation). The share above 0 as 1 is hard estimation; which of them trains is chosen later.
The last step holds the answer: its label is the solution's own verdict, no completions are spent on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rl.questions import Questions
from rl.samples import Attempts, Sample, Source, draw_seed
from rl.solution_steps import step_ends


@dataclass(frozen=True)
class _Prefix:
    """A problem's prompt with the first steps of a solution."""

    place: int
    number: int
    """From 1, among the distinct prefixes of its problem."""
    ids: tuple[int, ...]
    """The steps, without the prompt."""
    budget: int
    """Most tokens of a completion. It follows from the prefix alone: the sampler's draws depend on it, and labels must
    not depend on what else is sampled at the time."""


def label_steps(
    source: Source,
    questions: Questions,
    attempts: Sequence[Attempts],
    *,
    num_completions: int,
    prefixes_at_once: int,
    round_number: int = 0,
) -> list[Attempts]:
    """The same attempts with `step_ends` and `step_labels`; samples without a verdict get none.

    Equal prefixes of a problem are completed once. A solution and its completion share max_new_tokens.
    A step none of whose completions could be graded is left out of its sample.
    """
    prefixes = [prefix for one in attempts for prefix in _prefixes(source, questions, one)]
    prefixes.sort(key=lambda prefix: (prefix.budget, len(prefix.ids), prefix.place, prefix.number))
    shares: dict[tuple[int, tuple[int, ...]], float | None] = {}
    for _, alike in groupby(prefixes, key=lambda prefix: prefix.budget):
        left = list(alike)
        for start in range(0, len(left), prefixes_at_once):
            chosen = left[start : start + prefixes_at_once]
            found = _complete(source, questions, chosen, num_completions=num_completions, round_number=round_number)
            shares |= {(prefix.place, prefix.ids): share for prefix, share in zip(chosen, found, strict=True)}
    return [
        replace(one, samples=[_labelled(source, one.place, sample, shares) for sample in one.samples])
        for one in attempts
    ]


def _ends(source: Source, sample: Sample) -> list[int]:
    return step_ends(sample.completion_ids, source.policy.decode) if sample.correct is not None else []


def _prefixes(source: Source, questions: Questions, attempts: Attempts) -> list[_Prefix]:
    """The distinct beginnings of a problem's solutions that end with a step but not the last."""
    longest = source.settings.max_new_tokens
    room = source.policy.max_length - len(questions.prompts[attempts.place])
    grain = max(1, longest // 8)  # few budgets: prefixes of one are sampled together
    ids = [tuple(sample.completion_ids[: end + 1]) for sample in attempts.samples for end in _ends(source, sample)[:-1]]
    found = []
    for number, one in enumerate(dict.fromkeys(ids), start=1):
        rest = -(-(longest - len(one)) // grain) * grain
        found.append(_Prefix(attempts.place, number, one, max(1, min(rest, room - len(one)))))
    return found


def _complete(
    source: Source, questions: Questions, prefixes: Sequence[_Prefix], *, num_completions: int, round_number: int
) -> list[float | None]:
    """The share of each prefix's completions that end right; None where none could be graded."""
    prompts = [[*questions.prompts[prefix.place], *prefix.ids] for prefix in prefixes]
    rollouts = source.sampler.sample(
        prompts,
        group_size=num_completions,
        max_new_tokens=prefixes[0].budget,
        temperature=source.settings.temperature,
        seeds=[
            draw_seed(source.settings.seed, round_number, prefix.place, prefix=prefix.number) for prefix in prefixes
        ],
    )
    texts, answers = [], []
    for index, rollout in enumerate(rollouts):
        prefix = prefixes[index // num_completions]
        rest = rollout.completion_ids[: source.settings.max_new_tokens - len(prefix.ids)]
        texts.append(source.policy.decode([*prefix.ids, *rest]))
        answers.append(questions.problems[prefix.place].answer)
    grades = source.verifier.grade_all(texts, answers, boxed_only=source.settings.boxed_only)
    shares: list[float | None] = []
    for start in range(0, len(grades), num_completions):
        verdicts = [g.correct for g in grades[start : start + num_completions] if g.correct is not None]
        shares.append(sum(verdicts) / len(verdicts) if verdicts else None)
    return shares


def _labelled(
    source: Source, place: int, sample: Sample, shares: dict[tuple[int, tuple[int, ...]], float | None]
) -> Sample:
    ends = _ends(source, sample)
    if sample.correct is None or not ends:
        return sample
    labels = [shares[place, tuple(sample.completion_ids[: end + 1])] for end in ends[:-1]] + [float(sample.correct)]
    known = [(end, label) for end, label in zip(ends, labels, strict=True) if label is not None]
    return replace(sample, step_ends=[end for end, _ in known], step_labels=[label for _, label in known])
