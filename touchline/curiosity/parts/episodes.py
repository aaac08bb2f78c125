"""Trajectories from rollouts: columns followed across rollouts, episodes ended by their true last observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from touchline.rollout import Rollout

PATIENCE = 32
"""Rollouts that a trajectory waits to be continued in; with actors, each rollout holds some of them."""


@dataclass(frozen=True)
class Episode:
    """Steps of one column that follow from each other.

    Attributes:
        obs: [L + 1, *inputs], the true last observation included.
        action: [L] int64.
        reward: [L].
        terminated: the last step ended the episode for good.
        ended: the last step ended the episode, for good or by a time limit; else its rest is not known.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: bool
    ended: bool


class Episodes:
    """Follows columns across rollouts.

    A column continues the trajectory whose last observation is its first: its own of the rollout before (as training's
    do), or another that waits (the unrolls of actors come in any order). A trajectory that nothing continues ends
    there, after a while.

    Args:
        inputs: what is kept of observations, [K, *obs] to [K, *inputs].
    """

    def __init__(self, inputs: Callable[[Tensor], Tensor] = lambda obs: obs) -> None:
        self._inputs = inputs
        self._open: list[dict[str, Any]] = []

    def add(self, rollout: Rollout) -> list[Episode]:
        """Takes a rollout in; the trajectories that ended with it, copies."""
        obs = self._inputs(rollout.obs).cpu().clone()
        T, B = rollout.action.shape
        reward, action = rollout.reward.cpu().clone(), rollout.action.cpu().clone()
        mask, terminated = rollout.mask.cpu(), rollout.terminated.cpu()
        cut = rollout.terminated.cpu() | rollout.truncated.cpu() | ~mask
        finals = {}
        if len(rollout.final_index):
            last = self._inputs(rollout.final_obs).cpu().clone()
            finals = {(int(t), int(b)): row for (t, b), row in zip(rollout.final_index.tolist(), last, strict=True)}
        begun, out = self._continued(obs[0]), []
        for b, one in enumerate(begun):
            start = 0
            for t in cut[:, b].nonzero()[:, 0].tolist():
                lost = not mask[t, b]
                end = t + 1 - int(lost)
                steps = obs[start + 1 : end + 1, b].clone()  # not a view that keeps all columns
                if (t, b) in finals and not lost:
                    steps = torch.cat([steps[:-1], finals[t, b][None]])
                _lengthen(one, steps, action[start:end, b], reward[start:end, b])
                out += _episode(one, terminated=bool(terminated[t, b]) and not lost, ended=not lost)
                one, start = _begun(obs[t + 1, b]), t + 1
            _lengthen(one, obs[start + 1 :, b].clone(), action[start:, b], reward[start:, b])
            begun[b] = one | {"last": obs[T, b].clone(), "waited": 0}
        for one in self._open:
            one["waited"] += 1
            if one["waited"] < PATIENCE:
                begun.append(one)
            else:
                out += _episode(one)
        self._open = begun
        return out

    def _continued(self, firsts: Tensor) -> list[dict[str, Any]]:
        """The trajectory of each column, given their first observations [B, *inputs]; it no longer waits."""
        waiting: dict[bytes, list[dict[str, Any]]] = {}
        for one in self._open:
            waiting.setdefault(one["last"].numpy().tobytes(), []).append(one)
        columns = []
        for b, first in enumerate(firsts):
            same = waiting.get(first.numpy().tobytes(), [])
            own = next((i for i, one in enumerate(same) if b < len(self._open) and one is self._open[b]), 0)
            columns.append(same.pop(own) if same else _begun(first))
        self._open = [one for rest in waiting.values() for one in rest]
        return columns

    def open(self) -> list[Episode]:
        """The trajectories that go on, as far as they are known."""
        return [episode for one in self._open for episode in _episode(one)]

    def state_dict(self) -> dict[str, Any]:
        """The trajectories that go on."""
        parts = ("obs", "action", "reward")
        return {"open": [{n: torch.cat(x) if n in parts else x for n, x in one.items()} for one in self._open]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        parts = ("obs", "action", "reward")
        self._open = [{n: [x] if n in parts else x for n, x in one.items()} for one in state["open"]]


def _begun(first: Tensor) -> dict[str, Any]:
    nothing, first = torch.empty(0), first.clone()
    return {"obs": [first[None]], "action": [nothing.long()], "reward": [nothing], "last": first, "waited": 0}


def _lengthen(one: dict[str, Any], obs: Tensor, action: Tensor, reward: Tensor) -> None:
    one["obs"].append(obs)
    one["action"].append(action.clone())
    one["reward"].append(reward.clone())


def _episode(one: dict[str, Any], *, terminated: bool = False, ended: bool = False) -> list[Episode]:
    """The trajectory, if it has steps."""
    action = torch.cat(one["action"])
    return [Episode(torch.cat(one["obs"]), action, torch.cat(one["reward"]), terminated, ended)] if len(action) else []
