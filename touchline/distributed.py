"""Several learners as one: data-parallel training under `torchrun`, one process a GPU (or a share of the cores).

Every process plays its share of the envs; gradients and the data of running statistics are put together, so that
weights stay equal on all of them to the last bit. Without torchrun every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes that learn together, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is; 0 writes the run directory."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def local_device(device: str) -> str:
    """This process' own GPU where "cuda" is asked for."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if world_size() > 1 and device == "cuda" else device


@contextmanager
def group(device: str) -> Iterator[None]:
    """The processes know each other inside: by NCCL on GPUs, by Gloo on CPUs."""
    if world_size() == 1:
        yield
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Makes every gradient the mean of all processes'."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def everyones(rows: Tensor) -> Tensor:
    """[K, ...] of every process, one after the other; K may differ."""
    if world_size() == 1:
        return rows
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.zeros_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    longest = int(max(counts))
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(number)] for part, number in zip(parts, counts, strict=True)])


def mean(number: Tensor) -> Tensor:
    """The mean of a number over all processes."""
    return everyones(number.reshape(1)).mean()


def anyone(flag: bool, device: str) -> bool:
    """Whether the flag is up in any of them."""
    return flag if world_size() == 1 else bool(everyones(torch.tensor([flag], device=device)).any())
