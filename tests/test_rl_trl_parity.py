"""Our losses against TRL's own code, GRPOTrainer._compute_loss, on the same tensors, with gradients, in float64."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rl.advantages import group_advantages, leave_one_out_advantages
from rl.batches import loss_weights, per_token
from rl.losses import Objective, clip_masks, policy_loss

trl = pytest.importorskip("trl", reason="TRL is in the dev extra")

LENGTHS = torch.tensor([5, 1, 3, 4])
WIDTH, MAX_NEW_TOKENS = 5, 7
MASK = torch.arange(WIDTH) < LENGTHS[:, None]  # (B, C)


class _Accelerator:
    num_processes, is_main_process, sync_gradients = 1, True, True

    def gather(self, value: Tensor) -> Tensor:
        return value

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        return value


def vectors() -> dict[str, Tensor]:
    """Padded (B, C) tensors whose padding holds large numbers, and ratios far enough from 1 for every clip to bind."""
    torch.manual_seed(3)
    logprobs = -torch.rand(4, WIDTH).double() - 0.5
    found = {
        "logprobs": logprobs,
        "old": logprobs + 0.3 * torch.randn(4, WIDTH).double(),
        "ref": logprobs + 0.5 * torch.randn(4, WIDTH).double(),
        "sampling": logprobs + 0.8 * torch.randn(4, WIDTH).double(),
    }
    return {name: torch.where(MASK, value, -7.0) for name, value in found.items()} | {
        "advantages": torch.tensor([1.2, -0.7, 0.4, -0.9], dtype=torch.float64)
    }


def trl_loss(values: dict[str, Tensor], loss_type: str, *, cap: float = 0.0, **settings: Any) -> tuple[Tensor, Any]:
    """TRL's loss over the padded batch, and the metrics it logged; `settings` overrides the trainer's fields."""
    args = {"use_bias_correction_kl": False, "delta": None, "steps_per_generation": 1}
    trainer = SimpleNamespace(
        loss_type=loss_type,
        beta=settings.pop("beta", 0.0),
        epsilon_low=settings.pop("epsilon_low", 0.2),
        epsilon_high=settings.pop("epsilon_high", 0.28),
        importance_sampling_level=settings.pop("level", "token"),
        args=SimpleNamespace(**(args | settings)),
        use_vllm=cap > 0,
        vllm_importance_sampling_correction=cap > 0,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=MAX_NEW_TOKENS,
        accelerator=_Accelerator(),
        _metrics={"train": _Lists()},
        # the model's forward pass is the one part that is not TRL's: the tensors are given
        _get_per_token_logps_and_entropies=lambda *_, **__: (values["logprobs"], torch.zeros(4, WIDTH), None),
    )
    ids = torch.zeros(4, WIDTH, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": torch.ones_like(ids[:, :1]),
        "completion_ids": ids,
        "completion_mask": MASK.double(),
        "advantages": values["advantages"],
        "old_per_token_logps": values["old"],
        "ref_per_token_logps": values["ref"],
        "num_items_in_batch": MASK.sum(),
        "importance_sampling_ratio": (values["old"] - values["sampling"]).exp().clamp(max=cap or 1.0),
    }
    return trl.GRPOTrainer._compute_loss(trainer, None, inputs), trainer._metrics["train"]


class _Lists(dict):
    def __missing__(self, key: str) -> list:
        return self.setdefault(key, [])


def our_loss(values: dict[str, Tensor], objective: Objective) -> Tensor:
    """Our loss on the real tokens alone, from the same leaf."""
    rows = torch.arange(4).repeat_interleave(LENGTHS)
    return policy_loss(
        values["logprobs"][MASK],
        values["old"][MASK],
        advantages=per_token(values["advantages"], LENGTHS),
        weights=loss_weights(
            objective.loss, LENGTHS, num_rows=4, num_tokens=int(LENGTHS.sum()), max_new_tokens=MAX_NEW_TOKENS
        ),
        rows=rows,
        objective=objective,
        ref_logprobs=values["ref"][MASK],
        sampling_logprobs=values["sampling"][MASK],
    )


CASES = [
    ("grpo", {}, Objective("grpo", 0.2, 0.28)),
    ("grpo", {"beta": 0.04}, Objective("grpo", 0.2, 0.28, beta=0.04)),
    (
        "grpo",
        {"beta": 0.4, "use_bias_correction_kl": True},
        Objective("grpo", 0.2, 0.28, beta=0.4, kl_unbiased_gradient=True),
    ),
    ("grpo", {"delta": 1.5}, Objective("grpo", 0.2, 0.28, dual_clip=1.5)),
    ("dapo", {}, Objective("dapo", 0.2, 0.28)),
    ("dapo", {"beta": 0.04}, Objective("dapo", 0.2, 0.28, beta=0.04)),
    ("bnpo", {"beta": 0.04}, Objective("dapo", 0.2, 0.28, beta=0.04)),  # the same where the step is one batch
    ("dr_grpo", {"beta": 0.04}, Objective("dr_grpo", 0.2, 0.28, beta=0.04)),
    ("cispo", {"epsilon_high": 1.3}, Objective("cispo", clip_high=0.3)),  # TRL's is the cap itself, ours cap - 1
    ("cispo", {"epsilon_high": 5.0, "beta": 0.1}, Objective("cispo", clip_high=4.0, beta=0.1)),
    ("grpo", {"level": "sequence", "epsilon_low": 0.05, "epsilon_high": 0.05}, Objective("gspo", 0.05, 0.05)),
    ("grpo", {"level": "sequence", "beta": 0.1}, Objective("gspo", 0.2, 0.28, beta=0.1)),
    ("grpo", {"cap": 2.0, "beta": 0.04}, Objective("grpo", 0.2, 0.28, beta=0.04, importance_cap=2.0)),
    ("dapo", {"cap": 3.0}, Objective("dapo", 0.2, 0.28, importance_cap=3.0)),
    ("cispo", {"cap": 1.5, "epsilon_high": 2.0}, Objective("cispo", clip_high=1.0, importance_cap=1.5)),
]  # fmt: skip


@pytest.mark.parametrize(("loss_type", "settings", "objective"), CASES)
def test_value_and_gradient_equal_trl(loss_type: str, settings: dict, objective: Objective) -> None:
    values = vectors()
    values["logprobs"].requires_grad_()
    theirs, _ = trl_loss(values, loss_type, **settings)
    ours = our_loss(values, objective)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    grads = [torch.autograd.grad(loss, values["logprobs"])[0] for loss in (ours, theirs)]
    assert torch.allclose(*grads, rtol=1e-6, atol=1e-14) and grads[0].abs().max() > 0
    assert not grads[0][~MASK].any()


@pytest.mark.parametrize(("level", "loss"), [("token", "dapo"), ("sequence", "gspo")])
def test_clip_shares_equal_those_trl_logs(level: str, loss: str) -> None:
    values = vectors()
    _, metrics = trl_loss(values, "dapo", level=level, epsilon_low=0.1, epsilon_high=0.05)
    rows, advantages = torch.arange(4).repeat_interleave(LENGTHS), per_token(values["advantages"], LENGTHS)
    low, high = clip_masks(
        values["logprobs"][MASK],
        values["old"][MASK],
        advantages=advantages,
        rows=rows,
        objective=Objective(loss, 0.1, 0.05),
    )
    # TRL's share is over tokens, or over sequences where the ratio is one a sequence
    ends = LENGTHS.cumsum(0) - 1
    ours = [(mask if level == "token" else mask[ends]).double().mean().item() for mask in (low, high)]
    assert ours == pytest.approx([metrics["clip_ratio/low_mean"][0], metrics["clip_ratio/high_mean"][0]], rel=1e-6)
    assert sum(ours) > 0


def test_group_advantages_equal_trl() -> None:
    # GRPOTrainer standardises with torch.std (n - 1) and adds 1e-4; RLOOTrainer subtracts the mean of the others
    rewards = torch.rand(12).double()
    groups = rewards.view(3, 4)
    theirs = ((groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)).view(-1)
    assert torch.allclose(group_advantages(rewards, 4), theirs, rtol=1e-6)
    others = (groups.sum(1, keepdim=True) - groups) / 3
    assert torch.allclose(leave_one_out_advantages(rewards, 4), (groups - others).view(-1), rtol=1e-6)
