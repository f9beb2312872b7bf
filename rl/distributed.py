"""One process or many: torchrun's environment, and sums over all ranks.

Losses carry the denominators of the whole step, so gradients are summed, not averaged, and the same step on one rank
or on eight gives the same update. Parameters are replicated; sharding (FSDP2) is not here yet.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from rl.errors import ConfigError


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def start(device: str = "auto", *, num_threads: int = 1) -> World:
    """The world torchrun describes, or a world of one; opens gloo or nccl when there are peers."""
    if num_threads:
        torch.set_num_threads(num_threads)
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and size > 1:
        device = f"cuda:{local}"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device={device}: {error}") from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device={device}: torch sees no GPU here; use --device cpu")
        torch.cuda.set_device(chosen)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=size)
    return World(rank, size, chosen)


_TORCHRUN = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def stop(world: World) -> None:
    """Waits for the peers and closes the connection."""
    if world.size > 1:
        dist.barrier()
        dist.destroy_process_group()


def total(world: World, values: Iterable[float]) -> list[float]:
    """Each value summed over the ranks."""
    numbers = torch.tensor(list(values), dtype=torch.float64, device=world.device)
    if world.size > 1:
        dist.all_reduce(numbers)
    return numbers.tolist()


def highest(world: World, value: float) -> float:
    """The largest of the ranks' values."""
    number = torch.tensor(value, dtype=torch.float64, device=world.device)
    if world.size > 1:
        dist.all_reduce(number, op=dist.ReduceOp.MAX)
    return float(number)


def gather(world: World, value: Any) -> list[Any]:
    """The value of every rank, in their order; plain values only."""
    found = [value] * world.size
    if world.size > 1:
        dist.all_gather_object(found, value)
    return found


def sum_gradients(world: World, model: nn.Module) -> None:
    """Replaces each gradient by its sum over the ranks; a rank that had no rows contributes zeros."""
    if world.size == 1:
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
