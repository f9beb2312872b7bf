from pathlib import Path

import pytest
import torch

from rl.checkpoint import FILE_NAME, fingerprint, open_checkpoint, restore, save_checkpoint
from rl.errors import CheckpointError
from rl.metrics import MetricsLog, read_metrics


def parts() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Linear(2, 1)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def train(model: torch.nn.Module, optimiser: torch.optim.Optimizer, num_steps: int) -> None:
    for _ in range(num_steps):
        model(torch.randn(4, 2)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()


def test_a_restored_run_goes_on_bitwise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, optimiser = parts()
    train(model, optimiser, 3)
    save_checkpoint(
        tmp_path, step=3, states={"model": model, "optimiser": optimiser}, settings={"a": 1}, cursor={"row": 7}
    )
    train(model, optimiser, 3)
    again, again_optimiser = parts()
    torch.manual_seed(99)
    state = open_checkpoint(tmp_path, {"a": 1}, resume=True)
    assert state is not None
    assert restore(state, {"model": again, "optimiser": again_optimiser}) == (3, {"row": 7})
    train(again, again_optimiser, 3)
    assert torch.equal(model.weight, again.weight)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_checkpoint_of_other_settings_is_refused_by_their_names(tmp_path: Path) -> None:
    model, optimiser = parts()
    saved = {"seed": 1, "optim": {"lr": 0.1}, "log_every": 5}
    save_checkpoint(tmp_path, step=1, states={"model": model, "optimiser": optimiser}, settings=saved)
    with pytest.raises(CheckpointError, match="seed: 1 there, 2 here"):
        open_checkpoint(tmp_path, saved | {"seed": 2}, resume=True)
    assert open_checkpoint(tmp_path, saved | {"log_every": 50}, resume=True) is not None  # changes no number
    assert open_checkpoint(tmp_path, saved | {"seed": 2}, resume=False) is None
    assert open_checkpoint(tmp_path / "empty", saved, resume=True) is None


def test_a_damaged_checkpoint_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="delete it or start anew"):
        open_checkpoint(tmp_path, {}, resume=True)


def test_a_model_trained_anew_under_the_same_path_has_another_fingerprint(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"head" + bytes(3 << 20) + b"tail")
    first = fingerprint([tmp_path, ""])
    weights.write_bytes(b"head" + bytes(3 << 20) + b"TAIL")
    assert fingerprint([tmp_path]) != first
    weights.write_bytes(b"head" + bytes(3 << 20) + b"tail")
    assert fingerprint([tmp_path]) == first


def test_metrics_of_steps_after_the_checkpoint_are_dropped_and_a_cut_line_is_no_error(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"nll": float(step)}, show=False)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "nl')
    MetricsLog(tmp_path, first_step=2).write(3, {"nll": 9.0}, show=False)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["nll"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 9.0)]
