"""Episodic memories: what every column has seen in its running episode, and how near a new observation is to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

AGGREGATIONS = ("percentile", "nth_largest", "max", "relative_count")
REPLACEMENTS = ("random", "fifo")


def aggregate(similarity: Tensor, count: Tensor, *, how: str, percentile: float = 90.0, nth: int = 10) -> Tensor:
    """One similarity [B] to a whole memory from those to its entries [B, K] (Savinov et al. 2019, section 2.2,
    https://arxiv.org/abs/1810.02274); 0 to an empty one.

    Args:
        similarity: [B, K], each 0 to 1; only the first `count` entries of a row are looked at.
        count: [B] entries in use.
        how: "percentile" (interpolated linearly), "nth_largest" (the smallest of fewer), "max", or "relative_count",
            the share of entries above a half.
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"no {how!r} in aggregations; there are {', '.join(AGGREGATIONS)}")
    used = torch.arange(similarity.shape[1], device=similarity.device) < count[:, None]
    if how == "relative_count":
        return ((similarity > 0.5) & used).sum(1) / count.clamp(min=1)
    falling = similarity.masked_fill(~used, -math.inf).sort(1, descending=True).values
    if how == "max":
        place = torch.zeros(len(count), device=similarity.device)
    elif how == "nth_largest":
        place = (count.clamp(max=nth) - 1).float()
    else:
        place = (1 - percentile / 100) * (count - 1).float()
    place = place.clamp(min=0)
    low = place.floor().long()
    high = torch.minimum(low + 1, (count - 1).clamp(min=0))
    upper, lower = falling.gather(1, low[:, None])[:, 0], falling.gather(1, high[:, None])[:, 0]
    mixed = torch.where(high > low, upper + (place - low) * (lower - upper), upper)
    return torch.where(count > 0, mixed, torch.zeros_like(mixed))


class EpisodicMemory:
    """K slots a column for B columns; all that is in them travels in `state()`.

    Args:
        num_columns: B.
        slots: K.
        sizes: {name: shape} of what a slot holds.
        replacement: of a full memory: a "random" slot, or the oldest, "fifo".

    Attributes:
        held: {name: [B, K, *shape]}.
        count: [B] slots in use.
        added: [B] entries since the memory was cleared.
    """

    def __init__(
        self, num_columns: int, slots: int, sizes: dict[str, tuple[int, ...]], *, replacement: str, device: Any = "cpu"
    ) -> None:
        if replacement not in REPLACEMENTS:
            raise ValueError(f"no {replacement!r} in replacements; there are {', '.join(REPLACEMENTS)}")
        self.slots, self.replacement = slots, replacement
        self.held = {name: torch.zeros(num_columns, slots, *shape, device=device) for name, shape in sizes.items()}
        self.count = torch.zeros(num_columns, dtype=torch.int64, device=device)
        self.added = torch.zeros(num_columns, dtype=torch.int64, device=device)

    def clear(self, columns: Tensor) -> None:
        """Forgets everything in the columns of a mask [B]."""
        self.count.masked_fill_(columns, 0)
        self.added.masked_fill_(columns, 0)

    def add(self, columns: Tensor, entries: dict[str, Tensor], generator: torch.Generator) -> None:
        """Stores entries {name: [B, *shape]} in the columns of a mask [B]."""
        rows = columns.nonzero()[:, 0]
        if not len(rows):
            return
        slot = self.count[rows]
        if (slot == self.slots).any():
            if self.replacement == "fifo":
                other = self.added[rows] % self.slots
            else:
                other = torch.randint(self.slots, (len(rows),), generator=generator).to(rows.device)
            slot = torch.where(slot == self.slots, other, slot)
        for name, entry in entries.items():
            self.held[name][rows, slot] = entry[rows]
        self.added[rows] += 1
        self.count[rows] = (self.count[rows] + 1).clamp(max=self.slots)

    def recompute(self, name: str, function: Callable[[Tensor], Tensor], source: str) -> None:
        """Makes `name` of every slot in use anew from what the slot holds as `source`."""
        used = torch.arange(self.slots, device=self.count.device) < self.count[:, None]
        if used.any():
            self.held[name][used] = function(self.held[source][used])

    def state(self) -> dict[str, Any]:
        """Everything, as a carry."""
        return {"held": self.held, "count": self.count, "added": self.added}

    def copy_of(self, state: dict[str, Any]) -> EpisodicMemory:
        """A memory that continues from a carry and leaves it as it is."""
        memory = EpisodicMemory.__new__(EpisodicMemory)
        memory.slots, memory.replacement = self.slots, self.replacement
        device = self.count.device
        memory.held = {name: x.to(device, copy=True) for name, x in state["held"].items()}
        for name in ("count", "added"):
            setattr(memory, name, state[name].to(device, copy=True))
        return memory
