"""What a step learns from: problems as prompts, groups of samples, their rewards.

Grading goes on while the next prompts are sampled; groups without signal can be replaced (DAPO's dynamic sampling);
the samples of the next step can be drawn while this one's update runs (one step off-policy).
"""

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from rl import distributed
from rl.batches import Rollout, indices_of_step
from rl.errors import CheckpointError, ConfigError
from rl.metrics import shown_completions
from rl.policy import Policy
from rl.problems import Problem
from rl.questions import Questions, SamplingConfig, check_sampling
from rl.rewards import Reward, overlong_penalty
from rl.rollouts import Sampler, make_sampler, prompt_seed
from rl.schedule import OptimConfig
from rl.training_run import TrainingRun
from rl.updates import UpdateConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(SamplingConfig):
    """Settings of every entry that samples from the model it trains."""

    prompts_per_step: int = 16
    """Prompts a step, over all ranks."""
    rollout_lag: int = 0
    """1: the next step's samples are drawn while this step updates, by the weights before it (GRPO and PPO: then set
    objective.importance_cap)."""
    max_refills: int = 0
    """Times a step samples further prompts in place of groups without signal (DAPO's dynamic sampling); 0: never."""
    overlong_tokens: int = 0
    """The last tokens before max_new_tokens over which the reward falls by up to 1 (DAPO's overlong shaping)."""
    updates_per_step: int = 1
    """Optimiser updates on each step's rollouts, mu in Algorithm 1 (the paper: a single one)."""
    num_steps: int = 250
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=3e-4, schedule="cosine", warmup_steps=5, beta2=0.99, weight_decay=0.0)
    )
    """Optimiser and schedule of the policy (the paper's GRPO: learning rate 1e-6 at 7B)."""
    save_every: int = 50


