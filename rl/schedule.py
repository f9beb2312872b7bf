"""Learning-rate schedules and the optimiser."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from rl.errors import ConfigError

SCHEDULES = ("multi_step", "cosine", "constant")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule."""

    lr: float = 1e-3
    """Peak learning rate."""
    schedule: str = "multi_step"
    """multi_step (the paper's: x0.316 after 80% of the steps, x0.10 after 90%), cosine (to 10%) or constant."""
    warmup_steps: int = 20
    """Steps of linear warm-up."""
    beta1: float = 0.9
    """AdamW's first moment decay."""
    beta2: float = 0.95
    """AdamW's second moment decay (the paper's .95)."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices; vectors (norms, biases) are not decayed."""
    max_grad_norm: float = 1.0
    """Gradient norm above which the gradient is scaled down; 0 turns clipping off."""


def check_optim(config: OptimConfig) -> None:
    """Raises ConfigError where the settings cannot be meant."""
    if config.schedule not in SCHEDULES:
        raise ConfigError(f"optim.schedule={config.schedule}: choose one of {', '.join(SCHEDULES)}")
    if config.lr <= 0:
        raise ConfigError(f"optim.lr={config.lr}: the learning rate must be above 0")


def learning_rate(step: int, config: OptimConfig, *, num_steps: int) -> float:
    """The learning rate of step `step` (from 0) of `num_steps` (DeepSeekMath 2.2.1 for multi_step)."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    progress = step / max(num_steps, 1)
    if config.schedule == "multi_step":
        factor = 1.0 if progress < 0.8 else 0.316 if progress < 0.9 else 0.1
    elif config.schedule == "cosine":
        factor = 0.1 + 0.45 * (1 + math.cos(math.pi * min(progress, 1.0)))
    else:
        factor = 1.0
    return config.lr * factor


def make_optimiser(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def optimiser_step(model: nn.Module, optimiser: torch.optim.Optimizer, *, lr: float, max_grad_norm: float) -> float:
    """One update at `lr`; returns the gradient norm before clipping. Gradients are cleared."""
    for group in optimiser.param_groups:
        group["lr"] = lr
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm or math.inf)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(norm)
