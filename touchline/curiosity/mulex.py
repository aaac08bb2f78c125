"""MULEX: multiple losses for exploration (Beyer et al. 2019, https://arxiv.org/abs/1907.00868).

One policy exploits the true return, others explore, each with a loss of its own; they take turns in acting, and all
learn off-policy from what any of them did. So a bonus, however large, never mixes into what the exploiter believes, and
only the exploiter is evaluated. The abstract says so much; which policy acts when, networks, discounts and the form of
the bonus are design choices here (the paper's body was not read).

Here is who acts when. The policies themselves are the agents': Ape-X DQN holds one head or network of action values a
stream and one replay, IMPALA one actor-critic a stream and V-trace.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

KIND = "acting"

SCHEDULES = ("episode", "steps", "random", "exploiter", "explorer")
"""Who acts: each stream's policy in turn for an "episode" or for some "steps", a "random" one an episode, or the first
("exploiter") or second ("explorer") stream's policy alone, which are controls."""


class Scheduler:
    """Chooses for every column the stream whose policy acts.

    Its memory of the columns travels as a recurrent policy's: [2, B, 1], zero where an episode begins; then 1 + the
    acting stream, and the steps since it was chosen.

    Args:
        schedule: one of `SCHEDULES`.
        num_streams: M.
        steps: of a turn, with "steps".
    """

    def __init__(self, schedule: str, num_streams: int, *, steps: int = 50) -> None:
        if schedule not in SCHEDULES:
            raise ValueError(f"no {schedule!r} in schedules; there are {', '.join(SCHEDULES)}")
        if num_streams < 2:
            raise ValueError("MULEX needs a stream besides the extrinsic one to explore with: give a bonus")
        self.schedule, self.num_streams, self.steps = schedule, num_streams, steps
        self._turn = 0

    def initial_state(self, num_columns: int) -> Tensor:
        """[2, B, 1] at the start of episodes."""
        return torch.zeros(2, num_columns, 1)

    def choose(self, state: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The acting streams [B] int64, and the state after it [2, B, 1]."""
        chosen, since = state[0, :, 0].long() - 1, state[1, :, 0]
        begun = chosen < 0
        if number := int(begun.sum()):
            chosen[begun] = self._first(number, generator)
        if self.schedule == "steps":
            over = ~begun & (since >= self.steps)
            chosen[over] = (chosen[over] + 1) % self.num_streams
            begun = begun | over
        since = since.masked_fill(begun, 0)
        return chosen, torch.stack([(chosen + 1).to(state.dtype), since + 1])[..., None]

    def _first(self, number: int, generator: torch.Generator) -> Tensor:
        """Who acts first in so many columns that begin an episode."""
        if self.schedule in ("exploiter", "explorer"):
            return torch.full((number,), int(self.schedule == "explorer"))
        if self.schedule == "random":
            return torch.randint(self.num_streams, (number,), generator=generator)
        turns = (self._turn + torch.arange(number)) % self.num_streams
        full_rounds = number % self.num_streams == 0  # one step on, or every column would keep its stream for ever
        self._turn = (self._turn + number + full_rounds) % self.num_streams
        return turns

    def state_dict(self) -> dict[str, Any]:
        """Whose turn is next."""
        return {"turn": self._turn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        self._turn = state["turn"]


def acting_stream(state: Tensor) -> Tensor:
    """[B] int8 of who acted in a step, given the scheduler's state [2, B, 1] after it."""
    return (state[0, :, 0] - 1).to(torch.int8)
