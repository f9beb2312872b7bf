"""DPO on samples of a micro model that is right one time in three (tests/digit_policy.py)."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from digit_policy import make_digit_policy
from safetensors.torch import load_file

from rl import train_dpo
from rl.distributed import World
from rl.metrics import read_metrics
from rl.policy import Policy, load_policy
from rl.questions import encode_questions
from rl.rollouts import make_sampler
from rl.samples import Attempts, Sample, read_samples
from rl.schedule import OptimConfig
from rl.settings import launch, read_settings
from rl.verifier import Verifier

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_digit_policy(tmp_path_factory.mktemp("digits"))


def settings_for(made: tuple[Path, Path], out: Path) -> train_dpo.DpoConfig:
    return train_dpo.DpoConfig(
        model=str(made[0]),
        problems=str(made[1]),
        group_size=8,
        max_new_tokens=30,
        beta=0.1,
        num_steps=40,
        batch_size=8,
        optim=OptimConfig(lr=1e-3, schedule="constant", warmup_steps=2, weight_decay=0.0),
        out_dir=str(out),
    )


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def share_right(folder: Path, settings: train_dpo.DpoConfig) -> float:
    policy = load_policy(folder, device=CPU)
    questions = encode_questions(policy, settings)
    rollouts = make_sampler("native", policy).sample(
        questions.prompts, group_size=8, max_new_tokens=30, temperature=1.0, seeds=range(20)
    )
    texts = [policy.decode(rollout.completion_ids) for rollout in rollouts]
    with Verifier(num_workers=1) as verifier:
        grades = verifier.grade_all(texts, ["1"] * len(texts), boxed_only=True)
    return sum(grade.correct is True for grade in grades) / len(grades)


def test_training_prefers_right_samples_and_resumes_bitwise(made: tuple[Path, Path], tmp_path: Path) -> None:
    settings = settings_for(made, tmp_path / "whole")
    train_dpo.main(settings)
    lines = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    # the policy is its own reference at first: both implicit rewards are 0, neither row is preferred
    assert lines[0]["loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert abs(lines[0]["margin"]) < 1e-6 and lines[-1]["margin"] > 0.2
    assert lines[-1]["accuracy"] > 0.9 and lines[-1]["loss"] < lines[0]["loss"] - 0.1
    for line in lines:
        assert line["margin"] == pytest.approx(line["right_reward"] - line["wrong_reward"], abs=1e-9)
    train_dpo.main(replace(settings, out_dir=str(tmp_path / "parts"), stop_after=19))
    assert not (tmp_path / "parts" / "model").exists()
    train_dpo.main(replace(settings, out_dir=str(tmp_path / "parts")))
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    resumed = read_metrics(tmp_path / "parts" / "metrics.jsonl")
    assert [line["loss"] for line in resumed] == [line["loss"] for line in lines]
    before, after = (share_right(folder, settings) for folder in (made[0], tmp_path / "whole" / "model"))
    assert before < 0.5 and after > before + 0.1
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["pairs"] > 20


def test_pairs_come_from_the_kept_samples(made: tuple[Path, Path], tmp_path: Path) -> None:
    settings = replace(settings_for(made, tmp_path / "dpo"), num_steps=1, max_pairs=2)
    train_dpo.main(settings)
    attempts = read_samples(tmp_path / "dpo")
    assert [one.place for one in attempts] == list(range(20))
    solvable = sum(0 < sum(one.verdicts) < len(one.verdicts) for one in attempts)
    assert solvable < json.loads((tmp_path / "dpo" / "summary.json").read_text())["pairs"] <= 2 * solvable


def hand_pairs(policy: Policy, settings: train_dpo.DpoConfig, tmp_path: Path) -> list[train_dpo.Pair]:
    def sample(ids: list[int], correct: bool) -> Sample:
        return Sample([5, 6], ids, "", True, correct)

    attempts = [
        Attempts(0, "a", [sample([7, 8, 9], True), sample([10], False)]),
        Attempts(1, "b", [sample([11, 12], True), sample([13, 14, 15, 16], False)]),
        Attempts(2, "c", [sample([17], True), sample([18, 19], False)]),
    ]
    return train_dpo.make_pairs(attempts, policy, settings, world=ALONE)


@pytest.mark.parametrize("mean_over_tokens", [False, True])
def test_loss_and_gradient_by_the_formula_for_any_micro_batch(
    made: tuple[Path, Path], tmp_path: Path, mean_over_tokens: bool
) -> None:
    policy = load_policy(made[0], device=CPU)
    policy.model.double()
    settings = replace(settings_for(made, tmp_path), beta=0.7, mean_over_tokens=mean_over_tokens)
    pairs = hand_pairs(policy, settings, tmp_path)
    with torch.no_grad():  # away from the reference, or the loss is log 2 whatever the pairs
        policy.model.get_input_embeddings().weight.mul_(1.3)

    def log_ratio(row: Sample, ref: torch.Tensor) -> torch.Tensor:
        ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
        log_all = policy.model(input_ids=ids).logits[0].log_softmax(dim=-1)
        first = len(row.prompt_ids) - 1
        chosen = torch.stack([log_all[first + place, token] for place, token in enumerate(row.completion_ids)])
        return (chosen - ref).mean() if mean_over_tokens else (chosen - ref).sum()

    loss = torch.zeros((), dtype=torch.float64)
    ordered = 0
    for pair in pairs:
        right, wrong = pair.rows
        refs = pair.ref_logprobs.split([len(right.completion_ids), len(wrong.completion_ids)])
        margin = log_ratio(right, refs[0]) - log_ratio(wrong, refs[1])
        ordered += bool(margin > 0)
        loss = loss - (1 / (1 + (-0.7 * margin).exp())).log() / 3
    policy.model.zero_grad()
    loss.backward()
    expected = [parameter.grad.clone() for parameter in policy.model.parameters()]
    for token_budget, order in ((1000, 1), (1, 1), (14, -1)):
        policy.model.zero_grad()
        changed = replace(settings, micro_batch_tokens=token_budget)
        found = train_dpo.accumulate_dpo(policy, pairs[::order], changed, num_pairs=3, device=CPU)
        assert found[0] == pytest.approx(loss.item(), rel=1e-9) and found[1] == ordered
        torch.testing.assert_close(
            [parameter.grad for parameter in policy.model.parameters()], expected, rtol=1e-7, atol=1e-12
        )


def test_wrong_graded_or_never_right_problems_end_with_the_reason(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [json.loads(line) | {"answer": "77"} for line in made[1].read_text().splitlines()]
    (tmp_path / "hard.jsonl").write_text("\n".join(map(json.dumps, problems)))
    argv = ["--model", str(made[0]), "--problems", str(tmp_path / "hard.jsonl"), "--group_size", "2"]
    argv += ["--out_dir", str(tmp_path / "dpo"), "--max_new_tokens", "20"]
    assert launch(train_dpo.main, train_dpo.DpoConfig, argv=argv) == 2
    assert "no problem has both right and wrong samples, so there are no pairs; give" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--beta", "0"], "beta=0.0: above 0"),
        (["--max_pairs", "0"], "max_pairs=0: at least 1"),
        (["--group_size", "1"], "group_size=1: right and wrong samples"),
        (["--temperature", "0"], "temperature=0.0"),
        (["--bata", "1"], "did you mean beta?"),
    ],
)
def test_what_the_user_can_mend_ends_with_exit_code_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(train_dpo.main, train_dpo.DpoConfig, argv=argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


def test_the_shipped_config_is_the_default_one() -> None:
    shipped = read_settings(train_dpo.DpoConfig, ["--config", str(ROOT / "configs/rl/dpo.yaml")])
    assert shipped == train_dpo.DpoConfig()


def test_the_script_runs_from_any_folder(made: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "rl/train_dpo.py"), "--config", str(ROOT / "configs/rl/dpo.yaml")]
    command += ["--model", str(made[0]), "--problems", str(made[1]), "--out_dir", str(tmp_path / "dpo")]
    command += ["--num_steps", "2", "--max_new_tokens", "20", "--log_every", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "margin" in done.stderr and (tmp_path / "dpo/model/model.safetensors").is_file()


@pytest.mark.slow
def test_two_ranks_take_the_same_first_step_as_one(made: tuple[Path, Path], tmp_path: Path) -> None:
    one = replace(settings_for(made, tmp_path / "one"), num_steps=2)
    train_dpo.main(one)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "rl" / "train_dpo.py"), "--model", str(made[0]), "--problems", str(made[1])]
    command += [
        "--out_dir",
        str(tmp_path / "two"),
        "--num_steps",
        "2",
        "--max_new_tokens",
        "30",
        "--batch_size",
        "8",
        "--beta",
        "0.1",
    ]
    command += ["--optim.lr", "1e-3", "--optim.schedule", "constant", "--optim.warmup_steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two")]
    for ours, theirs in zip(*lines, strict=True):
        for name in ("loss", "grad_norm", "margin"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6)
