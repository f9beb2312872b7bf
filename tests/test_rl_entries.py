"""Each entry run for real on a micro model; the folder of one is the input of the next."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from micro_model import TINY, write_problems
from safetensors.torch import load_file

from rl import train_cpt, train_grpo, train_sft, train_tokenizer
from rl.checkpoint import FILE_NAME
from rl.losses import Objective
from rl.metrics import read_metrics
from rl.settings import launch

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: object, torchrun: int = 0) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable]
    if torchrun:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(torchrun)]
    return subprocess.run(
        [*launcher, str(ROOT / "rl" / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,  # entries work from any folder
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=120,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    problems = [json.loads(line) for line in write_problems(folder / "problems.jsonl").read_text().splitlines()]
    texts = [f"{problem['question']}\n{problem['solution']}" for problem in problems]
    (folder / "corpus").mkdir()
    pq.write_table(pa.table({"text": texts}), folder / "corpus" / "part.parquet")
    return folder


@pytest.fixture(scope="module")
def base(data: Path) -> Path:
    settings = train_tokenizer.TokenizerConfig(
        corpora=str(data / "corpus"), vocab_size=400, out_dir=str(data / "tokenizer")
    )
    train_tokenizer.main(settings)
    done = run(
        "train_cpt.py",
        *("--corpora", data / "corpus", "--tokenizer", data / "tokenizer", "--out_dir", data / "base"),
        *("--tiny.hidden_size", 16, "--tiny.num_layers", 1, "--tiny.num_heads", 2, "--tiny.max_length", 256),
        *("--num_steps", 12, "--block_size", 32, "--batch_size", 4, "--optim.warmup_steps", 2, "--optim.lr", 0.03),
    )
    assert done.returncode == 0, done.stderr
    assert "step    12" in done.stderr
    return data / "base"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def sft_settings(base: Path, data: Path, out: Path) -> train_sft.SftConfig:
    return train_sft.SftConfig(
        model=str(base / "model"), data=str(data / "problems.jsonl"), num_steps=4, out_dir=str(out), save_every=100
    )


def grpo_settings(base: Path, data: Path, out: Path) -> train_grpo.GrpoConfig:
    return train_grpo.GrpoConfig(
        model=str(base / "model"),
        problems=str(data / "problems.jsonl"),
        num_steps=4,
        prompts_per_step=2,
        group_size=4,
        max_new_tokens=6,
        objective=Objective(beta=0.05),
        updates_per_step=2,
        out_dir=str(out),
        save_every=100,
    )


def test_pretraining_lowers_the_loss_and_leaves_a_hugging_face_folder(base: Path) -> None:
    lines = read_metrics(base / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[-1]["nll"] < lines[0]["nll"] - 0.3
    assert json.loads((base / "summary.json").read_text())["tokens"] == 12 * 4 * 32
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {path.name for path in (base / "model").iterdir()}


def test_pretraining_stopped_and_resumed_equals_one_run_bitwise(base: Path, data: Path, tmp_path: Path) -> None:
    settings = train_cpt.CptConfig(
        corpora=str(data / "corpus"),
        tokenizer=str(data / "tokenizer"),
        tiny=TINY,
        num_steps=4,
        block_size=32,
        batch_size=4,
        out_dir=str(tmp_path / "whole"),
    )
    train_cpt.main(settings)
    train_cpt.main(replace(settings, out_dir=str(tmp_path / "parts"), stop_after=2))
    assert (tmp_path / "parts" / FILE_NAME).is_file() and not (tmp_path / "parts" / "model").exists()
    train_cpt.main(replace(settings, out_dir=str(tmp_path / "parts")))
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    nlls = [[line["nll"] for line in read_metrics(tmp_path / n / "metrics.jsonl")] for n in ("whole", "parts")]
    assert nlls[0] == nlls[1]


def test_fine_tuning_stopped_and_resumed_equals_one_run_bitwise(base: Path, data: Path, tmp_path: Path) -> None:
    train_sft.main(sft_settings(base, data, tmp_path / "whole"))
    train_sft.main(replace(sft_settings(base, data, tmp_path / "parts"), stop_after=2))
    train_sft.main(sft_settings(base, data, tmp_path / "parts"))
    summary = (tmp_path / "parts" / "summary.json").read_text()
    train_sft.main(sft_settings(base, data, tmp_path / "parts"))  # done already: writes nothing
    assert (tmp_path / "parts" / "summary.json").read_text() == summary
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert not same_weights(tmp_path / "whole", base)


def test_grpo_without_signal_leaves_the_weights_bitwise(base: Path, data: Path, tmp_path: Path) -> None:
    settings = replace(grpo_settings(base, data, tmp_path / "grpo"), objective=Objective(), num_steps=2)
    train_grpo.main(settings)
    assert {line["zero_signal_share"] for line in read_metrics(tmp_path / "grpo" / "metrics.jsonl")} == {1.0}
    assert same_weights(tmp_path / "grpo", base)


def test_scripts_from_fine_tuning_to_evaluation(base: Path, data: Path, tmp_path: Path) -> None:
    problems = data / "problems.jsonl"
    sft = run(
        "train_sft.py",
        *("--config", ROOT / "configs/rl/sft.yaml", "--model", base / "model", "--data", problems),
        *("--num_steps", 3, "--out_dir", tmp_path / "sft"),
    )
    assert sft.returncode == 0, sft.stderr
    grpo = run(
        "train_grpo.py",
        *("--config", ROOT / "configs/rl/grpo.yaml", "--model", tmp_path / "sft/model", "--problems", problems),
        *("--num_steps", 2, "--prompts_per_step", 2, "--max_new_tokens", 8, "--out_dir", tmp_path / "grpo"),
    )
    assert grpo.returncode == 0, grpo.stderr
    assert "reward" in grpo.stderr
    both = f"base={base / 'model'},grpo={tmp_path / 'grpo/model'}"
    evaluated = run(
        "run_eval.py",
        *("--config", ROOT / "configs/rl/eval.yaml", "--model", both, "--benchmarks", problems),
        *("--k", 2, "--limit", 6, "--max_new_tokens", 8, "--out", tmp_path / "eval.json"),
    )
    assert evaluated.returncode == 0, evaluated.stderr
    assert "grpo minus base, same questions" in evaluated.stdout
    report = json.loads((tmp_path / "eval.json").read_text())
    groups = report["models"][1]["groups"]
    assert {name: group["questions"] for name, group in groups.items()} == {"all": 6, "en": 3, "zh": 3}
    value, low, high = groups["all"]["bits_per_byte"]
    assert low <= value <= high and value > 0
    assert report["differences"][0]["bits_per_byte"][0] < 0  # three steps of fine-tuning already help


@pytest.mark.slow
def test_two_ranks_take_the_same_first_step_as_one(base: Path, data: Path, tmp_path: Path) -> None:
    # plain gradient sums must agree, so one step of equal weights follows up to float rounding
    train_sft.main(replace(sft_settings(base, data, tmp_path / "one"), num_steps=1))
    done = run(
        "train_sft.py",
        *("--model", base / "model", "--data", data / "problems.jsonl", "--num_steps", 1, "--save_every", 100),
        *("--out_dir", tmp_path / "two"),
        torchrun=2,
    )
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    lines = [read_metrics(tmp_path / name / "metrics.jsonl")[0] for name in ("one", "two")]
    assert lines[0]["grad_norm"] == pytest.approx(lines[1]["grad_norm"], rel=1e-5)
    assert lines[0]["nll"] == pytest.approx(lines[1]["nll"], rel=1e-6)
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


@pytest.mark.slow
def test_two_ranks_of_grpo_draw_the_same_samples_and_take_the_same_first_step_as_one(
    base: Path, data: Path, tmp_path: Path
) -> None:
    # chance rewards give an untrained model's samples a signal, and the same one on any number of ranks
    settings = (
        "--model",
        base / "model",
        "--problems",
        data / "problems.jsonl",
        "--reward",
        "random",
        "--num_steps",
        1,
    )
    sizes = ("--prompts_per_step", 6, "--group_size", 4, "--max_new_tokens", 12, "--log_every", 1)
    for name, ranks in (("one", 0), ("two", 2)):
        done = run("train_grpo.py", *settings, *sizes, "--out_dir", tmp_path / name, torchrun=ranks)
        assert done.returncode == 0, done.stderr
    lines = [read_metrics(tmp_path / name / "metrics.jsonl")[0] for name in ("one", "two")]
    for key in ("sampled_tokens", "reward", "trained_tokens", "zero_signal_share"):
        assert lines[0][key] == lines[1][key]
    assert lines[0]["grad_norm"] == pytest.approx(lines[1]["grad_norm"], rel=1e-5) and lines[0]["grad_norm"] > 0
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    # Adam's first step is the sign of the gradient times the learning rate: entries near zero may differ by twice that
    differing = sum(int((~torch.isclose(one[name], two[name], atol=1e-6)).sum()) for name in one)
    assert differing <= 0.001 * sum(tensor.numel() for tensor in one.values())


@pytest.mark.parametrize(
    ("module", "config", "argv", "message"),
    [
        (train_cpt, train_cpt.CptConfig, ["--corpora", "/nowhere"], "/nowhere: no Parquet files"),
        (train_sft, train_sft.SftConfig, ["--data", "/nowhere.jsonl"], "/nowhere.jsonl: no such file"),
        (train_grpo, train_grpo.GrpoConfig, ["--group_size", "1"], "group_size=1"),
        (train_grpo, train_grpo.GrpoConfig, ["--gropu_size", "8"], "did you mean group_size?"),
    ],
)
def test_what_the_user_can_mend_ends_with_exit_code_2(
    module: object, config: type, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(module.main, config, argv=argv) == 2  # type: ignore[attr-defined]
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error
