"""GRPO, PPO and online RFT with their options: each stopped and gone on with, against one run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from micro_model import LengthReward, write_model, write_problems
from safetensors.torch import load_file

from rl import train_grpo, train_ppo, train_rft
from rl.checkpoint import FILE_NAME
from rl.errors import CheckpointError, ConfigError
from rl.experience import OnlineConfig
from rl.losses import Objective
from rl.metrics import read_metrics
from rl.schedule import OptimConfig
from rl.train_grpo import GrpoConfig
from rl.train_ppo import PpoConfig
from rl.train_rft import RftConfig

SMALL: dict[str, Any] = {
    "num_steps": 4,
    "prompts_per_step": 3,
    "group_size": 4,
    "max_new_tokens": 6,
    "save_every": 100,
    "log_every": 100,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("micro")
    problems = write_problems(folder / "problems.jsonl")
    return {"model": str(write_model(folder / "model", problems)), "problems": str(problems)}


@pytest.fixture(autouse=True)
def _rewarded_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (train_grpo, train_ppo):
        monkeypatch.setattr(module, "make_reward", lambda _settings, device: LengthReward())
    monkeypatch.setattr(train_rft, "RuleReward", lambda **_limits: LengthReward())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


VARIANTS: dict[str, tuple[Callable[[Any], None], type[OnlineConfig], dict[str, Any]]] = {
    "grpo": (train_grpo.main, GrpoConfig, {"updates_per_step": 2, "objective": Objective(beta=0.05)}),
    "dapo": (
        train_grpo.main,
        GrpoConfig,
        {"objective": Objective(loss="dapo", clip_high=0.28), "max_refills": 2, "overlong_tokens": 3},
    ),
    "dr_grpo": (train_grpo.main, GrpoConfig, {"objective": Objective(loss="dr_grpo"), "advantage": "centred"}),
    "gspo": (train_grpo.main, GrpoConfig, {"objective": Objective(loss="gspo"), "updates_per_step": 2}),
    "cispo": (train_grpo.main, GrpoConfig, {"objective": Objective(loss="cispo", clip_high=4.0)}),
    "kl in the reward": (
        train_grpo.main,
        GrpoConfig,
        {
            "objective": Objective(beta=0.1, kl_place="reward", kl_estimator="k1"),
            "advantage": "leave_one_out",
            "updates_per_step": 2,
        },
    ),
    "iterations": (train_grpo.main, GrpoConfig, {"objective": Objective(beta=0.5), "iterations": 4}),
    "one step off": (train_grpo.main, GrpoConfig, {"objective": Objective(importance_cap=2.0), "rollout_lag": 1}),
    "ppo": (
        train_ppo.main,
        PpoConfig,
        {
            "objective": Objective(loss="ppo", kl_place="reward", kl_estimator="k1", beta=0.05),
            "gae_lambda": 0.95,
            "critic_warmup_steps": 1,
            "updates_per_step": 2,
        },
    ),
    "online rft": (train_rft.main, RftConfig, {"online": True}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_stopped_and_gone_on_with_equals_one_run_bitwise(
    name: str, inputs: dict[str, str], tmp_path: Path
) -> None:
    main, config, options = VARIANTS[name]
    settings = config(**inputs, **SMALL, **options, out_dir=str(tmp_path / "whole"))
    main(settings)
    in_parts = replace(settings, out_dir=str(tmp_path / "parts"))
    main(replace(in_parts, stop_after=2))
    main(in_parts)
    whole = weights(tmp_path / "whole")
    assert same_weights(whole, weights(tmp_path / "parts"))
    assert not same_weights(whole, load_file(Path(inputs["model"]) / "model.safetensors"))
    lines = [read_metrics(tmp_path / folder / "metrics.jsonl") for folder in ("whole", "parts")]
    assert [line["reward"] for line in lines[0]] == [line["reward"] for line in lines[1]]
    assert all(abs(line.get("kl", 0.0)) < 0.1 for line in lines[0])  # four small steps from the reference


def test_samples_drawn_one_step_ahead_come_from_older_weights(inputs: dict[str, str], tmp_path: Path) -> None:
    options = {"objective": Objective(importance_cap=2.0), "rollout_lag": 1}
    train_grpo.main(GrpoConfig(**inputs, **SMALL, **options, out_dir=str(tmp_path)))  # type: ignore[arg-type]
    gaps = [line["sampler_gap"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert gaps[0] < 1e-4  # the first step's samples are the model's own
    assert max(gaps[1:]) > 1e-3


def test_groups_without_signal_are_replaced(inputs: dict[str, str], tmp_path: Path) -> None:
    # two samples a group: half of the groups agree, so refills are due in nearly every step
    small = SMALL | {"group_size": 2, "prompts_per_step": 8}
    for refills in (0, 4):
        train_grpo.main(GrpoConfig(**inputs, **small, max_refills=refills, out_dir=str(tmp_path / str(refills))))
    without, refilled = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("0", "4"))
    assert sum(line["zero_signal_share"] for line in without) > 0.5
    assert sum(line["refilled_groups"] for line in refilled) > 2
    assert sum(line["zero_signal_share"] for line in refilled) < sum(line["zero_signal_share"] for line in without)


def test_an_iteration_resets_the_reference(inputs: dict[str, str], tmp_path: Path) -> None:
    for iterations in (1, 4):
        settings = GrpoConfig(
            **inputs,
            **SMALL,
            objective=Objective(beta=0.01),
            optim=OptimConfig(lr=0.01, schedule="constant", warmup_steps=0),
            iterations=iterations,
            out_dir=str(tmp_path / str(iterations)),
        )
        train_grpo.main(settings)
    once, every_step = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("1", "4"))
    assert once[-1]["kl"] > 1e-6
    assert [line["kl"] for line in every_step] == pytest.approx([0.0] * 4, abs=1e-12)


def test_a_run_made_anew_and_interrupted_does_not_take_up_the_old_one(inputs: dict[str, str], tmp_path: Path) -> None:
    settings = GrpoConfig(**inputs, **SMALL, out_dir=str(tmp_path))
    train_grpo.main(settings)
    old = weights(tmp_path)
    train_grpo.main(replace(settings, resume=False, stop_after=2, save_every=100))
    assert not (tmp_path / "model").exists()
    train_grpo.main(settings)
    assert same_weights(old, weights(tmp_path))  # the same run again, all four steps of it
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]


def test_rollouts_drawn_ahead_are_refused_on_another_number_of_ranks(inputs: dict[str, str], tmp_path: Path) -> None:
    settings = GrpoConfig(
        **inputs, **SMALL, objective=Objective(importance_cap=2.0), rollout_lag=1, out_dir=str(tmp_path), stop_after=2
    )
    train_grpo.main(settings)
    content = torch.load(tmp_path / FILE_NAME, weights_only=True)
    content["cursor"]["rollouts"] *= 2  # as two ranks write it
    torch.save(content, tmp_path / FILE_NAME)
    with pytest.raises(CheckpointError, match="as many ranks as it had, 2; here are 1"):
        train_grpo.main(replace(settings, stop_after=0))


def test_replaced_samples_count_as_sampled(inputs: dict[str, str], tmp_path: Path) -> None:
    small = SMALL | {"group_size": 2, "prompts_per_step": 8, "num_steps": 2}
    train_grpo.main(GrpoConfig(**inputs, **small, max_refills=3, out_dir=str(tmp_path)))
    for line in read_metrics(tmp_path / "metrics.jsonl"):
        assert line["refilled_groups"] > 0 and line["sampled_tokens"] > 16 * line["length"]


def test_the_critic_warms_up_before_the_policy_moves(inputs: dict[str, str], tmp_path: Path) -> None:
    settings = PpoConfig(**inputs, **SMALL, critic_warmup_steps=4, out_dir=str(tmp_path))
    train_ppo.main(settings)
    assert same_weights(weights(tmp_path), load_file(Path(inputs["model"]) / "model.safetensors"))
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["lr"] for line in lines] == [0.0] * 4
    losses = [line["value_loss"] for line in lines]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (GrpoConfig(rollout_lag=1), "set objective.importance_cap"),
        (GrpoConfig(rollout_lag=1, max_refills=1), "max_refills with rollout_lag=1"),
        (GrpoConfig(advantage="mean"), "advantage=mean: choose one of"),
        (GrpoConfig(overlong_tokens=96), "overlong_tokens=96"),
        (GrpoConfig(iterations=0), "iterations=0"),
        (GrpoConfig(iterations=2), "renews nothing"),
        (GrpoConfig(keep_zero_advantage_rows=True), "only costs time"),
        (GrpoConfig(reward="process", advantage="centred"), "step rewards"),
        (GrpoConfig(objective=Objective(beta=0.1, kl_estimator="k1")), "averages to zero"),
        (RftConfig(overlong_tokens=4), "right or wrong"),
        (PpoConfig(objective=Objective(loss="ppo")), "KL in the reward"),
        (PpoConfig(gae_lambda=1.5), "gae_lambda=1.5"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: OnlineConfig, message: str) -> None:
    mains = {PpoConfig: train_ppo.main, GrpoConfig: train_grpo.main, RftConfig: train_rft.main}
    main: Callable[[Any], None] = mains[type(settings)]  # type: ignore[index]
    with pytest.raises(ConfigError, match=message):
        main(settings)
