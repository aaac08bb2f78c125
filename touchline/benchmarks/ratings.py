"""How strong is everyone? A rating that can be kept up game by game, and Nash averaging of a whole payoff matrix.

The two answer different questions. A rating is one number a player, so it must assume that whoever beats the strong
beats the weak; it takes games as they come and stays comparable between tournaments while anchors hold its scale.
Football pools are not transitive (A beats B beats C beats A), and copies of one player move everybody's rating. Nash
averaging looks at all pairs at once, and copies change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

DEFAULT_ANCHORS: Mapping[str, float] = {"random": 15.0}
"""Names and fixed mu. Only the random player: it is the one that plays alike at every setting of the scenario."""

ANCHOR_SIGMA = 0.5
_NEGLIGIBLE = 1e-7  # shares below this are rounding of the linear program


class Rating(NamedTuple):
    """A belief about a player's skill: normal with mean `mu` and standard deviation `sigma`."""

    mu: float
    sigma: float

    @property
    def ordinal(self) -> float:
        """mu - 3 sigma: the skill that a player almost surely has; what few games show stays low."""
        return self.mu - 3.0 * self.sigma


class Ratings:
    """Plackett-Luce ratings of two-player games (Weng and Lin 2011, https://jmlr.org/papers/v12/weng11a.html).

    The scale: newcomers start at mu 25, sigma 25/3, and a single game has noise beta = 25/6 a player. Updates fit a
    logistic of scale sqrt(2) * beta: one who stands 4.2 above another wins about two games in three, 6.5 above three in
    four (`win_probability` uses openskill's own, steeper link). Where zero lies is a convention. The anchors hold it:
    `random` stands at mu 15 whenever it takes part and never moves, so that ratings of one scenario's tournaments which
    it took part in can be compared. Without an anchor only differences mean something, and the level is that of the
    newcomers' mean, 25. A draw is a tie of ranks; the size of a win does not count.

    Ratings depend on the order of the games: record them in an order that does not change.

    Args:
        anchors: {name: mu} of players that never move; None takes `DEFAULT_ANCHORS`, {} has none.
    """

    def __init__(self, anchors: Mapping[str, float] | None = None) -> None:
        from openskill.models import PlackettLuce

        self._model = PlackettLuce()
        self._anchors = {name: float(mu) for name, mu in (DEFAULT_ANCHORS if anchors is None else anchors).items()}
        self._ratings: dict[str, Rating] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Everyone rated, in the order in which they were added."""
        return tuple(self._ratings)

    def add(self, name: str) -> None:
        """A newcomer, or an anchor that takes part; who is known already keeps the rating."""
        start = Rating(float(self._model.mu), float(self._model.sigma))
        if name in self._anchors:
            start = Rating(self._anchors[name], ANCHOR_SIGMA)
        self._ratings.setdefault(name, start)

    def record(self, first: str, second: str, goal_difference: float) -> None:
        """One game; `goal_difference` is in the view of `first`, 0 is a draw."""
        if first == second:
            raise ValueError(f"expected two players, got {first!r} twice")
        ranks = [float(goal_difference < 0), float(goal_difference > 0)]
        after = self._model.rate([[self._player(first)], [self._player(second)]], ranks=ranks)
        for name, (player,) in zip((first, second), after, strict=True):
            if name not in self._anchors:
                self._ratings[name] = Rating(float(player.mu), float(player.sigma))

    def of(self, name: str) -> Rating:
        """The rating of a player."""
        if name not in self._ratings:
            raise ValueError(f"no {name!r} among the rated; there are {', '.join(self._ratings) or 'none'}")
        return self._ratings[name]

    def win_probability(self, first: str, second: str) -> float:
        """P(`first` is the better one in a game), 0 to 1; a draw has no part of its own in it."""
        return float(self._model.predict_win([[self._player(first)], [self._player(second)]])[0])

    def _player(self, name: str) -> Any:
        mu, sigma = self.of(name)
        return self._model.rating(mu=mu, sigma=sigma)

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON values: {"anchors": {name: mu}, "ratings": {name: [mu, sigma]}}."""
        return {"anchors": dict(self._anchors), "ratings": {name: list(r) for name, r in self._ratings.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict`, with its anchors."""
        self._anchors = {name: float(mu) for name, mu in state["anchors"].items()}
        self._ratings = {name: Rating(float(mu), float(sigma)) for name, (mu, sigma) in state["ratings"].items()}


def nash_averaging(payoff: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum-entropy Nash equilibrium of "choose a player, the other chooses one", and skills against it.

    Balduzzi, Tuyls, Perolat and Graepel 2018, section 4 (https://arxiv.org/abs/1806.02643). Players outside of the
    mixture lose against it; copies of a player share its weight and change nobody's skill; in a cycle all have skill 0.
    Of measured payoffs the mixture can jump with a single game: read it beside the intervals.

    Args:
        payoff: [K, K], what the row's player gains against the column's; payoff[i, j] = -payoff[j, i].

    Returns:
        mixture: [K] shares of the equilibrium, which sum to 1.
        skill: [K] mean payoff against the mixture, at most 0 and 0 within it, in the units of `payoff`.
    """
    payoff = np.asarray(payoff, np.float64)
    if payoff.ndim != 2 or payoff.shape[0] != payoff.shape[1] or not len(payoff):
        raise ValueError(f"expected a payoff matrix [K, K], got {payoff.shape}")
    if not np.isfinite(payoff).all() or not np.allclose(payoff, -payoff.T, atol=1e-9):
        raise ValueError("expected finite payoffs with payoff[i, j] = -payoff[j, i]")
    scale = np.abs(payoff).max() or 1.0
    support = _support(payoff / scale)
    mixture = np.zeros(len(payoff))
    mixture[support] = _max_entropy(payoff / scale, support)
    return mixture, payoff @ mixture


def _support(payoff: np.ndarray) -> np.ndarray:
    """[S] players that some equilibrium plays: p is one if nobody gains against it, payoff @ p <= 0."""
    from scipy.optimize import linprog

    size = len(payoff)
    most = []
    for i in range(size):
        found = linprog(
            -np.eye(size)[i],
            A_ub=payoff,
            b_ub=np.zeros(size),
            A_eq=np.ones((1, size)),
            b_eq=[1.0],
            bounds=(0.0, 1.0),
        )
        if not found.success:
            raise ValueError(f"no equilibrium was found: {found.message}")
        most.append(-found.fun)
    return np.flatnonzero(np.array(most) > _NEGLIGIBLE)


def _max_entropy(payoff: np.ndarray, support: np.ndarray) -> np.ndarray:
    """[S] the equilibrium of largest entropy, by its convex dual: p is proportional to exp(-pressure @ payoff).

    There is a pressure, at least 0, a player who must not gain against the mixture.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    columns = payoff[:, support]

    def dual(pressure: np.ndarray) -> tuple[float, np.ndarray]:
        exponents = -pressure @ columns
        total = logsumexp(exponents)
        return float(total), -columns @ np.exp(exponents - total)

    bounds = [(0.0, None)] * len(payoff)
    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-10}
    found = minimize(dual, np.zeros(len(payoff)), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    exponents = -found.x @ columns
    return np.exp(exponents - logsumexp(exponents))