def check_online(settings: OnlineConfig) -> None:
    """Raises ConfigError where the settings cannot be meant."""
    check_sampling(settings)
    if settings.rollout_lag not in (0, 1):
        raise ConfigError(f"rollout_lag={settings.rollout_lag}: 0 (on-policy) or 1 (one step off)")
    if settings.rollout_lag and settings.max_refills:
        raise ConfigError("max_refills with rollout_lag=1: groups are graded too late to be replaced; use one of them")
    for name in ("prompts_per_step", "updates_per_step"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least 1")
    if not 0 <= settings.overlong_tokens < settings.max_new_tokens:
        raise ConfigError(
            f"overlong_tokens={settings.overlong_tokens}: at least 0 and below max_new_tokens={settings.max_new_tokens}"
        )


def update_config(settings: OnlineConfig, *, keep_zero_advantage_rows: bool = False) -> UpdateConfig:
    """What `update_policy` takes of an entry's settings."""
    return UpdateConfig(
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        token_budget=settings.micro_batch_tokens,
        updates_per_step=settings.updates_per_step,
        max_grad_norm=settings.optim.max_grad_norm,
        keep_zero_advantage_rows=keep_zero_advantage_rows,
    )


def make_online_sampler(settings: OnlineConfig, policy: Policy) -> Sampler:
    """The sampler of a run that trains what it samples from; with rollout_lag its weights stand apart."""
    return make_sampler(settings.sampler, policy, max_rows=settings.rollout_rows, apart=bool(settings.rollout_lag))


@dataclass
class Experience:
    """The graded rollouts of one step on this rank, groups adjacent."""

    rollouts: list[Rollout]
    problems: list[Problem]
    """One a group."""
    crashes: Counter[str] = field(default_factory=Counter)
    """Grades missing, by reason."""
    refilled_groups: int = 0
    """Groups without signal that others have replaced."""
    sampled_tokens: int = 0
    """Of all samples, those of replaced groups too."""


@dataclass(frozen=True)
class _Taken:
    """One prompt of a step."""

    question: int
    """Its index in the questions."""
    seed: int
    """Of its samples."""


class Collector:
    """Draws a step's rollouts and has them rewarded."""

    def __init__(
        self, settings: OnlineConfig, run: TrainingRun, questions: Questions, *, sampler: Sampler, reward: Reward
    ) -> None:
        self.settings, self.run, self.questions = settings, run, questions
        self.sampler, self.reward = sampler, reward
        self._ahead: Future[list[Rollout]] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1) if settings.rollout_lag else None
        if ahead := run.cursor.get("rollouts"):  # drawn before the checkpoint, by weights that are no more
            if len(ahead) != run.world.size:
                raise CheckpointError(
                    f"{run.out_dir}: with rollout_lag=1 a run goes on with as many ranks as it had, {len(ahead)}; "
                    f"here are {run.world.size}"
                )
            self._ahead = Future()
            self._ahead.set_result([Rollout(**values) for values in ahead[run.world.rank]])

    def collect(self, policy: Policy) -> Experience:
        """The rollouts of the run's present step, rewarded.

        With rollout_lag they were drawn during the last step; those of the next step start to be drawn now.
        """
        settings, step = self.settings, self.run.step
        if settings.rollout_lag:
            return self._collect_ahead(policy)
        with self.run.phase("sync"):
            self.sampler.sync(policy)
        experience = self._draw(self._taken(step), policy)
        for refill in range(1, settings.max_refills + 1):
            silent = _silent_groups(experience.rollouts, settings.group_size)
            if not silent:
                break
            more = self._draw(self._taken(step, refill=refill)[: len(silent)], policy)
            _replace_groups(experience, silent, more, group_size=settings.group_size)
        return experience

    def settle(self) -> None:
        """Waits until nothing is being sampled ahead: the sampler is then free for another use."""
        if self._ahead is not None:
            self._ahead.result()

    def cursor(self) -> dict[str, Any]:
        """What a resumed run needs of this: the rollouts drawn ahead, by rank. All ranks call it together."""
        if self._ahead is None:
            return {}
        rollouts = [asdict(rollout) for rollout in self._ahead.result()]
        return {"rollouts": distributed.gather(self.run.world, rollouts)}

    def close(self) -> None:
        """Ends the thread that draws ahead and the graders."""
        if self._thread:
            self._thread.shutdown()
        self.reward.close()

    def _taken(self, step: int, *, refill: int = 0) -> list[_Taken]:
        """The questions of this rank in `step`; every refill has an order of its own."""
        settings, world = self.settings, self.run.world
        size, seed = settings.prompts_per_step, settings.seed + refill * 1_000_003
        questions = indices_of_step(len(self.questions.prompts), step, batch_size=size, seed=seed)
        first = refill * size
        # a place in the whole step has its seed, so that any number of ranks draws the same samples
        taken = [
            _Taken(question, prompt_seed(settings.seed, step, first + place))
            for place, question in enumerate(questions)
        ]
        return taken[world.rank :: world.size]

    def _draw(self, taken: Sequence[_Taken], policy: Policy) -> Experience:
        """Groups sampled part by part, each handed to the graders while the next is sampled."""
        prompts_at_once = max(1, self.settings.rollout_rows // self.settings.group_size)
        # like lengths together: a short prompt beside a long one is mostly padding
        taken = sorted(taken, key=lambda one: (len(self.questions.prompts[one.question]), one.seed))
        rollouts: list[Rollout] = []
        for start in range(0, len(taken), prompts_at_once):
            chosen = taken[start : start + prompts_at_once]
            with self.run.phase("sample"):
                part = self._sample(chosen)
            rollouts += part
            self.reward.start(part, self._problems(chosen), policy=policy)
        return self._rewarded(rollouts, self._problems(taken))

    def _sample(self, taken: Sequence[_Taken]) -> list[Rollout]:
        settings = self.settings
        return self.sampler.sample(
            [self.questions.prompts[one.question] for one in taken],
            group_size=settings.group_size,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            seeds=[one.seed for one in taken],
        )

    def _problems(self, taken: Sequence[_Taken]) -> list[Problem]:
        return [self.questions.problems[one.question] for one in taken]

    def _rewarded(self, rollouts: list[Rollout], problems: list[Problem]) -> Experience:
        settings = self.settings
        with self.run.phase("grade"):
            crashes = self.reward.finish()
        if settings.overlong_tokens:
            for rollout in rollouts:
                length = len(rollout.completion_ids)
                rollout.reward -= overlong_penalty(length, settings.max_new_tokens, buffer=settings.overlong_tokens)
        for index, rollout in enumerate(rollouts):
            rollout.group = index // settings.group_size
        for name, count in crashes.items():
            logger.warning("%d grades missing: %s", count, name)
        sampled_tokens = sum(len(rollout.completion_ids) for rollout in rollouts)
        return Experience(rollouts, problems, crashes, sampled_tokens=sampled_tokens)

    def _collect_ahead(self, policy: Policy) -> Experience:
        assert self._thread is not None
        step = self.run.step
        if self._ahead is None:  # the first step of all has nothing drawn ahead: it is on-policy
            self.sampler.sync(policy)
            self._ahead = self._thread.submit(self._sample, self._taken(step))
        with self.run.phase("sample"):
            rollouts = self._ahead.result()
        with self.run.phase("sync"):
            self.sampler.sync(policy)
        is_last = step + 1 == self.settings.num_steps
        self._ahead = None if is_last else self._thread.submit(self._sample, self._taken(step + 1))
        problems = self._problems(self._taken(step))
        self.reward.start(rollouts, problems, policy=policy)
        return self._rewarded(rollouts, problems)


def describe(experience: Experience, group_size: int, *, run: TrainingRun) -> dict[str, float]:
    """The step's rollouts in numbers, over all ranks; `reward` is the mean of what was rewarded."""
    rollouts = experience.rollouts
    rewards = [rollout.reward for rollout in rollouts if rollout.reward == rollout.reward]
    solved = [rollout.solved for rollout in rollouts if rollout.solved == rollout.solved]
    lengths = [len(rollout.completion_ids) for rollout in rollouts]
    sums = distributed.total(
        run.world,
        [
            len(rollouts),
            len(rewards),
            sum(rewards),
            len(solved),
            sum(solved),
            len(_silent_groups(rollouts, group_size)),
            sum(lengths),
            sum(not rollout.finished for rollout in rollouts),
            experience.crashes.total(),
            experience.refilled_groups,
            experience.sampled_tokens,
        ],
    )
    count, num_rewarded, reward, num_graded, num_solved, silent, tokens, cut, missing, refilled, sampled = sums
    return {
        "reward": reward / max(num_rewarded, 1),
        "solved_share": num_solved / max(num_graded, 1),
        "zero_signal_share": silent * group_size / max(count, 1),
        "length": tokens / max(count, 1),
        "longest": distributed.highest(run.world, max(lengths, default=0)),
        "truncated_share": cut / max(count, 1),
        "grades_missing": missing,
        "refilled_groups": refilled,
        "sampled_tokens": sampled,
    }


def completions_to_read(experience: Experience, policy: Policy) -> list[dict[str, Any]]:
    """Some of the step's samples as text, for completions.jsonl."""
    return shown_completions(
        experience.rollouts, [problem.answer for problem in experience.problems], decode=policy.decode
    )


def _silent_groups(rollouts: Sequence[Rollout], group_size: int) -> list[int]:
    """The groups whose known rewards, of steps where there are such, are all equal: their advantages are zero."""
    silent = []
    for index in range(len(rollouts) // group_size):
        group = rollouts[index * group_size : (index + 1) * group_size]
        graded = [rollout for rollout in group if rollout.reward == rollout.reward]
        of_steps = {reward for rollout in graded for _, reward in rollout.step_rewards}
        signals = of_steps or {rollout.reward for rollout in graded}
        if len(signals) < 2:
            silent.append(index)
    return silent


def _replace_groups(experience: Experience, silent: Sequence[int], more: Experience, *, group_size: int) -> None:
    """Puts the groups of `more` that carry signal in the places of silent ones."""
    without = set(_silent_groups(more.rollouts, group_size))
    found = [index for index in range(len(more.problems)) if index not in without]
    for place, index in zip(silent, found, strict=False):
        group = more.rollouts[index * group_size : (index + 1) * group_size]
        for rollout in group:
            rollout.group = place
        experience.rollouts[place * group_size : (place + 1) * group_size] = group
        experience.problems[place] = more.problems[index]
        experience.refilled_groups += 1
    experience.crashes.update(more.crashes)
    experience.sampled_tokens += more.sampled_tokens
