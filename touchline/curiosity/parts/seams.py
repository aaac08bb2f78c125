"""The two seams through which exploration modules enter training: `Bonus` and `ValueTarget`.

A bonus lives in a file of `touchline/curiosity/` with a frozen dataclass `Config` and
`make(spec: EnvSpec, config: Config, *, seed: int, device: str) -> Bonus`.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from touchline.returns import Returns
from touchline.rollout import Rollout
from touchline.types import Stream


class Bonus(Protocol):
    """A source of reward streams beside the environment's own.

    Randomness comes from a generator the bonus owns and saves in its `state_dict`.

    Attributes:
        streams: the streams it pays, each with its own discount, value head and weight.
    """

    streams: tuple[Stream, ...]

    def initial_carry(self, num_columns: int) -> Any:
        """What `reward` carries between rollouts for B columns: nested dicts or lists of tensors, or None."""

    def reward(self, rollout: Rollout, carry: Any) -> tuple[dict[str, Tensor], Any]:
        """({stream: [T, B]}, carry) without gradient; the carry works like the state of an RNN."""

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Trains the bonus' own networks; metrics, keyed `room/name`."""

    def state_dict(self) -> dict[str, Any]:
        """Everything but the carry, as `torch.load(weights_only=True)` can read it."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()`."""


class ReplayBonus(Protocol):
    """What a bonus offers besides if it can be recomputed on replayed transitions (MULEX, Ape-X)."""

    def score(self, batch: Any) -> dict[str, Tensor]:
        """{stream: [K]} for a batch of K transitions, under the bonus' present networks."""


class ValueTarget(Protocol):
    """Turns a stream of rewards into value targets and advantages.

    Attributes:
        uses_log_rhos: False lets the agent pass zeros instead of computing the policies' ratio.
    """

    uses_log_rhos: bool

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Trains what the target itself holds (an ensemble, say), once a rollout and before it is called."""

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
        """Targets and advantages [T, B] of one stream.

        Args:
            rollout: gives `terminated`, `truncated`, observations; for a stream that is not episodic, without
                ends.
            reward, values, next_values, log_rhos: [T, B].
        """

    def state_dict(self) -> dict[str, Any]:
        """What `update` changes."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
