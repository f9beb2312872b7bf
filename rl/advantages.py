"""Advantages from rewards."""

import torch
from torch import Tensor


def group_advantages(rewards: Tensor, group_size: int, *, eps: float = 1e-4) -> Tensor:
    """Rewards standardised within each prompt's group (DeepSeekMath 4.1.2, outcome supervision).

    rewards: (P * G,), the G samples of a prompt adjacent; NaN where a grade is missing, and such a row counts neither
    for mean nor for spread and gets 0. Returns (P * G,). A group of equal rewards gives exact zeros. The spread is the
    sample standard deviation (n - 1), as in TRL; the paper leaves it open.
    """
    groups = rewards.view(-1, group_size)  # (P, G)
    graded = ~groups.isnan()
    values = groups.nan_to_num(0.0)
    num_graded = graded.sum(dim=1, keepdim=True)  # (P, 1)
    mean = values.sum(dim=1, keepdim=True) / num_graded.clamp(min=1)
    centred = torch.where(graded, values - mean, 0.0)
    spread = (centred.square().sum(dim=1, keepdim=True) / (num_graded - 1).clamp(min=1)).sqrt()
    # the mean of equal floats need not equal them: without this a solved group leaks noise of 1e-8 into the update
    highest = torch.where(graded, groups, -torch.inf).amax(dim=1, keepdim=True)
    lowest = torch.where(graded, groups, torch.inf).amin(dim=1, keepdim=True)
    return torch.where(highest > lowest, centred / (spread + eps), 0.0).view(-1)  # (P * G,)
