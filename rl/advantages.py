"""Advantages from rewards: of groups, of steps, and of tokens with a critic; the KL penalty as a reward.

Token vectors are flat, (T,), the rows one after another with `row_lengths` tokens each, as in `batches`.
"""

import torch
from torch import Tensor


def group_advantages(rewards: Tensor, group_size: int, *, eps: float = 1e-4) -> Tensor:
    """Rewards standardised within each prompt's group (DeepSeekMath 4.1.2, outcome supervision).

    rewards: (P * G,), the G samples of a prompt adjacent; NaN where a grade is missing, and such a row counts neither
    for mean nor for spread and gets 0. Returns (P * G,). A group of equal rewards gives exact zeros. The spread is the
    sample standard deviation (n - 1), as in TRL; the paper leaves it open.
    """
    return _standardise(rewards, _group_of_row(rewards, group_size), eps=eps)


def centred_advantages(rewards: Tensor, group_size: int) -> Tensor:
    """Rewards less the mean of their group, (P * G,): Dr. GRPO (arXiv 2503.20783), no division by the spread.

    Groups, missing grades and groups of equal rewards as in `group_advantages`.
    """
    return _centre(rewards, _group_of_row(rewards, group_size))[0]


def leave_one_out_advantages(rewards: Tensor, group_size: int) -> Tensor:
    """Rewards less the mean of the other rewards of their group, (P * G,): RLOO (arXiv 2402.14740).

    The baseline does not depend on the row itself, so the gradient is unbiased. Groups, missing grades and groups of
    equal rewards as in `group_advantages`; the only graded row of a group has no others and gets 0.
    """
    centred, counts = _centre(rewards, _group_of_row(rewards, group_size))
    return centred * counts / (counts - 1).clamp(min=1)  # r - mean of the others = n / (n - 1) * (r - mean)


def process_advantages(
    step_rewards: Tensor, step_ends: Tensor, row_lengths: Tensor, group_size: int, *, eps: float = 1e-4
) -> Tensor:
    """At each token, (T,), the sum of the standardised rewards of the steps that end there or later in its row.

    DeepSeekMath 4.1.3, process supervision: all step rewards of a group are standardised together, whichever row they
    are of. step_rewards: (S,), NaN where one is missing (left out of everything); step_ends: (S,) place in the flat
    vector of each step's last token; row_lengths: (P * G,). Tokens after a row's last step get 0.
    """
    row_of_token = torch.repeat_interleave(torch.arange(len(row_lengths)), row_lengths)  # (T,)
    standardised = _standardise(step_rewards, row_of_token[step_ends] // group_size, eps=eps)
    at_ends = standardised.new_zeros(len(row_of_token)).index_add(0, step_ends, standardised)
    return rewards_to_go(at_ends, row_lengths)


def token_rewards(rewards: Tensor, kl: Tensor, row_lengths: Tensor, *, beta: float) -> Tensor:
    """The reward of each token, (T,): -beta * kl_t, and at a row's last token its reward (DeepSeekMath Eq. 2).

    rewards: (rows,); kl: (T,), log pi_old - log pi_ref of the sampled tokens (`losses.kl_k1`).
    """
    ends = row_lengths.cumsum(0) - 1
    found = -beta * kl
    return found.index_add(0, ends[row_lengths > 0], rewards.to(found)[row_lengths > 0])


def kl_advantages(kl: Tensor, row_lengths: Tensor, *, beta: float) -> Tensor:
    """-beta times the KL from each token to the end of its row, (T,): to be added to a row's advantage.

    The KL as a reward for methods without a critic: with kl = log pi_old - log pi_ref the gradient is exactly that of
    -beta * KL(pi || pi_ref) over whole sequences. It is added after the group's rewards were standardised: before,
    a group of equal outcomes would be divided by the spread of its KL alone, whatever beta is.
    """
    return rewards_to_go(-beta * kl, row_lengths)


def rewards_to_go(rewards: Tensor, row_lengths: Tensor) -> Tensor:
    """At each token, (T,), the sum of `rewards` (T,) from it to the end of its row, itself included."""
    return _backward_sums(rewards, row_lengths, decay=1.0)


def gae(
    rewards: Tensor, values: Tensor, row_lengths: Tensor, *, gamma: float = 1.0, gae_lambda: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of tokens, two (T,): generalised advantage estimation (arXiv 1506.02438 Eq. 16).

    delta_t = r_t + gamma V_t+1 - V_t;  A_t = sum_k (gamma lambda)^k delta_t+k;  return = A_t + V_t, what the critic
    learns. rewards, values: (T,), V_t of the state in which token t was chosen. A row ends in a state of value 0, cut
    or not: its reward is the verdict on what stands there.
    """
    ends = row_lengths.cumsum(0)[row_lengths > 0] - 1
    following = values.roll(-1).index_fill(0, ends, 0.0)
    advantages = _backward_sums(rewards + gamma * following - values, row_lengths, decay=gamma * gae_lambda)
    return advantages, advantages + values


def _backward_sums(values: Tensor, row_lengths: Tensor, *, decay: float) -> Tensor:
    """s_t = values_t + decay * s_t+1 within each row, (T,): one pass over the longest row's positions."""
    num_rows, width = len(row_lengths), int(row_lengths.max()) if len(row_lengths) else 0
    # rows stand at the right edge, so that every row's end is the last column and the padding on the left stays 0
    columns = torch.arange(width, device=values.device)
    real = columns >= (width - row_lengths)[:, None]  # (rows, width)
    table = values.new_zeros(num_rows, width)
    table[real] = values
    for column in range(width - 2, -1, -1):
        table[:, column] += decay * table[:, column + 1]
    return table[real]


def _group_of_row(rewards: Tensor, group_size: int) -> Tensor:
    if len(rewards) % group_size:
        raise ValueError(f"{len(rewards)} rewards are no whole number of groups of {group_size}")
    return torch.arange(len(rewards), device=rewards.device) // group_size


def _centre(rewards: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Rewards less their group's mean, and how many of the group count, each as long as `rewards`.

    groups: the group of each reward. 0 where the reward is NaN; exact zeros where a group's rewards are equal: the
    mean of equal floats need not equal them, and a solved group would leak noise of 1e-8 into the update.
    """
    graded = ~rewards.isnan()
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    empty = rewards.new_zeros(num_groups)
    counts = empty.index_add(0, groups, graded.to(rewards.dtype))
    means = empty.index_add(0, groups, rewards.nan_to_num(0.0)) / counts.clamp(min=1)
    highest = (empty - torch.inf).scatter_reduce(0, groups, torch.where(graded, rewards, -torch.inf), "amax")
    lowest = (empty + torch.inf).scatter_reduce(0, groups, torch.where(graded, rewards, torch.inf), "amin")
    moves = graded & (highest > lowest)[groups]
    return torch.where(moves, rewards - means[groups], 0.0), counts[groups]


def _standardise(rewards: Tensor, groups: Tensor, *, eps: float) -> Tensor:
    centred, counts = _centre(rewards, groups)
    squares = rewards.new_zeros(int(groups.max()) + 1 if len(groups) else 0).index_add(0, groups, centred.square())
    spread = (squares[groups] / (counts - 1).clamp(min=1)).sqrt()
    return torch.where(centred != 0, centred / (spread + eps), 0.0)
