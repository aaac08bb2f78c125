"""Refusals that all agents share: hyper-parameters out of range, rewards of the wrong streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from touchline.rollout import Rollout
from touchline.types import Stream


def check_ranges(
    config: Any, *, at_least_1: Sequence[str] = (), share: Sequence[str] = (), above_0: Sequence[str] = ()
) -> None:
    """Refuses fields of a config that are no numbers, below 1, not in 0 to 1, or not above 0."""
    for name in (*at_least_1, *share, *above_0):
        if not isinstance(getattr(config, name), Real):
            raise ValueError(f"{name}: expected a number, got {getattr(config, name)!r}")
    for name in at_least_1:
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(config, name)}")
    for name in share:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise ValueError(f"{name}: expected 0 to 1, got {getattr(config, name)}")
    for name in above_0:
        if not getattr(config, name) > 0.0:
            raise ValueError(f"{name}: expected a number above 0, got {getattr(config, name)}")


def check_choices(config: Any, **choices: Sequence[str]) -> None:
    """Refuses fields of a config that are none of the choices."""
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise ValueError(f"no {getattr(config, name)!r} in {name}; there are {', '.join(known)}")


def rewards_of(
    rollout: Rollout,
    rewards: Mapping[str, Tensor] | None,
    streams: Sequence[Stream],
    device: torch.device | str,
) -> dict[str, Tensor]:
    """{stream: [T, B]} on a device, in the order of the streams; None means the rollout's own as "extrinsic"."""
    rewards = {"extrinsic": rollout.reward} if rewards is None else rewards
    if set(rewards) != {stream.name for stream in streams}:
        expected = ", ".join(stream.name for stream in streams)
        raise ValueError(f"expected rewards of streams {expected}; got {', '.join(rewards)}")
    return {stream.name: rewards[stream.name].to(device) for stream in streams}
