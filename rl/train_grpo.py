"""Group-relative policy optimisation: problems with answers -> a better policy (DeepSeekMath 4, Eq. 3, 20 and 21).

A step: G samples of each prompt -> a rule's reward -> standardised within the group -> PPO's clipped objective, each
sample weighing 1/|o_i|, minus beta times the k3 estimate of the KL to a frozen reference, inside the loss.
Rows without signal (zero advantage) never reach a forward pass; the first update of a step needs no old-policy pass;
the reference is loaded and run only when beta > 0.
Left out of the paper so far: the trained reward model (the reward here is a rule, as in DeepSeek-R1), process
supervision, and the iterative loop that renews reference and reward model.

    python rl/train_grpo.py --config configs/rl/grpo.yaml --model models/sft/model --problems data/problems/rl.jsonl
    torchrun --nproc-per-node 2 rl/train_grpo.py --config configs/rl/grpo.yaml --model M --problems P
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from rl import distributed
from rl.advantages import group_advantages
from rl.batches import Rollout, indices_of_step, lengths, micro_batches, per_token, sequence_weights
from rl.chat import check_template, prompt
from rl.checkpoint import fingerprint, is_done, open_checkpoint, restore, save_checkpoint
from rl.distributed import World
from rl.errors import ConfigError
from rl.losses import grpo, is_clipped, kl_k3
from rl.metrics import MetricsLog, write_json
from rl.policy import Policy, completion_logprobs, load_policy, save_policy
from rl.problems import Problem, read_problems
from rl.rewards import grade
from rl.rollouts import sample
from rl.schedule import OptimConfig, check_optim, learning_rate, make_optimiser, optimiser_step
from rl.settings import as_dict, launch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GrpoConfig:
    """Settings of a GRPO run."""

    model: str = "models/sft/model"
    """Hugging Face folder to start from; also the frozen reference when beta > 0."""
    problems: str = ""
    """FILE[,FILE] of JSON lines with question, answer and language."""
    template: str = "textbook"
    """textbook, plain or deepseek: the form the model was fine-tuned with."""
    num_steps: int = 250
    """Steps: each samples anew and updates `updates_per_step` times."""
    prompts_per_step: int = 16
    """Prompts a step, over all ranks."""
    group_size: int = 8
    """Samples a prompt, G (the paper: 64)."""
    max_new_tokens: int = 96
    """Longest completion in tokens; a longer one is cut and graded as it stands (the paper: 1024)."""
    temperature: float = 1.0
    """Of sampling, and of the log-probabilities trained on (not stated in the paper)."""
    rollout_rows: int = 256
    """Most rows decoded at once; changes memory and speed."""
    updates_per_step: int = 1
    """Optimiser updates on each step's rollouts, mu in Algorithm 1 (the paper: a single one)."""
    clip_range: float = 0.2
    """PPO's clip, epsilon (not stated in the paper); without effect in the first update."""
    beta: float = 0.0
    """Weight of the KL term (the paper: 0.04); 0 keeps no reference model."""
    keep_zero_advantage_rows: bool = False
    """With beta > 0, train rows of zero advantage for their KL term, as Eq. 3 has it to the letter; costs time."""
    boxed_only: bool = True
    """Reward only answers inside \\boxed{}; otherwise the last stated answer or number counts."""
    grade_timeout_s: int = 3
    """Limit of one symbolic comparison."""
    micro_batch_tokens: int = 16384
    """Most tokens (with padding) in one forward pass; changes memory and speed, not the result."""
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=3e-4, schedule="cosine", warmup_steps=5, beta2=0.99, weight_decay=0.0)
    )
    """Optimiser and schedule (the paper: learning rate 1e-6 at 7B)."""
    seed: int = 0
    """Draws the order of the prompts and the samples."""
    precision: str = "float32"
    """float32, or bfloat16 for the forward pass under autocast."""
    device: str = "auto"
    """auto, cpu or cuda."""
    num_threads: int = 1
    """CPU threads of torch; 0 leaves its own choice."""
    out_dir: str = "models/grpo"
    """Gets model/ (Hugging Face folder), metrics.jsonl, summary.json and checkpoint.pt."""
    resume: bool = True
    """Go on from out_dir's checkpoint when it is of the same settings."""
    save_every: int = 50
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between console lines."""
    stop_after: int = 0
    """Stop (with a checkpoint) when this step is reached; 0 runs to the end."""


def main(settings: GrpoConfig) -> None:
    _check(settings)
    problems = read_problems(settings.problems)
    world = distributed.start(settings.device, num_threads=settings.num_threads)
    policy = load_policy(settings.model, device=world.device, precision=settings.precision)
    reference = None
    if settings.beta > 0:
        reference = load_policy(settings.model, device=world.device, precision=settings.precision)
        reference.model.requires_grad_(False).eval()
    prompts = policy.encode([prompt(p.question, template=settings.template, language=p.language) for p in problems])
    fitting = [i for i, ids in enumerate(prompts) if len(ids) + settings.max_new_tokens <= policy.max_length]
    if not fitting:
        raise ConfigError(f"max_new_tokens={settings.max_new_tokens}: no prompt leaves room in {policy.max_length}")
    logger.info("%d prompts, %d left out as too long", len(fitting), len(problems) - len(fitting))
    out_dir = Path(settings.out_dir)
    plain = as_dict(settings) | {"inputs": fingerprint([settings.model, *settings.problems.split(",")])}
    optimiser = make_optimiser(policy.model, settings.optim)
    step = 0
    if state := open_checkpoint(out_dir, plain, resume=settings.resume):
        step, _ = restore(state, model=policy.model, optimiser=optimiser)
        logger.info("going on from step %d of %s", step, out_dir)
    if is_done(out_dir, step, num_steps=settings.num_steps):
        distributed.stop(world)
        return
    metrics = MetricsLog(out_dir, first_step=step, active=world.is_main)

    policy.model.eval()  # dropout would make the probability ratio noise; gradients flow all the same
    started, end = time.perf_counter(), settings.stop_after or settings.num_steps
    while step < min(end, settings.num_steps):
        clock = [time.perf_counter()]
        taken = indices_of_step(len(fitting), step, batch_size=settings.prompts_per_step, seed=settings.seed)
        mine = [fitting[index] for index in taken][world.rank :: world.size]
        rollouts = sample(
            policy,
            [prompts[index] for index in mine],
            group_size=settings.group_size,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            generator=torch.Generator().manual_seed(((settings.seed << 20) + step) * world.size + world.rank),
            max_rows=settings.rollout_rows,
        )
        clock.append(time.perf_counter())
        crashes = set_rewards(policy, rollouts, [problems[index] for index in mine], settings)
        set_advantages(rollouts, group_size=settings.group_size)
        clock.append(time.perf_counter())
        lr = learning_rate(step, settings.optim, num_steps=settings.num_steps)
        updated = update(policy, reference, rollouts, settings, optimiser=optimiser, lr=lr, world=world)
        clock.append(time.perf_counter())
        step += 1
        metrics.write(
            step,
            {**describe(rollouts, crashes, group_size=settings.group_size, world=world), **updated, "lr": lr}
            | {f"{name}_s": b - a for name, a, b in zip(("sample", "grade", "update"), clock, clock[1:], strict=False)},
            show=step % settings.log_every == 0 or step == settings.num_steps,
        )
        if world.is_main and (step % settings.save_every == 0 or step == end):
            save_checkpoint(out_dir, step=step, model=policy.model, optimiser=optimiser, settings=plain)
    if world.is_main and step == settings.num_steps:
        save_policy(policy, out_dir / "model")
        seconds = round(time.perf_counter() - started, 2)
        write_json(out_dir / "summary.json", {"settings": plain, "prompts": len(fitting), "seconds": seconds})
        logger.info("model in %s", out_dir / "model")
    distributed.stop(world)


def set_rewards(
    policy: Policy, rollouts: Sequence[Rollout], problems: Sequence[Problem], settings: GrpoConfig
) -> Counter[str]:
    """1 for a right answer, 0 for a wrong one, NaN where the grader crashed; returns the crashes by name."""
    crashes: Counter[str] = Counter()
    for rollout in rollouts:
        graded = grade(
            policy.decode(rollout.completion_ids),
            problems[rollout.group].answer,
            boxed_only=settings.boxed_only,
            timeout_s=settings.grade_timeout_s,
        )
        rollout.reward = float("nan") if graded.correct is None else float(graded.correct)
        if graded.correct is None:
            crashes[graded.rule] += 1
    for name, count in crashes.items():
        logger.warning("%d grades missing: %s", count, name)
    return crashes


def set_advantages(rollouts: Sequence[Rollout], *, group_size: int) -> None:
    """Standardises the rewards within each group, in place."""
    rewards = torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float64)
    for rollout, advantage in zip(rollouts, group_advantages(rewards, group_size).tolist(), strict=True):
        rollout.advantage = advantage


def update(
    policy: Policy,
    reference: Policy | None,
    rollouts: Sequence[Rollout],
    settings: GrpoConfig,
    *,
    optimiser: torch.optim.Optimizer,
    lr: float,
    world: World,
) -> dict[str, float]:
    """`updates_per_step` updates on the rollouts of this rank (and, together, of all); returns what to log."""
    graded = [rollout for rollout in rollouts if rollout.reward == rollout.reward]  # NaN: no grade
    keep_all = settings.keep_zero_advantage_rows and reference is not None
    rows = [rollout for rollout in graded if keep_all or rollout.advantage != 0]
    num_rows, num_trained, num_tokens = distributed.total(
        world, [len(graded), len(rows), int(lengths(rows).sum()) if rows else 0]
    )
    if num_trained == 0:  # an Adam step without gradient would still move the weights by its momentum
        return {"loss": 0.0, "grad_norm": 0.0, "kl": 0.0, "entropy": 0.0, "clip_share": 0.0, "sampler_gap": 0.0}
    row_lengths = lengths(rows)
    weights = sequence_weights(row_lengths, num_rows=int(num_rows))
    advantages = per_token(torch.tensor([rollout.advantage for rollout in rows], dtype=torch.float64), row_lengths)
    sampled = torch.tensor([logprob for rollout in rows for logprob in rollout.sampling_logprobs])
    old, ref = torch.zeros_like(sampled), torch.zeros_like(sampled)
    batches = micro_batches(rows, token_budget=settings.micro_batch_tokens, pad_id=policy.pad_id)
    sums, gap, norm = torch.zeros(4, dtype=torch.float64), 0.0, 0.0
    for number in range(settings.updates_per_step):
        sums.zero_()
        for batch in batches:
            on_device = batch.to(world.device)
            logprobs, entropy = completion_logprobs(policy, on_device, temperature=settings.temperature)
            if number == 0:  # the policy has not moved yet: its own values are the old policy's
                old[batch.flat] = logprobs.detach().cpu()
                gap = max(gap, float((old[batch.flat] - sampled[batch.flat]).abs().max()))
                if reference is not None:
                    with torch.no_grad():
                        ref[batch.flat] = completion_logprobs(reference, on_device, temperature=settings.temperature)[
                            0
                        ].cpu()
            old_now, ref_now, advantages_now, weights_now = (
                vector[batch.flat].to(logprobs) for vector in (old, ref, advantages, weights)
            )
            loss = grpo(
                logprobs,
                old_now,
                advantages=advantages_now,
                weights=weights_now,
                clip_range=settings.clip_range,
                beta=settings.beta,
                ref_logprobs=ref_now,
            )
            loss.backward()
            detached = logprobs.detach()
            clipped = is_clipped(detached, old_now, advantages=advantages_now, clip_range=settings.clip_range)
            kl = kl_k3(detached, ref_now).sum() if reference is not None else torch.zeros(())
            sums += torch.tensor([float(loss.detach()), float(kl), float(entropy.sum()), float(clipped.sum())])
        distributed.sum_gradients(world, policy.model)
        norm = optimiser_step(policy.model, optimiser, lr=lr, max_grad_norm=settings.optim.max_grad_norm)
    loss_sum, kl_sum, entropy_sum, clip_sum = distributed.total(world, sums.tolist())
    return {
        "loss": loss_sum,
        "grad_norm": norm,
        "kl": kl_sum / num_tokens,
        "entropy": entropy_sum / num_tokens,
        "clip_share": clip_sum / num_tokens,
        "sampler_gap": gap,
    }


def describe(rollouts: Sequence[Rollout], crashes: Counter[str], *, group_size: int, world: World) -> dict[str, float]:
    """The step's rollouts in numbers, over all ranks. reward is the share solved of those graded."""
    groups = [rollouts[start : start + group_size] for start in range(0, len(rollouts), group_size)]
    rewards = [rollout.reward for rollout in rollouts if rollout.reward == rollout.reward]
    count, num_groups, num_graded, reward, silent, tokens, cut, crashed = distributed.total(
        world,
        [
            len(rollouts),
            len(groups),
            len(rewards),
            sum(rewards),
            sum(all(rollout.advantage == 0 for rollout in group) for group in groups),
            sum(len(rollout.completion_ids) for rollout in rollouts),
            sum(not rollout.finished for rollout in rollouts),
            crashes.total(),
        ],
    )
    return {
        "reward": reward / max(num_graded, 1),
        "zero_signal_share": silent / max(num_groups, 1),
        "length": tokens / max(count, 1),
        "truncated_share": cut / max(count, 1),
        "grades_missing": crashed,
    }


def _check(settings: GrpoConfig) -> None:
    check_optim(settings.optim)
    check_template(settings.template)
    if settings.group_size < 2:
        raise ConfigError(f"group_size={settings.group_size}: a group-relative advantage needs 2 or more samples")
    if settings.temperature <= 0:
        raise ConfigError(f"temperature={settings.temperature}: samples of a group must differ; use a value above 0")
    if settings.updates_per_step < 1 or settings.max_new_tokens < 1 or settings.beta < 0:
        raise ConfigError("updates_per_step and max_new_tokens must be at least 1, beta at least 0")


if __name__ == "__main__":
    sys.exit(launch(main, GrpoConfig))
