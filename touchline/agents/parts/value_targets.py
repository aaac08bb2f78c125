"""The value targets that need no networks of their own: `gae`, `vtrace`, `n_step`, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from touchline import returns
from touchline.curiosity.parts.seams import ValueTarget
from touchline.returns import Returns
from touchline.rollout import Rollout
from touchline.types import Stream

NAMES = ("gae", "n_step", "vtrace")


@dataclass(frozen=True)
class FixedTarget:
    """A `ValueTarget` that is a function of the rollout alone.

    Attributes:
        function: `returns.gae` or one like it, all but the tensors and `gamma` bound.
        uses_log_rhos: the function takes `log_rhos`.
    """

    function: Callable[..., Returns]
    uses_log_rhos: bool = False

    def update(self, rollout: Rollout) -> dict[str, float]:
        return {}

    def __call__(
        self,
        rollout: Rollout,
        stream: Stream,
        *,
        reward: Tensor,
        values: Tensor,
        next_values: Tensor,
        log_rhos: Tensor,
    ) -> Returns:
        tensors = (reward, values, next_values, rollout.terminated, rollout.truncated)
        return self.function(*tensors, *([log_rhos] if self.uses_log_rhos else []), gamma=stream.gamma)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def make(name: str, *, lam: float = 0.95, n: int = 5, rho_bar: float = 1.0, c_bar: float = 1.0) -> ValueTarget:
    """A value target by name.

    Args:
        lam: trace decay of `gae` and `vtrace`.
        n: steps of `n_step`.
        rho_bar, c_bar: truncation levels of `vtrace`.
    """
    if name == "gae":
        return FixedTarget(partial(returns.gae, lam=lam))
    if name == "n_step":
        return FixedTarget(partial(returns.n_step, n=n))
    if name == "vtrace":
        function = partial(returns.vtrace, lam=lam, rho_bar=rho_bar, c_bar=c_bar)
        return FixedTarget(function, uses_log_rhos=True)
    raise ValueError(f"no {name!r} in value targets; there are {', '.join(NAMES)}")
