"""Trajectories from rollouts: columns followed across rollouts, episodes ended by their true last observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from touchline.rollout import Rollout


@dataclass(frozen=True)
class Episode:
    """Steps of one column that follow from each other.

    Attributes:
        obs: [L + 1, *inputs], the true last observation included.
        action: [L] int64.
        reward: [L].
        terminated: the last step ended the episode for good.
        whole: it has its episode's beginning and its end.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: bool
    whole: bool


class Episodes:
    """Follows columns across rollouts.

    A rollout continues the one before in those columns whose first observation is the other's last (as training's do;
    those of actors come in any order); elsewhere the older trajectory ends there.

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
        out: list[Episode] = []
        if len(self._open) != B:
            out += [episode for one in self._open if (episode := _closed(one, terminated=False, whole=False))]
            self._open = [_begun(obs[0, b], fresh=False) for b in range(B)]
        for b in range(B):
            one = self._open[b]
            if not torch.equal(one["last"], obs[0, b]):
                if episode := _closed(one, terminated=False, whole=False):
                    out.append(episode)
                one = _begun(obs[0, b], fresh=False)
            start = 0
            for t in [*cut[:, b].nonzero()[:, 0].tolist(), None]:
                stop = T if t is None else t + 1
                lost = t is not None and not mask[t, b]
                end = stop - int(lost)
                steps = obs[start + 1 : end + 1, b]
                if (t, b) in finals and not lost:
                    steps = torch.cat([steps[:-1], finals[t, b][None]])
                one["obs"].append(steps)
                one["action"].append(action[start:end, b])
                one["reward"].append(reward[start:end, b])
                if t is None:
                    break
                if episode := _closed(one, terminated=bool(terminated[t, b]), whole=one["fresh"] and not lost):
                    out.append(episode)
                one, start = _begun(obs[stop, b], fresh=True), stop
            self._open[b] = one | {"last": obs[T, b]}
        return out

    def open(self) -> list[Episode]:
        """The trajectories that go on, as far as they are known."""
        return [episode for one in self._open if (episode := _closed(one, terminated=False, whole=False))]

    def state_dict(self) -> dict[str, Any]:
        """The trajectories that go on."""
        return {
            "open": [
                {"obs": torch.cat(one["obs"]), "action": torch.cat(one["action"]), "reward": torch.cat(one["reward"])}
                | {"fresh": one["fresh"], "last": one["last"]}
                for one in self._open
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        lists = ("obs", "action", "reward")
        self._open = [{n: [x] if n in lists else x for n, x in one.items()} for one in state["open"]]


def _begun(first: Tensor, *, fresh: bool) -> dict[str, Any]:
    nothing = torch.empty(0)
    return {"obs": [first[None]], "action": [nothing.long()], "reward": [nothing], "fresh": fresh, "last": first}


def _closed(one: dict[str, Any], *, terminated: bool, whole: bool) -> Episode | None:
    obs, action = torch.cat([x for x in one["obs"] if len(x)]), torch.cat(one["action"])
    if not len(action):
        return None
    return Episode(obs, action, torch.cat(one["reward"]), terminated, whole)
