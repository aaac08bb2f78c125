"""What bonuses see of observations: features without clocks, and places on the pitch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from touchline.types import EnvSpec


class InputFilter:
    """Observations [K, *obs] without what tells time: [K, F] of vectors, pictures as they are.

    A network that is to tell how far apart two moments are reads a clock if it is shown one, and then every
    place looks new. Steps left, score, tiredness, held actions and who is controlled are such clocks. What is there for
    central critics alone is left out too.

    Args:
        spec: says where they are (`features["clocks"]`); of stacked frames the newest is kept.
        strip: False keeps them.

    Attributes:
        spec: shapes of what comes out.
    """

    def __init__(self, spec: EnvSpec, *, strip: bool = True) -> None:
        shape = spec.observation_shape
        self._places: Tensor | None = None
        self.spec = spec
        if len(shape) == 1 and (strip or spec.stack > 1 or spec.central):
            own = shape[0] - spec.central
            size = own // spec.stack
            clocks = set(spec.features.get("clocks", ())) if strip else set()
            kept = [i for i in range(own - size, own) if i not in clocks]
            self._places = torch.tensor(kept)
            self.spec = EnvSpec((len(kept),), spec.observation_dtype, spec.num_actions)

    def __call__(self, obs: Tensor) -> Tensor:
        """[K, *obs] to [K, F] or, of pictures, [K, H, W, C]."""
        return obs if self._places is None else obs.index_select(-1, self._places.to(obs.device))


class Pitch:
    """Where the ball and the controlled player are on the pitch, read from observations.

    Args:
        spec: its `features` say where the observation holds them.

    Raises:
        ValueError: the observation does not say where the ball is.
    """

    def __init__(self, spec: EnvSpec) -> None:
        if not {"ball", "ball_plane"} & set(spec.features):
            raise ValueError(
                "no place of the ball in these observations: take simple115v2, egocentric or smm, or a bonus that "
                "needs no pitch"
            )
        self._features = spec.features

    def ball(self, obs: Tensor) -> Tensor:
        """[K, 2] of the ball, x and y each in [-1, 1], for obs [K, *obs]."""
        if "ball_plane" in self._features:
            return _centre(obs[..., self._features["ball_plane"][0]])
        return self._place(obs, self._features["ball"])

    def check_player(self) -> None:
        """Raises a ValueError where observations do not say where the controlled player is."""
        named = set(self._features)
        if not ({"player_plane", "player"} & named or {"own_team", "controlled"} <= named):
            raise ValueError(
                "no place of the controlled player in these observations: name `player` among their features, or take "
                "of=ball"
            )

    def player(self, obs: Tensor) -> Tensor:
        """[K, 2] of the controlled player, x and y each in [-1, 1]; if nobody is, the centre spot, in pictures the
        top left corner."""
        if "player_plane" in self._features:
            return _centre(obs[..., self._features["player_plane"][0]])
        if "player" in self._features:
            return self._place(obs, self._features["player"])
        team = obs[..., list(self._features["own_team"])].unflatten(-1, (-1, 2))
        chosen = obs[..., list(self._features["controlled"])]
        return self._scaled((team * chosen[..., None]).sum(-2))

    def situation(self, obs: Tensor) -> tuple[Tensor, int]:
        """[K] number of who owns the ball and in which game mode, and how many there are; 1 if pictures hide them."""
        if "owner" not in self._features:
            return torch.zeros(len(obs), dtype=torch.int64, device=obs.device), 1
        owner = obs[..., list(self._features["owner"])].argmax(-1)
        mode = obs[..., list(self._features["game_mode"])].argmax(-1)
        modes = len(self._features["game_mode"])
        return owner * modes + mode, 3 * modes

    def _place(self, obs: Tensor, places: tuple[int, ...]) -> Tensor:
        return self._scaled(obs[..., list(places)])

    def _scaled(self, xy: Tensor) -> Tensor:
        """The engine's y ends at 0.42; the observation made for networks has it in [-1, 1] already."""
        if "own_team" in self._features:
            xy = xy / torch.tensor([1.0, 0.42], device=xy.device)
        return xy.clamp(-1.0, 1.0)


def _centre(plane: Tensor) -> Tensor:
    """[K, 2] of the first set pixel of planes [K, H, W], x and y in [-1, 1]."""
    height, width = plane.shape[-2:]
    at = plane.flatten(-2).float().argmax(-1)
    x = ((at % width) + 0.5) / width * 2 - 1
    y = (torch.div(at, width, rounding_mode="floor") + 0.5) / height * 2 - 1
    return torch.stack([x, y], -1)


def cells(xy: Tensor, grid: tuple[int, int]) -> Tensor:
    """[K] number of the cell of places [K, 2] (x and y in [-1, 1]) in a grid of equal cells, floored."""
    size = torch.tensor(grid, device=xy.device)
    column = ((xy + 1) / 2 * size).floor().long()
    column = torch.minimum(column.clamp(min=0), size - 1)
    return column[..., 0] * grid[1] + column[..., 1]


def ranks(numbers: np.ndarray) -> np.ndarray:
    """[K] how often each of `numbers` [K] has come before in the array."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(first)
    out = np.empty(len(numbers), np.int64)
    out[order] = np.arange(len(numbers)) - starts[np.cumsum(first) - 1]
    return out
